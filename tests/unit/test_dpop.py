"""DPoP proofs and nonces, without HTTP."""

from __future__ import annotations

import pytest

from broker import clock
from broker.crypto import keys, nonces
from broker.encoding import b64url, from_b64url
from broker.protocol import dpop
from broker.protocol.errors import OAuthError

RFC_9449_PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR"
    "nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaH"
    "RtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvq"
    "RMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)
MADE_AT = 1562262616
URL = "https://server.example.com/token"


def test_the_proof_of_rfc_9449() -> None:
    """Section 4.1, with the thumbprint of section 6.1."""
    proof = dpop.read(RFC_9449_PROOF, method="POST", url=URL)
    assert proof.jkt == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    assert (proof.jti, proof.nonce) == ("-BwC3ESc6acc2lTc", None)
    assert proof.issued_at == MADE_AT


@pytest.mark.parametrize("now", [MADE_AT - dpop.WINDOW, MADE_AT + dpop.WINDOW])
def test_the_edges_of_the_window(now: int) -> None:
    """At both edges it is accepted, and as long as it is, its jti is remembered."""
    proof = dpop.read(RFC_9449_PROOF, method="POST", url=URL)
    assert dpop.fresh_until(proof, now) > now
    beyond = now + (1 if now > MADE_AT else -1)
    with pytest.raises(OAuthError, match="invalid_dpop_proof"):
        dpop.fresh_until(proof, beyond)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        (URL, True),
        ("https://SERVER.example.com:443/token", True),
        ("HTTPS://server.example.com/%74oken", True),
        ("http://server.example.com/token", False),
        ("https://server.example.com:8443/token", False),
        ("https://server.example.com/Token", False),
        ("https://server.example.com/a/../token", False),
        ("https://server.example.com//token", False),
        ("https://server.example.com.evil.example/token", False),
    ],
)
def test_urls_are_compared_after_normalisation(url: str, same: bool) -> None:
    if same:
        assert dpop.read(RFC_9449_PROOF, method="POST", url=url)
    else:
        with pytest.raises(OAuthError):
            dpop.read(RFC_9449_PROOF, method="POST", url=url)


def test_a_nonce_lives_one_to_two_windows() -> None:
    ring = keys.parse(keys.new_document(clock.now() - 10))
    now = 1_000_000 * nonces.WINDOW
    nonce = nonces.make(ring, now)
    assert nonce == nonces.make(ring, now + nonces.WINDOW - 1)
    assert nonce != nonces.make(ring, now + nonces.WINDOW)
    end = now + 2 * nonces.WINDOW
    seen = [nonces.good_until(nonce, ring, now + step * nonces.WINDOW) for step in (-2, -1, 0, 1, 2)]
    assert seen == [None, end, end, end, None]
    assert nonces.good_until(nonce, ring, end - 1) == end


def test_a_nonce_of_another_broker_is_none() -> None:
    """Nor is one whose window was changed by hand."""
    ring, other = (keys.parse(keys.new_document(clock.now() - 10)) for _ in range(2))
    nonce = nonces.make(ring, 0)
    assert nonces.good_until(nonce, other, 0) is None
    assert nonces.good_until("A" * len(nonce), ring, 0) is None
    moved = b64url(bytes.fromhex("000100000009") + from_b64url(nonce)[6:])
    assert nonces.good_until(moved, ring, 9 * nonces.WINDOW) is None
