"""Access tokens and ID tokens: made and checked.

An access token carries the login's grant secret sealed under a server key, so that userinfo can open the provider's token,
while a backend that verifies the token (RFC 9068) learns nothing of it. The opaque form is the same content, sealed whole.

PyJWT is imported where a JWT is signed or verified, as some functions only ever see other kinds of tokens.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from broker import clock
from broker.crypto import sealing
from broker.crypto.handles import GRANT_ID_BYTES
from broker.crypto.keys import ALGORITHMS, Algorithm, KeyRing
from broker.encoding import b64url, from_b64url

OPAQUE_PREFIX = "tba_"
_GRANT_PURPOSE = "token-broker grant secret in access token"
_OPAQUE_PURPOSE = "token-broker opaque access token"
_GRANT_CLAIM = "tbg"


@dataclass(frozen=True)
class AccessToken:
    """The content of an access token. Times are epoch seconds; `audience` and `scope` in the order given.

    cnf_jkt: thumbprint of the DPoP key that it is bound to (RFC 9449 section 6), None for a bearer token.
    token_id: its jti; a new one is made where it is empty.
    """

    issuer: str
    client_id: str
    subject: str
    audience: tuple[str, ...]
    scope: tuple[str, ...]
    grant_id: str
    grant_secret: bytes = field(repr=False)
    issued_at: int
    expires_at: int
    auth_time: int
    cnf_jkt: str | None = None
    token_id: str = ""


def mint_access_token(token: AccessToken, ring: KeyRing, *, form: str = "jwt", alg: Algorithm = "ES256") -> str:
    """The text of an access token: a JWT of type at+jwt (RFC 9068), or an opaque string with the prefix tba_."""
    sealing_key = ring.sealing_key()
    inner = from_b64url(token.grant_id) + token.grant_secret
    sealed = sealing.seal(sealing_key.secret, _GRANT_PURPOSE, inner, token.client_id.encode())
    claims: dict[str, object] = {
        "iss": token.issuer,
        "sub": token.subject,
        "aud": token.audience[0] if len(token.audience) == 1 else list(token.audience),
        "client_id": token.client_id,
        "scope": " ".join(token.scope),
        "iat": token.issued_at,
        "exp": token.expires_at,
        "auth_time": token.auth_time,
        "jti": token.token_id or b64url(secrets.token_bytes(12)),
        "sid": token.grant_id,
        _GRANT_CLAIM: b64url(sealing_key.id.to_bytes(2, "big") + sealed),
    }
    if token.cnf_jkt is not None:
        claims["cnf"] = {"jkt": token.cnf_jkt}
    if form == "opaque":
        return OPAQUE_PREFIX + _seal_opaque(claims, ring)
    return sign(claims, ring, alg, "at+jwt")


def read_access_token(text: str, ring: KeyRing, issuer: str, *, even_expired: bool = False) -> AccessToken | None:
    """The content of an access token that this broker made and that has not expired, or None. No I/O.

    even_expired: only to find out what is wrong with one; nothing may be given for it.
    """
    claims = (
        _open_opaque(text[len(OPAQUE_PREFIX) :], ring)
        if text.startswith(OPAQUE_PREFIX)
        else verify(text, ring, "at+jwt")
    )
    if claims is None or claims.get("iss") != issuer:
        return None
    if claims.get("exp", 0) <= clock.now() and not even_expired:
        return None
    try:
        return _access_token(claims, ring)
    except (KeyError, TypeError, ValueError, sealing.SealBroken):
        return None


def sign(claims: Mapping[str, Any], ring: KeyRing, alg: Algorithm, typ: str) -> str:
    """A signed JWT of the given `typ`."""
    import jwt

    key = ring.signing_key(alg)
    return jwt.encode(dict(claims), key.private_key, algorithm=alg, headers={"typ": typ, "kid": key.kid})


def verify(text: str, ring: KeyRing, typ: str, *, even_retired: bool = False) -> dict[str, Any] | None:
    """The claims of a JWT that one of our keys signed as this `typ`; times are for the caller to judge.

    even_retired: by a key that has retired, too; only for what says no more than which login is meant.
    The algorithm comes from our key, never from the token's header (RFC 8725 section 3.1).
    """
    import jwt

    try:
        header = jwt.get_unverified_header(text)
        kid = str(header.get("kid", ""))
        key = (ring.retired_key_by_kid(kid) if even_retired else None) or ring.signing_key_by_kid(kid)
        if key is None or header.get("typ") != typ or header.get("alg") != key.alg:
            return None
        options: Any = {
            "verify_aud": False,
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
            "verify_sub": False,
        }
        claims: dict[str, Any] = jwt.decode(text, key.public_key, algorithms=[key.alg], options=options)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    return claims


def half_hash(text: str) -> str:
    """at_hash of a token (OpenID Connect Core section 3.1.3.6) for algorithms that end in 256."""
    return b64url(hashlib.sha256(text.encode("ascii")).digest()[:16])


def known_algorithm(name: str) -> Algorithm:
    """`name` as an Algorithm. Errors: ValueError."""
    for alg in ALGORITHMS:
        if alg == name:
            return alg
    raise ValueError(f"unknown signing algorithm {name}")


def _access_token(claims: Mapping[str, Any], ring: KeyRing) -> AccessToken:
    raw = from_b64url(claims[_GRANT_CLAIM])
    key = ring.sealing_key_by_id(int.from_bytes(raw[:2], "big"))
    if key is None:
        raise sealing.SealBroken
    inner = sealing.unseal(key.secret, _GRANT_PURPOSE, raw[2:], claims["client_id"].encode())
    audience = claims["aud"]
    return AccessToken(
        issuer=claims["iss"],
        client_id=claims["client_id"],
        subject=claims["sub"],
        audience=(audience,) if isinstance(audience, str) else tuple(audience),
        scope=tuple(claims["scope"].split()),
        grant_id=b64url(inner[:GRANT_ID_BYTES]),
        grant_secret=inner[GRANT_ID_BYTES:],
        issued_at=claims["iat"],
        expires_at=claims["exp"],
        auth_time=claims["auth_time"],
        cnf_jkt=claims["cnf"]["jkt"] if "cnf" in claims else None,
        token_id=claims["jti"],
    )


def _seal_opaque(claims: Mapping[str, Any], ring: KeyRing) -> str:
    key = ring.sealing_key()
    sealed = sealing.seal(key.secret, _OPAQUE_PURPOSE, json.dumps(claims, separators=(",", ":")).encode(), b"")
    return b64url(key.id.to_bytes(2, "big") + sealed)


def _open_opaque(text: str, ring: KeyRing) -> dict[str, Any] | None:
    try:
        raw = from_b64url(text)
        key = ring.sealing_key_by_id(int.from_bytes(raw[:2], "big"))
        if key is None:
            return None
        claims: dict[str, Any] = json.loads(sealing.unseal(key.secret, _OPAQUE_PURPOSE, raw[2:], b""))
    except (ValueError, sealing.SealBroken):
        return None
    return claims
