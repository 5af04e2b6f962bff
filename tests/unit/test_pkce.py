"""PKCE (RFC 7636) with S256 alone."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.protocol import pkce
from broker.protocol.errors import OAuthError

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def test_the_example_of_the_rfc() -> None:
    """RFC 7636 appendix B."""
    assert pkce.challenge_of(VERIFIER) == CHALLENGE
    pkce.check_challenge(CHALLENGE, "S256", required=True)


@given(st.text(UNRESERVED, min_size=43, max_size=128))
def test_every_verifier_of_the_grammar_has_its_challenge(verifier: str) -> None:
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = pkce.challenge_of(verifier)
    assert challenge == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    pkce.check_challenge(challenge, "S256", required=True)


@pytest.mark.parametrize(
    "verifier", ["", "a" * 42, "a" * 129, "a" * 42 + "+", "a" * 42 + "é", "a" * 43 + "\n", "a" * 42 + " "]
)
def test_a_verifier_outside_the_grammar_is_refused(verifier: str) -> None:
    """RFC 7636 section 4.1."""
    with pytest.raises(OAuthError) as refused:
        pkce.challenge_of(verifier)
    assert refused.value.kind.code == "invalid_grant"
    assert not verifier or verifier not in refused.value.description


@pytest.mark.parametrize("method", [None, "", "plain", "s256", "S512", "S256 ", "none"])
def test_any_other_method_is_refused(method: str | None) -> None:
    """An omitted method means plain (section 4.3), which would show the verifier to whoever sees the request."""
    with pytest.raises(OAuthError) as refused:
        pkce.check_challenge(CHALLENGE, method, required=True)
    assert refused.value.kind.code == "invalid_request"
    assert "transform algorithm not supported" in refused.value.description


@pytest.mark.parametrize(
    "challenge", ["a" * 42, "a" * 44, "a" * 42 + "=", "a" * 42 + "+", "a" * 42 + "\0", "a" * 43 + "\n", "é" * 43]
)
def test_a_challenge_that_is_no_sha256_is_refused(challenge: str) -> None:
    with pytest.raises(OAuthError) as refused:
        pkce.check_challenge(challenge, "S256", required=False)
    assert refused.value.kind.code == "invalid_request"


def test_a_challenge_may_be_missing_only_where_it_is_not_required() -> None:
    """RFC 7636 section 4.4.1; a method alone is the trace of a stripped challenge."""
    pkce.check_challenge(None, None, required=False)
    for method, required in ((None, True), ("S256", False), ("S256", True)):
        with pytest.raises(OAuthError) as refused:
            pkce.check_challenge(None, method, required=required)
        assert refused.value.kind.code == "invalid_request"
