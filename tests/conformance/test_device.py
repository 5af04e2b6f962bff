"""The device authorization grant: RFC 8628, from the device's request to its tokens, with a person's browser in between."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import pytest
import requests

from broker import clock
from broker_testing.browser import Browser, forms
from broker_testing.conformance import RESOURCE, Clients
from broker_testing.device import GRANT_TYPE, Device, Person, inputs, is_question, labelled
from broker_testing.journey import Login, post_form, refresh, register, userinfo
from broker_testing.parallel import at_once
from broker_testing.sandbox import counted, forget_faults, order_fault, start_counting
from broker_testing.trouble import pass_time, store_refuses
from conformance.front_channel import assert_page, query_of
from conformance.wire import (
    assert_alive,
    assert_dead,
    assert_error,
    assert_goes_on,
    assert_invalid_client,
    assert_method_not_allowed,
    assert_tokens,
    assert_unavailable,
    verified,
)

INTERVAL = 5
ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
DAY = 86400


def assert_pending(response: requests.Response) -> None:
    """The device is told to go on."""
    assert_error(response, 400, "authorization_pending")


# -- the device's request ------------------------------------------------------------------------------------------


@pytest.mark.spec("TOK-90", "RFC 8628 3.2")
@pytest.mark.parametrize("kind", ["device", "device_confidential"])
def test_the_answer_to_a_device(clients: Clients, kind: str) -> None:
    response = Device(clients.of_kind(kind)).ask()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    answer = response.json()
    assert set(answer) == {
        *("device_code", "user_code", "verification_uri", "verification_uri_complete", "expires_in", "interval")
    }
    assert re.fullmatch(f"[{ALPHABET}]{{4}}-[{ALPHABET}]{{4}}", answer["user_code"])
    assert answer["verification_uri"] == f"{clients.base}/device"
    assert answer["verification_uri_complete"] == f"{clients.base}/device?user_code={answer['user_code']}"
    assert answer["device_code"].startswith("tbd_")
    assert type(answer["expires_in"]) is int
    assert type(answer["interval"]) is int


@pytest.mark.spec("TOK-90", "RFC 8628 4")
def test_it_is_announced(clients: Clients) -> None:
    metadata = requests.get(f"{clients.base}/.well-known/oauth-authorization-server", timeout=30).json()
    assert metadata["device_authorization_endpoint"] == f"{clients.base}/device_authorization"
    assert "urn:ietf:params:oauth:grant-type:device_code" in metadata["grant_types_supported"]


@pytest.mark.spec("TOK-90", "RFC 8628 3.1", "RFC 6749 5.2")
def test_requests_that_are_wrong(clients: Clients) -> None:
    device = Device(clients.device)
    assert_error(device.ask(scope="openid admin"), 400, "invalid_scope")
    assert_error(device.ask(resource="https://other.example/"), 400, "invalid_target")
    assert_error(device.ask(provider="nobody"), 400, "invalid_request")
    assert_invalid_client(device.ask(client_id="nobody"))
    assert_error(device.ask(client_id=None), 401, "invalid_client")
    assert_invalid_client(Device(clients.device_confidential).ask(client_secret="wrong"))
    assert_error(Device(clients.public).ask(), 400, "unauthorized_client")
    url = f"{clients.base}/device_authorization"
    assert_method_not_allowed(requests.get(url, timeout=30), "POST")
    assert_error(requests.post(url, json={"client_id": clients.device.client_id}, timeout=30), 400, "invalid_request")
    twice = f"client_id={clients.device.client_id}&scope=openid&scope=profile"
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert_error(requests.post(url, data=twice, headers=form, timeout=30), 400, "invalid_request")


@pytest.mark.spec("TOK-66", "TOK-90", "RFC 6749 5.2")
def test_a_client_without_the_grant_may_not_poll(clients: Clients) -> None:
    device = Device(clients.device).begin()
    assert_error(device.poll(client_id=clients.public.client_id), 400, "unauthorized_client")


# -- the whole way -------------------------------------------------------------------------------------------------


@pytest.mark.spec("TOK-90", "RFC 8628 3.5", "RFC 6749 5.1")
@pytest.mark.parametrize("kind", ["device", "device_infolobby", "device_redbooth", "device_confidential"])
def test_a_device_is_let_in(clients: Clients, kind: str) -> None:
    """Pending until the person is back from the provider; then tokens that work, and are renewed."""
    client, person = clients.of_kind(kind), Person(clients.base)
    device = Device(client).begin()
    done = person.approve(device.user_code)
    assert_page(done, 200)
    assert "go back to your device" in done.text
    tokens = assert_tokens(device.poll())
    claims = assert_alive(client, tokens["access_token"])
    identity = verified(clients.base, tokens["id_token"], audience=client.client_id, typ="JWT")
    assert identity["sub"] == claims["sub"]
    assert "nonce" not in identity
    assert tokens["scope"] == "openid profile email"
    renewed = assert_goes_on(client, tokens["refresh_token"])
    assert renewed["refresh_token"] != tokens["refresh_token"]


@pytest.mark.local_only
@pytest.mark.spec("TOK-90", "RFC 8628 3.5")
def test_pending_at_every_stage(clients: Clients) -> None:
    device, person = Device(clients.device).begin(), Person(clients.base)
    assert_pending(device.poll())
    question = person.enter(device.user_code)
    pass_time(INTERVAL)
    assert_pending(device.poll())
    at_provider = person.decide(question, "allow")
    pass_time(INTERVAL)
    assert_pending(device.poll())
    back = person.callback_url(at_provider)
    pass_time(INTERVAL)
    assert_pending(device.poll())
    assert_page(person.browser.get(back), 200)
    # What is ready is given at once, even if the device asks too soon.
    assert_tokens(device.poll())


@pytest.mark.spec("TOK-90", "RFC 8628 3.3")
@pytest.mark.parametrize(
    "spell", [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code[:2]} {code[2:]}. "]
)
def test_the_code_may_be_typed_in_any_way(clients: Clients, spell: object) -> None:
    assert callable(spell)
    device = Device(clients.device).begin()
    assert is_question(Person(clients.base).enter(spell(device.user_code)))


@pytest.mark.spec("TOK-90", "RFC 8628 3.3.1")
def test_the_link_with_the_code_only_fills_it_in(clients: Clients) -> None:
    """A mail scanner or preloading browser that follows the link has done nothing; the person still sees the question."""
    device, person = Device(clients.device).begin(), Person(clients.base)
    page = person.open_page(device.answer["verification_uri_complete"])
    assert_page(page, 200)
    assert not is_question(page)
    (form,) = forms(page)
    assert form.fields["user_code"] == device.user_code
    question = person.browser.submit(page, {})
    assert is_question(question)
    assert device.user_code in question.text
    assert_pending(device.poll())


@pytest.mark.spec("TOK-90", "AUTHZ-40", "AUTHZ-41", "RFC 8628 5.4")
def test_the_question(clients: Clients) -> None:
    """Who asks, for what, and the warning; nothing in a client's name is markup."""
    device, person = Device(clients.device_third_party).begin(scope="openid email"), Person(clients.base)
    entry = person.open_page()
    assert_page(entry, 200)
    (code,) = (field for field in inputs(entry) if field["name"] == "user_code")
    assert code["id"] in labelled(entry)
    assert (code["autocomplete"], code["inputmode"]) == ("off", "text")
    assert "autofocus" in code
    question = person.browser.submit(entry, {"user_code": device.user_code})
    text = assert_page(question, 200)
    assert "A &lt;b&gt;device&lt;/b&gt;" in text
    assert "<b>device" not in text
    assert "in front of you" in text
    assert "e-mail address" in text
    done = person.browser.get(person.callback_url(person.decide(question, "allow")))
    assert_page(done, 200)  # no second question on the way back
    assert_tokens(device.poll())


@pytest.mark.local_only
@pytest.mark.spec("TOK-90", "RFC 8628 5.4")
@pytest.mark.parametrize(
    ("providers", "words"),
    [
        (("openid",), "Use your account at <bdi>"),
        (("openid", "infolobby"), "Use your account on your behalf"),
    ],
)
def test_the_question_says_that_the_account_may_be_used(
    clients: Clients, providers: tuple[str, ...], words: str
) -> None:
    client = register(clients.base, grant_types=(GRANT_TYPE,), providers=providers, proxy=("openid",))
    device, person = Device(client).begin(scope="openid"), Person(clients.base)
    text = assert_page(person.enter(device.user_code), 200)
    assert words in text
    assert "nothing but that you have signed in" not in text


@pytest.mark.spec("TOK-90", "RFC 8628 3.3")
def test_the_person_chooses_the_provider(clients: Clients) -> None:
    client, person = clients.device_multi_provider, Person(clients.base)
    device = Device(client).begin()
    question = person.enter(device.user_code)
    choice = {field["value"] for field in inputs(question) if field["name"] == "provider"}
    assert choice == {"openid", "infolobby"}
    for wrong in ({}, {"provider": "redbooth"}):
        again = person.decide(question, "allow", **wrong)
        assert_page(again, 400)
        assert is_question(again)
    assert_page(person.approve(device.user_code, provider="infolobby"), 200)
    tokens = assert_tokens(device.poll())
    assert str(assert_alive(client, tokens["access_token"])["sub"]).startswith("infolobby|")


@pytest.mark.spec("TOK-90", "RFC 8628 3.1")
def test_the_device_names_the_provider(clients: Clients) -> None:
    client, person = clients.device_multi_provider, Person(clients.base)
    device = Device(client).begin(provider="infolobby")
    assert_page(person.approve(device.user_code, provider="openid"), 200)
    tokens = assert_tokens(device.poll())
    assert str(assert_alive(client, tokens["access_token"])["sub"]).startswith("infolobby|")


@pytest.mark.spec("TOK-82", "TOK-90", "RFC 8707 2.2")
def test_resources(clients: Clients) -> None:
    client = clients.device_resources
    device = Device(client).begin(resource=RESOURCE)
    Person(clients.base).approve(device.user_code)
    assert_error(device.poll(resource="https://other.example/"), 400, "invalid_target")
    tokens = assert_tokens(device.poll(resource=RESOURCE))
    verified(clients.base, tokens["access_token"], audience=RESOURCE, typ="at+jwt")


# -- polling -------------------------------------------------------------------------------------------------------


@pytest.mark.local_only
@pytest.mark.spec("TOK-90", "RFC 8628 3.5")
def test_polling_too_fast(clients: Clients) -> None:
    """slow_down adds five seconds to this and every later interval."""
    device = Device(clients.device).begin()
    assert_pending(device.poll())
    assert_error(device.poll(), 400, "slow_down")
    pass_time(INTERVAL + 1)
    assert_error(device.poll(), 400, "slow_down")
    pass_time(INTERVAL + 10)
    assert_pending(device.poll())
    pass_time(INTERVAL + 10)
    assert_pending(device.poll())
    pass_time(INTERVAL + 5)
    assert_error(device.poll(), 400, "slow_down")


@pytest.mark.local_only
@pytest.mark.spec("TOK-90", "RFC 8628 3.5")
def test_a_device_code_expires(clients: Clients) -> None:
    """For the device and for the person, wherever he is just then."""
    waiting, going, back = (Device(clients.device).begin() for _ in range(3))
    person = Person(clients.base)
    at_provider = person.confirm(going.user_code)
    approved = Person(clients.base)
    assert_page(approved.approve(back.user_code), 200)
    callback = person.callback_url(at_provider)
    pass_time(waiting.answer["expires_in"] + 1)
    for device in (waiting, going, back):
        assert_error(device.poll(), 400, "expired_token")
    late = Person(clients.base).enter(waiting.user_code)
    assert_page(late, 400)
    assert not is_question(late)
    assert_page(person.browser.get(callback), 400)
    assert_error(going.poll(), 400, "expired_token")


@pytest.mark.spec("TOK-75", "TOK-90", "RFC 8628 3.5")
def test_another_clients_device_code(clients: Clients) -> None:
    """It is refused, and changes nothing for its owner."""
    device = Device(clients.device).begin()
    assert_error(device.poll(client_id=clients.other_device.client_id), 400, "invalid_grant")
    Person(clients.base).approve(device.user_code)
    assert_error(device.poll(client_id=clients.other_device.client_id), 400, "invalid_grant")
    tokens = assert_tokens(device.poll())
    assert_error(device.poll(client_id=clients.other_device.client_id), 400, "invalid_grant")
    assert_alive(clients.device, tokens["access_token"])


@pytest.mark.spec("TOK-74", "TOK-90", "RFC 6749 5.2")
def test_polls_that_are_wrong(clients: Clients) -> None:
    device = Device(clients.device).begin()
    genuine = device.answer["device_code"]
    assert_error(device.poll(device_code=None), 400, "invalid_request")
    altered = genuine[:-1] + ("A" if genuine[-1] != "A" else "B")
    for wrong in ("x", "tbd_", altered, genuine.replace("tbd_", "tbc_"), device.user_code):
        assert_error(device.poll(device_code=wrong), 400, "invalid_grant")
    assert_error(
        post_form(f"{clients.base}/token", {"grant_type": "device_code"}, clients.device.credentials()),
        400,
        "unsupported_grant_type",
    )
    confidential = Device(clients.device_confidential).begin()
    assert_invalid_client(confidential.poll(client_secret="wrong"))
    assert_pending(confidential.poll())


@pytest.mark.spec("TOK-90", "RFC 8628 3.5", "RFC 6749 4.1.2")
def test_a_device_code_is_used_once(clients: Clients) -> None:
    """As with authorization codes, its second use ends what the first gave."""
    device = Device(clients.device).begin()
    Person(clients.base).approve(device.user_code)
    tokens = assert_tokens(device.poll())
    assert_error(device.poll(), 400, "invalid_grant")
    assert_dead(clients.device, tokens)
    assert_error(device.poll(), 400, "invalid_grant")


@pytest.mark.spec("TOK-81", "TOK-90", "RFC 8628 3.5")
def test_many_polls_at_once(clients: Clients) -> None:
    """Exactly one gets tokens."""
    device = Device(clients.device).begin()
    Person(clients.base).approve(device.user_code)
    answers = at_once([device.poll] * 12)
    winners = [answer for answer in answers if answer.status_code == 200]
    assert len(winners) == 1
    for answer in answers:
        if answer is not winners[0]:
            assert_error(answer, 400, "invalid_grant")


@pytest.mark.spec("TOK-90", "RFC 8628 3.5")
def test_many_polls_at_once_while_waiting(clients: Clients) -> None:
    """One is on time; the others are too fast."""
    device = Device(clients.device).begin()
    answers = at_once([device.poll] * 6)
    codes = sorted(answer.json()["error"] for answer in answers)
    assert codes == ["authorization_pending", *["slow_down"] * 5]


@pytest.mark.local_only
@pytest.mark.spec("TOK-86", "TOK-90", "RFC 9110 15.6.4")
def test_the_store_is_down(clients: Clients) -> None:
    """Nothing is used up: the same requests succeed afterwards."""
    device, person = Device(clients.device).begin(), Person(clients.base)
    assert_page(person.approve(device.user_code), 200)
    with store_refuses("UpdateItem", "ThrottlingException"):
        assert_unavailable(device.poll())
    assert_tokens(device.poll())


# -- the person's page ---------------------------------------------------------------------------------------------


@pytest.mark.spec("TOK-90", "RFC 8628 3.5")
def test_the_person_denies(clients: Clients) -> None:
    device, person = Device(clients.device).begin(), Person(clients.base)
    page = person.decide(person.enter(device.user_code), "deny")
    assert_page(page, 200)
    assert "not connected" in page.text
    assert_error(device.poll(), 400, "access_denied")
    assert_page(Person(clients.base).enter(device.user_code), 400)
    assert_error(device.poll(), 400, "access_denied")


@pytest.mark.spec("TOK-90", "RFC 8628 3.5")
@pytest.mark.parametrize("side_by_side", [True, False])
def test_a_double_click_denies_once(clients: Clients, side_by_side: bool) -> None:
    """The browser shows the answer to the last click alone. Nobody else hears of it, and the other decision comes too late."""
    device, person, other = Device(clients.device).begin(), Person(clients.base), Person(clients.base)
    question, others = person.enter(device.user_code), other.enter(device.user_code)
    click = partial(person.decide, question, "deny")
    for page in at_once([click] * 4) if side_by_side else [click(), click()]:
        assert "not connected" in assert_page(page, 200)
    assert_error(device.poll(), 400, "access_denied")
    assert_page(other.decide(others, "deny"), 400)
    assert_page(person.decide(question, "allow"), 400)
    assert_page(person.enter(device.user_code), 400)


@pytest.mark.spec("TOK-90", "RFC 8628 3.3")
def test_a_double_click_lets_the_device_in(clients: Clients) -> None:
    """Of two clicks the first may be served last, and the browser has the answer to the other one."""
    device, person = Device(clients.device).begin(), Person(clients.base)
    question = person.enter(device.user_code)
    shown = person.decide(question, "allow")
    kept = person.browser.session.cookies.copy()
    assert person.decide(question, "allow").headers["location"] == shown.headers["location"]
    person.browser.session.cookies = kept
    assert_page(person.browser.get(person.callback_url(shown)), 200)
    assert_tokens(device.poll())


@pytest.mark.spec("CB-50", "TOK-90", "RFC 8628 3.5")
def test_the_person_denies_at_the_provider(clients: Clients) -> None:
    device, person = Device(clients.device).begin(), Person(clients.base)
    back = person.callback_url(person.confirm(device.user_code), decision="deny")
    page = person.browser.get(back)
    assert_page(page, 200)
    assert "not connected" in page.text
    assert_error(device.poll(), 400, "access_denied")


@pytest.fixture
def faults(clients: Clients) -> Iterator[None]:
    """Faults that were ordered are called off."""
    yield
    forget_faults(clients.base, "openid")


@pytest.mark.local_only
@pytest.mark.usefixtures("faults")
@pytest.mark.spec("CB-51", "TOK-90", "RFC 8628 3.5")
def test_the_provider_fails_and_the_person_tries_again(clients: Clients) -> None:
    """The device goes on waiting, and the code is good for another try."""
    device, person = Device(clients.device).begin(), Person(clients.base)
    order_fault(clients.base, "openid", "token", "status", 503)
    back = person.callback_url(person.confirm(device.user_code))
    failed = person.browser.get(back)
    assert failed.status_code in (502, 503)
    assert_page(failed, failed.status_code)
    assert_pending(device.poll())
    assert_page(person.approve(device.user_code), 200)
    assert_tokens(device.poll())


@pytest.mark.spec("CB-48", "TOK-90", "RFC 9700 4.7")
def test_the_callback_counts_in_the_persons_browser_alone(clients: Clients) -> None:
    """Whoever sends somebody else to the provider with a login that he began himself does not get that account."""
    device, attacker, victim = Device(clients.device).begin(), Person(clients.base), Person(clients.base)
    at_provider = attacker.confirm(device.user_code)
    assert_page(victim.browser.get(victim.callback_url(at_provider)), 400)
    assert_pending(device.poll())
    back = attacker.callback_url(at_provider)
    assert_page(attacker.browser.get(back), 200)
    assert_page(attacker.browser.get(back), 400)
    assert_tokens(device.poll())


@pytest.mark.local_only
@pytest.mark.spec("CB-49", "TOK-90", "RFC 9700 4.7")
def test_the_callback_counts_once(clients: Clients) -> None:
    device, person = Device(clients.device).begin(), Person(clients.base)
    back = person.callback_url(person.confirm(device.user_code))
    start_counting(clients.base, "openid")
    answers = at_once([lambda: person.browser.get(back)] * 6)
    assert sorted(answer.status_code for answer in answers) == [200, *[400] * 5]
    assert counted(clients.base, "openid")["token:authorization_code"] == 1
    assert_tokens(device.poll())


@pytest.mark.spec("TOK-90", "RFC 9700 4.7")
def test_a_form_of_another_browser(clients: Clients) -> None:
    """Neither the code nor the decision is taken from a browser that was not shown the page (CSRF)."""
    device, person, other = Device(clients.device).begin(), Person(clients.base), Person(clients.base)
    url = f"{clients.base}/device"
    question = person.enter(device.user_code)
    (form,) = forms(question)
    other.open_page()
    no_cookie = Browser()
    for browser in (other.browser, no_cookie):
        refused = browser.post(url, {**form.fields, "decision": "allow"})
        assert_page(refused, 400)
        assert not is_question(refused)
        refused = browser.post(url, {**form.fields, "decision": "deny"})
        assert_page(refused, 400)
        entered = browser.post(url, {"user_code": device.user_code})
        assert_page(entered, 400)
        assert not is_question(entered)
    # The token of the form for entering a code does not answer the question.
    (entry,) = forms(person.open_page())
    shortcut = person.browser.post(url, {**entry.fields, "user_code": device.user_code, "decision": "allow"})
    assert_page(shortcut, 400)
    assert_pending(device.poll())
    assert_page(person.browser.get(person.callback_url(person.decide(question, "allow"))), 200)
    assert_tokens(device.poll())


@pytest.mark.spec("TOK-90", "RFC 8628 3.3")
def test_back_and_once_more(clients: Clients) -> None:
    """Who comes back from the provider unfinished may go again, in this or in another browser; the last counts."""
    device, phone, laptop = Device(clients.device).begin(), Person(clients.base), Person(clients.base)
    first = phone.callback_url(phone.confirm(device.user_code))
    second = laptop.confirm(device.user_code)
    assert_page(phone.browser.get(first), 400)
    assert_page(laptop.browser.get(laptop.callback_url(second)), 200)
    assert_tokens(device.poll())


@pytest.mark.spec("TOK-90", "RFC 8628 5.1")
def test_a_used_code_leads_nowhere(clients: Clients) -> None:
    """Not while the device has not fetched its tokens, nor afterwards: a user code cannot end somebody's login."""
    device, person = Device(clients.device).begin(), Person(clients.base)
    question = person.enter(device.user_code)
    assert_page(person.browser.get(person.callback_url(person.decide(question, "allow"))), 200)
    assert_page(person.decide(question, "deny"), 400)
    tokens = assert_tokens(device.poll())
    assert_page(person.decide(question, "deny"), 400)
    assert_alive(clients.device, tokens["access_token"])


@pytest.mark.local_only
@pytest.mark.spec("TOK-90", "RFC 8628 5.1")
def test_guessing_is_limited(clients: Clients) -> None:
    """Ten wrong codes per address in ten minutes, also when they come at once; then not even the right one is looked at."""
    pass_time(DAY)  # a window of its own: the counters are kept per address, which the tests share
    pass_time(600 - clock.now() % 600 + 1)
    device, person = Device(clients.device).begin(), Person(clients.base)
    assert_page(person.enter(device.user_code), 200)
    wrong = ["BBBB-BBB" + letter for letter in ALPHABET[:14]]
    pages = at_once([lambda code=code: Person(clients.base).enter(code) for code in wrong])  # type: ignore[misc]
    assert sorted(page.status_code for page in pages) == [*[400] * 10, *[429] * 4]
    refused = person.enter(device.user_code)
    assert_page(refused, 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 600
    pass_time(600)
    fresh = Device(clients.device).begin()
    assert is_question(person.enter(fresh.user_code))


@pytest.mark.local_only
@pytest.mark.spec("TOK-90", "RFC 8628 5.1")
def test_right_codes_do_not_count_as_guesses(clients: Clients) -> None:
    pass_time(2 * DAY)
    pass_time(600 - clock.now() % 600 + 1)
    device, person = Device(clients.device).begin(), Person(clients.base)
    for _ in range(12):
        assert is_question(person.enter(device.user_code))


@pytest.mark.spec("TOK-90", "RFC 9110 15.5")
def test_what_is_no_request_of_the_page(clients: Clients) -> None:
    url = f"{clients.base}/device"
    for method in ("PUT", "DELETE", "PATCH"):
        response = requests.request(method, url, timeout=30)
        assert_page(response, 405)
        assert response.headers["allow"] == "GET, POST"
    assert requests.head(url, timeout=30).status_code == 200
    browser = Browser()
    for wrong in ("user_code=%ff", "user_code=" + "A" * 9000):
        assert_page(browser.post(url, wrong), 400)
        assert_page(browser.get(f"{url}?{wrong}"), 400)
    (form,) = forms(browser.get(url))
    twice = f"user_code=BBBB-BBBB&user_code=CCCC-CCCC&token={form.fields['token']}"
    assert "The request cannot be read" in assert_page(browser.post(url, twice), 400)
    assert_page(browser.post(url, "{}", {"content-type": "application/json"}), 400)
    assert_page(browser.get(f"{url}?user_code=%3Cscript%3E"), 200)
    assert "<script>" not in browser.get(f"{url}?user_code=%3Cscript%3E").text


@pytest.mark.spec("TOK-90", "RFC 8628 5.4")
def test_it_does_not_touch_other_logins(clients: Clients) -> None:
    """A device login and an ordinary one in one browser."""
    device, person = Device(clients.device).begin(), Person(clients.base)
    login = Login(clients.public, browser=person.browser)
    callback = login.callback_url()
    assert_page(person.approve(device.user_code), 200)
    assert "code" in login.read_answer(person.browser.get(callback))
    assert login.redeem().status_code == 200
    tokens = assert_tokens(device.poll())
    assert userinfo(clients.base, tokens["access_token"]).status_code == 200
    assert refresh(clients.device, tokens["refresh_token"]).status_code == 200
    assert "client_id" in query_of(person.confirm(Device(clients.device).begin().user_code).headers["location"])
