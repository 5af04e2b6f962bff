"""Handles: what clients and browsers hold for a login. Self-checking, so garbage costs no I/O.

    text   = prefix + base64url(version, key id, grant id, generation, due, secret, tag)
    tag    = HMAC-SHA-256(handle key, kind, all the bytes before the tag), first 16 bytes

| kind      | prefix | secret                                        | generation | due                                     |
|-----------|--------|-----------------------------------------------|------------|-----------------------------------------|
| code      | tbc_   | the code's own                                | 0          | 0                                       |
| refresh   | tbr_   | the grant secret                              | from 1     | when the upstream token falls due, or 0 |
| state     | tbs_   | none (the browser's cookie holds the secret)  | 0          | 0                                       |
| pushed    | tbp_   | none (it is of use only to the client)        | 0          | 0                                       |
| device    | tbd_   | the device's private X25519 key               | 0          | 0                                       |
| reconnect | tbn_   | none (it opens nothing: it names the login whose account a new login must be for) | 0 | 0          |

The prefixes let secret scanners find leaked tokens. A handle proves only that the broker made it; whether it still counts
is for the Grants table to say.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from enum import Enum

from broker.crypto.keys import KeyRing, SecretKey
from broker.encoding import b64url, from_b64url

VERSION = 1
SECRET_BYTES = 32
GRANT_ID_BYTES = 16
_HEAD = struct.Struct(">BH16sII")
_TAG_BYTES = 16


class Kind(Enum):
    """What a handle is for: (prefix, length of its secret in bytes)."""

    CODE = ("tbc_", SECRET_BYTES)
    REFRESH = ("tbr_", SECRET_BYTES)
    STATE = ("tbs_", 0)
    PUSHED = ("tbp_", 0)
    DEVICE = ("tbd_", SECRET_BYTES)
    RECONNECT = ("tbn_", 0)


@dataclass(frozen=True)
class Handle:
    """The content of a handle whose tag was right.

    Attributes:
        grant_id: 16 bytes, in base64url as the Grants table has it.
        due: epoch seconds, 0 = never.
        key_id: the handle key that made it.
    """

    kind: Kind
    grant_id: str
    generation: int = 0
    due: int = 0
    secret: bytes = field(default=b"", repr=False)
    key_id: int = 0


def make(handle: Handle, key: SecretKey) -> str:
    """The text of a handle. The same content under the same key always has the same text."""
    prefix, _ = handle.kind.value
    body = _HEAD.pack(VERSION, key.id, from_b64url(handle.grant_id), handle.generation, handle.due) + handle.secret
    return prefix + b64url(body + _tag(key, handle.kind, body))


def read(kind: Kind, text: str, ring: KeyRing) -> Handle | None:
    """The handle in `text`, or None when it is not one of this kind that the broker made. Compares in constant time."""
    prefix, secret_bytes = kind.value
    if not text.startswith(prefix):
        return None
    try:
        raw = from_b64url(text[len(prefix) :])
    except ValueError:
        return None
    if len(raw) != _HEAD.size + secret_bytes + _TAG_BYTES:
        return None
    body, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
    version, key_id, grant_id, generation, due = _HEAD.unpack(body[: _HEAD.size])
    key = ring.handle_key_by_id(key_id)
    if version != VERSION or key is None or not hmac.compare_digest(tag, _tag(key, kind, body)):
        return None
    return Handle(kind, b64url(grant_id), generation, due, body[_HEAD.size :], key_id)


def fingerprint(secret: bytes) -> bytes:
    """SHA-256 of a secret: what the table keeps of it."""
    return hashlib.sha256(secret).digest()


def _tag(key: SecretKey, kind: Kind, body: bytes) -> bytes:
    return hmac.digest(key.secret, kind.name.encode() + b"\0" + body, "sha256")[:_TAG_BYTES]
