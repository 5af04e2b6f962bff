"""The broker's keys: one JSON document with dates (kept in Secrets Manager), and the ring that it is read into.

Document (times are epoch seconds; `retires_at` may be absent = no end is planned):

    {"version": 1,
     "handle":  [{"id": 1, "secret": "<base64url, 32 bytes>", "active_from": 0, "retires_at": 0}],
     "sealing": [{"id": 1, "secret": "...", ...}],
     "signing": [{"kid": "...", "alg": "ES256", "private_pem": "...", "active_from": 0, "retires_at": 0}, {"alg": "RS256", ...}],
     "past":    [{"kid": "...", "alg": "ES256", "public_pem": "...", "retires_at": 0}]}

A key is published and accepted from the moment it is in the document until `retires_at`; it is *used* from `active_from`,
so that every instance and every verifier knows a key before it meets its first token. `past` (may be absent) has the public
halves of signing keys that have retired: an ID token that expired long ago still says which login is to end.

How a document becomes the next one is the business of rotation.py. `cryptography` is imported where a signing key is used,
as most functions only check handles.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from broker import clock
from broker.encoding import b64url, from_b64url

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

KID_LENGTH = 43
"""Characters of an RFC 7638 thumbprint with SHA-256."""
KEYS_AHEAD = 4
"""How many keys of a kind may be made while an instance remembers a document."""
Algorithm = Literal["ES256", "RS256"]
ALGORITHMS: tuple[Algorithm, ...] = ("ES256", "RS256")


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
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        # An RSA key is not tested for primes here, which costs every cold start 0.1 s: rotation.try_out does so.
        key = serialization.load_pem_private_key(self.private_pem.encode(), None, unsafe_skip_rsa_key_validation=True)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise TypeError("a signing key must be EC or RSA")
        return key

    @cached_property
    def public_key(self) -> PublicKey:
        """The public half."""
        return self.private_key.public_key()

    @cached_property
    def public_jwk(self) -> dict[str, str]:
        """The public half as a JWK (RFC 7517), never with a private member."""
        return _public_members(self.private_key) | {"kid": self.kid, "alg": self.alg, "use": "sig"}


@dataclass(frozen=True)
class PastKey:
    """The public half of a signing key that has retired."""

    kid: str
    alg: Algorithm
    public_pem: str
    retires_at: int

    @cached_property
    def public_key(self) -> PublicKey:
        """The key itself, parsed when first used."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        key = serialization.load_pem_public_key(self.public_pem.encode())
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise TypeError("a signing key must be EC or RSA")
        return key


Key = TypeVar("Key", SecretKey, SigningKey)


@dataclass(frozen=True)
class KeyRing:
    """All keys of one document.

    newer: gives the ring of a newer document if there may be one, None if that was looked up just now and there is none.
        It is asked when a key is not known; with True for an id that follows those of the known keys, which only a newer
        document can have: then it raises rather than to say that there is none without having looked.
    """

    handle: tuple[SecretKey, ...]
    sealing: tuple[SecretKey, ...]
    signing: tuple[SigningKey, ...]
    past: tuple[PastKey, ...] = ()
    newer: Callable[[bool], KeyRing | None] | None = field(default=None, repr=False, compare=False)

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
        if (ring := self._newer_for(key_id, self.handle)) is not None:
            return ring.handle_key_by_id(key_id)
        return next((key for key in self.handle if key.id == key_id and _accepted(key)), None)

    def sealing_key_by_id(self, key_id: int) -> SecretKey | None:
        """The sealing key of that id while it is accepted."""
        if (ring := self._newer_for(key_id, self.sealing)) is not None:
            return ring.sealing_key_by_id(key_id)
        return next((key for key in self.sealing if key.id == key_id and _accepted(key)), None)

    def signing_key_by_kid(self, kid: str) -> SigningKey | None:
        """The signing key of that kid while it is accepted."""
        known = next((key for key in self.signing if key.kid == kid), None)
        if known is None and self.newer is not None and len(kid) == KID_LENGTH:
            ring = self.newer(False)
            return replace(ring, newer=None).signing_key_by_kid(kid) if ring is not None else None
        return known if known is not None and _accepted(known) else None

    def retired_key_by_kid(self, kid: str) -> PastKey | SigningKey | None:
        """A signing key that is or was accepted, for as long as a login may live whose ID token it signed."""
        past = next((key for key in self.past if key.kid == kid and _accepted(key)), None)
        return past or next((key for key in self.signing if key.kid == kid), None)

    def _newer_for(self, key_id: int, known: tuple[SecretKey, ...]) -> KeyRing | None:
        """A newer ring, where the id follows those of the known keys: most ids that somebody made up do not."""
        last = max((key.id for key in known), default=0)
        if self.newer is None or not last < key_id <= last + KEYS_AHEAD:
            return None
        ring = self.newer(True)
        return replace(ring, newer=None) if ring is not None else None

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
            past=tuple(PastKey(**entry) for entry in document.get("past", ())),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError("the key document is not in the form this version reads") from None


def document_of(ring: KeyRing) -> str:
    """The document's text, from which `parse` makes the same ring. It goes into Secrets Manager and nowhere else."""
    document = {
        "version": 1,
        "handle": [_entry(key) | {"secret": b64url(key.secret)} for key in ring.handle],
        "sealing": [_entry(key) | {"secret": b64url(key.secret)} for key in ring.sealing],
        "signing": [_entry(key) for key in ring.signing],
    }
    return json.dumps(document | ({"past": [_entry(key) for key in ring.past]} if ring.past else {}))


def new_document(now: int) -> str:
    """A first key document, with one key of each kind, in use at once."""
    signing = tuple(new_signing_key(alg, now) for alg in ALGORITHMS)
    return document_of(KeyRing((new_secret_key(1, now),), (new_secret_key(1, now),), signing))


def new_secret_key(key_id: int, active_from: int) -> SecretKey:
    """A new handle or sealing key."""
    return SecretKey(key_id, secrets.token_bytes(32), active_from)


def new_signing_key(alg: Algorithm, active_from: int) -> SigningKey:
    """A new signing key, whose kid is its RFC 7638 thumbprint."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key: PrivateKey = (
        ec.generate_private_key(ec.SECP256R1()) if alg == "ES256" else rsa.generate_private_key(65537, 2048)
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return SigningKey(thumbprint(key), alg, pem.decode(), active_from)


def thumbprint(key: PrivateKey) -> str:
    """The RFC 7638 thumbprint of the public half."""
    members = json.dumps(_public_members(key), sort_keys=True, separators=(",", ":"))
    return b64url(hashlib.sha256(members.encode()).digest())


def _accepted(key: SecretKey | SigningKey | PastKey) -> bool:
    return key.retires_at is None or clock.now() < key.retires_at


def _newest(keys: tuple[Key, ...]) -> Key:
    """The key in use; of two that began at the same second the one that was added later.

    Where none has begun, the first that will: whoever made it had a clock that was ahead, and it is accepted already.
    """
    accepted = [key for key in reversed(keys) if _accepted(key)]
    begun = [key for key in accepted if key.active_from <= clock.now()]
    if not begun:
        return min(accepted, key=lambda key: key.active_from)
    return max(begun, key=lambda key: key.active_from)


def _secret_key(entry: Mapping[str, Any]) -> SecretKey:
    return SecretKey(**(dict(entry) | {"secret": from_b64url(entry["secret"])}))


def _entry(key: SecretKey | SigningKey | PastKey) -> dict[str, Any]:
    """The members of a key's entry that are set."""
    return {f.name: getattr(key, f.name) for f in fields(key) if getattr(key, f.name) is not None}


def _public_members(key: PrivateKey) -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric import ec

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
