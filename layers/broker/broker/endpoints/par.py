"""Pushed authorization requests (RFC 9126): the client sends the parameters itself and gets a short reference for the URL."""

from dataclasses import replace

from broker import audit, clock
from broker.crypto import handles
from broker.crypto.handles import Handle, Kind
from broker.endpoints import client_requests
from broker.endpoints.entry import json_response
from broker.gateway import Request, Response
from broker.grants import login_hint, reconnect_request
from broker.grants.new_login import login_of
from broker.protocol.authorization_request import (
    REQUEST_URI_PREFIX,
    AuthorizationRequest,
    NoReturn,
    check,
    return_address,
)
from broker.protocol.clients import Client
from broker.protocol.errors import INVALID_DPOP_PROOF, INVALID_REQUEST, REQUEST_TOO_LARGE, OAuthError
from broker.protocol.parameters import MAX_BYTES, Parameters
from broker.runtime import Runtime
from broker.store.grants import new_grant_id


def respond(request: Request, runtime: Runtime) -> Response:
    """POST /par."""
    if request.method == "POST" and len(request.body) > MAX_BYTES:
        return client_requests.refuse(
            request, runtime, None, OAuthError(REQUEST_TOO_LARGE, f"the request is longer than {MAX_BYTES} bytes")
        )
    return client_requests.serve(request, runtime, _push, "par")


def _push(request: Request, runtime: Runtime, client: Client, form: Parameters) -> Response:
    if form.get("request_uri") is not None:
        raise OAuthError(INVALID_REQUEST, "a pushed request may not have a request_uri")
    if form.get("client_id") not in (None, client.client_id):
        raise OAuthError(INVALID_REQUEST, "client_id is not the authenticated client")
    try:
        address = return_address(client, form)
    except NoReturn as error:
        raise OAuthError(INVALID_REQUEST, error.explanation) from None
    asked = _with_proven_key(request, runtime, check(client, address, form, request.issuer))
    asked = reconnect_request.applied_to(asked, runtime, client, form)
    grant_id, lifetime = new_grant_id(), runtime.settings.pushed_lifetime
    key = runtime.keys.ring().handle_key()
    request_uri = REQUEST_URI_PREFIX + handles.make(Handle(Kind.PUSHED, grant_id, key_id=key.id), key)
    login = login_of(client, asked, grant_id, clock.now() + lifetime)
    hint = login_hint.sealed(asked.login_hint, request_uri, grant_id)
    runtime.grants.begin(replace(login, stage="pushed", login_hint=hint))
    audit.event("login.pushed", grant_id=grant_id, client_id=client.client_id)
    return json_response({"request_uri": request_uri, "expires_in": lifetime}, 201)


def _with_proven_key(request: Request, runtime: Runtime, asked: AuthorizationRequest) -> AuthorizationRequest:
    """A DPoP header binds the code to its key, as dpop_jkt does (RFC 9449 section 10.1). Errors: OAuthError."""
    jkt = client_requests.proven_key(request, runtime)
    if jkt is None:
        return asked
    if asked.dpop_jkt not in (None, jkt):
        raise OAuthError(INVALID_DPOP_PROOF, "dpop_jkt is not the key of the DPoP proof")
    return replace(asked, dpop_jkt=jkt)
