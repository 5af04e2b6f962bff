"""Clients that sign: DPoP proofs (RFC 9449) and client assertions (RFC 7523), made with PyJWT and not by the broker's code."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def b64(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def new_key(alg: str = "ES256") -> PrivateKey:
    """A private key for this algorithm."""
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1()) if alg == "ES256" else rsa.generate_private_key(65537, 2048)


def jwk_of(key: PrivateKey, *, private: bool = False) -> dict[str, Any]:
    """A key as JWK; the public half unless asked otherwise."""
    shown: Any = key if private else key.public_key()
    library: Any = {ec.EllipticCurvePrivateKey: ECAlgorithm, rsa.RSAPrivateKey: RSAAlgorithm}
    algorithm = next((found for kind, found in library.items() if isinstance(key, kind)), OKPAlgorithm)
    jwk: dict[str, Any] = algorithm.to_jwk(shown, as_dict=True)
    return {name: value for name, value in jwk.items() if name != "key_ops"}


def jwk_set(*keys: dict[str, Any]) -> str:
    """A JWK Set as text."""
    return json.dumps({"keys": list(keys)})


def signed_by_hand(header: Mapping[str, Any], claims: Mapping[str, Any], key: PrivateKey | None) -> str:
    """A JWT with exactly this header, whatever it says; without a key, unsigned."""
    text = ".".join(b64(json.dumps(part).encode()) for part in (header, claims))
    if key is None:
        return f"{text}."
    if isinstance(key, rsa.RSAPrivateKey):
        return f"{text}.{b64(key.sign(text.encode(), padding.PKCS1v15(), SHA256()))}"
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(SHA256())))
    return f"{text}.{b64(r.to_bytes(32) + s.to_bytes(32))}"


def without(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


@dataclass
class DPoPKey:
    """A client's DPoP key and the last nonce that the broker gave it."""

    alg: str = "ES256"
    key: PrivateKey = field(default_factory=new_key, repr=False)
    nonce: str | None = None

    @property
    def jkt(self) -> str:
        """The thumbprint of an EC key (RFC 7638)."""
        jwk = jwk_of(self.key)
        members = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
        return b64(hashlib.sha256(members.encode()).digest())

    def claims(self, method: str, url: str, access_token: str | None = None, **changes: Any) -> dict[str, Any]:
        """The claims of a right proof, with changes; None removes one."""
        ath = b64(hashlib.sha256(access_token.encode()).digest()) if access_token is not None else None
        right = {
            "jti": secrets.token_urlsafe(12),
            "htm": method,
            "htu": url,
            "iat": int(time.time()),
            "ath": ath,
            "nonce": self.nonce,
        }
        return without(right | changes)

    def header(self, **changes: Any) -> dict[str, Any]:
        """The header of a right proof, with changes; None removes one."""
        return without({"typ": "dpop+jwt", "alg": self.alg, "jwk": jwk_of(self.key)} | changes)

    def proof(self, method: str, url: str, access_token: str | None = None, **changes: Any) -> str:
        """A right proof, but for the changes to its claims."""
        claims = self.claims(method, url, access_token, **changes)
        return jwt.encode(claims, self.key, algorithm=self.alg, headers=self.header(alg=None))

    def post(self, url: str, form: Mapping[str, str], proof: str | None = None) -> requests.Response:
        """POST a form with one proof, and remember the nonce of the answer."""
        headers = {"dpop": self.proof("POST", url) if proof is None else proof}
        response = requests.post(url, data=dict(form), headers=headers, timeout=30, allow_redirects=False)
        self.nonce = response.headers.get("dpop-nonce", self.nonce)
        return response

    def learn_nonce(self, base: str) -> None:
        """Ask for a nonce, as a client does whose first proof has none."""
        if self.nonce is None:
            response = self.post(f"{base}/token", {"grant_type": "refresh_token", "client_id": "nobody"})
            assert self.nonce, response.text

    def userinfo(self, base: str, access_token: str, proof: str | None = None) -> requests.Response:
        """GET userinfo with a bound token."""
        url = f"{base}/userinfo"
        headers = {
            "authorization": f"DPoP {access_token}",
            "dpop": self.proof("GET", url, access_token) if proof is None else proof,
        }
        response = requests.get(url, headers=headers, timeout=30)
        self.nonce = response.headers.get("dpop-nonce", self.nonce)
        return response


def assertion_claims(client_id: str, audience: Any, **changes: Any) -> dict[str, Any]:
    """The claims of a right client assertion, with changes; None removes one."""
    now = int(time.time())
    right = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": secrets.token_urlsafe(12),
        "iat": now,
        "exp": now + 60,
    }
    return without(right | changes)


def assertion_form(assertion: str) -> dict[str, str]:
    """The parameters that bring an assertion."""
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
