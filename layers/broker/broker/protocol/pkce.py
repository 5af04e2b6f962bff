"""PKCE (RFC 7636), S256 alone: `plain` protects against nothing that an attacker who reads the URL could not do."""

import hashlib
import re

from broker.encoding import b64url
from broker.protocol.errors import INVALID_GRANT, INVALID_REQUEST, OAuthError

METHODS = ("S256",)
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def check_challenge(challenge: str | None, method: str | None, *, required: bool) -> None:
    """Check an authorization request's code_challenge and code_challenge_method.

    Errors: OAuthError invalid_request (RFC 7636 section 4.4.1).
    """
    if challenge is None:
        if method is not None:
            raise OAuthError(INVALID_REQUEST, "code_challenge_method is there without code_challenge")
        if required:
            raise OAuthError(INVALID_REQUEST, "code_challenge is required")
        return
    if method not in METHODS:
        # An omitted method means plain (RFC 7636 section 4.3).
        raise OAuthError(INVALID_REQUEST, "transform algorithm not supported, use code_challenge_method=S256")
    if not _CHALLENGE.fullmatch(challenge):
        raise OAuthError(INVALID_REQUEST, "code_challenge must be 43 characters of base64url without padding")


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier. Errors: OAuthError invalid_grant when the verifier breaks RFC 7636 section 4.1."""
    if not _VERIFIER.fullmatch(verifier):
        raise OAuthError(INVALID_GRANT, "code_verifier must be 43 to 128 unreserved characters")
    return s256(verifier)


def s256(verifier: str) -> str:
    """BASE64URL(SHA256(verifier)) (RFC 7636 section 4.2)."""
    return b64url(hashlib.sha256(verifier.encode("ascii")).digest())
