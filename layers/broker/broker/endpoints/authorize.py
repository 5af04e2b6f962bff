"""The authorization endpoint (RFC 6749 section 3.1): check the request, write the login, send the browser to the provider.

Until the client and its redirect URI are known to be right, nothing is redirected anywhere: errors are a page.
"""

import secrets
from dataclasses import dataclass

from broker import audit, clock
from broker.crypto import handles
from broker.crypto.handles import Handle, Kind
from broker.crypto.keys import KeyRing
from broker.endpoints import cookies, redirect_answer
from broker.endpoints.entry import unavailable
from broker.endpoints.redirect_answer import ReturnAddress
from broker.gateway import Request, Response
from broker.grants import upstream_login
from broker.pages import error as error_page
from broker.protocol import pkce
from broker.protocol.capabilities import PROMPTS, RESPONSE_MODES, RESPONSE_TYPES
from broker.protocol.clients import Client
from broker.protocol.errors import (
    INVALID_REQUEST,
    LOGIN_REQUIRED,
    REGISTRATION_NOT_SUPPORTED,
    REQUEST_NOT_SUPPORTED,
    REQUEST_URI_NOT_SUPPORTED,
    TEMPORARILY_UNAVAILABLE,
    UNAUTHORIZED_CLIENT,
    UNSUPPORTED_RESPONSE_TYPE,
    OAuthError,
)
from broker.protocol.parameters import MalformedParameters, Parameters
from broker.protocol.redirects import is_registered
from broker.protocol.scopes import allowed_scope, check_resources, parse_scope, provider_scope
from broker.runtime import ProviderUnusable, Runtime
from broker.store.aws import StoreUnavailable
from broker.store.grants import Grant, new_grant_id
from broker.upstream.authorization import authorization_url
from broker.upstream.schema import Provider

_UNSUPPORTED = {
    "request": REQUEST_NOT_SUPPORTED,
    "request_uri": REQUEST_URI_NOT_SUPPORTED,
    "registration": REGISTRATION_NOT_SUPPORTED,
}


class NoRedirect(Exception):
    """The request cannot be answered by a redirect. `explanation` is shown to the person."""

    def __init__(self, code: str, explanation: str) -> None:
        super().__init__(code)
        self.code = code
        self.explanation = explanation


@dataclass(frozen=True)
class _Asked:
    """A checked authorization request."""

    client: Client
    address: ReturnAddress
    redirect_uri_sent: bool
    provider_name: str
    scope: tuple[str, ...]
    resource: tuple[str, ...]
    code_challenge: str | None
    nonce: str | None
    max_age: int | None


def respond(request: Request, runtime: Runtime) -> Response:
    """GET or POST /authorize."""
    if request.method not in ("GET", "HEAD", "POST"):
        return _page(request, "invalid_request", "Use GET or POST here.", 405, {"allow": "GET, POST"})
    address: ReturnAddress | None = None
    client: Client | None = None
    try:
        parameters = _parameters(request)
        client = _client(runtime, parameters)
        address = _return_address(client, parameters)
        asked = _check(request, client, address, parameters)
        return _begin(request, runtime, asked)
    except NoRedirect as refusal:
        audit.event("login.refused", client_id=client.client_id if client else None, error=refusal.code)
        return _page(request, refusal.code, refusal.explanation, 400)
    except StoreUnavailable as failure:
        audit.event("store.unavailable", detail=failure.detail)
        error = unavailable()
    except OAuthError as refusal:
        error = refusal
    if address is None:
        return _page(
            request, error.kind.code, "Please try again in a moment.", error.kind.status, {}, error.retry_after
        )
    audit.event(
        "login.refused", client_id=client.client_id if client else None, error=error.kind.code, detail=error.detail
    )
    return redirect_answer.failure(request, address, error)


# -- who asks, and where the answer goes: errors here are a page --------------------------------------------------


def _parameters(request: Request) -> Parameters:
    """The query of a GET, the form of a POST; never a mixture (OpenID Connect Core section 3.1.2.1)."""
    try:
        query = request.query()
        if request.method != "POST":
            return query
        if not request.has_form() or any(True for _ in query.pairs()):
            raise NoRedirect("invalid_request", "The sign-in request must be a form, with nothing in its address.")
        return request.form()
    except MalformedParameters as error:
        raise NoRedirect("invalid_request", f"The sign-in request cannot be read: {error}.") from None


def _client(runtime: Runtime, parameters: Parameters) -> Client:
    ids = parameters.all("client_id")
    if len(ids) != 1:
        raise NoRedirect("invalid_request", "The application that sent you here must name itself once (client_id).")
    client = runtime.registry.client(ids[0])
    if client is None:
        raise NoRedirect("invalid_client", "The application that sent you here is not known (client_id).")
    if client.disabled:
        raise NoRedirect("unauthorized_client", "The application that sent you here has been switched off.")
    return client


def _return_address(client: Client, parameters: Parameters) -> ReturnAddress:
    """Where to answer. A client with one redirect URI may leave it out (RFC 6749 section 3.1.2.3)."""
    asked = parameters.all("redirect_uri")
    if len(asked) > 1 or (not asked and len(client.redirect_uris) != 1):
        raise NoRedirect("invalid_request", "The application must say once where to return to (redirect_uri).")
    redirect_uri = asked[0] if asked else client.redirect_uris[0]
    if not is_registered(redirect_uri, client.redirect_uris):
        raise NoRedirect(
            "invalid_request", "The address to return to is not registered for this application (redirect_uri)."
        )
    states = parameters.all("state")
    return ReturnAddress(redirect_uri, states[0] if len(states) == 1 else None)


# -- what is asked: errors here are redirected --------------------------------------------------------------------


def _check(request: Request, client: Client, address: ReturnAddress, parameters: Parameters) -> _Asked:
    parameters.reject_repeated()
    _check_response(client, parameters)
    _check_openid(parameters)
    challenge = parameters.get("code_challenge")
    pkce.check_challenge(challenge, parameters.get("code_challenge_method"), required=client.require_pkce)
    max_age = parameters.get("max_age")
    return _Asked(
        client=client,
        address=address,
        redirect_uri_sent=parameters.get("redirect_uri") is not None,
        provider_name=_provider_name(client, parameters),
        scope=allowed_scope(parse_scope(parameters.get("scope")), client.scope),
        resource=check_resources(parameters.all("resource"), (*client.resources, request.issuer)),
        code_challenge=challenge,
        nonce=parameters.get("nonce"),
        max_age=int(max_age) if max_age is not None else None,
    )


def _check_response(client: Client, parameters: Parameters) -> None:
    response_type = parameters.require("response_type")
    if response_type not in RESPONSE_TYPES:
        raise OAuthError(UNSUPPORTED_RESPONSE_TYPE, "only response_type=code is supported")
    if "authorization_code" not in client.grant_types:
        raise OAuthError(UNAUTHORIZED_CLIENT, "this client may not use the authorization code grant")
    if parameters.get("response_mode") not in (None, *RESPONSE_MODES):
        raise OAuthError(INVALID_REQUEST, "the response_mode is not supported")


def _check_openid(parameters: Parameters) -> None:
    """OpenID Connect Core sections 3.1.2.1 and 6."""
    for name, kind in _UNSUPPORTED.items():
        if parameters.get(name) is not None:
            raise OAuthError(kind, f"the parameter {name} is not supported")
    prompts = (parameters.get("prompt") or "").split()
    if set(prompts) - set(PROMPTS) or ("none" in prompts and len(prompts) > 1):
        raise OAuthError(INVALID_REQUEST, "the prompt is unknown, or none together with another")
    max_age = parameters.get("max_age")
    if max_age is not None and not (max_age.isascii() and max_age.isdigit() and len(max_age) < 10):
        raise OAuthError(INVALID_REQUEST, "max_age must be a number of seconds")
    if prompts == ["none"]:
        # The broker keeps no session of its own: who somebody is, only the provider's pages can say.
        raise OAuthError(LOGIN_REQUIRED, "the person has to log in")


def _provider_name(client: Client, parameters: Parameters) -> str:
    name = parameters.get("provider")
    if name is None and len(client.providers) == 1:
        return client.providers[0]
    if name is None:
        raise OAuthError(INVALID_REQUEST, "the parameter provider is missing")
    if name not in client.providers:
        raise OAuthError(INVALID_REQUEST, "the provider is not one of this client's")
    return name


# -- the login begins ---------------------------------------------------------------------------------------------


def _begin(request: Request, runtime: Runtime, asked: _Asked) -> Response:
    provider = _usable_provider(runtime, asked.provider_name)
    ring = runtime.keys.ring()
    grant_id, browser_secret = new_grant_id(), secrets.token_urlsafe(handles.SECRET_BYTES)
    # Everything that can fail for another reason comes before the write.
    location, state = _upstream_location(request, runtime, provider, asked, ring, grant_id)
    runtime.grants.begin(_login(runtime, asked, grant_id, browser_secret))
    audit.event("login.started", grant_id=grant_id, client_id=asked.client.client_id, provider=provider.name)
    name = cookies.login_cookie_name(request, upstream_login.cookie_key(provider, grant_id))
    cookie = cookies.set_login(request, name, f"{state}.{browser_secret}", runtime.settings.login_lifetime)
    surplus = tuple(cookies.clear_login(request, old) for old in cookies.surplus_logins(request) if old != name)
    return redirect_answer.see_other(location, (cookie, *surplus))


def _usable_provider(runtime: Runtime, name: str) -> Provider:
    try:
        return runtime.provider(name)
    except ProviderUnusable as error:
        raise OAuthError(TEMPORARILY_UNAVAILABLE, "the provider cannot be used now", detail=error.detail) from None


def _login(runtime: Runtime, asked: _Asked, grant_id: str, browser_secret: str) -> Grant:
    now = clock.now()
    return Grant(
        grant_id=grant_id,
        stage="login",
        client_id=asked.client.client_id,
        provider=asked.provider_name,
        created_at=now,
        expires_at=now + runtime.settings.login_lifetime,
        redirect_uri=asked.address.redirect_uri,
        redirect_uri_sent=asked.redirect_uri_sent,
        scope=asked.scope,
        resource=asked.resource,
        state=asked.address.state,
        code_challenge=asked.code_challenge,
        nonce=asked.nonce,
        max_age=asked.max_age,
        browser_hash=handles.fingerprint(browser_secret.encode()),
    )


def _upstream_location(
    request: Request, runtime: Runtime, provider: Provider, asked: _Asked, ring: KeyRing, grant_id: str
) -> tuple[str, str]:
    """(URL at the provider, state handle)."""
    key = ring.handle_key()
    state = handles.make(Handle(Kind.STATE, grant_id, key_id=key.id), key)
    transaction = upstream_login.Transaction.of(provider, key, grant_id, request.issuer, state)
    location = authorization_url(
        provider,
        runtime.provider_credentials(provider.name),
        redirect_uri=transaction.redirect_uri,
        state=state,
        scope=provider_scope(asked.scope),
        code_challenge=transaction.code_challenge,
        nonce=transaction.nonce,
    )
    return location, state


def _page(
    request: Request,
    code: str,
    explanation: str,
    status: int,
    headers: dict[str, str] | None = None,
    retry_after: int | None = None,
) -> Response:
    response = error_page.render(
        request,
        title="Sign-in cannot go on",
        explanation=explanation,
        code=code,
        status=status,
        retry_after=retry_after,
    )
    return Response(response.status, response.body, {**response.headers, **(headers or {})})
