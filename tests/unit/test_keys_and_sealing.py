"""The key document with its overlap, sealing bound to one place, and access tokens that only their own keys open."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from broker import clock
from broker.crypto import sealing, tokens
from broker.crypto.keys import KeyRing, SecretKey, new_document, parse
from broker.encoding import b64url, from_b64url

PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "k"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """A first document, made at time 1000."""
    made: dict[str, Any] = json.loads(new_document(1000))
    return made


def test_a_new_document_has_one_key_of_each_kind(document: dict[str, Any]) -> None:
    ring = parse(json.dumps(document))
    assert (len(ring.handle), len(ring.sealing)) == (1, 1)
    assert {key.alg for key in ring.signing} == {"ES256", "RS256"}
    assert {len(key.secret) for key in (*ring.handle, *ring.sealing)} == {32}
    assert ring.handle[0].secret != ring.sealing[0].secret


def test_the_jwks_is_public_and_its_kids_are_thumbprints(document: dict[str, Any]) -> None:
    """RFC 7517 section 5, RFC 7638: nothing private, every kid unique and computable by anyone."""
    published = parse(json.dumps(document)).jwks()["keys"]
    assert len({key["kid"] for key in published}) == len(published) == 2
    for key in published:
        assert not PRIVATE_MEMBERS & set(key)
        assert key["use"] == "sig"
        required = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}[key["kty"]]
        thumbprint = json.dumps({name: key[name] for name in required}, sort_keys=True, separators=(",", ":"))
        assert key["kid"] == b64url(hashlib.sha256(thumbprint.encode()).digest())


def test_keys_overlap_when_they_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next key is accepted before it is used, and the old one after it is no longer used, until it retires."""
    old = SecretKey(1, b"o" * 32, active_from=0, retires_at=3000)
    new = SecretKey(2, b"n" * 32, active_from=2000)
    ring = KeyRing((old, new), (old, new), ())
    expected = {1999: (1, True, True), 2000: (2, True, True), 2999: (2, True, True), 3000: (2, False, True)}
    for now, (used, old_accepted, new_accepted) in expected.items():
        monkeypatch.setattr(clock, "now", lambda now=now: now)
        assert ring.handle_key().id == ring.sealing_key().id == used
        assert (ring.handle_key_by_id(1) is not None) == old_accepted
        assert (ring.handle_key_by_id(2) is not None) == new_accepted
        assert (ring.sealing_key_by_id(1) is not None) == old_accepted
    assert ring.handle_key_by_id(3) is None


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"handle": 1}', '{"handle": [{"id": 1, "secret": "%%%"}]}'])
def test_a_broken_document_is_named_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="not in the form this version reads") as raised:
        parse(text)
    assert "%%%" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_what_was_sealed_can_be_opened_at_its_place_alone(plaintext: bytes, place: bytes) -> None:
    secret, other = b"s" * 32, b"t" * 32
    sealed = sealing.seal(secret, "purpose", plaintext, place)
    assert sealing.unseal(secret, "purpose", sealed, place) == plaintext
    for wrong in (
        (other, "purpose", sealed, place),
        (secret, "another purpose", sealed, place),
        (secret, "purpose", sealed, place + b"x"),
        (secret, "purpose", sealed[:-1], place),
        (secret, "purpose", sealed + b"\0", place),
        (secret, "purpose", b"", place),
        (secret, "purpose", sealed[:12], place),
    ):
        with pytest.raises(sealing.SealBroken):
            sealing.unseal(*wrong)


def test_no_bit_of_a_sealed_value_can_be_changed() -> None:
    sealed = sealing.seal(b"s" * 32, "purpose", b"twelve bytes", b"place")
    for position in range(len(sealed)):
        changed = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :]
        with pytest.raises(sealing.SealBroken):
            sealing.unseal(b"s" * 32, "purpose", changed, b"place")


def test_the_same_value_is_sealed_differently_each_time() -> None:
    """A repeated nonce would give AES-GCM away."""
    sealed = {sealing.seal(b"s" * 32, "purpose", b"value", b"") for _ in range(100)}
    assert len({value[: sealing.NONCE_BYTES] for value in sealed}) == 100


def test_hkdf_is_the_standard_one() -> None:
    """RFC 5869: extract with a salt of zeros, expand with the purpose."""
    extracted = hmac.new(b"\0" * 32, b"s" * 32, "sha256").digest()
    assert sealing.derive(b"s" * 32, "purpose") == hmac.new(extracted, b"purpose\x01", "sha256").digest()


# -- access tokens -------------------------------------------------------------------------------------------------

ISSUER = "https://broker.example"
GRANT_SECRET = bytes(range(32))


def _token() -> tokens.AccessToken:
    now = clock.now()
    return tokens.AccessToken(
        issuer=ISSUER,
        client_id="c1",
        subject="p|1",
        audience=(ISSUER,),
        scope=("openid", "email"),
        grant_id=b64url(b"0123456789abcdef"),
        grant_secret=GRANT_SECRET,
        issued_at=now,
        expires_at=now + 600,
        auth_time=now,
        token_id="a-token-idAA",
    )


@pytest.fixture(scope="module")
def ring(document: dict[str, Any]) -> KeyRing:
    return parse(json.dumps(document))


@pytest.mark.parametrize("form", ["jwt", "opaque"])
def test_an_access_token_is_read_back_whole(ring: KeyRing, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    token = _token()
    text = tokens.mint_access_token(token, ring, form=form)
    assert tokens.read_access_token(text, ring, ISSUER) == token
    assert tokens.read_access_token(text, ring, "https://other.example") is None
    assert tokens.read_access_token(text, parse(new_document(0)), ISSUER) is None
    monkeypatch.setattr(clock, "now", lambda: token.expires_at)
    assert tokens.read_access_token(text, ring, ISSUER) is None


@pytest.mark.parametrize("form", ["jwt", "opaque"])
def test_an_access_token_does_not_show_the_grant_secret(ring: KeyRing, form: str) -> None:
    """A backend that verifies the JWT (RFC 9068) learns nothing that opens the provider's token."""
    text = tokens.mint_access_token(_token(), ring, form=form)
    pieces = text.removeprefix("tba_").split(".")
    assert all(GRANT_SECRET not in from_b64url(piece) for piece in pieces)
    if form == "jwt":
        claims = json.loads(from_b64url(pieces[1]))
        assert all(GRANT_SECRET not in from_b64url(value) for value in (claims["tbg"], claims["sid"], claims["jti"]))


def test_a_jwt_access_token_has_the_members_of_rfc_9068(ring: KeyRing) -> None:
    text = tokens.mint_access_token(_token(), ring)
    header = jwt.get_unverified_header(text)
    assert (header["typ"], header["alg"]) == ("at+jwt", "ES256")
    public = next(key for key in ring.jwks()["keys"] if key["kid"] == header["kid"])
    claims = jwt.decode(text, jwt.PyJWK(public).key, algorithms=["ES256"], audience=ISSUER, issuer=ISSUER)
    assert {"iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"} <= set(claims)


def test_tokens_of_foreign_making_are_refused(ring: KeyRing) -> None:
    """RFC 8725 sections 2.1, 3.1, 3.11: alg none, a MAC with the public key, another type, another key."""
    text = tokens.mint_access_token(_token(), ring)
    claims = jwt.decode(text, options={"verify_signature": False})
    key = ring.signing_key("ES256")
    header = {"typ": "at+jwt", "kid": key.kid}
    public_pem = key.private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    rsa_key = ring.signing_key("RS256")
    forged = [
        jwt.encode(claims, "", algorithm="none", headers=header),
        _with_mac(claims, header, public_pem),
        jwt.encode(claims, key.private_key, algorithm="ES256", headers=header | {"typ": "JWT"}),
        jwt.encode(claims, key.private_key, algorithm="ES256", headers=header | {"kid": "another"}),
        jwt.encode(claims, rsa_key.private_key, algorithm="RS256", headers=header),
        jwt.encode(claims | {"tbg": "AAE"}, key.private_key, algorithm="ES256", headers=header),
        jwt.encode({"iss": ISSUER, "exp": clock.now() + 60}, key.private_key, algorithm="ES256", headers=header),
    ]
    for foreign in forged:
        assert tokens.read_access_token(foreign, ring, ISSUER) is None
    genuine = jwt.encode(claims, key.private_key, algorithm="ES256", headers=header)
    assert tokens.read_access_token(genuine, ring, ISSUER) is not None


def _with_mac(claims: dict[str, Any], header: dict[str, str], key: bytes) -> str:
    """A JWT whose "signature" is a MAC under the public key, which everybody has."""
    parts = [b64url(json.dumps(part).encode()) for part in (header | {"alg": "HS256"}, claims)]
    return ".".join([*parts, b64url(hmac.digest(key, ".".join(parts).encode(), "sha256"))])


@given(st.text(max_size=200))
def test_no_text_is_an_access_token_or_raises(text: str) -> None:
    for spelling in (text, f"tba_{text}", f"{text}.{text}.{text}", f"eyJhbGciOiJFUzI1NiJ9.{text}.{text}"):
        assert tokens.read_access_token(spelling, _EMPTY, ISSUER) is None


_EMPTY = KeyRing((), (), ())
