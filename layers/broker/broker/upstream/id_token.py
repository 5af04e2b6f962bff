"""The provider's ID token, checked in every respect before anything in it is believed (OpenID Connect Core section 3.1.3.7).

Must never accept an unsigned token or an HMAC, and never quote a token in an error.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from broker.encoding import b64url
from broker.protocol import jws
from broker.upstream.client_keys import ClientKeys, KeysUnavailable
from broker.upstream.dialect import Profile, read_claims, read_subject
from broker.upstream.failures import FailureKind, UpstreamFailure
from broker.upstream.tokens import UpstreamTokens
from broker.upstream.transport import Deadline

if TYPE_CHECKING:
    from broker.upstream.provider import Provider

SKEW = 300
OLDEST = 600
"""Seconds that a token may be old: Microsoft dates its own five minutes back. The nonce says that it is this login's."""
MAX_BYTES = 64 * 1024
"""Larger than what clients may send: some providers put a person's groups in."""


@dataclass(frozen=True)
class Expected:
    """What the token must be about. max_age: seconds since the person's sign-in, None for any; now: epoch seconds."""

    client_id: str
    nonce: str = field(repr=False)
    max_age: int | None
    now: int


@dataclass(frozen=True)
class Identity:
    """Who signed in at the provider, and when (epoch seconds, None when it does not say)."""

    subject: str = field(repr=False)
    claims: Mapping[str, object] = field(repr=False)
    auth_time: int | None


def is_expected(provider: Provider, scope: tuple[str, ...]) -> bool:
    """Whether the token answer must hold an ID token. scope: what was asked for beside the file's own."""
    return provider.discovered is not None and "openid" in (*provider.authorize.scope, *scope)


def check(
    provider: Provider, tokens: UpstreamTokens, keys: ClientKeys, expected: Expected, deadline: Deadline
) -> Identity:
    """The identity in the ID token beside `tokens`. Raises UpstreamFailure: of the moment when the keys cannot be had."""
    if tokens.id_token is None:
        raise _refused("it is missing")
    jwt = _signed(provider, tokens.id_token, keys, deadline)
    _check_parties(provider, jwt.claims, expected)
    _check_times(jwt.claims, expected)
    nonce = jwt.claims.get("nonce")
    if not isinstance(nonce, str) or not secrets.compare_digest(
        nonce.encode("utf-8", "surrogatepass"), expected.nonce.encode()
    ):
        raise _refused("the nonce is not this login's")
    at_hash = jwt.claims.get("at_hash")
    if at_hash is not None and at_hash != half_hash(jwt.algorithm, tokens.access_token):
        raise _refused("at_hash is another access token's")
    if not isinstance(jwt.claims.get("sub"), str):
        raise _refused("sub is no text")
    _check_required(provider, jwt.claims)
    subject = read_subject(jwt.claims["sub"])
    claims = read_claims(jwt.claims, provider.claims)
    auth_time = _auth_time(jwt.claims, expected)
    return Identity(subject, MappingProxyType({**claims, "sub": subject}), auth_time)


def kept_profile(provider: Provider, scope: tuple[str, ...], tokens: UpstreamTokens) -> Profile | None:
    """What the ID token said when the login was made, for a provider without userinfo; None where no login has one.

    It was checked then, and has been under our own seal since. scope: as for `is_expected`.
    """
    if tokens.id_token is None or not is_expected(provider, scope):
        return None
    claims = jws.read(tokens.id_token, most=MAX_BYTES).claims
    subject = read_subject(claims.get("sub"))
    return Profile(subject, MappingProxyType({**read_claims(claims, provider.claims), "sub": subject}), claims)


def half_hash(algorithm: str, text: str) -> str:
    """The left half of a hash (section 3.1.3.6); Ed25519's own hash is SHA-512."""
    digest = (hashlib.sha512 if algorithm == "EdDSA" else hashlib.sha256)(text.encode()).digest()
    return b64url(digest[: len(digest) // 2])


def _signed(provider: Provider, text: str, keys: ClientKeys, deadline: Deadline) -> jws.SignedJWT:
    """Errors: UpstreamFailure."""
    discovered = provider.discovered
    if discovered is None:
        raise _refused("the provider has no keys to check it with")
    try:
        jwt = jws.read(text, most=MAX_BYTES)
    except jws.BadJWT as problem:
        raise _refused(str(problem)) from None
    if jwt.algorithm not in discovered.algorithms:
        raise _refused("its algorithm is not one that the provider announces")
    try:
        found = keys.for_jwt(discovered.jwks_uri, jwt, deadline)
    except KeysUnavailable as problem:
        raise UpstreamFailure(FailureKind.UNREACHABLE, row=4, detail=problem.detail) from None
    if not any(jws.is_signed_by(jwt, key) for key in found):
        raise _refused("no key of the provider made its signature")
    return jwt


def _check_parties(provider: Provider, claims: Mapping[str, object], expected: Expected) -> None:
    if claims.get("iss") not in (provider.issuer, *provider.id_token.issuers):
        raise _refused("iss is another issuer's")
    audience = claims.get("aud")
    several = isinstance(audience, list) and len(audience) > 1
    if expected.client_id not in (audience if isinstance(audience, list) else [audience]):
        raise _refused("aud does not name the broker")
    authorized = claims.get("azp")
    if (several or authorized is not None) and authorized != expected.client_id:
        raise _refused("azp does not name the broker")


def _check_required(provider: Provider, claims: Mapping[str, object]) -> None:
    """The person may be who he is, and still be none of those that the operator lets in."""
    for name, wanted in provider.id_token.require.items():
        if claims.get(name) != wanted:
            detail = f"id_token: the claim {name} is not what the file requires"
            raise UpstreamFailure(FailureKind.REQUEST_REFUSED, row=11, error="access_denied", status=200, detail=detail)


def _check_times(claims: Mapping[str, object], expected: Expected) -> None:
    expires_at, issued_at = jws.numeric_date(claims.get("exp")), jws.numeric_date(claims.get("iat"))
    if expires_at is None or expires_at <= expected.now - SKEW:
        raise _refused("it has expired")
    if issued_at is None or not expected.now - OLDEST <= issued_at <= expected.now + SKEW:
        raise _refused("it was not issued just now")
    not_before = jws.numeric_date(claims.get("nbf", 0))
    if not_before is None or not_before > expected.now + SKEW:
        raise _refused("it is not valid yet")


def _auth_time(claims: Mapping[str, object], expected: Expected) -> int | None:
    auth_time = jws.numeric_date(claims.get("auth_time"))
    if auth_time is not None and auth_time > expected.now + SKEW:
        raise _refused("auth_time is in the future")
    if expected.max_age is not None and (auth_time is None or auth_time + expected.max_age + SKEW < expected.now):
        # A provider that ignores max_age must not make the client believe that the person has just signed in.
        raise _refused("auth_time is missing, or longer ago than max_age")
    return None if auth_time is None else min(auth_time, expected.now)


def _refused(reason: str) -> UpstreamFailure:
    return UpstreamFailure(FailureKind.UNUSABLE, row=15, status=200, detail=f"id_token: {reason}")
