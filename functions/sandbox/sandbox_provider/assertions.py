"""Client assertions (RFC 7523 section 3): the application signs with a key whose public half was registered here.

Every rule is a hard one: another audience, a long life or a second use is refused, as strict providers do.
"""

from __future__ import annotations

import json

from sandbox_provider.call import Call
from sandbox_provider.wire import Parameters

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_LIFE = 300


def is_right(call: Call, parameters: Parameters) -> bool:
    """Whether the assertion in the form is the registered application's, for this endpoint's provider, and new."""
    import jwt  # only here: one dialect of many

    text, registered = parameters.get("client_assertion") or "", call.store.client_key(call.provider)
    if registered is None or parameters.get("client_assertion_type") != TYPE:
        return False
    if parameters.get("client_id") not in (None, call.client.client_id):
        return False
    jwk = json.loads(registered)
    try:
        claims = jwt.decode(
            text,
            jwt.PyJWK.from_dict(jwk).key,
            algorithms=[jwk["alg"]],
            audience=f"{call.issuer}/token",
            issuer=call.client.client_id,
            # The times are held against this provider's own clock, which tests move.
            options={"require": ["iss", "sub", "aud", "exp", "iat", "jti"], "verify_exp": False, "verify_iat": False},
        )
    except (jwt.PyJWTError, KeyError, ValueError):
        return False
    lives = claims["iat"] <= call.now + 5 and call.now < claims["exp"] <= claims["iat"] + MAX_LIFE
    is_ours = claims["sub"] == call.client.client_id
    return lives and is_ours and call.store.note_assertion(call.provider, claims["jti"], claims["exp"])
