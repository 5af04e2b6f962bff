"""The provider schema: what one TOML file may say about a provider, as frozen values.

Everything left out has a default; an empty string removes a default; wherever a name may vary on the wire the value
is a list of dotted paths of which the first hit wins. Must never hold a credential: client id and secret come from
elsewhere, at use.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from broker.upstream.api_rules import AllowRule
from broker.upstream.hooks import HOOKS, Hook
from broker.upstream.oauth_codes import OAUTH_CODES
from broker.upstream.reader import ProviderFileError, Table, shown
from broker.upstream.templates import TemplateError, check_url, fill_url, host_is_open, placeholders

__all__ = [
    "CLAIMS",
    "OAUTH_CODES",
    "AllowRule",
    "ApiDialect",
    "AuthorizeDialect",
    "CallbackDialect",
    "Discovered",
    "ErrorDialect",
    "IdTokenDialect",
    "OkTest",
    "Provider",
    "ProviderFileError",
    "RefreshDialect",
    "RevokeDialect",
    "TokenAnswerDialect",
    "TokenDialect",
    "TokenPlacement",
    "UserinfoDialect",
    "Variable",
    "merge_overrides",
    "parse_provider",
]

State = Literal["echo", "redirect_query", "cookie"]
Pkce = Literal["S256", "off"]
Method = Literal["GET", "POST", "DELETE", "PUT", "PATCH"]
ClientAuth = Literal["body", "basic", "none", "private_key_jwt"]
BasicEncoding = Literal["form", "raw"]
Body = Literal["form", "json", "query"]
Using = Literal["refresh_token", "access_token"]

MAX_TITLE = 60
PROMPTS = ("login", "select_account")
"""What of a client's prompt is for the provider. `consent` is the broker's own page, `none` is answered by the broker."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_TEXT = re.compile(r"[ -~]*")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_RESERVED = frozenset({"client_id", "client_secret", "access_token", "refresh_token", "code", "state"})
# Parameters the interpreter owns in the authorization request: a file that set them would undo the state or PKCE.
_OWNED_BY_AUTHORIZE = ("state", "code", "code_challenge", "code_challenge_method", "nonce", "scope")
# No pattern that tells hosts apart matches this one.
_FOREIGN_HOST = "attacker.invalid"


@dataclass(frozen=True)
class Variable:
    """A `{name}` of a provider file. pattern: full-match regex; value: the operator's, None when it is kept from an
    answer.
    """

    pattern: str
    value: str | None = None

    def matches(self, value: str) -> bool:
        return re.fullmatch(self.pattern, value) is not None


@dataclass(frozen=True)
class OkTest:
    """`{path, equals}`: an answer with status 200 is a success only if it says so."""

    path: str
    equals: str | int | float | bool


@dataclass(frozen=True)
class TokenPlacement:
    """Where a call carries the access token: in a header (template `text`) or as a query parameter."""

    place: Literal["header", "query"]
    name: str
    text: str = "{access_token}"


@dataclass(frozen=True)
class AuthorizeDialect:
    """prompts: what a client may want the person to be asked, to the provider's word for it in its parameter `prompt`."""

    url: str
    params: Mapping[str, str]
    rename: Mapping[str, str]
    scope: tuple[str, ...]
    scope_separator: str
    scope_param: str
    pkce: Pkce
    state: State
    prompts: Mapping[str, str]


@dataclass(frozen=True)
class CallbackDialect:
    code: tuple[str, ...]
    error: tuple[str, ...]
    error_description: tuple[str, ...]
    keep: tuple[str, ...]


@dataclass(frozen=True)
class TokenAnswerDialect:
    """Where the token answer holds what; paths start at the first `root` that holds an access token, `keep` at the
    top. scope_names: what the provider calls a scope, to the name by which it is asked for.
    """

    root: tuple[str, ...]
    access_token: tuple[str, ...]
    refresh_token: tuple[str, ...]
    expires_in: tuple[str, ...]
    expires_at: tuple[str, ...]
    scope: tuple[str, ...]
    keep: tuple[str, ...]
    scope_names: Mapping[str, str]


@dataclass(frozen=True)
class TokenDialect:
    """assertion_audience: whom client assertions are for: "token_endpoint", "issuer", or a URL. default_expires_in: seconds,
    for providers whose answer names no end.
    """

    url: str
    method: Method
    auth: ClientAuth
    assertion_audience: str
    basic_encoding: BasicEncoding
    body: Body
    params: Mapping[str, str]
    rename: Mapping[str, str]
    headers: Mapping[str, str]
    ok: OkTest | None
    response: TokenAnswerDialect
    default_expires_in: int | None


@dataclass(frozen=True)
class RefreshDialect(TokenDialect):
    """using: which token buys the next one; margin: seconds before expiry at which a refresh is due, None for the
    usual rule.
    """

    using: Using
    margin: int | None


@dataclass(frozen=True)
class IdTokenDialect:
    """issuers: what the provider writes for its issuer besides that itself. require: claims that whoever logs in must have."""

    issuers: tuple[str, ...]
    require: Mapping[str, str]


@dataclass(frozen=True)
class UserinfoDialect:
    url: str
    method: Method
    params: Mapping[str, str]
    headers: Mapping[str, str]
    root: tuple[str, ...]
    ok: OkTest | None
    claims: Mapping[str, tuple[str, ...]]
    token: TokenPlacement


@dataclass(frozen=True)
class ErrorDialect:
    map: Mapping[str, str]
    code: tuple[str, ...]
    detail: tuple[str, ...]


@dataclass(frozen=True)
class RevokeDialect:
    url: str
    method: Method
    auth: ClientAuth
    basic_encoding: BasicEncoding
    body: Body
    params: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class ApiDialect:
    """retry: names of headers that say when to try again, for every answer of the provider. allow: what clients may call through
    the proxy; forward: names (lower case) of further request headers that go on with it.
    """

    base: str | None
    headers: Mapping[str, str]
    retry: tuple[str, ...]
    token: TokenPlacement
    allow: tuple[AllowRule, ...] = ()
    forward: tuple[str, ...] = ()


@dataclass(frozen=True)
class Discovered:
    """What discovery says beside addresses. algorithms: for ID tokens, of those that the broker verifies; names_issuer:
    the redirect always has `iss` (RFC 9207 section 3).
    """

    jwks_uri: str
    algorithms: tuple[str, ...]
    names_issuer: bool


@dataclass(frozen=True)
class Provider:
    """One provider's dialect, checked. `authorize.url` and `token.url` are "" only where discovery is still to name them.

    discovered: None until discovery was made, and for providers without an issuer.
    title: what people call it, on pages; the name where the file does not say.
    claims: where the profile and the ID token hold which claim, as lists of paths.
    local: plain http to loopback was allowed when the file was read, and is for what a variable brings.
    """

    name: str
    issuer: str | None
    variables: Mapping[str, Variable]
    authorize: AuthorizeDialect
    callback: CallbackDialect
    token: TokenDialect
    refresh: RefreshDialect
    id_token: IdTokenDialect
    userinfo: UserinfoDialect | None
    errors: ErrorDialect
    revoke: RevokeDialect | None
    api: ApiDialect
    hook: str | None
    title: str
    claims: Mapping[str, tuple[str, ...]]
    local: bool = False
    discovered: Discovered | None = None

    @property
    def has_userinfo(self) -> bool:
        """Without a userinfo URL the subject of a login cannot be known."""
        return self.userinfo is not None

    @property
    def has_revoke(self) -> bool:
        return self.revoke is not None

    @property
    def needs_discovery(self) -> bool:
        """Whether the issuer is asked for addresses or for the keys of ID tokens. An OAuth server that has an issuer for its
        redirects alone (RFC 9207) need not speak OpenID."""
        return self.has_id_token or (self.issuer is not None and (not self.authorize.url or not self.token.url))

    @property
    def has_id_token(self) -> bool:
        """Whether every login brings an ID token."""
        return self.issuer is not None and "openid" in self.authorize.scope

    @property
    def uses_pkce(self) -> bool:
        return self.authorize.pkce == "S256"

    @property
    def needs_key(self) -> bool:
        """Whether the broker signs at this provider, so that a private key has to be in the provider's secret."""
        return self._makes_secret or "private_key_jwt" in self._auth_methods

    @property
    def needs_secret(self) -> bool:
        """Whether a client secret that the provider gave has to be in the provider's secret."""
        return not self._makes_secret and not self._auth_methods.isdisjoint({"body", "basic"})

    @property
    def _auth_methods(self) -> frozenset[ClientAuth]:
        return frozenset(call.auth for call in (self.token, self.refresh, self.revoke) if call is not None)

    @property
    def _makes_secret(self) -> bool:
        return self.python_hook is not None and self.python_hook.client_secret is not None

    @property
    def answers_by_form(self) -> bool:
        """Whether the browser brings the answer in a POST from the provider's site (OAuth 2.0 Form Post Response Mode)."""
        return self.authorize.params.get("response_mode") == "form_post"

    @property
    def python_hook(self) -> Hook | None:
        """What the provider needs beyond its file; None for most."""
        return HOOKS.get(self.hook or "")

    def usable_problem(self) -> str | None:
        """One sentence saying why this broker cannot run the provider, or None."""
        if self.hook is not None and self.hook not in HOOKS:
            return f"{self.name} needs the Python hook {shown(self.hook)}, which this broker does not have."
        return None


def merge_overrides(document: Mapping[str, object], overrides: Mapping[str, object]) -> dict[str, object]:
    """A copy of a provider document with dotted keys set over it (`authorize.url`, `token.params.grant_type`).

    A table is merged into a table; everything else replaces. An empty string stays, and takes the value back when
    parsed. Raises ProviderFileError for a key that leads through something that is no table.
    """
    merged = _copy(document)
    for key, value in overrides.items():
        here, steps = merged, key.split(".")
        for step in steps[:-1]:
            inner = here.setdefault(step, {})
            if not isinstance(inner, dict):
                raise ProviderFileError("override", key, f"leads through {step}, which is not a table")
            here = inner
        if not all(steps):
            raise ProviderFileError("override", key, "is not a dotted name")
        last = here.get(steps[-1])
        if isinstance(last, dict) and isinstance(value, Mapping):
            here[steps[-1]] = merge_overrides(last, value)
        else:
            here[steps[-1]] = _copy(value) if isinstance(value, Mapping) else value
    return merged


def _copy(document: Mapping[str, object]) -> dict[str, object]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in document.items()}


def parse_provider(
    name: str,
    document: Mapping[str, object],
    *,
    source: str,
    variables: Mapping[str, str] = MappingProxyType({}),
    local: bool = False,
    discovered: Discovered | None = None,
) -> Provider:
    """Read a provider document (the TOML file with any overrides merged) into a Provider.

    name: lower-case letters, digits and hyphens: it is a path segment of the callback.
    source: the file's name, for errors. variables: the operator's values for the file's `vars`.
    local: allow plain http to loopback. discovered: what the issuer says, once its addresses are in the document.
    Raises ProviderFileError.
    """
    if not _NAME.fullmatch(name):
        raise ProviderFileError(
            source, "", f"a provider's name is 1 to 64 of a-z, 0-9 and inner hyphens, not {shown(name)}"
        )
    top = Table(source, "", document)
    if top.has("serve"):
        raise top.error("serve", "is for the catalogue's own files: the paths that it names are routes of the template")
    token = _token(top.table("token"), required=not top.has("issuer"))
    api = _api(top.table("api"))
    declared = _variables(top.table("vars"), variables)
    userinfo = top.table("userinfo")
    claims = _claims(userinfo)
    provider = Provider(
        name=name,
        issuer=_issuer(top, declared, local=local),
        variables=declared,
        authorize=_authorize(top.table("authorize"), required=not top.has("issuer"), openid=discovered is not None),
        callback=_callback(top.table("callback")),
        token=token,
        refresh=_refresh(top.table("refresh"), token),
        id_token=_id_token(top.table("id_token")),
        userinfo=_userinfo(userinfo, api, claims),
        errors=_errors(top.table("errors")),
        revoke=_revoke(top.table("revoke"), token),
        api=api,
        hook=top.text("hook"),
        title=_title(top) or name,
        claims=claims,
        local=local,
        discovered=discovered,
    )
    top.done()
    _Placeholders(provider, source).check()
    _check_hook(provider, top)
    if provider.id_token.require and not provider.has_id_token:
        # Or nobody would look at the claims, and everybody could log in.
        raise ProviderFileError(source, "id_token.require", "needs an issuer, and openid in authorize.scope")
    if provider.token.assertion_audience == "issuer" and provider.issuer is None:
        raise ProviderFileError(source, "token.assertion_audience", "needs an issuer, which the file does not name")
    return provider


def _check_hook(provider: Provider, top: Table) -> None:
    for name in provider.python_hook.variables if provider.python_hook else ():
        if name not in provider.variables:
            raise top.error("hook", f"{shown(provider.hook)} needs vars.{name}.pattern")
        if provider.variables[name].value is None:
            raise ProviderFileError(top.source, f"vars.{name}", "needs a value: the hook uses it")


def _title(top: Table) -> str | None:
    title = top.text("title")
    if title is not None and (len(title) > MAX_TITLE or not title.isprintable() or not title.strip()):
        raise top.error("title", f"must be 1 to {MAX_TITLE} printable characters")
    return title


def _issuer(top: Table, variables: Mapping[str, Variable], *, local: bool) -> str | None:
    """The issuer, filled: it is compared, so it is known before anything is called."""
    issuer = top.text("issuer")
    if issuer is not None:
        known = {name: variable.value for name, variable in variables.items() if variable.value is not None}
        for name in placeholders(issuer):
            if name not in variables:
                raise top.error("issuer", f"{{{name}}} is not declared: add vars.{name}.pattern")
            if name not in known:
                raise ProviderFileError(top.source, f"vars.{name}", "needs a value: issuer uses it")
        try:
            issuer = fill_url(issuer, known, local=local)
        except TemplateError as problem:
            raise top.error("issuer", problem.rule) from None
        if "?" in issuer:
            raise top.error("issuer", "must not have a query (RFC 8414 section 2)")
    return issuer


def _variables(table: Table, values: Mapping[str, str]) -> Mapping[str, Variable]:
    declared: dict[str, Variable] = {}
    for name, entry in table.tables().items():
        if name in _RESERVED or not _VARIABLE_NAME.fullmatch(name):
            raise table.error(name, "is not a name a variable can have")
        pattern = entry.text("pattern")
        if pattern is None:
            raise entry.error("pattern", "is required: it decides which values may enter a URL")
        try:
            re.compile(pattern)
        except re.error as problem:
            raise entry.error("pattern", f"is not a regular expression ({problem})") from None
        entry.done()
        declared[name] = Variable(pattern, values.get(name))
        if name in values and not declared[name].matches(values[name]):
            raise table.error(name, f"{shown(values[name])} does not match the pattern {pattern}")
    for name in values:
        if name not in declared:
            listed = f"the file declares {', '.join(sorted(declared))}" if declared else "the file declares none"
            raise table.error(name, f"is not a variable; {listed}")
    return MappingProxyType(declared)


def _url(table: Table, *, required: bool) -> str:
    url = table.text("url")
    if url is None and required:
        raise table.error("url", "is required")
    return url or ""


def _authorize(table: Table, *, required: bool, openid: bool) -> AuthorizeDialect:
    params = {"response_type": "code", **table.strings_by_name("params")}
    for name in _OWNED_BY_AUTHORIZE:
        if name in params:
            raise table.error(
                f"params.{name}", "is set by the broker itself; see authorize.state, .pkce, .scope and .rename"
            )
    separator = table.text("scope_separator")
    dialect = AuthorizeDialect(
        url=_url(table, required=required),
        params=MappingProxyType(params),
        rename=table.strings_by_name("rename"),
        scope=table.words("scope"),
        scope_separator=" " if separator is None else separator,
        scope_param=table.text("scope_param") or "scope",
        pkce=table.choice("pkce", ("S256", "off"), "S256"),
        state=table.choice("state", ("echo", "redirect_query", "cookie"), "echo"),
        prompts=_prompts(table, openid=openid),
    )
    table.done()
    return dialect


def _prompts(table: Table, *, openid: bool) -> Mapping[str, str]:
    """An OpenID provider knows the words of OpenID Connect Core section 3.1.2.1, unless the file says otherwise."""
    own = table.strings_by_name("prompts")
    for name, word in own.items():
        if name not in PROMPTS:
            raise table.error(f"prompts.{name}", f"is none of what a client may ask for: {', '.join(PROMPTS)}")
        if word.split() not in ([], [word]):
            raise table.error(f"prompts.{name}", "must be one word")
    known = {**({name: name for name in PROMPTS} if openid else {}), **own}
    return MappingProxyType({name: word for name, word in known.items() if word})


def _callback(table: Table) -> CallbackDialect:
    dialect = CallbackDialect(
        code=table.strings("code", ("code",)),
        error=table.strings("error", ("error",)),
        error_description=table.strings("error_description", ("error_description",)),
        keep=_keep(table),
    )
    table.done()
    return dialect


def _keep(table: Table) -> tuple[str, ...]:
    names = table.words("keep")
    for name in names:
        if name in _RESERVED or not _VARIABLE_NAME.fullmatch(name):
            raise table.error("keep", f"{shown(name)} is not a name a variable can have")
    return names


def _ok(table: Table) -> OkTest | None:
    if not table.has("ok"):
        table.value("ok")
        return None
    ok = table.table("ok")
    path, equals = ok.text("path"), ok.value("equals")
    if path is None:
        raise ok.error("path", "is required")
    if not isinstance(equals, str | int | float | bool):
        raise ok.error("equals", "must be a string, a number, true or false")
    ok.done()
    return OkTest(path, equals)


def _headers(table: Table, inherited: Mapping[str, str] = MappingProxyType({})) -> Mapping[str, str]:
    """Headers over inherited ones, whatever the case of their names."""
    own = table.strings_by_name("headers")
    for name, text in own.items():
        if not _HEADER_NAME.fullmatch(name):
            raise table.error(f"headers.{name}", "is not a header name")
        if name.lower() in {"host", "content-length", "transfer-encoding", "connection"}:
            raise table.error(f"headers.{name}", "is set by the broker itself")
        if not _HEADER_TEXT.fullmatch(text):
            raise table.error(f"headers.{name}", "must be printable ASCII")
    replaced = {name.lower() for name in own}
    kept = {name: text for name, text in inherited.items() if name.lower() not in replaced}
    return MappingProxyType({**kept, **{name: text for name, text in own.items() if text}})


def _body(table: Table, method: Method, default: Body) -> Body:
    """A GET carries its parameters in the query; every other method as the file says."""
    body = table.choice("body", ("form", "json", "query"), "query" if method == "GET" else default)
    if method == "GET" and body != "query":
        raise table.error("body", f'must be "query" when the method is GET, not {shown(body)}')
    return body


def _params(table: Table, inherited: Mapping[str, str] = MappingProxyType({})) -> Mapping[str, str]:
    return MappingProxyType({**inherited, **table.strings_by_name("params")})


_AUTH: tuple[ClientAuth, ...] = ("body", "basic", "none", "private_key_jwt")
_ENCODINGS: tuple[BasicEncoding, ...] = ("form", "raw")


def _token(table: Table, *, required: bool) -> TokenDialect:
    method: Method = table.choice("method", ("POST", "GET"), "POST")
    dialect = TokenDialect(
        url=_url(table, required=required),
        method=method,
        auth=table.choice("auth", _AUTH, "body"),
        assertion_audience=_assertion_audience(table),
        basic_encoding=table.choice("basic_encoding", _ENCODINGS, "form"),
        body=_body(table, method, "form"),
        params=_params(table),
        rename=table.strings_by_name("rename"),
        headers=_headers(table),
        ok=_ok(table),
        response=_token_answer(table.table("response")),
        default_expires_in=table.seconds("default_expires_in", least=1),
    )
    table.done()
    return dialect


def _assertion_audience(table: Table) -> str:
    audience = table.text("assertion_audience") or "token_endpoint"
    if audience not in ("token_endpoint", "issuer"):
        try:
            check_url(audience, local=True)
        except TemplateError:
            raise table.error(
                "assertion_audience", f'must be "token_endpoint", "issuer" or a URL, not {shown(audience)}'
            ) from None
    return audience


_RFC_ANSWER = TokenAnswerDialect(
    ("",), ("access_token",), ("refresh_token",), ("expires_in",), ("expires_at",), ("scope",), (), MappingProxyType({})
)  # RFC 6749 section 5.1; expires_at is what many add


def _token_answer(table: Table, inherited: TokenAnswerDialect = _RFC_ANSWER) -> TokenAnswerDialect:
    dialect = TokenAnswerDialect(
        root=table.strings("root", inherited.root),
        access_token=table.strings("access_token", inherited.access_token),
        refresh_token=table.strings("refresh_token", inherited.refresh_token),
        expires_in=table.strings("expires_in", inherited.expires_in),
        expires_at=table.strings("expires_at", inherited.expires_at),
        scope=table.strings("scope", inherited.scope),
        keep=_keep(table) or inherited.keep,
        scope_names=table.strings_by_name("scope_names") or inherited.scope_names,
    )
    table.done()
    return dialect


def _refresh(table: Table, token: TokenDialect) -> RefreshDialect:
    """Everything left out is as at the token endpoint, except what belongs to the login being finished there."""
    method: Method = table.choice("method", ("POST", "GET"), token.method)
    of_the_code = ("grant_type", "redirect_uri")
    inherited = {
        name: text
        for name, text in token.params.items()
        if name not in of_the_code and "state" not in placeholders(text)
    }
    own_ok = _ok(table)
    dialect = RefreshDialect(
        url=_url(table, required=False) or token.url,
        method=method,
        auth=table.choice("auth", _AUTH, token.auth),
        assertion_audience=token.assertion_audience,
        basic_encoding=table.choice("basic_encoding", _ENCODINGS, token.basic_encoding),
        body=_body(table, method, token.body if method == token.method else "form"),
        params=_params(table, inherited),
        rename=table.strings_by_name("rename") or token.rename,
        headers=_headers(table, {n: text for n, text in token.headers.items() if "state" not in placeholders(text)}),
        ok=own_ok or token.ok,
        response=_token_answer(table.table("response"), token.response),
        default_expires_in=table.seconds("default_expires_in", least=1) or token.default_expires_in,
        using=table.choice("using", ("refresh_token", "access_token"), "refresh_token"),
        margin=table.seconds("margin", least=0),
    )
    table.done()
    return dialect


_BEARER = TokenPlacement("header", "Authorization", "Bearer {access_token}")  # RFC 6750 section 2.1


def _placement(table: Table, default: TokenPlacement) -> TokenPlacement:
    text = table.text("token")
    if text is None:
        return default
    place, _, rest = text.partition(":")
    if place == "query" and rest and ":" not in rest:
        return TokenPlacement("query", rest)
    name, colon, template = rest.partition(":")
    if place == "header" and colon and _HEADER_NAME.fullmatch(name) and _HEADER_TEXT.fullmatch(template):
        return TokenPlacement("header", name, template)
    raise table.error("token", f'must be "header:NAME:TEXT with {{access_token}}" or "query:NAME", not {shown(text)}')


CLAIMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"sub": ("sub", "id", "user_id", "userId"), "email": ("email",), "name": ("name",)}
)


def _userinfo(table: Table, api: ApiDialect, claims: Mapping[str, tuple[str, ...]]) -> UserinfoDialect | None:
    """Headers and the token's place are those of the provider's API unless the file says otherwise."""
    method: Method = table.choice("method", ("GET", "POST"), "GET")
    url = _url(table, required=False)
    dialect = UserinfoDialect(
        url=url,
        method=method,
        params=_params(table),
        headers=_headers(table, api.headers),
        root=table.strings("root", ("",)),
        ok=_ok(table),
        claims=claims,
        token=_placement(table, api.token),
    )
    table.done()
    return dialect if url else None


def _id_token(table: Table) -> IdTokenDialect:
    required = {name: value for name, value in table.strings_by_name("require").items() if value}
    dialect = IdTokenDialect(issuers=table.strings("issuers", ()), require=MappingProxyType(required))
    table.done()
    return dialect


def _claims(table: Table) -> Mapping[str, tuple[str, ...]]:
    entries = table.value("claims")
    if entries is None:
        return CLAIMS
    if not isinstance(entries, Mapping):
        raise table.error("claims", f"must be a table, not {shown(entries)}")
    own = Table(table.source, table.name_of("claims"), entries)
    claims = dict(CLAIMS)
    for name in entries:
        paths = own.strings(name, ())
        if not paths and name == "sub":
            raise own.error(name, "cannot be removed: a login has a subject")
        claims[name] = paths
    return MappingProxyType({name: paths for name, paths in claims.items() if paths})


def _errors(table: Table) -> ErrorDialect:
    codes = table.strings_by_name("map")
    for code, meaning in codes.items():
        if meaning not in OAUTH_CODES:
            raise table.error(f"map.{code}", f"must be an OAuth error code, not {shown(meaning)}")
    dialect = ErrorDialect(
        map=codes,
        code=table.strings("code", ("error.code", "error", "errors.0.errorType")),
        detail=table.strings("detail", ("error_description", "error.message", "message")),
    )
    table.done()
    return dialect


def _revoke(table: Table, token: TokenDialect) -> RevokeDialect | None:
    method: Method = table.choice("method", ("POST", "DELETE", "GET", "PUT", "PATCH"), "POST")
    url = _url(table, required=False)
    dialect = RevokeDialect(
        url=url,
        method=method,
        auth=table.choice("auth", _AUTH, token.auth),
        basic_encoding=table.choice("basic_encoding", _ENCODINGS, token.basic_encoding),
        body=_body(table, method, "form"),
        params=_params(table),
        headers=_headers(table),
    )
    table.done()
    return dialect if url else None


def _api(table: Table) -> ApiDialect:
    dialect = ApiDialect(
        base=table.text("base"),
        headers=_headers(table),
        retry=tuple(name.lower() for name in table.strings("retry", ("Retry-After",))),
        token=_placement(table, _BEARER),
        allow=_allow(table),
        forward=_forward(table),
    )
    if dialect.allow and dialect.base is None:
        raise table.error("allow", "needs api.base, below which its paths are")
    if dialect.base is not None and "?" in dialect.base:
        raise table.error("base", "must not have a query")
    table.done()
    return dialect


def _allow(table: Table) -> tuple[AllowRule, ...]:
    rules: list[AllowRule] = []
    for text in table.strings("allow", ()):
        try:
            rules.append(AllowRule.parse(text))
        except ValueError as problem:
            raise table.error("allow", f"{shown(text)} {problem}") from None
    return tuple(rules)


# A client that chose these could name another method or path than the one that was checked, or another sender.
_NEVER_FORWARDED = re.compile(
    r"authorization|cookie2?|dpop|host|origin|referer|forwarded|via|te|trailer|upgrade|connection|keep-alive|expect|content-length"
    r"|transfer-encoding|proxy-.*|sec-.*|x-forwarded-.*|x-real-ip|x-original-.*|x-rewrite-.*|x-.*method.*|x-amzn?-.*"
)


def _forward(table: Table) -> tuple[str, ...]:
    names = tuple(name.lower() for name in table.strings("forward", ()))
    for name in names:
        if not _HEADER_NAME.fullmatch(name) or _NEVER_FORWARDED.fullmatch(name):
            raise table.error("forward", f"{shown(name)} is not a header that a client may choose")
    return names


@dataclass(frozen=True)
class _Use:
    """One text with placeholders: where it stands, and which names may fill it."""

    field: str
    text: str
    allowed: frozenset[str]
    is_url: bool = False


@dataclass(frozen=True)
class _Placeholders:
    """The check of every placeholder: declared, allowed where it stands, matched by a pattern, and no open door to
    foreign hosts.
    """

    provider: Provider
    source: str
    _operator: frozenset[str] = field(init=False)
    _of_callback: frozenset[str] = field(init=False)
    _of_token: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        provider = self.provider
        kept_later = frozenset((*provider.token.response.keep, *provider.refresh.response.keep))
        of_callback = frozenset(provider.callback.keep)
        object.__setattr__(self, "_of_callback", of_callback)
        object.__setattr__(self, "_of_token", of_callback | kept_later)
        object.__setattr__(self, "_operator", frozenset(provider.variables) - of_callback - kept_later)

    def check(self) -> None:
        for name in sorted(self._of_token):
            variable = self.provider.variables.get(name)
            if variable is not None and variable.value is not None:
                raise ProviderFileError(
                    self.source, f"vars.{name}", "is kept from the provider's answers and takes no value"
                )
        for use in self._uses():
            for name in placeholders(use.text):
                self._check_name(use, name)
            if use.is_url:
                self._check_url(use)

    def _uses(self) -> Iterable[_Use]:
        provider = self.provider
        client, secret = frozenset({"client_id"}), frozenset({"client_id", "client_secret"})
        yield from self._at("authorize", provider.authorize.url, provider.authorize.params, self._operator | client)
        exchange = self._operator | self._of_callback
        yield from self._at(
            "token", provider.token.url, provider.token.params, exchange | secret | {"state"}, provider.token.headers
        )
        every = self._operator | self._of_token | secret
        refresh = provider.refresh
        yield from self._at(
            "refresh", refresh.url, refresh.params, every | {"access_token", "refresh_token"}, refresh.headers
        )
        every |= {"access_token"}
        if userinfo := provider.userinfo:
            yield from self._at("userinfo", userinfo.url, userinfo.params, every, userinfo.headers)
            yield _Use("userinfo.token", userinfo.token.text, every)
        if revoke := provider.revoke:
            yield from self._at("revoke", revoke.url, revoke.params, every | {"refresh_token"}, revoke.headers)
        yield from self._at("api", provider.api.base or "", {}, every, provider.api.headers)
        yield _Use("api.token", provider.api.token.text, every)

    def _at(
        self,
        table: str,
        url: str,
        params: Mapping[str, str],
        allowed: frozenset[str],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterable[_Use]:
        """The uses of one endpoint. A URL of ours ends in logs and proxies: it never takes a secret or a token."""
        url_field = "api.base" if table == "api" else f"{table}.url"
        if url:
            yield _Use(
                url_field, url, allowed - {"client_secret", "access_token", "refresh_token", "state"}, is_url=True
            )
        for name, text in params.items():
            yield _Use(f"{table}.params.{name}", text, allowed)
        for name, text in headers.items():
            yield _Use(f"{table}.headers.{name}", text, allowed)

    def _check_name(self, use: _Use, name: str) -> None:
        if name in use.allowed:
            if name in _RESERVED:
                return
            variable = self.provider.variables.get(name)
            if variable is None:
                raise self._error(use, f"{{{name}}} needs vars.{name}.pattern, which says what its value may be")
            if variable.value is None and name in self._operator:
                raise ProviderFileError(self.source, f"vars.{name}", f"needs a value: {use.field} uses it")
            return
        if name in _RESERVED:
            raise self._error(use, f"{{{name}}} must not stand here")
        if name in self.provider.variables:
            raise self._error(use, f"{{{name}}} is not known yet at this step")
        raise self._error(use, f"{{{name}}} is not declared: add vars.{name}.pattern")

    def _check_url(self, use: _Use) -> None:
        """Fill the URL as far as it is known and hold it against the rules; what comes later is checked again then."""
        example = {"client_id": "x"}
        for name in placeholders(use.text):
            variable = self.provider.variables.get(name)
            if variable is None:
                continue
            example[name] = variable.value or ("https://x.example" if use.text.startswith(f"{{{name}}}") else "x")
            if variable.value is None and host_is_open(use.text, name) and _matches_any_host(variable):
                raise ProviderFileError(
                    self.source, f"vars.{name}.pattern", f"matches every host, and {use.field} would call it"
                )
        try:
            fill_url(use.text, example, local=self.provider.local)
        except TemplateError as problem:
            raise self._error(use, str(problem)) from None

    def _error(self, use: _Use, rule: str) -> ProviderFileError:
        return ProviderFileError(self.source, use.field, rule)


def _matches_any_host(variable: Variable) -> bool:
    return any(variable.matches(value) for value in (_FOREIGN_HOST, f"https://{_FOREIGN_HOST}"))
