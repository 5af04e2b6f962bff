"""Client authentication by a signed JWT (RFC 7523 section 3, OpenID Connect Core section 9)."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
import requests

from broker.runtime import runtime
from broker_testing.conformance import Clients
from broker_testing.journey import Login, TestClient, change, post_form, register, userinfo
from broker_testing.parallel import at_once
from broker_testing.signing import (
    DPoPKey,
    PrivateKey,
    assertion_claims,
    assertion_form,
    b64,
    jwk_of,
    jwk_set,
    new_key,
    signed_by_hand,
)
from broker_testing.trouble import meanwhile, pass_time, store_answer_lost, store_refuses
from conformance.wire import assert_error, assert_invalid_client, assert_tokens, assert_unavailable

pytestmark = pytest.mark.local_only
"""The clients' private keys are made here, so their public halves have to be registered here."""

ALGORITHMS = ("ES256", "EdDSA", "RS256", "PS256")


@dataclass
class Signer:
    """A client that authenticates by its key, in the midst of a login."""

    client: TestClient
    key: PrivateKey = field(repr=False)
    alg: str = "ES256"
    kid: str | None = "one"

    @property
    def base(self) -> str:
        return self.client.base

    def assertion(self, audience: Any = None, key: PrivateKey | None = None, **changes: Any) -> str:
        claims = assertion_claims(self.client.client_id, audience or self.base, **changes)
        return jwt.encode(claims, key or self.key, algorithm=self.alg, headers={"kid": self.kid} if self.kid else {})

    def code(self) -> dict[str, str]:
        """The form that redeems a new code, without authentication."""
        login = Login(self.client)
        login.run()
        return login.code_form()

    def post(self, form: dict[str, str], assertion: str | None = None, path: str = "/token") -> requests.Response:
        return post_form(self.base + path, form | assertion_form(assertion or self.assertion()))


def signer(base: str, alg: str = "ES256", **attributes: Any) -> Signer:
    key = new_key(alg)
    jwks = jwk_set(jwk_of(key) | {"kid": "one", "alg": alg, "use": "sig"})
    values = {"auth_methods": ("private_key_jwt",), "jwks": jwks, "providers": ("openid",)} | attributes
    return Signer(register(base, **values), key, alg)


@pytest.mark.spec("TOK-73", "RFC 7523 3", "OIDC Core 9")
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_every_advertised_algorithm(clients: Clients, alg: str) -> None:
    client = signer(clients.base, alg)
    tokens = assert_tokens(client.post(client.code()))
    assert userinfo(clients.base, tokens["access_token"]).status_code == 200
    metadata = requests.get(f"{clients.base}/.well-known/oauth-authorization-server", timeout=30).json()
    assert "private_key_jwt" in metadata["token_endpoint_auth_methods_supported"]
    for endpoint in ("token", "revocation"):
        advertised = metadata[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
        assert alg in advertised
        assert not {"none", "HS256"} & set(advertised)


@pytest.mark.spec("TOK-73", "RFC 7521 4.2", "RFC 7009 2.1", "RFC 9126 2")
def test_every_endpoint_of_the_client(clients: Clients) -> None:
    """The audience may be the issuer, the token endpoint, or the endpoint that is called; client_id may be there."""
    client = signer(clients.base)
    named = {"client_id": client.client.client_id}
    token_url = f"{clients.base}/token"
    tokens = assert_tokens(client.post(client.code() | named, client.assertion(token_url)))
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    tokens = assert_tokens(client.post(form, client.assertion([clients.base, token_url])))
    form = {"refresh_token": tokens["refresh_token"]}
    tokens = assert_tokens(client.post(form, client.assertion(f"{clients.base}/refresh"), "/refresh"))
    pushed = client.post(Login(client.client).parameters, client.assertion(f"{clients.base}/par"), "/par")
    assert pushed.status_code == 201, pushed.text
    pushed = client.post(Login(client.client).parameters, client.assertion(token_url), "/par")
    assert pushed.status_code == 201, pushed.text
    revoked = client.post({"token": tokens["refresh_token"]}, client.assertion(f"{clients.base}/revoke"), "/revoke")
    assert (revoked.status_code, revoked.text) == (200, "")
    assert userinfo(clients.base, tokens["access_token"]).status_code == 401


Change = Callable[[Signer], dict[str, Any]]
NOW = time.time
WRONG_CLAIMS: dict[str, Change] = {
    "other audience": lambda _: {"aud": "https://other.example"},
    "audience with a slash": lambda client: {"aud": client.base + "/"},
    "another endpoint": lambda client: {"aud": client.base + "/revoke"},
    "for others too": lambda client: {"aud": [client.base, "https://other.example"]},
    "empty audience": lambda _: {"aud": []},
    "audience is a number": lambda _: {"aud": 1},
    "no audience": lambda _: {"aud": None},
    "iss is another": lambda _: {"iss": "other"},
    "no iss": lambda _: {"iss": None},
    "no sub": lambda _: {"sub": None},
    "sub is a list": lambda client: {"sub": [client.client.client_id]},
    "expired": lambda _: {"exp": int(NOW()) - 1},
    "exp too far": lambda _: {"exp": int(NOW()) + 400},
    "exp as text": lambda _: {"exp": str(int(NOW()) + 60)},
    "exp is infinite": lambda _: {"exp": float("inf")},
    "no exp": lambda _: {"exp": None},
    "nbf in the future": lambda _: {"nbf": int(NOW()) + 90},
    "iat in the future": lambda _: {"iat": int(NOW()) + 90},
    "iat as text": lambda _: {"iat": "now"},
    "no jti": lambda _: {"jti": None},
    "empty jti": lambda _: {"jti": ""},
    "jti is a number": lambda _: {"jti": 7},
}


@pytest.mark.spec("TOK-73", "GEN-142", "RFC 7523 3")
def test_wrong_claims_are_refused_and_consume_nothing(clients: Clients) -> None:
    client = signer(clients.base)
    form = client.code()
    for name, change_of in WRONG_CLAIMS.items():
        claims = assertion_claims(client.client.client_id, clients.base)
        claims = {key: value for key, value in (claims | change_of(client)).items() if value is not None}
        response = client.post(form, signed_by_hand({"alg": "ES256", "kid": "one"}, claims, client.key))
        assert response.status_code == 401, (name, response.text)
        assert_invalid_client(response)
    assert_tokens(client.post(form))


def _forgeries(client: Signer, public: dict[str, Any]) -> dict[str, str]:
    claims = assertion_claims(client.client.client_id, client.base)
    signed = partial(signed_by_hand, claims=claims, key=client.key)
    text = ".".join(b64(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "one"}, claims))
    mac = hmac.new(json.dumps(public).encode(), text.encode(), hashlib.sha256).digest()
    other = new_key()
    return {
        "alg none": signed_by_hand({"alg": "none"}, claims, None),
        "unsigned": signed_by_hand({"alg": "ES256", "kid": "one"}, claims, None),
        "HS256 with the public key": f"{text}.{b64(mac)}",
        "RS256 header": signed({"alg": "RS256", "kid": "one"}),
        "another key": signed_by_hand({"alg": "ES256", "kid": "one"}, claims, other),
        "another key in the header": signed_by_hand({"alg": "ES256", "jwk": jwk_of(other)}, claims, other),
        "unknown kid": signed({"alg": "ES256", "kid": "two"}),
        "kid is a number": signed({"alg": "ES256", "kid": 1}),
        "critical header": signed({"alg": "ES256", "kid": "one", "crit": ["x"], "x": 1}),
        "garbage": "x",
        "two parts": "a.b",
    }


@pytest.mark.spec("TOK-73", "RFC 8725 3.1", "RFC 7515 4.1.11")
def test_forged_assertions_are_refused_and_consume_nothing(clients: Clients) -> None:
    client = signer(clients.base)
    form = client.code()
    for name, assertion in _forgeries(client, jwk_of(client.key)).items():
        response = client.post(form, assertion)
        assert response.status_code == 401, (name, response.text)
        assert_invalid_client(response)
    assert_tokens(client.post(form))


@pytest.mark.spec("TOK-73", "RFC 7521 4.2")
def test_wrong_forms(clients: Clients) -> None:
    client, form = signer(clients.base), {"grant_type": "refresh_token", "refresh_token": "x"}
    right = assertion_form(client.assertion())
    for changes in (
        {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
        {"client_assertion_type": ""},
        {"client_assertion": ""},
        {"client_id": "somebody-else"},
    ):
        assert_invalid_client(post_form(f"{clients.base}/token", form | right | changes))
    for changes in ({"client_secret": "x"}, {"client_assertion": right["client_assertion"], "client_secret": "x"}):
        assert_error(post_form(f"{clients.base}/token", form | right | changes), 400, "invalid_request")
    both = post_form(f"{clients.base}/token", form | right, auth=("a", "b"))
    assert_error(both, 400, "invalid_request")
    # Nothing of this used the assertion up.
    assert_error(post_form(f"{clients.base}/token", form | right), 400, "invalid_grant")


@pytest.mark.spec("TOK-73", "RFC 7523 3")
def test_an_assertion_is_used_once(clients: Clients) -> None:
    client = signer(clients.base)
    assertion = client.assertion()
    tokens = assert_tokens(client.post(client.code(), assertion))
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert_invalid_client(client.post(form, assertion))
    assert_invalid_client(client.post({"token": tokens["refresh_token"]}, assertion, "/revoke"))
    assert_tokens(client.post(form))


@pytest.mark.spec("TOK-73", "RFC 7523 3")
def test_an_assertion_that_ends_while_it_is_looked_at_is_used_once(clients: Clients) -> None:
    """It is good when it comes, and past when its first use is looked up: the client's keys took long to be there."""
    client = signer(clients.base)
    ends_at = int(NOW()) + 200
    assertion = client.assertion(exp=ends_at)
    token = assert_tokens(client.post(client.code(), assertion))["refresh_token"]
    pass_time(ends_at - 1 - NOW())
    runtime().registry.forget()
    with meanwhile("GetItem", partial(pass_time, 2)):
        replay = client.post({"token": token}, assertion, "/revoke")
    assert_invalid_client(replay)
    assert "used before" in replay.json()["error_description"]


@pytest.mark.spec("TOK-73", "RFC 7523 3")
def test_of_parallel_requests_with_one_assertion_exactly_one_is_served(clients: Clients) -> None:
    client = signer(clients.base)
    assertion = client.assertion()
    token = assert_tokens(client.post(client.code()))["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token}
    answers = at_once([partial(client.post, form, assertion)] * 10)
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 9


@pytest.mark.spec("TOK-73")
def test_two_clients_may_use_the_same_jti(clients: Clients) -> None:
    jti = secrets.token_urlsafe(8)
    for client in (signer(clients.base), signer(clients.base)):
        assert_tokens(client.post(client.code(), client.assertion(jti=jti)))


@pytest.mark.spec("GEN-142", "TOK-73")
def test_a_clock_that_is_a_little_ahead(clients: Clients) -> None:
    client, ahead = signer(clients.base), int(NOW()) + 50
    assert_tokens(client.post(client.code(), client.assertion(iat=ahead, nbf=ahead, exp=ahead + 300)))


@pytest.mark.spec("TOK-72", "TOK-73")
def test_the_registered_method_is_the_only_one(clients: Clients) -> None:
    client = signer(clients.base)
    form = client.code()
    named = form | {"client_id": client.client.client_id}
    assert_invalid_client(post_form(f"{clients.base}/token", named))
    assert_invalid_client(post_form(f"{clients.base}/token", named | {"client_secret": "x"}))
    for other in (clients.confidential, clients.public):
        signs = Signer(other, client.key)
        assert_invalid_client(signs.post(form))
    assert_tokens(client.post(form))


@pytest.mark.spec("TOK-68", "TOK-73")
def test_unknown_and_known_clients_get_the_same_answer(clients: Clients) -> None:
    client, form = signer(clients.base), {"grant_type": "refresh_token", "refresh_token": "x"}
    wrong_key = client.post(form, client.assertion(key=new_key()))
    unknown = client.post(form, client.assertion(iss="nobody", sub="nobody"))
    change(client.client, disabled=True)
    disabled = client.post(form)
    assert_invalid_client(wrong_key)
    assert wrong_key.content == unknown.content == disabled.content


@pytest.mark.spec("TOK-73")
@pytest.mark.parametrize("kid", [None, "one"])
def test_a_key_set_with_several_keys(clients: Clients, kid: str | None) -> None:
    """Without a kid every key for the algorithm is tried; keys for encryption and of unknown kinds are passed over."""
    key = new_key()
    others = [jwk_of(new_key()) | {"kid": "x"}, {"kty": "FUTURE"}, jwk_of(key) | {"kid": "enc", "use": "enc"}]
    client = signer(clients.base, jwks=jwk_set(*others, jwk_of(key) | {"kid": "one"}))
    client.key, client.kid = key, kid
    assert_tokens(client.post(client.code()))
    client.kid = "enc"
    assert_invalid_client(client.post(client.code()))


@pytest.mark.spec("TOK-73", "TOK-86")
def test_a_store_that_is_down_consumes_nothing(clients: Clients) -> None:
    client = signer(clients.base)
    form, assertion = client.code(), client.assertion()
    with store_refuses("PutItem", "ThrottlingException"):
        down = client.post(form, assertion)
    assert_unavailable(down)
    assert_tokens(client.post(form, assertion))


@pytest.mark.spec("TOK-73", "TOK-88")
def test_with_dpop(clients: Clients) -> None:
    client, key = signer(clients.base), DPoPKey()
    key.learn_nonce(clients.base)
    response = key.post(f"{clients.base}/token", client.code() | assertion_form(client.assertion()))
    assert response.status_code == 200, response.text
    assert response.json()["token_type"] == "DPoP"


# -- keys at a URL ------------------------------------------------------------------------------------------------


@dataclass
class KeyServer:
    """A client's web server with its key set; counts the requests."""

    url: str
    body: str = ""
    status: int = 200
    requests: int = 0


@contextmanager
def key_server() -> Iterator[KeyServer]:
    served = KeyServer("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests += 1
            self.send_response(served.status)
            self.send_header("location", "/elsewhere")
            self.end_headers()
            self.wfile.write(served.body.encode())

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}/jwks.json"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def later(client: Signer) -> str:
    """An assertion of the time to which the broker's clock was moved."""
    from broker import clock

    return client.assertion(iat=clock.now(), exp=clock.now() + 60)


@pytest.mark.spec("TOK-73", "RFC 7591 2")
def test_keys_at_a_url_are_fetched_once_and_again_for_a_new_key(clients: Clients) -> None:
    with key_server() as server:
        client = signer(clients.base, jwks=None, jwks_uri=server.url)
        server.body = jwk_set(jwk_of(client.key) | {"kid": "one"})
        for _ in range(3):
            assert_tokens(client.post(client.code(), later(client)))
        assert server.requests == 1
        client.key, client.kid = new_key(), "two"
        server.body = jwk_set(jwk_of(client.key) | {"kid": "two"})
        for _ in range(3):
            assert_invalid_client(client.post(client.code(), later(client)))
        assert server.requests == 1, "at most one fetch a minute"
        pass_time(61)
        assert_tokens(client.post(client.code(), later(client)))
        assert server.requests == 2


@pytest.mark.spec("TOK-73")
def test_a_key_server_that_is_down_is_no_wrong_client(clients: Clients) -> None:
    with key_server() as server:
        client = signer(clients.base, jwks=None, jwks_uri=server.url)
        server.body = jwk_set(jwk_of(client.key) | {"kid": "one"})
        form, server.status = client.code(), 500
        assert_unavailable(client.post(form, later(client)))
        assert_unavailable(client.post(form, later(client)))
        assert server.requests == 1
        server.status = 200
        pass_time(61)
        assert_tokens(client.post(client.code(), later(client)))
        server.status = 500
        pass_time(400)
        assert_tokens(client.post(client.code(), later(client)))
        assert server.requests == 3
        pass_time(3600)
        assert_unavailable(client.post(client.code(), later(client)))


@pytest.mark.spec("TOK-73")
def test_what_is_no_key_set_authenticates_nobody(clients: Clients) -> None:
    """Among them a redirect, which is not followed, and a set that shows a private key."""
    with key_server() as server:
        client = signer(clients.base, jwks=None, jwks_uri=server.url)
        private = jwk_set(jwk_of(client.key, private=True) | {"kid": "one"})
        huge = jwk_set(jwk_of(client.key) | {"kid": "one", "x5c": "x" * 70_000})
        good = jwk_set(jwk_of(client.key) | {"kid": "one"})
        for status, body in ((200, "x"), (200, "{}"), (200, private), (200, '{"keys":{}}'), (404, good), (302, good)):
            server.status, server.body = status, body
            assert_invalid_client(client.post(client.code(), later(client)))
            pass_time(301)
        server.status, server.body = 200, huge
        assert client.post(client.code(), later(client)).status_code == 503


@pytest.mark.spec("TOK-73", "TOK-86")
def test_a_lost_answer_of_the_store_consumes_no_more_than_the_assertion(clients: Clients) -> None:
    client = signer(clients.base)
    form, assertion = client.code(), client.assertion()
    with store_answer_lost("PutItem"):
        lost = client.post(form, assertion)
    assert_unavailable(lost)
    assert_invalid_client(client.post(form, assertion))
    assert_tokens(client.post(form))
