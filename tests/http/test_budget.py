"""What a step costs: the round trips to DynamoDB and Secrets Manager of a warm function, counted on the wire.

A login costs its budget and no more, and nobody can make the broker do I/O by making up handles.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jwt
import pytest
import requests

from broker import clock
from broker.encoding import b64url, from_b64url
from broker.runtime import runtime
from broker.store.aws import client
from broker_testing.device import GRANT_TYPE, Device
from broker_testing.journey import Login, TestClient, post_form, refresh, register, revoke, userinfo
from broker_testing.proxy import EXCHANGING, REACHING, call, exchange
from sandbox_provider import clock as sandbox_clock

GRANTS, REGISTRY = "Grants", "Registry"
NOTHING: list[str] = []


@dataclass
class Traffic:
    """The requests that the broker sent to its store and its secrets, retries among them."""

    sent: list[str] = field(default_factory=list)

    def record(self, request: Any, event_name: str, **_details: object) -> None:
        """Called by botocore for every HTTP request, before it is sent."""
        _, service, operation = event_name.split(".")
        body = json.loads(request.body)
        settings = runtime().settings
        names = {settings.grants_table: GRANTS, settings.registry_table: REGISTRY}
        tables = {names[name] for name in _tables(body)} if service == "dynamodb" else {"secrets"}
        self.sent.append(f"{operation} {'+'.join(sorted(tables))}")

    def of(self, act: Callable[[], requests.Response]) -> tuple[requests.Response, list[str]]:
        """The answer, and what was sent for it."""
        self.sent.clear()
        response = act()
        return response, list(self.sent)


def _tables(body: dict[str, Any]) -> Iterator[str]:
    if "TableName" in body:
        yield body["TableName"]
    for entry in body.get("TransactItems", ()):
        yield from (action["TableName"] for action in entry.values())


@pytest.fixture
def traffic(base: str) -> Iterator[Traffic]:
    recorded = Traffic()
    emitters = [client(service).meta.events for service in ("dynamodb", "secretsmanager")]
    for events in emitters:
        events.register("before-send", recorded.record)
    yield recorded
    for events in emitters:
        events.unregister("before-send", recorded.record)


def warm_client(base: str, provider: str, **attributes: Any) -> TestClient:
    """A client whose entry, provider and secrets the broker has read already, and the brand of its pages, as an instance
    under load has."""
    registered = register(base, providers=(provider,), **attributes)
    runtime().brand()
    Login(registered, provider).tokens()
    return registered


# -- the budget ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["infolobby", "phpapi", "redbooth", "iternio"])
def test_a_login_costs_one_two_and_one_round_trips_then_one_each(base: str, traffic: Traffic, provider: str) -> None:
    """authorize 1, callback 2, token 1, userinfo 1, refresh 1; the Registry and the secrets are remembered."""
    login = Login(warm_client(base, provider), provider)
    started, sent = traffic.of(login.start)
    assert (started.status_code, sent) == (303, ["PutItem Grants"])
    url = login.at_provider(started)
    returned, sent = traffic.of(lambda: login.browser.get(url))
    assert sent[0] == "UpdateItem Grants"
    assert sorted(sent[1:]) == ["PutItem Grants", "UpdateItem Grants"]  # at the same time
    login.read_answer(returned)
    redeemed, sent = traffic.of(login.redeem)
    assert (redeemed.status_code, sent) == (200, ["UpdateItem Grants"])
    profile, sent = traffic.of(lambda: userinfo(base, redeemed.json()["access_token"]))
    assert (profile.status_code, sent) == (200, ["Query Grants"])
    for _ in range(2):
        renewed, sent = traffic.of(lambda: refresh(login.client, redeemed.json()["refresh_token"]))
        assert (renewed.status_code, sent) == (200, ["UpdateItem Grants"])


def test_a_due_refresh_costs_a_read_and_the_lease_more(base: str, traffic: Traffic) -> None:
    """Read the provider's token, take the lease, write the new token under it, and only then rotate."""
    held = Login(warm_client(base, "openid"), "openid")
    tokens = held.tokens()
    clock.offset = sandbox_clock.offset = 280  # its tokens live 300 s, and are renewed a tenth of that before
    renewed, sent = traffic.of(lambda: refresh(held.client, tokens["refresh_token"]))
    assert renewed.status_code == 200, renewed.text
    assert [entry for entry in sent if GRANTS in entry] == [
        "Query Grants",
        "UpdateItem Grants",
        "UpdateItem Grants",
        "UpdateItem Grants",
    ]
    following, sent = traffic.of(lambda: refresh(held.client, renewed.json()["refresh_token"]))
    assert (following.status_code, sent) == (200, ["UpdateItem Grants"])
    profile, sent = traffic.of(lambda: userinfo(base, following.json()["access_token"]))
    assert (profile.status_code, sent) == (200, ["Query Grants"])


def test_userinfo_with_a_due_token_costs_the_lease_more(base: str, traffic: Traffic) -> None:
    """Read, take the lease, write the new token under it."""
    held = Login(warm_client(base, "openid"), "openid")
    tokens = held.tokens()
    clock.offset = sandbox_clock.offset = 280
    profile, sent = traffic.of(lambda: userinfo(base, tokens["access_token"]))
    assert profile.status_code == 200, profile.text
    assert [entry for entry in sent if GRANTS in entry] == ["Query Grants", "UpdateItem Grants", "UpdateItem Grants"]
    profile, sent = traffic.of(lambda: userinfo(base, tokens["access_token"]))
    assert (profile.status_code, sent) == (200, ["Query Grants"])


def test_the_providers_token_and_its_api_cost_one_round_trip_each(base: str, traffic: Traffic) -> None:
    """And none for what is refused without a look at the login."""
    may = {name: value for name, value in {**EXCHANGING, **REACHING}.items() if name != "providers"}
    registered = warm_client(base, "redbooth", **may)
    token = str(Login(registered, "redbooth").tokens()["access_token"])
    given, sent = traffic.of(lambda: exchange(registered, token))
    assert (given.status_code, sent) == (200, ["Query Grants"])
    called, sent = traffic.of(lambda: call(registered, token, "me"))
    assert (called.status_code, sent) == (200, ["Query Grants"])
    for refused in (
        partial(exchange, registered, token[:-2]),
        partial(exchange, registered, token, audience=None),
        partial(call, registered, token, "me", provider="infolobby"),
        partial(call, registered, token[:-2], "me"),
        partial(call, registered, token, "..;/me"),
    ):
        answer, sent = traffic.of(refused)
        assert (answer.status_code >= 400, sent) == (True, NOTHING)


def test_a_cold_function_reads_client_provider_and_secrets_once(base: str, traffic: Traffic) -> None:
    """The first request of an instance pays the reads that the next ones are spared."""
    login = Login(warm_client(base, "infolobby"), "infolobby")
    runtime().forget()
    started, sent = traffic.of(login.start)
    assert started.status_code == 303
    assert sorted(sent) == [
        "GetItem Registry",
        "GetItem Registry",
        "GetSecretValue secrets",
        "GetSecretValue secrets",
        "PutItem Grants",
    ]
    again, sent = traffic.of(Login(login.client, "infolobby").start)
    assert (again.status_code, sent) == (303, ["PutItem Grants"])


# -- handles that nobody issued ------------------------------------------------------------------------------------

MALFORMED = (
    "x",
    "tbc_",
    "tbr_",
    "tbc_!",
    "tbr_" + "A" * 100,
    "tbc_" + "A" * 101,
    "tbs_" + "_" * 58,
    "tbc_é",
    "eyJ.eyJ.",
    "..",
)


def flipped(handle: str) -> Iterator[str]:
    """The handle with one byte of it changed, for every byte."""
    prefix, raw = handle[:4], from_b64url(handle[4:])
    for position in range(len(raw)):
        yield prefix + b64url(_with_flipped(raw, position))


def flipped_parts(token: str) -> Iterator[str]:
    """A JWT with one byte of one of its parts changed: every byte of the header and the signature, some of the claims."""
    parts = token.split(".")
    for index, part in enumerate(parts):
        raw = from_b64url(part)
        for position in range(0, len(raw), 7 if index == 1 else 1):
            yield ".".join([*parts[:index], b64url(_with_flipped(raw, position)), *parts[index + 1 :]])


def _with_flipped(raw: bytes, position: int) -> bytes:
    return raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]


def assert_refused_for_nothing(traffic: Traffic, act: Callable[[], requests.Response], status: int, error: str) -> None:
    response, sent = traffic.of(act)
    assert (response.status_code, sent) == (status, NOTHING), response.text
    assert response.json()["error"] == error


def test_a_tampered_code_costs_nothing(base: str, traffic: Traffic) -> None:
    """Every byte of it is under the tag, so a forger reaches no table; the genuine one then works."""
    login = Login(warm_client(base, "infolobby"))
    code = login.run()["code"]
    for forged in (*flipped(code), *MALFORMED):
        assert_refused_for_nothing(traffic, partial(login.redeem, code=forged), 400, "invalid_grant")
    assert login.redeem().status_code == 200


def test_a_tampered_refresh_token_costs_nothing(base: str, traffic: Traffic) -> None:
    """Nor can anybody set off the handling of reuse for a login whose secret he does not hold."""
    login = Login(warm_client(base, "infolobby"))
    token = login.tokens()["refresh_token"]
    for forged in (*flipped(token), *MALFORMED):
        assert_refused_for_nothing(traffic, partial(refresh, login.client, forged), 400, "invalid_grant")
        answer, sent = traffic.of(partial(revoke, login.client, forged))
        assert (answer.status_code, answer.text, sent) == (200, "", NOTHING)  # RFC 7009 section 2.2
    assert refresh(login.client, token).status_code == 200


@pytest.mark.parametrize("form", ["jwt", "opaque"])
def test_a_tampered_access_token_costs_nothing(
    base: str, traffic: Traffic, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither form reaches the table with a changed byte, an end that has passed, or another kind's text. The first of many
    key ids that nobody knows lets the keys be read anew, as one could have been made just now (docs/keys.md)."""
    started = clock.now()
    monkeypatch.setattr(clock, "now", lambda: int(started + clock.offset))
    login = Login(warm_client(base, "infolobby", access_token_format=form))
    token = login.tokens()["access_token"]
    forgeries = flipped_parts(token) if form == "jwt" else list(flipped(token))[::5]
    malformed = [text for text in MALFORMED if text.isascii()]
    if form == "jwt":
        signature = token.rpartition(".")[2]
        unknown = f"{jwt.encode({}, 'k' * 32, 'HS256', {'kid': 'k' * 43}).rpartition('.')[0]}.{signature}"
        assert traffic.of(partial(userinfo, base, unknown))[1] == ["GetSecretValue secrets"]
    for forged in (*forgeries, *malformed):
        assert_refused_for_nothing(traffic, partial(userinfo, base, forged), 401, "invalid_token")
    assert userinfo(base, token).status_code == 200
    clock.offset = runtime().settings.access_token_lifetime + 1
    _, sent = traffic.of(lambda: userinfo(base, token))
    assert [entry for entry in sent if GRANTS in entry] == NOTHING


def test_a_tampered_state_costs_nothing(base: str, traffic: Traffic) -> None:
    """In the redirect, in the cookie, or in both: nothing is read or written, and the genuine answer then works."""
    login = Login(warm_client(base, "infolobby"), "infolobby")
    url = login.callback_url()
    ((name, value),) = [(cookie.name, str(cookie.value)) for cookie in login.browser.session.cookies]
    state, _, secret = value.partition(".")
    assert f"state={state}" in url

    def come_back(in_url: str, in_cookie: str) -> requests.Response:
        cookies = {name: f"{in_cookie}.{secret}"}
        changed = url.replace(f"state={state}", f"state={in_url}")
        return requests.get(changed, cookies=cookies, allow_redirects=False, timeout=30)

    for forged in (*flipped(state), "", "tbs_"):
        for in_url, in_cookie in ((forged, state), (state, forged), (forged, forged)):
            answer, sent = traffic.of(partial(come_back, in_url, in_cookie))
            assert (answer.status_code, sent) == (400, NOTHING)
            assert "location" not in answer.headers
    assert "code" in login.read_answer(come_back(state, state))


def test_one_kind_of_handle_is_no_other(base: str, traffic: Traffic) -> None:
    """A code is no refresh token, a refresh token no access token, and so on: refused without a look at the table."""
    login = Login(warm_client(base, "infolobby"))
    started = login.start()
    state = str(next(iter(login.browser.session.cookies)).value).partition(".")[0]
    login.read_answer(login.browser.get(login.at_provider(started)))
    code = login.answer["code"]
    tokens = login.tokens()
    held = {"code": code, "refresh": tokens["refresh_token"], "access": tokens["access_token"], "state": state}
    relabelled = [
        ("none", prefix + text[4:])
        for prefix in ("tbc_", "tbr_", "tba_", "tbs_")
        for text in held.values()
        if text not in (prefix + text[4:], held["access"])
    ]
    for kind, text in (*held.items(), *relabelled):
        if kind != "code":
            assert_refused_for_nothing(traffic, partial(login.redeem, code=text), 400, "invalid_grant")
        if kind != "refresh":
            assert_refused_for_nothing(traffic, partial(refresh, login.client, text), 400, "invalid_grant")
        if kind != "access":
            assert_refused_for_nothing(traffic, partial(userinfo, base, text), 401, "invalid_token")
    assert userinfo(base, tokens["access_token"]).status_code == 200
    assert refresh(login.client, tokens["refresh_token"]).status_code == 200


def test_a_request_that_is_wrong_in_itself_costs_nothing(base: str, traffic: Traffic) -> None:
    """What can be seen to be wrong without the table is refused without it."""
    login = Login(warm_client(base, "infolobby"), "infolobby")
    wrong: tuple[tuple[str, str | None, int], ...] = (
        ("redirect_uri", "https://evil.example/", 400),
        ("code_challenge", None, 303),
        ("response_type", "token", 303),
    )
    for name, value, status in wrong:
        answer, sent = traffic.of(partial(Login(login.client, "infolobby").start, **{name: value}))
        assert (answer.status_code, sent) == (status, NOTHING), name
        assert (status == 400) or "error=" in answer.headers["location"]
    form = {"grant_type": "password", "username": "johndoe"} | login.client.credentials()
    assert_refused_for_nothing(traffic, lambda: post_form(f"{base}/token", form), 400, "unsupported_grant_type")


def test_more_than_any_client_may_have_costs_nothing(base: str, traffic: Traffic) -> None:
    """Each would be a condition of the write, and one that is too long for DynamoDB looks like a failure of the store."""
    device = Device(register(base, grant_types=(GRANT_TYPE,)))
    registered = warm_client(base, "infolobby")
    tokens, login = Login(registered).tokens(), Login(registered)
    login.run()
    device.begin()
    scope = " ".join(f"s{number}" for number in range(200))
    resources = [f"https://api{number}.example" for number in range(200)]

    def ask(**form: Any) -> requests.Response:
        return requests.post(f"{base}/token", data=form, timeout=30)

    again = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]} | registered.credentials()
    code = {"grant_type": "authorization_code", "code": login.answer["code"]} | registered.credentials()
    poll = {"grant_type": GRANT_TYPE, "device_code": device.answer["device_code"]} | device.client.credentials()
    for form, error in (
        (again | {"scope": scope}, "invalid_scope"),
        (again | {"resource": resources}, "invalid_target"),
        (code | {"code_verifier": login.verifier, "resource": resources}, "invalid_target"),
        (poll | {"resource": resources}, "invalid_target"),
    ):
        answer, sent = traffic.of(partial(ask, **form))
        assert (answer.status_code, answer.json()["error"], sent) == (400, error, NOTHING)
    assert login.redeem().status_code == 200
    assert refresh(registered, tokens["refresh_token"]).status_code == 200
