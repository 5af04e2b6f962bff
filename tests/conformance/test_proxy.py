"""The API proxy: what a client may call, what goes on to the provider, and what comes back to the client's page."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import unquote

import pytest
import requests

from broker.runtime import runtime
from broker.upstream.api import MAX_BODY
from broker_testing.conformance import ORIGIN, RESOURCE, Clients
from broker_testing.journey import Login, TestClient, refresh, revoke
from broker_testing.proxy import ALLOWED, PROVIDER, allowed_calls, call, exchange, provider_with
from broker_testing.sandbox import counted, end_at_provider, order_fault, start_counting
from broker_testing.signing import DPoPKey
from broker_testing.trouble import pass_time, store_refuses
from conformance.wire import (
    assert_error,
    assert_invalid_token,
    assert_method_not_allowed,
    assert_unavailable,
    challenge_of,
)

SPEC = ("BFF-134", "Browser-Based Apps draft")
pytestmark = pytest.mark.spec(*SPEC)
EVERY_BYTE = bytes(range(256)) * 4
STANDARD = {
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}


@pytest.fixture(autouse=True)
def allowed(request: pytest.FixtureRequest) -> Iterator[None]:
    """The calls that these tests make are allowed; at a remote broker its operator has done that."""
    if request.config.getoption("--broker-url", default=None):
        yield
        return
    request.getfixturevalue("clients")
    with allowed_calls():
        yield


@cache
def token_of(client: TestClient) -> str:
    """A good access token, the same for all tests that leave it alone."""
    return str(Login(client).tokens()["access_token"])


def echoed(response: requests.Response) -> dict[str, Any]:
    """What the provider saw."""
    assert response.status_code == 200, (response.status_code, response.text)
    document: dict[str, Any] = response.json()
    return document


def assert_passed_on(response: requests.Response, status: int) -> None:
    """The provider's own answer, which can do nothing on the broker's origin."""
    assert response.status_code == status, (response.status_code, response.text)
    assert response.headers["proxy-status"] == f"token-broker; received-status={status}"
    assert STANDARD.items() <= {name.lower(): value for name, value in response.headers.items()}.items()
    assert response.headers["content-disposition"].startswith("attachment")
    assert "set-cookie" not in response.headers


def assert_refused(response: requests.Response, status: int, code: str) -> None:
    """The broker's own answer."""
    assert_error(response, status, code)
    assert response.headers["proxy-status"] == "token-broker; error=proxy_internal_response"


# -- who may call ----------------------------------------------------------------------------------------------------


def test_a_call_goes_through_with_the_providers_token(clients: Clients) -> None:
    response = call(clients.calling, token_of(clients.calling), "echo?a=b")
    assert_passed_on(response, 200)
    seen = echoed(response)
    assert (seen["method"], seen["query"], seen["scheme"]) == ("GET", "a=b", "Bearer")
    assert seen["path"].endswith("/sandbox/redbooth/api/3/echo")
    assert seen["credentials_sha256"] != hashlib.sha256(token_of(clients.calling).encode()).hexdigest()


@pytest.mark.spec(*SPEC, "RFC 6750 3.1")
def test_without_a_token_there_is_a_challenge(clients: Clients) -> None:
    for method in ("GET", "POST", "DELETE"):
        response = call(clients.calling, None, "echo", method)
        assert (response.status_code, response.content) == (401, b"")
        assert set(challenge_of(response)) == {"realm", "resource_metadata"}


@pytest.mark.spec(*SPEC, "RFC 6750 2")
def test_the_token_is_read_from_the_header_alone(clients: Clients) -> None:
    """A form of the client's belongs to the provider."""
    token = token_of(clients.calling)
    form = {"content-type": "application/x-www-form-urlencoded"}
    response = call(
        clients.calling, None, f"echo?access_token={token}", "POST", headers=form, data=f"access_token={token}".encode()
    )
    assert response.status_code == 401
    response = call(clients.calling, token, "echo", "POST", headers=form, data=b"access_token=of-the-api")
    assert base64.b64decode(echoed(response)["body"]) == b"access_token=of-the-api"


@pytest.mark.spec(*SPEC, "RFC 6750 3.1")
def test_a_token_that_is_no_good_is_invalid_token(clients: Clients) -> None:
    held = Login(clients.calling).tokens()
    for token in (held["access_token"] + "x", held["refresh_token"], held["id_token"], "x"):
        assert_invalid_token(call(clients.calling, token, "echo"))
    assert revoke(clients.calling, held["refresh_token"]).status_code == 200
    assert_invalid_token(call(clients.calling, held["access_token"], "echo"))


def test_a_token_for_a_resource_is_not_for_the_broker(clients: Clients) -> None:
    login = Login(clients.exchanging_with_resources)
    login.parameters["resource"] = RESOURCE
    assert_invalid_token(call(login.client, login.tokens()["access_token"], "echo"))


def test_a_client_that_may_not_is_access_denied(clients: Clients) -> None:
    """Also for a provider that nobody knows: what else is registered stays unknown."""
    for provider in (PROVIDER, "unheard-of"):
        response = call(clients.redbooth, token_of(clients.redbooth), "echo", provider=provider)
        assert_refused(response, 403, "access_denied")
    assert_refused(call(clients.calling, token_of(clients.calling), "echo", provider="infolobby"), 403, "access_denied")


@pytest.mark.local_only
def test_a_login_at_another_provider_is_access_denied(clients: Clients) -> None:
    client = clients.calling_two
    token = Login(client, "infolobby").tokens()["access_token"]
    with provider_with("infolobby", api_base=f"{clients.base}/sandbox/infolobby", api_allow=list(ALLOWED)):
        assert_refused(call(client, token, "echo"), 403, "access_denied")
    assert_passed_on(call(client, Login(client, PROVIDER).tokens()["access_token"], "echo"), 200)


@pytest.mark.spec(*SPEC, "RFC 9449 7")
def test_a_bound_token_needs_a_proof_of_its_key(clients: Clients) -> None:
    """For the URL as it was sent, encoded as it may be."""
    client, key = clients.calling, DPoPKey()
    key.learn_nonce(clients.base)
    login = Login(client)
    login.run()
    form = login.code_form() | client.credentials()
    token = key.post(f"{clients.base}/token", form).json()["access_token"]
    assert_invalid_token(call(client, token, "echo"))
    plain, encoded = "echo/a;b=c,d&e=f+g@h:i", "echo/a%3Bb%3Dc%2Cd%26e%3Df%2Bg%40h%3Ai"
    for path in ("echo", "echo/%C3%9Cn%C3%AF%20c%C3%B8d%C3%A9", plain, encoded):
        proof = key.proof("POST", f"{clients.base}/proxy/{PROVIDER}/{path}", token)
        headers = {"authorization": f"DPoP {token}", "dpop": proof}
        response = call(client, None, path, "POST", headers=headers)
        seen = echoed(response)
        assert seen["scheme"] == "Bearer"
        assert "dpop" not in seen["headers"]
        assert response.headers["dpop-nonce"] != "the-provider's-own"
        assert call(client, None, path, "POST", headers=headers).status_code == 401, "a proof counts once"


# -- what may be called ----------------------------------------------------------------------------------------------


NOT_LISTED = (
    ("GET", "me"),
    ("DELETE", "tasks"),
    ("GET", "tasks/2"),
    ("GET", "Tasks"),
    ("PUT", "tasks/2/3"),
    ("POST", "projects"),
    ("GET", "oauth2/authorize"),
)
LEADING_ELSEWHERE = (
    *("echo/../me", "echo/..", "echo/%2e%2e/me", "echo/%2E%2e/me", "echo/.%2e/me", "echo/%252e%252e/me", "echo/..;/me"),
    *("echo/..%2fme", "echo/..%5cme", "echo/a%2fb", "echo//me", "echo/a%00", "echo/a%0d%0ax:%20y", "echo/%ff"),
    *("echo/a%3fb", "echo/%c0%ae%c0%ae/me", "echo/%2541", "./echo", "%2e/echo"),
)


@pytest.mark.parametrize(("method", "path"), NOT_LISTED)
def test_what_is_not_listed_is_refused(clients: Clients, method: str, path: str) -> None:
    assert_refused(call(clients.calling, token_of(clients.calling), path, method), 403, "access_denied")


@pytest.mark.parametrize("path", LEADING_ELSEWHERE)
def test_a_path_that_could_lead_elsewhere_is_refused(clients: Clients, path: str) -> None:
    assert_refused(call(clients.calling, token_of(clients.calling), path), 400, "invalid_request")


@pytest.mark.local_only
def test_what_is_refused_is_not_called(clients: Clients) -> None:
    token = token_of(clients.calling)
    start_counting(clients.base, PROVIDER)
    for method, path in (*NOT_LISTED, *(("GET", path) for path in LEADING_ELSEWHERE)):
        assert call(clients.calling, token, path, method).status_code in (400, 403)
    assert counted(clients.base, PROVIDER) == {}
    assert_passed_on(call(clients.calling, token, "echo"), 200)
    assert counted(clients.base, PROVIDER) == {"api": 1}


@pytest.mark.local_only
def test_without_a_list_nothing_is_called(clients: Clients) -> None:
    with provider_with(api_allow=""):
        assert_refused(call(clients.calling, token_of(clients.calling), "echo"), 403, "access_denied")


@pytest.mark.parametrize(
    "path",
    [
        "echo",
        "echo/",
        "echo/%C3%9Cn%C3%AF%20c%C3%B8d%C3%A9",
        "echo/a;b=c,d&e=f+g@h:i",
        "echo/a%3Bb%3Dc%2Cd%26e%3Df%2Bg%40h%3Ai",
    ],
)
def test_a_path_arrives_as_it_was_meant(clients: Clients, path: str) -> None:
    seen = echoed(call(clients.calling, token_of(clients.calling), path))
    assert seen["path"] == f"/sandbox/redbooth/api/3/{unquote(path)}"


def test_a_query_arrives_as_it_was_sent(clients: Clients) -> None:
    """But for parameters that stand for an access token, which may be the broker's."""
    path = "echo?a=1&a=2&access_token=x&b=%20+%C3%BC&Access%5FToken=y&c"
    assert echoed(call(clients.calling, token_of(clients.calling), path))["query"] == "a=1&a=2&b=%20+%C3%BC&c"


def test_other_methods_are_405(clients: Clients) -> None:
    for method in ("TRACE", "PROPFIND"):
        response = call(clients.calling, token_of(clients.calling), "echo", method)
        assert_method_not_allowed(response, "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


# -- what goes on ----------------------------------------------------------------------------------------------------


@pytest.mark.spec(*SPEC, "RFC 9110 7.6.1")
def test_headers_that_go_on_and_headers_that_stay(clients: Clients) -> None:
    sent = {
        "accept": "application/json",
        "content-type": "text/x-sandbox",
        "content-range": "bytes 0-0/100",
        "content-disposition": 'attachment; filename="a.txt"',
        "content-location": "/echo/1",
        "if-match": '"1"',
        "prefer": "return=minimal",
        "x-redbooth-version": "3",
    }
    stay = {
        "cookie": "a=b",
        "x-forwarded-host": "evil.example",
        "forwarded": "for=203.0.113.7",
        "via": "1.1 evil",
        "origin": ORIGIN,
        "referer": f"{ORIGIN}/",
        "x-http-method-override": "DELETE",
        "x-original-url": "/admin",
        "x-requested-with": "fetch",
        "user-agent": "a browser",
        "te": "trailers",
        "proxy-authorization": "Basic YTpi",
    }
    seen = echoed(call(clients.calling, token_of(clients.calling), "echo", "POST", headers=sent | stay, data=b"x"))[
        "headers"
    ]
    added = {
        "via": "1.1 token-broker",
        "accept-encoding": "identity",
        "user-agent": "token-broker",
        "content-length": "1",
    }
    gateway = {name: seen.pop(name) for name in tuple(seen) if name.startswith("x-forwarded-")}
    assert seen == sent | added | {"host": clients.base.partition("//")[2]}
    assert "evil.example" not in gateway.values()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_body_goes_on_byte_by_byte(clients: Clients, method: str) -> None:
    response = call(clients.calling, token_of(clients.calling), "echo", method, data=EVERY_BYTE)
    seen = echoed(response)
    assert (seen["method"], base64.b64decode(seen["body"])) == (method, EVERY_BYTE)


def test_a_body_that_is_too_large_is_413(clients: Clients) -> None:
    token = token_of(clients.calling)
    assert_refused(call(clients.calling, token, "echo", "POST", data=b"x" * (MAX_BODY + 1)), 413, "invalid_request")


# -- what comes back -------------------------------------------------------------------------------------------------


def test_nothing_of_the_provider_acts_on_the_brokers_origin(clients: Clients) -> None:
    """Neither its cookies nor what it says of origins, and no page of its own becomes one of the broker's."""
    response = call(clients.calling, token_of(clients.calling), "echo")
    assert_passed_on(response, 200)
    for name in (
        "access-control-allow-origin",
        "clear-site-data",
        "refresh",
        "alt-svc",
        "dpop-nonce",
        "x-frame-options",
    ):
        assert name not in response.headers
    assert response.headers["x-request-id"] != "the-provider's-own"
    page = call(clients.calling, token_of(clients.calling), "files/2/download")
    assert_passed_on(page, 200)
    assert (page.text, page.headers["content-disposition"]) == ("<script>alert(1)</script>", "attachment")


def test_a_download_comes_back_byte_by_byte(clients: Clients) -> None:
    response = call(clients.calling, token_of(clients.calling), "files/1/download")
    assert_passed_on(response, 200)
    assert response.content == EVERY_BYTE
    assert response.headers["content-type"] == "image/x-sandbox"
    assert response.headers["content-disposition"] == 'attachment; filename="all.bin"'


def test_an_answer_that_asks_to_come_back(clients: Clients) -> None:
    """Row 32: 202 with Retry-After goes to the client; the same request then gets the answer."""
    token = Login(clients.calling).tokens()["access_token"]
    later = call(clients.calling, token, "tasks")
    assert_passed_on(later, 202)
    assert (later.content, later.headers["retry-after"]) == (b"", "1")
    done = call(clients.calling, token, "tasks")
    assert_passed_on(done, 200)
    assert done.json()[0]["type"] == "Task"


def test_pages_of_a_list(clients: Clients) -> None:
    """Links lead through the broker: a client that follows them with its token must not show it to the provider."""
    client, token = clients.calling, token_of(clients.calling)
    response = call(client, token, "projects")
    assert_passed_on(response, 200)
    here = f"{clients.base}/proxy/redbooth"
    assert (
        response.headers["link"] == f'<{here}/projects?page=2>; rel="next", <https://redbooth.example/doc>; rel="help"'
    )
    assert (response.headers["x-total-count"], response.headers["ratelimit"]) == ("1", '"day";r=99;t=60')
    again = call(client, token, "projects", headers={"if-none-match": response.headers["etag"]})
    assert_passed_on(again, 304)
    assert (again.content, again.headers["etag"]) == (b"", response.headers["etag"])
    head = call(client, token, "projects", "HEAD")
    assert_passed_on(head, 200)
    assert (head.content, head.headers["etag"]) == (b"", response.headers["etag"])


def test_writing(clients: Clients) -> None:
    client, token = clients.calling, token_of(clients.calling)
    sent = {"content-type": "application/json"}
    made = call(client, token, "tasks", "POST", headers=sent, data=json.dumps({"name": "ü"}).encode())
    assert_passed_on(made, 201)
    assert made.json()["name"] == "ü"
    assert made.headers["location"] == f"{clients.base}/proxy/redbooth/tasks/2"
    for method, status in (("PUT", 200), ("PATCH", 200), ("DELETE", 204)):
        assert_passed_on(call(client, token, "tasks/2", method), status)


@pytest.mark.parametrize(
    ("path", "status", "message"), [("forbidden", 403, "You may not see this"), ("quota", 429, "Too many requests")]
)
def test_refusals_of_the_provider_come_back_as_they_are(clients: Clients, path: str, status: int, message: str) -> None:
    """Rows 13 and 29."""
    response = call(clients.calling, token_of(clients.calling), path)
    assert_passed_on(response, status)
    assert response.json() == {"error": {"message": message, "code": status}}
    if status == 429:
        assert (response.headers["retry-after"], response.headers["ratelimit"]) == ("17", '"day";r=0;t=17')


def test_redirects(clients: Clients) -> None:
    """Row 14: within the API they lead through the broker; elsewhere they end."""
    client, token = clients.calling, token_of(clients.calling)
    moved = call(client, token, "files/4/download", "POST")
    assert_passed_on(moved, 307)
    assert moved.headers["location"] == f"{clients.base}/proxy/redbooth/files/1/download?v=2"
    for number in (3, 5):
        response = call(client, token, f"files/{number}/download")
        assert_error(response, 502, "temporarily_unavailable")
        assert "location" not in response.headers
        assert response.headers["proxy-status"] == "token-broker; error=http_protocol_error"


def test_the_providers_token_never_comes_back(clients: Clients) -> None:
    """Not even from an API that repeats it."""
    response = call(clients.calling, token_of(clients.calling), "indiscreet")
    assert_error(response, 502, "temporarily_unavailable")


@pytest.mark.local_only
@pytest.mark.parametrize(
    ("kind", "value", "status"),
    [
        ("status", 500, 500),
        ("status", 503, 503),
        ("html", 200, 200),
        ("html", 502, 502),
        ("empty", 200, 200),
        ("json", [1], 200),
    ],
)
def test_a_bad_day_of_the_provider_comes_back_as_it_is(clients: Clients, kind: str, value: Any, status: int) -> None:
    """Rows 6, 7 and 12."""
    order_fault(clients.base, PROVIDER, "api", kind, value)
    assert_passed_on(call(clients.calling, token_of(clients.calling), "projects"), status)


@pytest.mark.local_only
def test_an_answer_that_is_too_large_is_502(clients: Clients) -> None:
    """Row 23. Lambda could not pass it on."""
    order_fault(clients.base, PROVIDER, "api", "big", MAX_BODY)
    response = call(clients.calling, token_of(clients.calling), "projects")
    assert_error(response, 502, "temporarily_unavailable")
    assert str(MAX_BODY) in response.json()["error_description"]
    assert response.headers["proxy-status"] == "token-broker; error=http_response_body_size"


@pytest.mark.local_only
def test_a_provider_that_takes_too_long_is_504(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows 5 and 24: a read is tried twice in the time there is, a write once."""
    monkeypatch.setattr(runtime(), "settings", replace(runtime().settings, proxy_deadline=0.2))
    token = token_of(clients.calling)
    for method, times in (("GET", 2), ("POST", 1)):
        order_fault(clients.base, PROVIDER, "api", "slow", 0.5, times=times)
        response = call(clients.calling, token, "echo", method)
        assert_error(response, 504, "temporarily_unavailable")
        assert response.headers["proxy-status"] == "token-broker; error=connection_read_timeout"


@pytest.mark.local_only
def test_a_provider_that_cannot_be_reached_is_502(clients: Clients) -> None:
    """Row 4."""
    with provider_with(api_base="http://127.0.0.1:9/api"):
        response = call(clients.calling, token_of(clients.calling), "echo", "POST")
    assert_error(response, 502, "temporarily_unavailable")
    assert response.headers["proxy-status"] == "token-broker; error=destination_unavailable"


@pytest.mark.local_only
def test_a_store_that_is_down_is_503(clients: Clients) -> None:
    token = token_of(clients.calling)
    with store_refuses("Query", "ThrottlingException"):
        assert_unavailable(call(clients.calling, token, "echo"))
    assert_passed_on(call(clients.calling, token, "echo"), 200)


# -- the provider's token --------------------------------------------------------------------------------------------


@pytest.mark.local_only
def test_a_token_that_is_due_is_renewed_first(clients: Clients) -> None:
    held = Login(clients.calling).tokens()
    pass_time(7201)
    held = refresh(clients.calling, held["refresh_token"]).json()
    start_counting(clients.base, PROVIDER)
    assert_passed_on(call(clients.calling, held["access_token"], "projects"), 200)
    assert counted(clients.base, PROVIDER) == {"api": 1}


@pytest.mark.local_only
def test_a_refused_token_is_renewed_and_a_read_repeated(clients: Clients) -> None:
    """Row 27: the provider's clock is ahead of ours, or it has ended the token early."""
    token = Login(clients.calling).tokens()["access_token"]
    pass_time(61)
    end_at_provider(clients.base, PROVIDER, "access")
    start_counting(clients.base, PROVIDER)
    assert_passed_on(call(clients.calling, token, "projects"), 200)
    assert counted(clients.base, PROVIDER) == {"api": 2, "token:refresh_token": 1}


@pytest.mark.local_only
def test_a_refused_token_is_renewed_and_a_write_not_repeated(clients: Clients) -> None:
    """The client decides about that; its repetition works."""
    token = Login(clients.calling).tokens()["access_token"]
    pass_time(61)
    end_at_provider(clients.base, PROVIDER, "access")
    start_counting(clients.base, PROVIDER)
    assert_invalid_token(call(clients.calling, token, "tasks", "POST", data=b"{}"))
    assert counted(clients.base, PROVIDER) == {"api": 1, "token:refresh_token": 1}
    assert_passed_on(call(clients.calling, token, "tasks", "POST", data=b"{}"), 201)


@pytest.mark.local_only
def test_a_provider_that_refuses_its_fresh_token_does_not_end_the_login(clients: Clients) -> None:
    """Row 28: one call that wants more than a token is no dead link."""
    held = Login(clients.calling).tokens()
    pass_time(61)
    start_counting(clients.base, PROVIDER)
    response = call(clients.calling, held["access_token"], "unwelcome")
    assert (response.status_code, response.json()["error"]) == (401, "invalid_token")
    assert response.json()["reconnect_url"].startswith(f"{clients.base}/authorize?"), (
        "more may be granted if asked again"
    )
    assert counted(clients.base, PROVIDER) == {"api": 2, "token:refresh_token": 1}
    assert_passed_on(call(clients.calling, held["access_token"], "projects"), 200)


@pytest.mark.local_only
def test_a_dead_link_is_invalid_token_with_the_way_to_reconnect(clients: Clients) -> None:
    client, other = clients.calling, clients.exchanging
    held, left = Login(client).tokens(username="johnsmith"), Login(other).tokens()
    pass_time(61)
    end_at_provider(clients.base, PROVIDER, "grant", "johnsmith")
    for _ in range(2):
        response = call(client, held["access_token"], "projects")
        assert (response.status_code, response.json()["error"]) == (401, "invalid_token")
        assert response.json()["reconnect_url"].startswith(f"{clients.base}/authorize?client_id={client.client_id}")
        assert challenge_of(response)["error"] == "invalid_token"
    assert refresh(client, held["refresh_token"]).json()["error"] == "invalid_grant"
    assert exchange(other, left["access_token"]).status_code == 200, "somebody else's login"


# -- browsers --------------------------------------------------------------------------------------------------------


@pytest.mark.spec(*SPEC, "RFC 9700 2.6")
def test_a_page_of_the_client_may_ask(clients: Clients) -> None:
    headers = {
        "origin": ORIGIN,
        "access-control-request-method": "DELETE",
        "access-control-request-headers": "authorization,content-range,if-match,x-redbooth-version",
    }
    response = call(clients.calling, None, "tasks/2", "OPTIONS", headers=headers)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == ORIGIN
    methods = response.headers["access-control-allow-methods"].split(", ")
    assert set(methods) == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
    names = {name.lower() for name in response.headers["access-control-allow-headers"].split(", ")}
    assert {"authorization", "dpop", "content-type", "content-range", "if-match", "x-redbooth-version"} <= names
    assert not {"cookie", "x-http-method-override", "forwarded"} & names
    stranger = call(clients.calling, None, "tasks/2", "OPTIONS", headers=headers | {"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers


@pytest.mark.spec(*SPEC, "RFC 9700 2.6")
def test_a_page_of_the_client_reads_the_answer(clients: Clients) -> None:
    token = token_of(clients.calling)
    for path, names in (
        ("projects", {"etag", "link", "x-total-count", "ratelimit", "proxy-status"}),
        ("quota", {"retry-after", "proxy-status"}),
        ("me", {"proxy-status", "x-request-id"}),
    ):
        response = call(clients.calling, token, path, headers={"origin": ORIGIN})
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-credentials" not in response.headers
        assert response.headers["vary"] == "Origin"
        readable = {name.lower() for name in response.headers["access-control-expose-headers"].split(", ")}
        assert names <= readable
        foreign = call(clients.calling, token, path, headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers
