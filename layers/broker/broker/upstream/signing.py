"""The broker's own key at a provider, and what it signs there (RFC 7523 section 3, OpenID Connect Core section 9).

A provider that knows the public half needs no secret that could leak from it. The private half is in the provider's
secret alone: it must never be in an error, a log line or a provider file.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

from broker.encoding import b64url

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

Algorithm = Literal["ES256", "RS256"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 120
"""How long an assertion is good for: two clocks may differ, and a copy out of some log is soon worth nothing."""
RSA_BITS = (2048, 4096)


class BadClientKey(ValueError):
    """The text is no key that can sign here. `str` says why, without quoting it."""


@dataclass(frozen=True)
class ClientKey:
    """A private key in PEM, EC P-256 or RSA of 2048 to 4096 bits. kid: its name at the provider, "" when it has none."""

    kid: str
    private_pem: str = field(repr=False)

    @cached_property
    def private_key(self) -> "PrivateKey":
        """The key itself, parsed when first used. Errors: BadClientKey."""
        # Functions that sign nothing do not pay for these imports.
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        try:
            key = serialization.load_pem_private_key(self.private_pem.encode(), None)
        except TypeError:
            raise BadClientKey("the private key has a password; store it without") from None
        except (ValueError, UnsupportedAlgorithm):
            raise BadClientKey("the private key is not in PEM, or broken") from None
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            return key
        if isinstance(key, rsa.RSAPrivateKey) and RSA_BITS[0] <= key.key_size <= RSA_BITS[1]:
            return key
        raise BadClientKey("the private key must be EC P-256 or RSA of 2048 to 4096 bits")

    @cached_property
    def algorithm(self) -> Algorithm:
        """What it signs with. Errors: BadClientKey."""
        from cryptography.hazmat.primitives.asymmetric import ec

        return "ES256" if isinstance(self.private_key, ec.EllipticCurvePrivateKey) else "RS256"

    @property
    def public_jwk(self) -> dict[str, str]:
        """The public half, to register at the provider (RFC 7517). Errors: BadClientKey."""
        named = {"kid": self.kid} if self.kid else {}
        return _public_members(self.private_key) | named | {"alg": self.algorithm, "use": "sig"}


def new_key(algorithm: Algorithm) -> ClientKey:
    """A new key, whose kid is its RFC 7638 thumbprint."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key: PrivateKey = (
        ec.generate_private_key(ec.SECP256R1())
        if algorithm == "ES256"
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    members = json.dumps(_public_members(key), sort_keys=True, separators=(",", ":"))
    return ClientKey(b64url(hashlib.sha256(members.encode()).digest()), pem.decode())


def client_assertion(key: ClientKey, client_id: str, audience: str, now: int) -> str:
    """A client assertion, never the same twice: a provider refuses a jti that it has seen. now: epoch seconds.

    Errors: BadClientKey.
    """
    claims: dict[str, object] = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": b64url(secrets.token_bytes(18)),
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
    }
    return signed(key, claims)


def signed(key: ClientKey, claims: Mapping[str, object]) -> str:
    """A JWT with these claims. Errors: BadClientKey."""
    import jwt

    headers = {"kid": key.kid} if key.kid else None
    return str(jwt.encode(dict(claims), key.private_key, key.algorithm, headers=headers))


def _public_members(key: "PrivateKey") -> dict[str, str]:
    """The members of a JWK that are the public key itself (RFC 7518 sections 6.2 and 6.3)."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from jwt.algorithms import ECAlgorithm, RSAAlgorithm

    public = key.public_key()
    jwk = (
        ECAlgorithm.to_jwk(public, True)
        if isinstance(public, ec.EllipticCurvePublicKey)
        else RSAAlgorithm.to_jwk(public, True)
    )
    return {name: str(jwk[name]) for name in ("kty", "crv", "x", "y", "n", "e") if name in jwk}
