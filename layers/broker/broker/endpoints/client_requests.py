"""What token, refresh and revocation have in common: a form from a client that proves who it is."""

from collections.abc import Callable

from broker import audit
from broker.endpoints import cors
from broker.endpoints.entry import error_response, method_not_allowed, unavailable
from broker.gateway import Request, Response
from broker.protocol import client_authentication
from broker.protocol.clients import Client
from broker.protocol.errors import INVALID_CLIENT, OAuthError
from broker.protocol.parameters import Parameters
from broker.runtime import Runtime
from broker.store.aws import StoreUnavailable

Step = Callable[[Request, Runtime, Client, Parameters], Response]


def serve(request: Request, runtime: Runtime, step: Step) -> Response:
    """POST only: read the form, authenticate the client, do the step; every error as JSON with the client's CORS."""
    if request.method == "OPTIONS":
        return cors.preflight(request, runtime, "POST")
    if request.method != "POST":
        return method_not_allowed("POST")
    client: Client | None = None
    grant_type: str | None = None
    try:
        form = request.strict_form()
        grant_type = form.get("grant_type")
        client = authenticate(request, runtime, form)
        response = step(request, runtime, client, form)
        return Response(
            response.status, response.body, {**response.headers, **cors.headers(request, client)}, response.cookies
        )
    except StoreUnavailable as error:
        audit.event("store.unavailable", detail=error.detail)
        return refuse(request, runtime, client, unavailable())
    except OAuthError as error:
        client_id = client.client_id if client else None
        shown = grant_type if grant_type in ("authorization_code", "refresh_token") else None
        audit.event("token.refused", client_id=client_id, error=error.kind.code, detail=error.detail, grant_type=shown)
        return refuse(request, runtime, client, error)


def authenticate(request: Request, runtime: Runtime, form: Parameters) -> Client:
    """The client that sent the form. Errors: OAuthError invalid_client or invalid_request."""
    presented = client_authentication.read(request.headers.get("authorization"), form)
    return client_authentication.verify(presented, runtime.registry.client(presented.client_id))


def refuse(request: Request, runtime: Runtime, client: Client | None, error: OAuthError) -> Response:
    """The error, with a challenge where the client failed to authenticate (RFC 6749 section 5.2)."""
    headers = cors.headers(request, client) if client else _cors_for_unknown(request, runtime)
    if error.kind is INVALID_CLIENT:
        headers["www-authenticate"] = f'Basic realm="{request.issuer}"'
    return error_response(error, headers)


def _cors_for_unknown(request: Request, runtime: Runtime) -> dict[str, str]:
    try:
        return cors.headers_without_client(request, runtime)
    except StoreUnavailable:
        return {}
