"""Back-channel logout (OpenID Connect Back-Channel Logout 1.0): telling a client's server that a login of its has ended.

Must never change what the caller answers, or hold it up for longer than DEADLINE. Anybody who registers may name the URL, so
it is called by the bounded client alone: no inner addresses, no redirects.
"""

import secrets
from urllib.parse import urlencode

from broker import audit, clock
from broker.crypto import tokens
from broker.crypto.keys import KeyRing
from broker.encoding import b64url
from broker.protocol.clients import Client
from broker.runtime import Runtime
from broker.store.aws import StoreUnavailable
from broker.store.grants import Grant
from broker.upstream.transport import Deadline, TransportError, UpstreamRequest

DEADLINE = 3.0
LIFETIME = 120
"""Seconds that a logout token is good for, as section 4 advises."""
EVENT = "http://schemas.openid.net/event/backchannel-logout"
"""The member of a logout token's events (section 2.4)."""
_HEADERS = (("Content-Type", "application/x-www-form-urlencoded"),)


def tell(runtime: Runtime, issuer: str, ended: Grant) -> None:
    """Send the client of an ended login its logout token, if it has asked for that. Errors: none; a failure is audited."""
    try:
        client = runtime.client(ended.client_id)
        if client is None or client.backchannel_logout_uri is None:
            return
        token = logout_token(runtime.keys.ring(), issuer, client, ended)
        body = urlencode({"logout_token": token}).encode()
        request = UpstreamRequest("POST", client.backchannel_logout_uri, _HEADERS, body)
        status = runtime.http.send(request, Deadline.after(DEADLINE)).status
    except TransportError as failure:
        _failed(ended, failure.kind.value, failure.status)
    except StoreUnavailable:
        _failed(ended, "store")
    except ValueError:
        _failed(ended, "no URL that may be called")
    else:
        if 200 <= status < 300:  # section 2.8: 200, and what a framework may make of it
            audit.event("backchannel.told", grant_id=ended.grant_id, client_id=ended.client_id)
        else:
            _failed(ended, "refused", status)


def logout_token(ring: KeyRing, issuer: str, client: Client, ended: Grant) -> str:
    """The logout token (section 2.4). It has no nonce, and a type of its own, so that it cannot pass for an ID token."""
    now = clock.now()
    claims: dict[str, object] = {
        "iss": issuer,
        "aud": client.client_id,
        "sub": ended.subject,
        "sid": ended.grant_id,
        "iat": now,
        "exp": now + LIFETIME,
        "jti": b64url(secrets.token_bytes(12)),
        "events": {EVENT: {}},
    }
    return tokens.sign(claims, ring, tokens.known_algorithm(client.id_token_alg), "logout+jwt")


def _failed(ended: Grant, kind: str, status: int | None = None) -> None:
    audit.event("backchannel.failed", grant_id=ended.grant_id, client_id=ended.client_id, kind=kind, status=status)
