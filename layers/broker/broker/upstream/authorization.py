"""The browser's way to the provider and back: the authorization URL, and what comes to the callback.

Must never put a secret into a URL, and never trust what comes back: every parameter of the callback is chosen by
whoever sent it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from broker.upstream.failures import UpstreamFailure, map_code, scrub
from broker.upstream.hooks import Hook, stated_claims
from broker.upstream.normalise import keep_value
from broker.upstream.signing import ClientKey
from broker.upstream.templates import fill, fill_url

if TYPE_CHECKING:
    from broker.upstream.provider import Provider

STATE_IN_REDIRECT = "txn"
_VSCHAR = re.compile(r"[ -~]+")
# What a client may be told of the provider's refusal; anything else is between the broker and the provider.
_PASSED_ON = frozenset(
    {
        "access_denied",
        "invalid_scope",
        "unauthorized_client",
        "temporarily_unavailable",
        "login_required",
        "interaction_required",
        "account_selection_required",
        "consent_required",
    }
)


@dataclass(frozen=True)
class Credentials:
    """The broker's registration at the provider. client_secret: "" where the provider gave none; key: what signs in its
    place, where the provider knows the broker by a key.

    other: asked when the provider has refused these: what else the broker may be known by, None for nothing. accepted: to
    be told that the provider took them after it had refused those.
    """

    client_id: str
    client_secret: str = field(default="", repr=False)
    key: ClientKey | None = field(default=None, repr=False)
    other: Callable[[], Credentials | None] | None = field(default=None, repr=False, compare=False)
    accepted: Callable[[], None] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class CallbackAnswer:
    """The provider's answer through the browser. Either code or error is set.

    state: None where the dialect's state is the cookie alone. error: an OAuth code fit for the client's redirect.
    error_detail: for the log alone. iss: RFC 9207, already compared with the provider's issuer where that is known.
    kept: values for later calls, already held against their patterns. claims: what the redirect says of the person, where
    the provider has a hook that reads it; his own word, below everything that the provider signs or answers.
    """

    state: str | None = field(repr=False)
    code: str | None = field(default=None, repr=False)
    error: str | None = None
    error_detail: str | None = None
    iss: str | None = None
    kept: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    claims: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)


class CallbackProblem(Exception):
    """The callback's parameters are no answer (row 3). state: of the transaction, if it could be read, to tell the
    client.
    """

    def __init__(self, reason: str, state: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.state = state


def authorization_url(
    provider: Provider,
    credentials: Credentials,
    *,
    redirect_uri: str,
    state: str | None,
    scope: Sequence[str],
    code_challenge: str | None,
    nonce: str | None,
    max_age: int | None = None,
    prompts: Sequence[str] = (),
    login_hint: str = "",
) -> str:
    """Where to send the browser (RFC 6749 section 4.1.1).

    redirect_uri: as `callback_redirect_uri` gave it. scope: added to the file's own. state, code_challenge and nonce
    are sent only where the dialect has a place for them. max_age: the client's wish, which only an OpenID provider knows;
    prompts: the client's too, of which those go out that the dialect has a word for, before the file's own. login_hint: the
    client's, which goes out if the dialect has a name for it and the file no value. Raises TemplateError if the URL cannot
    be filled.
    """
    dialect = provider.authorize
    scopes = tuple(dict.fromkeys((*dialect.scope, *scope)))
    values = _operator_values(provider, credentials)
    params: dict[str, str] = {"client_id": credentials.client_id, "redirect_uri": redirect_uri}
    params |= {name: fill(text, values) for name, text in dialect.params.items()}
    if scopes:
        params[dialect.scope_param] = dialect.scope_separator.join(scopes)
    if dialect.state == "echo" and state is not None:
        params["state"] = state
    if provider.uses_pkce and code_challenge is not None:
        params |= {"code_challenge": code_challenge, "code_challenge_method": "S256"}
    if nonce is not None and (provider.issuer is not None or "openid" in scopes):
        params["nonce"] = nonce
    if provider.discovered is not None and max_age is not None:
        params["max_age"] = str(max_age)
    asked = [dialect.prompts[name] for name in prompts if name in dialect.prompts]
    if asked:
        params["prompt"] = " ".join(dict.fromkeys((*asked, *params.get("prompt", "").split())))
    if dialect.login_hint and login_hint:
        params.setdefault(dialect.login_hint, login_hint)
    pairs = [(dialect.rename.get(name, name), value) for name, value in params.items() if value]
    url = fill_url(dialect.url, values, local=provider.local)
    return f"{url}{'&' if '?' in url else '?'}{urlencode(pairs, quote_via=quote)}"


def callback_redirect_uri(provider: Provider, base_redirect_uri: str, state: str | None) -> str:
    """The redirect URI of this login, for the authorization request and, unchanged, for the token request.

    Where a provider promises no state but leaves the query of the redirect URI free, the state travels in there.
    """
    if provider.authorize.state != "redirect_query" or state is None:
        return base_redirect_uri
    separator = "&" if "?" in base_redirect_uri else "?"
    return f"{base_redirect_uri}{separator}{urlencode({STATE_IN_REDIRECT: state}, quote_via=quote)}"


def read_callback(provider: Provider, pairs: Sequence[tuple[str, str]]) -> CallbackAnswer:
    """The parameters of the callback, decoded, in order. Raises CallbackProblem for what is no answer."""
    dialect = provider.callback
    state_name = {"echo": "state", "redirect_query": STATE_IN_REDIRECT, "cookie": None}[provider.authorize.state]
    hook = provider.python_hook or Hook()
    named = {*dialect.code, *dialect.error, *dialect.error_description, *dialect.keep, "iss"}
    known = {state_name or "", hook.parameter or "", *named} - {""}
    values: dict[str, str] = {}
    repeated: set[str] = set()
    for name, value in pairs:
        if name in known and value:
            if name in values:
                repeated.add(name)
            values[name] = value
    state = values.get(state_name) if state_name and state_name not in repeated else None
    if repeated:  # RFC 6749 section 3.1; two codes are the sign of an injection
        raise CallbackProblem(f"repeated: {', '.join(sorted(repeated))}", state)
    code, error = _first(values, dialect.code), _first(values, dialect.error)
    if (code is None) == (error is None):
        raise CallbackProblem("neither code nor error" if code is None else "both code and error", state)
    if code is not None and not _VSCHAR.fullmatch(code):
        raise CallbackProblem("the code is not printable ASCII", state)
    iss = values.get("iss")
    if iss is not None and provider.issuer is not None and iss != provider.issuer:
        raise CallbackProblem("iss is another issuer's (RFC 9207 section 2.4)", state)
    if iss is None and provider.discovered is not None and provider.discovered.names_issuer:
        raise CallbackProblem("iss is missing, which the provider always sends (RFC 9207 section 2.4)", state)
    if error is not None:
        words = _first(values, dialect.error_description) or ""
        detail = scrub(f"{error}: {words}" if words else error)
        return CallbackAnswer(state, error=_redirectable(provider, error), error_detail=detail, iss=iss)
    claims = stated_claims(hook, values.get(hook.parameter or "", ""))
    return CallbackAnswer(state, code=code, iss=iss, kept=_kept(provider, values, state), claims=claims)


def _operator_values(provider: Provider, credentials: Credentials) -> dict[str, str]:
    fixed = {name: variable.value for name, variable in provider.variables.items() if variable.value is not None}
    return {**fixed, "client_id": credentials.client_id}


def _first(values: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((values[name] for name in names if name in values), None)


def _redirectable(provider: Provider, error: str) -> str:
    code = map_code(provider.errors, error)
    return code if code in _PASSED_ON else "server_error"


def _kept(provider: Provider, values: Mapping[str, str], state: str | None) -> Mapping[str, str]:
    try:
        found = {name: keep_value(provider, name, values[name]) for name in provider.callback.keep if name in values}
    except UpstreamFailure as failure:
        raise CallbackProblem(failure.detail, state) from None
    return MappingProxyType(found)
