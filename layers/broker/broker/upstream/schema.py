"""The provider schema: what one TOML file may say about a provider, read into a Provider.

Everything left out has a default; an empty string removes a default; wherever a name may vary on the wire the value
is a list of dotted paths of which the first hit wins.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from broker.printable import is_line
from broker.upstream.api_rules import AllowRule
from broker.upstream.oauth_codes import OAUTH_CODES
from broker.upstream.placeholder_rules import RESERVED, check_placeholders
from broker.upstream.provider import (
    ApiDialect,
    AuthorizeDialect,
    BasicEncoding,
    Body,
    CallbackDialect,
    ClientAuth,
    Discovered,
    ErrorDialect,
    IdTokenDialect,
    Method,
    OkTest,
    Provider,
    RefreshDialect,
    RevokeDialect,
    TokenAnswerDialect,
    TokenDialect,
    TokenPlacement,
    UserinfoDialect,
    Variable,
)
from broker.upstream.reader import ProviderFileError, Table, shown
from broker.upstream.templates import TemplateError, check_url, fill_url, placeholders

MAX_TITLE = 60
PROMPTS = ("login", "select_account")
"""What of a client's prompt is for the provider. `consent` is the broker's own page, `none` is answered by the broker."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_TEXT = re.compile(r"[ -~]*")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
# Parameters the interpreter owns in the authorization request: a file that set them would undo the state or PKCE.
_OWNED_BY_AUTHORIZE = ("state", "code", "code_challenge", "code_challenge_method", "nonce", "scope")


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
    check_placeholders(provider, source)
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
    if title is not None and not is_line(title, MAX_TITLE):
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
        if name in RESERVED or not _VARIABLE_NAME.fullmatch(name):
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
        login_hint=_login_hint(table, openid=openid),
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


def _login_hint(table: Table, *, openid: bool) -> str:
    """The parameter's name. An OpenID provider knows OpenID Connect Core's (section 3.1.2.1), unless the file says otherwise."""
    default = "login_hint" if openid and not table.removes("login_hint") else ""
    name = table.text("login_hint") or default
    if name in (*_OWNED_BY_AUTHORIZE, "client_id", "redirect_uri", "response_type"):
        raise table.error("login_hint", f"{shown(name)} is set by the broker itself")
    return name


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
        if name in RESERVED or not _VARIABLE_NAME.fullmatch(name):
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


_OF_THE_TOKEN = frozenset(
    {
        "iss",
        "aud",
        "exp",
        "iat",
        "nbf",
        "jti",
        "auth_time",
        "nonce",
        "at_hash",
        "c_hash",
        "azp",
        "acr",
        "amr",
        "sid",
        "cnf",
    }
)
"""Claims about a token and its login, not about a person (OpenID Connect Core section 2)."""


def _claims(table: Table) -> Mapping[str, tuple[str, ...]]:
    entries = table.value("claims")
    if entries is None:
        return CLAIMS
    if not isinstance(entries, Mapping):
        raise table.error("claims", f"must be a table, not {shown(entries)}")
    own = Table(table.source, table.name_of("claims"), entries)
    claims = dict(CLAIMS)
    for name in entries:
        if name in _OF_THE_TOKEN:
            raise own.error(name, "is the broker's own to say in its ID tokens")
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


# A client that chose these could name another method or path than the one that was checked, or another sender, or a content
# coding in which nobody can see whether the answer quotes the token.
_NEVER_FORWARDED = re.compile(
    r"authorization|cookie2?|dpop|host|origin|referer|forwarded|via|te|trailer|upgrade|connection|keep-alive|expect|content-length"
    r"|accept-encoding|transfer-encoding|proxy-.*|sec-.*|x-forwarded-.*|x-real-ip|x-original-.*|x-rewrite-.*|x-.*method.*|x-amzn?-.*"
)


def _forward(table: Table) -> tuple[str, ...]:
    names = tuple(name.lower() for name in table.strings("forward", ()))
    for name in names:
        if not _HEADER_NAME.fullmatch(name) or _NEVER_FORWARDED.fullmatch(name):
            raise table.error("forward", f"{shown(name)} is not a header that a client may choose")
    return names
