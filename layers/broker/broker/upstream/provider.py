"""One provider's dialect as frozen values: what its TOML file says (schema.py reads it), checked and with all defaults.

Must never hold a credential: client id and secret come from elsewhere, at use.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from broker.upstream.api_rules import AllowRule
from broker.upstream.hooks import HOOKS, Hook
from broker.upstream.reader import shown

State = Literal["echo", "redirect_query", "cookie"]
Pkce = Literal["S256", "off"]
Method = Literal["GET", "POST", "DELETE", "PUT", "PATCH"]
ClientAuth = Literal["body", "basic", "none", "private_key_jwt"]
BasicEncoding = Literal["form", "raw"]
Body = Literal["form", "json", "query"]
Using = Literal["refresh_token", "access_token"]


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
    """prompts: what a client may want the person to be asked, to the provider's word for it in its parameter `prompt`.
    login_hint: the provider's parameter for whom the client expects to sign in, "" if it has none.
    """

    url: str
    params: Mapping[str, str]
    rename: Mapping[str, str]
    scope: tuple[str, ...]
    scope_separator: str
    scope_param: str
    pkce: Pkce
    state: State
    prompts: Mapping[str, str]
    login_hint: str


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
