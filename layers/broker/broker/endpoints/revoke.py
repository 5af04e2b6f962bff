"""Token revocation (RFC 7009). Revoking any token of a login ends the whole login, here and at the provider.

A login is what a person signs out of; a refresh token that outlived its access token, or the reverse, would surprise him.
"""

from broker.crypto import handles, tokens
from broker.crypto.handles import Kind
from broker.endpoints import client_requests, cookies
from broker.endpoints.refresh import token_in_cookie
from broker.endpoints.token import is_own_origin
from broker.gateway import Request, Response
from broker.grants import ending
from broker.protocol.clients import Client
from broker.protocol.parameters import Parameters
from broker.runtime import Runtime


def respond(request: Request, runtime: Runtime) -> Response:
    """POST /revoke."""
    return client_requests.serve(request, runtime, _revoke, "revoke")


def _revoke(request: Request, runtime: Runtime, client: Client, form: Parameters) -> Response:
    """200 with an empty body, whether or not there was anything to revoke (RFC 7009 section 2.2)."""
    by_cookie = client.refresh_cookie and "token" not in form
    token = token_in_cookie(request, client) if by_cookie else form.require("token")
    found = _grant_of(request, runtime, client, token) if token is not None else None
    if found is not None:
        grant_id, grant_secret = found
        # The condition on the client is part of the write: another's token stays alive (RFC 7009 section 2.1).
        ending.end(runtime, request.issuer, grant_id, "revoked", client_id=client.client_id, grant_secret=grant_secret)
    if not client.refresh_cookie or not is_own_origin(request, client):
        # A foreign page may hand in a token of its own, but must not clear this browser's cookie (logout CSRF).
        return Response(200)
    return Response(
        200, cookies=(cookies.clear_refresh(request, cookies.refresh_cookie_name(request, client.client_id)),)
    )


def _grant_of(request: Request, runtime: Runtime, client: Client, token: str) -> tuple[str, bytes] | None:
    """(grant id, grant secret) of a token; the hint is not needed, as a token says itself what it is."""
    ring = runtime.keys.ring()
    handle = handles.read(Kind.REFRESH, token, ring)
    if handle is not None:
        return handle.grant_id, handle.secret
    access = tokens.read_access_token(token, ring, request.issuer)
    if access is None or access.client_id != client.client_id:
        return None
    return access.grant_id, access.grant_secret
