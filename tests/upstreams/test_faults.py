"""A provider's bad days, ordered from a server that others wrote: what the client is told in each, and that nothing is lost.

Rows are those of the failure table. Each is met where it can be: while the browser waits for the code exchange, at a refresh
whose provider token has expired, and at the profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import requests

from broker.runtime import runtime
from broker_testing.journey import Login, register, revoke
from broker_testing.ports import free_port
from broker_testing.providers import provider_set
from upstreams.held import Held, logged_in, pass_time
from upstreams.servers import Upstream

SHORT = 300
"""Seconds that the provider's access tokens live here, less than the broker's own."""
DEADLINE = 0.5
COOL_DOWN = 6
"""Seconds after which the broker tries again."""


@dataclass(frozen=True)
class Refused:
    """What a client gets: the status, the error, and the seconds to wait, None for none."""

    status: int
    error: str
    retry_after: int | None = None


LATER = Refused(503, "temporarily_unavailable", 5)


@dataclass(frozen=True)
class Row:
    """A fault at the token endpoint. `callback`: the error of the redirect; `refresh`: the answer to the client.

    `sent`: refreshes that reach the provider, as some are repeated once within the request.
    """

    fault: Mapping[str, Any]
    callback: str
    refresh: Refused
    sent: int = 1


def said(code: str, status: int = 400) -> dict[str, object]:
    return {"status": status, "body": {"error": code, "error_description": "ordered"}}


def busy(wait: int | None) -> dict[str, object]:
    headers = {} if wait is None else {"retry-after": str(wait)}
    return {"raw": "{}", "status": 429, "headers": headers | {"content-type": "application/json"}}


ROWS: Mapping[str, Row] = {
    # Not repeated in the same request: it may still arrive, and a second use of the token would end the grant.
    "5 late": Row({"late": 4 * DEADLINE}, "temporarily_unavailable", LATER),
    "6 an error of the server": Row({"status": 503, "body": {}}, "temporarily_unavailable", LATER, sent=2),
    "6 invalid_grant in it": Row(said("invalid_grant", 500), "temporarily_unavailable", LATER, sent=2),
    "7 a page": Row({"raw": "<html>We are down for maintenance"}, "server_error", LATER, sent=2),
    "7 nothing": Row({"raw": ""}, "server_error", LATER, sent=2),
    "7 half": Row({"cut": True}, "server_error", LATER, sent=2),
    "7 hung up": Row({"close": True}, "server_error", LATER, sent=2),
    "7 a list": Row({"status": 200, "body": [1, 2]}, "server_error", LATER, sent=2),
    "8 an error that calls itself a success": Row(said("invalid_client", 200), "server_error", LATER),
    "10 the broker's own credentials": Row(said("invalid_client", 401), "server_error", LATER),
    "10 no word about it": Row({"raw": "", "status": 401}, "server_error", LATER),
    "11 the scope": Row(said("invalid_scope"), "invalid_scope", Refused(400, "invalid_scope")),
    "12 a code of its own": Row(said("tuesday"), "server_error", LATER),
    "12 a page that refuses": Row({"raw": "<html>Forbidden", "status": 403}, "server_error", LATER),
    "13 too many": Row(busy(30), "temporarily_unavailable", replace(LATER, retry_after=30)),
    "13 too many for a day": Row(busy(86400), "temporarily_unavailable", replace(LATER, retry_after=60)),
    "13 slow_down": Row(said("slow_down"), "temporarily_unavailable", LATER),
    "14 elsewhere": Row(
        {"raw": "", "status": 302, "headers": {"location": "https://elsewhere.example/"}}, "server_error", LATER
    ),
    "15 no access token": Row({"set": {"access_token": None}}, "server_error", LATER),
    "15 an object for one": Row({"set": {"access_token": {"token": "x"}}}, "server_error", LATER),
    "23 too large": Row({"raw": "x" * (1024 * 1024 + 1)}, "server_error", LATER),
}

PROFILE_ROWS: Mapping[str, tuple[Mapping[str, Any], int, Refused]] = {
    "5 late": ({"late": 4 * DEADLINE}, 2, Refused(504, "temporarily_unavailable")),
    "6 an error of the server": ({"status": 500, "body": {}}, 1, Refused(502, "temporarily_unavailable")),
    "7 a page": ({"raw": "<html>"}, 1, Refused(502, "temporarily_unavailable")),
    "7 half": ({"cut": True}, 1, Refused(502, "temporarily_unavailable")),
    "13 too many": (busy(30), 1, Refused(429, "temporarily_unavailable", 30)),
    "14 elsewhere": (
        {"raw": "", "status": 302, "headers": {"location": "https://elsewhere.example/"}},
        1,
        Refused(502, "temporarily_unavailable"),
    ),
    "28 refused, and refused again": ({"status": 401, "body": {}}, 2, Refused(401, "invalid_token")),
    "29 not with this scope": ({"status": 403, "body": {}}, 1, Refused(403, "insufficient_scope")),
}
"""A fault at the userinfo endpoint, how often it is met, and the answer to the client."""


@contextmanager
def patience_for(fault: Mapping[str, Any]) -> Iterator[None]:
    """Less time for calls to providers where the answer comes late, so that nobody has to wait for it. As much as ever for other
    faults: the machine may be slow as well."""
    if "late" not in fault:
        yield
        return
    before = runtime().settings
    runtime().settings = replace(before, upstream_deadline=DEADLINE)
    try:
        yield
    finally:
        runtime().settings = before


def short_lived(base: str, mock: Upstream) -> Held:
    """A login whose provider token expires before the broker's own."""
    mock.order_fault("token", {"set": {"expires_in": SHORT}})
    held = logged_in(base, mock)
    mock.forget_calls()
    return held


def assert_refused(answer: requests.Response, expected: Refused) -> None:
    assert (answer.status_code, answer.json()["error"]) == (expected.status, expected.error), answer.text
    wait = answer.headers.get("retry-after")
    assert (None if wait is None else int(wait)) == expected.retry_after
    assert answer.headers["cache-control"] == "no-store"
    assert "ordered" not in answer.text


# -- one fault, and then all is well -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
def test_at_the_code_exchange(base: str, mock: Upstream, name: str) -> None:
    """The client gets its error, the code is sent once, and the person signs in again."""
    client = register(base, providers=(mock.name,))
    mock.order_fault("token", ROWS[name].fault)
    with patience_for(ROWS[name].fault):
        login = mock.log_in(client)
    assert login.answer["error"] == ROWS[name].callback
    assert login.answer["state"] == login.parameters["state"]
    assert [call.what for call in mock.calls()] == ["authorization_code"]
    assert Held(client, mock.log_in(client).tokens()).userinfo().status_code == 200


@pytest.mark.parametrize("name", ROWS)
def test_at_a_refresh_that_needs_the_provider(base: str, mock: Upstream, name: str) -> None:
    """The client is told to come back, and its refresh token is as good as before."""
    row, held = ROWS[name], short_lived(base, mock)
    generation = held.grant.generation
    pass_time(mock, SHORT + 1)
    mock.order_fault("token", row.fault, times=row.sent)
    with patience_for(row.fault):
        refused = held.refresh()
    assert_refused(refused, row.refresh)
    assert [call.what for call in mock.calls()] == ["refresh_token"] * row.sent
    assert (held.grant.stage, held.grant.generation) == ("active", generation)
    # As long as the client was told: a provider that says when is asked by nobody before.
    pass_time(mock, max(COOL_DOWN, int(refused.headers.get("retry-after", 0))))
    assert held.refresh().status_code == 200
    assert held.userinfo().status_code == 200


@pytest.mark.parametrize("name", ROWS)
def test_at_a_refresh_that_only_wants_the_provider(base: str, mock: Upstream, name: str) -> None:
    """While the provider's token is still good, the client does not even notice."""
    row, held = ROWS[name], short_lived(base, mock)
    pass_time(mock, SHORT * 0.95)
    mock.order_fault("token", row.fault, times=row.sent)
    with patience_for(row.fault):
        assert held.refresh().status_code == 200
    assert [call.what for call in mock.calls()] == ["refresh_token"] * row.sent
    assert held.userinfo().status_code == 200


@pytest.mark.parametrize("name", PROFILE_ROWS)
def test_at_the_profile(base: str, mock: Upstream, name: str) -> None:
    """Each has the status of a gateway or of the token; nothing is lost, and the next call works."""
    fault, times, expected = PROFILE_ROWS[name]
    held = logged_in(base, mock)
    mock.order_fault("userinfo", fault, times=times)
    with patience_for(fault):
        assert_refused(held.userinfo(), expected)
    assert held.userinfo().status_code == 200
    assert held.refresh().status_code == 200


def test_a_profile_refused_once_costs_one_refresh(base: str, mock: Upstream) -> None:
    """Row 27: the client sees nothing of it."""
    held = logged_in(base, mock)
    mock.forget_calls()
    mock.order_fault("userinfo", {"status": 401, "body": {}})
    assert held.userinfo().json()["sub"] == "mock|johndoe"
    assert [call.what for call in mock.calls()] == ["userinfo", "refresh_token", "userinfo"]


def test_the_profile_of_somebody_else_is_not_passed_on(base: str, mock: Upstream) -> None:
    """OpenID Connect Core section 5.3.2."""
    held = logged_in(base, mock)
    mock.order_fault("userinfo", {"status": 200, "body": {"sub": "mallory", "name": "Mallory"}})
    answer = held.userinfo()
    assert_refused(answer, Refused(500, "server_error"))
    assert "allory" not in answer.text


# -- the end, and what is none -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [said("invalid_grant"), said("invalid_grant", 200)], ids=["400", "200"])
@pytest.mark.parametrize("after", [SHORT + 1, SHORT * 0.95], ids=["expired", "due"])
def test_a_dead_link_wants_a_new_login(base: str, mock: Upstream, fault: Mapping[str, Any], after: float) -> None:
    """Rows 8 and 9: the one answer that ends a login. The client is told where to reconnect."""
    held = short_lived(base, mock)
    pass_time(mock, after)
    mock.order_fault("token", fault)
    answer = held.refresh()
    assert_refused(answer, Refused(400, "invalid_grant"))
    assert answer.json()["reconnect_url"].startswith(f"{base}/authorize?")
    assert (held.grant.stage, held.grant.end_reason) == ("ended", "upstream_revoked")
    assert_refused(held.refresh(), Refused(400, "invalid_grant"))
    assert held.userinfo().status_code == 401
    assert [call.what for call in mock.calls()] == ["refresh_token"]
    assert Held(held.client, mock.log_in(held.client).tokens()).userinfo().status_code == 200


def test_an_outage_loses_nothing(base: str, mock: Upstream) -> None:
    """Ten minutes of errors, with clients that come back as they are told, and others that never stop: each login goes on,
    and the provider is not asked more often than once in a cool-down."""
    held = [short_lived(base, mock) for _ in range(3)]
    pass_time(mock, SHORT + 1)
    mock.order_fault("token", {"status": 503, "body": {}}, times=10_000)
    minutes = 10
    for _ in range(minutes):
        for one in held:
            for _again in range(3):
                answer = one.refresh()
                assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
                assert 1 <= int(answer.headers["retry-after"]) <= 60
        pass_time(mock, 60)
    assert len(mock.refreshes()) == 2 * len(held) * minutes
    mock.forget_faults()
    for one in held:
        assert one.grant.generation == 1
        assert one.refresh().status_code == 200
        assert one.userinfo().status_code == 200


def test_a_server_that_is_gone_and_comes_back(base: str, mock: Upstream) -> None:
    """Row 4: nothing listens where the token endpoint was."""
    held = short_lived(base, mock)
    pass_time(mock, SHORT + 1)
    nowhere = f"http://127.0.0.1:{free_port()}/token"
    client = register(base, providers=(mock.name,))
    with provider_set(mock.name, {"token.url": nowhere}):
        assert_refused(held.refresh(), LATER)
        assert mock.log_in(client).answer["error"] == "temporarily_unavailable"
    assert mock.calls() == []
    pass_time(mock, COOL_DOWN)
    assert held.refresh().status_code == 200
    assert held.userinfo().status_code == 200
    assert "code" in mock.log_in(client).answer


@pytest.mark.parametrize("fault", [{"status": 503, "body": {}}, {"raw": "<html>"}, {"close": True}, {"late": 2}])
def test_a_revocation_that_the_provider_does_not_hear(base: str, mock: Upstream, fault: Mapping[str, Any]) -> None:
    """RFC 7009 section 2.2: 200, and the login is over here; the provider's tokens are forgotten."""
    held = logged_in(base, mock)
    mock.order_fault("revoke", fault)
    with patience_for(fault):
        answer = revoke(held.client, held.refresh_token)
    assert (answer.status_code, answer.text) == (200, "")
    assert held.userinfo().status_code == 401
    assert runtime().grants.links.read(held.handle.grant_id) is None


def test_a_lifetime_that_makes_no_sense(base: str, mock: Upstream) -> None:
    """Rows 17 to 19: as text, absent, zero, far too long: the login works, and goes on at the first 401."""
    for lifetime in ("86400", 0, -1, "soon", 1e12, None):
        mock.order_fault("token", {"set": {"expires_in": lifetime}})
        held = logged_in(base, mock)
        pass_time(mock, SHORT + 1)
        mock.order_fault("userinfo", {"status": 401, "body": {"error": "invalid_token"}})
        assert held.userinfo().status_code == 200
        mock.forget_faults()


def test_a_login_is_told_apart_by_its_state(base: str, mock: Upstream) -> None:
    """A fault in one of two logins of the same browser is none of the other's."""
    client = register(base, providers=(mock.name,))
    first = Login(client, mock.name)
    second = Login(client, mock.name, browser=first.browser)
    backs = [mock.sign_in(login.browser, login.start()) for login in (first, second)]
    mock.order_fault("token", said("invalid_grant"))
    assert first.read_answer(first.browser.get(backs[0]))["error"] == "server_error"
    assert "code" in second.read_answer(second.browser.get(backs[1]))
