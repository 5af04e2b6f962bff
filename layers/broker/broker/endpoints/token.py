"""The token endpoint (RFC 6749 section 3.2): codes, refresh tokens, device codes, and token exchange (RFC 8693)."""

from broker.endpoints import client_requests, cookies
from broker.endpoints.entry import json_response
from broker.gateway import Request, Response
from broker.grants import authorization_code, refresh_token
from broker.grants.issuing import Issuer, TokenAnswer
from broker.protocol import device, token_exchange
from broker.protocol.capabilities import GRANT_TYPES
from broker.protocol.clients import Client
from broker.protocol.errors import (
    FORBIDDEN_ORIGIN,
    INVALID_DPOP_PROOF,
    INVALID_REQUEST,
    UNAUTHORIZED_CLIENT,
    UNSUPPORTED_GRANT_TYPE,
    OAuthError,
)
from broker.protocol.parameters import Parameters
from broker.runtime import Runtime


def respond(request: Request, runtime: Runtime) -> Response:
    """POST /token."""
    return client_requests.serve(request, runtime, _grant, "token")


def _grant(request: Request, runtime: Runtime, client: Client, form: Parameters) -> Response:
    if form.get("grant_type") == token_exchange.GRANT_TYPE:
        return _exchange(request, runtime, client, form)
    return token_response(request, client, grant(request, runtime, client, form))


def _exchange(request: Request, runtime: Runtime, client: Client, form: Parameters) -> Response:
    """The provider's access token. None of the broker's own tokens comes with it."""
    from broker.grants import token_exchange as exchange

    _check_grant_type(client, token_exchange.GRANT_TYPE)
    issuer = issuer_for(request, runtime, client)
    return json_response(exchange.exchange(runtime, issuer, client, token_exchange.read(form)).document())


def grant(request: Request, runtime: Runtime, client: Client, form: Parameters) -> TokenAnswer:
    """The tokens that a client, which has authenticated, asks for. Errors: OAuthError, StoreUnavailable."""
    grant_type = form.require("grant_type")
    _check_grant_type(client, grant_type)
    if client.refresh_cookie:
        # The answer sets a cookie, so a foreign page must not be able to cause it: it would log the browser in as
        # somebody else (login CSRF).
        require_own_origin(request, client)
    else:
        refuse_foreign_page(request, client)
    issuer = issuer_for(request, runtime, client)
    if grant_type == "refresh_token":
        return refresh_token.refresh(runtime, issuer, client, form.require("refresh_token"), form)
    if grant_type == device.GRANT_TYPE:
        from broker.grants import device_code

        return device_code.redeem(runtime, issuer, client, form)
    return authorization_code.redeem(runtime, issuer, client, form)


def _check_grant_type(client: Client, grant_type: str) -> None:
    if grant_type not in GRANT_TYPES:
        raise OAuthError(UNSUPPORTED_GRANT_TYPE, "the grant_type is not supported")
    if grant_type not in client.grant_types:
        raise OAuthError(UNAUTHORIZED_CLIENT, "this client may not use that grant_type")


def issuer_for(request: Request, runtime: Runtime, client: Client) -> Issuer:
    """What issues this request's tokens, bound to the DPoP key that it proves, if any.

    Errors: OAuthError invalid_dpop_proof, also when the client must have a key and shows none (RFC 9449 section 5.2);
    use_dpop_nonce.
    """
    jkt = client_requests.proven_key(request, runtime)
    if jkt is None and client.dpop_bound:
        raise OAuthError(INVALID_DPOP_PROOF, "this client must prove its key with a DPoP header")
    return Issuer(request.issuer, runtime.keys.ring(), runtime.settings, jkt)


def require_own_origin(request: Request, client: Client) -> None:
    """Errors: OAuthError with status 403 unless the request comes from a page of the client."""
    if not is_own_origin(request, client):
        raise OAuthError(FORBIDDEN_ORIGIN, "the Origin is not one of this client's")


def refuse_foreign_page(request: Request, client: Client) -> None:
    """A page of an origin that the client does not have could not read the answer, but a form needs no preflight: its code or
    refresh token would be used up, unseen. Only for clients that anybody can be, as a backend may pass on what browsers sent
    it; and only for origins on the web, as extensions and apps have others, or "null", and may read all answers.

    Errors: OAuthError invalid_request, and nothing is consumed.
    """
    is_of_web = (request.origin or "").startswith(("https://", "http://"))
    if client.is_public and client.origins and is_of_web and request.origin not in client.origins:
        page = f"a page of {request.origin}"[:200]
        raise OAuthError(INVALID_REQUEST, "the Origin is not one of this client's", detail=page)


def is_own_origin(request: Request, client: Client) -> bool:
    """Whether a browser says that a page of the client sent the request."""
    return request.origin is not None and request.origin in client.origins


def token_response(request: Request, client: Client, answer: TokenAnswer) -> Response:
    """The answer as JSON; the refresh token of a client that keeps it in a cookie goes there and nowhere else."""
    response = json_response(answer.document(with_refresh_token=not client.refresh_cookie))
    if not client.refresh_cookie or answer.refresh_token is None:
        return response
    name = cookies.refresh_cookie_name(request, client.client_id)
    cookie = cookies.set_refresh(request, name, answer.refresh_token, answer.refresh_lifetime)
    return Response(response.status, response.body, response.headers, (cookie,))
