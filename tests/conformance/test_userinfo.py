"""Userinfo as a protected resource: RFC 6750, and OpenID Connect Core section 5.3."""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import time
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec

from broker_testing.conformance import RESOURCE, Clients
from broker_testing.journey import Login, TestClient, change, refresh, revoke, userinfo
from broker_testing.trouble import pass_time, store_refuses
from conformance.wire import (
    assert_alive,
    assert_error,
    assert_invalid_token,
    assert_method_not_allowed,
    assert_tokens,
    assert_unavailable,
    challenge_of,
    verified,
)


def ask(
    base: str,
    method: str = "GET",
    *,
    authorization: str | None = None,
    form: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
) -> requests.Response:
    """A request to userinfo."""
    headers = {} if authorization is None else {"authorization": authorization}
    return requests.request(method, f"{base}/userinfo", headers=headers, data=form, params=query, timeout=30)


@cache
def token_of(client: TestClient) -> str:
    """A good access token, the same for all tests that leave it alone."""
    return str(Login(client).tokens()["access_token"])


def assert_no_credentials(response: requests.Response) -> None:
    """401 that only says how to authenticate: no error code (RFC 6750 section 3.1)."""
    assert response.status_code == 401, response.text
    challenge = challenge_of(response)
    assert challenge["realm"]
    assert not {"error", "error_description", "error_uri"} & set(challenge)
    assert response.headers["cache-control"] == "no-store"


def assert_invalid_request(response: requests.Response) -> None:
    """400 with its challenge (RFC 6750 section 3.1)."""
    assert_error(response, 400, "invalid_request")
    assert challenge_of(response)["error"] == "invalid_request"


@pytest.mark.spec("UI-106", "RFC 6750 3.1")
def test_no_credentials(clients: Clients) -> None:
    for method in ("GET", "POST"):
        assert_no_credentials(ask(clients.base, method))
    assert_no_credentials(ask(clients.base, "POST", form={"foo": "bar"}))
    assert_no_credentials(ask(clients.base, "POST", form={"access_token": ""}))
    assert_no_credentials(ask(clients.base, authorization="Basic YTpi"))


# -- tokens that are no good --------------------------------------------------------------------------------------


@pytest.mark.spec("UI-107", "RFC 6750 3.1")
def test_malformed_tokens(clients: Clients) -> None:
    tokens = Login(clients.public).tokens()
    header, payload, signature = tokens["access_token"].split(".")
    other = Login(clients.public).tokens()["access_token"].split(".")
    for malformed in (
        "x",
        "...",
        "tba_",
        "tba_AAAA",
        "tbr_AAAA",
        f"{header}.{payload}",
        f"{header}.{payload}.",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        f"{header}.{other[1]}.{signature}",
        f"{header}.{payload}.{other[2]}",
        tokens["access_token"] + "A",
    ):
        assert_invalid_token(userinfo(clients.base, malformed))
    assert_alive(clients.public, tokens["access_token"])


@pytest.mark.spec("UI-107", "RFC 8725 3.1")
def test_foreign_and_forged_tokens(clients: Clients) -> None:
    """The right claims under no signature, under another key, and under our public key taken for a shared secret."""
    tokens = Login(clients.public).tokens()
    header = jwt.get_unverified_header(tokens["access_token"])
    claims: dict[str, Any] = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    claims |= {"exp": int(time.time()) + 3600}
    stranger = ec.generate_private_key(ec.SECP256R1())
    metadata = requests.get(f"{clients.base}/.well-known/openid-configuration", timeout=30).json()
    keys = requests.get(metadata["jwks_uri"], timeout=30).text
    forged = [
        jwt.encode(claims, stranger, "ES256", headers={"typ": "at+jwt", "kid": header["kid"]}),
        jwt.encode(claims, stranger, "ES256", headers={"typ": "at+jwt"}),
        jwt.encode(claims, "", "none", headers={"typ": "at+jwt", "kid": header["kid"]}),
        with_mac({**header, "alg": "HS256"}, claims, keys.encode()),
        with_mac({**header, "alg": "None"}, claims, b""),
        with_mac({**header, "alg": ["ES256"]}, claims, b""),
        with_mac({**header, "kid": {"a": 1}}, claims, b""),
        with_mac({**header, "crit": ["b64"], "b64": False}, claims, b""),
    ]
    for token in forged:
        assert_invalid_token(userinfo(clients.base, token))


def with_mac(header: Mapping[str, Any], claims: Mapping[str, Any], secret: bytes) -> str:
    """A JWT whose signature is an HMAC, whatever its header says. (PyJWT would not make such ones.)"""

    def encoded(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

    signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


@pytest.mark.spec("UI-107", "RFC 9068 4")
def test_other_tokens_of_the_broker(clients: Clients) -> None:
    login = Login(clients.public)
    tokens = login.tokens()
    for token in (tokens["id_token"], tokens["refresh_token"], login.answer["code"]):
        assert_invalid_token(userinfo(clients.base, token))


@pytest.mark.local_only
@pytest.mark.spec("UI-107", "RFC 6750 3.1")
@pytest.mark.parametrize("kind", ["public", "opaque"])
def test_an_expired_token(clients: Clients, kind: str) -> None:
    client = clients.of_kind(kind)
    tokens = Login(client).tokens()
    pass_time(tokens["expires_in"] - 2)
    assert_alive(client, tokens["access_token"])
    pass_time(3)
    refused = userinfo(clients.base, tokens["access_token"])
    assert_invalid_token(refused)
    assert refused.json()["error_description"] == "the access token has expired"
    assert_alive(client, assert_tokens(refresh(client, tokens["refresh_token"]))["access_token"])


@pytest.mark.spec("UI-107", "RFC 8707 2.2")
def test_a_token_for_another_resource(clients: Clients) -> None:
    """Told apart from what is no access token at all: the developer has to ask for another one, not to look for a fault in it."""
    tokens = Login(clients.resources).tokens(resource=RESOURCE)
    refused = userinfo(clients.base, tokens["access_token"])
    assert_invalid_token(refused)
    assert "for another resource" in refused.json()["error_description"]
    for other in (tokens["id_token"], tokens["refresh_token"], "x", f"{tokens['access_token'][:-8]}AAAAAAAA"):
        garbage = userinfo(clients.base, other)
        assert_invalid_token(garbage)
        assert "no access token of this issuer" in garbage.json()["error_description"]


@pytest.mark.spec("UI-107", "RFC 7009 2.1")
@pytest.mark.parametrize("kind", ["public", "opaque"])
def test_a_revoked_token(clients: Clients, kind: str) -> None:
    client = clients.of_kind(kind)
    tokens = Login(client).tokens()
    assert_alive(client, tokens["access_token"])
    assert revoke(client, tokens["refresh_token"]).status_code == 200
    assert_invalid_token(userinfo(clients.base, tokens["access_token"]))


@pytest.mark.local_only
@pytest.mark.spec("UI-107", "RFC 6750 3.1")
def test_a_token_of_a_client_that_was_switched_off(clients: Clients) -> None:
    from broker.runtime import runtime

    client = clients.other_public
    tokens = Login(client).tokens()
    change(client, disabled=True)
    runtime().forget()
    assert_invalid_token(userinfo(clients.base, tokens["access_token"]))
    change(client)
    runtime().forget()
    assert_alive(client, tokens["access_token"])


@pytest.mark.spec("UI-108", "RFC 6750 3.1")
def test_a_token_without_openid(clients: Clients) -> None:
    tokens = Login(clients.public).tokens(scope="profile email")
    response = userinfo(clients.base, tokens["access_token"])
    assert_error(response, 403, "insufficient_scope")
    challenge = challenge_of(response)
    assert challenge["error"] == "insufficient_scope"
    assert challenge["scope"] == "openid"


@pytest.mark.spec("UI-108", "RFC 6750 3.1")
def test_a_token_narrowed_to_less_than_openid(clients: Clients) -> None:
    tokens = Login(clients.public).tokens()
    narrow = assert_tokens(refresh(clients.public, tokens["refresh_token"], scope="profile"))
    assert_error(userinfo(clients.base, narrow["access_token"]), 403, "insufficient_scope")
    # The token itself is good: it is not the login that ended.
    assert_alive(clients.public, tokens["access_token"])


# -- how a token is sent ------------------------------------------------------------------------------------------


@pytest.mark.spec("UI-109", "RFC 6750 2")
def test_a_token_in_two_ways(clients: Clients) -> None:
    token = token_of(clients.public)
    authorization = f"Bearer {token}"
    assert_invalid_request(ask(clients.base, "POST", authorization=authorization, form={"access_token": token}))
    assert_invalid_request(ask(clients.base, "POST", authorization=authorization, form={"access_token": "other"}))
    assert_alive(clients.public, token)


@pytest.mark.spec("UI-109", "RFC 6750 2")
def test_a_token_twice_in_the_body(clients: Clients) -> None:
    token = token_of(clients.public)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    for body in (f"access_token={token}&access_token={token}", f"access_token={token}&access_token="):
        assert_invalid_request(requests.post(f"{clients.base}/userinfo", data=body, headers=headers, timeout=30))


@pytest.mark.spec("UI-109", "RFC 9110 11.6.2")
def test_two_authorization_headers(clients: Clients) -> None:
    token = token_of(clients.public)
    for second in (f"Bearer {token}", "Bearer other", "Basic YTpi"):
        status, document = with_two_headers(f"{clients.base}/userinfo", f"Bearer {token}", second)
        assert (status, document["error"]) == (400, "invalid_request")


def with_two_headers(url: str, *values: str) -> tuple[int, dict[str, Any]]:
    """GET with a repeated Authorization header: status and JSON body."""
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(str(parts.hostname), parts.port, timeout=30)
    connection.putrequest("GET", parts.path)
    for value in values:
        connection.putheader("Authorization", value)
    connection.endheaders()
    answer = connection.getresponse()
    document: dict[str, Any] = json.loads(answer.read())
    connection.close()
    return answer.status, document


@pytest.mark.spec("UI-109", "RFC 9700 4.3.2")
def test_a_token_in_the_query_is_not_accepted(clients: Clients) -> None:
    token = token_of(clients.public)
    for method in ("GET", "POST"):
        for authorization in (None, f"Bearer {token}"):
            response = ask(clients.base, method, query={"access_token": token}, authorization=authorization)
            assert_invalid_request(response)
            assert "Authorization header" in response.json()["error_description"]
    # Nor is it hidden by what cannot be read beside it.
    unreadable = requests.get(
        f"{clients.base}/userinfo?access_token={token}&x=%ff", headers={"authorization": f"Bearer {token}"}, timeout=30
    )
    assert (unreadable.status_code, unreadable.json()["error"]) == (400, "invalid_request")
    assert_alive(clients.public, token)


@pytest.mark.spec("UI-109", "RFC 6750 2.2")
def test_a_token_in_another_kind_of_body_is_not_accepted(clients: Clients) -> None:
    token = token_of(clients.public)
    url = f"{clients.base}/userinfo"
    assert_no_credentials(requests.post(url, json={"access_token": token}, timeout=30))
    headers = {"content-type": "text/plain"}
    assert_no_credentials(requests.post(url, data=f"access_token={token}", headers=headers, timeout=30))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert_no_credentials(requests.get(url, data=f"access_token={token}", headers=headers, timeout=30))


@pytest.mark.spec("UI-110", "RFC 9110 11.1")
def test_the_scheme_in_any_case(clients: Clients) -> None:
    token = token_of(clients.public)
    for scheme in ("bearer", "BEARER", "bEaReR"):
        assert ask(clients.base, authorization=f"{scheme} {token}").status_code == 200


@pytest.mark.spec("UI-110", "RFC 6750 3.1")
def test_bearer_without_a_value(clients: Clients) -> None:
    token = token_of(clients.public)
    for authorization in ("Bearer", "Bearer ", f"Bearer {token} {token}", f"Bearer {token},{token}"):
        assert_invalid_request(ask(clients.base, authorization=authorization))


@pytest.mark.spec("UI-110", "OpenID Connect Core 5.3.1")
def test_get_and_post_answer_alike(clients: Clients) -> None:
    token = token_of(clients.public)
    by_get = assert_alive(clients.public, token)
    assert ask(clients.base, "POST", authorization=f"Bearer {token}").json() == by_get
    assert ask(clients.base, "POST", form={"access_token": token}).json() == by_get
    head = ask(clients.base, "HEAD", authorization=f"Bearer {token}")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.spec("UI-110", "RFC 9110 15.5.6")
def test_other_methods(clients: Clients) -> None:
    token = token_of(clients.public)
    for method in ("PUT", "DELETE", "PATCH"):
        response = ask(clients.base, method, authorization=f"Bearer {token}")
        assert_method_not_allowed(response, "GET", "POST")


# -- the answer ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("UI-111", "OpenID Connect Core 5.3.2")
@pytest.mark.parametrize(
    ("scope", "claims"),
    [
        ("openid", set()),
        ("openid email", {"email", "email_verified"}),
        ("openid profile", {"name", "given_name", "family_name", "preferred_username", "locale", "zoneinfo"}),
    ],
)
def test_only_claims_of_the_granted_scope(clients: Clients, scope: str, claims: set[str]) -> None:
    """The provider's token can see more; what the client was not granted stays at the broker."""
    client = clients.public
    tokens = Login(client).tokens(scope=scope)
    response = userinfo(clients.base, tokens["access_token"])
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert set(response.json()) == {"sub"} | claims
    told = verified(clients.base, tokens["id_token"], audience=client.client_id, typ="JWT")
    assert response.json()["sub"] == told["sub"]
    assert {name: told[name] for name in claims} == {name: response.json()[name] for name in claims}
    assert {"name", "email", "given_name", "preferred_username"} & set(told) <= claims


@pytest.mark.spec("UI-111", "OpenID Connect Core 5.1")
def test_a_person_without_a_claim_has_none(clients: Clients) -> None:
    """Left out, neither null nor empty; and every character of a name arrives."""
    login = Login(clients.public)
    login.run(username="johnsmith")
    claims = assert_alive(clients.public, login.tokens()["access_token"])
    assert "email" not in claims
    assert "email_verified" not in claims
    login = Login(clients.public)
    login.run(username="zoe")
    claims = assert_alive(clients.public, login.tokens()["access_token"])
    assert claims["name"] == "Zoë Müller-Łukasiewicz 李"


@pytest.mark.spec("UI-111", "OpenID Connect Core 2")
def test_the_subject_is_stable_and_belongs_to_one_person(clients: Clients) -> None:
    def subject(username: str) -> str:
        login = Login(clients.public)
        login.run(username=username)
        return str(assert_alive(clients.public, login.tokens()["access_token"])["sub"])

    johns = {subject("johndoe"), subject("johndoe")}
    assert len(johns) == 1
    assert subject("johnsmith") not in johns


@pytest.mark.local_only
@pytest.mark.spec("UI-107", "RFC 9110 15.6.4")
def test_a_store_that_is_down_is_no_invalid_token(clients: Clients) -> None:
    """A client told invalid_token would throw its tokens away."""
    token = token_of(clients.public)
    with store_refuses("Query", "ProvisionedThroughputExceededException"):
        assert_unavailable(userinfo(clients.base, token))
    assert_alive(clients.public, token)
