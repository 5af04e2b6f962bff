"""The authorization request (RFC 6749 section 4.1.1, OpenID Connect Core section 3.1.2.1): checking what a client asks.

The same checks serve the authorization endpoint and pushed requests (RFC 9126).
"""

from dataclasses import dataclass, field
from urllib.parse import quote

from broker.protocol import dpop, pkce
from broker.protocol.clients import Client
from broker.protocol.errors import (
    INVALID_REQUEST,
    LOGIN_REQUIRED,
    REGISTRATION_NOT_SUPPORTED,
    REQUEST_NOT_SUPPORTED,
    UNAUTHORIZED_CLIENT,
    UNSUPPORTED_RESPONSE_TYPE,
    OAuthError,
)
from broker.protocol.parameters import Parameters
from broker.protocol.redirects import is_registered, mismatch
from broker.protocol.scopes import allowed_scope, check_resources, parse_scope

RESPONSE_TYPES = ("code",)
RESPONSE_MODES = ("query", "form_post")
PROMPTS = ("none", "login", "consent", "select_account")
MAX_STATE = 5000
"""Characters of `state` as a URL has it: it comes back in one, of which 8,000 are all that one can count on (RFC 9110 4.1)."""
MAX_NONCE = 512
"""Bytes. Both are stored with each login that anybody begins, and DynamoDB writes by the KB."""
REQUEST_URI_PREFIX = "urn:ietf:params:oauth:request_uri:"
"""Of the reference to a pushed request (RFC 9126 section 2.2)."""

MAX_LOGIN_HINT = 256
"""Characters: the longest e-mail address has 254 (RFC 5321 section 4.5.3.1.3)."""

_READ = frozenset(
    (
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "dpop_jkt",
        "login_hint",
        "max_age",
        "nonce",
        "prompt",
        "reconnect",
        "redirect_uri",
        "resource",
        "response_mode",
        "response_type",
        "scope",
        "state",
    )
)
"""What is read of a request beside the provider. All else is ignored (RFC 6749 section 3.1)."""

_UNSUPPORTED = {"request": REQUEST_NOT_SUPPORTED, "registration": REGISTRATION_NOT_SUPPORTED}


class NoReturn(Exception):
    """The answer cannot be redirected, because where to is not known to be right. `explanation` is for the person; `sent` for the
    operator: what is wrong with where the request wanted to be answered, "" if it did not say so once."""

    def __init__(self, explanation: str, sent: str = "") -> None:
        super().__init__("invalid_request")
        self.explanation = explanation
        self.sent = sent


@dataclass(frozen=True)
class ReturnAddress:
    """Where a client's answer goes: its registered redirect URI, its state unchanged, and how ("query", "form_post").

    dialect: name of the dialect that the request was in and the answer will be in, "" for standard OAuth.
    """

    redirect_uri: str
    state: str | None
    response_mode: str = "query"
    dialect: str = ""


@dataclass(frozen=True)
class AuthorizationRequest:
    """A checked request. `provider` is None when the client may use several and did not say which.

    dpop_jkt: thumbprint of the DPoP key that the code is to be bound to (RFC 9449 section 10).
    reconnects: id of the login whose place the new one is to take (docs/links.md), "" for none.
    login_hint: whom the client expects to sign in, "" if it does not say. It names a person: for the provider alone.
    """

    address: ReturnAddress
    redirect_uri_sent: bool
    provider: str | None
    scope: tuple[str, ...]
    resource: tuple[str, ...]
    code_challenge: str | None
    nonce: str | None
    max_age: int | None
    prompts: tuple[str, ...]
    dpop_jkt: str | None = None
    reconnects: str = ""
    login_hint: str = field(default="", repr=False)


def return_address(client: Client, parameters: Parameters) -> ReturnAddress:
    """Where to answer. A client with one redirect URI may leave it out (RFC 6749 section 3.1.2.3). A state that `check` will
    refuse does not come back. Errors: NoReturn."""
    asked = parameters.all("redirect_uri")
    if len(asked) > 1 or (not asked and len(client.redirect_uris) != 1):
        raise NoReturn("The application must say once where to return to (redirect_uri).")
    redirect_uri = asked[0] if asked else client.redirect_uris[0]
    if not is_registered(redirect_uri, client.redirect_uris):
        unregistered = "The address to return to is not registered for this application (redirect_uri)."
        raise NoReturn(unregistered, mismatch(redirect_uri, client.redirect_uris))
    states, mode = parameters.all("state"), parameters.get("response_mode")
    known_mode = mode if mode in RESPONSE_MODES else "query"
    returned = states[0] if len(states) == 1 and _is_returnable(states[0]) else None
    return ReturnAddress(redirect_uri, returned, known_mode)


def _is_returnable(state: str) -> bool:
    return len(quote(state, safe="")) <= MAX_STATE


def check(client: Client, address: ReturnAddress, parameters: Parameters, issuer: str) -> AuthorizationRequest:
    """Check everything else. Errors: OAuthError, which may be redirected to `address`."""
    parameters.reject_repeated()
    _check_lengths(parameters)
    _check_response(client, parameters)
    prompts = _check_openid(parameters)
    challenge = parameters.get("code_challenge")
    pkce.check_challenge(challenge, parameters.get("code_challenge_method"), required=client.require_pkce)
    return AuthorizationRequest(
        address=address,
        redirect_uri_sent=parameters.get("redirect_uri") is not None,
        provider=provider_name(client, parameters.get("provider")),
        scope=allowed_scope(parse_scope(parameters.get("scope")), client.scope),
        resource=check_resources(parameters.all("resource"), (*client.resources, issuer)),
        code_challenge=challenge,
        nonce=parameters.get("nonce"),
        max_age=_max_age(parameters),
        prompts=prompts,
        dpop_jkt=dpop.check_jkt(parameters.get("dpop_jkt")),
        login_hint=_login_hint(parameters),
    )


def repeatable(parameters: Parameters) -> list[tuple[str, str]]:
    """What of a request that `check` took makes the same request again, but for the provider. It is for an address, and API
    Gateway takes none over 10 KB with all headers; a posted request may be longer by what nobody reads."""
    read = [(name, value) for name, value in parameters.pairs() if name in _READ and value]
    return [pair for pair in read if pair[0] != "login_hint" or _login_hint(parameters)]


def provider_name(client: Client, asked: str | None) -> str | None:
    """The provider to use; None when somebody has to choose. Errors: OAuthError invalid_request."""
    if asked is None and len(client.providers) == 1:
        return client.providers[0]
    if asked is not None and asked not in client.providers:
        raise OAuthError(INVALID_REQUEST, "the provider is not one of this client's")
    if not client.providers:
        raise OAuthError(UNAUTHORIZED_CLIENT, "this client may use no provider")
    return asked


def _check_lengths(parameters: Parameters) -> None:
    """Of what is kept as the client wrote it. Errors: OAuthError."""
    if not _is_returnable(parameters.get("state") or ""):
        raise OAuthError(INVALID_REQUEST, f"the state is longer than {MAX_STATE} characters in a URL")
    if len((parameters.get("nonce") or "").encode()) > MAX_NONCE:
        raise OAuthError(INVALID_REQUEST, f"the nonce is longer than {MAX_NONCE} bytes")


def _check_response(client: Client, parameters: Parameters) -> None:
    response_type = parameters.require("response_type")
    if response_type not in RESPONSE_TYPES:
        raise OAuthError(UNSUPPORTED_RESPONSE_TYPE, "only response_type=code is supported")
    if "authorization_code" not in client.grant_types:
        raise OAuthError(UNAUTHORIZED_CLIENT, "this client may not use the authorization code grant")
    if parameters.get("response_mode") not in (None, *RESPONSE_MODES):
        raise OAuthError(INVALID_REQUEST, "the response_mode is not supported")


def _check_openid(parameters: Parameters) -> tuple[str, ...]:
    """The prompts. Errors: OAuthError (OpenID Connect Core sections 3.1.2.1 and 6)."""
    for name, kind in _UNSUPPORTED.items():
        if parameters.get(name) is not None:
            raise OAuthError(kind, f"the parameter {name} is not supported")
    prompts = tuple((parameters.get("prompt") or "").split())
    if set(prompts) - set(PROMPTS) or ("none" in prompts and len(prompts) > 1):
        raise OAuthError(INVALID_REQUEST, "the prompt is unknown, or none together with another")
    _max_age(parameters)
    if prompts == ("none",):
        # The broker keeps no session of its own: who somebody is, only the provider's pages can say.
        raise OAuthError(LOGIN_REQUIRED, "the person has to log in")
    return prompts


def _max_age(parameters: Parameters) -> int | None:
    text = parameters.get("max_age")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise OAuthError(INVALID_REQUEST, "max_age must be a number of seconds")
    return int(text)


def _login_hint(parameters: Parameters) -> str:
    """The hint, "" if there is none, or none that is passed on: that is the receiver's choice (OpenID Connect Core section
    3.1.2.1), and no login fails for it."""
    hint = parameters.get("login_hint") or ""
    return hint if len(hint) <= MAX_LOGIN_HINT and hint.isprintable() else ""
