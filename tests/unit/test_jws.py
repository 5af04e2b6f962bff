"""Signed JWTs of clients: against the examples that the RFCs print, and against what a forger would try."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from broker.encoding import from_b64url
from broker.protocol import jws
from broker_testing.signing import b64, jwk_of, jwk_set, new_key, signed_by_hand

RFC_7638_KEY = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB"
    "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8"
    "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_"
    "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}

KEYS = {algorithm: new_key(algorithm) for algorithm in ("ES256", "RS256", "EdDSA")}


def test_thumbprint_of_rfc_7638() -> None:
    """Section 3.1: members that do not belong to it change nothing."""
    assert jws.thumbprint(RFC_7638_KEY) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_an_ed25519_signature_of_rfc_8037() -> None:
    """Appendix A.4."""
    text = (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    key = jws.verification_key({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    head, payload, signature = text.split(".")
    signed = jws.SignedJWT({"alg": "EdDSA"}, {}, f"{head}.{payload}".encode(), from_b64url(signature))
    assert jws.is_signed_by(signed, key)
    assert not jws.is_signed_by(jws.SignedJWT({"alg": "EdDSA"}, {}, b"x", signed.signature), key)


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ('{"alg":"none","alg":"ES256"}', "{}"),
        ('{"alg":"ES256"}', '{"sub":"a","sub":"b"}'),
        ('{"alg":"ES256"}', "[" * 5000),
        ('{"alg":["ES256"]}', "{}"),
        ('{"alg":"es256"}', "{}"),
        ('{"alg":"ES256"}', '"x"'),
        ('{"alg":"ES256","crit":[]}', "{}"),
        ("{}", "{}"),
    ],
)
def test_what_two_parsers_could_see_differently_is_refused(header: str, claims: str) -> None:
    with pytest.raises(jws.BadJWT):
        jws.read(f"{b64(header.encode())}.{b64(claims.encode())}.{b64(b'x' * 64)}")


def test_a_long_text_is_not_looked_at() -> None:
    with pytest.raises(jws.BadJWT, match="longer"):
        jws.read("a." * jws.MAX_BYTES)


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"\xff" * 64, b"\0" * 63, b"\1" * 65])
def test_degenerate_signatures(signature: bytes) -> None:
    """Zeros among them, which a careless verifier takes for any message."""
    key = new_key()
    head, body, _ = signed_by_hand({"alg": "ES256"}, {}, key).split(".")
    assert not jws.is_signed_by(jws.read(f"{head}.{body}.{b64(signature)}"), jws.verification_key(jwk_of(key)))


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_no_private_member_is_accepted(member: str) -> None:
    jwk = jwk_of(new_key())
    assert jws.verification_key(jwk).algorithms == ("ES256",)
    with pytest.raises(jws.BadKey):
        jws.verification_key(jwk | {member: "x"})
    with pytest.raises(jws.BadKey):
        jws.key_set(jwk_set(jwk, jwk_of(new_key()) | {member: "x"}))


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "", "x", "\ud800", [], [1], [[]], {}, {"verify": 1}])
@pytest.mark.parametrize(
    "member", ["kty", "crv", "x", "y", "n", "e", "use", "key_ops", "alg", "kid", "x5c", "x5t", "x5u"]
)
@pytest.mark.parametrize("algorithm", KEYS)
def test_a_member_of_any_type_makes_a_key_or_none(algorithm: str, member: str, value: object) -> None:
    """Whoever makes a JWK, a DPoP proof's among them, is a stranger: what he writes must not become a failure of ours."""
    jwk = jwk_of(KEYS[algorithm]) | {member: value}
    for read in (lambda: jws.verification_key(jwk), lambda: jws.key_set(jwk_set(jwk))):
        with suppress(jws.BadKey):
            read()


@pytest.mark.parametrize("value", [None, True, 1, "verify", {"verify": 1}, ["sign"]])
def test_key_operations_that_do_not_say_verify(value: object) -> None:
    """RFC 7517 section 4.3: an array of strings."""
    assert jws.verification_key(jwk_of(new_key()) | {"key_ops": value}).algorithms == ()
    assert jws.verification_key(jwk_of(new_key()) | {"key_ops": ["verify"]}).algorithms == ("ES256",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a JWK Set"),
        ("[]", "not a JWK Set"),
        ("{}", "not a JWK Set"),
        ('{"keys":{}}', "not a list"),
        ('{"keys":[1]}', "not a list"),
        ('{"keys":[]}', "no EC"),
        ('{"keys":[{"kty":"EC","crv":"P-256"}]}', "no EC"),
        (json.dumps({"keys": [{"kty": "x"}] * 21}), "more than 20"),
        (jwk_set(jwk_of(new_key()) | {"use": "enc"}), "no EC"),
        (jwk_set(jwk_of(new_key()) | {"alg": "RS256"}), "no EC"),
        (jwk_set(jwk_of(new_key()) | {"key_ops": ["encrypt"]}), "no EC"),
    ],
)
def test_unusable_key_sets(text: str, words: str) -> None:
    with pytest.raises(jws.BadKey, match=words):
        jws.key_set(text)


def test_a_key_is_used_with_its_own_algorithm_alone() -> None:
    """One key for RS256 and PS256 is a known way to confuse; where the JWK names one, the other is refused."""
    key = new_key("RS256")
    signed = jws.read(signed_by_hand({"alg": "RS256"}, {}, key))
    assert jws.is_signed_by(signed, jws.verification_key(jwk_of(key)))
    assert not jws.is_signed_by(signed, jws.verification_key(jwk_of(key) | {"alg": "PS256"}))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), (5.9, 5), (True, None), ("5", None), (None, None), (float("nan"), None), (1e300, None)],
)
def test_numeric_date(value: object, expected: int | None) -> None:
    assert jws.numeric_date(value) == expected
