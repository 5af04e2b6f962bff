"""What holds at every endpoint: headers, errors that are not ours, spoofed hosts, odd parameter names."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from broker_testing.conformance import Clients
from broker_testing.journey import Login, post_form, refresh
from conformance.front_channel import assert_goes_on, assert_login_completes, assert_refused, issuer_of, query_of

ENDPOINTS = (
    "/authorize",
    "/callback/openid",
    "/consent",
    "/token",
    "/refresh",
    "/userinfo",
    "/revoke",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/jwks.json",
)
SPOOFED = "evil.example"
SPOOFING_HEADERS = (
    {"x-forwarded-host": SPOOFED},
    {"x-forwarded-host": SPOOFED, "x-forwarded-proto": "ftp", "x-forwarded-port": "81"},
    {"forwarded": f"host={SPOOFED};proto=https"},
    {"x-host": SPOOFED, "x-original-url": f"https://{SPOOFED}/", "x-rewrite-url": "/x", "x-forwarded-server": SPOOFED},
    {"x-forwarded-prefix": "/evil", "x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1"},
    {"origin": f"https://{SPOOFED}", "referer": f"https://{SPOOFED}/"},
)
ODD_NAMES = (
    "__proto__",
    "constructor",
    "__class__",
    "scope[a]",
    "scope[]",
    "client_id[$ne]",
    "a.b",
    "self",
    "é",
    "\0",
    "%",
)


@pytest.mark.spec("GEN-136", "RFC 6797 7.1", "RFC 9700 2.6")
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
@pytest.mark.parametrize("path", ENDPOINTS)
def test_every_answer_has_the_headers_that_all_have(clients: Clients, path: str, method: str) -> None:
    first, second = (requests.request(method, clients.base + path, timeout=30, allow_redirects=False) for _ in range(2))
    for response in (first, second):
        assert response.status_code < 500, response.text
        assert response.headers["strict-transport-security"] == "max-age=31536000"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        for telling in ("Traceback", 'File "', ".py", "botocore", "python"):
            assert telling not in response.text
        if response.headers["cache-control"] != "no-store":
            assert (path.split("/")[1], response.status_code) in ((".well-known", 200), (".well-known", 204))
    assert first.headers["x-request-id"]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.local_only
@pytest.mark.spec("GEN-136", "RFC 9110 15.6.1")
def test_a_fault_of_ours_tells_nothing_of_the_code(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    from broker.protocol import capabilities

    def fail(_: str) -> dict[str, Any]:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(capabilities, "metadata", fail)
    response = requests.get(f"{clients.base}/.well-known/openid-configuration", timeout=30)
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-request-id"]
    assert response.json() == {"error": "server_error", "error_description": "something went wrong here"}


@pytest.mark.spec("GEN-137", "RFC 6749 5.2")
@pytest.mark.parametrize(
    "path", ["/nothing", "/token/", "/token/x", "/TOKEN", "/introspection", "/callback", "/.well-known/x"]
)
def test_an_unknown_route_is_not_mistaken_for_an_oauth_answer(clients: Clients, path: str) -> None:
    response = post_form(clients.base + path, clients.confidential.credentials())
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"message": "Not Found"}
    assert "set-cookie" not in response.headers


@pytest.mark.spec("GEN-137", "RFC 6749 5.2")
def test_a_request_that_the_gateway_refuses_uses_nothing_up(clients: Clients) -> None:
    tokens = Login(clients.public).tokens()
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]} | clients.public.credentials()
    response = requests.post(f"{clients.base}/token", data=form, headers={"x-large": "x" * 12_000}, timeout=30)
    assert response.status_code in (400, 413, 431)
    assert "error" not in response.json()
    assert tokens["refresh_token"] not in response.text
    assert refresh(clients.public, tokens["refresh_token"]).status_code == 200


@pytest.mark.spec("GEN-138", "RFC 9700 4.13")
@pytest.mark.parametrize("headers", SPOOFING_HEADERS, ids="+".join)
def test_no_header_changes_issuer_redirect_or_metadata(clients: Clients, headers: dict[str, str]) -> None:
    url = f"{clients.base}/.well-known/oauth-authorization-server"
    assert requests.get(url, headers=headers, timeout=30).json() == requests.get(url, timeout=30).json()
    login = Login(clients.public)
    started = login.browser.get(login.authorize_url(), headers)
    assert query_of(assert_goes_on(login, started))["redirect_uri"] == f"{issuer_of(clients.base)}/callback/openid"
    back = login.browser.get(login.at_provider(started), headers)
    assert login.read_answer(back)["iss"] == issuer_of(clients.base)
    for response in (started, back):
        assert SPOOFED not in str(response.headers)
    assert login.redeem().status_code == 200


@pytest.mark.local_only
@pytest.mark.spec("GEN-138", "RFC 9700 4.13")
@pytest.mark.parametrize("host", [SPOOFED, f"{SPOOFED}:443", "localhost", "localhost@evil.example", "[::1]"])
def test_a_spoofed_host_changes_nothing(clients: Clients, host: str) -> None:
    url = f"{clients.base}/.well-known/oauth-authorization-server"
    assert requests.get(url, headers={"host": host}, timeout=30).json() == requests.get(url, timeout=30).json()
    login = Login(clients.public)
    refused = login.browser.get(login.authorize_url(scope="unknown"), {"host": host})
    assert login.read_answer(refused)["iss"] == issuer_of(clients.base)
    page = requests.get(f"{clients.base}/authorize?client_id=nobody", headers={"host": host}, timeout=30)
    assert page.status_code == 400
    assert SPOOFED not in page.text


@pytest.mark.spec("GEN-139", "RFC 6749 3.1")
def test_odd_parameter_names_are_ignored(clients: Clients) -> None:
    odd = dict.fromkeys(ODD_NAMES, "x")
    login = Login(clients.public)
    assert_login_completes(login, login.browser.get(f"{login.authorize_url()}&{urlencode(odd)}"))
    form = {"grant_type": "refresh_token", "refresh_token": Login(clients.public).tokens()["refresh_token"]}
    renewed = post_form(f"{clients.base}/token", odd | form | clients.public.credentials())
    assert renewed.status_code == 200, renewed.text
    form = {"token": renewed.json()["refresh_token"]} | clients.public.credentials()
    revoked = post_form(f"{clients.base}/revoke", odd | form)
    assert (revoked.status_code, revoked.text) == (200, "")


@pytest.mark.spec("GEN-139", "RFC 6749 3.1")
@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_parameter_names_do_not_stand_in_for_real_ones(clients: Clients, name: str) -> None:
    response = post_form(f"{clients.base}/token", {name: "authorization_code"} | clients.public.credentials())
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_request"
    started = requests.get(
        f"{clients.base}/authorize?{urlencode({name: clients.public.client_id})}", timeout=30, allow_redirects=False
    )
    assert_refused(started)
    assert requests.get(f"{clients.base}/userinfo?{urlencode({name: 'x'})}", timeout=30).status_code == 401
