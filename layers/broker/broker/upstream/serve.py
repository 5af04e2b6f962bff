"""The dialects that the broker itself speaks: the `[serve]` table of a catalogue file, as frozen values.

An application written for a provider's guide works here when only host and credentials change, if its client was registered
for that dialect. The path alone says which dialect a request is in. Must never decide who may speak it, and has nothing to
do with calling the provider: a dialect is served whether or not the provider of that name is registered.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal

from broker.upstream import catalogue
from broker.upstream.reader import Table, shown

Endpoint = Literal["authorize", "token", "profile"]
Redirect = Literal["exact", "free_query"]
Requirement = Literal["required", "optional"]
Method = Literal["GET", "POST"]
Cors = Literal["listed", "any"]
Body = Literal["oauth", "nested"]

ANSWER_VALUES = ("access_token", "token_type", "expires_in", "refresh_token", "scope", "state", "created_at")
"""What a member of the token answer can be; `state` is the authorization request's, `created_at` epoch seconds."""
FAULTS = ("missing", "invalid", "expired", "revoked")
"""What can be wrong with an access token. A dialect without a text for one has the standard's."""
SUBJECT = "subject"
"""The member source that is not a claim: the person's id."""
_AUTH_METHODS = ("client_secret_post", "client_secret_basic")
_PATH = re.compile(r"(?:/[A-Za-z0-9._-]+)+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WIRE_TEXT = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")


@dataclass(frozen=True)
class ServedAuthorize:
    """The authorization endpoint of a dialect.

    Attributes:
        response_type: what an omitted parameter means, "" = it is required.
        redirect: "free_query": a redirect URI may have any query beside the registered scheme, host, port and path.
        raw_redirect_uri: a registered redirect URI may stand in the query without percent-encoding.
        code: names of the code in the answer; it comes under each.
    """

    paths: tuple[str, ...]
    methods: tuple[Method, ...]
    response_type: str
    redirect: Redirect
    raw_redirect_uri: bool
    scope_separator: str
    code: tuple[str, ...]


@dataclass(frozen=True)
class ServedToken:
    """The token endpoint of a dialect.

    Attributes:
        methods: "GET" is for clients that were registered for it in addition, as it puts the secret into the URL.
        auth: how a client may send its secret.
        grant_type: what an omitted parameter means, "" = it is required.
        redirect_uri: whether the one of the authorization request must be repeated.
        answer: member -> one of ANSWER_VALUES; what is not known is left out.
        errors: OAuth's error code -> the dialect's.
        missing_credentials: the error code for a client that sends no id or no secret, "" = invalid_client.
        lifetime: seconds of an access token; None: as long as the login.
        opaque: its access tokens are never JWTs.
    """

    paths: tuple[str, ...]
    methods: tuple[Method, ...]
    auth: tuple[str, ...]
    grant_type: str
    redirect_uri: Requirement
    answer: Mapping[str, str]
    errors: Mapping[str, str]
    missing_credentials: str
    lifetime: int | None
    opaque: bool

    @property
    def grant_types(self) -> tuple[str, ...]:
        """The grant types of the dialect: refreshing is one where the answer has a refresh token."""
        refreshing = ("refresh_token",) if "refresh_token" in self.answer.values() else ()
        return ("authorization_code", *refreshing)


@dataclass(frozen=True)
class ServedProfile:
    """The profile endpoint of a dialect.

    Attributes:
        token: "query": an access token may also come as the query parameter access_token.
        cors: "any": every web page may read the answer, as it needs no cookie; "listed": those that the client lists.
        members: member -> claims, the first that is there counts; SUBJECT is the person's id.
        numbers: members that are JSON numbers where the value is one.
        constants: members that are always the same.
        realm: of the challenge, "" = the issuer.
        faults: what is wrong with an access token (FAULTS) -> the text for it. Without one for "missing", who comes without
            a token is told of no error.
        body: "nested": errors look like {"error": {"message", "code"}}.
    """

    paths: tuple[str, ...]
    token: tuple[str, ...]
    cors: Cors
    members: Mapping[str, tuple[str, ...]]
    numbers: tuple[str, ...]
    constants: Mapping[str, str]
    realm: str
    faults: Mapping[str, str]
    body: Body


@dataclass(frozen=True)
class ServedDialect:
    """A dialect that a client may speak to the broker. `profile` None: the guide has no such endpoint."""

    name: str
    authorize: ServedAuthorize
    token: ServedToken
    profile: ServedProfile | None

    def paths(self) -> dict[str, Endpoint]:
        """path -> endpoint."""
        found: dict[str, Endpoint] = dict.fromkeys(self.authorize.paths, "authorize")
        found |= dict.fromkeys(self.token.paths, "token")
        return found | (dict.fromkeys(self.profile.paths, "profile") if self.profile else {})


@cache
def dialects() -> Mapping[str, ServedDialect]:
    """All dialects by name. Raises ProviderFileError for a wrong file of the catalogue, also when two share a path."""
    found: dict[str, ServedDialect] = {}
    for name in catalogue.names():
        table = catalogue.served(name)
        if table is not None:
            found[name] = parse_served(name, table, source=f"{name}.toml")
    return MappingProxyType(found)


@cache
def routes() -> Mapping[str, tuple[ServedDialect, Endpoint]]:
    """path -> the dialect that it selects, and the endpoint. Errors: as `dialects`; ValueError when two share a path."""
    found: dict[str, tuple[ServedDialect, Endpoint]] = {}
    for dialect in dialects().values():
        for path, endpoint in dialect.paths().items():
            if path in found:
                raise ValueError(f"{dialect.name} and {found[path][0].name} are both served at {path}")
            found[path] = dialect, endpoint
    return MappingProxyType(found)


def parse_served(name: str, document: Mapping[str, object], *, source: str) -> ServedDialect:
    """Read a `[serve]` table. `source`: the file's name, for errors. Raises ProviderFileError."""
    top = Table(source, "serve", document)
    authorize = _authorize(top.table("authorize"))
    token = _token(top.table("token"))
    profile = _profile(top.table("profile")) if top.has("profile") else None
    top.done()
    return ServedDialect(name, authorize, token, profile)


def _authorize(table: Table) -> ServedAuthorize:
    dialect = ServedAuthorize(
        paths=_paths(table),
        methods=_methods(table, ("GET",)),
        response_type=table.choice("response_type", ("code",), ""),
        redirect=table.choice("redirect", ("exact", "free_query"), "exact"),
        raw_redirect_uri=_flag(table, "raw_redirect_uri"),
        scope_separator=table.choice("scope_separator", (" ", ","), " "),
        code=_names(table, "code", table.strings("code", ("code",))),
    )
    table.done()
    return dialect


def _token(table: Table) -> ServedToken:
    dialect = ServedToken(
        paths=_paths(table),
        methods=_methods(table, ("POST",)),
        auth=_among(table, "auth", table.strings("auth", _AUTH_METHODS), _AUTH_METHODS),
        grant_type=table.choice("grant_type", ("authorization_code",), ""),
        redirect_uri=table.choice("redirect_uri", ("required", "optional"), "required"),
        answer=table.strings_by_name("answer"),
        errors=table.strings_by_name("errors"),
        missing_credentials=table.choice("missing_credentials", ("invalid_request",), ""),
        lifetime=table.seconds("lifetime", least=60),
        opaque=_flag(table, "opaque"),
    )
    _among(table, "answer", tuple(dialect.answer.values()), ANSWER_VALUES)
    if "access_token" not in dialect.answer.values():
        raise table.error("answer", "must have a member that is the access_token")
    _names(table, "answer", tuple(dialect.answer))
    _names(table, "errors", (*dialect.errors, *dialect.errors.values()))
    table.done()
    return dialect


def _profile(table: Table) -> ServedProfile:
    members = table.table("members")
    dialect = ServedProfile(
        paths=_paths(table),
        token=_among(table, "token", table.strings("token", ("header",)), ("header", "query")),
        cors=table.choice("cors", ("listed", "any"), "listed"),
        members=MappingProxyType({name: members.strings(name, ()) for name in members.names()}),
        numbers=table.words("numbers"),
        constants=table.strings_by_name("constants"),
        realm=table.text("realm") or "",
        faults=table.strings_by_name("faults"),
        body=table.choice("body", ("oauth", "nested"), "oauth"),
    )
    _names(table, "members", (*dialect.members, *dialect.constants))
    _among(table, "numbers", dialect.numbers, tuple(dialect.members))
    _among(table, "faults", tuple(dialect.faults), FAULTS)
    for key, text in (*((f"faults.{name}", text) for name, text in dialect.faults.items()), ("realm", dialect.realm)):
        if not _WIRE_TEXT.fullmatch(text):
            raise table.error(key, "must be printable ASCII without quote and backslash (RFC 6750 section 3)")
    table.done()
    return dialect


def _paths(table: Table) -> tuple[str, ...]:
    paths = table.strings("paths", ())
    if not paths:
        raise table.error("paths", "is missing; name the path that the guide has")
    for path in paths:
        if not _PATH.fullmatch(path):
            raise table.error("paths", f"must be paths like /api/token, not {shown(path)}")
    return paths


def _methods(table: Table, default: tuple[Method, ...]) -> tuple[Method, ...]:
    named = _among(table, "methods", table.strings("methods", default), ("GET", "POST"))
    methods: tuple[Method, ...] = ("GET", "POST")
    return tuple(method for method in methods if method in named)


def _flag(table: Table, key: str) -> bool:
    value = table.value(key)
    if value is not None and not isinstance(value, bool):
        raise table.error(key, f"must be true or false, not {shown(value)}")
    return value is True


def _among(table: Table, key: str, values: tuple[str, ...], choices: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value not in choices:
            raise table.error(key, f"must be of {', '.join(choices)}, not {shown(value)}")
    return values


def _names(table: Table, key: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names as they go on the wire: in a query, or as members of a JSON document."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise table.error(key, f"must be names of letters, digits and _, not {shown(name)}")
    return names
