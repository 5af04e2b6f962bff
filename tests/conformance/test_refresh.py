"""The refresh token grant: RFC 6749 section 6, and the rotation that RFC 9700 section 4.14.2 asks for."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
import requests

from broker_testing.conformance import Clients
from broker_testing.journey import Login, TestClient, post_form, refresh, register, userinfo
from broker_testing.parallel import at_once
from broker_testing.sandbox import counted, forget_faults, order_fault, start_counting
from broker_testing.trouble import pass_time, store_answer_lost
from conformance.wire import (
    assert_alive,
    assert_dead,
    assert_error,
    assert_goes_on,
    assert_invalid_client,
    assert_invalid_token,
    assert_tokens,
    assert_unavailable,
    send_and_hang_up,
    verified,
)

UPSTREAM_LIFETIME = 300
"""Seconds that an access token of the sandbox's OpenID provider lives. It replaces its refresh token at every use."""


def scope_of(access_token: str) -> set[str]:
    """The scope inside a JWT access token."""
    claims: dict[str, Any] = jwt.decode(access_token, options={"verify_signature": False})
    return set(claims["scope"].split())


# -- rotation -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("REF-91", "RFC 9700 4.14.2")
def test_every_refresh_gives_another_refresh_token(clients: Clients) -> None:
    client = clients.public
    tokens = Login(client).tokens()
    seen = {tokens["refresh_token"]}
    subject = assert_alive(client, tokens["access_token"])["sub"]
    for _ in range(4):
        tokens = assert_tokens(refresh(client, tokens["refresh_token"]))
        assert tokens["refresh_token"] not in seen
        seen.add(tokens["refresh_token"])
        assert assert_alive(client, tokens["access_token"])["sub"] == subject


@pytest.mark.spec("REF-91", "RFC 6749 6")
def test_a_confidential_client_refreshes_too(clients: Clients) -> None:
    tokens = Login(clients.confidential).tokens()
    renewed = assert_goes_on(clients.confidential, tokens["refresh_token"])
    assert renewed["refresh_token"] != tokens["refresh_token"]


@pytest.mark.spec("REF-91", "RFC 6749 6")
def test_the_other_door_runs_the_same_rotation(clients: Clients) -> None:
    client = clients.public
    tokens = Login(client).tokens()
    form = {"refresh_token": tokens["refresh_token"]} | client.credentials()
    renewed = assert_tokens(post_form(f"{client.base}/refresh", form))
    assert renewed["refresh_token"] != tokens["refresh_token"]
    assert assert_tokens(refresh(client, tokens["refresh_token"]))["refresh_token"] == renewed["refresh_token"]
    assert_goes_on(client, renewed["refresh_token"])


@pytest.mark.local_only
@pytest.mark.spec("REF-91", "REF-92", "RFC 9700 4.14.2")
def test_the_predecessor_outside_the_window_ends_the_family(clients: Clients) -> None:
    client = clients.public
    first = Login(client).tokens()
    second = assert_tokens(refresh(client, first["refresh_token"]))
    pass_time(31)
    assert_alive(client, second["access_token"])
    assert_error(refresh(client, first["refresh_token"]), 400, "invalid_grant")
    assert_dead(client, second)
    assert_dead(client, first)


@pytest.mark.spec("REF-92", "RFC 9700 4.14.2")
def test_a_token_two_generations_old_ends_the_family(clients: Clients) -> None:
    client = clients.public
    first = Login(client).tokens()
    second = assert_tokens(refresh(client, first["refresh_token"]))
    third = assert_tokens(refresh(client, second["refresh_token"]))
    assert_error(refresh(client, first["refresh_token"]), 400, "invalid_grant")
    for tokens in (third, second, first):
        assert_dead(client, tokens)


@pytest.mark.spec("REF-92", "RFC 9700 4.14.2")
def test_reuse_in_one_login_leaves_the_others_alone(clients: Clients) -> None:
    """The family is the login: the same person's other login at the same client goes on."""
    client = clients.public
    stolen, other = Login(client).tokens(), Login(client).tokens()
    second = assert_tokens(refresh(client, stolen["refresh_token"]))
    assert_tokens(refresh(client, second["refresh_token"]))
    assert_error(refresh(client, stolen["refresh_token"]), 400, "invalid_grant")
    assert_alive(client, other["access_token"])
    assert_goes_on(client, other["refresh_token"])


@pytest.mark.spec("REF-93", "OAuth 2.1 4.3.1")
def test_without_a_window_an_immediate_replay_ends_the_family(clients: Clients) -> None:
    client = clients.strict_rotation
    first = Login(client).tokens()
    second = assert_tokens(refresh(client, first["refresh_token"]))
    assert_error(refresh(client, first["refresh_token"]), 400, "invalid_grant")
    assert_dead(client, second)


@pytest.mark.spec("REF-93", "OAuth 2.1 4.3.1")
def test_within_the_window_a_replay_gets_the_same_successor(clients: Clients) -> None:
    client = clients.public
    first = Login(client).tokens()
    second = assert_tokens(refresh(client, first["refresh_token"]))
    for _ in range(3):
        again = assert_tokens(refresh(client, first["refresh_token"]))
        assert again["refresh_token"] == second["refresh_token"]
        assert_alive(client, again["access_token"])
    third = assert_goes_on(client, second["refresh_token"])
    assert_error(refresh(client, first["refresh_token"]), 400, "invalid_grant")
    assert_dead(client, third)


@pytest.mark.spec("REF-93", "OAuth 2.1 4.3.1")
def test_within_the_window_a_replay_that_asks_for_something_else_is_reuse(clients: Clients) -> None:
    client = clients.public
    first = Login(client).tokens()
    second = assert_tokens(refresh(client, first["refresh_token"], scope="openid"))
    assert_error(refresh(client, first["refresh_token"], scope="openid profile"), 400, "invalid_grant")
    assert_dead(client, second)


@pytest.mark.spec("REF-94", "RFC 9700 4.14.2")
def test_twenty_refreshes_at_once(clients: Clients) -> None:
    """One generation step: all answers carry the same successor, and it works."""
    client = clients.public
    first = Login(client).tokens()
    answers = at_once([lambda: refresh(client, first["refresh_token"])] * 20)
    successors = {assert_tokens(answer)["refresh_token"] for answer in answers}
    assert len(successors) == 1
    (successor,) = successors
    assert successor != first["refresh_token"]
    assert_goes_on(client, successor)
    # The step after it was the second: the first token is two generations old now.
    assert_error(refresh(client, first["refresh_token"]), 400, "invalid_grant")


@pytest.mark.spec("REF-94", "OAuth 2.1 4.3.1")
def test_twenty_refreshes_at_once_without_a_window(clients: Clients) -> None:
    """One succeeds; the others were reuse, so nothing is alive afterwards."""
    client = clients.strict_rotation
    first = Login(client).tokens()
    answers = at_once([lambda: refresh(client, first["refresh_token"])] * 20)
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    for answer in answers:
        if answer is not won[0]:
            assert_error(answer, 400, "invalid_grant")
    assert_dead(client, assert_tokens(won[0]))


@pytest.mark.spec("REF-95", "OAuth 2.1 4.3.1")
def test_an_answer_lost_by_the_network(clients: Clients) -> None:
    client = clients.public
    first = Login(client).tokens()
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]} | client.credentials()
    send_and_hang_up(f"{client.base}/token", form)
    repeated = assert_tokens(refresh(client, first["refresh_token"]))
    assert_alive(client, repeated["access_token"])
    assert_goes_on(client, repeated["refresh_token"])


@pytest.mark.local_only
@pytest.mark.spec("REF-95", "RFC 9110 15.6.4")
def test_an_answer_of_the_store_that_is_lost(clients: Clients) -> None:
    """The write was done and nobody knows: 503, and the repeated request gets the successor."""
    client = clients.public
    first = Login(client).tokens()
    with store_answer_lost("UpdateItem"):
        assert_unavailable(refresh(client, first["refresh_token"]))
    repeated = assert_tokens(refresh(client, first["refresh_token"]))
    assert_goes_on(client, repeated["refresh_token"])


# -- who may refresh, and what ------------------------------------------------------------------------------------


@pytest.mark.spec("REF-96", "RFC 6749 10.4")
def test_a_refresh_token_of_another_client(clients: Clients) -> None:
    """Refused, and neither the present nor the previous token of the chain suffers."""
    client = clients.public
    first = Login(client).tokens()
    second = assert_tokens(refresh(client, first["refresh_token"]))
    for other in (clients.other_public, clients.confidential):
        for tokens in (second, first):
            assert_error(refresh(other, tokens["refresh_token"]), 400, "invalid_grant")
    assert_alive(client, second["access_token"])
    assert_goes_on(client, second["refresh_token"])


@pytest.mark.spec("REF-96", "RFC 9700 4.14.2")
def test_another_client_cannot_end_a_chain_with_an_old_token(clients: Clients) -> None:
    client = clients.public
    first = Login(client).tokens()
    second = assert_tokens(refresh(client, first["refresh_token"]))
    third = assert_tokens(refresh(client, second["refresh_token"]))
    assert_error(refresh(clients.other_public, first["refresh_token"]), 400, "invalid_grant")
    assert_alive(client, third["access_token"])
    assert_goes_on(client, third["refresh_token"])


@pytest.mark.spec("REF-97", "RFC 6749 6")
def test_wrong_client_authentication_consumes_nothing(clients: Clients) -> None:
    client = clients.confidential
    first = Login(client).tokens()
    assert_invalid_client(refresh(client, first["refresh_token"], client_secret="wrong"))
    assert_invalid_client(refresh(client, first["refresh_token"], client_secret=None))
    second = assert_tokens(refresh(client, first["refresh_token"]))
    third = assert_tokens(refresh(client, second["refresh_token"]))
    # The first token is now one whose use would end the family, if only its client had come with it.
    assert_invalid_client(refresh(client, first["refresh_token"], client_secret="wrong"))
    assert_goes_on(client, third["refresh_token"])


@pytest.mark.spec("REF-98", "RFC 6749 6")
def test_a_wider_scope_is_refused_and_consumes_nothing(clients: Clients) -> None:
    client = clients.public
    tokens = Login(client).tokens(scope="openid profile")
    for wider in ("openid profile email", "email", "admin", 'openid "', "openid\tprofile"):
        assert_error(refresh(client, tokens["refresh_token"], scope=wider), 400, "invalid_scope")
    renewed = assert_goes_on(client, tokens["refresh_token"])
    assert scope_of(renewed["access_token"]) == {"openid", "profile"}


@pytest.mark.spec("REF-98", "RFC 6749 6")
def test_a_narrower_scope_narrows_the_access_token_alone(clients: Clients) -> None:
    client = clients.public
    tokens = Login(client).tokens(scope="openid profile email")
    narrow = assert_tokens(refresh(client, tokens["refresh_token"], scope="openid email"))
    assert set(narrow["scope"].split()) == scope_of(narrow["access_token"]) == {"openid", "email"}
    assert set(assert_alive(client, narrow["access_token"])) == {"sub", "email", "email_verified"}
    full = assert_tokens(refresh(client, narrow["refresh_token"]))
    assert scope_of(full["access_token"]) == {"openid", "profile", "email"}
    assert assert_alive(client, full["access_token"])["name"] == "John Doe"


@pytest.mark.spec("REF-98", "RFC 6749 3.3")
def test_the_same_scope_in_another_order_is_not_wider(clients: Clients) -> None:
    client = clients.public
    tokens = Login(client).tokens(scope="openid profile email")
    renewed = assert_tokens(refresh(client, tokens["refresh_token"], scope="email  profile openid email"))
    assert scope_of(renewed["access_token"]) == {"openid", "profile", "email"}


# -- lifetimes ----------------------------------------------------------------------------------------------------


@pytest.mark.local_only
@pytest.mark.spec("REF-99", "browser-based apps 8.5")
def test_rotation_does_not_move_the_absolute_end(base: str) -> None:
    client = register(base, providers=("infolobby",), absolute_lifetime=3000, idle_lifetime=2000)
    tokens = Login(client).tokens()
    for _ in range(2):
        pass_time(1200)
        tokens = assert_tokens(refresh(client, tokens["refresh_token"]))
    pass_time(500)
    tokens = assert_tokens(refresh(client, tokens["refresh_token"]))
    # What is left of the login bounds the last access token too.
    assert tokens["expires_in"] <= 100
    claims = verified(base, tokens["access_token"], audience=base, typ="at+jwt")
    assert claims["exp"] - claims["iat"] == tokens["expires_in"]
    pass_time(101)
    assert_dead(client, tokens)


@pytest.mark.local_only
@pytest.mark.spec("REF-100", "RFC 9700 4.14.2")
def test_idle_expiry_does_not_wait_for_the_table(base: str) -> None:
    """The item is still there, as DynamoDB deletes late; the token is dead all the same."""
    client = register(base, providers=("infolobby",), idle_lifetime=1000)
    tokens = Login(client).tokens()
    for _ in range(2):
        pass_time(900)
        tokens = assert_tokens(refresh(client, tokens["refresh_token"]))
    pass_time(1001)
    assert_error(refresh(client, tokens["refresh_token"]), 400, "invalid_grant")


# -- forged and misplaced tokens ----------------------------------------------------------------------------------


@pytest.mark.spec("REF-101", "RFC 6749 10.4")
def test_a_tampered_refresh_token(clients: Clients) -> None:
    """Each part of it changed: prefix, version, key, login, generation, secret, tag. The login goes on."""
    client = clients.public
    tokens = Login(client).tokens()
    genuine = tokens["refresh_token"]
    changed = [
        genuine[:position] + ("A" if genuine[position] != "A" else "B") + genuine[position + 1 :]
        for position in (0, 3, *range(4, len(genuine), 3))
    ]
    odd = ["x", "tbr_", genuine[:-1], genuine + "A", genuine.swapcase(), genuine[4:], genuine + "=", "tbr_\0é", " " * 5]
    for forged in (*changed, *odd):
        assert_error(refresh(client, forged), 400, "invalid_grant")
    assert_goes_on(client, genuine)


@pytest.mark.spec("REF-101", "RFC 6749 10.3")
def test_tokens_in_each_others_place(clients: Clients) -> None:
    client = clients.public
    login = Login(client)
    tokens = login.tokens()
    misplaced = (tokens["access_token"], tokens["id_token"], login.answer["code"])
    for other in misplaced:
        assert_error(refresh(client, other), 400, "invalid_grant")
    for other in (tokens["refresh_token"], tokens["id_token"], login.answer["code"]):
        assert_invalid_token(userinfo(client.base, other))
    for other in (tokens["refresh_token"], tokens["access_token"]):
        assert_error(login.redeem(code=other), 400, "invalid_grant")
    assert_goes_on(client, tokens["refresh_token"])


@pytest.mark.spec("REF-101", "RFC 6749 5.2")
def test_the_refresh_token_is_missing(clients: Clients) -> None:
    assert_error(refresh(clients.public, ""), 400, "invalid_request")
    form = {"grant_type": "refresh_token"} | clients.public.credentials()
    assert_error(post_form(f"{clients.base}/token", form), 400, "invalid_request")


# -- the provider's side ------------------------------------------------------------------------------------------


def due(client: TestClient, provider: str, seconds: float = UPSTREAM_LIFETIME + 10) -> dict[str, Any]:
    """The tokens of a login whose upstream access token has expired since. No fault is ordered, no call counted."""
    forget_faults(client.base, provider)
    tokens = Login(client, provider).tokens()
    pass_time(seconds)
    start_counting(client.base, provider)
    return tokens


def upstream_refreshes(base: str, provider: str) -> int:
    """How often the provider was asked for a refresh."""
    return counted(base, provider).get("token:refresh_token", 0)


@pytest.mark.local_only
@pytest.mark.spec("REF-102", "RFC 6749 5.2")
def test_the_provider_has_ended_the_access(base: str) -> None:
    client = register(base, providers=("openid",))
    tokens = due(client, "openid")
    order_fault(base, "openid", "token", "invalid_grant")
    assert_error(refresh(client, tokens["refresh_token"]), 400, "invalid_grant")
    assert upstream_refreshes(base, "openid") == 1
    # Final: it is not tried again, and the access token is no good either.
    assert_dead(client, tokens)
    assert upstream_refreshes(base, "openid") == 1


@pytest.mark.local_only
@pytest.mark.spec("REF-102", "RFC 9110 15.6.4")
@pytest.mark.parametrize(("kind", "value"), [("status", 503), ("html", 502), ("truncated", None), ("rate_limit", 5)])
def test_the_provider_is_down(base: str, kind: str, value: int | None) -> None:
    """Nothing is consumed, however long it lasts; the same refresh token succeeds when the provider is back."""
    client = register(base, providers=("infolobby",))
    tokens = due(client, "infolobby", 3700)
    order_fault(base, "infolobby", "token", kind, value, times=100)
    for _ in range(2):
        assert_unavailable(refresh(client, tokens["refresh_token"]))
        pass_time(40)
    assert upstream_refreshes(base, "infolobby") >= 2
    forget_faults(base, "infolobby")
    assert_goes_on(client, tokens["refresh_token"])


@pytest.mark.local_only
@pytest.mark.spec("REF-103", "RFC 9700 4.14.2")
def test_twenty_refreshes_at_once_are_one_at_the_provider(base: str) -> None:
    """The provider takes a second use of its refresh token for theft; it must not see one."""
    client = register(base, providers=("openid",))
    tokens = due(client, "openid")
    answers = at_once([lambda: refresh(client, tokens["refresh_token"])] * 20)
    successors = {assert_tokens(answer)["refresh_token"] for answer in answers}
    assert len(successors) == 1
    assert upstream_refreshes(base, "openid") == 1
    (successor,) = successors
    renewed = assert_goes_on(client, successor)
    pass_time(UPSTREAM_LIFETIME + 10)
    assert_goes_on(client, renewed["refresh_token"])
    assert upstream_refreshes(base, "openid") == 2


@pytest.mark.local_only
@pytest.mark.spec("REF-104", "RFC 6749 6")
def test_a_provider_that_sends_no_new_refresh_token(base: str) -> None:
    """The old one is kept, and used again the next time."""
    client = register(base, providers=("infolobby",))
    tokens = due(client, "infolobby", 3700)
    for _ in range(2):
        order_fault(base, "infolobby", "token", "drop", ["refresh_token"])
        tokens = assert_goes_on(client, tokens["refresh_token"])
        pass_time(3700)
    answer = requests.get(f"{base}/sandbox/_calls", params={"provider": "infolobby"}, timeout=30).json()
    used = [call["refresh_token_sha256"] for call in answer["calls"] if call["grant_type"] == "refresh_token"]
    assert len(used) == 2
    assert used[0] == used[1] != ""
