"""Sign-out: OpenID Connect RP-Initiated Logout, Back-Channel Logout, and what a forged request cannot do."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import requests

from broker_testing.browser import forms
from broker_testing.conformance import AFTER_LOGOUT, Clients
from broker_testing.journey import Login, TestClient, post_form, refresh, register, revoke, userinfo
from broker_testing.parallel import at_once
from broker_testing.receiver import Receiver, receiver
from broker_testing.sandbox import counted, end_at_provider, order_fault, start_counting
from broker_testing.signing import new_key
from broker_testing.trouble import pass_time, store_refuses
from conformance.test_refresh_cookie import by_cookie, cookie_of, logged_in
from conformance.wire import assert_alive, assert_dead, assert_error, assert_goes_on, assert_invalid_token, verified

EVENT = "http://schemas.openid.net/event/backchannel-logout"


def log_out(
    base: str, *, method: str = "GET", cookie: str | None = None, site: str = "same-origin", **parameters: str
) -> requests.Response:
    """The browser's request to /logout. `site`: where the page that sends it is, as the browser says."""
    sent = {"params": parameters} if method == "GET" else {"data": parameters}
    headers = {"sec-fetch-site": site} if cookie is None else {"sec-fetch-site": site, "cookie": cookie}
    return requests.request(method, f"{base}/logout", headers=headers, timeout=30, allow_redirects=False, **sent)  # type: ignore[arg-type]


def assert_page(response: requests.Response, status: int, words: str) -> None:
    """A page for a person, that no frame may show and no cache keeps."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert response.headers["cache-control"] == "no-store"
    assert words in response.text


def assert_refused(response: requests.Response) -> None:
    """A page that redirects nowhere, and no cookie is touched."""
    assert_page(response, 400, "Sign-out cannot go on")
    assert "location" not in response.headers
    assert "set-cookie" not in response.headers


# -- the client's redirect ----------------------------------------------------------------------------------------


@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 2", "OpenID RP-Initiated Logout 3")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_login_ends_and_the_browser_goes_back(clients: Clients, method: str) -> None:
    client = clients.post_logout
    tokens, other = Login(client).tokens(), Login(client).tokens()
    response = log_out(
        clients.base,
        method=method,
        id_token_hint=tokens["id_token"],
        client_id=client.client_id,
        post_logout_redirect_uri=AFTER_LOGOUT,
        state="a b&c=ü",
        ui_locales="de",
        logout_hint="johndoe",
    )
    assert response.status_code == 303
    assert response.headers["location"] == f"{AFTER_LOGOUT}?state=a%20b%26c%3D%C3%BC"
    assert_dead(client, tokens)
    assert_alive(client, other["access_token"])
    assert_goes_on(client, other["refresh_token"])


@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 3")
def test_without_state_and_with_a_query_of_its_own(clients: Clients) -> None:
    client = clients.post_logout
    for address, state, expected in (
        (AFTER_LOGOUT, {}, AFTER_LOGOUT),
        (f"{AFTER_LOGOUT}?x=1", {"state": "s"}, f"{AFTER_LOGOUT}?x=1&state=s"),
    ):
        hint = Login(client).tokens()["id_token"]
        response = log_out(clients.base, id_token_hint=hint, post_logout_redirect_uri=address, **state)
        assert (response.status_code, response.headers["location"]) == (303, expected)


@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 2")
def test_without_an_address_to_return_to_a_page_says_that_it_is_done(clients: Clients) -> None:
    client = clients.public
    tokens = Login(client).tokens()
    assert_page(log_out(clients.base, id_token_hint=tokens["id_token"]), 200, "You are signed out")
    assert_dead(client, tokens)


@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 2")
def test_signing_out_twice_is_no_error(clients: Clients) -> None:
    client = clients.post_logout
    tokens = Login(client).tokens()
    for _ in range(2):
        response = log_out(clients.base, id_token_hint=tokens["id_token"], post_logout_redirect_uri=AFTER_LOGOUT)
        assert response.status_code == 303
    assert_dead(client, tokens)


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 2")
def test_an_id_token_that_has_expired_still_tells_whose_login_it_was(clients: Clients) -> None:
    client = clients.post_logout
    first = Login(client).tokens()
    pass_time(3600)
    tokens = assert_goes_on(client, first["refresh_token"])
    response = log_out(clients.base, id_token_hint=first["id_token"], post_logout_redirect_uri=AFTER_LOGOUT)
    assert response.status_code == 303
    assert_dead(client, tokens)


@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 2")
def test_the_id_token_of_a_refresh_is_a_hint_too(clients: Clients) -> None:
    client = clients.public
    tokens = assert_goes_on(client, Login(client).tokens()["refresh_token"])
    assert log_out(clients.base, id_token_hint=tokens["id_token"]).status_code == 200
    assert_dead(client, tokens)


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 3.1", "RFC 9700 4.11")
@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        f"{AFTER_LOGOUT}/",
        f"{AFTER_LOGOUT}/more",
        f"{AFTER_LOGOUT}?y=2",
        f"{AFTER_LOGOUT}#x",
        "https://APP.example/bye",
        "https://app.example:443/bye",
        "https://app.example@evil.example/bye",
        "https://app.example/callback",
        "javascript:alert(1)",
        "//evil.example",
        "/bye",
    ],
)
def test_only_registered_addresses_and_nothing_has_happened(clients: Clients, address: str) -> None:
    client = clients.post_logout
    tokens = Login(client).tokens()
    for hint in ({"id_token_hint": tokens["id_token"]}, {"client_id": client.client_id}, {}):
        assert_refused(log_out(clients.base, post_logout_redirect_uri=address, state="s", **hint))
    assert_alive(client, tokens["access_token"])


@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 3.1")
def test_a_registered_address_of_another_client(clients: Clients) -> None:
    client = clients.public
    tokens = Login(client).tokens()
    hint = {"id_token_hint": tokens["id_token"]}
    assert_refused(log_out(clients.base, post_logout_redirect_uri=AFTER_LOGOUT, **hint))
    other = clients.post_logout.client_id
    assert_refused(log_out(clients.base, post_logout_redirect_uri=AFTER_LOGOUT, client_id=other, **hint))
    assert_alive(client, tokens["access_token"])


@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 6")
def test_a_hint_of_another_login_leaves_the_browser_its_own(clients: Clients) -> None:
    """Logout CSRF: a stranger's page sends the browser here with an ID token of the stranger's own login."""
    client = clients.refresh_cookie
    _, cookie = logged_in(client)
    strangers, _ = logged_in(client)
    for sent in (cookie, None):
        response = log_out(clients.base, id_token_hint=strangers["id_token"], cookie=sent)
        assert response.status_code == 200
        assert "set-cookie" not in response.headers
    assert_invalid_token(userinfo(clients.base, strangers["access_token"]))
    assert by_cookie(client, cookie).status_code == 200


@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 6")
def test_without_a_hint_nothing_ends_and_nothing_redirects(clients: Clients) -> None:
    client = clients.post_logout
    tokens = Login(client).tokens()
    for parameters in (
        {},
        {"client_id": client.client_id},
        {"client_id": client.client_id, "post_logout_redirect_uri": AFTER_LOGOUT},
        {"client_id": "nobody", "post_logout_redirect_uri": AFTER_LOGOUT},
        {"post_logout_redirect_uri": AFTER_LOGOUT, "logout_hint": "johndoe"},
    ):
        for method in ("GET", "POST"):
            assert_refused(log_out(clients.base, method=method, **parameters))
    assert_alive(client, tokens["access_token"])


def forged(tokens: dict[str, Any], base: str) -> Iterator[str]:
    """What is no ID token of this broker's."""
    genuine = tokens["id_token"]
    header, claims = jwt.get_unverified_header(genuine), jwt.decode(genuine, options={"verify_signature": False})
    yield from ("x", "a.b.c", tokens["access_token"], tokens["refresh_token"], f"{genuine[:-4]}AAAA")
    yield jwt.encode(claims, new_key("RS256"), algorithm="RS256", headers=header)
    yield jwt.encode(claims, new_key("ES256"), algorithm="ES256", headers=header | {"alg": "ES256"})
    yield jwt.encode(claims, "secret" * 8, algorithm="HS256", headers=header | {"alg": "HS256"})
    yield jwt.encode(claims, "", algorithm="none", headers={"typ": "JWT", "kid": header["kid"]})


@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 2", "RFC 8725 3.1")
def test_a_hint_that_is_no_id_token_of_ours(clients: Clients) -> None:
    client = clients.post_logout
    tokens = Login(client).tokens()
    for hint in forged(tokens, clients.base):
        assert_refused(
            log_out(
                clients.base,
                id_token_hint=hint,
                client_id=client.client_id,
                post_logout_redirect_uri=AFTER_LOGOUT,
            )
        )
    assert_alive(client, tokens["access_token"])
    assert_goes_on(client, tokens["refresh_token"])


@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 2")
def test_a_hint_can_do_nothing_but_log_out(clients: Clients) -> None:
    """It is no secret: it gets neither tokens nor a profile, and speaks for no other client."""
    client = clients.public
    tokens = Login(client).tokens()
    hint = tokens["id_token"]
    assert_refused(log_out(clients.base, id_token_hint=hint, client_id=clients.other_public.client_id))
    assert_invalid_token(userinfo(clients.base, hint))
    assert_error(refresh(client, hint), 400, "invalid_grant")
    assert revoke(client, hint).status_code == 200
    assert_alive(client, tokens["access_token"])
    done = log_out(clients.base, id_token_hint=hint)
    assert done.status_code == 200
    subject = jwt.decode(hint, options={"verify_signature": False})["sub"]
    assert subject not in done.text
    assert "tb" + "r_" not in done.text + str(done.headers)


@pytest.mark.spec("GEN-143", "RFC 6749 3.1")
def test_requests_that_cannot_be_read(clients: Clients) -> None:
    client = clients.post_logout
    tokens = Login(client).tokens()
    url, hint = f"{clients.base}/logout", tokens["id_token"]
    for query in (f"id_token_hint={hint}&id_token_hint={hint}", f"id_token_hint={hint}&state=%ff", "client_id=%ff"):
        assert_refused(requests.get(f"{url}?{query}", timeout=30, allow_redirects=False))
    mixed = requests.post(f"{url}?state=s", data={"id_token_hint": hint}, timeout=30, allow_redirects=False)
    assert_refused(mixed)
    assert_refused(requests.post(url, json={"id_token_hint": hint}, timeout=30, allow_redirects=False))
    for method in ("HEAD", "PUT", "DELETE", "OPTIONS"):
        response = requests.request(method, url, params={"id_token_hint": hint}, timeout=30)
        assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")
    assert_alive(client, tokens["access_token"])


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "RFC 9700 4.11")
def test_a_client_that_is_disabled_or_gone(clients: Clients) -> None:
    """The login still ends; but nobody is sent to a client that was switched off."""
    client = register(clients.base, providers=("openid",), post_logout_redirect_uris=(AFTER_LOGOUT,))
    hint = Login(client).tokens()["id_token"]
    from broker.runtime import runtime
    from broker_testing.journey import change

    change(client, disabled=True)
    assert_refused(log_out(clients.base, id_token_hint=hint, post_logout_redirect_uri=AFTER_LOGOUT))
    assert_page(log_out(clients.base, id_token_hint=hint), 200, "You are signed out")
    runtime().registry.remove_client(client.client_id)
    assert_refused(log_out(clients.base, id_token_hint=hint))


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "RFC 9110 15.6.4")
def test_a_store_that_is_down(clients: Clients) -> None:
    """Nobody is told that he is signed out while he is not."""
    client = clients.post_logout
    tokens = Login(client).tokens()
    asked = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": AFTER_LOGOUT}
    with store_refuses("UpdateItem", "ProvisionedThroughputExceededException"):
        response = log_out(clients.base, **asked)
    assert_page(response, 503, "Sign-out cannot go on")
    assert int(response.headers["retry-after"]) >= 1
    assert_alive(client, tokens["access_token"])
    assert log_out(clients.base, **asked).status_code == 303


@pytest.mark.spec("GEN-143", "RFC 9700 4.16")
def test_what_a_stranger_wrote_is_not_on_the_page(clients: Clients) -> None:
    for name in ("state", "post_logout_redirect_uri", "client_id", "id_token_hint", "logout_hint"):
        response = log_out(clients.base, **{name: "<script>alert(1)</script>"})
        assert "<script" not in response.text


# -- clients whose refresh token is in a cookie -------------------------------------------------------------------


@pytest.mark.spec("GEN-143", "BFF-135", "browser-based apps 6.1.3.2")
def test_signing_out_clears_the_refresh_cookie_and_ends_the_login(clients: Clients) -> None:
    client = clients.refresh_cookie
    tokens, cookie = logged_in(client)
    response = log_out(clients.base, id_token_hint=tokens["id_token"], cookie=cookie)
    assert_page(response, 200, "You are signed out")
    assert cookie_of(response) == f"{cookie.partition('=')[0]}="
    assert "Max-Age=0" in response.headers["set-cookie"]
    assert_invalid_token(userinfo(clients.base, tokens["access_token"]))


@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 6")
def test_without_a_hint_the_person_is_asked_first(clients: Clients) -> None:
    client = clients.refresh_cookie
    tokens, cookie = logged_in(client)
    session = requests.Session()
    page = session.get(f"{clients.base}/logout", params={"client_id": client.client_id}, timeout=30)
    assert_page(page, 200, "Sign out?")
    assert_alive(client, tokens["access_token"])
    (form,) = forms(page)
    assert (form.action, form.method) == (f"{clients.base}/logout", "post")
    asked = "; ".join([*(f"{one.name}={one.value}" for one in session.cookies), cookie])
    # Only the browser that was shown the question can answer it.
    assert_page(log_out(clients.base, method="POST", cookie=cookie, **form.fields), 200, "Sign out?")
    changed = form.fields | {"token": form.fields["token"][:-1] + "?"}
    assert_page(log_out(clients.base, method="POST", cookie=asked, **changed), 200, "Sign out?")
    assert_page(log_out(clients.base, cookie=asked, **form.fields), 200, "Sign out?")
    for site in ("same-site", "cross-site"):
        assert_page(log_out(clients.base, method="POST", cookie=asked, site=site, **form.fields), 200, "Sign out?")
    assert_alive(client, tokens["access_token"])
    done = log_out(clients.base, method="POST", cookie=asked, **form.fields)
    assert_page(done, 200, "You are signed out")
    assert_invalid_token(userinfo(clients.base, tokens["access_token"]))


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 3")
def test_the_question_keeps_the_address_and_the_state(clients: Clients) -> None:
    client = register(
        clients.base, providers=("openid",), refresh_cookie=True, post_logout_redirect_uris=(AFTER_LOGOUT,)
    )
    asked = {"client_id": client.client_id, "post_logout_redirect_uri": AFTER_LOGOUT, "state": '"><b>'}
    session = requests.Session()
    page = session.get(f"{clients.base}/logout", params=asked, timeout=30)
    assert '"><b>' not in page.text
    (form,) = forms(page)
    assert {name: form.fields[name] for name in asked} == asked
    assert re.search(r"form-action [^;]*https:", page.headers["content-security-policy"])
    done = session.post(f"{clients.base}/logout", data=form.fields, timeout=30, allow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, f"{AFTER_LOGOUT}?state=%22%3E%3Cb%3E")
    assert_refused(log_out(clients.base, **(asked | {"post_logout_redirect_uri": "https://evil.example/"})))


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "RFC 7009 2.1")
def test_the_provider_is_told_where_the_browser_brought_the_refresh_token(clients: Clients) -> None:
    client = clients.refresh_cookie
    tokens, cookie = logged_in(client)
    start_counting(clients.base, "openid")
    assert log_out(clients.base, id_token_hint=tokens["id_token"], cookie=cookie).status_code == 200
    assert counted(clients.base, "openid") == {"revoke": 1}


# -- telling the client's server ----------------------------------------------------------------------------------


@pytest.fixture
def told() -> Iterator[Receiver]:
    """A client's server that waits for logout tokens."""
    with receiver() as listening:
        yield listening


def told_client(clients: Clients, told: Receiver, **attributes: Any) -> TestClient:
    """A client that wants to be told."""
    return register(clients.base, providers=("openid",), backchannel_logout_uri=told.url, **attributes)


def assert_logout_token(client: TestClient, told: Receiver, id_token: str, alg: str = "RS256") -> None:
    """Exactly one logout token was sent, for the login of this ID token."""
    (form,) = told.received
    assert form.pop("content-type") == "application/x-www-form-urlencoded"
    assert set(form) == {"logout_token"}
    text = form["logout_token"]
    claims = verified(client.base, text, audience=client.client_id, typ="logout+jwt")
    assert jwt.get_unverified_header(text)["alg"] == alg
    login = jwt.decode(id_token, options={"verify_signature": False})
    assert set(claims) == {"iss", "aud", "sub", "sid", "iat", "exp", "jti", "events"}
    assert (claims["sub"], claims["sid"]) == (login["sub"], login["sid"])
    assert claims["events"] == {EVENT: {}}
    assert 0 < claims["exp"] - claims["iat"] <= 120
    assert len(claims["jti"]) >= 16


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "OpenID Back-Channel Logout 2.4", "OpenID Back-Channel Logout 2.5")
@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_a_logout_token_at_sign_out(clients: Clients, told: Receiver, alg: str) -> None:
    client = told_client(clients, told, id_token_alg=alg)
    tokens = Login(client).tokens()
    for _ in range(2):
        assert log_out(clients.base, id_token_hint=tokens["id_token"]).status_code == 200
    assert_logout_token(client, told, tokens["id_token"], alg)


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "OpenID Back-Channel Logout 2.6", "RFC 8725 3.11")
def test_a_logout_token_is_no_id_token(clients: Clients, told: Receiver) -> None:
    client = told_client(clients, told)
    log_out(clients.base, id_token_hint=Login(client).tokens()["id_token"])
    logout_token = told.received[0]["logout_token"]
    assert_refused(log_out(clients.base, id_token_hint=logout_token))
    assert_invalid_token(userinfo(clients.base, logout_token))


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "OpenID Back-Channel Logout 2.5", "RFC 9700 4.14.2")
def test_a_logout_token_after_reuse(clients: Clients, told: Receiver) -> None:
    client = told_client(clients, told)
    first = Login(client).tokens()
    assert_goes_on(client, first["refresh_token"])
    pass_time(31)
    for _ in range(2):
        assert_error(refresh(client, first["refresh_token"]), 400, "invalid_grant")
    assert_logout_token(client, told, first["id_token"])


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "OpenID Back-Channel Logout 2.5", "RFC 6749 4.1.2")
def test_a_logout_token_after_the_replay_of_a_code(clients: Clients, told: Receiver) -> None:
    client = told_client(clients, told)
    login = Login(client)
    tokens = login.tokens()
    answers = at_once([login.redeem] * 3)
    assert {answer.status_code for answer in answers} == {400}
    assert_dead(client, tokens)
    assert_logout_token(client, told, tokens["id_token"])


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "OpenID Back-Channel Logout 2.5")
@pytest.mark.parametrize("way", ["refresh", "userinfo"])
def test_a_logout_token_when_the_provider_ends_the_access(clients: Clients, told: Receiver, way: str) -> None:
    client = told_client(clients, told)
    tokens = Login(client).tokens()
    end_at_provider(clients.base, "openid", "grant")
    pass_time(4000)  # both the provider's and our own access token are over
    if way == "userinfo":
        pass_time(-4000)
        assert_invalid_token(userinfo(clients.base, tokens["access_token"]))
    else:
        assert_error(refresh(client, tokens["refresh_token"]), 400, "invalid_grant")
    assert_logout_token(client, told, tokens["id_token"])


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "OpenID Back-Channel Logout 2.5")
def test_a_client_that_revokes_knows_it_already(clients: Clients, told: Receiver) -> None:
    client = told_client(clients, told)
    tokens = Login(client).tokens()
    assert revoke(client, tokens["refresh_token"]).status_code == 200
    assert log_out(clients.base, id_token_hint=tokens["id_token"]).status_code == 200
    assert told.received == []


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "OpenID Back-Channel Logout 2.8")
@pytest.mark.parametrize("status", [400, 500, 302])
def test_a_client_that_does_not_take_it_changes_nothing(clients: Clients, told: Receiver, status: int) -> None:
    told.status = status
    client = told_client(clients, told, post_logout_redirect_uris=(AFTER_LOGOUT,))
    tokens = Login(client).tokens()
    response = log_out(clients.base, id_token_hint=tokens["id_token"], post_logout_redirect_uri=AFTER_LOGOUT)
    assert response.status_code == 303
    assert_dead(client, tokens)
    assert len(told.received) == 1


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "OpenID Back-Channel Logout 2.5")
@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest", "https://10.0.0.1/x", "http://127.0.0.1:1/x", "ftp://a.example/", "https://[/"],
)
def test_addresses_that_may_not_be_called_or_do_not_answer(clients: Clients, url: str) -> None:
    client = register(clients.base, providers=("openid",), backchannel_logout_uri=url)
    tokens = Login(client).tokens()
    began = time.monotonic()
    assert log_out(clients.base, id_token_hint=tokens["id_token"]).status_code == 200
    assert time.monotonic() - began < 20
    assert_dead(client, tokens)


@pytest.mark.local_only
@pytest.mark.spec("GEN-143", "RFC 7009 2.2")
def test_a_provider_that_cannot_revoke_does_not_stop_the_rest(clients: Clients, told: Receiver) -> None:
    client = told_client(clients, told, refresh_cookie=True)
    tokens, cookie = logged_in(client)
    order_fault(clients.base, "openid", "revoke", "status", 500)
    assert log_out(clients.base, id_token_hint=tokens["id_token"], cookie=cookie).status_code == 200
    assert_invalid_token(userinfo(clients.base, tokens["access_token"]))
    assert_logout_token(client, told, tokens["id_token"])


@pytest.mark.spec("GEN-143", "OpenID RP-Initiated Logout 2.1", "OpenID Back-Channel Logout 2.1")
def test_what_the_metadata_says_of_it(clients: Clients) -> None:
    document = requests.get(f"{clients.base}/.well-known/openid-configuration", timeout=30).json()
    assert document["end_session_endpoint"] == f"{clients.base}/logout"
    assert document["backchannel_logout_supported"] is True
    assert document["backchannel_logout_session_supported"] is True


@pytest.mark.spec("GEN-143", "RFC 9700 2.6")
def test_there_is_no_cors(clients: Clients) -> None:
    """A page navigates there; no script may call it."""
    origin = clients.post_logout.registered.origins[0]
    response = requests.get(f"{clients.base}/logout", headers={"origin": origin}, timeout=30)
    assert "access-control-allow-origin" not in response.headers
    assert post_form(f"{clients.base}/logout", {}, headers={"origin": origin}).status_code == 400
