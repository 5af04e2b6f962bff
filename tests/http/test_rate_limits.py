"""Rate limits: they trip where they should, for whom they should, and cost no round trip in sequence."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
import requests

from broker import clock
from broker.limiter import Limiter, Subject
from broker.protocol.limits import Limit, parse_limits
from broker.runtime import runtime
from broker.store.aws import StoreUnavailable, client
from broker.store.counters import Counters
from broker_testing.journey import Login, TestClient, post_form, refresh, register, revoke, userinfo
from broker_testing.sandbox import counted, forget_faults, order_fault, start_counting
from broker_testing.signing import DPoPKey
from broker_testing.trouble import pass_time

Limits = Callable[..., None]
_hours = itertools.count(1)


@pytest.fixture
def limits(base: str) -> Iterator[Limits]:
    """Sets limits, all others off; each test has an hour of its own, whose windows nobody has counted in."""
    clock.offset = 3600 * next(_hours) - clock.now() % 3600

    def switch_on(**quotas: int) -> None:
        named = {name.replace("__", "."): Limit(quota, 60) for name, quota in quotas.items()}
        counters = Counters(client("dynamodb"), runtime().settings.grants_table)
        runtime().__dict__["limiter"] = Limiter(counters, named)

    before = runtime().limiter
    yield switch_on
    runtime().__dict__["limiter"] = before


def garbage(client_: TestClient, grant_type: str = "refresh_token") -> requests.Response:
    """A refused request."""
    form = {"grant_type": grant_type, "refresh_token": "garbage", "code": "garbage", "code_verifier": "v" * 43}
    return post_form(f"{client_.base}/token", form | client_.credentials())


def test_the_limit_trips_at_its_quota_and_says_when_to_come_back(base: str, limits: Limits) -> None:
    """GEN-141: 429, Retry-After, RateLimit fields, not to be stored; afterwards the window is new."""
    login = Login(register(base, secret=True))
    token = login.tokens()["refresh_token"]
    limits(token__refresh_token__client=3)
    for remaining in (2, 1, 0):
        answer = refresh(login.client, token)
        assert answer.status_code == 200
        assert answer.headers["ratelimit"].startswith(f'"token.refresh_token.client";r={remaining};t=')
        assert answer.headers["ratelimit-policy"] == '"token.refresh_token.client";q=3;w=60'
        token = answer.json()["refresh_token"]
    refused = refresh(login.client, token)
    assert refused.status_code == 429
    assert refused.json() == {
        "error": "temporarily_unavailable",
        "error_description": "too many requests, please come back later",
    }
    assert refused.headers["cache-control"] == "no-store"
    wait = int(refused.headers["retry-after"])
    assert 0 < wait <= 60
    clock.offset += wait
    assert refresh(login.client, token).status_code == 200, "nothing was consumed by the refused request"


def test_failures_count_ten_times(base: str, limits: Limits) -> None:
    guesser = register(base)
    limits(token__refresh_token__address=30)
    assert [garbage(guesser).status_code for _ in range(4)] == [400, 400, 400, 429]


def test_a_nonce_that_is_asked_for_is_no_guess(base: str, limits: Limits) -> None:
    """RFC 9449 section 8: a client without the present nonce is refused once, and many may come from one address."""
    logins = [Login(register(base)) for _ in range(4)]
    for login in logins:
        login.run()
    limits(token__authorization_code__address=30)
    for login in logins:
        key, form = DPoPKey(), login.code_form() | login.client.credentials()
        first = key.post(f"{base}/token", form, key.proof("POST", f"{base}/token", iat=clock.now()))
        assert (first.status_code, first.json()["error"]) == (400, "use_dpop_nonce")
        second = key.post(f"{base}/token", form, key.proof("POST", f"{base}/token", iat=clock.now()))
        assert second.status_code == 200, second.text


def test_unknown_clients_are_counted_by_their_address(base: str, limits: Limits) -> None:
    limits(token__refresh_token__address=20)
    form = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": "nobody"}
    assert [post_form(f"{base}/token", form).status_code for _ in range(3)] == [401, 401, 429]


def test_refreshes_never_block_a_login(base: str, limits: Limits) -> None:
    flooding = register(base)
    limits(token__refresh_token__address=10, token__authorization_code__address=90)
    assert [garbage(flooding).status_code for _ in range(2)] == [400, 429]
    assert Login(flooding).tokens()["access_token"]


def test_another_client_is_unaffected(base: str, limits: Limits) -> None:
    flooding, other = register(base, secret=True), Login(register(base, secret=True))
    token = other.tokens()["refresh_token"]
    limits(token__refresh_token__client=2)
    assert [garbage(flooding).status_code for _ in range(3)] == [400, 400, 429]
    assert refresh(other.client, token).status_code == 200


def test_strangers_codes_do_not_lock_out_a_backend(base: str, limits: Limits) -> None:
    """A backend sends the code that came to its callback, whoever made it: what it is refused is no guess of its own."""
    backend = register(base, secret=True)
    limits(token__authorization_code__address=30, token__authorization_code__client=90)
    assert {garbage(backend, "authorization_code").status_code for _ in range(40)} == {400}
    assert Login(backend).tokens()["access_token"]


def test_a_client_that_registered_itself_is_counted_by_its_address_too(base: str, limits: Limits) -> None:
    """Whoever may register clients could otherwise have as many budgets as he likes."""
    stranger = register(base, secret=True, dynamic=True)
    limits(token__refresh_token__address=20)
    assert [garbage(stranger).status_code for _ in range(3)] == [400, 400, 429]


def test_somebody_who_claims_a_client_id_does_not_use_up_its_budget(base: str, limits: Limits) -> None:
    """A confidential client is counted only once it has proven who it is."""
    victim = Login(register(base, secret=True))
    token = victim.tokens()["refresh_token"]
    limits(token__refresh_token__client=10)
    for _ in range(3):
        form = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": victim.client.client_id}
        assert post_form(f"{base}/token", form | {"client_secret": "wrong"}).status_code == 401
    assert refresh(victim.client, token).status_code == 200


def test_registration_is_limited_by_address(base: str, limits: Limits) -> None:
    limits(register__address=20)
    answers = [requests.post(f"{base}/register", json={}, timeout=30) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [403, 403, 429]
    assert answers[2].headers["ratelimit"].startswith('"register.address";r=0;t=')


def test_browsers_can_read_the_refusal(base: str, limits: Limits) -> None:
    app = register(base)
    limits(token__refresh_token__client=1)
    garbage(app)
    form = {"grant_type": "refresh_token", "refresh_token": "x"} | app.credentials()
    refused = post_form(f"{base}/token", form, headers={"origin": "https://app.example"})
    assert refused.status_code == 429
    assert refused.headers["access-control-allow-origin"] == "https://app.example"
    assert "Retry-After" in refused.headers["access-control-expose-headers"]


def test_instances_share_their_counters(base: str, limits: Limits) -> None:
    """Two limiters on one table, as two function instances have: the second knows of the first after one request."""
    counters = Counters(client("dynamodb"), runtime().settings.grants_table)
    subject = Subject("par.address", "192.0.2.1")
    first, second = (Limiter(counters, {"par.address": Limit(5, 60)}) for _ in range(2))
    for _ in range(5):
        first.finish(first.count((subject,)), failed=False)
    second.check((subject,))
    second.finish(second.count((subject,)), failed=False)
    with pytest.raises(Exception, match="temporarily_unavailable"):
        second.check((subject,))


def test_parallel_requests_are_all_counted(base: str, limits: Limits) -> None:
    counters = Counters(client("dynamodb"), runtime().settings.grants_table)
    with ThreadPoolExecutor(20) as threads:
        totals = list(threads.map(lambda _: counters.add("par.address", "192.0.2.2", 0, 60, 1), range(100)))
    assert sorted(totals) == list(range(1, 101))


def test_a_counter_that_fails_fails_no_request(base: str, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    login = Login(register(base))
    token = login.tokens()["refresh_token"]
    limits(token__refresh_token__client=1)

    def fail(*_: Any) -> int:
        raise StoreUnavailable("throttled")

    monkeypatch.setattr(Counters, "add", fail)
    for _ in range(3):
        answer = refresh(login.client, token)
        assert answer.status_code == 200
        token = answer.json()["refresh_token"]


def test_counting_is_no_step_before_the_request(base: str, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter's write cannot finish before the request's own write has begun, and the answer comes all the same."""
    login = Login(register(base))
    token = login.tokens()["refresh_token"]
    limits(token__refresh_token__client=90, token__refresh_token__address=90)
    rotating = threading.Event()
    overlapped: list[bool] = []
    add, rotate = Counters.add, type(runtime().grants).rotate

    def slow_add(self: Counters, *arguments: Any) -> int:
        overlapped.append(rotating.wait(10))
        return add(self, *arguments)

    def seen_rotate(*arguments: Any, **named: Any) -> Any:
        rotating.set()
        return rotate(*arguments, **named)

    monkeypatch.setattr(Counters, "add", slow_add)
    monkeypatch.setattr(type(runtime().grants), "rotate", seen_rotate)
    assert refresh(login.client, token).status_code == 200
    assert overlapped == [True, True]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("par.client=0/60", "1 to 86400 seconds"),
        ("par.client=60000/60", "500 requests per second"),
        ("par.nobody=1/60", "with one of the names"),
        ("par.client", "write name=quota/seconds"),
    ],
)
def test_a_wrong_setting_is_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_limits(text)


@pytest.mark.usefixtures("limits")
def test_a_wrong_setting_neither_stops_requests_nor_lifts_the_limits(
    base: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = replace(runtime().settings, rate_limits="register.adress=10/3600,par.client=1/60")
    monkeypatch.setattr(runtime(), "settings", wrong)
    del runtime().__dict__["limiter"]
    assert revoke(register(base), "unknown").status_code == 200
    (event,) = [one for one in caplog.records if getattr(one, "audit", "") == "limit.unreadable"]
    assert "'register.adress=10/3600': write name=quota/seconds" in event.__dict__["detail"]
    guesses = [post_form(f"{base}/revoke", {"client_id": "nobody", "token": "x"}).status_code for _ in range(40)]
    assert (guesses[0], guesses[-1]) == (401, 429)


def test_settings_change_single_limits() -> None:
    assert parse_limits("off") == {}
    assert parse_limits("par.client=1/60, register.address=2/3600")["register.address"] == Limit(2, 3600)
    assert parse_limits("par.client=1/60")["par.address"] == Limit(300, 60)


def test_a_large_limit_is_counted_by_samples_and_refusals_in_full(base: str, limits: Limits) -> None:
    """Of a limit of 250 every tenth request is written, for ten; what is refused is written each time."""
    counters = Counters(client("dynamodb"), runtime().settings.grants_table)
    subject, turns = Subject("par.address", "192.0.2.3"), itertools.count()
    limiter = Limiter(counters, {"par.address": Limit(250, 60)}, pick=lambda weight: next(turns) % weight)
    for _ in range(25):
        limiter.finish(limiter.count((subject,)), failed=False)
    assert limiter.headers((subject,))["ratelimit"].startswith('"par.address";r=220;')
    limiter.finish(limiter.count((subject,)), failed=True)
    assert limiter.headers((subject,))["ratelimit"].startswith('"par.address";r=211;')


def test_small_limits_are_counted_one_by_one() -> None:
    assert [Limit(quota, 60).weight for quota in (1, 50, 99, 100, 6000)] == [1, 1, 1, 4, 240]


# -- calls of the provider under the broker's own client -----------------------------------------------------------


def made_up(base: str, client_: TestClient, provider: str) -> tuple[Login, str]:
    """A login that anybody begins, and the callback that he makes of it instead of signing in."""
    login = Login(client_, provider)
    state = parse_qs(urlsplit(login.start().headers["location"]).query)["state"][0]
    return login, f"{base}/callback/{provider}?{urlencode({'code': 'garbage', 'state': state})}"


def test_made_up_codes_of_providers_are_limited_by_address(base: str, limits: Limits) -> None:
    app, provider = register(base, providers=("openid",)), "openid"
    limits(callback__address=2)
    for _ in range(2):
        login, url = made_up(base, app, provider)
        assert login.browser.get(url).status_code == 303
    asked = counted(base, provider)
    login, url = made_up(base, app, provider)
    for _ in range(2):
        refused = login.browser.get(url)
        assert (refused.status_code, refused.headers["content-type"]) == (429, "text/html; charset=utf-8")
        assert "Please reload this page in a moment." in refused.text
        assert "set-cookie" not in refused.headers
    wait = int(refused.headers["retry-after"])
    assert 0 < wait <= 60
    assert counted(base, provider) == asked, "the provider is not called"
    clock.offset += wait
    answer = dict(parse_qsl(urlsplit(login.browser.get(url).headers["location"]).query))
    assert (answer["state"], "error" in answer) == (login.parameters["state"], True), "nothing was consumed"


def test_a_sign_in_that_goes_well_is_not_counted(base: str, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one that the person refuses, or that fails while the provider is down: nobody could make those up."""
    app = register(base, providers=("openid",))
    limits(callback__address=1)
    added: list[str] = []

    def add(_counters: Counters, name: str, *_: object) -> int:
        added.append(name)
        return len(added)

    monkeypatch.setattr(Counters, "add", add)
    for _ in range(2):
        assert Login(app).tokens()["access_token"]
    assert Login(app).run(decision="deny")["error"] == "access_denied"
    order_fault(base, "openid", "token", "status", 503)
    assert Login(app).run()["error"] == "temporarily_unavailable"
    assert added == []


@pytest.mark.parametrize("by", ["client", "login"])
@pytest.mark.parametrize("provider", ["openid", "redbooth"])
def test_userinfo_is_limited_as_the_proxy_is(base: str, limits: Limits, by: str, provider: str) -> None:
    """Each call is one of the provider's, under the client of the operator."""
    app = register(base, providers=(provider,))
    login = Login(app, provider)
    token, other = login.tokens()["access_token"], Login(app, provider).tokens()["access_token"]
    limits(**{f"userinfo__{by}": 2})
    for remaining in (1, 0):
        answer = userinfo(base, token)
        assert answer.status_code == 200
        assert answer.headers["ratelimit"].startswith(f'"userinfo.{by}";r={remaining};t=')
    asked = counted(base, provider)
    headers = {"authorization": f"Bearer {token}", "origin": "https://app.example"}
    refused = requests.get(f"{base}/userinfo", headers=headers, timeout=30)
    assert (refused.status_code, refused.json()["error"]) == (429, "temporarily_unavailable")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.headers["access-control-allow-origin"] == "https://app.example"
    assert counted(base, provider) == asked
    assert userinfo(base, other).status_code == (200 if by == "login" else 429)
    clock.offset += int(refused.headers["retry-after"])
    assert userinfo(base, token).status_code == 200


def test_the_profile_of_a_dialect_is_limited_too(base: str, limits: Limits) -> None:
    app = register(base, providers=("infolobby",), dialect="infolobby")
    headers = {"authorization": f"Bearer {Login(app, 'infolobby').tokens()['access_token']}"}
    limits(userinfo__login=1)
    answers = [requests.get(f"{base}/api/oauth/profile", headers=headers, timeout=30) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429], answers[0].text
    assert 0 < int(answers[1].headers["retry-after"]) <= 60


def test_what_the_provider_refuses_at_userinfo_counts_once(base: str, limits: Limits) -> None:
    token = Login(register(base, providers=("openid",))).tokens()["access_token"]
    limits(userinfo__login=5)
    order_fault(base, "openid", "userinfo", "status", 403)
    assert userinfo(base, token).headers["ratelimit"].startswith('"userinfo.login";r=4;t=')


def test_a_profile_that_is_always_refused_costs_a_refresh_a_minute(base: str) -> None:
    """The first at once, as the login's own token may have ended early; then only one that has been there for a while."""
    token = Login(register(base, providers=("openid",))).tokens()["access_token"]
    order_fault(base, "openid", "userinfo", "status", 401, times=100)
    start_counting(base, "openid")

    def refreshes() -> int:
        assert userinfo(base, token).status_code == 401
        return counted(base, "openid").get("token:refresh_token", 0)

    assert [refreshes() for _ in range(4)] == [1, 1, 1, 1]
    pass_time(61)
    assert [refreshes() for _ in range(3)] == [2, 2, 2]
    forget_faults(base, "openid")
    assert userinfo(base, token).status_code == 200
