"""DPoP proofs (RFC 9449): a JWT per request with which a client shows that it holds the key its tokens are bound to.

Pure checks of one proof against one request. Whether its nonce is the server's and its jti is new is for the caller to know, and
so is whether its time must be looked at: a good nonce tells it better than `iat` (section 4.3, item 11).
Must never believe a proof whose signature is not by the key in its own header.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urlsplit

from broker.encoding import b64url
from broker.protocol import jws
from broker.protocol.errors import INVALID_DPOP_PROOF, INVALID_REQUEST, OAuthError

ALGORITHMS = jws.ALGORITHMS
TYPE = "dpop+jwt"
WINDOW = 60
"""Seconds that `iat` may be in the past or in the future (section 11.1)."""
MAX_JTI = 256

_JKT = re.compile(r"[A-Za-z0-9_-]{43}")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Proof:
    """A proof that is right in itself.

    Attributes:
        jkt: thumbprint of its key (RFC 7638), in base64url.
        nonce: the server's nonce that it has, None if it has none.
        issued_at: its iat, epoch seconds by the client's clock.
    """

    jkt: str
    jti: str
    nonce: str | None = field(repr=False)
    issued_at: int


def read(header: str, *, method: str, url: str, access_token: str | None = None) -> Proof:
    """The proof in a DPoP header (section 4.3), whenever it was made. `url`: the endpoint's, as the metadata names it.

    `access_token`: the token that comes with it, at a resource. Errors: OAuthError invalid_dpop_proof.
    """
    if not header:
        raise OAuthError(INVALID_DPOP_PROOF, "the header DPoP with the proof is missing")
    try:
        # Two DPoP headers come joined by a comma, which no JWT has.
        jwt = jws.read(header)
    except jws.BadJWT as error:
        raise _invalid(str(error)) from None
    if jwt.header.get("typ") != TYPE:
        raise _invalid(f"its typ is not {TYPE}")
    jkt = _own_key(jwt)
    _check_request(jwt, method, url)
    if access_token is not None and not _is_hash(jwt.claims.get("ath"), access_token):
        raise _invalid("its ath is not the hash of the access token")
    issued_at = jws.numeric_date(jwt.claims.get("iat"))
    if issued_at is None:
        raise _invalid("its iat is not a time")
    jti, nonce = jwt.claims.get("jti"), jwt.claims.get("nonce")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
        raise _invalid(f"its jti is not a string of 1 to {MAX_JTI} characters")
    if nonce is not None and not isinstance(nonce, str):
        raise _invalid("its nonce is not a string")
    return Proof(jkt, jti, nonce, issued_at)


def fresh_until(proof: Proof, now: int) -> int:
    """Epoch seconds from which on a proof without a nonce is too old. Errors: OAuthError invalid_dpop_proof when `now` is not
    within its window (section 11.1)."""
    if abs(now - proof.issued_at) > WINDOW:
        raise _invalid(f"its iat is not within {WINDOW} seconds of now, and it has no nonce")
    return proof.issued_at + WINDOW + 1


def claimed_nonce(header: str) -> str | None:
    """The nonce that a DPoP header has, whoever signed it: good for nothing but to see whether the client knows the newest."""
    try:
        nonce = jws.read(header).claims.get("nonce")
    except jws.BadJWT:
        return None
    return nonce if isinstance(nonce, str) else None


def check_jkt(jkt: str | None) -> str | None:
    """The authorization request's dpop_jkt (section 10). Errors: OAuthError invalid_request."""
    if jkt is not None and not _JKT.fullmatch(jkt):
        raise OAuthError(INVALID_REQUEST, "dpop_jkt must be 43 characters of base64url without padding")
    return jkt


def challenge(*parameters: str) -> str:
    """The DPoP challenge of a resource (section 7.1), with further parameters before its own."""
    return "DPoP " + ", ".join([*parameters, f'algs="{" ".join(ALGORITHMS)}"'])


def _own_key(jwt: jws.SignedJWT) -> str:
    jwk = jwt.header.get("jwk")
    if not isinstance(jwk, dict):
        raise _invalid("its header has no jwk")
    try:
        key = jws.verification_key(jwk)
    except jws.BadKey as error:
        raise _invalid(f"its jwk cannot be used: {error}") from None
    if not jws.is_signed_by(jwt, key):
        raise _invalid("its signature is not by the key in its header")
    return jws.thumbprint(jwk)


def _check_request(jwt: jws.SignedJWT, method: str, url: str) -> None:
    if jwt.claims.get("htm") != method:
        raise _invalid("its htm is not the method of the request")
    htu = jwt.claims.get("htu")
    if not isinstance(htu, str) or _normal(htu) is None or _normal(htu) != _normal(url):
        raise _invalid("its htu is not the URL of the request")


def _normal(url: str) -> tuple[str, str, int | None, str] | None:
    """A URL without query and fragment, normalised by syntax and scheme (RFC 3986 sections 6.2.2 and 6.2.3)."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        return None
    if not host or "@" in parts.netloc:
        return None
    path = _ESCAPE.sub(lambda found: _plain_escape(found.group()), parts.path) or "/"
    return scheme, host.lower(), port or _DEFAULT_PORTS.get(scheme), path


def _plain_escape(escape: str) -> str:
    (byte,) = unquote_to_bytes(escape)
    return chr(byte) if byte in _UNRESERVED else escape.upper()


def _is_hash(ath: object, access_token: str) -> bool:
    digest = hashlib.sha256(access_token.encode("utf-8", "surrogatepass")).digest()
    return isinstance(ath, str) and hmac.compare_digest(b64url(digest).encode(), ath.encode("utf-8", "surrogatepass"))


def _invalid(why: str) -> OAuthError:
    return OAuthError(INVALID_DPOP_PROOF, f"the DPoP proof is not accepted: {why}")
