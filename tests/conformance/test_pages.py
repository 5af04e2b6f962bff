"""The provider chooser, the error page and the form that brings an answer back: what people see, and what it changes."""

from __future__ import annotations

from html import unescape
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from broker.runtime import runtime
from broker_testing.browser import forms
from broker_testing.conformance import Clients
from broker_testing.journey import Login, post_form, register
from broker_testing.trouble import pass_time
from conformance.front_channel import assert_goes_on, assert_login_completes, assert_page, assert_refused


def choices(page: requests.Response) -> dict[str, str]:
    """Provider -> the link that chooses it."""
    text = assert_page(page, 200)
    links = [unescape(part.split('"')[0]) for part in text.split('class="choice" href="')[1:]]
    return {dict(parse_qsl(urlsplit(link).query))["provider"]: link for link in links}


def pushed(login: Login) -> str:
    """Push the login's request; the reference."""
    login.authorize_url(provider=None)
    response = post_form(f"{login.client.base}/par", login.parameters)
    assert response.status_code == 201, response.text
    reference: str = response.json()["request_uri"]
    return reference


# -- choosing a provider -------------------------------------------------------------------------------------------


@pytest.mark.spec("PAGE-7")
@pytest.mark.parametrize("provider", ["openid", "infolobby"])
def test_a_choice_repeats_the_request(clients: Clients, provider: str) -> None:
    login = Login(clients.multi_provider)
    page = login.start(state='a&b="c" +%20ü')
    links = choices(page)
    assert list(links) == list(clients.multi_provider.registered.providers)
    assert "set-cookie" not in page.headers, "nothing has begun yet"
    assert "form-action 'none'" in page.headers["content-security-policy"]
    assert_login_completes(login, login.browser.get(links[provider]))


@pytest.mark.spec("PAGE-7", "AUTHZ-42")
def test_a_choice_repeats_a_request_that_was_posted(clients: Clients) -> None:
    login = Login(clients.multi_provider)
    login.authorize_url(state="x" * 200)
    page = login.browser.post(f"{clients.base}/authorize", login.parameters)
    assert_login_completes(login, login.browser.get(choices(page)["openid"]))


@pytest.mark.spec("PAGE-7", "RFC 6749 3.1")
@pytest.mark.parametrize("unread", ["claims", "login_hint", "utm"])
def test_a_choice_leaves_out_what_nobody_reads(clients: Clients, unread: str) -> None:
    """A form may be longer than an address, and API Gateway takes no request whose address and headers exceed 10,240 bytes."""
    login = Login(clients.multi_provider)
    login.authorize_url()
    page = login.browser.post(f"{clients.base}/authorize", login.parameters | {unread: "x" * 7000})
    link = choices(page)["openid"]
    assert unread not in dict(parse_qsl(urlsplit(link).query))
    assert_login_completes(login, login.browser.get(link))


@pytest.mark.spec("PAGE-7", "OpenID Core 3.1.2.1")
def test_a_choice_repeats_all_that_is_read(clients: Clients) -> None:
    login = Login(clients.multi_provider)
    asked = {"login_hint": "john", "max_age": "600", "prompt": "consent", "nonce": "n", "resource": clients.base}
    links = choices(login.start(response_mode="query", **asked))
    sent = {name: value for name, value in login.parameters.items() if name != "provider"}
    assert asked.items() <= sent.items()
    assert dict(parse_qsl(urlsplit(links["openid"]).query)) == sent | {"provider": "openid"}


@pytest.mark.local_only
@pytest.mark.spec("PAGE-7", "AUTHZ-45", "RFC 9126 4")
def test_a_choice_after_the_time_to_use_a_pushed_request(clients: Clients) -> None:
    """A person may think longer than a browser needs to follow a link; not longer than for a login, however often he looks."""
    settings = runtime().settings
    logins = [Login(clients.multi_provider) for _ in range(2)]
    urls = [f"{clients.base}/authorize?client_id={one.client.client_id}&request_uri={pushed(one)}" for one in logins]
    links = [choices(one.browser.get(url))["openid"] for one, url in zip(logins, urls, strict=True)]
    pass_time(settings.pushed_lifetime + 1)
    assert_login_completes(logins[0], logins[0].browser.get(links[0]))
    assert_refused(logins[0].browser.get(links[0]))
    assert_page(logins[1].browser.get(urls[1]), 200)
    pass_time(settings.login_lifetime - settings.pushed_lifetime)
    for url in (urls[1], links[1]):
        assert_refused(logins[1].browser.get(url))


@pytest.mark.spec("PAGE-7", "AUTHZ-45", "RFC 9126 4")
def test_showing_the_choice_does_not_use_up_a_pushed_request(clients: Clients) -> None:
    login = Login(clients.multi_provider)
    url = f"{clients.base}/authorize?client_id={login.client.client_id}&request_uri={pushed(login)}"
    pages = [login.browser.get(url) for _ in range(3)]
    assert pages[0].text == pages[2].text
    link = choices(pages[0])["openid"]
    assert login.parameters["code_challenge"] not in link, "what was pushed stays out of the address"
    assert_login_completes(login, login.browser.get(link))
    assert_refused(login.browser.get(link))


@pytest.mark.spec("PAGE-7")
def test_going_back_to_the_choice_and_choosing_otherwise(clients: Clients) -> None:
    login = Login(clients.multi_provider)
    links = choices(login.start())
    assert_goes_on(login, login.browser.get(links["infolobby"]))
    assert_login_completes(login, login.browser.get(links["openid"]))


@pytest.mark.local_only
@pytest.mark.spec("PAGE-7")
def test_only_providers_that_can_be_used_are_offered(clients: Clients) -> None:
    some = register(clients.base, providers=("openid", "nowhere", "infolobby"))
    assert list(choices(Login(some).start())) == ["openid", "infolobby"]
    none = register(clients.base, providers=("nowhere", "elsewhere"))
    text = assert_page(Login(none).start(), 503)
    assert 'role="alert"' in text
    assert 'class="choice"' not in text


@pytest.mark.local_only
@pytest.mark.spec("PAGE-6", "PAGE-7")
def test_the_choice_shows_titles(clients: Clients) -> None:
    text = assert_page(Login(clients.multi_provider).start(), 200)
    assert "Continue with <bdi>InfoLobby</bdi>" in text


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.spec("PAGE-8")
@pytest.mark.parametrize(
    "path", ["/authorize", "/authorize?client_id=nobody", "/callback/openid", "/callback/none", "/consent"]
)
def test_an_error_for_people_and_for_programs(clients: Clients, path: str) -> None:
    response = requests.get(clients.base + path, timeout=30)
    text = assert_refused(response)
    assert text.count('role="alert"') == 1
    assert response.headers["x-request-id"] in unescape(text)
    assert "form-action 'none'" in response.headers["content-security-policy"]
    as_json = requests.get(clients.base + path, headers={"accept": "application/json"}, timeout=30)
    assert (as_json.status_code, as_json.headers["content-type"]) == (400, "application/json")
    assert as_json.headers["cache-control"] == "no-store"
    assert set(as_json.json()) == {"error", "error_description"}
    assert as_json.json()["error"] in text


@pytest.mark.spec("PAGE-8", "AUTHZ-41", "RFC 9700 4.3")
def test_an_error_page_repeats_nothing_confidential(clients: Clients) -> None:
    login = Login(clients.public)
    url = login.callback_url()
    cookie = next(iter(login.browser.session.cookies))
    secrets = [value for name, value in parse_qsl(urlsplit(url).query)] + str(cookie.value).split(".")
    for page in (requests.get(url, timeout=30), login.browser.get(url.replace("code=", "code=x&code="))):
        text = page.text
        assert not [secret for secret in secrets if len(secret) > 8 and secret in text]
    script = "<script>alert(1)</script>"
    for path in (f"/callback/{script}", f"/callback/openid?state={script}&error={script}", f"/consent?login={script}"):
        response = requests.get(clients.base + path, timeout=30)
        assert script not in response.text
        assert 400 <= response.status_code < 500


@pytest.mark.spec("PAGE-8", "AUTHZ-40")
def test_every_page_has_a_language_a_title_and_landmarks(clients: Clients) -> None:
    for page in (Login(clients.multi_provider).start(), requests.get(f"{clients.base}/consent", timeout=30)):
        for part in ('<html lang="en" dir="ltr">', "<title>", "<header>", "<main>", "<footer>", "<h1>"):
            assert page.text.count(part) == 1, part
        assert " style=" not in page.text
        assert "<script" not in page.text


# -- back to the client --------------------------------------------------------------------------------------------


@pytest.mark.spec("AUTHZ-40", "OAuth Form Post Response Mode")
def test_the_form_that_brings_the_answer_back(clients: Clients) -> None:
    login = Login(clients.public)
    back = login.browser.get(login.callback_url(response_mode="form_post", state='"><b>&'))
    text = assert_page(back, 200)
    (form,) = forms(back)
    assert (form.method, form.action) == ("post", login.client.redirect_uri)
    assert set(form.fields) == {"code", "state", "iss"}
    assert form.fields["state"] == '"><b>&'
    assert "<b>" not in text
    policy = back.headers["content-security-policy"]
    assert f"script-src {clients.base}/assets/form-post.js;" in policy
    assert "form-action https:;" in policy
