"""Consent: asked per client, person and scope, only of the browser that logged in, and answered once (RFC 9700 section 4.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import pytest
import requests

from broker.runtime import runtime
from broker_testing.browser import Browser, forms
from broker_testing.conformance import Clients
from broker_testing.journey import Login, TestClient, change, register
from broker_testing.parallel import at_once
from broker_testing.sandbox import counted, start_counting
from broker_testing.trouble import pass_time
from conformance.front_channel import assert_error_redirect, assert_page, assert_refused, get_exactly

SCRIPT = "<script>alert(1)</script>"
OVERRIDE, ISOLATE_END, ZERO_WIDTH = "\u202e", "\u2069", "\u200b"


@dataclass
class Asked:
    """A login that stands at the consent page."""

    login: Login
    page: requests.Response

    @property
    def text(self) -> str:
        """The page's HTML."""
        return assert_page(self.page, 200)

    @property
    def fields(self) -> dict[str, str]:
        """What its form brings back."""
        (form,) = forms(self.page)
        assert (form.method, form.action) == ("post", f"{self.login.client.base}/consent")
        assert form.buttons == [("decision", "allow"), ("decision", "deny")]
        return form.fields

    def answer(
        self, decision: str = "allow", browser: Browser | None = None, changes: Mapping[str, str | None] | None = None
    ) -> requests.Response:
        """Press a button, with fields changed, or removed by None, in this browser or another."""
        fields = {name: value for name, value in (self.fields | dict(changes or {})).items() if value is not None}
        return (browser or self.login.browser).post(self.page.url.partition("?")[0], fields | {"decision": decision})

    def again(self) -> requests.Response:
        """Load the page once more."""
        return self.login.browser.get(self.page.url)


def asked(client: TestClient, username: str = "johndoe", **changes: str) -> Asked:
    """Log in as far as the question."""
    login = Login(client)
    back = login.browser.get(login.callback_url(username=username, **changes))
    assert back.status_code == 303
    assert back.headers["location"].startswith(f"{client.base}/consent?")
    return Asked(login, login.browser.follow(back))


def third_party(base: str, **attributes: Any) -> TestClient:
    """A fresh client that nobody has agreed to yet."""
    return register(base, **{"first_party": False, "providers": ("openid",), **attributes})


def assert_allowed(question: Asked, response: requests.Response) -> None:
    """The client gets a code, and the code is good."""
    answer = question.login.read_answer(response)
    assert set(answer) == {"code", "state", "iss"}
    redeemed = question.login.redeem()
    assert redeemed.status_code == 200, redeemed.text


def is_asked(client: TestClient, username: str = "johndoe", **changes: str) -> bool:
    """Whether a login leads to the question rather than back to the client."""
    login = Login(client)
    location = login.browser.get(login.callback_url(username=username, **changes)).headers["location"]
    assert location.startswith((f"{client.base}/consent?", changes.get("redirect_uri", client.redirect_uri)))
    return location.startswith(f"{client.base}/consent?")


# -- what is asked -------------------------------------------------------------------------------------------------


@pytest.mark.spec("PAGE-1", "RFC 9700 4.4")
def test_the_page_says_who_asks_for_what_as_whom_and_where_to(clients: Clients) -> None:
    question = asked(clients.third_party, prompt="consent")
    text = question.text
    for words in (
        clients.third_party.registered.name,
        "John Doe",
        "john@example.com",
        "See your e-mail address",
        '<strong dir="ltr">app.example</strong>',
        "is not run by",
    ):
        assert words in text
    assert "://" not in text.split("<main>")[1].replace(f"{clients.base}/consent", "")  # no picture, no link of others
    assert_allowed(question, question.answer())


@pytest.mark.spec("PAGE-1", "RFC 9700 4.4")
def test_nothing_is_issued_before_the_answer(clients: Clients) -> None:
    question = asked(clients.third_party, prompt="consent")
    assert "code=" not in question.page.url
    assert "tbc_" not in question.text
    # The provider's answer cannot be used again either, to get around the question.
    assert_refused(
        question.login.browser.get(f"{clients.base}/callback/openid?code=x&state={question.fields['login']}")
    )
    assert_allowed(question, question.answer())


@pytest.mark.local_only
@pytest.mark.spec("PAGE-1", "RFC 8252 8.12")
@pytest.mark.parametrize(
    ("redirect_uri", "source"),
    [
        ("com.example.app:/cb", "com.example.app:"),
        ("http://127.0.0.1:9999/cb", "http:"),
        ("http://[::1]:9999/cb", "http:"),
        ("http://localhost:9999/cb", "http:"),
    ],
)
def test_an_app_on_the_device_is_warned_of_and_can_be_returned_to(
    clients: Clients, redirect_uri: str, source: str
) -> None:
    """Any program may have opened the page in the name of such a client."""
    question = asked(third_party(clients.base, redirect_uris=(redirect_uri,), origins=()))
    assert "an app on this device" in question.text
    policy = question.page.headers["content-security-policy"]
    assert f"form-action {clients.base} {source};" in policy
    assert_allowed(question, question.answer())


# -- whose answer counts -------------------------------------------------------------------------------------------


@pytest.mark.spec("PAGE-2", "RFC 9700 4.7")
def test_another_browser_neither_sees_nor_answers_the_question(clients: Clients) -> None:
    """Else an attacker could have his own login approved by somebody else, or approve it there himself."""
    question = asked(clients.third_party, prompt="consent")
    victim = Browser()
    assert_refused(victim.get(question.page.url))
    for decision in ("allow", "deny"):
        assert_refused(question.answer(decision, victim))
    # Nor one that has a question of its own open.
    other = asked(clients.third_party, prompt="consent")
    assert_refused(other.login.browser.get(question.page.url))
    assert_refused(question.answer("allow", other.login.browser))
    assert_allowed(question, question.answer())
    assert_allowed(other, other.answer())


@pytest.mark.spec("PAGE-2", "RFC 9700 4.7")
def test_the_form_cannot_be_forged(clients: Clients) -> None:
    """A page elsewhere can make the browser send a form with its cookies, but does not know the token."""
    question, other = (asked(clients.third_party, prompt="consent") for _ in range(2))
    forgeries: tuple[dict[str, str | None], ...] = (
        {"token": None},
        {"token": ""},
        {"token": "A" * 43},
        {"token": "é"},
        {"token": other.fields["token"]},
        {"login": other.fields["login"]},
        {"login": None},
        {"login": question.fields["login"][:-1] + "_"},
        {"login": "é"},
    )
    for forged in forgeries:
        assert_refused(question.answer(changes=forged))
    for decision in ("", "yes", "Allow", "allow deny"):
        assert_refused(question.answer(decision))
    assert_allowed(question, question.answer())


@pytest.mark.spec("PAGE-2", "PAGE-3", "RFC 9110 9.2.1")
def test_the_answer_is_never_taken_from_an_address(clients: Clients) -> None:
    question = asked(clients.third_party, prompt="consent")
    shown = question.login.browser.get(f"{question.page.url}&decision=allow&token={question.fields['token']}")
    assert_page(shown, 200)
    url = question.page.url.partition("?")[0]
    as_json = question.login.browser.post(url, "{}", {"content-type": "application/json"})
    assert_refused(as_json)
    assert_allowed(question, question.answer())


@pytest.mark.spec("PAGE-2")
def test_two_tabs_ask_and_answer_apart(clients: Clients) -> None:
    browser = Browser()
    logins = [Login(clients.third_party, browser=browser) for _ in range(2)]
    questions = []
    for login in logins:
        back = browser.get(login.callback_url(prompt="consent"))
        questions.append(Asked(login, browser.follow(back)))
    assert_error_redirect(logins[1], questions[1].answer("deny"), "access_denied")
    assert_allowed(questions[0], questions[0].answer())


# -- looking changes nothing ---------------------------------------------------------------------------------------


@pytest.mark.spec("PAGE-3", "RFC 9110 9.2.1")
def test_loading_the_page_many_times_changes_nothing(clients: Clients) -> None:
    """Reloads, the back button, previews of links, and browsers that load pages ahead."""
    question = asked(clients.third_party, prompt="consent")
    browser = question.login.browser
    for headers in ({}, {"sec-purpose": "prefetch"}, {"purpose": "preview"}, {"x-moz": "prefetch"}):
        assert browser.get(question.page.url, headers).text == question.page.text
    head = browser.session.head(question.page.url, allow_redirects=False, timeout=30)
    assert (head.status_code, head.text) == (200, "")
    assert "set-cookie" not in head.headers
    # Without the cookies, as a preview elsewhere would.
    assert_refused(get_exactly(question.page.url))
    assert_allowed(question, question.answer())


# -- answered once -------------------------------------------------------------------------------------------------


def clicks(question: Asked, decision: str) -> Callable[[], requests.Response]:
    """Sends the form as a browser does that has had no answer yet: with the cookie, however often."""
    cookies = dict(question.login.browser.session.cookies)
    url, form = question.page.url.partition("?")[0], question.fields | {"decision": decision}
    return partial(requests.post, url, data=form, cookies=cookies, allow_redirects=False, timeout=30)


def one_redirect(answers: list[requests.Response]) -> requests.Response:
    """Any of the answers, which all are the same redirect to the client."""
    assert {answer.status_code for answer in answers} == {303}
    assert len({(answer.headers["location"], answer.headers["set-cookie"]) for answer in answers}) == 1
    return answers[-1]


@pytest.mark.spec("PAGE-4")
@pytest.mark.parametrize("side_by_side", [True, False])
def test_a_double_click_gives_one_code(clients: Clients, side_by_side: bool) -> None:
    """The browser shows the answer to the last click alone, so that one must bring the code."""
    question = asked(clients.third_party, prompt="consent")
    click = clicks(question, "allow")
    answers = at_once([click] * 4) if side_by_side else [click(), click()]
    assert_allowed(question, one_redirect(answers))
    assert_refused(click())  # redeemed: there is nothing left to be given again


@pytest.mark.spec("PAGE-4", "CB-50", "RFC 6749 4.1.2.1")
@pytest.mark.parametrize("side_by_side", [True, False])
def test_a_double_click_denies_once(clients: Clients, side_by_side: bool) -> None:
    question = asked(clients.third_party, prompt="consent")
    click = clicks(question, "deny")
    answers = at_once([click] * 4) if side_by_side else [click(), click()]
    assert_error_redirect(question.login, one_redirect(answers), "access_denied")


@pytest.mark.spec("PAGE-4")
@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_a_double_click_is_answered_by_a_form_where_the_client_wants_one(clients: Clients, decision: str) -> None:
    question = asked(clients.third_party, prompt="consent", response_mode="form_post")
    click = clicks(question, decision)
    first, second = click(), click()
    assert first.status_code == second.status_code == 200
    (sent,), (again,) = forms(first), forms(second)
    assert (sent.action, sent.fields) == (again.action, again.fields)
    assert sent.fields["state"] == question.login.parameters["state"]
    assert ("code" in sent.fields) == (decision == "allow")


@pytest.mark.local_only
@pytest.mark.spec("PAGE-4", "RFC 6749 4.1.2")
@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_an_answer_is_given_again_for_as_long_as_it_is_good(clients: Clients, decision: str) -> None:
    """The lifetime counts from the first click: a second one prolongs nothing."""
    question = asked(clients.third_party, prompt="consent")
    click = clicks(question, decision)
    lifetime = {"allow": runtime().settings.code_lifetime, "deny": runtime().settings.consent_lifetime}[decision]
    first = click()
    pass_time(lifetime // 2)
    one_redirect([first, click()])
    pass_time(lifetime // 2 + 1)
    assert_refused(click())


@pytest.mark.spec("PAGE-4")
@pytest.mark.parametrize(("decision", "other"), [("allow", "deny"), ("deny", "allow")])
def test_going_back_after_the_answer_finds_the_question_closed(clients: Clients, decision: str, other: str) -> None:
    question = asked(clients.third_party, prompt="consent")
    cookies = dict(question.login.browser.session.cookies)
    changing = clicks(question, other)
    given = question.answer(decision)
    assert given.status_code == 303
    assert "Max-Age=0" in given.headers["set-cookie"]
    for kept in ({}, cookies):  # with the cookie cleared, and by somebody who kept it
        assert_refused(requests.get(question.page.url, cookies=kept, timeout=30))
    assert_refused(changing())
    for later in ("allow", "deny"):
        assert_refused(question.answer(later))  # with the cookie cleared
    if decision == "allow":
        assert_allowed(question, given)


@pytest.mark.spec("PAGE-2", "PAGE-4", "RFC 9700 4.7")
@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_an_answer_is_given_again_to_its_own_browser_and_form_alone(clients: Clients, decision: str) -> None:
    question, other = (asked(clients.third_party, prompt="consent") for _ in range(2))
    click = clicks(question, decision)
    first = click()
    for browser in (Browser(), other.login.browser):
        assert_refused(question.answer(decision, browser))
    for forged in (None, "A" * 43, other.fields["token"]):
        assert_refused(question.answer(decision, changes={"token": forged}))
    one_redirect([first, click()])


@pytest.mark.local_only
@pytest.mark.spec("PAGE-4", "CB-50", "RFC 6749 4.1.2.1")
def test_denying_ends_the_login_and_revokes_nothing(clients: Clients) -> None:
    """A provider may end all of the person's logins with the one token that nobody was given."""
    client = third_party(clients.base)
    question = asked(client)
    start_counting(clients.base, "openid")
    assert_error_redirect(question.login, question.answer("deny"), "access_denied")
    assert counted(clients.base, "openid") == {}
    assert is_asked(client)  # a no is not remembered as a yes


# -- remembered ----------------------------------------------------------------------------------------------------


@pytest.mark.local_only
@pytest.mark.spec("PAGE-5", "OpenID Core 3.1.2.4")
def test_an_answer_counts_for_its_client_person_and_scope(clients: Clients) -> None:
    client = third_party(clients.base)
    question = asked(client, scope="openid profile")
    assert_allowed(question, question.answer())
    assert not is_asked(client, scope="openid profile")
    assert not is_asked(client, scope="profile")
    assert is_asked(client, scope="openid profile email"), "more scope"
    assert is_asked(client, username="johnsmith", scope="openid profile"), "another person"
    assert is_asked(third_party(clients.base), scope="openid profile"), "another client"
    assert is_asked(client, scope="openid profile", prompt="consent"), "asked to ask"


@pytest.mark.local_only
@pytest.mark.spec("PAGE-1", "PAGE-5", "RFC 9700 4.4")
@pytest.mark.parametrize("power", ["proxy", "token_exchange"])
def test_the_use_of_the_account_is_asked_for(clients: Clients, power: str) -> None:
    """It opens more than any scope of the client's says, and an answer from before it counts no more."""
    client, words = third_party(clients.base), "Use your account at"
    question = asked(client, scope="openid")
    assert words not in question.text
    assert "nothing but that you have signed in" in question.text
    assert_allowed(question, question.answer())
    assert not is_asked(client, scope="openid")
    client = change(client, **{power: ("infolobby",)})
    assert not is_asked(client, scope="openid"), "at another provider"
    client = change(client, **{power: ("openid",)})
    question = asked(client, scope="openid")
    assert words in question.text
    assert "nothing but that you have signed in" not in question.text
    assert_allowed(question, question.answer())
    assert not is_asked(client, scope="openid")


@pytest.mark.local_only
@pytest.mark.spec("PAGE-2", "RFC 9700 4.4")
def test_an_answer_is_to_the_question_that_was_shown(clients: Clients) -> None:
    """The client is let have the use of the account while the page stands open."""
    client = third_party(clients.base)
    question = asked(client)
    fields = question.fields | {"decision": "allow"}
    change(client, proxy=("openid",))
    assert_refused(question.login.browser.post(f"{clients.base}/consent", fields))
    anew = Asked(question.login, question.again())
    assert "Use your account at" in anew.text
    assert_allowed(anew, anew.answer())


@pytest.mark.local_only
@pytest.mark.spec("PAGE-5", "RFC 6749 10.2", "RFC 8252 8.6")
@pytest.mark.parametrize(
    "redirect_uri", ["http://127.0.0.1:9999/cb", "http://localhost/cb", "https://localhost/cb", "com.example.app:/cb"]
)
def test_a_public_client_on_the_device_is_asked_every_time(clients: Clients, redirect_uri: str) -> None:
    """Any program there can say that it is this client: an answer that is remembered would let it in unseen."""
    client = third_party(clients.base, redirect_uris=(redirect_uri,), origins=())
    for _ in range(2):
        question = asked(client)
        assert "is remembered" not in question.text
        assert_allowed(question, question.answer())
    own = register(clients.base, providers=("openid",), redirect_uris=(redirect_uri,), origins=())
    assert not is_asked(own), "the operator vouches for a first-party one"


@pytest.mark.local_only
@pytest.mark.spec("PAGE-5", "RFC 6749 10.2")
@pytest.mark.parametrize(
    "attributes", [{}, {"redirect_uris": ("http://127.0.0.1:9999/cb",), "origins": (), "secret": True}]
)
def test_a_client_that_proves_who_it_is_is_asked_once(clients: Clients, attributes: dict[str, Any]) -> None:
    client = third_party(clients.base, **attributes)
    question = asked(client)
    assert "is remembered" in question.text
    assert_allowed(question, question.answer())
    assert not is_asked(client)


@pytest.mark.spec("PAGE-5", "OpenID Core 3.1.2.1")
def test_prompt_consent_asks_for_first_party_clients_too(clients: Clients) -> None:
    assert not is_asked(clients.public)
    question = asked(clients.public, prompt="consent")
    assert "is not run by" not in question.text
    assert_allowed(question, question.answer())


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.local_only
@pytest.mark.spec("PAGE-6", "AUTHZ-41", "RFC 9700 4.16")
def test_names_cannot_write_turn_or_flood_the_page(clients: Clients) -> None:
    names = (
        SCRIPT,
        "{brand} {client}",
        f"moc.elgoog{OVERRIDE}{ISOLATE_END}",
        f"G{ZERO_WIDTH}oogle",
        "Long " * 2000,
        "\x00\x1b[2J\r\nX",
        "﷽" * 300,
    )
    for name in names:
        text = asked(third_party(clients.base, name=name)).text
        assert SCRIPT not in text
        assert not {OVERRIDE, ISOLATE_END, ZERO_WIDTH, "\x00", "\x1b"} & set(text)
        assert len(text.split("<h1>")[1].split("</h1>")[0]) < 700
    text = asked(third_party(clients.base, name="{brand} & {client}")).text
    assert f"<bdi>{escape('{brand} & {client}')}</bdi>" in text
    assert "An application without a name" in asked(third_party(clients.base, name=OVERRIDE * 3)).text


@pytest.mark.local_only
@pytest.mark.spec("PAGE-6")
def test_addresses_of_a_client_are_links_only_if_https(clients: Clients) -> None:
    client = third_party(
        clients.base,
        client_uri="javascript:alert(1)",
        policy_uri='https://two.example/"onmouseover="alert(1)',
        tos_uri="http://two.example/",
        logo_uri="https://pictures.example/logo.png",
    )
    text = asked(client).page.text
    assert "javascript:" not in text
    assert "pictures.example" not in text
    assert 'href="http://two' not in text
    assert f'href="{escape("https://two.example/" + chr(34))}onmouseover=&quot;alert(1)" target="_blank"' in text
    assert 'rel="noopener noreferrer"' in text


@pytest.mark.local_only
@pytest.mark.spec("PAGE-5", "RFC 8252 7.3")
def test_an_answer_counts_at_every_port_of_a_loopback_address(clients: Clients) -> None:
    """An app with a secret gets another port from the system each time."""
    client = third_party(clients.base, redirect_uris=("http://127.0.0.1/cb",), secret=True)
    first = asked(client, redirect_uri="http://127.0.0.1:5001/cb")
    assert first.answer().headers["location"].startswith("http://127.0.0.1:5001/cb?")
    assert not is_asked(client, redirect_uri="http://127.0.0.1:5002/cb")
