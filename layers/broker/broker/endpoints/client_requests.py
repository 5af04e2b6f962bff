"""What token, refresh and revocation have in common: a form from a client that proves who it is."""

from collections.abc import Callable

from broker import audit
from broker.endpoints import cors, rate_limits
from broker.endpoints.entry import error_response, method_not_allowed, unavailable
from broker.endpoints.rate_limits import Gate
from broker.gateway import Request, Response
from broker.protocol import client_authentication
from broker.protocol.capabilities import GRANT_TYPES
from broker.protocol.clients import Client
from broker.protocol.errors import AUTHORIZATION_PENDING, INVALID_CLIENT, OAuthError
from broker.protocol.parameters import Parameters
from broker.runtime import Runtime
from broker.store.aws import StoreUnavailable

Step = Callable[[Request, Runtime, Client, Parameters], Response]


def serve(request: Request, runtime: Runtime, step: Step, endpoint: str) -> Response:
    """POST only: read the form, authenticate the client, do the step; every error as JSON with the client's CORS.

    `endpoint`: the name that its rate limits have.
    """
    response = _serve(request, runtime, step, endpoint)
    if "dpop" not in request.headers:
        return response
    from broker.endpoints import dpop_proofs

    return dpop_proofs.with_nonce(request, runtime, response)


def _serve(request: Request, runtime: Runtime, step: Step, endpoint: str) -> Response:
    if request.method == "OPTIONS":
        return cors.preflight(request, runtime, "POST")
    if request.method != "POST":
        return method_not_allowed("POST", headers=cors.headers_of_error(request, runtime, None))
    try:
        form = request.strict_form()
    except OAuthError as error:
        return refuse(request, runtime, None, error)
    name = rate_limits.token_endpoint(form.get("grant_type")) if endpoint == "token" else endpoint
    gate = Gate(request, runtime, name)
    return gate.close(_answer(request, runtime, step, form, gate))


def _answer(request: Request, runtime: Runtime, step: Step, form: Parameters, gate: Gate) -> Response:
    client: Client | None = None
    try:
        gate.admit()
        client = authenticate(request, runtime, form)
        gate.count(client)
        response = step(request, runtime, client, form)
        headers = {**response.headers, **cors.headers(request, client)}
        return Response(response.status, response.body, headers, response.cookies)
    except StoreUnavailable as error:
        audit.unavailable(error)
        return refuse(request, runtime, client, unavailable())
    except OAuthError as error:
        client_id = client.client_id if client else None
        grant_type = form.get("grant_type")
        shown = grant_type if grant_type in GRANT_TYPES else None
        gate.forgive_if_a_step(error)
        if error.kind is not AUTHORIZATION_PENDING:  # a device is told so all the time
            audit.event(
                "token.refused", client_id=client_id, error=error.kind.code, detail=error.detail, grant_type=shown
            )
        return refuse(request, runtime, client, error)


def authenticate(request: Request, runtime: Runtime, form: Parameters) -> Client:
    """The client that sent the form. Errors: OAuthError invalid_client or invalid_request."""
    presented = client_authentication.read(request.headers.get("authorization"), form)
    if presented.assertion is not None:
        from broker.endpoints import client_assertions

        return client_assertions.believe(request, runtime, presented, presented.assertion)
    return client_authentication.verify(presented, runtime.client(presented.client_id))


def proven_key(request: Request, runtime: Runtime) -> str | None:
    """The thumbprint of the key that the request's DPoP header proves, None without one (RFC 9449 section 5).

    Errors: OAuthError invalid_dpop_proof, use_dpop_nonce.
    """
    if "dpop" not in request.headers:
        return None
    from broker.endpoints import dpop_proofs

    return dpop_proofs.proven_key(request, runtime)


def refuse(request: Request, runtime: Runtime, client: Client | None, error: OAuthError) -> Response:
    """The error, with a challenge where the client failed to authenticate (RFC 6749 section 5.2)."""
    headers = cors.headers_of_error(request, runtime, client)
    if error.kind is INVALID_CLIENT:
        headers["www-authenticate"] = f'Basic realm="{request.issuer}"'
    return error_response(error, headers)
