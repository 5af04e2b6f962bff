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


def is_good(nonce: str, ring: KeyRing, now: int) -> bool:
    """Whether this is the nonce of the present time window, the one before, or (clocks differ a little) the next."""
    try:
        raw = from_b64url(nonce)
    except ValueError:
        return False
    if len(raw) != _BODY.size + _TAG_BYTES:
        return False
    body, tag = raw[: _BODY.size], raw[_BODY.size :]
    key_id, window = _BODY.unpack(body)
    key = ring.handle_key_by_id(key_id)
    return key is not None and abs(window - now // WINDOW) <= 1 and hmac.compare_digest(tag, _tag(key, body))


def _tag(key: SecretKey, body: bytes) -> bytes:
    return hmac.digest(_nonce_key(key.secret), body, "sha256")[:_TAG_BYTES]


@lru_cache(maxsize=8)
def _nonce_key(secret: bytes) -> bytes:
    return derive(secret, "token-broker DPoP nonce")
