"""The refusals of RFC 6750 section 3, for dialects whose guide names no others."""

from __future__ import annotations

from sandbox_provider.call import Call
from sandbox_provider.errors import INVALID_REQUEST, INVALID_TOKEN, Error
from sandbox_provider.resource import Fault
from sandbox_provider.wire import Response

_DESCRIPTIONS = {
    "unknown": "The access token is invalid",
    "expired": "The access token expired",
    "revoked": "The access token was revoked",
}


def refused(call: Call, fault: Fault) -> Response:
    """Answer for an access token that does not admit."""
    if fault == "missing":
        # Without credentials the challenge names no error (RFC 6750 section 3.1).
        return Response.json({}, 401, (("WWW-Authenticate", f'Bearer realm="{call.title}"'),))
    if fault == "twice":
        return challenged(call, INVALID_REQUEST.saying("The access token was sent in more than one way"))
    return challenged(call, INVALID_TOKEN.saying(_DESCRIPTIONS[fault]))


def challenged(call: Call, error: Error) -> Response:
    """An error that is also named in the challenge."""
    challenge = f'Bearer realm="{call.title}", error="{error.code}", error_description="{error.description}"'
    payload = {"error": error.code, "error_description": error.description}
    return Response.json(payload, error.status, (("WWW-Authenticate", challenge),))
