"""Token introspection: RFC 7662, its signed answers (RFC 9701), and who may know what."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest
import requests

from broker_testing.conformance import RESOURCE, Clients
from broker_testing.journey import Login, TestClient, change, post_form, refresh, revoke
from broker_testing.parallel import at_once
from broker_testing.signing import DPoPKey
from broker_testing.trouble import pass_time, store_refuses
from conformance.wire import (
    assert_error,
    assert_goes_on,
    assert_invalid_client,
    assert_method_not_allowed,
    assert_unavailable,
)

INACTIVE = b'{"active": false}'
JWT = "application/token-introspection+jwt"


def introspect(caller: TestClient, token: str, accept: str = "*/*", **changes: str | None) -> requests.Response:
    """POST /introspect."""
    form = {"token": token} | caller.credentials()
    return post_form(f"{caller.base}/introspect", form, changes, headers={"accept": accept})


def active(caller: TestClient, token: str) -> dict[str, Any]:
    """The members of an answer that says the token is good."""
    response = introspect(caller, token)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    document: dict[str, Any] = response.json()
    assert document["active"] is True
    return document


def assert_inactive(caller: TestClient, token: str) -> None:
    """Exactly active: false, and no reason why (RFC 7662 section 2.2)."""
    response = introspect(caller, token)
    assert (response.status_code, response.content) == (200, INACTIVE), response.text
    assert response.headers["cache-control"] == "no-store"


def tokens_for(client: TestClient, *resource: str) -> dict[str, Any]:
    """The tokens of a login for these resources."""
    login = Login(client)
    for one in resource:
        login.parameters["resource"] = one
    return login.tokens()


# -- who may ask --------------------------------------------------------------------------------------------------


@pytest.mark.spec("INT-120", "RFC 7662 2.1")
def test_client_authentication(clients: Clients) -> None:
    client = clients.confidential
    token = Login(client).tokens()["access_token"]
    assert_invalid_client(introspect(client, token, client_secret="wrong"))
    assert_invalid_client(introspect(client, token, client_secret=None))
    assert_invalid_client(introspect(client, token, client_id="nobody"))
    assert_invalid_client(post_form(f"{client.base}/introspect", {"token": token}))
    bearer = {"authorization": f"Bearer {token}"}
    assert_invalid_client(post_form(f"{client.base}/introspect", {"token": token}, headers=bearer))
    assert active(client, token)["client_id"] == client.client_id


@pytest.mark.spec("INT-120", "RFC 7662 2.1")
def test_a_public_client_is_not_answered_even_about_its_own_token(clients: Clients) -> None:
    """Anybody could claim its id, and try out tokens that he found."""
    client = clients.public
    assert_invalid_client(introspect(client, Login(client).tokens()["access_token"]))


@pytest.mark.spec("INT-120", "RFC 7662 2.1")
def test_the_secret_in_the_header(clients: Clients) -> None:
    client = clients.confidential_basic
    login = Login(client)
    login.run()
    form = login.code_form()
    credentials = (client.client_id, client.secret or "")
    answer = requests.post(f"{client.base}/token", data=form, auth=credentials, timeout=30).json()
    told = requests.post(
        f"{client.base}/introspect", data={"token": answer["access_token"]}, auth=credentials, timeout=30
    )
    assert told.json()["active"] is True


# -- what is not active -------------------------------------------------------------------------------------------


@pytest.mark.spec("INT-121", "RFC 7662 2.2")
def test_tokens_that_are_not_there(clients: Clients) -> None:
    client = clients.confidential
    tokens = Login(client).tokens()
    genuine = tokens["refresh_token"]
    altered = [genuine[:-1], genuine[:-1] + ("A" if genuine[-1] != "A" else "B"), tokens["access_token"] + "A"]
    for token in ("x", "tbr_", "tba_AAAA", "a.b.c", "\0é", tokens["id_token"], *altered):
        assert_inactive(client, token)


@pytest.mark.spec("INT-121", "RFC 7662 4")
def test_tokens_of_another_client(clients: Clients) -> None:
    tokens = Login(clients.confidential).tokens()
    for kind in ("access_token", "refresh_token"):
        assert_inactive(clients.other_confidential, tokens[kind])
        assert active(clients.confidential, tokens[kind])


@pytest.mark.spec("INT-121", "RFC 7662 2.2")
def test_a_login_that_was_revoked(clients: Clients) -> None:
    client = clients.confidential
    tokens = Login(client).tokens()
    revoke(client, tokens["refresh_token"])
    assert_inactive(client, tokens["access_token"])
    assert_inactive(client, tokens["refresh_token"])


@pytest.mark.local_only
@pytest.mark.spec("INT-121", "RFC 7662 2.2")
def test_tokens_that_have_expired(clients: Clients) -> None:
    client = clients.confidential
    tokens = Login(client).tokens()
    pass_time(tokens["expires_in"] - 2)
    assert active(client, tokens["access_token"])
    pass_time(3)
    assert_inactive(client, tokens["access_token"])
    pass_time(14 * 86400)
    assert_inactive(client, tokens["refresh_token"])


@pytest.mark.local_only
@pytest.mark.spec("INT-121", "RFC 7662 2.2")
def test_a_refresh_token_that_was_replaced(clients: Clients) -> None:
    """While it still gets its successor again it is good, and after that it is not; asking is not using."""
    client = clients.confidential
    first = Login(client).tokens()
    second = assert_goes_on(client, first["refresh_token"])
    assert active(client, first["refresh_token"])
    pass_time(31)
    assert_inactive(client, first["refresh_token"])
    assert active(client, second["refresh_token"])
    assert_goes_on(client, second["refresh_token"])


@pytest.mark.local_only
@pytest.mark.spec("INT-121", "RFC 7662 2.2")
def test_reuse_of_a_refresh_token_shows_at_once(clients: Clients) -> None:
    client = clients.confidential
    first = Login(client).tokens()
    second = assert_goes_on(client, first["refresh_token"])
    pass_time(31)
    assert_error(refresh(client, first["refresh_token"]), 400, "invalid_grant")
    for token in (second["refresh_token"], second["access_token"]):
        assert_inactive(client, token)


@pytest.mark.local_only
@pytest.mark.spec("INT-121", "RFC 7662 2.2")
def test_the_client_that_holds_the_token_is_disabled(clients: Clients) -> None:
    server, holder = clients.serves_resource, clients.resources
    token = tokens_for(holder, RESOURCE)["access_token"]
    assert active(server, token)
    change(holder, disabled=True)
    try:
        assert_inactive(server, token)
    finally:
        change(holder, disabled=False)


# -- what is ------------------------------------------------------------------------------------------------------


@pytest.mark.spec("INT-122", "RFC 7662 2.2")
@pytest.mark.parametrize("kind", ["confidential", "es256_confidential"])
def test_an_access_token(clients: Clients, kind: str) -> None:
    client = clients.of_kind(kind)
    tokens = Login(client).tokens()
    document = active(client, tokens["access_token"])
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    for name in ("iss", "sub", "aud", "client_id", "scope", "iat", "exp", "auth_time", "jti"):
        assert document.pop(name) == claims[name], name
    assert document == {"active": True, "token_type": "Bearer"}
    assert claims["scope"] == "openid profile email"
    assert claims["exp"] - claims["iat"] == tokens["expires_in"]
    assert claims["sub"] == jwt.decode(tokens["id_token"], options={"verify_signature": False})["sub"]


@pytest.mark.local_only
@pytest.mark.spec("INT-122", "RFC 7662 2.2")
def test_an_opaque_access_token(clients: Clients) -> None:
    """The backend that cannot read it finds out all by asking."""
    client = clients.confidential
    change(client, access_token_format="opaque")
    try:
        token = Login(client).tokens()["access_token"]
        assert token.startswith("tba_")
        document = active(client, token)
    finally:
        change(client, access_token_format="jwt")
    assert (document["iss"], document["aud"], document["client_id"]) == (client.base, client.base, client.client_id)
    assert document["token_type"] == "Bearer"
    assert document["exp"] > time.time()
    assert len(document["jti"]) >= 16


@pytest.mark.spec("INT-122", "RFC 7662 2.2")
def test_a_refresh_token(clients: Clients) -> None:
    """Meant for the broker alone: it has no token type that a resource takes, and names nobody else as its audience."""
    client = clients.confidential
    tokens = Login(client).tokens()
    document = active(client, tokens["refresh_token"])
    assert set(document) == {"active", "iss", "client_id", "sub", "aud", "scope", "iat", "exp", "auth_time"}
    assert (document["iss"], document["aud"]) == (client.base, client.base)
    assert document["client_id"] == client.client_id
    assert document["scope"] == "openid profile email"
    assert document["exp"] > document["iat"] >= document["auth_time"]
    assert_goes_on(client, tokens["refresh_token"])


@pytest.mark.spec("INT-122", "RFC 7662 2.1")
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense"])
def test_the_hint_does_not_matter(clients: Clients, hint: str) -> None:
    client = clients.confidential
    tokens = Login(client).tokens()
    for token in (tokens["access_token"], tokens["refresh_token"]):
        assert introspect(client, token, token_type_hint=hint).json()["active"] is True


@pytest.mark.spec("INT-122", "RFC 7662 4")
def test_a_resource_server_asks_about_tokens_for_it_and_no_others(clients: Clients) -> None:
    server, holder = clients.serves_resource, clients.resources
    for_it, for_userinfo = tokens_for(holder, RESOURCE), Login(holder).tokens()
    document = active(server, for_it["access_token"])
    assert (document["aud"], document["client_id"]) == (RESOURCE, holder.client_id)
    assert_inactive(server, for_userinfo["access_token"])
    # The refresh token is between the client and the broker.
    assert_inactive(server, for_it["refresh_token"])
    assert_inactive(clients.confidential, for_it["access_token"])


@pytest.mark.spec("INT-122", "RFC 9449 6.2")
def test_a_token_that_is_bound_to_a_key(clients: Clients) -> None:
    client, key = clients.confidential, DPoPKey()
    key.learn_nonce(client.base)
    login = Login(client)
    login.run()
    form = login.code_form() | client.credentials()
    token = key.post(f"{client.base}/token", form).json()["access_token"]
    document = active(client, token)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert document["token_type"] == "DPoP"
    assert document["cnf"] == claims["cnf"]
    assert set(document["cnf"]) == {"jkt"}


# -- the form of it -----------------------------------------------------------------------------------------------


@pytest.mark.spec("INT-123", "RFC 7662 2.1")
def test_the_token_is_missing(clients: Clients) -> None:
    client = clients.confidential
    url = f"{client.base}/introspect"
    assert_error(post_form(url, client.credentials()), 400, "invalid_request")
    assert_error(post_form(url, {"token": ""} | client.credentials()), 400, "invalid_request")
    assert_error(requests.post(url, json={"token": "x"} | client.credentials(), timeout=30), 400, "invalid_request")
    twice = [*client.credentials().items(), ("token", "a"), ("token", "b")]
    assert_error(requests.post(url, data=twice, timeout=30), 400, "invalid_request")


@pytest.mark.spec("INT-123", "RFC 7662 2.1")
def test_only_post_and_never_the_query(clients: Clients) -> None:
    client = clients.confidential
    query = {"token": Login(client).tokens()["access_token"]} | client.credentials()
    for method in ("GET", "PUT", "DELETE"):
        response = requests.request(method, f"{client.base}/introspect", params=query, timeout=30)
        assert_method_not_allowed(response, "POST")
    in_query = requests.post(f"{client.base}/introspect", params=query, data=client.credentials(), timeout=30)
    assert_error(in_query, 400, "invalid_request")


@pytest.mark.spec("INT-123", "RFC 7662 2.2")
def test_nothing_of_the_provider_and_no_secret_of_the_login(clients: Clients) -> None:
    client = clients.confidential
    tokens = Login(client).tokens()
    text = json.dumps([active(client, tokens[kind]) for kind in ("access_token", "refresh_token")])
    sealed = jwt.decode(tokens["access_token"], options={"verify_signature": False})["tbg"]
    assert sealed not in text
    assert "username" not in text
    assert "johndoe@" not in text


@pytest.mark.local_only
@pytest.mark.spec("INT-123", "RFC 7662 2.2")
def test_a_store_that_is_down_says_nothing_about_the_token(clients: Clients) -> None:
    """A backend must not take an outage for a revocation."""
    client = clients.confidential
    token = Login(client).tokens()["access_token"]
    with store_refuses("Query", "ProvisionedThroughputExceededException"):
        assert_unavailable(introspect(client, token))
    assert active(client, token)


@pytest.mark.spec("INT-123", "RFC 7662 2")
def test_many_at_once_change_nothing(clients: Clients) -> None:
    client = clients.confidential
    tokens = Login(client).tokens()
    answers = at_once([lambda: introspect(client, tokens["refresh_token"])] * 8)
    assert len({answer.text for answer in answers}) == 1
    assert_goes_on(client, tokens["refresh_token"])


# -- signed answers -----------------------------------------------------------------------------------------------


def signed(caller: TestClient, token: str, accept: str = JWT) -> tuple[dict[str, Any], dict[str, Any]]:
    """(header, claims) of a signed answer, verified by the published keys."""
    response = introspect(caller, token, accept)
    assert response.status_code == 200
    assert response.headers["content-type"] == JWT
    assert response.headers["cache-control"] == "no-store"
    keys = jwt.PyJWKSet.from_dict(requests.get(f"{caller.base}/.well-known/jwks.json", timeout=30).json())
    header = jwt.get_unverified_header(response.text)
    claims: dict[str, Any] = jwt.decode(
        response.text,
        keys[header["kid"]].key,
        algorithms=[header["alg"]],
        audience=caller.client_id,
        issuer=caller.base,
        options={"verify_iat": False},
    )
    return header, claims


@pytest.mark.spec("INT-124", "RFC 9701 5")
@pytest.mark.parametrize(("kind", "alg"), [("confidential", "RS256"), ("es256_confidential", "ES256")])
def test_a_signed_answer(clients: Clients, kind: str, alg: str) -> None:
    client = clients.of_kind(kind)
    token = Login(client).tokens()["access_token"]
    header, claims = signed(client, token)
    assert (header["typ"], header["alg"]) == ("token-introspection+jwt", alg)
    assert set(claims) == {"iss", "aud", "iat", "token_introspection"}
    assert claims["token_introspection"] == active(client, token)
    announced = requests.get(f"{clients.base}/.well-known/openid-configuration", timeout=30).json()
    assert alg in announced["introspection_signing_alg_values_supported"]


@pytest.mark.spec("INT-124", "RFC 9701 5")
def test_a_signed_answer_about_a_token_that_is_not_active(clients: Clients) -> None:
    _, claims = signed(clients.confidential, Login(clients.other_confidential).tokens()["access_token"])
    assert claims["token_introspection"] == {"active": False}


@pytest.mark.spec("INT-124", "RFC 9701 4")
@pytest.mark.parametrize(
    ("accept", "is_signed"),
    [
        (f"text/html, {JWT.upper()};q=0.9, */*", True),
        (f"{JWT};q=0, application/json", False),
        ("application/json", False),
        ("application/*", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_only_who_asks_for_it_by_name_gets_a_signed_answer(clients: Clients, accept: str, is_signed: bool) -> None:
    response = introspect(clients.confidential, "x", accept)
    assert response.headers["content-type"] == (JWT if is_signed else "application/json")


@pytest.mark.spec("INT-124", "RFC 9701 8.1", "RFC 8725 3.11")
def test_a_signed_answer_is_no_token(clients: Clients) -> None:
    """Its type keeps it apart: as an access token, as a hint, as what is asked about, it is nothing."""
    client = clients.confidential
    answer = introspect(client, Login(client).tokens()["access_token"], JWT).text
    assert_inactive(client, answer)
    bearer = {"authorization": f"Bearer {answer}"}
    assert requests.get(f"{client.base}/userinfo", headers=bearer, timeout=30).status_code == 401
    out = requests.get(f"{client.base}/logout", params={"id_token_hint": answer}, timeout=30, allow_redirects=False)
    assert out.status_code == 400


@pytest.mark.spec("INT-120", "META-8", "RFC 8414 2")
def test_what_the_metadata_says_of_it(clients: Clients) -> None:
    document = requests.get(f"{clients.base}/.well-known/oauth-authorization-server", timeout=30).json()
    assert document["introspection_endpoint"] == f"{clients.base}/introspect"
    methods = document["introspection_endpoint_auth_methods_supported"]
    assert set(methods) == {"client_secret_basic", "client_secret_post", "private_key_jwt"}
    assert document["introspection_endpoint_auth_signing_alg_values_supported"]
