"""DPoP (RFC 9449): proofs checked in every respect, tokens bound to their key, nonces, and what a thief cannot do."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jwt
import pytest
import requests

from broker.runtime import runtime
from broker_testing.conformance import ORIGIN, Clients
from broker_testing.journey import Login, TestClient, change, post_form, refresh, register, userinfo
from broker_testing.parallel import at_once
from broker_testing.signing import DPoPKey, b64, jwk_of, new_key, signed_by_hand
from broker_testing.trouble import pass_time, store_refuses
from conformance.wire import assert_alive, assert_error, assert_invalid_token, assert_tokens, assert_unavailable

ALGORITHMS = ("ES256", "EdDSA", "RS256", "PS256")


@dataclass
class Bound:
    """A client with a DPoP key, and the code of a login."""

    client: TestClient
    login: Login
    key: DPoPKey = field(default_factory=DPoPKey)

    @property
    def token_url(self) -> str:
        return f"{self.client.base}/token"

    def code_form(self) -> dict[str, str]:
        return self.login.code_form() | self.client.credentials()

    def redeem(self, proof: str | None = None, key: DPoPKey | None = None) -> requests.Response:
        return (key or self.key).post(self.token_url, self.code_form(), proof)

    def refresh(self, token: str, key: DPoPKey | None = None, proof: str | None = None) -> requests.Response:
        form = {"grant_type": "refresh_token", "refresh_token": token} | self.client.credentials()
        return (key or self.key).post(self.token_url, form, proof)

    def other_key(self) -> DPoPKey:
        return DPoPKey(nonce=self.key.nonce)

    def tokens(self) -> dict[str, Any]:
        return assert_dpop_tokens(self.redeem())


def with_code(client: TestClient, *, dpop_jkt: str | None = None) -> Bound:
    login = Login(client)
    login.run(dpop_jkt=dpop_jkt)
    bound = Bound(client, login)
    bound.key.learn_nonce(client.base)
    return bound


def assert_dpop_tokens(response: requests.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    document: dict[str, Any] = response.json()
    assert document["token_type"] == "DPoP"
    return document


def assert_invalid_proof(response: requests.Response, status: int = 400) -> None:
    assert_error(response, status, "invalid_dpop_proof")


def assert_wants_nonce(response: requests.Response, status: int = 400) -> None:
    assert_error(response, status, "use_dpop_nonce")
    assert response.headers["dpop-nonce"]


def assert_dpop_challenge(response: requests.Response, error: str) -> None:
    """401 with a challenge of the scheme DPoP (section 7.1)."""
    assert_error(response, 401, error)
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith("DPoP ")
    assert f'error="{error}"' in challenge
    assert f'algs="{" ".join(ALGORITHMS)}"' in challenge


# -- the token endpoint -------------------------------------------------------------------------------------------


@pytest.mark.spec("TOK-88", "RFC 9449 5", "RFC 9449 6.1", "RFC 9449 8")
@pytest.mark.parametrize("kind", ["public", "confidential", "opaque"])
def test_the_whole_way(clients: Clients, kind: str) -> None:
    """Told to use a nonce, the client repeats its request: nothing was consumed."""
    client = clients.of_kind(kind)
    login = Login(client)
    login.run()
    bound = Bound(client, login)
    first = bound.redeem()
    assert_wants_nonce(first)
    assert first.headers["cache-control"] == "no-store"
    answer = bound.redeem()
    tokens = assert_dpop_tokens(answer)
    assert answer.headers["dpop-nonce"]
    if kind != "opaque":
        claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
        assert claims["cnf"] == {"jkt": bound.key.jkt}
    profile = bound.key.userinfo(client.base, tokens["access_token"])
    assert profile.status_code == 200, profile.text
    assert profile.headers["dpop-nonce"]
    renewed = assert_dpop_tokens(bound.refresh(tokens["refresh_token"]))
    assert bound.key.userinfo(client.base, renewed["access_token"]).status_code == 200


@pytest.mark.spec("TOK-88", "RFC 9449 4.3")
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_every_advertised_algorithm(clients: Clients, alg: str) -> None:
    bound = with_code(clients.public)
    key = DPoPKey(alg, new_key(alg), bound.key.nonce)
    tokens = assert_dpop_tokens(bound.redeem(key=key))
    assert key.userinfo(clients.base, tokens["access_token"]).status_code == 200
    metadata = requests.get(f"{clients.base}/.well-known/oauth-authorization-server", timeout=30).json()
    assert alg in metadata["dpop_signing_alg_values_supported"]
    assert not {"none", "HS256"} & set(metadata["dpop_signing_alg_values_supported"])


Claims = dict[str, Any]
WRONG_CLAIMS: dict[str, Callable[[Claims], Claims]] = {
    "htm": lambda _: {"htm": "GET"},
    "htm in lower case": lambda _: {"htm": "post"},
    "no htm": lambda _: {"htm": None},
    "other path": lambda right: {"htu": right["htu"].replace("/token", "/par")},
    "longer path": lambda right: {"htu": right["htu"] + "/"},
    "other host": lambda _: {"htu": "https://evil.example/token"},
    "other scheme": lambda right: {"htu": right["htu"].replace("http", "ftp", 1)},
    "a user in the URL": lambda right: {"htu": right["htu"].replace("://", "://x@")},
    "relative htu": lambda _: {"htu": "/token"},
    "htu is a list": lambda right: {"htu": [right["htu"]]},
    "no htu": lambda _: {"htu": None},
    "iat as text": lambda _: {"iat": str(int(time.time()))},
    "iat is true": lambda _: {"iat": True},
    "no iat": lambda _: {"iat": None},
    "no jti": lambda _: {"jti": None},
    "empty jti": lambda _: {"jti": ""},
    "long jti": lambda _: {"jti": "x" * 300},
    "jti is a number": lambda _: {"jti": 1},
    "nonce is a number": lambda _: {"nonce": 1},
}


@pytest.mark.spec("TOK-88", "RFC 9449 4.3")
def test_wrong_claims_are_refused_and_consume_nothing(clients: Clients) -> None:
    bound = with_code(clients.public)
    for name, change_of in WRONG_CLAIMS.items():
        right = bound.key.claims("POST", bound.token_url)
        proof = bound.key.proof("POST", bound.token_url, **change_of(right))
        response = bound.redeem(proof)
        assert response.status_code == 400, (name, response.text)
        assert_invalid_proof(response)
    bound.tokens()


def _hmac_with_public_key(key: DPoPKey, claims: Claims) -> str:
    """The classic confusion: the public key's bytes taken for a secret (RFC 8725 section 2.1)."""
    import hashlib
    import hmac
    import json

    text = ".".join(b64(json.dumps(part).encode()) for part in (key.header(alg="HS256"), claims))
    secret = json.dumps(jwk_of(key.key)).encode()
    return f"{text}.{b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def _forgeries(key: DPoPKey, claims: Claims) -> dict[str, str]:
    other = new_key()
    rsa_key, small = new_key("RS256"), {"kty": "RSA", "n": b64(b"\xff" * 128), "e": "AQAB"}
    signed = partial(signed_by_hand, claims=claims, key=key.key)
    right = signed(key.header())
    head, body, signature = right.split(".")
    return {
        "alg none": signed_by_hand(key.header(alg="none"), claims, None),
        "unsigned": signed_by_hand(key.header(), claims, None),
        "HS256 with the public key": _hmac_with_public_key(key, claims),
        "HS256 header, EC signature": signed(key.header(alg="HS256")),
        "ES384 header": signed(key.header(alg="ES384")),
        "RS256 with an EC key": signed(key.header(alg="RS256")),
        "ES256 with an RSA key": signed_by_hand(key.header(jwk=jwk_of(rsa_key)), claims, rsa_key),
        "signed by another key": signed_by_hand(key.header(), claims, other),
        "private key shown": signed(key.header(jwk=jwk_of(key.key, private=True))),
        "symmetric jwk": signed(key.header(jwk={"kty": "oct", "k": "AAAA"})),
        "small RSA key": signed(key.header(alg="RS256", jwk=small)),
        "point off the curve": signed(key.header(jwk={**jwk_of(key.key), "y": b64(b"\x01" * 32)})),
        "short coordinate": signed(key.header(jwk={**jwk_of(key.key), "x": b64(b"\x01" * 31)})),
        "unknown curve": signed(key.header(jwk={**jwk_of(key.key), "crv": "P-521"})),
        "key_ops no list": signed(key.header(jwk={**jwk_of(key.key), "key_ops": 1})),
        "key_ops null": signed(key.header(jwk={**jwk_of(key.key), "key_ops": None})),
        "no jwk": signed(key.header(jwk=None)),
        "jwk is text": signed(key.header(jwk="key")),
        "kid and no jwk": signed(key.header(jwk=None, kid="1")),
        "typ JWT": signed(key.header(typ="JWT")),
        "no typ": signed(key.header(typ=None)),
        "typ of an access token": signed(key.header(typ="at+jwt")),
        "critical header": signed(key.header(crit=["exp"], exp=1)),
        "changed claims": f"{head}.{b64(b'{}')}.{signature}",
        "padding": f"{head}.{body}.{signature}=",
        "signature twice": f"{head}.{body}.{signature}{signature}",
        "two proofs": f"{right}, {right}",
        "four parts": f"{right}.x",
        "not JSON": f"{b64(b'x')}.{body}.{signature}",
        "a list": f"{b64(b'[]')}.{body}.{signature}",
        "garbage": "x",
        "empty": "",
    }


@pytest.mark.spec("TOK-88", "RFC 9449 4.3", "RFC 9449 11.6", "RFC 8725 3.1")
def test_forged_proofs_are_refused_and_consume_nothing(clients: Clients) -> None:
    bound = with_code(clients.public)
    for name, proof in _forgeries(bound.key, bound.key.claims("POST", bound.token_url)).items():
        response = bound.redeem(proof)
        assert response.status_code == 400, (name, response.text)
        assert_invalid_proof(response)
    bound.tokens()


@pytest.mark.spec("TOK-88", "RFC 9449 4.3")
def test_htu_is_compared_as_a_url(clients: Clients) -> None:
    """Query and fragment do not count, nor does the case of scheme and host, nor how a letter is spelled."""
    bound = with_code(clients.public)
    scheme, _, rest = bound.token_url.partition("://")
    host, _, path = rest.partition("/")
    token = bound.tokens()["refresh_token"]
    for htu in (f"{scheme.upper()}://{host.upper()}/{path}", f"{bound.token_url}?a=b#c", f"{scheme}://{host}/%74oken"):
        proof = bound.key.proof("POST", bound.token_url, htu=htu)
        token = assert_dpop_tokens(bound.refresh(token, proof=proof))["refresh_token"]


@pytest.mark.spec("TOK-88", "RFC 9449 11.1")
def test_a_proof_is_used_once(clients: Clients) -> None:
    bound = with_code(clients.public)
    proof = bound.key.proof("POST", bound.token_url)
    tokens = assert_dpop_tokens(bound.redeem(proof))
    assert_invalid_proof(bound.refresh(tokens["refresh_token"], proof=proof))
    assert_dpop_tokens(bound.refresh(tokens["refresh_token"]))


@pytest.mark.spec("TOK-88", "RFC 9449 11.1")
def test_of_parallel_requests_with_one_proof_exactly_one_is_served(clients: Clients) -> None:
    bound = with_code(clients.public)
    token = bound.tokens()["refresh_token"]
    proof = bound.key.proof("POST", bound.token_url)
    answers = at_once([partial(bound.refresh, token, proof=proof)] * 10)
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9
    for answer in answers:
        if answer.status_code == 400:
            assert_invalid_proof(answer)


@pytest.mark.spec("TOK-88", "RFC 9449 8", "RFC 9449 9")
def test_a_nonce_has_to_be_the_servers(clients: Clients) -> None:
    bound = with_code(clients.public)
    good = str(bound.key.nonce)
    flipped = good[:-2] + ("AA" if good[-2:] != "AA" else "BA")
    for nonce in (None, "", "x", flipped, good + "A", secrets.token_urlsafe(16), "é"):
        proof = bound.key.proof("POST", bound.token_url, nonce=nonce)
        assert_wants_nonce(bound.redeem(proof))
    bound.key.nonce = good
    bound.tokens()


@pytest.mark.local_only
@pytest.mark.spec("TOK-88", "RFC 9449 8.2")
def test_a_nonce_gets_old(clients: Clients) -> None:
    """The one before is still good, so that no request fails at the moment of the change."""
    bound = with_code(clients.public)
    old = bound.key.nonce
    token = bound.tokens()["refresh_token"]
    pass_time(300)
    now = int(time.time()) + 300
    token = assert_dpop_tokens(
        bound.refresh(token, proof=bound.key.proof("POST", bound.token_url, nonce=old, iat=now))
    )["refresh_token"]
    assert bound.key.nonce != old
    pass_time(300)
    stale = bound.key.proof("POST", bound.token_url, nonce=old, iat=now + 300)
    assert_wants_nonce(bound.refresh(token, proof=stale))
    fresh = bound.key.proof("POST", bound.token_url, iat=now + 300)
    assert_dpop_tokens(bound.refresh(token, proof=fresh))


@pytest.mark.spec("TOK-88", "RFC 9449 8.2")
def test_an_error_brings_a_nonce_only_where_it_is_news(clients: Clients) -> None:
    """A library that takes each error with a nonce for use_dpop_nonce would hide from its application what was wrong."""
    client = clients.public
    key = DPoPKey()
    url = f"{client.base}/token"
    form = {"grant_type": "refresh_token", "refresh_token": "x"} | client.credentials()
    first = key.post(url, form)
    assert_wants_nonce(first)
    again = key.post(url, form)
    assert_error(again, 400, "invalid_grant")
    assert again.headers.get("dpop-nonce") in (None, key.nonce)
    if again.headers.get("dpop-nonce") is not None:  # the nonce changed between the two
        again = key.post(url, form)
        assert_error(again, 400, "invalid_grant")
    assert "dpop-nonce" not in again.headers
    for nonce in (None, "x"):
        for form_ in (form, form | {"client_id": "nobody"}):
            assert key.post(url, form_, key.proof("POST", url, nonce=nonce)).headers["dpop-nonce"]


@pytest.mark.local_only
@pytest.mark.spec("TOK-88", "RFC 9449 8.2")
def test_an_error_brings_the_new_nonce_while_the_old_one_is_good(clients: Clients) -> None:
    bound = with_code(clients.public)
    old = bound.key.nonce
    pass_time(300)
    refused = bound.refresh("x")
    assert_error(refused, 400, "invalid_grant")
    assert refused.headers["dpop-nonce"] == bound.key.nonce != old


@pytest.mark.spec("TOK-88", "RFC 9449 4.3", "RFC 9449 11.1")
@pytest.mark.parametrize("off", [-900, 900])
def test_with_a_good_nonce_a_wrong_clock_shuts_nobody_out(clients: Clients, off: int) -> None:
    """The nonce has the server's time (item 11)."""
    bound = with_code(clients.public)
    proof = bound.key.proof("POST", bound.token_url, iat=int(time.time()) + off)
    tokens = assert_dpop_tokens(bound.redeem(proof))
    assert_invalid_proof(bound.refresh(tokens["refresh_token"], proof=proof))
    url = f"{clients.base}/userinfo"
    asked = bound.key.proof("GET", url, tokens["access_token"], iat=int(time.time()) + off)
    assert bound.key.userinfo(clients.base, tokens["access_token"], asked).status_code == 200
    again = bound.key.userinfo(clients.base, tokens["access_token"], asked)
    assert_dpop_challenge(again, "invalid_dpop_proof")


@pytest.mark.local_only
@pytest.mark.spec("TOK-88", "RFC 9449 11.1")
@pytest.mark.parametrize("off", [-900, 0, 900])
def test_a_used_proof_is_remembered_as_long_as_its_nonce_is_good(clients: Clients, off: int) -> None:
    bound = with_code(clients.public)
    proof = bound.key.proof("POST", bound.token_url, iat=int(time.time()) + off)
    token = assert_dpop_tokens(bound.redeem(proof))["refresh_token"]
    errors = []
    for _ in range(12):
        errors.append(bound.refresh(token, proof=proof).json()["error"])
        pass_time(60)
    assert errors == sorted(errors), "first it is a replay, then the nonce is too old, and nothing in between"
    assert errors.count("invalid_dpop_proof") >= 5
    assert set(errors) == {"invalid_dpop_proof", "use_dpop_nonce"}
    assert_dpop_tokens(bound.refresh(token))


@pytest.mark.spec("TOK-88", "RFC 9449 8")
def test_a_device_with_a_wrong_clock_is_told_the_nonce(clients: Clients) -> None:
    """Not that its iat is wrong, which it can do nothing about."""
    bound = with_code(clients.public)
    for off in (-900, 900):
        assert_wants_nonce(
            bound.redeem(bound.key.proof("POST", bound.token_url, nonce=None, iat=int(time.time()) + off))
        )
    bound.tokens()


@pytest.mark.local_only
@pytest.mark.spec("TOK-88", "RFC 9449 4.3", "RFC 9449 11.1")
def test_where_a_nonce_is_optional_the_iat_tells_the_age(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime(), "settings", replace(runtime().settings, dpop_nonce_required=False))
    bound = with_code(clients.public)
    for off in (-90, 90):
        old = bound.key.proof("POST", bound.token_url, nonce=None, iat=int(time.time()) + off)
        assert_invalid_proof(bound.redeem(old))
    proof = bound.key.proof("POST", bound.token_url, nonce=None, iat=int(time.time()) - 30)
    token = assert_dpop_tokens(bound.redeem(proof))["refresh_token"]
    assert_invalid_proof(bound.refresh(token, proof=proof))
    assert_wants_nonce(bound.refresh(token, proof=bound.key.proof("POST", bound.token_url, nonce="x")))
    wrong_clock = bound.key.proof("POST", bound.token_url, iat=int(time.time()) + 900)
    assert_dpop_tokens(bound.refresh(token, proof=wrong_clock))


@pytest.mark.local_only
@pytest.mark.spec("TOK-88", "RFC 9449 5.2")
def test_a_client_that_must_use_dpop(clients: Clients) -> None:
    client = register(clients.base, providers=("openid",), dpop_bound=True)
    bound = with_code(client)
    assert_invalid_proof(bound.login.redeem())
    token = bound.tokens()["refresh_token"]
    assert_invalid_proof(refresh(client, token))
    assert_dpop_tokens(bound.refresh(token))


@pytest.mark.local_only
@pytest.mark.spec("TOK-88", "TOK-86")
def test_a_store_that_is_down_consumes_nothing(clients: Clients) -> None:
    """The proof cannot be marked as used, so the request is not served: a later one with a new proof is."""
    bound = with_code(clients.public)
    with store_refuses("PutItem", "ThrottlingException"):
        down = bound.redeem()
    assert_unavailable(down)
    bound.tokens()


# -- the code is bound --------------------------------------------------------------------------------------------


@pytest.mark.spec("TOK-88", "RFC 9449 10")
def test_a_code_is_bound_by_dpop_jkt(clients: Clients) -> None:
    key = DPoPKey()
    bound = with_code(clients.public, dpop_jkt=key.jkt)
    assert_error(bound.login.redeem(), 400, "invalid_grant")
    assert_error(bound.redeem(), 400, "invalid_grant")
    key.nonce = bound.key.nonce
    assert_dpop_tokens(bound.redeem(key=key))


@pytest.mark.spec("TOK-88", "RFC 9449 10")
@pytest.mark.parametrize("jkt", ["x", "A" * 42, "A" * 44, "A" * 42 + "="])
def test_a_malformed_dpop_jkt(clients: Clients, jkt: str) -> None:
    login = Login(clients.public)
    assert login.read_answer(login.start(dpop_jkt=jkt))["error"] == "invalid_request"


@pytest.mark.spec("TOK-88", "RFC 9449 10.1")
def test_a_code_is_bound_by_the_proof_of_a_pushed_request(clients: Clients) -> None:
    client, key = clients.public, DPoPKey()
    key.learn_nonce(clients.base)
    login = Login(client)
    form = login.parameters | client.credentials()
    url = f"{clients.base}/par"
    other = DPoPKey(nonce=key.nonce)
    assert_invalid_proof(key.post(url, form | {"dpop_jkt": other.jkt}))
    pushed = key.post(url, form | {"dpop_jkt": key.jkt})
    assert pushed.status_code == 201, pushed.text
    started = login.browser.get(
        f"{clients.base}/authorize?client_id={client.client_id}&request_uri={pushed.json()['request_uri']}"
    )
    login.read_answer(login.browser.get(login.at_provider(started)))
    bound = Bound(client, login, key)
    assert_error(bound.redeem(key=other), 400, "invalid_grant")
    bound.tokens()


# -- refresh tokens are bound -------------------------------------------------------------------------------------


@pytest.mark.spec("REF-105", "RFC 9449 5")
def test_a_public_clients_refresh_token_needs_its_key(clients: Clients) -> None:
    """Whoever has the token alone can neither use it nor end the login with it."""
    bound = with_code(clients.public)
    first = bound.tokens()
    second = assert_dpop_tokens(bound.refresh(first["refresh_token"]))
    for token in (first["refresh_token"], second["refresh_token"]):
        assert_error(bound.refresh(token, bound.other_key()), 400, "invalid_grant")
        assert_error(refresh(clients.public, token), 400, "invalid_grant")
    third = assert_dpop_tokens(bound.refresh(second["refresh_token"]))
    assert bound.key.userinfo(clients.base, third["access_token"]).status_code == 200


@pytest.mark.spec("REF-105", "RFC 9449 5")
def test_a_confidential_clients_refresh_token_is_bound_to_the_client_alone(clients: Clients) -> None:
    bound = with_code(clients.confidential)
    first = bound.tokens()
    other = bound.other_key()
    second = assert_dpop_tokens(bound.refresh(first["refresh_token"], other))
    assert other.userinfo(clients.base, second["access_token"]).status_code == 200
    assert_tokens(refresh(clients.confidential, second["refresh_token"]))


@pytest.mark.local_only
@pytest.mark.spec("REF-105", "REF-93")
def test_a_bound_token_stays_good_until_its_successor_is_used(clients: Clients) -> None:
    """A lost answer costs the holder of the key nothing, however late he repeats; a thief cannot repeat at all."""
    bound = with_code(clients.public)
    first = bound.tokens()["refresh_token"]
    second = assert_dpop_tokens(bound.refresh(first))["refresh_token"]
    pass_time(400)
    now = int(time.time()) + 400

    def again(token: str) -> requests.Response:
        bound.refresh(token, proof=bound.key.proof("POST", bound.token_url, nonce=None, iat=now))
        return bound.refresh(token, proof=bound.key.proof("POST", bound.token_url, iat=now))

    assert assert_dpop_tokens(again(first))["refresh_token"] == second
    third = assert_dpop_tokens(again(second))["refresh_token"]
    assert_error(again(first), 400, "invalid_grant")
    assert_error(again(third), 400, "invalid_grant")


@pytest.mark.local_only
@pytest.mark.spec("REF-105", "REF-93")
def test_strict_rotation_is_strict_for_bound_tokens_too(clients: Clients) -> None:
    bound = with_code(clients.strict_rotation)
    first = bound.tokens()["refresh_token"]
    second = assert_dpop_tokens(bound.refresh(first))["refresh_token"]
    assert_error(bound.refresh(first), 400, "invalid_grant")
    assert_error(bound.refresh(second), 400, "invalid_grant")


@pytest.mark.spec("REF-105", "RFC 9449 5")
def test_an_unbound_refresh_token_becomes_bound(clients: Clients) -> None:
    bound = with_code(clients.public)
    first = assert_tokens(bound.login.redeem())["refresh_token"]
    second = assert_dpop_tokens(bound.refresh(first))["refresh_token"]
    assert_error(refresh(clients.public, second), 400, "invalid_grant")
    assert_dpop_tokens(bound.refresh(second))


@pytest.mark.spec("REF-105", "REF-92")
def test_a_thief_cannot_hide_reuse_by_binding_a_stolen_token(clients: Clients) -> None:
    """He binds an unbound token to his own key; when its owner comes with it, that is reuse, and both are out."""
    owner = with_code(clients.public)
    stolen = assert_tokens(owner.login.redeem())["refresh_token"]
    thief = owner.other_key()
    taken = assert_dpop_tokens(owner.refresh(stolen, thief))
    assert_error(refresh(clients.public, stolen), 400, "invalid_grant")
    assert_error(owner.refresh(taken["refresh_token"], thief), 400, "invalid_grant")
    assert_dpop_challenge(thief.userinfo(clients.base, taken["access_token"]), "invalid_token")


# -- userinfo -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("UI-112", "RFC 9449 7.2")
@pytest.mark.parametrize("kind", ["public", "opaque"])
def test_a_bound_token_is_no_bearer_token(clients: Clients, kind: str) -> None:
    bound = with_code(clients.of_kind(kind))
    token = bound.tokens()["access_token"]
    in_body = requests.post(f"{clients.base}/userinfo", data={"access_token": token}, timeout=30)
    for response in (userinfo(clients.base, token), in_body):
        assert_invalid_token(response)
        assert f'DPoP algs="{" ".join(ALGORITHMS)}"' in response.headers["www-authenticate"]
    assert bound.key.userinfo(clients.base, token).status_code == 200


@pytest.mark.spec("UI-112", "RFC 9449 7.1")
def test_a_bearer_token_is_no_bound_token(clients: Clients) -> None:
    bound = with_code(clients.public)
    token = assert_tokens(bound.login.redeem())["access_token"]
    assert_dpop_challenge(bound.key.userinfo(clients.base, token), "invalid_token")
    assert_alive(clients.public, token)


@pytest.mark.spec("UI-112", "RFC 9449 7.1")
def test_wrong_proofs_at_userinfo(clients: Clients) -> None:
    bound = with_code(clients.public)
    token = bound.tokens()["access_token"]
    url = f"{clients.base}/userinfo"
    key = bound.key
    claims = key.claims("GET", url, token)
    wrong = {
        "no ath": key.proof("GET", url),
        "ath of another token": key.proof("GET", url, token + "x"),
        "htm": key.proof("POST", url, token),
        "htu": key.proof("GET", bound.token_url, token),
        "alg none": signed_by_hand(key.header(alg="none"), claims, None),
        "no proof": "",
    }
    for name, proof in wrong.items():
        response = key.userinfo(clients.base, token, proof)
        assert response.status_code == 401, name
        assert_dpop_challenge(response, "invalid_dpop_proof")
    assert_dpop_challenge(bound.other_key().userinfo(clients.base, token), "invalid_token")
    old_nonce = key.userinfo(clients.base, token, key.proof("GET", url, token, nonce="x"))
    assert_wants_nonce(old_nonce, 401)
    assert_dpop_challenge(old_nonce, "use_dpop_nonce")
    good = key.proof("GET", url, token)
    assert key.userinfo(clients.base, token, good).status_code == 200
    assert_dpop_challenge(key.userinfo(clients.base, token, good), "invalid_dpop_proof")


@pytest.mark.spec("UI-112", "RFC 9449 7.1", "RFC 9449 9")
@pytest.mark.parametrize("headers", [{}, {"dpop": ""}])
def test_the_scheme_dpop_without_a_proof(clients: Clients, headers: dict[str, str]) -> None:
    """What is missing is said, and the nonce for the proof comes with it."""
    bound = with_code(clients.public)
    token = bound.tokens()["access_token"]
    url = f"{clients.base}/userinfo"
    missing = requests.get(url, headers={"authorization": f"DPoP {token}"} | headers, timeout=30)
    assert_dpop_challenge(missing, "invalid_dpop_proof")
    assert missing.json()["error_description"] == "the header DPoP with the proof is missing"
    bound.key.nonce = missing.headers["dpop-nonce"]
    assert bound.key.userinfo(clients.base, token).status_code == 200


@pytest.mark.spec("UI-106", "RFC 9449 7.1")
def test_without_credentials_both_schemes_are_named(clients: Clients) -> None:
    response = requests.get(f"{clients.base}/userinfo", timeout=30)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer realm=")
    assert 'DPoP algs="' in response.headers["www-authenticate"]


# -- browsers -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("TOK-85", "RFC 9449 8")
def test_a_page_can_read_the_nonce(clients: Clients) -> None:
    key = DPoPKey()
    url = f"{clients.base}/token"
    form = {"grant_type": "refresh_token", "refresh_token": "x"} | clients.public.credentials()
    headers = {"origin": ORIGIN, "dpop": key.proof("POST", url)}
    response = post_form(url, form, headers=headers)
    assert_wants_nonce(response)
    assert "dpop-nonce" in response.headers["access-control-expose-headers"].lower()


@pytest.mark.spec("TOK-88")
def test_without_dpop_nothing_changes(clients: Clients) -> None:
    answer = Login(clients.public)
    answer.run()
    response = answer.redeem()
    assert_tokens(response)
    assert "dpop-nonce" not in response.headers


@pytest.mark.local_only
@pytest.mark.spec("TOK-88", "RFC 9449 5.2")
def test_a_client_that_is_made_to_use_dpop_later(clients: Clients) -> None:
    """From then on its unbound refresh token needs a proof, and the next one is bound to it."""
    client = register(clients.base, providers=("openid",))
    bound = with_code(client)
    token = assert_tokens(bound.login.redeem())["refresh_token"]
    change(client, dpop_bound=True)
    assert_invalid_proof(refresh(client, token))
    assert_dpop_tokens(bound.refresh(token))
