"""Links as people see them: a provider ends the access, the person gives it back, and the operator's systems hear of both."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jsonschema  # type: ignore[import-untyped]
import jwt
import pytest
import requests
from botocore.exceptions import EndpointConnectionError

from broker.runtime import runtime
from broker.store import aws
from broker.store.aws import StoreUnavailable
from broker.store.grants import Grant
from broker_local.server import LocalBroker
from broker_testing.device import GRANT_TYPE, Device, Person
from broker_testing.event_bus import Subscriber, documented, subscriber
from broker_testing.journey import Login, TestClient, post_form, refresh, register, userinfo
from broker_testing.parallel import at_once
from broker_testing.providers import provider_set
from broker_testing.proxy import EXCHANGING, call, exchange, provider_with
from broker_testing.sandbox import counted, end_at_provider, order_fault, start_counting
from broker_testing.trouble import answer_lost_once, pass_time, store_refuses

LIFETIME = 300
"""Seconds that the access tokens of the sandbox's provider "openid" live."""
REVOKED = "the provider has revoked the access, please log in again"
OTHER_ACCOUNT = "the person signed in with another account than the one to reconnect"
WITH_CALENDAR = ("openid", "profile", "email", "calendar", "tasks")


@pytest.fixture(scope="module")
def listening(local_broker: LocalBroker) -> Iterator[Subscriber]:
    with subscriber(local_broker) as queue:
        yield queue


@pytest.fixture
def bus(listening: Subscriber) -> Subscriber:
    listening.received()
    return listening


@dataclass(frozen=True)
class Held:
    """A login and what its client holds."""

    login: Login
    tokens: dict[str, Any]

    @property
    def client(self) -> TestClient:
        return self.login.client

    @property
    def grant_id(self) -> str:
        return grant_id_of(self.tokens)

    @property
    def grant(self) -> Grant:
        """The login as the table has it now."""
        grant = runtime().grants.read_grant(self.grant_id)
        assert grant is not None
        return grant

    def refresh(self) -> requests.Response:
        return refresh(self.client, self.tokens["refresh_token"])

    def userinfo(self) -> requests.Response:
        return userinfo(self.client.base, self.tokens["access_token"])


def grant_id_of(tokens: dict[str, Any]) -> str:
    return str(jwt.decode(tokens["access_token"], options={"verify_signature": False})["sid"])


def logged_in(base: str, *, scope: str | None = None, username: str = "johndoe", **attributes: Any) -> Held:
    login = Login(register(base, **{"providers": ("openid",)} | attributes))
    return Held(login, login.tokens(username=username, **({"scope": scope} if scope else {})))


def broken(base: str, **attributes: Any) -> Held:
    """A login whose provider has ended the access; nobody has noticed yet, and the provider's token is due."""
    held = logged_in(base, **attributes)
    assert end_at_provider(base, held.grant.provider, "grant", "johndoe") > 0
    pass_time(LIFETIME + 1)
    return held


def reconnect_parameters(answer: requests.Response) -> dict[str, str]:
    """What an error says about reconnecting."""
    where = urlsplit(answer.json()["reconnect_url"])
    return dict(parse_qsl(where.query, strict_parsing=True))


def reconnected(held: Held, parameters: dict[str, str], *, username: str = "johndoe", **changes: str) -> Held:
    """A reconnect in a browser of its own."""
    again = Login(held.client)
    return Held(again, again.tokens(username=username, **parameters | changes))


def events_of(records: list[logging.LogRecord]) -> list[str]:
    return [record.audit for record in records if hasattr(record, "audit")]


# -- the provider ends the access ----------------------------------------------------------------------------------


def test_a_refresh_that_finds_the_link_dead_tells_where_to_reconnect(base: str, bus: Subscriber) -> None:
    held = broken(base)
    answer = held.refresh()
    url = answer.json().pop("reconnect_url")
    assert (answer.status_code, answer.headers["cache-control"]) == (400, "no-store")
    assert answer.json() == {"error": "invalid_grant", "error_description": REVOKED, "reconnect_url": url}
    assert url.startswith(f"{base}/authorize?")
    parameters = reconnect_parameters(answer)
    assert parameters.keys() == {"client_id", "provider", "reconnect"}
    assert (parameters["client_id"], parameters["provider"]) == (held.client.client_id, "openid")
    assert parameters["reconnect"].startswith("tbn_")
    ended = held.grant
    assert (ended.stage, ended.end_reason, ended.end_detail) == ("ended", "upstream_revoked", "refused")
    (event,) = bus.received()
    assert (event["source"], event["detail-type"]) == ("token-broker", "Link Reconnect Required")
    assert event["detail"] == {
        "version": 1,
        "grant_id": held.grant_id,
        "client_id": held.client.client_id,
        "provider": "openid",
        "subject": ended.subject,
        "time": ended.ended_at,
        "reason": "refused",
        "reconnect_url": url,
    }
    jsonschema.validate(event["detail"], documented("Schema"))
    strangers = refresh(register(base, providers=("openid",)), held.tokens["refresh_token"])
    assert (strangers.status_code, "reconnect_url" in strangers.json()) == (400, False), "another client is not told"


def test_userinfo_that_finds_the_link_dead_tells_it_in_the_body(base: str, bus: Subscriber) -> None:
    """RFC 6750 section 3 has no place for it in the challenge, and headers are logged on the way."""
    held = broken(base)
    answer = held.userinfo()
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    assert answer.json()["error_description"] == REVOKED
    assert reconnect_parameters(answer)["provider"] == "openid"
    challenge = answer.headers["www-authenticate"]
    assert 'error="invalid_token"' in challenge
    assert "reconnect" not in challenge
    assert "tbn_" not in challenge
    assert [event["detail"]["grant_id"] for event in bus.received()] == [held.grant_id]


def test_an_access_without_a_refresh_token_that_is_withdrawn_is_noticed_too(base: str, bus: Subscriber) -> None:
    """Rows 9 and 28: what cannot be refreshed is over when the provider rejects it."""
    held = logged_in(base, providers=("iternio",))
    end_at_provider(base, "iternio", "grant", "johndoe")
    assert reconnect_parameters(held.userinfo())["provider"] == "iternio"
    assert held.grant.end_detail == "expired"
    (event,) = bus.received()
    assert event["detail"]["reason"] == "expired"


def test_a_login_whose_tokens_are_gone_is_ended(base: str, bus: Subscriber) -> None:
    held, other = logged_in(base), logged_in(base)
    for one in (held, other):
        runtime().grants.links.drop(one.grant_id)
    assert (held.userinfo().status_code, held.grant.end_detail) == (401, "gone")
    pass_time(LIFETIME + 1)
    assert (other.refresh().status_code, other.grant.end_detail) == (400, "gone")
    assert [event["detail"]["reason"] for event in bus.received()] == ["gone", "gone"]


def test_of_many_requests_that_find_the_link_dead_one_event_comes(base: str, bus: Subscriber) -> None:
    """Twenty at the same moment, and whoever comes later: each is told where to reconnect."""
    held = broken(base)
    answers = at_once([held.refresh] * 10 + [held.userinfo] * 10)
    assert {answer.status_code for answer in answers[:10]} == {400}
    assert {answer.status_code for answer in answers[10:]} == {401}
    answers += [held.refresh(), held.userinfo()]
    assert {answer.json()["error"] for answer in answers} == {"invalid_grant", "invalid_token"}
    assert len({answer.json()["reconnect_url"] for answer in answers}) == 1
    assert len(bus.received()) == 1


def test_neither_an_outage_nor_another_end_asks_to_reconnect(base: str, bus: Subscriber) -> None:
    held = logged_in(base)
    assert (held.tokens["scope"], "reconnect_url" in held.tokens) == ("openid profile email", False)
    pass_time(LIFETIME + 1)
    order_fault(base, "openid", "token", "status", 503, times=2)
    down = held.refresh()
    assert (down.status_code, down.json().keys()) == (503, {"error", "error_description"})
    assert held.grant.stage == "active"
    assert post_form(f"{base}/revoke", {"token": held.tokens["refresh_token"]} | held.client.credentials()).ok
    for answer in (held.refresh(), held.userinfo()):
        assert answer.status_code in (400, 401)
        assert "reconnect_url" not in answer.json()
    assert bus.received() == []


# -- the person comes back -----------------------------------------------------------------------------------------


def test_a_grant_that_userinfo_says_is_gone_ends_the_login(base: str, bus: Subscriber) -> None:
    """A token without an end and without a refresh token: nothing else would ever tell (Slack without token rotation)."""
    order_fault(base, "redbooth", "token", "drop", ["refresh_token", "expires_in"])
    with provider_set("redbooth", {"errors.map": {"token_revoked": "invalid_grant"}}):
        held = logged_in(base, providers=("redbooth",))
        assert held.userinfo().status_code == 200
        order_fault(base, "redbooth", "userinfo", "json", {"error": "token_revoked"})
        answer = held.userinfo()
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    assert reconnect_parameters(answer)["provider"] == "redbooth"
    assert (held.grant.stage, held.grant.end_reason, held.grant.end_detail) == ("ended", "upstream_revoked", "expired")
    (event,) = bus.received()
    assert event["detail-type"] == "Link Reconnect Required"


def test_reconnecting_with_the_same_account_gives_a_new_login(base: str, bus: Subscriber) -> None:
    held = broken(base)
    again = reconnected(held, reconnect_parameters(held.refresh()))
    assert again.userinfo().json()["sub"] == held.grant.subject
    assert again.refresh().status_code == 200
    assert (again.grant.reconnects, held.grant.recovered_by) == (held.grant_id, again.grant_id)
    assert (held.refresh().status_code, held.userinfo().status_code) == (400, 401)
    required, recovered = bus.received()
    assert (required["detail-type"], recovered["detail-type"]) == ("Link Reconnect Required", "Link Recovered")
    assert recovered["detail"] == {
        "version": 1,
        "grant_id": held.grant_id,
        "client_id": held.client.client_id,
        "provider": "openid",
        "subject": held.grant.subject,
        "time": recovered["detail"]["time"],
        "recovered_by": again.grant_id,
    }
    jsonschema.validate(recovered["detail"], documented("Schema"))


def test_recovery_is_told_once(base: str, bus: Subscriber) -> None:
    """By the first code that is redeemed, not by the codes; here of two tabs at the same moment, and once more later."""
    held = broken(base)
    parameters = reconnect_parameters(held.refresh())
    tabs = [Login(held.client) for _ in range(2)]
    for tab in tabs:
        tab.run(**parameters)
    assert held.grant.recovered_by == ""
    answers = at_once([tab.redeem for tab in tabs])
    assert {answer.status_code for answer in answers} == {200}
    assert reconnected(held, parameters).userinfo().status_code == 200
    assert [event["detail-type"] for event in bus.received()] == ["Link Reconnect Required", "Link Recovered"]
    assert held.grant.recovered_by in {grant_id_of(answer.json()) for answer in answers}


def test_reconnecting_with_another_account_is_refused(base: str, bus: Subscriber) -> None:
    """Row 31. Nothing of either account is revoked: the other one's link may be somebody's who needs it."""
    stranger = logged_in(base, username="zoe")
    held = broken(base)
    start_counting(base, "openid")
    again = Login(held.client)
    answer = again.run(username="zoe", **reconnect_parameters(held.refresh()))
    assert (answer["error"], answer["error_description"]) == ("access_denied", OTHER_ACCOUNT)
    assert (answer["state"], answer["iss"]) == (again.parameters["state"], base)
    assert "code" not in answer
    assert "revoke" not in counted(base, "openid")
    assert stranger.refresh().status_code == 200
    assert (held.grant.recovered_by, len(bus.received())) == ("", 1)


def test_a_link_that_works_is_not_touched_by_a_reconnect(base: str, bus: Subscriber) -> None:
    """Not by one with another account, and not by one that grants more: then both logins stand."""
    client = register(base, providers=("openid",), scope=WITH_CALENDAR)
    login = Login(client)
    held = Held(login, login.tokens(scope="openid calendar"))
    parameters = dict(parse_qsl(urlsplit(held.tokens["reconnect_url"]).query))
    order_fault(base, "openid", "userinfo", "status", 401, times=2)
    rejected = held.userinfo()
    assert (rejected.status_code, rejected.json()["error"]) == (401, "invalid_token")
    assert reconnect_parameters(rejected) == parameters, "row 28: even a renewed token was rejected"
    order_fault(base, "openid", "userinfo", "status", 403)
    forbidden = held.userinfo()
    assert (forbidden.status_code, forbidden.json()["error"]) == (403, "insufficient_scope")
    assert reconnect_parameters(forbidden) == parameters, "row 29: the login goes on, and the person may grant more"
    assert Login(client).run(username="zoe", scope="openid calendar", **parameters)["error"] == "access_denied"
    assert held.userinfo().status_code == 200
    order_fault(base, "openid", "token", "set", {"scope": "openid profile email calendar"})
    more = reconnected(held, parameters, scope="openid calendar")
    assert (more.tokens["scope"], "reconnect_url" in more.tokens) == ("openid calendar", False)
    for one in (held, more):
        assert one.userinfo().status_code == 200
        assert one.refresh().status_code == 200
    assert (held.grant.stage, held.grant.recovered_by) == ("active", "")
    assert bus.received() == []


def test_a_link_that_works_is_not_touched_by_a_no_to_the_client(base: str) -> None:
    """The person reconnects to grant more, and thinks better of it: he has said no to that alone."""
    client = register(base, providers=("openid",), scope=WITH_CALENDAR, first_party=False)

    def asked(**parameters: str) -> tuple[Login, requests.Response]:
        login = Login(client)
        back = login.browser.get(login.callback_url(scope="openid calendar", **parameters))
        return login, login.browser.follow(back, stop=(client.redirect_uri,))

    login, page = asked()
    login.read_answer(login.browser.submit(page, {"decision": "allow"}))
    held = Held(login, login.tokens())
    order_fault(base, "openid", "token", "set", {"scope": "openid profile email calendar"})
    again, page = asked(**dict(parse_qsl(urlsplit(held.tokens["reconnect_url"]).query)))
    start_counting(base, "openid")
    assert again.read_answer(again.browser.submit(page, {"decision": "deny"}))["error"] == "access_denied"
    assert counted(base, "openid") == {}
    pass_time(LIFETIME + 1)
    assert held.refresh().status_code == 200


def test_a_pushed_request_reconnects(base: str) -> None:
    """RFC 9126: the reference is enough afterwards; the push already names the provider."""
    client = register(base, providers=("openid", "infolobby"), secret=True)
    login = Login(client, "openid")
    held = Held(login, login.tokens())
    end_at_provider(base, "openid", "grant", "johndoe")
    pass_time(LIFETIME + 1)
    reconnect = reconnect_parameters(held.refresh())["reconnect"]
    for username, expected in (("zoe", "error"), ("johndoe", "code")):
        again = Login(client)
        form = again.parameters | client.credentials() | {"reconnect": reconnect}
        pushed = post_form(f"{base}/par", form)
        assert pushed.status_code == 201, pushed.text
        again.parameters = {"client_id": client.client_id, "request_uri": pushed.json()["request_uri"]}
        assert expected in again.run(username=username)
    refused = post_form(f"{base}/par", form | {"reconnect": reconnect[:-1] + "!"})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")


def test_a_reconnect_under_consent_and_by_form_post(base: str) -> None:
    """The account is looked at before the person is asked for anything, and the answer goes the way that was asked for."""
    client = register(base, providers=("openid",), first_party=False)
    login = Login(client)
    asked = login.browser.follow(login.browser.get(login.callback_url()), stop=(client.redirect_uri,))
    login.read_answer(login.browser.submit(asked, {"decision": "allow"}))
    held = Held(login, login.tokens())
    end_at_provider(base, "openid", "grant", "johndoe")
    pass_time(LIFETIME + 1)
    parameters = reconnect_parameters(held.refresh())
    wrong = Login(client)
    page = wrong.browser.get(wrong.callback_url(username="zoe", response_mode="form_post", **parameters))
    assert page.status_code == 200
    assert "access_denied" in page.text
    again = Login(client)
    again.read_answer(again.browser.get(again.callback_url(**parameters)))  # what was agreed to once counts on
    assert Held(again, again.tokens()).userinfo().status_code == 200


def test_a_device_reconnects(base: str, bus: Subscriber) -> None:
    client = register(base, providers=("openid", "infolobby"), grant_types=(GRANT_TYPE, "refresh_token"))
    person = Person(base)

    def let_in(username: str = "johndoe", **parameters: str) -> requests.Response:
        device = Device(client).begin(**parameters)
        page = person.confirm(device.user_code)
        back = Login(client, browser=person.browser).at_provider(page, username=username)
        person.browser.get(back)
        return device.poll()

    tokens = let_in(provider="openid").json()
    end_at_provider(base, "openid", "grant", "johndoe")
    pass_time(LIFETIME + 1)
    reconnect = reconnect_parameters(refresh(client, tokens["refresh_token"]))["reconnect"]
    assert let_in("zoe", reconnect=reconnect).json()["error"] == "access_denied"
    again = let_in(reconnect=reconnect)
    assert again.status_code == 200, again.text
    assert [event["detail-type"] for event in bus.received()] == ["Link Reconnect Required", "Link Recovered"]
    forged = Device(client).ask(reconnect="tbn_AAAA")
    assert (forged.status_code, forged.json()["error"]) == (400, "invalid_request")


def test_a_provider_that_names_nobody_lets_everybody_begin_anew(base: str, bus: Subscriber) -> None:
    """Lockit Network has no userinfo: there is nothing to compare, and no recovery to tell of."""
    held = logged_in(base, providers=("lockitnetwork",))
    end_at_provider(base, "lockitnetwork", "grant", "johndoe")
    pass_time(604_800)
    parameters = reconnect_parameters(held.refresh())
    again = reconnected(held, parameters, username="zoe")
    assert again.grant.subject != held.grant.subject
    assert [event["detail-type"] for event in bus.received()] == ["Link Reconnect Required"]


# -- the handle ----------------------------------------------------------------------------------------------------


def refusal(client: TestClient, **parameters: str) -> dict[str, str]:
    """The error that an authorization request gets, at once and by redirect."""
    login = Login(client)
    return login.read_answer(login.start(**parameters))


def test_a_login_that_is_forgotten_cannot_be_reconnected(base: str) -> None:
    held = broken(base)
    parameters = reconnect_parameters(held.refresh())
    login = Login(held.client)
    back = login.callback_url(**parameters)
    client = aws.client("dynamodb")
    table = runtime().settings.grants_table
    client.delete_item(TableName=table, Key={"pk": {"S": held.grant_id}, "sk": {"S": "grant"}})
    assert login.read_answer(login.browser.get(back))["error"] == "access_denied"
    answer = refusal(held.client, **parameters)
    assert (answer["error"], answer["error_description"]) == (
        "invalid_request",
        "the login to reconnect is no longer known, please begin without reconnect",
    )


def test_a_value_that_was_not_issued_here_or_is_for_another_is_refused(base: str) -> None:
    client, stranger = register(base, providers=("openid", "infolobby")), register(base, providers=("openid",))
    login = Login(client, "openid")
    held = Held(login, login.tokens())
    end_at_provider(base, "openid", "grant", "johndoe")
    pass_time(LIFETIME + 1)
    genuine = reconnect_parameters(held.refresh())["reconnect"]
    tampered = genuine[:20] + ("A" if genuine[20] != "A" else "B") + genuine[21:]
    other_kind = parse_qs(urlsplit(Login(client, "openid").start().headers["location"]).query)["state"][0]
    for sent in (["x"], ["tbn_"], ["tbn_AAAA"], [tampered], [other_kind], [genuine, genuine]):
        asked = Login(client)
        url = "&".join([asked.authorize_url(), *(f"reconnect={value}" for value in sent)])
        answer = asked.read_answer(asked.browser.get(url))
        assert (answer["error"], answer["state"]) == ("invalid_request", asked.parameters["state"]), sent
    others = refusal(stranger, reconnect=genuine)
    assert (others["error"], others["error_description"]) == (
        "invalid_request",
        "the login to reconnect is another client's",
    )
    assert refusal(client, reconnect=genuine, provider="infolobby")["error"] == "invalid_request"
    unnamed = Login(client).start(reconnect=genuine)
    assert unnamed.headers["location"].startswith(f"{base}/sandbox/openid/"), "the login itself says where"


# -- scopes that the provider did not grant ------------------------------------------------------------------------


def test_a_scope_that_the_provider_did_not_grant_is_in_no_answer(base: str, caplog: pytest.LogCaptureFixture) -> None:
    """RFC 6749 section 5.1: the scope of the answer is what was granted. The sandbox passes over scopes it does not know."""
    client = register(base, providers=("openid",), scope=WITH_CALENDAR, secret=True)
    login = Login(client)
    with caplog.at_level(logging.INFO):
        held = Held(login, login.tokens(scope="openid calendar tasks profile"))
    assert held.tokens["scope"] == "openid profile"
    access = jwt.decode(held.tokens["access_token"], options={"verify_signature": False})
    assert access["scope"] == "openid profile"
    told = post_form(f"{base}/introspect", {"token": held.tokens["refresh_token"]} | client.credentials())
    assert told.json()["scope"] == "openid profile"
    (event,) = [record for record in caplog.records if getattr(record, "audit", "") == "link.scope_narrowed"]
    assert (event.missing, event.count, event.grant_id) == ("calendar tasks", 2, held.grant_id)  # type: ignore[attr-defined]
    again = held.refresh()
    assert (again.status_code, again.json()["scope"]) == (200, "openid profile")
    assert "reconnect_url" in again.json()
    asked = refresh(client, again.json()["refresh_token"], scope="openid calendar")
    assert (asked.status_code, asked.json()["scope"]) == (200, "openid")


@pytest.mark.parametrize("window", [0, 30])
def test_a_note_between_a_rotation_and_its_repetition_makes_no_replay_of_it(base: str, window: int) -> None:
    """userinfo finds, while the rotation's answer is lost, that the provider has taken a scope back."""
    client = register(base, providers=("openid",), retry_window=window)
    login = Login(client)
    held = Held(login, login.tokens())
    noted: list[bool] = []

    def note() -> None:
        noted.append(runtime().grants.note_missing_scope(held.grant, ("email",)))

    with answer_lost_once("UpdateItem", of=":asked", then=note):
        answer = held.refresh()
    assert (answer.status_code, noted) == (200, [True])
    assert refresh(client, answer.json()["refresh_token"]).status_code == 200


def test_a_note_knows_its_own_repetition(base: str) -> None:
    login = Login(register(base, providers=("openid",)))
    held = Held(login, login.tokens())
    with answer_lost_once("UpdateItem", then=lambda: assert_ok(held.refresh())):
        assert runtime().grants.note_missing_scope(held.grant, ("email",))


def assert_ok(answer: requests.Response) -> None:
    assert answer.status_code == 200, answer.text


def renew_by(by: str, held: Held) -> None:
    """Let the provider's token, which is due, be renewed by another request than a refresh."""
    token = held.tokens["access_token"]
    match by:
        case "userinfo":
            assert held.userinfo().status_code == 200
        case "exchange":
            assert exchange(held.client, token, audience="openid").status_code == 200
        case "proxy":
            assert call(held.client, token, "userinfo", provider="openid").status_code == 200


@pytest.fixture
def with_api(base: str) -> Iterator[str]:
    """The provider's userinfo may be called as an API."""
    with provider_with("openid", api_base="{base}", api_allow=["GET /userinfo"]):
        yield base


@pytest.mark.parametrize("by", ["refresh", "userinfo", "exchange", "proxy"])
def test_a_scope_that_a_renewal_loses_is_gone_from_then_on(
    with_api: str, caplog: pytest.LogCaptureFixture, by: str
) -> None:
    """Row 21 at a refresh. What is lost stays lost, also if a later answer has it again: nobody was asked for it."""
    base = with_api
    client = register(
        base,
        providers=("openid",),
        scope=WITH_CALENDAR,
        proxy=("openid",),
        token_exchange=("openid",),
        grant_types=EXCHANGING["grant_types"],
    )
    login = Login(client)
    order_fault(base, "openid", "token", "set", {"scope": "openid profile email calendar tasks"})
    held = Held(login, login.tokens(scope="openid calendar tasks"))
    assert held.tokens["scope"] == "openid calendar tasks"
    pass_time(LIFETIME + 1)
    order_fault(base, "openid", "token", "set", {"scope": "openid profile email tasks"})
    with caplog.at_level(logging.INFO):
        renew_by(by, held)
        assert held.grant.missing_scope == (() if by == "refresh" else ("calendar",))
        first = held.refresh()
        assert (first.status_code, first.json()["scope"]) == (200, "openid tasks")
        assert held.refresh().json()["scope"] == "openid tasks", "the same to a retry"
    assert events_of(caplog.records).count("link.scope_narrowed") == 1
    pass_time(LIFETIME + 1)
    order_fault(base, "openid", "token", "set", {"scope": "openid profile email calendar tasks"})
    later = refresh(client, first.json()["refresh_token"])
    assert (later.status_code, later.json()["scope"]) == (200, "openid tasks")
    assert held.grant.missing_scope == ("calendar",)


def test_a_person_is_asked_for_what_the_provider_granted(base: str) -> None:
    """And what he agreed to is not more than he saw."""
    client = register(base, providers=("openid",), scope=WITH_CALENDAR, first_party=False)
    login = Login(client)
    page = login.browser.follow(
        login.browser.get(login.callback_url(scope="openid calendar")), stop=(client.redirect_uri,)
    )
    assert "calendar" not in page.text
    login.read_answer(login.browser.submit(page, {"decision": "allow"}))
    assert login.tokens()["scope"] == "openid"
    order_fault(base, "openid", "token", "set", {"scope": "openid profile email calendar"})
    wider = Login(client)
    page = wider.browser.follow(
        wider.browser.get(wider.callback_url(scope="openid calendar")), stop=(client.redirect_uri,)
    )
    assert (page.status_code, "calendar" in page.text) == (200, True)


# -- events that cannot be published -------------------------------------------------------------------------------


def _unreachable(*_: object, **__: object) -> None:
    raise EndpointConnectionError(endpoint_url="https://events.example")


@pytest.mark.parametrize("how", ["unreachable", "refused", "one entry refused", "slow", "no bus"])
def test_an_event_that_fails_changes_no_answer(
    base: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    held = broken(base)
    client = aws.client("events", timeout=1.0, attempts=1)
    if how == "one entry refused":
        answer = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
        monkeypatch.setattr(client, "put_events", lambda **_: answer)
    elif how in ("refused", "no bus"):
        bus = "" if how == "no bus" else "another-bus"
        monkeypatch.setattr(runtime(), "settings", replace(runtime().settings, event_bus=bus))
    elif how == "slow":
        monkeypatch.setattr(client, "put_events", lambda **_: threading.Event().wait(3))
    else:
        monkeypatch.setattr(client, "put_events", _unreachable)
    began = time.monotonic()
    with caplog.at_level(logging.INFO):
        answer_of_broker = held.refresh()
    assert (answer_of_broker.status_code, answer_of_broker.json()["error"]) == (400, "invalid_grant")
    assert time.monotonic() - began < 2.5
    assert "link.reconnect_required" in events_of(caplog.records)
    failures = [record for record in caplog.records if getattr(record, "audit", "") == "event.failed"]
    expected = [] if how == "no bus" else ["Link Reconnect Required"]
    assert [record.kind for record in failures] == expected  # type: ignore[attr-defined]


def test_a_recovery_that_cannot_be_noted_or_told_keeps_no_token_back(
    base: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = broken(base)
    parameters = reconnect_parameters(held.refresh())
    original = runtime().grants.mark_recovered

    def unavailable(*_: object, **__: object) -> None:
        raise StoreUnavailable("ordered by a test")

    for broken_part, name in (
        (runtime().grants, "mark_recovered"),
        (aws.client("events", timeout=1.0, attempts=1), "put_events"),
    ):
        monkeypatch.setattr(runtime().grants, "mark_recovered", original)
        monkeypatch.setattr(broken_part, name, unavailable if name == "mark_recovered" else _unreachable)
        caplog.clear()
        with caplog.at_level(logging.INFO):
            again = reconnected(held, parameters)
        assert again.userinfo().status_code == 200
        assert events_of(caplog.records).count("event.failed") == 1
    assert held.grant.recovered_by == again.grant_id


def test_a_store_that_is_down_ends_no_login_and_tells_nobody(base: str, bus: Subscriber) -> None:
    held = broken(base)
    with store_refuses("UpdateItem", "ProvisionedThroughputExceededException"):
        answer = held.refresh()
    assert (answer.status_code, "reconnect_url" in answer.json()) == (503, False)
    assert (held.grant.stage, bus.received()) == ("active", [])
    assert "reconnect_url" in held.refresh().json()
    assert len(bus.received()) == 1


def test_the_example_of_the_document_fits_its_schema_and_rule() -> None:
    example, rule = documented("Example"), documented("Rule")
    jsonschema.validate(example["detail"], documented("Schema"))
    assert example["source"] in rule["source"]
    assert example["detail-type"] in rule["detail-type"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(example["detail"] | {"access_token": "x"}, documented("Schema"))
