"""Client authentication by a signed JWT, `private_key_jwt` (RFC 7523 section 3, OpenID Connect Core section 9).

Pure checks of what an assertion says. Whose keys verify it, and whether it was used before, is for the caller to know.
"""

from dataclasses import dataclass, field

from broker.protocol import jws
from broker.protocol.errors import INVALID_CLIENT, OAuthError

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = jws.ALGORITHMS
SKEW = 60
"""Seconds that a client's clock may be ahead of ours."""
MAX_JTI = 256


@dataclass(frozen=True)
class ClientAssertion:
    """An assertion in the right form, not yet believed: its signature is still to be verified.

    Attributes:
        audience: whom it is for.
        expires_at: epoch seconds.
        not_before: the later of iat and nbf, 0 without either; epoch seconds.
    """

    client_id: str
    audience: tuple[str, ...]
    jti: str
    expires_at: int
    not_before: int
    jwt: jws.SignedJWT = field(repr=False)


def read(assertion_type: str | None, assertion: str | None, client_id: str | None) -> ClientAssertion:
    """The assertion in a form; `client_id`: the form's own, which may be left out (RFC 7521 section 4.2).

    Errors: OAuthError invalid_client.
    """
    if assertion_type != TYPE or assertion is None:
        raise _invalid(f"client_assertion must be there, with the client_assertion_type {TYPE}")
    try:
        jwt = jws.read(assertion)
    except jws.BadJWT as error:
        raise _invalid(str(error)) from None
    subject, jti = jwt.claims.get("sub"), jwt.claims.get("jti")
    if not isinstance(subject, str) or not subject or jwt.claims.get("iss") != subject:
        raise _invalid("iss and sub must both be the client_id")
    if client_id not in (None, subject):
        raise _invalid("sub is not the client_id of the request")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
        raise _invalid(f"jti must be a string of 1 to {MAX_JTI} characters")
    expires_at = jws.numeric_date(jwt.claims.get("exp"))
    if expires_at is None:
        raise _invalid("exp must be a time")
    return ClientAssertion(subject, _audience(jwt), jti, expires_at, _not_before(jwt), jwt)


def check(assertion: ClientAssertion, *, accepted: frozenset[str], now: int, max_lifetime: int) -> None:
    """Whether it is for us and for now. `accepted`: our issuer and endpoint URLs; `max_lifetime`: seconds.

    Errors: OAuthError invalid_client.
    """
    # One that is for others too could have been handed on by them (draft-ietf-oauth-rfc7523bis, audience injection).
    if not assertion.audience or set(assertion.audience) - accepted:
        raise _invalid("aud must be the issuer, or the URL of this endpoint, and nothing else")
    if assertion.expires_at <= now:
        raise _invalid("it has expired")
    if assertion.expires_at > now + max_lifetime + SKEW:
        raise _invalid(f"exp is more than {max_lifetime} seconds away")
    if assertion.not_before > now + SKEW:
        raise _invalid("iat or nbf is in the future")


def _audience(jwt: jws.SignedJWT) -> tuple[str, ...]:
    audience = jwt.claims.get("aud")
    entries = audience if isinstance(audience, list) else [audience]
    if not all(isinstance(entry, str) for entry in entries):
        raise _invalid("aud must be a string, or a list of strings")
    return tuple(entries)


def _not_before(jwt: jws.SignedJWT) -> int:
    times = [jws.numeric_date(jwt.claims[name]) for name in ("iat", "nbf") if name in jwt.claims]
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        raise _invalid("iat and nbf must be times")
    return max(known, default=0)


def _invalid(why: str) -> OAuthError:
    return OAuthError(INVALID_CLIENT, f"the client assertion is not accepted: {why}")
