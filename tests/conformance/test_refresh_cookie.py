"""The browser's door: a refresh token that is only ever in an HttpOnly cookie (OAuth 2.0 for Browser-Based Apps)."""

from __future__ import annotations

from dataclasses import replace
from http.cookies import SimpleCookie
from typing import Any

import jwt
import pytest
import requests

from broker_testing.conformance import Clients
from broker_testing.journey import Login, TestClient, post_form, refresh
from conformance.wire import assert_alive, assert_error, assert_invalid_token, assert_tokens

CUSTOM_HEADER = {"x-requested-with": "fetch"}
EVIL = "https://evil.example"


def origin_of(client: TestClient) -> str:
    """The origin of the client's pages."""
    return client.registered.origins[0]


def logged_in(client: TestClient) -> tuple[dict[str, Any], str]:
    """(token answer, cookie as `name=value`) of a login whose code the client's own page redeemed."""
    login = Login(client)
    login.run()
    response = redeemed(login, origin_of(client))
    return assert_tokens(response), cookie_of(response)


def redeemed(login: Login, origin: str | None) -> requests.Response:
    """The code exchanged from a page of that origin."""
    form = login.code_form()
    headers = {} if origin is None else {"origin": origin}
    return post_form(f"{login.client.base}/token", form | login.client.credentials(), headers=headers)


def cookie_of(response: requests.Response) -> str:
    """The one cookie of an answer, as a browser sends it back."""
    (morsel,) = SimpleCookie(response.headers["set-cookie"]).values()
    return f"{morsel.key}={morsel.value}"


def by_cookie(
    client: TestClient, cookie: str | None, path: str = "/refresh", **changes: str | None
) -> requests.Response:
    """A request of the client's own page to /refresh or /revoke, which brings the cookie. `changes`: of the form and,
    for `origin` and `x_requested_with`, of the headers; None removes one."""
    headers = {"origin": origin_of(client)} | CUSTOM_HEADER | ({} if cookie is None else {"cookie": cookie})
    for name in ("origin", "x_requested_with"):
        if name in changes:
            value, header = changes.pop(name), name.replace("_", "-")
            headers = {known: old for known, old in headers.items() if known != header}
            headers |= {} if value is None else {header: value}
    return post_form(f"{client.base}{path}", {"client_id": client.client_id}, changes, headers=headers)


def assert_no_cookie(response: requests.Response) -> None:
    """The browser keeps what it has."""
    assert "set-cookie" not in response.headers


def assert_cookie_rules(header: str, *, secure: bool) -> None:
    """The rules of a session cookie; `secure`: on https, where the prefix makes the browser enforce them."""
    parts = [part.strip() for part in header.split(";")]
    attributes = {part.partition("=")[0].lower(): part.partition("=")[2] for part in parts[1:]}
    assert "httponly" in attributes
    assert attributes["samesite"] == "Strict"
    assert attributes["path"] == "/"
    assert "domain" not in attributes
    assert int(attributes["max-age"]) > 0
    assert ("secure" in attributes) is secure
    assert parts[0].startswith("__Host-") is secure


@pytest.mark.spec("BFF-131", "browser-based apps 6.1.3.2")
def test_the_cookie_at_login_and_at_refresh(clients: Clients) -> None:
    client = clients.refresh_cookie
    login = Login(client)
    login.run()
    response = redeemed(login, origin_of(client))
    assert_tokens(response)
    secure = clients.base.startswith("https://")
    assert_cookie_rules(response.headers["set-cookie"], secure=secure)
    renewed = by_cookie(client, cookie_of(response))
    assert_tokens(renewed)
    assert_cookie_rules(renewed.headers["set-cookie"], secure=secure)


@pytest.mark.local_only
@pytest.mark.spec("BFF-131", "RFC 6265bis 4.1.3.2")
def test_on_https_the_cookie_is_secure_and_has_the_host_prefix(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    from broker.runtime import runtime

    client = clients.refresh_cookie
    login = Login(client)
    login.run()
    monkeypatch.setattr(runtime(), "settings", replace(runtime().settings, issuer="https://broker.example"))
    response = redeemed(login, origin_of(client))
    assert_tokens(response)
    assert_cookie_rules(response.headers["set-cookie"], secure=True)
    renewed = by_cookie(client, cookie_of(response))
    assert_tokens(renewed)
    assert_cookie_rules(renewed.headers["set-cookie"], secure=True)
    # Only the cookie that no other host could have planted counts.
    assert_error(by_cookie(client, cookie_of(renewed).removeprefix("__Host-")), 400, "invalid_grant")


# -- forged requests ----------------------------------------------------------------------------------------------


@pytest.mark.spec("BFF-132", "browser-based apps 6.1.3.3")
@pytest.mark.parametrize("path", ["/refresh", "/revoke"])
def test_a_forged_request_has_no_effect(clients: Clients, path: str) -> None:
    """A foreign page can make the browser send the cookie, but neither our Origin nor the header."""
    client = clients.refresh_cookie
    tokens, cookie = logged_in(client)
    forgeries: tuple[dict[str, str | None], ...] = (
        {"x_requested_with": None},
        {"x_requested_with": ""},
        {"origin": None},
        {"origin": EVIL},
        {"origin": "null"},
        {"origin": f"{origin_of(client)}.evil.example"},
        {"origin": EVIL, "x_requested_with": None},
    )
    for forged in forgeries:
        response = by_cookie(client, cookie, path, **forged)
        assert_error(response, 403, "access_denied")
        assert_no_cookie(response)
        if forged.get("origin", origin_of(client)) != origin_of(client):
            assert "access-control-allow-origin" not in response.headers
    assert_alive(client, tokens["access_token"])
    # Had one of them rotated the token, and this were its second use, the cookie would be the same.
    renewed = by_cookie(client, cookie)
    assert_tokens(renewed)
    assert_tokens(by_cookie(client, cookie_of(renewed)))


@pytest.mark.spec("BFF-132", "RFC 9700 4.7")
def test_a_foreign_page_cannot_log_a_browser_in(clients: Clients) -> None:
    """Login CSRF: the attacker's own code or refresh token, sent by the victim's browser, must not set a cookie."""
    client = clients.refresh_cookie
    login = Login(client)
    login.run()
    for origin in (None, EVIL, "null"):
        refused = redeemed(login, origin)
        assert_error(refused, 403, "access_denied")
        assert_no_cookie(refused)
    response = redeemed(login, origin_of(client))
    assert_tokens(response)
    token = cookie_of(response).partition("=")[2]
    for origin in (None, EVIL, "null"):
        headers = {} if origin is None else {"origin": origin}
        form = {"grant_type": "refresh_token", "refresh_token": token} | client.credentials()
        for path in ("/token", "/refresh"):
            refused = post_form(f"{client.base}{path}", form, headers=headers)
            assert_error(refused, 403, "access_denied")
            assert_no_cookie(refused)
    assert_tokens(by_cookie(client, cookie_of(response)))


@pytest.mark.spec("BFF-132", "RFC 9700 4.7")
def test_a_foreign_page_cannot_log_a_browser_out(clients: Clients) -> None:
    """Not even by revoking a token of its own: the answer must leave the cookie alone."""
    client = clients.refresh_cookie
    _, cookie = logged_in(client)
    for origin in (None, EVIL):
        response = by_cookie(client, cookie, "/revoke", token="x", origin=origin, x_requested_with=None)
        assert_no_cookie(response)
    assert_tokens(by_cookie(client, cookie))


@pytest.mark.spec("BFF-132", "Fetch 3.2")
def test_cors_with_credentials_for_the_clients_page_alone(clients: Clients) -> None:
    client = clients.refresh_cookie
    _, cookie = logged_in(client)
    response = by_cookie(client, cookie)
    assert response.headers["access-control-allow-origin"] == origin_of(client)
    assert response.headers["access-control-allow-credentials"] == "true"
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "x-requested-with"}
    url = f"{client.base}/refresh"
    preflight = requests.options(url, headers={"origin": origin_of(client)} | asked, timeout=30)
    assert preflight.headers["access-control-allow-origin"] == origin_of(client)
    assert preflight.headers["access-control-allow-credentials"] == "true"
    assert "x-requested-with" in preflight.headers["access-control-allow-headers"].lower()
    foreign = requests.options(url, headers={"origin": EVIL} | asked, timeout=30)
    assert not [name for name in foreign.headers if name.lower().startswith("access-control-allow-")]


# -- what a script can read ---------------------------------------------------------------------------------------


@pytest.mark.spec("BFF-133", "browser-based apps 6.2.2.2")
def test_no_refresh_token_in_any_answer(clients: Clients) -> None:
    client = clients.refresh_cookie
    tokens, cookie = logged_in(client)
    assert "refresh_token" not in tokens
    for _ in range(2):
        value = cookie.partition("=")[2]
        renewed = by_cookie(client, cookie)
        document = assert_tokens(renewed)
        assert "refresh_token" not in document
        cookie = cookie_of(renewed)
        for secret in (value, cookie.partition("=")[2]):
            assert secret not in renewed.text
        assert_alive(client, document["access_token"])


@pytest.mark.spec("BFF-133", "browser-based apps 6.2.2.2")
def test_an_access_token_is_not_wider_than_asked(clients: Clients) -> None:
    client = clients.refresh_cookie
    _, cookie = logged_in(client)
    renewed = by_cookie(client, cookie, scope="openid")
    document = assert_tokens(renewed)
    claims = jwt.decode(document["access_token"], options={"verify_signature": False})
    assert document["scope"] == claims["scope"] == "openid"
    assert set(assert_alive(client, document["access_token"])) == {"sub"}
    full = assert_tokens(by_cookie(client, cookie_of(renewed)))
    assert set(full["scope"].split()) == {"openid", "profile", "email"}


# -- the session --------------------------------------------------------------------------------------------------


@pytest.mark.spec("BFF-135", "browser-based apps 6.1.3.2")
def test_every_login_has_another_cookie_value(clients: Clients) -> None:
    """Session fixation: a value known before the login is of no use after it."""
    client = clients.refresh_cookie
    _, first = logged_in(client)
    login = Login(client)
    login.browser.session.cookies.set(*first.split("=", 1))
    login.run()
    second = redeemed(login, origin_of(client))
    assert_tokens(second)
    assert cookie_of(second) != first
    assert cookie_of(second).partition("=")[0] == first.partition("=")[0]


@pytest.mark.spec("BFF-135", "RFC 7009 2.1")
def test_signing_out_ends_the_login_and_not_the_cookie_alone(clients: Clients) -> None:
    client = clients.refresh_cookie
    tokens, cookie = logged_in(client)
    response = by_cookie(client, cookie, "/revoke")
    assert (response.status_code, response.content) == (200, b"")
    (cleared,) = SimpleCookie(response.headers["set-cookie"]).values()
    assert (cleared.key, cleared.value, cleared["max-age"]) == (cookie.partition("=")[0], "", "0")
    # Whoever kept a copy of the cookie has nothing.
    assert_error(by_cookie(client, cookie), 400, "invalid_grant")
    assert_invalid_token(requests.get(**userinfo_request(client, tokens["access_token"])))


def userinfo_request(client: TestClient, access_token: str) -> dict[str, Any]:
    """The arguments of a request to userinfo from the client's page."""
    headers = {"authorization": f"Bearer {access_token}", "origin": origin_of(client)}
    return {"url": f"{client.base}/userinfo", "headers": headers, "timeout": 30}


@pytest.mark.spec("BFF-135", "RFC 9700 4.14.2")
def test_the_cookies_rotation_is_the_same_rotation(clients: Clients) -> None:
    """A retry gets the same cookie; a cookie two generations old ends the session."""
    client = clients.refresh_cookie
    _, first = logged_in(client)
    second = by_cookie(client, first)
    assert cookie_of(by_cookie(client, first)) == cookie_of(second)
    third = by_cookie(client, cookie_of(second))
    tokens = assert_tokens(third)
    assert_error(by_cookie(client, first), 400, "invalid_grant")
    assert_error(by_cookie(client, cookie_of(third)), 400, "invalid_grant")
    assert_invalid_token(requests.get(**userinfo_request(client, tokens["access_token"])))


@pytest.mark.spec("BFF-131", "RFC 6749 5.2")
def test_without_a_cookie(clients: Clients) -> None:
    client = clients.refresh_cookie
    assert_error(by_cookie(client, None), 400, "invalid_grant")
    name = logged_in(client)[1].partition("=")[0]
    for value in ("", "x", "tbr_AAAA"):
        assert_error(by_cookie(client, f"{name}={value}"), 400, "invalid_grant")
    # Who signs out a second time, or after the cookie has run out, is signed out (RFC 7009 section 2.2).
    for cookie in (None, f"{name}=", f"{name}=x"):
        signed_out = by_cookie(client, cookie, "/revoke")
        assert (signed_out.status_code, signed_out.content) == (200, b"")
    # A client that is not registered for the cookie does not get this door.
    refused = by_cookie(clients.public, f"{name}=x")
    assert_error(refused, 400, "invalid_request")
    assert "refresh_token is missing" in refused.json()["error_description"]


@pytest.mark.spec("BFF-131", "browser-based apps 6.1.3.2")
def test_one_clients_cookie_is_not_anothers(clients: Clients) -> None:
    """Each client has a cookie of its own name, and a token in the wrong one is refused without harm."""
    client, other = clients.refresh_cookie, clients.public
    _, cookie = logged_in(client)
    stolen = refresh(other, cookie.partition("=")[2])
    assert_error(stolen, 400, "invalid_grant")
    assert_tokens(by_cookie(client, cookie))
