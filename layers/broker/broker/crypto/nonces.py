"""Nonces for DPoP proofs (RFC 9449 section 8): they carry their own time and tag, so that nothing is stored.

    nonce = base64url(key id, number of the time window, tag)
    tag   = HMAC-SHA-256(key derived from the handle key, key id and window), first 16 bytes

A nonce shows that a proof was not made long in advance. It is no secret and names nobody.
"""

import hmac
import struct
from functools import lru_cache

from broker.crypto.keys import KeyRing, SecretKey
from broker.crypto.sealing import derive
from broker.encoding import b64url, from_b64url

WINDOW = 300
"""Seconds after which a new nonce is given out. One is good for between one and two of these."""
_BODY = struct.Struct(">HI")
_TAG_BYTES = 16


def make(ring: KeyRing, now: int) -> str:
    """The present nonce. `now`: epoch seconds."""
    key = ring.handle_key()
    body = _BODY.pack(key.id, now // WINDOW)
    return b64url(body + _tag(key, body))


def good_until(nonce: str, ring: KeyRing, now: int) -> int | None:
    """Epoch seconds from which on this nonce is too old; None when it is not good now.

    Good is the nonce of the present time window, of the one before, and (clocks differ a little) of the next.
    """
    try:
        raw = from_b64url(nonce)
    except ValueError:
        return None
    if len(raw) != _BODY.size + _TAG_BYTES:
        return None
    body, tag = raw[: _BODY.size], raw[_BODY.size :]
    key_id, window = _BODY.unpack(body)
    key = ring.handle_key_by_id(key_id)
    if key is None or abs(window - now // WINDOW) > 1 or not hmac.compare_digest(tag, _tag(key, body)):
        return None
    return int(window + 2) * WINDOW


def _tag(key: SecretKey, body: bytes) -> bytes:
    return hmac.digest(_nonce_key(key.secret), body, "sha256")[:_TAG_BYTES]


@lru_cache(maxsize=8)
def _nonce_key(secret: bytes) -> bytes:
    return derive(secret, "token-broker DPoP nonce")
