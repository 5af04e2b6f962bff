"""Whole journeys at authorization servers that others wrote, and kept as strict as they can be made."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote_plus, urlencode

import pytest
import requests

from broker_testing.journey import Login, register, revoke
from upstreams.held import Held, ask_who, logged_in, pass_time
from upstreams.servers import CLIENT_ID, CLIENT_SECRET, TIMEOUT, Call, Upstream

PROFILES: Mapping[str, Mapping[str, object]] = {
    "strict-oidc": {
        "sub": "strict-oidc|johndoe",
        "name": "johndoe at home",
        "preferred_username": "johndoe",
        "email": "johndoe@example.com",
        "email_verified": True,
    },
    "strict-django": {"sub": "strict-django|1", "preferred_username": "johndoe", "email": "johndoe@example.com"},
}
TOKEN = {"strict-oidc": "/token", "strict-django": "/o/token/"}
RESOURCE = "/me"


def refresh_directly(upstream: Upstream, refresh_token: str) -> requests.Response:
    """What a thief with the broker's own credentials would send (RFC 6749 section 2.3.1: form-encoded first)."""
    return requests.post(
        f"{upstream.process.url}{TOKEN[upstream.name]}",
        data={"grant_type": "refresh_token", "refresh_token": refresh_token},
        auth=(quote_plus(CLIENT_ID), quote_plus(CLIENT_SECRET)),
        timeout=TIMEOUT,
    )


def due(upstream: Upstream) -> float:
    """Seconds after which the server's access token is to be renewed, though it is still good."""
    return upstream.lifetime * 0.95


def assert_invalid_grant(answer: requests.Response) -> None:
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant"), answer.text


# -- the servers are as strict as these tests need them ------------------------------------------------------------


def test_the_server_takes_no_other_redirect_uri(base: str, strict: Upstream) -> None:
    """RFC 9700 section 2.1: compared to the letter, and no redirect to a wrong one, not even of a person who is signed in."""
    client = register(base, providers=(strict.name,))
    browser = strict.log_in(client).browser
    url, _, query = Login(client, strict.name).start().headers["location"].partition("?")
    wrong = [(name, value + "/" if name == "redirect_uri" else value) for name, value in parse_qsl(query)]
    assert browser.get(f"{url}?{urlencode(wrong)}").status_code == 400


def test_the_server_ends_a_grant_whose_refresh_token_comes_twice(base: str, strict: Upstream) -> None:
    """RFC 9700 section 4.14.2, without any grace: that every link lives on after a storm proves something only because of
    this. The broker tells its client to log in again."""
    held = logged_in(base, strict)
    stolen = held.upstream_tokens()
    thief = refresh_directly(strict, str(stolen.refresh_token))
    assert thief.status_code == 200, thief.text
    pass_time(strict, due(strict))
    assert_invalid_grant(held.refresh())
    assert (held.grant.stage, held.grant.end_reason) == ("ended", "upstream_revoked")
    assert refresh_directly(strict, thief.json()["refresh_token"]).status_code == 400
    assert ask_who(strict, RESOURCE, thief.json()["access_token"]) == 401


# -- the journey ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [False, True], ids=["public", "confidential"])
def test_a_login_lives_and_ends_at_the_server_too(base: str, strict: Upstream, secret: bool) -> None:
    """Login, profile, refreshes with and without the provider, revocation that reaches the provider."""
    held = logged_in(base, strict, secret=secret)
    assert held.userinfo().json() == PROFILES[strict.name]
    assert held.refresh().status_code == 200
    assert [call.what for call in strict.calls()] == ["authorization_code"]

    first = held.upstream_tokens()
    pass_time(strict, due(strict))
    assert held.refresh().status_code == 200
    second = held.upstream_tokens()
    assert second.access_token != first.access_token
    assert second.refresh_token != first.refresh_token
    assert held.userinfo().json() == PROFILES[strict.name]
    pass_time(strict, strict.lifetime + 1)
    assert held.userinfo().json() == PROFILES[strict.name]
    assert strict.refreshes() == ["", ""]

    last = held.upstream_tokens()
    assert ask_who(strict, RESOURCE, last.access_token) == 200
    ended = revoke(held.client, held.refresh_token)
    assert (ended.status_code, ended.text) == (200, "")
    assert ask_who(strict, RESOURCE, last.access_token) == 401
    assert refresh_directly(strict, str(last.refresh_token)).status_code == 400
    assert held.userinfo().status_code == 401
    assert_invalid_grant(held.refresh())


def test_a_token_that_only_the_server_thinks_expired_is_renewed(base: str, strict: Upstream) -> None:
    """Row 27, clocks that differ: a 401 for a token that should be good costs one forced refresh, and the person sees nothing."""
    held = logged_in(base, strict)
    before = held.upstream_tokens()
    strict.process.set_clock(strict.lifetime + 60)
    assert held.userinfo().json() == PROFILES[strict.name]
    assert strict.refreshes() == [""]
    assert held.upstream_tokens().refresh_token != before.refresh_token


def test_two_logins_of_one_person_are_two(base: str, strict: Upstream) -> None:
    """The end of one says nothing about the other."""
    one, other = logged_in(base, strict), logged_in(base, strict)
    assert one.grant.subject == other.grant.subject
    assert revoke(one.client, one.refresh_token).status_code == 200
    pass_time(strict, strict.lifetime + 1)
    assert other.refresh().status_code == 200
    assert other.userinfo().json() == PROFILES[strict.name]


def test_another_person_is_another_subject(base: str, strict: Upstream) -> None:
    client = register(base, providers=(strict.name,))
    first = Held(client, strict.log_in(client).tokens())
    second = Held(client, strict.log_in(client, username="janedoe").tokens())
    assert first.grant.subject != second.grant.subject
    assert second.userinfo().json()["preferred_username"] == "janedoe"


def test_a_person_who_says_no(base: str, strict: Upstream) -> None:
    """Row 1: access_denied at the client, with its state."""
    login = strict.log_in(register(base, providers=(strict.name,)), allow=False)
    assert login.answer["error"] == "access_denied"
    assert login.answer["state"] == login.parameters["state"]
    assert strict.calls() == []


def test_a_code_of_the_server_is_exchanged_once(base: str, strict: Upstream) -> None:
    """Both servers end a grant whose code comes twice; a browser that goes back and reloads must not bring that about."""
    client = register(base, providers=(strict.name,))
    login = Login(client, strict.name)
    back = strict.sign_in(login.browser, login.start())
    login.read_answer(login.browser.get(back))
    assert login.browser.get(back).status_code == 400
    assert strict.calls() == [Call("authorization_code", "")]
    held = Held(client, login.tokens())
    pass_time(strict, strict.lifetime + 1)
    assert held.refresh().status_code == 200


def test_an_answer_without_the_issuer_is_refused_where_the_server_always_names_it(base: str, oidc: Upstream) -> None:
    """RFC 9207 section 2.4: oidc-provider announces the parameter, so its absence is a sign of mix-up."""
    oidc.forget_calls()
    login = Login(register(base, providers=(oidc.name,)), oidc.name)
    back = oidc.sign_in(login.browser, login.start())
    url, _, query = back.partition("?")
    kept = [(name, value) for name, value in parse_qsl(query) if name != "iss"]
    assert len(kept) == len(parse_qsl(query)) - 1
    answer = login.read_answer(login.browser.get(f"{url}?{urlencode(kept)}"))
    assert answer["error"] == "server_error"
    assert oidc.calls() == []


def test_the_wrong_code_ends_nothing_at_the_broker(base: str, strict: Upstream) -> None:
    """A code that the server does not know: server_error at the client (row 9), and the next login works."""
    client = register(base, providers=(strict.name,))
    login = Login(client, strict.name)
    back = strict.sign_in(login.browser, login.start())
    url, _, query = back.partition("?")
    wrong = [(name, "wrong" if name == "code" else value) for name, value in parse_qsl(query)]
    answer = login.read_answer(login.browser.get(f"{url}?{urlencode(wrong)}"))
    assert answer["error"] == "server_error"
    assert strict.calls() == [Call("authorization_code", "invalid_grant")]
    assert "access_token" in strict.log_in(client).tokens()
