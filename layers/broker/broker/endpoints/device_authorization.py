"""The device authorization endpoint (RFC 8628 section 3.1): a device gets a code to poll with and a code to show."""

from broker.endpoints import client_requests
from broker.endpoints.entry import json_response
from broker.gateway import Request, Response
from broker.grants import device_code, reconnect_request
from broker.protocol import device
from broker.protocol.authorization_request import provider_name
from broker.protocol.clients import Client
from broker.protocol.errors import UNAUTHORIZED_CLIENT, OAuthError
from broker.protocol.parameters import Parameters
from broker.protocol.scopes import allowed_scope, check_resources, parse_scope
from broker.runtime import Runtime


def respond(request: Request, runtime: Runtime) -> Response:
    """POST /device_authorization."""
    return client_requests.serve(request, runtime, _begin, "device_authorization")


def _begin(request: Request, runtime: Runtime, client: Client, form: Parameters) -> Response:
    if device.GRANT_TYPE not in client.grant_types:
        raise OAuthError(UNAUTHORIZED_CLIENT, "this client may not use the device authorization grant")
    old = reconnect_request.asked_for(runtime, client, form)
    begun = device_code.begin(
        runtime,
        runtime.keys.ring(),
        client,
        provider=provider_name(client, old.provider if old is not None else form.get("provider")),
        reconnects=old.grant_id if old is not None else "",
        scope=allowed_scope(parse_scope(form.get("scope")), client.scope),
        resource=check_resources(form.all("resource"), (*client.resources, request.issuer)),
    )
    page, shown = f"{request.issuer}/device", device.shown(begun.user_code)
    return json_response(
        {
            "device_code": begun.device_code,
            "user_code": shown,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={shown}",
            "expires_in": runtime.settings.device_lifetime,
            "interval": runtime.settings.device_interval,
        }
    )
