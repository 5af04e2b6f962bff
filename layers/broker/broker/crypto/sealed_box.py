"""Sealing to a public key: whoever holds the private key opens it, and whoever sealed it cannot open it again.

An ephemeral X25519 key (RFC 7748) agrees on a secret with the recipient's; sealing.py does the rest. Both public keys go into
the derivation (RFC 7748 section 6.1 advises so), so that a sealed value belongs to one recipient.
"""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from broker.crypto import sealing

KEY_BYTES = 32


def public_key(private_key: bytes) -> bytes:
    """The public key (32 bytes) of a private key, which is any 32 random bytes."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def seal(recipient: bytes, purpose: str, plaintext: bytes, bound_to: bytes) -> bytes:
    """Seal `plaintext` to a public key; `bound_to` must be given again to open it. Returns ephemeral key + sealed value."""
    ephemeral = X25519PrivateKey.generate()
    sender = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    return sender + sealing.seal(shared + sender + recipient, purpose, plaintext, bound_to)


def unseal(private_key: bytes, purpose: str, sealed: bytes, bound_to: bytes) -> bytes:
    """Open what `seal` made, with the recipient's private key. Errors: SealBroken."""
    own = X25519PrivateKey.from_private_bytes(private_key)
    sender, inner = sealed[:KEY_BYTES], sealed[KEY_BYTES:]
    try:
        shared = own.exchange(X25519PublicKey.from_public_bytes(sender))
    except ValueError:
        raise sealing.SealBroken from None
    return sealing.unseal(shared + sender + own.public_key().public_bytes_raw(), purpose, inner, bound_to)
