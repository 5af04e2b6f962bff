"""The browser's door to a refresh: the refresh token is in an HttpOnly cookie that no script can read.

POST /refresh with client_id in the form, an Origin of the client's and the header X-Requested-With; or, for any client,
with a refresh token in the form (then it is the token endpoint's refresh_token grant under another path).
"""

from broker.endpoints import client_requests, cookies
from broker.endpoints.cors import CUSTOM_HEADER
from broker.endpoints.token import issuer_for, refuse_foreign_page, require_own_origin, token_response
from broker.gateway import Request, Response
from broker.grants import refresh_token
from broker.protocol.clients import Client
from broker.protocol.errors import FORBIDDEN_ORIGIN, INVALID_GRANT, INVALID_REQUEST, UNAUTHORIZED_CLIENT, OAuthError
from broker.protocol.parameters import Parameters
from broker.runtime import Runtime


def respond(request: Request, runtime: Runtime) -> Response:
    """POST /refresh."""
    return client_requests.serve(request, runtime, _refresh, "token.refresh_token")


def _refresh(request: Request, runtime: Runtime, client: Client, form: Parameters) -> Response:
    if "refresh_token" not in client.grant_types:
        raise OAuthError(UNAUTHORIZED_CLIENT, "this client may not refresh")
    issuer = issuer_for(request, runtime, client)
    presented = form.get("refresh_token")
    if presented is not None:
        if client.refresh_cookie:
            require_own_origin(request, client)  # as at the token endpoint: the answer sets a cookie
        else:
            refuse_foreign_page(request, client)
        return token_response(request, client, refresh_token.refresh(runtime, issuer, client, presented, form))
    if not client.refresh_cookie:
        raise OAuthError(
            INVALID_REQUEST, "the parameter refresh_token is missing, and this client has no refresh cookie"
        )
    kept = token_in_cookie(request, client)
    if kept is None:
        raise OAuthError(INVALID_GRANT, "there is no refresh cookie, please log in")
    return token_response(request, client, refresh_token.refresh(runtime, issuer, client, kept, form))


def token_in_cookie(request: Request, client: Client) -> str | None:
    """The refresh token that the browser sent as a cookie; None without one.

    Errors: OAuthError 403 without the proofs that the client's own page sent it (a cookie alone comes with any request).
    """
    require_own_origin(request, client)
    if not request.headers.get(CUSTOM_HEADER):
        raise OAuthError(FORBIDDEN_ORIGIN, f"the header {CUSTOM_HEADER} is missing")
    return request.cookies.get(cookies.refresh_cookie_name(request, client.client_id)) or None
