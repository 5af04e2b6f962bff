"""Token revocation: RFC 7009. Revoking any token of a login ends the login, here and at the provider."""

from __future__ import annotations

import pytest
import requests

from broker_testing.conformance import Clients
from broker_testing.journey import Login, post_form, refresh, revoke, userinfo
from broker_testing.parallel import at_once
from broker_testing.sandbox import counted, order_fault, start_counting
from broker_testing.trouble import store_refuses
from conformance.wire import (
    assert_alive,
    assert_dead,
    assert_error,
    assert_goes_on,
    assert_invalid_client,
    assert_method_not_allowed,
    assert_tokens,
    assert_unavailable,
)


def assert_revoked(response: requests.Response) -> None:
    """200 with an empty body (RFC 7009 section 2.2)."""
    assert (response.status_code, response.content) == (200, b""), (response.status_code, response.text)
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.spec("REV-114", "RFC 7009 2.1")
@pytest.mark.parametrize("kind", ["public", "confidential", "opaque"])
def test_a_refresh_token_ends_the_login(clients: Clients, kind: str) -> None:
    client = clients.of_kind(kind)
    first = Login(client).tokens()
    second = assert_goes_on(client, first["refresh_token"])
    assert_revoked(revoke(client, second["refresh_token"]))
    assert_dead(client, second)
    assert_dead(client, first)


@pytest.mark.spec("REV-114", "RFC 7009 2.1")
def test_one_login_and_no_other_is_ended(clients: Clients) -> None:
    client = clients.public
    ended, other = Login(client).tokens(), Login(client).tokens()
    assert_revoked(revoke(client, ended["refresh_token"]))
    assert_dead(client, ended)
    assert_alive(client, other["access_token"])
    assert_goes_on(client, other["refresh_token"])


@pytest.mark.spec("REV-115", "RFC 7009 2.2")
def test_tokens_that_are_not_there(clients: Clients) -> None:
    """Never issued, altered, or of a kind that cannot be revoked: 200, and nothing happens to anybody."""
    client = clients.public
    login = Login(client)
    tokens = login.tokens()
    genuine = tokens["refresh_token"]
    altered = [genuine[:-1], genuine[:-1] + ("A" if genuine[-1] != "A" else "B"), tokens["access_token"] + "A"]
    for token in ("x", "tbr_", "tba_AAAA", "a.b.c", "\0é", tokens["id_token"], *altered):
        assert_revoked(revoke(client, token))
    assert_alive(client, tokens["access_token"])
    assert_goes_on(client, genuine)


@pytest.mark.spec("REV-115", "RFC 7009 2.2")
def test_revoking_twice(clients: Clients) -> None:
    client = clients.public
    tokens = Login(client).tokens()
    for _ in range(2):
        assert_revoked(revoke(client, tokens["refresh_token"]))
        assert_revoked(revoke(client, tokens["access_token"]))
    assert_dead(client, tokens)


@pytest.mark.spec("REV-116", "RFC 7009 2.1")
def test_the_token_is_missing(clients: Clients) -> None:
    client = clients.public
    url = f"{client.base}/revoke"
    assert_error(post_form(url, client.credentials()), 400, "invalid_request")
    assert_error(post_form(url, {"token": ""} | client.credentials()), 400, "invalid_request")
    assert_error(requests.post(url, json={"token": "x"} | client.credentials(), timeout=30), 400, "invalid_request")
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = f"client_id={client.client_id}&token=a&token=b"
    assert_error(requests.post(url, data=body, headers=headers, timeout=30), 400, "invalid_request")


@pytest.mark.spec("REV-116", "RFC 7009 2")
def test_only_post_and_never_the_query(clients: Clients) -> None:
    client = clients.public
    tokens = Login(client).tokens()
    query = {"token": tokens["refresh_token"]} | client.credentials()
    for method in ("GET", "PUT", "DELETE"):
        response = requests.request(method, f"{client.base}/revoke", params=query, timeout=30)
        assert_method_not_allowed(response, "POST")
    in_query = requests.post(f"{client.base}/revoke", params=query, data=client.credentials(), timeout=30)
    assert_error(in_query, 400, "invalid_request")
    assert_goes_on(client, tokens["refresh_token"])


@pytest.mark.spec("REV-116", "RFC 7009 2.1")
def test_client_authentication(clients: Clients) -> None:
    client = clients.confidential
    tokens = Login(client).tokens()
    assert_invalid_client(revoke(client, tokens["refresh_token"], client_secret="wrong"))
    assert_invalid_client(revoke(client, tokens["refresh_token"], client_secret=None))
    assert_invalid_client(revoke(client, tokens["refresh_token"], client_id="nobody"))
    assert_invalid_client(post_form(f"{client.base}/revoke", {"token": tokens["refresh_token"]}))
    assert_goes_on(client, tokens["refresh_token"])


@pytest.mark.spec("REV-117", "RFC 7009 2.1")
def test_tokens_of_another_client(clients: Clients) -> None:
    """No effect; and the answer does not tell that the token is somebody's."""
    client = clients.public
    tokens = Login(client).tokens()
    for other in (clients.other_public, clients.confidential):
        assert_revoked(revoke(other, tokens["refresh_token"]))
        assert_revoked(revoke(other, tokens["access_token"]))
    assert_alive(client, tokens["access_token"])
    assert_goes_on(client, tokens["refresh_token"])


@pytest.mark.spec("REV-118", "RFC 7009 2.1")
@pytest.mark.parametrize(
    ("sent", "hint"),
    [("refresh_token", "access_token"), ("access_token", "refresh_token"), ("refresh_token", "nonsense")],
)
def test_the_hint_does_not_matter(clients: Clients, sent: str, hint: str) -> None:
    client = clients.public
    tokens = Login(client).tokens()
    assert_revoked(revoke(client, tokens[sent], token_type_hint=hint))
    assert_dead(client, tokens)


@pytest.mark.spec("REV-119", "RFC 7009 2.1")
def test_an_access_token_ends_the_login_too(clients: Clients) -> None:
    for client in (clients.public, clients.opaque):
        tokens = Login(client).tokens()
        assert_revoked(revoke(client, tokens["access_token"]))
        assert_dead(client, tokens)


@pytest.mark.spec("REV-119", "RFC 7009 2.2")
def test_ten_revocations_at_once(clients: Clients) -> None:
    client = clients.public
    tokens = Login(client).tokens()
    for response in at_once([lambda: revoke(client, tokens["refresh_token"])] * 10):
        assert_revoked(response)
    assert_dead(client, tokens)


@pytest.mark.spec("REV-119", "RFC 7009 2.1")
def test_a_revocation_beside_refreshes(clients: Clients) -> None:
    """Whichever comes first, no refresh brings a revoked login back."""
    client = clients.public
    tokens = Login(client).tokens()
    refreshing = [lambda: refresh(client, tokens["refresh_token"])] * 5
    answers = at_once([*refreshing, lambda: revoke(client, tokens["refresh_token"])])
    assert_revoked(answers[-1])
    for answer in answers[:-1]:
        if answer.status_code == 200:
            assert_dead(client, assert_tokens(answer))
        else:
            assert_error(answer, 400, "invalid_grant")
    assert_dead(client, tokens)


@pytest.mark.local_only
@pytest.mark.spec("REV-119", "RFC 7009 2.1")
def test_the_provider_is_told_once(clients: Clients) -> None:
    client = clients.public
    tokens = Login(client).tokens()
    start_counting(clients.base, "openid")
    assert_revoked(revoke(client, tokens["refresh_token"]))
    assert counted(clients.base, "openid") == {"revoke": 1}
    assert_revoked(revoke(client, tokens["refresh_token"]))
    assert counted(clients.base, "openid") == {"revoke": 1}


@pytest.mark.local_only
@pytest.mark.spec("REV-119", "RFC 7009 2.2")
@pytest.mark.parametrize(("kind", "value"), [("status", 500), ("html", 200), ("error", "invalid_client")])
def test_a_provider_that_cannot_revoke_changes_nothing(clients: Clients, kind: str, value: object) -> None:
    client = clients.public
    tokens = Login(client).tokens()
    order_fault(clients.base, "openid", "revoke", kind, value)
    assert_revoked(revoke(client, tokens["refresh_token"]))
    assert_dead(client, tokens)


@pytest.mark.local_only
@pytest.mark.spec("REV-119", "RFC 7009 2.2.1")
def test_a_store_that_is_down(clients: Clients) -> None:
    """The client must not believe that the token is revoked: 503, and the repeated request succeeds."""
    client = clients.public
    tokens = Login(client).tokens()
    with store_refuses("UpdateItem", "ProvisionedThroughputExceededException"):
        assert_unavailable(revoke(client, tokens["refresh_token"]))
    assert userinfo(clients.base, tokens["access_token"]).status_code == 200
    assert_revoked(revoke(client, tokens["refresh_token"]))
    assert_dead(client, tokens)
