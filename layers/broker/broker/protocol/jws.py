"""Signed JWTs that others make (RFC 7515, 7517, 7519): read strictly, and verified with a public key alone.

The algorithm has to fit the key's own type, never the other way round: so `none` and HMAC, with a public key taken for a
secret, have no way in (RFC 8725 sections 2.1 and 3.1). Must never accept a key that shows a private member.

`cryptography` is imported where a key is read or used: everybody imports this module, and few requests bring a JWT.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from broker.encoding import b64url, from_b64url

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

ALGORITHMS = ("ES256", "EdDSA", "RS256", "PS256")
MAX_BYTES = 8192
"""Of a whole JWT: what a form parameter may have."""
MAX_KEYS = 20
"""Of a stranger's key set."""
RSA_BITS = (2048, 4096)
"""The lower end is RFC 7518's; the upper keeps a stranger's key from making the broker work."""

_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_THUMBPRINT_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
_P256_BYTES = 32


class BadJWT(ValueError):
    """The text is no signed JWT of the accepted form. `str` says why, without quoting it."""


class BadKey(ValueError):
    """The JWK or JWK Set cannot be used. `str` says why, without quoting it."""


@dataclass(frozen=True)
class SignedJWT:
    """A JWT whose signature is still to be verified: nothing in it may be believed."""

    header: Mapping[str, Any] = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def algorithm(self) -> str:
        """The algorithm it names; one of ALGORITHMS."""
        return str(self.header["alg"])


@dataclass(frozen=True)
class VerificationKey:
    """A public key for signatures.

    Attributes:
        kid: its name, None when it has none.
        algorithms: the algorithms that it may be used with.
    """

    kid: str | None
    algorithms: tuple[str, ...]
    key: PublicKey


def read(text: str, *, most: int = MAX_BYTES) -> SignedJWT:
    """A JWT in compact form, of at most so many characters. Errors: BadJWT, for an algorithm that is not accepted as well."""
    if len(text) > most:
        raise BadJWT(f"it is longer than {most} characters")
    parts = text.split(".")
    if len(parts) != 3:
        raise BadJWT("it does not have three parts")
    try:
        header, claims = _json_object(from_b64url(parts[0])), _json_object(from_b64url(parts[1]))
        signature = from_b64url(parts[2])
    except (ValueError, RecursionError):
        raise BadJWT("a part of it is not base64url, or not a JSON object") from None
    if header.get("alg") not in ALGORITHMS:
        raise BadJWT(f"its algorithm is not one of {', '.join(ALGORITHMS)}")
    if "crit" in header:
        raise BadJWT("it has critical header parameters that are not understood")  # RFC 7515 section 4.1.11
    return SignedJWT(header, claims, f"{parts[0]}.{parts[1]}".encode(), signature)


def is_signed_by(jwt: SignedJWT, key: VerificationKey) -> bool:
    """Whether this key made the signature, with an algorithm that it may be used with."""
    if jwt.algorithm not in key.algorithms:
        return False
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        match key.key:
            case ec.EllipticCurvePublicKey():
                key.key.verify(_der(jwt.signature), jwt.signed, ec.ECDSA(SHA256()))
            case ed25519.Ed25519PublicKey():
                key.key.verify(jwt.signature, jwt.signed)
            case rsa.RSAPublicKey():
                key.key.verify(jwt.signature, jwt.signed, _rsa_padding(jwt.algorithm), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def verification_key(jwk: Mapping[str, Any]) -> VerificationKey:
    """The key in a JWK: EC P-256, RSA of 2048 to 4096 bits, or Ed25519. Errors: BadKey."""
    if _PRIVATE & set(jwk):
        raise BadKey("it shows a private key")
    try:
        key, algorithms = _public_key(jwk)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadKey("it is not an EC P-256, RSA (2048 to 4096 bits) or Ed25519 public key") from None
    if jwk.get("alg") is not None:
        algorithms = tuple(name for name in algorithms if name == jwk["alg"])
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ("verify",)):
        algorithms = ()
    kid = jwk.get("kid")
    return VerificationKey(kid if isinstance(kid, str) else None, algorithms, key)


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The SHA-256 thumbprint of a JWK that `verification_key` accepted (RFC 7638), in base64url."""
    members = {name: jwk[name] for name in _THUMBPRINT_MEMBERS[jwk["kty"]]}
    return b64url(hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest())


@lru_cache(maxsize=64)
def key_set(text: str, *, most: int = MAX_KEYS) -> tuple[VerificationKey, ...]:
    """The keys of a JWK Set (RFC 7517 section 5) that signatures can be verified with, at most so many; keys of other kinds are
    passed over.

    Errors: BadKey when it is none, has no such key, or shows a private key: that one is compromised, and its owner has
    mixed up his files.
    """
    try:
        entries = _json_object(text.encode())["keys"]
    except (KeyError, ValueError, RecursionError):
        raise BadKey("it is not a JWK Set, a JSON object with the member keys") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadKey("its member keys is not a list of JSON objects")
    if len(entries) > most:
        raise BadKey(f"it has more than {most} keys")
    if any(_PRIVATE & set(entry) for entry in entries):
        raise BadKey("it shows a private key; leave out the private members of every key")
    keys = tuple(key for key in map(_usable, entries) if key is not None)
    if not keys:
        raise BadKey("it has no EC P-256, RSA (2048 to 4096 bits) or Ed25519 key for signatures")
    return keys


def candidates(jwt: SignedJWT, keys: tuple[VerificationKey, ...]) -> tuple[VerificationKey, ...]:
    """The keys that may have signed: the one that the JWT names, or where it names none, all for its algorithm."""
    kid = jwt.header.get("kid")
    return tuple(key for key in keys if jwt.algorithm in key.algorithms and (kid is None or key.kid == kid))


def numeric_date(value: object) -> int | None:
    """A NumericDate (RFC 7519 section 2) as whole epoch seconds, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -(2**40) < value < 2**40:
        return None
    return int(value)


def _usable(entry: Mapping[str, Any]) -> VerificationKey | None:
    try:
        key = verification_key(entry)
    except BadKey:
        return None
    return key if key.algorithms else None


def _public_key(jwk: Mapping[str, Any]) -> tuple[PublicKey, tuple[str, ...]]:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    match jwk["kty"], jwk.get("crv"):
        case "EC", "P-256":
            x, y = (int.from_bytes(_exactly(_P256_BYTES, from_b64url(jwk[name]))) for name in ("x", "y"))
            # Checks that the point is on the curve.
            return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key(), ("ES256",)
        case "OKP", "Ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(from_b64url(jwk["x"])), ("EdDSA",)
        case "RSA", _:
            modulus, exponent = (int.from_bytes(from_b64url(jwk[name])) for name in ("n", "e"))
            if not RSA_BITS[0] <= modulus.bit_length() <= RSA_BITS[1] or not 3 <= exponent < 2**32:
                raise ValueError("size")
            return rsa.RSAPublicNumbers(exponent, modulus).public_key(), ("RS256", "PS256")
    raise ValueError("kty")


def _exactly(length: int, raw: bytes) -> bytes:
    if len(raw) != length:
        raise ValueError("length")  # RFC 7518 section 6.2.1.2: the full size, so that a key has one spelling
    return raw


def _der(signature: bytes) -> bytes:
    """An ECDSA signature as `cryptography` takes it, from R and S in a row (RFC 7518 section 3.4)."""
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    raw = _exactly(2 * _P256_BYTES, signature)
    return encode_dss_signature(int.from_bytes(raw[:_P256_BYTES]), int.from_bytes(raw[_P256_BYTES:]))


def _rsa_padding(algorithm: str) -> padding.AsymmetricPadding:
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.hashes import SHA256

    if algorithm == "PS256":
        return padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size)  # RFC 7518 section 3.5
    return padding.PKCS1v15()


def _json_object(raw: bytes) -> dict[str, Any]:
    """Errors: ValueError, for a repeated member as well: two parsers could see two different JWTs (RFC 7515 section 4)."""
    found = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_repeats)
    if isinstance(found, dict):
        return found
    raise ValueError("not an object")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is there twice")
    return members
