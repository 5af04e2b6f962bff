"""The callback: the provider's answer comes back with the browser (RFC 6749 section 4.1.2, RFC 9207, RFC 9700 section 4)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import pytest
import requests

from broker_local.server import SANDBOX_CLIENT_SECRET, LocalBroker
from broker_testing.browser import Browser
from broker_testing.conformance import Clients
from broker_testing.journey import CALLBACK, Login, refresh, userinfo
from broker_testing.parallel import at_once
from broker_testing.sandbox import counted, forget_faults, order_fault, start_counting
from broker_testing.trouble import pass_time
from conformance.front_channel import assert_error_redirect, assert_goes_on, assert_refused, issuer_of, query_of

PROVIDER = "openid"
ORDERED = "ordered by a test"
"""In everything that the sandbox says of a fault."""
PROVIDERS = (PROVIDER, "infolobby", "lockitnetwork", "phpapi", "redbooth", "iternio")


@pytest.fixture
def watched(clients: Clients) -> Iterator[str]:
    """The provider, its calls counted from here on and its faults forgotten afterwards."""
    start_counting(clients.base, PROVIDER)
    yield PROVIDER
    forget_faults(clients.base, PROVIDER)


def calls(base: str, provider: str = PROVIDER, endpoint: str = "token") -> list[dict[str, Any]]:
    """The recorded calls of an endpoint."""
    document = requests.get(f"{base}/sandbox/_calls", params={"provider": provider}, timeout=30).json()
    return [call for call in document["calls"] if call["endpoint"] == endpoint]


def with_query(url: str, *changes: tuple[str, str], without: tuple[str, ...] = ()) -> str:
    """The callback URL with parameters taken out and others added."""
    pairs = [(name, value) for name, value in parse_qsl(urlsplit(url).query) if name not in without]
    return f"{url.partition('?')[0]}?{urlencode([*pairs, *changes])}"


def flipped(text: str, index: int) -> str:
    """`text` with one character changed."""
    other = "B" if text[index] != "B" else "C"
    return text[:index] + other + text[index + 1 :]


def cookie_of(login: Login) -> tuple[str, str]:
    """(name, value) of the login's cookie; there is one per login."""
    (cookie,) = login.browser.session.cookies.get_dict().items()
    return cookie


# -- whose login is it ---------------------------------------------------------------------------------------------


@pytest.mark.local_only
@pytest.mark.spec("CB-47", "RFC 9700 4.7")
def test_a_callback_without_a_state_of_ours(clients: Clients, watched: str) -> None:
    login = Login(clients.public)
    back = login.callback_url()
    real = query_of(back)["state"]
    forged, of_a_code = flipped(real, len(real) // 2), "tbc_" + real.removeprefix("tbs_")
    start_counting(clients.base, watched)
    assert_refused(login.browser.get(with_query(back, without=("state",))))
    for state in ("", "x", forged, real[:-4], real + "A", of_a_code, "\0", "x" * 5000):
        assert_refused(login.browser.get(with_query(back, ("state", state), without=("state",))))
    assert counted(clients.base, watched) == {}
    # Nothing of the login was used up.
    login.read_answer(login.browser.get(back))
    assert login.redeem().status_code == 200


@pytest.mark.local_only
@pytest.mark.spec("CB-47", "RFC 9700 4.7")
@pytest.mark.parametrize("position", range(0, 62, 6))
def test_a_state_with_any_part_changed(clients: Clients, position: int) -> None:
    login = Login(clients.public)
    assert_goes_on(login, started := login.start())
    state = query_of(started.headers["location"])["state"]
    changed = flipped(state, position)
    assert_refused(
        login.browser.get(f"{clients.base}/callback/{PROVIDER}?{urlencode({'code': 'x', 'state': changed})}")
    )


@pytest.mark.spec("CB-47", "RFC 9700 4.7")
@pytest.mark.parametrize(
    "query", ["", "?code=x", "?state=x", "?code=x&state=x", "?error=access_denied", "?code=%ff&state=%zz"]
)
@pytest.mark.parametrize("provider", [PROVIDER, "nobody", "..%2f..", "openid%00", "OPENID"])
def test_a_callback_of_no_login(clients: Clients, provider: str, query: str) -> None:
    response = requests.get(f"{clients.base}/callback/{provider}{query}", timeout=30, allow_redirects=False)
    assert response.status_code in (400, 404)
    assert "location" not in response.headers
    assert "set-cookie" not in response.headers
    if response.status_code == 400:
        assert_refused(response)


@pytest.mark.local_only
@pytest.mark.spec("CB-47", "RFC 9700 4.7")
def test_a_login_waits_ten_minutes_for_the_provider(clients: Clients, watched: str) -> None:
    late, in_time = Login(clients.public), Login(clients.public)
    too_late, back = late.callback_url(), in_time.callback_url()
    pass_time(590)
    in_time.answer = query_of(in_time.browser.get(back).headers["location"])
    assert "code" in in_time.answer or in_time.answer["error"] == "server_error"
    pass_time(11)
    start_counting(clients.base, watched)
    assert_refused(late.browser.get(too_late))
    assert counted(clients.base, watched) == {}


@pytest.mark.local_only
@pytest.mark.spec("CB-48", "RFC 9700 4.7", "RFC 6749 10.12")
def test_a_state_is_good_in_its_own_browser_alone(clients: Clients, watched: str) -> None:
    login, victim = Login(clients.public), Login(clients.public)
    back = login.callback_url()
    victim.start()
    name, value = cookie_of(login)
    state, _, secret = value.partition(".")
    jars: tuple[dict[str, str], ...] = (
        {},
        dict([cookie_of(victim)]),
        {name: cookie_of(victim)[1]},
        {name: f"{state}.{flipped(secret, 5)}"},
        {name: f"{state}."},
        {name: state},
        {name: ""},
    )
    start_counting(clients.base, watched)
    for jar in jars:
        other = Browser()
        other.session.cookies.update(jar)
        assert_refused(other.get(back))
    assert counted(clients.base, watched) == {}
    login.read_answer(login.browser.get(back))
    assert login.redeem().status_code == 200


@pytest.mark.spec("CB-48", "RFC 9700 4.7")
def test_the_cookie_of_one_login_does_not_open_another_in_the_same_browser(clients: Clients) -> None:
    first = Login(clients.public)
    second = Login(clients.public, browser=first.browser)
    first_back, second_back = first.callback_url(), second.callback_url()
    stolen = with_query(second_back, ("state", query_of(first_back)["state"]), without=("state",))
    first.read_answer(first.browser.get(first_back))
    assert_refused(first.browser.get(stolen))
    # Two tabs: both logins end well.
    second.read_answer(second.browser.get(second_back))
    assert first.redeem().status_code == 200
    assert second.redeem().status_code == 200


@pytest.mark.spec("CB-48", "RFC 6265bis 4.1.3")
def test_the_login_cookie_is_kept_from_scripts_and_from_other_hosts(clients: Clients) -> None:
    started = Login(clients.public).start()
    attributes = {part.strip().lower() for part in started.headers["set-cookie"].split(";")[1:]}
    assert {"path=/", "httponly", "samesite=lax"} <= attributes
    assert not [attribute for attribute in attributes if attribute.startswith("domain")]
    assert ("secure" in attributes) == clients.base.startswith("https:")
    assert started.headers["set-cookie"].startswith("__Host-") == clients.base.startswith("https:")


@pytest.mark.local_only
@pytest.mark.spec("CB-49", "RFC 9700 4.7")
def test_a_callback_counts_once(clients: Clients, watched: str) -> None:
    login = Login(clients.public)
    back = login.callback_url()
    cookies = dict([cookie_of(login)])
    start_counting(clients.base, watched)
    login.read_answer(login.browser.get(back))
    again = Browser()
    again.session.cookies.update(cookies)
    assert_refused(again.get(back))
    assert counted(clients.base, watched) == {"token:authorization_code": 1, "userinfo": 1}
    assert login.redeem().status_code == 200


@pytest.mark.spec("CB-49", "RFC 9110 9.2.1")
def test_looking_at_a_callback_does_not_use_it_up(clients: Clients) -> None:
    """HEAD is what programs send ahead of a link."""
    login = Login(clients.public)
    back = login.callback_url()
    looked = login.browser.session.head(back, allow_redirects=False, timeout=30)
    assert (looked.status_code, looked.content) == (400, b"")
    assert not {"location", "set-cookie"} & {name.lower() for name in looked.headers}
    login.read_answer(login.browser.get(back))
    assert login.redeem().status_code == 200


@pytest.mark.local_only
@pytest.mark.spec("CB-49", "RFC 9700 4.7")
def test_a_callback_ten_times_at_once(clients: Clients, watched: str) -> None:
    login = Login(clients.public)
    back = login.callback_url()
    name, value = cookie_of(login)
    start_counting(clients.base, watched)

    def come_back() -> requests.Response:
        return requests.get(back, headers={"cookie": f"{name}={value}"}, allow_redirects=False, timeout=30)

    responses = at_once([come_back] * 10)
    (answered,) = [response for response in responses if response.status_code == 303]
    for response in responses:
        if response is not answered:
            assert_refused(response)
    assert counted(clients.base, watched) == {"token:authorization_code": 1, "userinfo": 1}
    login.read_answer(answered)
    assert login.redeem().status_code == 200


@pytest.mark.local_only
@pytest.mark.spec("CB-53", "RFC 9700 4.4")
def test_a_login_does_not_end_at_the_callback_of_another_provider(clients: Clients, watched: str) -> None:
    login = Login(clients.public)
    back = login.callback_url()
    state = query_of(back)["state"]
    for provider in PROVIDERS:
        start_counting(clients.base, provider)
    for other in PROVIDERS[1:]:
        mixed_up = back.replace(f"/callback/{PROVIDER}", f"/callback/{other}")
        assert_refused(login.browser.get(with_query(mixed_up, ("txn", state))))
    assert [counted(clients.base, provider) for provider in PROVIDERS] == [{}] * len(PROVIDERS)
    login.read_answer(login.browser.get(back))
    assert login.redeem().status_code == 200


# -- what the provider says ----------------------------------------------------------------------------------------


@pytest.mark.spec("CB-50", "RFC 6749 4.1.2.1", "RFC 9207 2")
@pytest.mark.parametrize("kind", ["public", "infolobby", "lockitnetwork", "phpapi", "redbooth", "iternio"])
def test_a_refusal_reaches_the_client(clients: Clients, kind: str) -> None:
    login = Login(clients.of_kind(kind))
    back = login.callback_url(decision="deny")
    answer = assert_error_redirect(login, login.browser.get(back), "access_denied")
    assert set(answer) == {"error", "error_description", "state", "iss"}
    # It is used up like any other answer.
    assert_refused(login.browser.get(back))


@pytest.mark.local_only
@pytest.mark.spec("CB-51", "RFC 6749 4.1.2.1")
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("server_error", "server_error"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("invalid_scope", "invalid_scope"),
        ("unauthorized_client", "unauthorized_client"),
        ("login_required", "login_required"),
        ("interaction_required", "interaction_required"),
        ("account_selection_required", "account_selection_required"),
        ("consent_required", "consent_required"),
        ("invalid_client", "server_error"),
        ("invalid_request", "server_error"),
        ("something_else", "server_error"),
        ("<script>", "server_error"),
    ],
)
def test_an_error_of_the_provider_in_our_words(clients: Clients, watched: str, said: str, told: str) -> None:
    login = Login(clients.public)
    order_fault(clients.base, watched, "authorize", "error", said)
    back = login.browser.get(login.start().headers["location"]).headers["location"]
    assert query_of(back)["error"] == said
    answer = assert_error_redirect(login, login.browser.get(back), told)
    assert ORDERED not in answer["error_description"]
    assert "<" not in answer["error_description"]
    assert counted(clients.base, watched).get("token:authorization_code", 0) == 0


@pytest.mark.local_only
@pytest.mark.spec("CB-51", "RFC 6749 4.1.2.1")
@pytest.mark.parametrize("endpoint", ["token", "userinfo"])
@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("status", 500, "temporarily_unavailable"),
        ("status", 503, "temporarily_unavailable"),
        ("rate_limit", 30, "temporarily_unavailable"),
        ("html", 200, "server_error"),
        ("empty", None, "server_error"),
        ("truncated", None, "server_error"),
        ("json", [], "server_error"),
        ("json", {}, "server_error"),
        ("redirect", "https://evil.example/", "server_error"),
        ("big", None, "server_error"),
        ("error", "invalid_client", "server_error"),
        ("error", "something_else", "server_error"),
    ],
)
def test_an_exchange_that_fails(
    clients: Clients, watched: str, endpoint: str, kind: str, value: object, told: str
) -> None:
    login = Login(clients.public)
    back = login.callback_url()
    order_fault(clients.base, watched, endpoint, kind, value, times=5)
    start_counting(clients.base, watched)
    answer = assert_error_redirect(login, login.browser.get(back), told)
    assert ORDERED not in answer.get("error_description", "")
    # A code is never exchanged twice, whatever happened to the first attempt.
    assert counted(clients.base, watched)["token:authorization_code"] == 1
    assert_refused(login.browser.get(back))


@pytest.mark.local_only
@pytest.mark.spec("CB-55", "RFC 6749 3.1")
@pytest.mark.parametrize(
    "what", ["code and error", "two codes", "two errors", "two states", "neither", "empty code", "odd code"]
)
def test_an_answer_that_contradicts_itself(clients: Clients, watched: str, what: str) -> None:
    login = Login(clients.public)
    back = login.callback_url()
    sent = query_of(back)
    changed = {
        "code and error": with_query(back, ("error", "access_denied")),
        "two codes": with_query(back, ("code", "another")),
        "two errors": with_query(back, ("error", "a"), ("error", "b"), without=("code",)),
        "two states": with_query(back, ("state", sent["state"])),
        "neither": with_query(back, without=("code",)),
        "empty code": with_query(back, ("code", ""), without=("code",)),
        "odd code": with_query(back, ("code", "a\x00\n\x7f"), without=("code",)),
    }[what]
    start_counting(clients.base, watched)
    response = login.browser.get(changed)
    assert counted(clients.base, watched) == {}
    if response.status_code == 400:
        assert_refused(response)
        return
    assert_error_redirect(login, response, "server_error")
    assert_refused(login.browser.get(back))
    assert counted(clients.base, watched) == {}


@pytest.mark.local_only
@pytest.mark.spec("CB-56", "RFC 9700 2.1.1", "RFC 7636 4.5", "RFC 6749 4.1.3")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_code_is_exchanged_as_the_provider_wants_it(clients: Clients, provider: str) -> None:
    login = Login(clients.public if provider == PROVIDER else clients.of_kind(provider))
    started = login.start()
    asked = query_of(started.headers["location"])
    assert SANDBOX_CLIENT_SECRET not in unquote(started.headers["location"])
    assert asked["redirect_uri"].partition("?")[0] == f"{issuer_of(clients.base)}/callback/{provider}"
    back = login.at_provider(started)
    start_counting(clients.base, provider)
    login.read_answer(login.browser.get(back))
    (call,) = calls(clients.base, provider)
    assert (call["method"], call["status"]) == ("POST", 200)
    assert call["auth"] in ("body", "basic"), "no secret in a URL"
    assert len(set(call["parameters"])) == len(call["parameters"])
    # The sandbox answers 200 only for the redirect URI and the verifier that belong to the code.
    if provider == PROVIDER:
        assert asked["code_challenge_method"] == "S256"
        assert {"code", "code_verifier", "grant_type", "redirect_uri"} <= set(call["parameters"])
    if provider == "phpapi":
        assert not {"grant_type", "redirect_uri"} & set(call["parameters"])


@pytest.mark.spec("CB-56", "RFC 7636 4.1")
def test_every_login_has_its_own_challenge_and_state_upstream(clients: Clients) -> None:
    sent = [query_of(Login(clients.public).start().headers["location"]) for _ in range(5)]
    for name in ("code_challenge", "state", "nonce"):
        assert len({asked[name] for asked in sent}) == len(sent), name
    assert {len(asked["code_challenge"]) for asked in sent} == {43}


@pytest.mark.local_only
@pytest.mark.spec("CB-57", "OpenID Core 5.3.2")
def test_claims_about_somebody_else_are_refused(clients: Clients, watched: str) -> None:
    tokens = Login(clients.public).tokens()
    mine = userinfo(clients.base, tokens["access_token"]).json()
    order_fault(clients.base, watched, "userinfo", "set", {"sub": "666", "name": "Somebody Else"})
    response = userinfo(clients.base, tokens["access_token"])
    assert response.status_code >= 400
    assert "Somebody Else" not in response.text
    assert userinfo(clients.base, tokens["access_token"]).json() == mine


# -- the code ------------------------------------------------------------------------------------------------------


@pytest.mark.spec("CB-58", "RFC 6749 10.10")
def test_a_code_cannot_be_guessed_and_fits_into_a_url(clients: Clients) -> None:
    codes = [Login(clients.public).run()["code"] for _ in range(5)]
    for code in codes:
        assert re.fullmatch(r"[A-Za-z0-9_-]{43,}", code)
    # 128 bits and more differ between any two: of 43 characters and more of base64url, far over 21.
    for one in codes:
        for other in codes:
            if one is not other:
                assert sum(a != b for a, b in zip(one, other, strict=True)) > 22


@pytest.mark.local_only
@pytest.mark.spec("CB-58", "RFC 6749 4.1.2")
def test_a_code_lives_a_minute_and_is_nobody_elses_value(
    clients: Clients, watched: str, local_broker: LocalBroker
) -> None:
    early, late = Login(clients.public), Login(clients.public)
    start_counting(clients.base, watched)
    early.run()
    (call,) = calls(clients.base)
    assert hashlib.sha256(early.answer["code"].encode()).hexdigest() != call["code_sha256"]
    late.run()
    pass_time(50)
    assert early.redeem().status_code == 200
    pass_time(11)
    expired = late.redeem()
    assert (expired.status_code, expired.json()["error"]) == (400, "invalid_grant")
    log = local_broker.log_text()
    assert early.answer["code"] not in log
    assert late.answer["code"] not in log


@pytest.mark.spec("CB-60", "RFC 9700 4.2")
@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_the_answer_is_not_stored_and_ends_the_login_in_the_browser(clients: Clients, decision: str) -> None:
    login = Login(clients.public)
    back = login.callback_url(decision=decision)
    name, _ = cookie_of(login)
    response = login.browser.get(back)
    login.read_answer(response)
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["location"].startswith(f"{CALLBACK}?")
    assert re.match(rf"{re.escape(name)}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax", response.headers["set-cookie"])
    assert len(login.browser.session.cookies) == 0


# -- secrets of the provider ---------------------------------------------------------------------------------------


def digests_of(text: str) -> set[str]:
    """SHA-256 of everything in a text that may be a token, also inside its JWTs and percent-encoding."""
    words = set(re.findall(r"[A-Za-z0-9._~+/=-]{12,}", f"{text} {unquote(text)}"))
    parts = {part for word in words for part in re.split(r"[.=]", word) if len(part) >= 12}
    inside = " ".join(from_base64url(part) for part in parts if len(part) % 4 != 1)
    words |= parts | set(re.findall(r"[A-Za-z0-9._~-]{12,}", inside))
    return {hashlib.sha256(word.encode()).hexdigest() for word in words}


def from_base64url(text: str) -> str:
    """What is in there, read byte by byte."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("latin-1")


def shown(*responses: requests.Response) -> str:
    """All that answers of the broker show: headers and bodies."""
    return "\n".join(f"{response.headers}\n{response.text}" for response in responses)


@pytest.mark.local_only
@pytest.mark.spec("CB-59", "RFC 9700 4.3")
def test_nothing_of_the_provider_shows_in_answers_or_logs(
    clients: Clients, watched: str, local_broker: LocalBroker
) -> None:
    logged = len(local_broker.log_text())
    login = Login(clients.public)
    started = login.start()
    back = login.at_provider(started)
    returned = login.browser.get(back)
    login.read_answer(returned)
    redeemed = login.redeem()
    pass_time(290)
    renewed = refresh(login.client, redeemed.json()["refresh_token"])
    profile = userinfo(clients.base, renewed.json()["access_token"])
    assert profile.status_code == 200
    recorded = [call for endpoint in ("token", "userinfo") for call in calls(clients.base, endpoint=endpoint)]
    kinds = ("code_sha256", "access_token_sha256", "refresh_token_sha256")
    secrets = {call[kind] for call in recorded for kind in kinds} - {""}
    assert len(secrets) >= 4, "a code, a refresh token and two access tokens"
    assert digests_of(back) & secrets, "the provider's code is recognised where it is"
    seen = shown(started, returned, redeemed, renewed, profile) + local_broker.log_text()[logged:]
    assert not digests_of(seen) & secrets
    assert SANDBOX_CLIENT_SECRET not in seen
