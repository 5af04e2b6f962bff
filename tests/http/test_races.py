"""Exactly once, however many come at the same moment: codes, refresh tokens, callbacks, the provider's own refresh tokens.

Real threads, and every test on two stores that nobody wrote together (moto, ministack).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
import pytest
import requests

from broker import clock
from broker.runtime import runtime
from broker.store.grants import Grant
from broker_testing.browser import Browser
from broker_testing.journey import Login, TestClient, pkce_pair, refresh, register, revoke, userinfo
from broker_testing.parallel import at_once
from broker_testing.sandbox import counted, start_counting
from sandbox_provider import clock as sandbox_clock

pytestmark = pytest.mark.usefixtures("each_store")

MANY = 50
UPSTREAM_LIFETIME = {"openid": 300, "redbooth": 7200}
"""Seconds, of the access tokens of the providers whose refresh token works once."""


@dataclass(frozen=True)
class Held:
    """What a client holds after a login."""

    login: Login
    tokens: dict[str, Any]

    @property
    def client(self) -> TestClient:
        return self.login.client

    @property
    def grant(self) -> Grant:
        """The login as the table has it now."""
        return grant_of(self.tokens["access_token"])


def logged_in(base: str, provider: str = "infolobby", **attributes: Any) -> Held:
    login = Login(register(base, providers=(provider,), **attributes), provider)
    return Held(login, login.tokens())


def grant_of(access_token: str) -> Grant:
    grant_id = jwt.decode(access_token, options={"verify_signature": False})["sid"]
    grant, _ = runtime().grants.read(grant_id)
    assert grant is not None
    return grant


def answers_by_status(answers: list[requests.Response]) -> dict[int, list[dict[str, Any]]]:
    by_status: dict[int, list[dict[str, Any]]] = {}
    for answer in answers:
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        by_status.setdefault(answer.status_code, []).append(answer.json())
    return by_status


def assert_invalid_grant(answer: requests.Response) -> None:
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant"), answer.text


def assert_dead(base: str, access_token: str) -> None:
    answer = userinfo(base, access_token)
    assert answer.status_code == 401, answer.text
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def move_time(seconds: float) -> None:
    """For the broker and its providers alike."""
    clock.offset = seconds
    sandbox_clock.offset = seconds


# -- one code ------------------------------------------------------------------------------------------------------


def test_of_fifty_parallel_redemptions_of_a_code_exactly_one_succeeds(base: str) -> None:
    """RFC 6749 section 4.1.2; the others are replays of a valid code, which end the login (OAuth 2.1 section 4.1.3)."""
    login = Login(register(base))
    login.run()
    by_status = answers_by_status(at_once([login.redeem] * MANY))
    assert {status: len(found) for status, found in by_status.items()} == {200: 1, 400: MANY - 1}
    assert {found["error"] for found in by_status[400]} == {"invalid_grant"}
    (tokens,) = by_status[200]
    grant = grant_of(tokens["access_token"])
    assert (grant.stage, grant.end_reason, grant.generation) == ("ended", "code_replay", 1)
    assert_dead(base, tokens["access_token"])
    assert_invalid_grant(refresh(login.client, tokens["refresh_token"]))


def test_a_single_redemption_is_not_disturbed_by_parallel_wrong_ones(base: str) -> None:
    """Requests with a wrong verifier, redirect URI or client neither burn the code nor end the login."""
    login, stranger = Login(register(base)), register(base)
    login.run()
    wrong: list[Callable[[], requests.Response]] = [
        partial(login.redeem, code_verifier=pkce_pair()[0]),
        partial(login.redeem, redirect_uri="https://app.example/other"),
        partial(login.redeem, client_id=stranger.client_id),
        partial(login.redeem, code_verifier=None),
    ]
    right, *refused = at_once([login.redeem, *wrong])
    for answer in refused:
        assert_invalid_grant(answer)
    assert right.status_code == 200, right.text
    assert userinfo(base, right.json()["access_token"]).status_code == 200
    assert refresh(login.client, right.json()["refresh_token"]).status_code == 200


def test_a_used_code_with_a_wrong_verifier_or_client_ends_nothing(base: str) -> None:
    """OAuth 2.1 section 4.1.3: only a request that is right in everything else is a replay."""
    login, stranger = Login(register(base)), register(base)
    tokens = login.tokens()
    assert_invalid_grant(login.redeem(code_verifier=pkce_pair()[0]))
    assert_invalid_grant(login.redeem(code_verifier=None))
    assert_invalid_grant(login.redeem(client_id=stranger.client_id))
    assert_invalid_grant(login.redeem(redirect_uri="https://app.example/other"))
    assert userinfo(base, tokens["access_token"]).status_code == 200
    assert refresh(login.client, tokens["refresh_token"]).status_code == 200


# -- one refresh token ---------------------------------------------------------------------------------------------


def test_fifty_parallel_refreshes_make_one_step_and_give_one_successor(base: str) -> None:
    """RFC 9700 section 4.14.2 with a retry window: one generation, one successor for all, and it works."""
    held = logged_in(base)
    by_status = answers_by_status(at_once([partial(refresh, held.client, held.tokens["refresh_token"])] * MANY))
    assert list(by_status) == [200]
    successors = {found["refresh_token"] for found in by_status[200]}
    assert len(by_status[200]) == MANY
    assert len(successors) == 1
    assert successors != {held.tokens["refresh_token"]}
    assert (held.grant.stage, held.grant.generation) == ("active", 2)
    for found in by_status[200][::10]:
        assert userinfo(base, found["access_token"]).status_code == 200
    following = refresh(held.client, successors.pop())
    assert following.status_code == 200, following.text
    assert held.grant.generation == 3


def test_without_a_retry_window_one_parallel_refresh_succeeds_and_the_others_are_reuse(base: str) -> None:
    """Strict OAuth 2.1: nobody can tell a retry from a thief, so the family is dead afterwards."""
    held = logged_in(base, retry_window=0)
    by_status = answers_by_status(at_once([partial(refresh, held.client, held.tokens["refresh_token"])] * MANY))
    assert {status: len(found) for status, found in by_status.items()} == {200: 1, 400: MANY - 1}
    assert {found["error"] for found in by_status[400]} == {"invalid_grant"}
    (winner,) = by_status[200]
    assert (held.grant.stage, held.grant.end_reason, held.grant.generation) == ("ended", "reuse", 2)
    assert_invalid_grant(refresh(held.client, winner["refresh_token"]))
    assert_dead(base, winner["access_token"])
    assert_dead(base, held.tokens["access_token"])


def test_reuse_after_the_retry_window_ends_the_whole_family(base: str) -> None:
    """RFC 9700 section 4.14.2: the newest refresh token and every access token die with it."""
    held = logged_in(base)
    newest = refresh(held.client, held.tokens["refresh_token"]).json()
    clock.offset = runtime().settings.retry_window + 1
    assert userinfo(base, newest["access_token"]).status_code == 200
    assert_invalid_grant(refresh(held.client, held.tokens["refresh_token"]))
    assert (held.grant.stage, held.grant.end_reason) == ("ended", "reuse")
    assert_invalid_grant(refresh(held.client, newest["refresh_token"]))
    assert_dead(base, newest["access_token"])
    assert_dead(base, held.tokens["access_token"])


def test_a_token_two_generations_old_is_reuse_even_within_the_window(base: str) -> None:
    """Its successor was used, so whoever still holds it is not a client that lost an answer."""
    held = logged_in(base)
    second = refresh(held.client, held.tokens["refresh_token"]).json()
    third = refresh(held.client, second["refresh_token"]).json()
    assert_invalid_grant(refresh(held.client, held.tokens["refresh_token"]))
    assert (held.grant.stage, held.grant.end_reason) == ("ended", "reuse")
    assert_invalid_grant(refresh(held.client, third["refresh_token"]))
    assert_dead(base, third["access_token"])


def test_a_client_that_lost_the_answer_gets_the_same_successor(base: str) -> None:
    """The connection breaks after the first byte of the answer; the repeated request is no theft."""
    held = logged_in(base)
    form = {"grant_type": "refresh_token", "refresh_token": held.tokens["refresh_token"]} | held.client.credentials()
    _post_and_hang_up(f"{base}/token", form)
    assert held.grant.generation == 2
    first, again = (refresh(held.client, held.tokens["refresh_token"]) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["refresh_token"] == again.json()["refresh_token"]
    assert held.grant.generation == 2
    following = refresh(held.client, first.json()["refresh_token"])
    assert following.status_code == 200, following.text
    assert userinfo(base, following.json()["access_token"]).status_code == 200


def _post_and_hang_up(url: str, form: dict[str, str]) -> None:
    parts, body = urlsplit(url), urlencode(form).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=30) as connection:
        connection.sendall(head.encode() + body)
        assert connection.recv(1) == b"H"


def test_a_wrong_client_neither_consumes_nor_ends_a_refresh_token(base: str) -> None:
    """Neither for the present token nor for a used one, and neither with a stranger's nor with failed authentication."""
    held, stranger = logged_in(base, secret=True), register(base)
    present = held.tokens["refresh_token"]
    assert_invalid_grant(refresh(stranger, present))
    failed = refresh(held.client, present, client_secret="not the secret")
    assert (failed.status_code, failed.json()["error"]) == (401, "invalid_client")
    assert held.grant.generation == 1
    renewed = refresh(held.client, present)
    assert renewed.status_code == 200, renewed.text
    clock.offset = runtime().settings.retry_window + 1
    assert_invalid_grant(refresh(stranger, present))
    assert refresh(held.client, present, client_secret="not the secret").status_code == 401
    assert userinfo(base, renewed.json()["access_token"]).status_code == 200
    assert refresh(held.client, renewed.json()["refresh_token"]).status_code == 200


# -- one callback --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["infolobby", "phpapi"])
def test_of_ten_parallel_callbacks_one_exchanges_the_code(base: str, provider: str) -> None:
    """RFC 6749 section 10.12: a state is good once. One exchange at the provider, one redirect; the others get a page."""
    login = Login(register(base, providers=(provider,)), provider)
    url = login.callback_url()
    cookies = {str(cookie.name): str(cookie.value) for cookie in login.browser.session.cookies}
    start_counting(base, provider)

    def come_back() -> requests.Response:
        return requests.get(url, cookies=cookies, allow_redirects=False, timeout=30)

    answers = at_once([come_back] * 10)
    redirected = [answer for answer in answers if answer.status_code == 303]
    pages = [answer for answer in answers if answer.status_code == 400]
    assert (len(redirected), len(pages)) == (1, 9)
    for page in pages:
        assert "location" not in page.headers
        assert page.headers["content-type"] == "text/html; charset=utf-8"
    calls = counted(base, provider)
    assert sum(number for endpoint, number in calls.items() if endpoint.startswith("token")) == 1
    assert login.read_answer(redirected[0]).keys() == {"code", "state", "iss"}
    tokens = login.tokens()
    assert userinfo(base, tokens["access_token"]).status_code == 200


def test_a_callback_of_another_browser_does_not_use_up_the_state(base: str) -> None:
    """RFC 9700 section 4.7: without the login's cookie the answer is a page, also ten times at once; then the right one works."""
    login = Login(register(base))
    url = login.callback_url()
    start_counting(base, "infolobby")
    answers = at_once([lambda: Browser().get(url)] * 10)
    assert {answer.status_code for answer in answers} == {400}
    assert counted(base, "infolobby") == {}
    login.read_answer(login.browser.get(url))
    assert userinfo(base, login.tokens()["access_token"]).status_code == 200


# -- one refresh at the provider -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("provider", "moment"), [("openid", "expired"), ("redbooth", "due")])
def test_fifty_parallel_refreshes_renew_the_providers_token_once(base: str, provider: str, moment: str) -> None:
    """A provider whose refresh token works once (one of them ends the grant on reuse) stays linked."""
    held = logged_in(base, provider)
    lifetime = UPSTREAM_LIFETIME[provider]
    margin = min(120, lifetime // 10)
    move_time(lifetime - margin + 5 if moment == "due" else lifetime + 5)
    start_counting(base, provider)
    by_status = answers_by_status(at_once([partial(refresh, held.client, held.tokens["refresh_token"])] * MANY))
    assert {status: len(found) for status, found in by_status.items()} == {200: MANY}
    assert len({found["refresh_token"] for found in by_status[200]}) == 1
    assert counted(base, provider) == {"token:refresh_token": 1}
    assert held.grant.generation == 2
    following = refresh(held.client, by_status[200][0]["refresh_token"]).json()
    assert userinfo(base, following["access_token"]).status_code == 200
    assert counted(base, provider) == {"token:refresh_token": 1, "userinfo": 1}
    # The successor is worth what it says: its provider token can be renewed once more.
    move_time(2 * lifetime + 10)
    renewed = refresh(held.client, following["refresh_token"])
    assert renewed.status_code == 200, renewed.text
    assert userinfo(base, renewed.json()["access_token"]).status_code == 200
    assert counted(base, provider) == {"token:refresh_token": 2, "userinfo": 2}


def test_parallel_userinfo_renews_the_providers_token_once(base: str) -> None:
    """Every caller gets the profile, whoever holds the lease."""
    provider = "openid"
    held = logged_in(base, provider)
    move_time(UPSTREAM_LIFETIME[provider] + 5)
    start_counting(base, provider)
    answers = at_once([partial(userinfo, base, held.tokens["access_token"])] * 20)
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert len({answer.text for answer in answers}) == 1
    assert counted(base, provider) == {"token:refresh_token": 1, "userinfo": 20}
    assert refresh(held.client, held.tokens["refresh_token"]).status_code == 200


# -- the end -------------------------------------------------------------------------------------------------------


def test_parallel_revocations_are_one(base: str) -> None:
    """RFC 7009 section 2.2: 200 for each, and the provider is told once."""
    held = logged_in(base, "openid")
    start_counting(base, "openid")
    answers = at_once([partial(revoke, held.client, held.tokens["refresh_token"])] * 20)
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, "")}
    assert counted(base, "openid") == {"revoke": 1}
    assert (held.grant.stage, held.grant.end_reason) == ("ended", "revoked")
    assert_dead(base, held.tokens["access_token"])
    assert_invalid_grant(refresh(held.client, held.tokens["refresh_token"]))


@pytest.mark.parametrize("provider", ["infolobby", "openid"])
def test_nothing_survives_a_revocation_that_races_with_refreshes(base: str, provider: str) -> None:
    """Whoever comes first, afterwards no refresh token and no access token of the login works."""
    held = logged_in(base, provider)
    token = held.tokens["refresh_token"]
    actions = [partial(refresh, held.client, token)] * 10
    revoked, *answers = at_once([partial(revoke, held.client, token), *actions])
    assert (revoked.status_code, revoked.text) == (200, "")
    assert {answer.status_code for answer in answers} <= {200, 400}
    assert (held.grant.stage, held.grant.end_reason) == ("ended", "revoked")
    for issued in [held.tokens, *(answer.json() for answer in answers if answer.status_code == 200)]:
        assert_dead(base, issued["access_token"])
        assert_invalid_grant(refresh(held.client, issued["refresh_token"]))
