"""The authorization endpoint (RFC 6749 section 3.1): check the request, write the login, send the browser to the provider.

Until the client and its redirect URI are known to be right, nothing is redirected anywhere: errors are a page.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from broker import audit, clock
from broker.crypto import handles
from broker.crypto.handles import Kind
from broker.endpoints import redirect_answer, to_provider
from broker.endpoints.entry import unavailable
from broker.gateway import Request, Response
from broker.grants import login_hint, reconnect_request
from broker.grants.new_login import login_of
from broker.pages import chooser
from broker.pages import error as error_page
from broker.protocol.authorization_request import (
    REQUEST_URI_PREFIX,
    NoReturn,
    ReturnAddress,
    check,
    provider_name,
    repeatable,
    return_address,
)
from broker.protocol.clients import Client
from broker.protocol.errors import INVALID_REQUEST, REQUEST_URI_NOT_SUPPORTED, OAuthError
from broker.protocol.parameters import MalformedParameters, Parameters
from broker.runtime import Runtime
from broker.store.aws import StoreUnavailable
from broker.store.grants import Grant, Refused, new_grant_id


@dataclass(frozen=True)
class Adapted:
    """A request in a provider's dialect, as the standard would have it. `client`: with what the dialect allows it."""

    client: Client
    parameters: Parameters
    dialect: str = ""


Adapt = Callable[[Client, Parameters], Adapted]
"""Reads a request of this client in a dialect. Errors: NoRedirect for a client that may not speak it; OAuthError."""


_UNREADABLE = "The sign-in request cannot be read. Please start again in the application."


class NoRedirect(Exception):
    """The request cannot be answered by a redirect. `explanation` is shown to the person; `detail`: that, and what only the log
    has besides."""

    def __init__(self, code: str, explanation: str, logged: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.explanation = explanation
        self.detail = f"{explanation} {logged}".rstrip()


def respond(request: Request, runtime: Runtime, adapt: Adapt = Adapted) -> Response:
    """GET or POST /authorize."""
    if request.method not in ("GET", "POST"):  # a HEAD that programs send ahead of a link would use up a pushed request
        return _page(request, "invalid_request", "Use GET or POST here.", 405, {"allow": "GET, POST"})
    address: ReturnAddress | None = None
    client: Client | None = None
    try:
        parameters = _parameters(request)
        adapted = adapt(_client(runtime, parameters), parameters)
        client, parameters = adapted.client, adapted.parameters
        request_uri = parameters.get("request_uri")
        if request_uri is not None and request_uri.startswith(REQUEST_URI_PREFIX):
            return _pushed(request, runtime, client, parameters)
        address = replace(return_address(client, parameters), dialect=adapted.dialect)
        return _plain(request, runtime, client, address, parameters)
    except NoReturn as refusal:
        sent = f"Sent: {refusal.sent}" if refusal.sent else ""
        return _refuse(request, client, NoRedirect("invalid_request", refusal.explanation, sent))
    except NoRedirect as refusal:
        return _refuse(request, client, refusal)
    except StoreUnavailable as failure:
        audit.unavailable(failure)
        error = unavailable()
    except OAuthError as refusal:
        error = refusal
    if address is None or client is None:
        return _page(
            request, error.kind.code, "Please try again in a moment.", error.kind.status, {}, error.retry_after
        )
    audit.event("login.refused", client_id=client.client_id, error=error.kind.code, detail=error.detail)
    return redirect_answer.refusal(request, client, address, error)


# -- who asks: errors here are a page ------------------------------------------------------------------------------


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
        raise NoRedirect("invalid_request", _UNREADABLE, f"Reason: {error}.") from None


def _client(runtime: Runtime, parameters: Parameters) -> Client:
    ids = parameters.all("client_id")
    if len(ids) != 1:
        raise NoRedirect("invalid_request", "The application that sent you here must name itself once (client_id).")
    client = runtime.client(ids[0])
    if client is None:
        raise NoRedirect("invalid_client", "The application that sent you here is not known (client_id).")
    if client.disabled:
        raise NoRedirect("unauthorized_client", "The application that sent you here has been switched off.")
    return client


def _refuse(request: Request, client: Client | None, refusal: NoRedirect) -> Response:
    client_id = client.client_id if client else None
    audit.event("login.refused", client_id=client_id, error=refusal.code, detail=refusal.detail)
    return _page(request, refusal.code, refusal.explanation, 400)


# -- a request with its parameters in the URL or form --------------------------------------------------------------


def _plain(
    request: Request, runtime: Runtime, client: Client, address: ReturnAddress, parameters: Parameters
) -> Response:
    if parameters.get("request_uri") is not None:
        # OpenID Connect Core section 6.2: request objects by reference are not supported.
        raise OAuthError(REQUEST_URI_NOT_SUPPORTED, "only pushed requests have a request_uri here")
    if client.require_par:
        raise OAuthError(INVALID_REQUEST, "this client must push its authorization requests")
    asked = check(client, address, parameters, request.issuer)
    asked = reconnect_request.applied_to(asked, runtime, client, parameters)
    if asked.provider is None:
        return chooser.render(request, runtime, client, repeatable(parameters))
    login = login_of(client, asked, new_grant_id(), clock.now() + runtime.settings.login_lifetime)
    departure = to_provider.prepare(request, runtime, login, asked.provider, asked.login_hint)
    runtime.grants.begin(replace(login, browser_hash=departure.browser_hash))
    audit.event("login.started", grant_id=login.grant_id, client_id=client.client_id, provider=asked.provider)
    return departure.response(request, runtime)


# -- a request that was pushed before (RFC 9126) -------------------------------------------------------------------


def _pushed(request: Request, runtime: Runtime, client: Client, parameters: Parameters) -> Response:
    """Everything but client_id and request_uri comes from what was pushed (RFC 9101 section 5).

    A bad request_uri is a page, as the redirect URI of a request that cannot be found is not known (RFC 9126 section 4).
    """
    grant_id = _pushed_id(runtime, parameters)
    login, _ = runtime.grants.read(grant_id)
    if login is None or login.stage != "pushed" or login.client_id != client.client_id:
        raise _unusable_request_uri()
    try:
        provider = login.provider or provider_name(client, _chosen(parameters))
        if provider is None:
            return _choose(request, runtime, client, parameters, login)
        hint = login_hint.opened(login.login_hint, parameters.require("request_uri"), grant_id)
        departure = to_provider.prepare(request, runtime, login, provider, hint)
        runtime.grants.open_pushed(
            grant_id,
            client_id=client.client_id,
            provider=provider,
            browser_hash=departure.browser_hash,
            login_until=clock.now() + runtime.settings.login_lifetime,
        )
    except Refused:
        raise _unusable_request_uri() from None
    except OAuthError as error:
        audit.event("login.refused", client_id=client.client_id, error=error.kind.code, detail=error.detail)
        return redirect_answer.refusal(request, client, redirect_answer.address_of(login), error)
    audit.event("login.started", grant_id=grant_id, client_id=client.client_id, provider=provider)
    return departure.response(request, runtime)


def _choose(request: Request, runtime: Runtime, client: Client, parameters: Parameters, login: Grant) -> Response:
    """A person reads slower than the browser follows a link: from here on the request has as long as a login, counted from when
    it was pushed, so that no reloading prolongs it further. Errors: Refused, StoreUnavailable."""
    until = max(login.expires_at, login.created_at + runtime.settings.login_lifetime)
    runtime.grants.keep_pushed(login.grant_id, client_id=client.client_id, until=until)
    reference = [("client_id", client.client_id), ("request_uri", parameters.require("request_uri"))]
    return chooser.render(request, runtime, client, reference)


def _chosen(parameters: Parameters) -> str | None:
    """The provider that a person chose for a request that was pushed without one. Errors: OAuthError."""
    if len(parameters.all("provider")) > 1:
        raise OAuthError(INVALID_REQUEST, "the parameter provider is there more than once")
    return parameters.get("provider")


def _pushed_id(runtime: Runtime, parameters: Parameters) -> str:
    uris = parameters.all("request_uri")
    handle = handles.read(Kind.PUSHED, uris[0].removeprefix(REQUEST_URI_PREFIX), runtime.keys.ring())
    if handle is None or len(uris) != 1:
        raise _unusable_request_uri()
    return handle.grant_id


def _unusable_request_uri() -> NoRedirect:
    return NoRedirect("invalid_request", "This sign-in link has expired or was already used. Please start again.")


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
