"""The broker's keys: one JSON document with dates (kept in Secrets Manager), and the ring that it is read into.

Document (times are epoch seconds; `retires_at` may be absent = no end is planned):

    {"version": 1,
     "handle":  [{"id": 1, "secret": "<base64url, 32 bytes>", "active_from": 0, "retires_at": 0}],
     "sealing": [{"id": 1, "secret": "...", ...}],
     "signing": [{"kid": "...", "alg": "ES256", "private_pem": "...", "active_from": 0, "retires_at": 0}, {"alg": "RS256", ...}]}

A key is published and accepted from the moment it is in the document until `retires_at`; it is *used* from `active_from`,
so that every instance and every verifier knows a key before it meets its first token.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from broker import clock
from broker.encoding import b64url, from_b64url

Algorithm = Literal["ES256", "RS256"]
ALGORITHMS: tuple[Algorithm, ...] = ("ES256", "RS256")
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class SecretKey:
    """A symmetric key of 32 bytes; `id` (0 to 65535) is named in what it protects."""

    id: int
    secret: bytes = field(repr=False)
    active_from: int
    retires_at: int | None = None


@dataclass(frozen=True)
class SigningKey:
    """A private signing key in PEM; `kid` is its RFC 7638 thumbprint."""

    kid: str
    alg: Algorithm
    private_pem: str = field(repr=False)
    active_from: int
    retires_at: int | None = None

    @cached_property
    def private_key(self) -> PrivateKey:
        """The key itself, parsed when first used."""
        key = serialization.load_pem_private_key(self.private_pem.encode(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise TypeError("a signing key must be EC or RSA")
        return key

    @cached_property
    def public_jwk(self) -> dict[str, str]:
        """The public half as a JWK (RFC 7517), never with a private member."""
        return _public_members(self.private_key) | {"kid": self.kid, "alg": self.alg, "use": "sig"}


Key = TypeVar("Key", SecretKey, SigningKey)


@dataclass(frozen=True)
class KeyRing:
    """All keys of one document."""

    handle: tuple[SecretKey, ...]
    sealing: tuple[SecretKey, ...]
    signing: tuple[SigningKey, ...]

    def handle_key(self) -> SecretKey:
        """The key to make new handles with."""
        return _newest(self.handle)

    def sealing_key(self) -> SecretKey:
        """The key to seal new values with."""
        return _newest(self.sealing)

    def signing_key(self, alg: Algorithm) -> SigningKey:
        """The key to sign new tokens of this algorithm with."""
        return _newest(tuple(key for key in self.signing if key.alg == alg))

    def handle_key_by_id(self, key_id: int) -> SecretKey | None:
        """The handle key of that id while it is accepted."""
        return next((key for key in self.handle if key.id == key_id and _accepted(key)), None)

    def sealing_key_by_id(self, key_id: int) -> SecretKey | None:
        """The sealing key of that id while it is accepted."""
        return next((key for key in self.sealing if key.id == key_id and _accepted(key)), None)

    def signing_key_by_kid(self, kid: str) -> SigningKey | None:
        """The signing key of that kid while it is accepted."""
        return next((key for key in self.signing if key.kid == kid and _accepted(key)), None)

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The JWK Set (RFC 7517 section 5): the public halves of all keys that are used, will be used or are still accepted."""
        return {"keys": [key.public_jwk for key in self.signing if _accepted(key)]}


def parse(text: str) -> KeyRing:
    """A ring from the document's text. Errors: ValueError that never quotes the document."""
    try:
        document = json.loads(text)
        return KeyRing(
            handle=tuple(_secret_key(entry) for entry in document["handle"]),
            sealing=tuple(_secret_key(entry) for entry in document["sealing"]),
            signing=tuple(SigningKey(**entry) for entry in document["signing"]),
        )
    except (KeyError, TypeError, ValueError):
        raise ValueError("the key document is not in the form this version reads") from None


def new_document(now: int) -> str:
    """A first key document, with one key of each kind, in use at once."""
    return json.dumps(
        {
            "version": 1,
            "handle": [_new_secret(1, now)],
            "sealing": [_new_secret(1, now)],
            "signing": [_new_signing(alg, now) for alg in ALGORITHMS],
        }
    )


def _accepted(key: SecretKey | SigningKey) -> bool:
    return key.retires_at is None or clock.now() < key.retires_at


def _newest(keys: tuple[Key, ...]) -> Key:
    return max(
        (key for key in keys if key.active_from <= clock.now() and _accepted(key)), key=lambda key: key.active_from
    )


def _secret_key(entry: Mapping[str, Any]) -> SecretKey:
    return SecretKey(**(dict(entry) | {"secret": from_b64url(entry["secret"])}))


def _new_secret(key_id: int, now: int) -> dict[str, object]:
    return {"id": key_id, "secret": b64url(secrets.token_bytes(32)), "active_from": now}


def _new_signing(alg: Algorithm, now: int) -> dict[str, object]:
    key: PrivateKey = (
        ec.generate_private_key(ec.SECP256R1()) if alg == "ES256" else rsa.generate_private_key(65537, 2048)
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    thumbprint = json.dumps(_public_members(key), sort_keys=True, separators=(",", ":")).encode()
    return {
        "kid": b64url(hashlib.sha256(thumbprint).digest()),
        "alg": alg,
        "private_pem": pem.decode(),
        "active_from": now,
    }


def _public_members(key: PrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    if isinstance(numbers, ec.EllipticCurvePublicNumbers):
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": b64url(numbers.x.to_bytes(32, "big")),
            "y": b64url(numbers.y.to_bytes(32, "big")),
        }
    return {"kty": "RSA", "n": b64url(_unsigned(numbers.n)), "e": b64url(_unsigned(numbers.e))}


def _unsigned(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
