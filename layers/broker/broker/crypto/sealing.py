"""Sealing: AES-256-GCM under a key derived for one purpose (HKDF, RFC 5869), bound to what the sealed value belongs to.

A value sealed under a secret that only the client holds cannot be opened by whoever copies the tables and all secrets.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12


class SealBroken(Exception):
    """The value was not sealed under this key for this place, or was changed since."""


def derive(secret: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose from a secret of full entropy."""
    return HKDF(SHA256(), 32, None, purpose.encode()).derive(secret)


def seal(secret: bytes, purpose: str, plaintext: bytes, bound_to: bytes) -> bytes:
    """Seal `plaintext`; `bound_to` (additional data) must be given again to open it. Returns nonce + ciphertext + tag."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(derive(secret, purpose)).encrypt(nonce, plaintext, bound_to)


def unseal(secret: bytes, purpose: str, sealed: bytes, bound_to: bytes) -> bytes:
    """Open what `seal` made. Errors: SealBroken."""
    try:
        return AESGCM(derive(secret, purpose)).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        raise SealBroken from None
