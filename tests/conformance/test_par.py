"""Pushed authorization requests: RFC 9126."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from broker_testing.conformance import Clients
from broker_testing.journey import CALLBACK, Login, TestClient, post_form, register
from broker_testing.parallel import at_once
from broker_testing.trouble import pass_time
from conformance.front_channel import assert_error_redirect, assert_login_completes, assert_refused
from conformance.wire import assert_error, assert_invalid_client, assert_method_not_allowed

PREFIX = "urn:ietf:params:oauth:request_uri:"


def push(login: Login, **changes: str | None) -> requests.Response:
    """Push the login's request, authenticated in the body."""
    login.authorize_url()
    return post_form(f"{login.client.base}/par", login.parameters | login.client.credentials(), changes)


def pushed(login: Login, **changes: str | None) -> str:
    """The request_uri of a request that was taken."""
    answer = push(login, **changes)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["request_uri"])


def authorize(login: Login, request_uri: str, client: TestClient | None = None, **more: str) -> requests.Response:
    """The authorization request that consists of the reference."""
    asked = {"client_id": (client or login.client).client_id, "request_uri": request_uri} | more
    return login.browser.get(f"{login.client.base}/authorize?{urlencode(asked)}")


@pytest.mark.spec("AUTHZ-46", "RFC 9126 2.2")
@pytest.mark.parametrize("kind", ["public", "confidential"])
def test_a_pushed_request_answers_with_a_reference_that_works(clients: Clients, kind: str) -> None:
    login = Login(clients.of_kind(kind))
    answer = push(login)
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert set(document) == {"request_uri", "expires_in"}
    assert document["request_uri"].startswith(PREFIX)
    assert 5 <= document["expires_in"] <= 600
    assert_login_completes(login, authorize(login, document["request_uri"]))


@pytest.mark.spec("AUTHZ-45", "RFC 9126 4")
def test_a_reference_is_used_once(clients: Clients) -> None:
    login = Login(clients.public)
    request_uri = pushed(login)
    first = authorize(login, request_uri)
    assert_refused(authorize(login, request_uri))
    assert_login_completes(login, first)


@pytest.mark.spec("AUTHZ-45", "RFC 9110 9.2.1")
def test_looking_at_a_reference_does_not_use_it_up(clients: Clients) -> None:
    """HEAD is what programs send ahead of a link."""
    login = Login(clients.public)
    request_uri = pushed(login)
    url = f"{clients.base}/authorize?{urlencode({'client_id': login.client.client_id, 'request_uri': request_uri})}"
    looked = requests.head(url, timeout=30)
    assert (looked.status_code, looked.headers["allow"]) == (405, "GET, POST")
    assert "set-cookie" not in looked.headers
    assert_login_completes(login, authorize(login, request_uri))


@pytest.mark.spec("AUTHZ-45", "RFC 6749 4.1.2.1")
@pytest.mark.parametrize("chosen", ["provider=nowhere", "provider=openid&provider=infolobby"])
def test_a_provider_that_cannot_be_chosen_for_a_reference(clients: Clients, chosen: str) -> None:
    """The client hears of it, and the reference is still good."""
    login = Login(clients.multi_provider)
    request_uri = pushed(login, provider=None)
    asked = urlencode({"client_id": login.client.client_id, "request_uri": request_uri})
    response = login.browser.get(f"{clients.base}/authorize?{asked}&{chosen}")
    assert_error_redirect(login, response, "invalid_request")
    assert_login_completes(login, authorize(login, request_uri, provider="openid"))


@pytest.mark.spec("AUTHZ-45", "RFC 9126 4")
def test_of_many_uses_at_once_one_goes_on(clients: Clients) -> None:
    login = Login(clients.public)
    request_uri = pushed(login)
    url = f"{clients.base}/authorize?{urlencode({'client_id': login.client.client_id, 'request_uri': request_uri})}"
    answers = at_once([lambda: requests.get(url, allow_redirects=False, timeout=30)] * 10)
    assert sorted(answer.status_code for answer in answers) == [303] + [400] * 9


@pytest.mark.spec("AUTHZ-45", "RFC 9126 4")
def test_a_reference_is_its_clients_alone(clients: Clients) -> None:
    """Another client gets a page, as nothing may be sent to an address of either; the owner still goes on."""
    login = Login(clients.public)
    request_uri = pushed(login)
    assert_refused(authorize(login, request_uri, clients.other_public))
    assert_login_completes(login, authorize(login, request_uri))


@pytest.mark.local_only
@pytest.mark.spec("AUTHZ-45", "RFC 9126 2.2")
def test_a_reference_expires(clients: Clients) -> None:
    login = Login(clients.public)
    answer = push(login).json()
    pass_time(answer["expires_in"])
    assert_refused(authorize(login, answer["request_uri"]))


@pytest.mark.spec("AUTHZ-45", "RFC 9101 5")
def test_what_is_in_the_url_beside_the_reference_is_ignored(clients: Clients) -> None:
    login = Login(clients.public)
    request_uri = pushed(login)
    response = authorize(login, request_uri, redirect_uri="https://attacker.example/", state="other", scope="nothing")
    assert_login_completes(login, response)


@pytest.mark.spec("AUTHZ-45", "RFC 9126 4")
@pytest.mark.parametrize("request_uri", [PREFIX, PREFIX + "x", PREFIX + "tbp_" + "A" * 60])
def test_a_made_up_reference(clients: Clients, request_uri: str) -> None:
    assert_refused(authorize(Login(clients.public), request_uri))


@pytest.mark.spec("AUTHZ-34", "AUTHZ-45", "OpenID Core 6.2")
def test_any_other_request_uri_is_not_supported(clients: Clients) -> None:
    login = Login(clients.public)
    response = login.start(request_uri="https://app.example/request.jwt")
    assert_error_redirect(login, response, "request_uri_not_supported")


@pytest.mark.local_only
@pytest.mark.spec("AUTHZ-45", "RFC 9126 5")
def test_a_client_that_must_push(base: str) -> None:
    login = Login(register(base, require_par=True))
    assert_error_redirect(login, login.start(), "invalid_request")
    assert_login_completes(login, authorize(login, pushed(login)))


@pytest.mark.spec("AUTHZ-46", "RFC 9126 2.1")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"request_uri": PREFIX + "x"}, "invalid_request"),
        ({"redirect_uri": "https://attacker.example/"}, "invalid_request"),
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "nothing-registered"}, "invalid_scope"),
        ({"resource": "https://unknown.example"}, "invalid_target"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"provider": "nowhere"}, "invalid_request"),
        ({"request": "eyJhbGciOiJub25lIn0.e30."}, "request_not_supported"),
    ],
)
def test_a_wrong_request_is_refused_at_once(clients: Clients, changes: dict[str, Any], code: str) -> None:
    """The error that the authorization endpoint would have redirected comes as JSON (RFC 9126 section 2.3)."""
    assert_error(push(Login(clients.public), **changes), 400, code)


@pytest.mark.spec("AUTHZ-46", "RFC 9126 2")
def test_the_client_authenticates(clients: Clients) -> None:
    assert_invalid_client(push(Login(clients.confidential), client_secret="wrong"))
    assert_invalid_client(push(Login(clients.confidential), client_secret=None))
    assert_invalid_client(push(Login(clients.public), client_id="nobody"))


@pytest.mark.spec("AUTHZ-46", "RFC 6749 3.1")
def test_a_repeated_parameter_is_refused(clients: Clients) -> None:
    login = Login(clients.public)
    login.authorize_url()
    body = urlencode([*login.parameters.items(), ("state", "again")])
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert_error(requests.post(f"{clients.base}/par", body, headers=headers, timeout=30), 400, "invalid_request")


@pytest.mark.spec("AUTHZ-46", "RFC 9126 2.3")
def test_only_post_and_only_forms(clients: Clients) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert_method_not_allowed(requests.request(method, f"{clients.base}/par", timeout=30), "POST")
    assert_error(requests.post(f"{clients.base}/par", json={"client_id": "x"}, timeout=30), 400, "invalid_request")


@pytest.mark.spec("AUTHZ-46", "RFC 9126 2.3")
def test_too_large_a_request_is_refused(clients: Clients) -> None:
    login = Login(clients.public)
    assert_error(push(login, state="x" * 20_000), 413, "invalid_request")
    assert login.parameters["redirect_uri"] == CALLBACK
