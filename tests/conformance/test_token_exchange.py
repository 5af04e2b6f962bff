"""Token exchange (RFC 8693): the provider's access token for those who may have it, and every way of not getting it."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import requests

from broker_testing.conformance import RESOURCE, Clients
from broker_testing.journey import Login, TestClient, refresh, revoke
from broker_testing.proxy import PROVIDER, exchange
from broker_testing.sandbox import end_at_provider, order_fault
from broker_testing.signing import DPoPKey
from broker_testing.trouble import pass_time, store_refuses
from conformance.wire import assert_error, assert_invalid_client, assert_unavailable

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
SPEC = ("TOK-89", "RFC 8693 2.2")
pytestmark = pytest.mark.spec(*SPEC)


@cache
def token_of(client: TestClient) -> str:
    """A good access token, the same for all tests that leave it alone."""
    return str(Login(client).tokens()["access_token"])


def logged_in(client: TestClient, **parameters: str) -> dict[str, Any]:
    """The tokens of a login."""
    login = Login(client)
    login.parameters |= parameters
    return login.tokens()


def assert_exchanged(response: requests.Response) -> dict[str, Any]:
    """A successful answer (section 2.2.1); returns its members."""
    assert response.status_code == 200, (response.status_code, response.text)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["pragma"] == "no-cache"
    document: dict[str, Any] = response.json()
    assert document["issued_token_type"] == ACCESS_TOKEN
    return document


def at_the_provider(base: str, access_token: str) -> requests.Response:
    """What the provider's API says to a token."""
    return requests.get(
        f"{base}/sandbox/redbooth/api/3/me", headers={"authorization": f"Bearer {access_token}"}, timeout=30
    )


def test_the_answer_has_the_providers_token_and_nothing_else(clients: Clients) -> None:
    document = assert_exchanged(exchange(clients.exchanging, token_of(clients.exchanging)))
    assert set(document) == {"access_token", "issued_token_type", "token_type", "expires_in", "scope"}
    assert (document["token_type"], document["scope"]) == ("Bearer", "all")
    assert 7100 < document["expires_in"] <= 7200
    assert at_the_provider(clients.base, document["access_token"]).json()["username"] == clients.username


def test_the_same_token_is_given_until_it_is_due(clients: Clients) -> None:
    token = token_of(clients.exchanging)
    first, second = (assert_exchanged(exchange(clients.exchanging, token)) for _ in range(2))
    assert first["access_token"] == second["access_token"]


def test_optional_parameters(clients: Clients) -> None:
    token = token_of(clients.exchanging)
    assert_exchanged(exchange(clients.exchanging, token, requested_token_type=ACCESS_TOKEN))
    assert_exchanged(exchange(clients.exchanging, token, scope="all"))
    assert_exchanged(exchange(clients.exchanging, token, scope=""))
    assert_exchanged(exchange(clients.exchanging, token, unknown="1"))


@pytest.mark.spec(*SPEC, "RFC 8693 2.1")
def test_the_target_by_name_by_address_or_by_both(clients: Clients) -> None:
    token = token_of(clients.exchanging)
    api = f"{clients.base}/sandbox/redbooth/api/3"
    for target in ({"audience": None, "resource": api}, {"audience": None, "resource": f"{api}/"}, {"resource": api}):
        assert_exchanged(exchange(clients.exchanging, token, **target))


@pytest.mark.parametrize(
    "target",
    [
        {"audience": "unheard-of"},
        {"audience": "infolobby"},
        {"audience": "REDBOOTH"},
        {"audience": None, "resource": "https://api.example/"},
        {"audience": None, "resource": "redbooth"},
        {"resource": "https://api.example/"},
    ],
)
def test_another_target_is_invalid_target(clients: Clients, target: dict[str, str | None]) -> None:
    """Unknown ones and other providers look the same."""
    response = exchange(clients.exchanging, token_of(clients.exchanging), **target)
    assert_error(response, 400, "invalid_target")


@pytest.mark.parametrize("name", ["audience", "resource"])
def test_an_empty_target_hides_no_other(clients: Clients, name: str) -> None:
    """RFC 6749 section 3.1: what has no value counts as left out, wherever it stands."""
    for wrong in (["", "https://evil.example/"], ["https://evil.example/", ""]):
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": token_of(clients.exchanging),
            "subject_token_type": ACCESS_TOKEN,
        } | clients.exchanging.credentials()
        pairs = [*form.items(), *((name, value) for value in wrong)]
        assert_error(requests.post(f"{clients.base}/token", data=pairs, timeout=30), 400, "invalid_target")


def test_two_targets_are_invalid_target(clients: Clients) -> None:
    token = token_of(clients.exchanging)
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": token,
        "subject_token_type": ACCESS_TOKEN,
    } | clients.exchanging.credentials()
    pairs = [*form.items(), ("audience", PROVIDER), ("audience", "infolobby")]
    assert_error(requests.post(f"{clients.base}/token", data=pairs, timeout=30), 400, "invalid_target")


@pytest.mark.parametrize(
    "changes",
    [
        {"subject_token": None},
        {"subject_token": ""},
        {"subject_token_type": None},
        {"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        {"subject_token_type": "access_token"},
        {"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
        {"requested_token_type": "urn:ietf:params:oauth:token-type:id_token"},
        {"requested_token_type": "urn:ietf:params:oauth:token-type:jwt"},
        {"actor_token": "x", "actor_token_type": ACCESS_TOKEN},
        {"actor_token": "x"},
        {"actor_token_type": ACCESS_TOKEN},
        {"audience": None},
        {"audience": ""},
    ],
)
def test_what_is_missing_or_not_offered_is_invalid_request(clients: Clients, changes: dict[str, str | None]) -> None:
    """Section 2.2.2."""
    response = exchange(clients.exchanging, token_of(clients.exchanging), **changes)
    assert_error(response, 400, "invalid_request")


def test_a_scope_that_the_provider_did_not_grant_is_invalid_scope(clients: Clients) -> None:
    token = token_of(clients.exchanging)
    for scope in ("all more", "more", "openid"):
        assert_error(exchange(clients.exchanging, token, scope=scope), 400, "invalid_scope")


@pytest.mark.parametrize("kind", ["exchanging_without_grant_type", "exchanging_nothing", "exchanging_other_provider"])
def test_a_client_that_may_not_is_unauthorized_client(clients: Clients, kind: str) -> None:
    client = clients.of_kind(kind)
    assert_error(exchange(client, token_of(client)), 400, "unauthorized_client")


def test_a_client_must_authenticate(clients: Clients) -> None:
    backend = clients.exchanging_backend
    assert_invalid_client(exchange(backend, "x", client_secret="wrong"))
    assert_invalid_client(exchange(backend, "x", client_secret=None))


# -- subject tokens --------------------------------------------------------------------------------------------------


def test_a_subject_token_that_is_no_good_is_invalid_request(clients: Clients) -> None:
    """Section 2.2.2: whatever is wrong with it."""
    client = clients.exchanging
    held = logged_in(client, scope="openid")
    bad = [
        held["access_token"] + "x",
        held["access_token"][:-2],
        held["refresh_token"],
        held["id_token"],
        "x",
        "é",
        "a.b.c",
    ]
    for token in bad:
        assert_error(exchange(client, token), 400, "invalid_request")
    assert_exchanged(exchange(client, held["access_token"]))


def test_another_clients_token_is_refused(clients: Clients) -> None:
    token = token_of(clients.redbooth)
    assert_error(exchange(clients.exchanging, token), 400, "invalid_request")


def test_a_backend_exchanges_tokens_that_are_meant_for_it(clients: Clients) -> None:
    held = logged_in(clients.exchanging_with_resources, resource=RESOURCE)
    document = assert_exchanged(exchange(clients.exchanging_backend, held["access_token"]))
    assert at_the_provider(clients.base, document["access_token"]).status_code == 200
    not_meant_for_it = token_of(clients.exchanging_with_resources)
    assert_error(exchange(clients.exchanging_backend, not_meant_for_it), 400, "invalid_request")


@pytest.mark.spec(*SPEC, "RFC 9700 4.9")
def test_who_is_called_with_a_public_clients_token_cannot_exchange_it_as_that_client(clients: Clients) -> None:
    """The resource server sees the token, and anybody can give a public client's id."""
    client = clients.exchanging_with_resources
    meant_for_a_resource = logged_in(client, resource=RESOURCE)
    assert_error(exchange(client, meant_for_a_resource["access_token"]), 400, "invalid_request")
    assert_exchanged(exchange(client, token_of(client)))
    refreshed = refresh(client, meant_for_a_resource["refresh_token"]).json()
    assert_error(exchange(client, refreshed["access_token"]), 400, "invalid_request")


@pytest.mark.local_only
def test_an_expired_token_is_refused(clients: Clients) -> None:
    token = logged_in(clients.exchanging)["access_token"]
    pass_time(601)
    assert_error(exchange(clients.exchanging, token), 400, "invalid_request")


def test_a_token_of_a_login_that_has_ended_is_refused(clients: Clients) -> None:
    client = clients.exchanging
    held = logged_in(client)
    assert revoke(client, held["refresh_token"]).status_code == 200
    assert_error(exchange(client, held["access_token"]), 400, "invalid_request")


@pytest.mark.parametrize(
    ("kind", "parameters"), [("exchanging", {}), ("exchanging_with_resources", {"resource": RESOURCE})]
)
@pytest.mark.spec(*SPEC, "RFC 9449 5")
def test_a_bound_token_needs_its_key(clients: Clients, kind: str, parameters: dict[str, str]) -> None:
    """Otherwise whoever found it would get one that is not bound. With the key it may be for any audience."""
    client, key = clients.of_kind(kind), DPoPKey()
    key.learn_nonce(clients.base)
    login = Login(client)
    login.parameters |= parameters
    login.run()
    form = login.code_form() | client.credentials()
    token = key.post(f"{clients.base}/token", form).json()["access_token"]
    assert_error(exchange(client, token), 400, "invalid_dpop_proof")
    thief = DPoPKey()
    thief.learn_nonce(clients.base)
    url = f"{clients.base}/token"
    assert_error(exchange(client, token, proof=thief.proof("POST", url)), 400, "invalid_dpop_proof")
    assert_exchanged(exchange(client, token, proof=key.proof("POST", url)))


# -- when the store or the provider fails ----------------------------------------------------------------------------


@pytest.mark.local_only
def test_a_store_that_is_down_is_503(clients: Clients) -> None:
    token = token_of(clients.exchanging)
    with store_refuses("Query", "ThrottlingException"):
        assert_unavailable(exchange(clients.exchanging, token))
    assert_exchanged(exchange(clients.exchanging, token))


@pytest.mark.local_only
def test_the_providers_token_is_renewed_when_it_is_due(clients: Clients) -> None:
    client = clients.exchanging_long_lived
    token = logged_in(client)["access_token"]
    before = assert_exchanged(exchange(client, token))
    pass_time(7190)
    after = assert_exchanged(exchange(client, token))
    assert after["access_token"] != before["access_token"]
    assert 7100 < after["expires_in"] <= 7200
    assert at_the_provider(clients.base, after["access_token"]).status_code == 200


@pytest.mark.local_only
def test_a_provider_that_is_down_is_503(clients: Clients) -> None:
    """While its token is good nobody notices; nothing is lost."""
    client = clients.exchanging_long_lived
    token = logged_in(client)["access_token"]
    pass_time(7201)
    order_fault(clients.base, PROVIDER, "token", "status", 503, times=2)
    assert_unavailable(exchange(client, token))
    pass_time(6)
    assert_exchanged(exchange(client, token))


@pytest.mark.local_only
def test_a_dead_link_is_invalid_grant_with_the_way_to_reconnect(clients: Clients) -> None:
    client = clients.exchanging_long_lived
    token = logged_in(client)["access_token"]
    end_at_provider(clients.base, PROVIDER, "grant")
    pass_time(7201)
    for _ in range(2):  # the first answer may have been lost
        response = exchange(client, token)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
        assert response.headers["cache-control"] == "no-store"
        assert response.json()["reconnect_url"].startswith(f"{clients.base}/authorize?client_id={client.client_id}")
