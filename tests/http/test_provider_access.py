"""A provider's token and its API for clients: one refresh for all who ask at once, no token in any log, limits, odd providers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import requests

from broker import clock, invocation
from broker.endpoints import proxy
from broker.grants import vault
from broker.limiter import Limiter
from broker.protocol.limits import Limit
from broker.protocol.token_exchange import GRANT_TYPE
from broker.runtime import runtime
from broker.store.aws import client
from broker.store.counters import Counters
from broker.upstream.api import ApiAnswer, call_api
from broker.upstream.transport import Deadline
from broker_local.server import LocalBroker
from broker_testing.journey import Login, TestClient, post_form, refresh, register
from broker_testing.parallel import at_once
from broker_testing.proxy import ALLOWED, EXCHANGING, PROVIDER, REACHING, call, exchange, provider_with
from broker_testing.sandbox import counted, end_at_provider, forget_faults, order_fault, start_counting
from broker_testing.signing import DPoPKey
from broker_testing.trouble import pass_time
from broker_testing.wire import disguises, tapped

MANY = 20
DAY = 86400


@pytest.fixture
def api(base: str) -> Iterator[str]:
    """A broker whose provider's API may be called."""
    with provider_with(api_allow=list(ALLOWED)):
        yield base


def token_of(client_: TestClient, provider: str | None = None) -> str:
    return str(Login(client_, provider).tokens()["access_token"])


# -- at once -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passed", [7190, 7201], ids=["due", "expired"])
def test_many_exchanges_at_expiry_are_one_refresh_at_the_provider(base: str, passed: int) -> None:
    """And all of them get the token that it brought, or one that is still good."""
    registered = register(base, access_token_lifetime=DAY, **EXCHANGING)
    token = token_of(registered)
    before = exchange(registered, token).json()["access_token"]
    pass_time(passed)
    start_counting(base, PROVIDER)
    answers = at_once([partial(exchange, registered, token)] * MANY)
    assert [answer.status_code for answer in answers] == [200] * MANY
    assert counted(base, PROVIDER) == {"token:refresh_token": 1}
    given = {answer.json()["access_token"] for answer in answers}
    fresh = given - {before}
    assert len(fresh) == 1
    assert given == fresh or passed < 7200
    assert at_provider(base, fresh.pop()).status_code == 200
    pass_time(7201)
    assert exchange(registered, token).status_code == 200, "the link is alive"


def test_many_calls_with_a_refused_token_are_one_refresh(api: str) -> None:
    registered = register(api, access_token_lifetime=DAY, **REACHING)
    token = token_of(registered)
    pass_time(61)
    end_at_provider(api, PROVIDER, "access")
    start_counting(api, PROVIDER)
    answers = at_once([partial(call, registered, token, "projects")] * MANY)
    assert [answer.status_code for answer in answers] == [200] * MANY
    assert counted(api, PROVIDER)["token:refresh_token"] == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_that_is_always_401_costs_one_renewal_a_minute(api: str, method: str) -> None:
    """One path that refuses every token must not wear out the provider's refresh tokens, nor send a client round and round."""
    registered = register(api, access_token_lifetime=DAY, **REACHING)
    token = token_of(registered)
    order_fault(api, PROVIDER, "api", "status", 401, times=100)
    start_counting(api, PROVIDER)
    assert "reconnect_url" in call(registered, token, "echo", method).json()
    assert counted(api, PROVIDER) == {"api": 1}, "the login is a moment old, and its token with it"
    for _ in range(2):
        pass_time(61)
        start_counting(api, PROVIDER)
        answers = [call(registered, token, "echo", method) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401] * 5
        assert "reconnect_url" in answers[-1].json()
        assert counted(api, PROVIDER)["token:refresh_token"] == 1
    forget_faults(api, PROVIDER)
    assert call(registered, token, "echo", method).status_code == 200


def test_a_refresh_an_exchange_and_calls_at_once(api: str) -> None:
    """Every door to the provider's token shares the one refresh."""
    registered = register(api, access_token_lifetime=DAY, **REACHING | EXCHANGING)
    held = Login(registered).tokens()
    pass_time(7201)
    start_counting(api, PROVIDER)
    doors = [
        partial(refresh, registered, held["refresh_token"]),
        partial(exchange, registered, held["access_token"]),
        partial(call, registered, held["access_token"], "projects"),
    ]
    answers = at_once(doors * 4)
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert counted(api, PROVIDER) == {"token:refresh_token": 1, "api": 4}


def at_provider(base: str, access_token: str) -> requests.Response:
    """What the provider says to its own token."""
    headers = {"authorization": f"Bearer {access_token}"}
    return requests.get(f"{base}/sandbox/{PROVIDER}/api/3/me", headers=headers, timeout=30)


# -- what the token is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "token_type"),
    [
        ("", "Bearer"),
        ("header:Authorization:bearer {access_token}", "Bearer"),
        ("query:access_token", "Bearer"),
        ("query:key", "N_A"),
        ("header:X-Token:{access_token}", "N_A"),
        ("header:Authorization:Token {access_token}", "N_A"),
    ],
)
def test_the_type_says_how_the_api_takes_the_token(base: str, token: str, token_type: str) -> None:
    """RFC 8693 section 2.2.1: N_A for what is no use as RFC 6750 has it."""
    registered = register(base, **EXCHANGING)
    held = token_of(registered)
    with provider_with(api_token=token):
        assert exchange(registered, held).json()["token_type"] == token_type


def test_a_token_without_an_end_or_a_scope_says_so_by_silence(base: str) -> None:
    registered = register(base, **EXCHANGING | {"providers": ("iternio",), "token_exchange": ("iternio",)})
    document = exchange(registered, token_of(registered), audience="iternio").json()
    assert set(document) == {"access_token", "issued_token_type", "token_type"}
    assert (
        exchange(registered, token_of(registered), audience="iternio", scope="get_plan").json()["error"]
        == "invalid_scope"
    )


def test_a_login_ends_with_a_token_that_cannot_be_renewed(base: str) -> None:
    values = {"providers": ("phpapi",), "token_exchange": ("phpapi",), "access_token_lifetime": DAY}
    registered = register(base, **EXCHANGING | values)
    token = token_of(registered)
    assert 3500 < exchange(registered, token, audience="phpapi").json()["expires_in"] <= 3600
    pass_time(3601)
    assert exchange(registered, token, audience="phpapi").json()["error"] == "invalid_request"


def test_an_opaque_subject_token_is_as_good(base: str) -> None:
    registered = register(base, access_token_format="opaque", **EXCHANGING)
    token = token_of(registered)
    assert token.startswith("tba_")
    assert exchange(registered, token).status_code == 200


def test_a_disabled_clients_token_is_no_good_to_its_backend(base: str) -> None:
    resource = "https://backend.example/"
    front = register(base, resources=(resource,), providers=(PROVIDER,))
    back = register(
        base,
        secret=True,
        redirect_uris=(),
        grant_types=(GRANT_TYPE,),
        served_resources=(resource,),
        token_exchange=(PROVIDER,),
    )
    login = Login(front)
    login.parameters["resource"] = resource
    token = login.tokens()["access_token"]
    assert exchange(back, token).status_code == 200
    runtime().registry.remove_client(front.client_id)
    assert exchange(back, token).json()["error"] == "invalid_request"


def test_a_backend_that_serves_the_issuer_gets_no_token_of_another_clients_login(base: str) -> None:
    """It may introspect tokens that name no resource, which is all of most clients' tokens: none of them is meant for it."""
    front = register(base, resources=("https://backend.example/",), providers=(PROVIDER,))
    backend: dict[str, Any] = {
        "secret": True,
        "redirect_uris": (),
        "grant_types": (GRANT_TYPE,),
        "token_exchange": (PROVIDER,),
    }
    back = register(base, served_resources=(base,), **backend)
    token = token_of(front)
    assert exchange(back, token).json()["error"] == "invalid_request"
    told = post_form(f"{base}/introspect", {"token": token} | back.credentials())
    assert told.json()["active"] is True, "what it serves the issuer for"
    both = register(base, served_resources=(base, "https://backend.example/"), **backend)
    assert exchange(both, token).json()["error"] == "invalid_request"
    login = Login(front)
    login.parameters["resource"] = "https://backend.example/"
    assert exchange(both, login.tokens()["access_token"]).status_code == 200


# -- providers whose tokens cannot be renewed ----------------------------------------------------------------------


@pytest.fixture
def without_refresh(base: str) -> Iterator[str]:
    """phpapi gives no refresh tokens; its userinfo is called as an API."""
    with provider_with("phpapi", api_base="{base}/api", api_allow=["GET /userinfo.php"]):
        yield base


def test_a_refused_token_that_cannot_be_renewed_ends_the_login_if_userinfo_refuses_it_too(without_refresh: str) -> None:
    registered = register(without_refresh, providers=("phpapi",), proxy=("phpapi",))
    held = Login(registered).tokens()
    token = held["access_token"]
    assert call(registered, token, "userinfo.php", provider="phpapi").status_code == 200
    end_at_provider(without_refresh, "phpapi", "access")
    answer = call(registered, token, "userinfo.php", provider="phpapi")
    assert (answer.status_code, "reconnect_url" in answer.json()) == (401, True)
    assert refresh(registered, held["refresh_token"]).json()["error"] == "invalid_grant"


def test_one_refused_call_alone_does_not_end_it(without_refresh: str) -> None:
    registered = register(without_refresh, providers=("phpapi",), proxy=("phpapi",))
    token = token_of(registered)
    order_fault(without_refresh, "phpapi", "userinfo", "status", 401)
    answer = call(registered, token, "userinfo.php", provider="phpapi")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    assert "reconnect_url" in answer.json()
    assert call(registered, token, "userinfo.php", provider="phpapi").status_code == 200


# -- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "given"), [(28.0, 15.0), (12.0, 11.0), (1.5, 1.0)])
def test_a_call_gets_the_time_that_there_is(
    api: str, monkeypatch: pytest.MonkeyPatch, left: float, given: float
) -> None:
    """Nothing is kept back for a renewal: one that has too little time left is not begun, so nothing can be lost."""
    registered = register(api, **REACHING)
    token = token_of(registered)
    deadlines: list[float] = []

    def noted(*arguments: Any, deadline: Deadline, **named: Any) -> ApiAnswer:
        deadlines.append(deadline.remaining())
        return call_api(*arguments, deadline=deadline, **named)

    monkeypatch.setattr(proxy, "call_api", noted)
    monkeypatch.setattr(invocation, "seconds_left", lambda: left)
    assert call(registered, token, "projects").status_code == 200
    assert deadlines == [pytest.approx(given, abs=0.2)]


def test_a_late_401_is_answered_without_a_renewal(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registered = register(api, access_token_lifetime=DAY, **REACHING)
    token = token_of(registered)
    pass_time(61)
    end_at_provider(api, PROVIDER, "access")
    start_counting(api, PROVIDER)
    with monkeypatch.context() as patch:
        patch.setattr(invocation, "seconds_left", lambda: vault.refresh_seconds(runtime()) - 1)
        answer = call(registered, token, "projects")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert counted(api, PROVIDER) == {"api": 1}
    assert call(registered, token, "projects").status_code == 200


# -- limits --------------------------------------------------------------------------------------------------------


def limited(**quotas: int) -> Limiter:
    named = {name.replace("__", "."): Limit(quota, 60) for name, quota in quotas.items()}
    return Limiter(Counters(client("dynamodb"), runtime().settings.grants_table), named)


@pytest.fixture
def own_window(base: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Time stands at the beginning of a window, so that all requests of a test are counted in one."""
    del base
    monkeypatch.setattr(clock, "offset", 60 - clock.now() % 60)
    return monkeypatch


@pytest.mark.parametrize("name", ["proxy__login", "proxy__client"])
def test_calls_are_limited_by_login_and_by_client(api: str, own_window: pytest.MonkeyPatch, name: str) -> None:
    first, second = register(api, **REACHING), register(api, **REACHING)
    tokens = [token_of(first), token_of(first), token_of(second)]
    own_window.setitem(runtime().__dict__, "limiter", limited(**{name: 3}))
    answers = [call(first, tokens[0], "forbidden") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [403, 403, 403, 429], "the provider's refusals count once"
    refused = answers[-1]
    assert refused.json()["error"] == "temporarily_unavailable"
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.headers["proxy-status"] == "token-broker; error=proxy_internal_response"
    assert refused.headers["ratelimit"].startswith(f'"{name.replace("__", ".")}";r=0;t=')
    assert answers[0].headers["ratelimit"].startswith(f'"{name.replace("__", ".")}";r=2;t=')
    assert call(first, tokens[1], "forbidden").status_code == (429 if name == "proxy__client" else 403)
    assert call(second, tokens[2], "forbidden").status_code == 403


def test_a_nonce_that_is_asked_for_counts_once(api: str, own_window: pytest.MonkeyPatch) -> None:
    """RFC 9449 section 9: who comes with an old nonce is told the present one, and calls again."""
    login, key = Login(register(api, **REACHING)), DPoPKey()
    login.run()
    url = f"{api}/proxy/{PROVIDER}/projects"
    form = login.code_form() | login.client.credentials()
    for _ in range(2):  # the first time tells the nonce
        answer = key.post(f"{api}/token", form, key.proof("POST", f"{api}/token", iat=clock.now()))
    token = answer.json()["access_token"]
    own_window.setitem(runtime().__dict__, "limiter", limited(proxy__login=8))

    def called(**changes: str | None) -> requests.Response:
        proof = key.proof("GET", url, token, iat=clock.now(), **changes)
        return requests.get(url, headers={"authorization": f"DPoP {token}", "dpop": proof}, timeout=30)

    asked = [called(nonce=None) for _ in range(6)]
    assert {(one.status_code, one.json()["error"]) for one in asked} == {(401, "use_dpop_nonce")}
    assert called().status_code == 200


def test_exchanges_have_a_limit_of_their_own(base: str, own_window: pytest.MonkeyPatch) -> None:
    registered = register(base, **EXCHANGING)
    held = Login(registered).tokens()
    own_window.setitem(runtime().__dict__, "limiter", limited(token__token_exchange__client=2))
    statuses = [exchange(registered, held["access_token"]).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert refresh(registered, held["refresh_token"]).status_code == 200


# -- what is written down ------------------------------------------------------------------------------------------


def events(log: str, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("audit") == name]


def test_the_audit_log_tells_who_had_what_and_nothing_else(api: str, local_broker: LocalBroker) -> None:
    """Not the path, not the query: they may name people and things."""
    registered = register(api, **REACHING | EXCHANGING)
    token = token_of(registered)
    before = len(local_broker.log_text())
    assert exchange(registered, token).status_code == 200
    assert call(registered, token, "tasks/2?planted=query", "DELETE").status_code == 204
    assert call(registered, token, "planted-path", "DELETE").status_code == 403
    assert call(registered, token, "echo", provider="planted-provider").status_code == 403
    log = local_broker.log_text()[before:]
    who = {"client_id": registered.client_id}
    (given,), (called,) = events(log, "upstream.token_given"), events(log, "proxy.called")
    assert who.items() | {("provider", PROVIDER)} <= given.items()
    assert who.items() | {("provider", PROVIDER), ("method", "DELETE"), ("status", 204)} <= called.items()
    refused = events(log, "proxy.refused")
    assert [entry.get("provider") for entry in refused] == [PROVIDER, None]
    assert len({entry["grant_id"] for entry in (given, called, *refused)}) == 1
    ours = "\n".join(line for line in log.splitlines() if '"audit"' in line)
    assert "planted" not in ours


def test_a_write_that_was_not_answered_is_in_the_audit_log(
    api: str, local_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have happened. A call that never left did not, and has no such event."""
    registered = register(api, **REACHING)
    token = token_of(registered)
    monkeypatch.setattr(runtime(), "settings", replace(runtime().settings, proxy_deadline=0.2))
    before = len(local_broker.log_text())
    order_fault(api, PROVIDER, "api", "slow", 0.5)
    assert call(registered, token, "echo", "POST", data=b"x").status_code == 504
    assert call(registered, token, "files/3/download").status_code == 502
    slow, elsewhere = events(local_broker.log_text()[before:], "proxy.called")
    assert (slow["method"], slow["client_id"], "status" in slow) == ("POST", registered.client_id, False)
    assert (elsewhere["method"], elsewhere["status"]) == ("GET", 302)
    before = len(local_broker.log_text())
    with provider_with(api_base="http://127.0.0.1:9/api", api_allow=list(ALLOWED)):
        assert call(registered, token, "echo", "POST", data=b"x").status_code == 502
    assert events(local_broker.log_text()[before:], "proxy.called") == []


def test_no_log_and_no_answer_has_the_providers_token(api: str, local_broker: LocalBroker) -> None:
    """Whatever goes wrong. Only the exchange gives it, to its client."""
    registered = register(api, **REACHING | EXCHANGING)
    before = len(local_broker.log_text())
    with tapped(local_broker) as tap:
        token = token_of(registered)
        given = exchange(registered, token)
        assert given.status_code == 200
        for path in ("projects", "echo", "indiscreet", "files/3/download", "unwelcome", "quota", "nowhere"):
            call(registered, token, path)
        for kind, value in (("status", 500), ("html", 200), ("redirect", "https://evil.example/"), ("truncated", None)):
            order_fault(api, PROVIDER, "api", kind, value)
            call(registered, token, "projects")
        assert exchange(registered, token, scope="more").status_code == 400
        with provider_with(api_token="query:access_token"):
            assert call(registered, token, "projects").status_code == 200
    secret = tap.upstream_secrets()
    assert given.json()["access_token"] in secret
    log = local_broker.log_text()[before:]
    assert [value for value in secret | {token} if any(form in log for form in disguises(value))] == []
    answers = [one.answer_text() for one in tap.exchanges if not one.is_sandbox]
    answers = [text for text in answers if given.json()["access_token"] not in text or "issued_token_type" not in text]
    assert len(answers) > 15
    text = "\n".join(answers)
    assert [value for value in secret if any(form in text for form in disguises(value))] == []
    refresh_tokens = {text for text in secret if base64.b64encode(text.encode()).decode() in given.text}
    assert refresh_tokens == set()
    assert set(given.json()) == {"access_token", "issued_token_type", "token_type", "expires_in", "scope"}
