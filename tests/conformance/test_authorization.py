"""The authorization endpoint: RFC 6749 section 4.1, RFC 7636, 8252, 8707, 9207 and 9700, OpenID Connect Core section 3.1.2."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import jwt
import pytest
import requests

from broker_testing.conformance import OTHER_CALLBACK, RESOURCE, Clients
from broker_testing.journey import CALLBACK, Login, post_form, register
from conformance.front_channel import (
    assert_error_redirect,
    assert_goes_on,
    assert_login_completes,
    assert_page,
    assert_refused,
    get_exactly,
    issuer_of,
    query_of,
)

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
"""RFC 7636 appendix B."""
FORM = "application/x-www-form-urlencoded"
SCRIPT = "<script>alert(1)</script>"
ATTRIBUTE = "\"'><img src=x onerror=alert(1)>"


def posted(
    login: Login, form: str, query: str = "", content_type: str = "application/x-www-form-urlencoded"
) -> requests.Response:
    """POST /authorize."""
    url = f"{login.client.base}/authorize{query}"
    return login.browser.post(url, form, {"content-type": content_type})


# -- a request that is good ----------------------------------------------------------------------------------------


@pytest.mark.spec("AUTHZ-15", "AUTHZ-36", "RFC 9700 4.12", "RFC 9207 2")
@pytest.mark.parametrize(
    "kind", ["public", "confidential", "confidential_basic", "other_public", "infolobby", "lockitnetwork"]
)
def test_a_valid_request_goes_on_to_the_provider_and_ends_in_tokens(clients: Clients, kind: str) -> None:
    login = Login(clients.of_kind(kind))
    started = login.start()
    assert started.text == ""
    if kind == "confidential_basic":
        login.read_answer(login.browser.get(login.at_provider(started)))
        assert login.answer["iss"] == issuer_of(clients.base)
        return
    answer = assert_login_completes(login, started)
    assert answer["iss"] == issuer_of(clients.base)


@pytest.mark.spec("AUTHZ-15", "RFC 9700 4.12")
def test_the_provider_sees_nothing_of_the_client(clients: Clients) -> None:
    login = Login(clients.public)
    location = assert_goes_on(login, login.start())
    sent = query_of(location)
    own = {login.parameters[name] for name in ("client_id", "redirect_uri", "state", "code_challenge", "nonce")}
    assert not own & set(sent.values())
    assert sent["redirect_uri"] == f"{issuer_of(clients.base)}/callback/openid"


@pytest.mark.spec("AUTHZ-25", "RFC 6749 3.1")
def test_unknown_parameters_change_nothing(clients: Clients) -> None:
    login = Login(clients.public)
    started = login.start(foo="bar", audience="https://nobody.example", display="page", ui_locales="de")
    assert "foo" not in query_of(assert_goes_on(login, started))
    assert_login_completes(login, started)


# -- who asks ------------------------------------------------------------------------------------------------------


@pytest.mark.spec("AUTHZ-16", "RFC 6749 4.1.2.1")
@pytest.mark.parametrize("client_id", [None, ""])
def test_without_client_id_nothing_is_redirected(clients: Clients, client_id: str | None) -> None:
    assert_refused(Login(clients.public).start(client_id=client_id))


@pytest.mark.spec("AUTHZ-17", "RFC 6749 4.1.2.1", "RFC 9700 4.11")
@pytest.mark.parametrize(
    "client_id", ["nobody", "client#1", "provider#openid", "origin#https://app.example", "\0", "é"]
)
def test_an_unknown_client_gets_a_page_whatever_redirect_uri_it_names(clients: Clients, client_id: str) -> None:
    assert_refused(Login(clients.public).start(client_id=client_id))
    assert_refused(Login(clients.public).start(client_id=client_id, redirect_uri="https://evil.example/"))


@pytest.mark.spec("AUTHZ-17", "RFC 6749 4.1.2.1")
def test_a_program_that_asks_for_json_gets_the_error_as_json(clients: Clients) -> None:
    login = Login(clients.public)
    response = login.browser.get(login.authorize_url(client_id="nobody"), {"accept": "application/json"})
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert "location" not in response.headers
    assert response.json()["error"] == "invalid_client"


@pytest.mark.spec("AUTHZ-22", "RFC 6749 3.1")
@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
@pytest.mark.parametrize("other", ["same", "different"])
def test_client_id_or_redirect_uri_twice(clients: Clients, name: str, other: str) -> None:
    login = Login(clients.public)
    value = login.parameters[name] if other == "same" else getattr(clients.other_public, name)
    assert_refused(login.browser.get(f"{login.authorize_url()}&{urlencode({name: value})}"))


@pytest.mark.spec("AUTHZ-44", "RFC 6749 4.1.2.1")
def test_a_disabled_client_gets_no_redirect(clients: Clients) -> None:
    assert_refused(Login(clients.disabled).start())


@pytest.mark.spec("AUTHZ-44", "RFC 6749 4.1.2.1")
def test_a_client_without_the_code_grant(clients: Clients) -> None:
    login = Login(clients.no_code)
    assert_error_redirect(login, login.start(), "unauthorized_client")


# -- where the answer goes -----------------------------------------------------------------------------------------


NOT_REGISTERED = (
    "https://evil.example/callback",
    "https://app.example/callback/",
    "https://app.example/callback/extra",
    "https://app.example/Callback",
    "https://app.example/callback?x=1",
    "https://app.example/callback?",
    "https://app.example/callback#f",
    "https://app.example/callback#",
    "https://app.example/%63allback",
    "https://app.example/x/../callback",
    "https://app.example/callback/%2e%2e/callback",
    "https://app.example/callback%00",
    "https://app.example/callback%0d%0aSet-Cookie:x=1",
    "https://app.example:443/callback",
    "https://app.example:8443/callback",
    "https://app.example.evil.example/callback",
    "https://app.example@evil.example/callback",
    "https://user@app.example/callback",
    "https://evil.example\\@app.example/callback",
    "https://evil.example/callback?https://app.example/callback",
    "https://APP.example/callback",
    "HTTPS://app.example/callback",
    "http://app.example/callback",
    "https:/app.example/callback",
    "https:app.example/callback",
    "//app.example/callback",
    "/callback",
    " https://app.example/callback",
    "https://app.example/callback ",
    "https://app.example/callback\r\n",
    "https://app.example/callback\0",
    "https://app.example/callback\ufeff",
    "https://app。example/callback",
    "https://app.example./callback",
    "javascript:alert(1)",
    "data:text/html,x",
    "https://two.example/callback",
)


@pytest.mark.spec("AUTHZ-18", "AUTHZ-19", "RFC 9700 2.1", "RFC 9700 4.1.3", "RFC 6749 3.1.2.4")
@pytest.mark.parametrize("redirect_uri", NOT_REGISTERED)
def test_only_the_registered_redirect_uri_as_an_exact_string(clients: Clients, redirect_uri: str) -> None:
    assert_refused(Login(clients.public).start(redirect_uri=redirect_uri))
    # Not even where another error would be redirected.
    assert_refused(Login(clients.public).start(redirect_uri=redirect_uri, response_type="token"))


@pytest.mark.spec("AUTHZ-20", "RFC 8252 7.3")
@pytest.mark.parametrize("redirect_uri", ["http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", "http://127.0.0.1:1/cb"])
def test_a_loopback_redirect_uri_may_have_any_port(clients: Clients, redirect_uri: str) -> None:
    login = Login(clients.loopback)
    assert_login_completes(login, login.start(redirect_uri=redirect_uri))


@pytest.mark.spec("AUTHZ-20", "RFC 8252 8.3")
@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://localhost/cb",
        "http://localhost:51004/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1:51004.evil.example/cb",
        "http://127.0.0.1:51004@evil.example/cb",
        "http://127.0.0.1@evil.example:51004/cb",
        "http://evil.example@127.0.0.1:51004/cb",
        "http://127.0.0.1:51004\\@evil.example/cb",
        "http://127.0.0.1:51004/other",
        "http://127.0.0.1:51004/cb/",
        "http://127.0.0.1:51004/cb?x=1",
        "http://127.0.0.1:51004/cb#f",
        "https://127.0.0.1:51004/cb",
        "http://[::1]:51004/cb",
        "http://127.0.0.2:51004/cb",
        "http://127.1:51004/cb",
        "http://2130706433:51004/cb",
        "http://0.0.0.0:51004/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:port/cb",
        "http://127.0.0.1:-1/cb",
        "http://127.0.0.1:123456/cb",
        "http://127.0.0.1:51004",
        "http://127.0.0.1:51004/cb\n",
    ],
)
def test_of_a_loopback_redirect_uri_only_the_port_may_differ(clients: Clients, redirect_uri: str) -> None:
    assert_refused(Login(clients.loopback).start(redirect_uri=redirect_uri))


@pytest.mark.spec("AUTHZ-20", "RFC 8252 7.3")
@pytest.mark.parametrize("port", ["0", "65536", "99999"])
def test_a_port_that_no_listener_can_have(clients: Clients, port: str) -> None:
    assert_refused(Login(clients.loopback).start(redirect_uri=f"http://127.0.0.1:{port}/cb"))


@pytest.mark.spec("AUTHZ-21", "RFC 6749 3.1.2.3")
@pytest.mark.parametrize("redirect_uri", [None, ""])
def test_a_client_with_two_redirect_uris_must_name_one(clients: Clients, redirect_uri: str | None) -> None:
    assert_refused(Login(clients.two_redirects).start(redirect_uri=redirect_uri))


@pytest.mark.spec("AUTHZ-21", "RFC 6749 3.1.2.3")
@pytest.mark.parametrize("redirect_uri", [CALLBACK, OTHER_CALLBACK])
def test_the_one_that_it_names_is_used(clients: Clients, redirect_uri: str) -> None:
    login = Login(clients.two_redirects)
    assert_login_completes(login, login.start(redirect_uri=redirect_uri))


@pytest.mark.spec("AUTHZ-21", "RFC 6749 3.1.2.3")
def test_the_only_redirect_uri_may_be_left_out(clients: Clients) -> None:
    login = Login(clients.public)
    started = login.start(redirect_uri=None)
    location = login.browser.get(login.at_provider(started)).headers["location"]
    assert location.startswith(f"{CALLBACK}?")
    login.answer = query_of(location)
    assert login.redeem(redirect_uri=None).status_code == 200


@pytest.mark.spec("AUTHZ-38", "RFC 6749 3.1.2")
def test_a_redirect_uri_keeps_its_own_query(clients: Clients) -> None:
    login = Login(clients.query_redirect)
    registered = login.client.redirect_uri
    location = login.browser.get(login.callback_url()).headers["location"]
    assert location.startswith(f"{registered}&code=")
    login.answer = query_of(location)
    assert set(login.answer) == {"x", "y", "code", "state", "iss"}
    assert (login.answer["x"], login.answer["y"]) == ("1", "a b")
    assert login.redeem().status_code == 200
    refused = Login(clients.query_redirect).start(response_type="token").headers["location"]
    assert refused.startswith(f"{registered}&error=unsupported_response_type&")


# -- repeated, empty, misplaced ------------------------------------------------------------------------------------


@pytest.mark.spec("AUTHZ-23", "RFC 6749 3.1")
@pytest.mark.parametrize("value", ["same", "different", ""])
@pytest.mark.parametrize(
    "name",
    ["scope", "code_challenge", "code_challenge_method", "nonce", "response_type", "prompt", "max_age", "provider"],
)
def test_a_parameter_twice(clients: Clients, name: str, value: str) -> None:
    login = Login(clients.public)
    url = login.authorize_url(**({name: "login" if name == "prompt" else "5"} if name in ("prompt", "max_age") else {}))
    if name == "provider":
        url = login.authorize_url(provider="openid")
    again = {"same": login.parameters[name], "different": "x", "": ""}[value]
    assert_error_redirect(login, login.browser.get(f"{url}&{urlencode({name: again})}"), "invalid_request")


@pytest.mark.spec("AUTHZ-23", "RFC 6749 3.1")
def test_state_twice_is_refused_without_choosing_one(clients: Clients) -> None:
    login = Login(clients.public)
    response = login.browser.get(f"{login.authorize_url()}&state=other")
    login.parameters.pop("state")
    assert_error_redirect(login, response, "invalid_request")


@pytest.mark.spec("AUTHZ-23", "RFC 8707 2")
def test_resource_may_repeat(clients: Clients) -> None:
    login = Login(clients.resources)
    issuer = issuer_of(clients.base)
    started = login.browser.get(f"{login.authorize_url()}&{urlencode([('resource', RESOURCE), ('resource', issuer)])}")
    assert_goes_on(login, started)
    login.read_answer(login.browser.get(login.at_provider(started)))
    claims = jwt.decode(login.redeem().json()["access_token"], options={"verify_signature": False})
    assert set(claims["aud"]) == {RESOURCE, issuer}


@pytest.mark.spec("AUTHZ-24", "RFC 6749 3.1")
@pytest.mark.parametrize("state", ["", None])
def test_an_empty_state_counts_as_none(clients: Clients, state: str | None) -> None:
    login = Login(clients.public)
    answer = assert_login_completes(login, login.start(state=state))
    assert "state" not in answer
    refused = Login(clients.public)
    answer = dict(
        assert_error_redirect(refused, refused.start(state=state, response_type="token"), "unsupported_response_type")
    )
    assert "state" not in answer


@pytest.mark.spec("AUTHZ-42", "OpenID Core 3.1.2.1")
def test_post_does_what_get_does(clients: Clients) -> None:
    login = Login(clients.public)
    assert_login_completes(login, posted(login, urlencode(login.parameters)))
    refused = Login(clients.public)
    refused.parameters["response_type"] = "token"
    assert_error_redirect(refused, posted(refused, urlencode(refused.parameters)), "unsupported_response_type")
    unknown = Login(clients.public)
    assert_refused(posted(unknown, urlencode(unknown.parameters | {"client_id": "nobody"})))


@pytest.mark.spec("AUTHZ-42", "OpenID Core 3.1.2.1")
def test_parameters_in_query_and_body_at_once(clients: Clients) -> None:
    login = Login(clients.public)
    parts = list(login.parameters.items())
    assert_refused(posted(login, urlencode(parts[1:]), f"?{urlencode(parts[:1])}"))
    assert_refused(posted(login, urlencode(parts), f"?{urlencode(parts)}"))
    assert_refused(posted(login, "", f"?{urlencode(parts)}"))


@pytest.mark.spec("AUTHZ-42", "OpenID Core 3.1.2.1")
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x"])
def test_a_body_that_is_no_form(clients: Clients, content_type: str) -> None:
    login = Login(clients.public)
    assert_refused(posted(login, urlencode(login.parameters), content_type=content_type))


@pytest.mark.spec("AUTHZ-42", "RFC 9110 15.5.6")
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_not_allowed(clients: Clients, method: str) -> None:
    login = Login(clients.public)
    response = requests.request(method, login.authorize_url(), timeout=30, allow_redirects=False)
    assert_refused(response, 405)
    assert response.headers["allow"] == "GET, POST"


# -- response type and mode ----------------------------------------------------------------------------------------


@pytest.mark.spec("AUTHZ-26", "RFC 6749 4.1.2.1")
@pytest.mark.parametrize("response_type", [None, ""])
def test_response_type_is_required(clients: Clients, response_type: str | None) -> None:
    login = Login(clients.public)
    assert_error_redirect(login, login.start(response_type=response_type), "invalid_request")


@pytest.mark.spec("AUTHZ-26", "RFC 6749 4.1.2.1", "RFC 9700 2.1.2")
@pytest.mark.parametrize(
    "response_type", ["token", "id_token", "code token", "code id_token", "none", "CODE", "code code", "x"]
)
def test_only_code_is_supported(clients: Clients, response_type: str) -> None:
    login = Login(clients.public)
    answer = assert_error_redirect(login, login.start(response_type=response_type), "unsupported_response_type")
    assert "access_token" not in answer


@pytest.mark.spec("AUTHZ-35", "OAuth Multiple Response Types 2.1")
@pytest.mark.parametrize("mode", ["fragment", "web_message", "query.jwt", "x"])
def test_a_response_mode_that_is_not_offered(clients: Clients, mode: str) -> None:
    document = requests.get(f"{clients.base}/.well-known/oauth-authorization-server", timeout=30).json()
    assert mode not in document["response_modes_supported"]
    login = Login(clients.public)
    response = login.start(response_mode=mode)
    assert "#" not in response.headers["location"]
    assert_error_redirect(login, response, "invalid_request")


@pytest.mark.spec("AUTHZ-35", "OAuth Multiple Response Types 2.1")
def test_the_response_mode_query(clients: Clients) -> None:
    login = Login(clients.public)
    assert_login_completes(login, login.start(response_mode="query"))


# -- PKCE ----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("AUTHZ-27", "RFC 7636 4.4.1", "RFC 9700 2.1.1")
@pytest.mark.parametrize("kind", ["public", "confidential"])
@pytest.mark.parametrize("challenge", [None, ""])
def test_pkce_is_required(clients: Clients, kind: str, challenge: str | None) -> None:
    login = Login(clients.of_kind(kind))
    response = login.start(code_challenge=challenge, code_challenge_method=None)
    assert_error_redirect(login, response, "invalid_request")


@pytest.mark.spec("AUTHZ-27", "RFC 9700 2.1.1")
def test_a_confidential_client_may_be_registered_without_pkce(clients: Clients) -> None:
    login = Login(clients.without_pkce)
    login.run(code_challenge=None, code_challenge_method=None)
    assert login.redeem(code_verifier=None).status_code == 200
    guarded = Login(clients.without_pkce)
    guarded.run()
    assert guarded.redeem(code_verifier=None).status_code == 400


@pytest.mark.spec("AUTHZ-28", "RFC 7636 4.4.1")
@pytest.mark.parametrize("method", [None, "", "plain", "s256", "S512", "none", "S256 "])
def test_only_s256(clients: Clients, method: str | None) -> None:
    login = Login(clients.public)
    answer = assert_error_redirect(login, login.start(code_challenge_method=method), "invalid_request")
    assert "transform algorithm not supported" in answer["error_description"]


@pytest.mark.spec("AUTHZ-29", "RFC 7636 4.2")
@pytest.mark.parametrize(
    "challenge",
    [
        CHALLENGE[:42],
        CHALLENGE + "A",
        CHALLENGE[:42] + "=",
        CHALLENGE + "=",
        CHALLENGE[:42] + "+",
        CHALLENGE[:42] + "/",
        CHALLENGE[:42] + ".",
        CHALLENGE[:42] + "\0",
        CHALLENGE[:42] + "é",
        CHALLENGE + "\n",
        " " * 43,
        "x",
        "A" * 4000,
    ],
)
def test_a_code_challenge_that_is_none(clients: Clients, challenge: str) -> None:
    login = Login(clients.public)
    assert_error_redirect(login, login.start(code_challenge=challenge), "invalid_request")


@pytest.mark.spec("AUTHZ-30", "RFC 7636 4.3")
@pytest.mark.parametrize("kind", ["public", "without_pkce"])
def test_a_method_without_a_challenge(clients: Clients, kind: str) -> None:
    login = Login(clients.of_kind(kind))
    assert_error_redirect(login, login.start(code_challenge=None), "invalid_request")


# -- scope and resource --------------------------------------------------------------------------------------------


@pytest.mark.spec("AUTHZ-31", "RFC 6749 3.3")
@pytest.mark.parametrize(
    "scope", ["unknown", "openid unknown", "OpenID", "openid\tprofile", 'openid "', "a\\b", "é", "\x7f", "\x00"]
)
def test_a_scope_that_the_client_may_not_have(clients: Clients, scope: str) -> None:
    login = Login(clients.public)
    answer = assert_error_redirect(login, login.start(scope=scope), "invalid_scope")
    if "unknown" in scope:
        assert "the scope 'unknown'" in answer["error_description"]


@pytest.mark.spec("AUTHZ-31", "RFC 6749 3.3")
@pytest.mark.parametrize("scope", [None, "", " "])
def test_without_a_scope_the_client_gets_its_own(clients: Clients, scope: str | None) -> None:
    login = Login(clients.public)
    assert set(login.tokens(scope=scope)["scope"].split()) == set(login.client.registered.scope)
    narrow = Login(clients.narrow)
    tokens = narrow.tokens(scope=scope)
    assert tokens["scope"] == "profile"
    assert "id_token" not in tokens


@pytest.mark.spec("AUTHZ-31", "RFC 6749 3.3")
def test_a_scope_of_another_client_is_not_this_ones(clients: Clients) -> None:
    login = Login(clients.narrow)
    assert_error_redirect(login, login.start(scope="openid profile"), "invalid_scope")


@pytest.mark.spec("AUTHZ-32", "RFC 8707 2")
@pytest.mark.parametrize(
    "resource",
    [
        f"{RESOURCE}#f",
        f"{RESOURCE}#",
        "/v1",
        "api.example/v1",
        "https://unknown.example/",
        f"{RESOURCE}/",
        "https://API.example/v1",
        "x",
        "\0",
        "https://[",
        "https://api.example\\v1",
    ],
)
def test_a_resource_that_is_not_the_clients(clients: Clients, resource: str) -> None:
    login = Login(clients.resources)
    answer = assert_error_redirect(login, login.start(resource=resource), "invalid_target")
    if resource.isprintable() and "\\" not in resource:
        assert f"the resource '{resource}'" in answer["error_description"]


@pytest.mark.spec("AUTHZ-32", "RFC 8707 2.2")
def test_a_resource_of_the_client_becomes_the_audience(clients: Clients) -> None:
    tokens = Login(clients.resources).tokens(resource=RESOURCE)
    audience = jwt.decode(tokens["access_token"], options={"verify_signature": False})["aud"]
    assert audience in (RESOURCE, [RESOURCE])
    other = Login(clients.public)
    assert_error_redirect(other, other.start(resource=RESOURCE), "invalid_target")


# -- OpenID Connect ------------------------------------------------------------------------------------------------


@pytest.mark.spec("AUTHZ-33", "OpenID Core 3.1.2.1")
def test_prompt_none_never_shows_a_page(clients: Clients) -> None:
    login = Login(clients.public)
    assert_error_redirect(login, login.start(prompt="none"), "login_required")
    # Nor after a login in the same browser: the broker has no session to fall back on.
    again = Login(clients.public, browser=login.browser)
    again.tokens()
    silent = Login(clients.public, browser=login.browser)
    assert_error_redirect(silent, silent.start(prompt="none"), "login_required")
    several = Login(clients.multi_provider)
    answer = several.start(prompt="none")
    assert_error_redirect(several, answer, "login_required")


@pytest.mark.spec("AUTHZ-33", "OpenID Core 3.1.2.1")
@pytest.mark.parametrize("prompt", ["none login", "login none", "none consent", "None", "x"])
def test_a_prompt_that_makes_no_sense(clients: Clients, prompt: str) -> None:
    login = Login(clients.public)
    assert_error_redirect(login, login.start(prompt=prompt), "invalid_request")


@pytest.mark.spec("AUTHZ-33", "OpenID Core 3.1.2.1")
@pytest.mark.parametrize("prompt", ["login", "select_account", "login select_account"])
def test_other_prompts_go_on(clients: Clients, prompt: str) -> None:
    login = Login(clients.public)
    assert_goes_on(login, login.start(prompt=prompt))


@pytest.mark.spec("AUTHZ-34", "OpenID Core 3.1.2.1")
@pytest.mark.parametrize("max_age", ["abc", "-1", "1.5", "٣", "1e3", "9" * 30, " 1", "+1"])
def test_a_max_age_that_is_no_number_of_seconds(clients: Clients, max_age: str) -> None:
    login = Login(clients.public)
    assert_error_redirect(login, login.start(max_age=max_age), "invalid_request")


@pytest.mark.spec("AUTHZ-34", "OpenID Core 3.1.2.1")
@pytest.mark.parametrize("max_age", ["0", "3600"])
def test_max_age_brings_auth_time(clients: Clients, max_age: str) -> None:
    tokens = Login(clients.public).tokens(max_age=max_age)
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert 0 <= claims["iat"] - claims["auth_time"] <= 60


@pytest.mark.spec("AUTHZ-34", "OpenID Core 6")
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("request", "eyJhbGciOiJub25lIn0.e30.", "request_not_supported"),
        ("request_uri", "https://client.example/request.jwt", "request_uri_not_supported"),
        ("registration", "{}", "registration_not_supported"),
    ],
)
def test_request_objects_are_refused_by_name(clients: Clients, name: str, value: str, error: str) -> None:
    login = Login(clients.public)
    assert_error_redirect(login, login.start(**{name: value}), error)


# -- what comes back -----------------------------------------------------------------------------------------------


@pytest.mark.spec("AUTHZ-36", "RFC 9207 2")
@pytest.mark.parametrize("outcome", ["allow", "deny", "refused"])
def test_every_redirect_has_the_issuer_once(clients: Clients, outcome: str) -> None:
    login = Login(clients.public)
    response = (
        login.start(scope="unknown")
        if outcome == "refused"
        else login.browser.get(login.callback_url(decision=outcome))
    )
    pairs = parse_qsl(urlsplit(response.headers["location"]).query)
    assert [value for name, value in pairs if name == "iss"] == [issuer_of(clients.base)]


STATES = (
    'a b&c=d%20+é"',
    "x",
    "s" * 2000,
    "'\"<script>&lt;",
    "%",
    "%00",
    "?#/\\",
    "a=b&code=stolen",
    "日本語 🎉",
    "\t",
    "a\r\nSet-Cookie: x=1",
    " ",
    "~!*'()",
    "eyJhIjoxfQ==",
)


@pytest.mark.spec("AUTHZ-37", "RFC 6749 4.1.2")
@pytest.mark.parametrize("state", STATES)
def test_state_comes_back_unchanged(clients: Clients, state: str) -> None:
    login = Login(clients.public)
    answer = login.run(state=state)
    assert answer["state"] == state
    assert set(answer) == {"code", "state", "iss"}
    refused = Login(clients.public)
    assert_error_redirect(refused, refused.start(state=state, scope="unknown"), "invalid_scope")


@pytest.mark.spec("AUTHZ-37", "RFC 6749 4.1.2.1")
def test_state_comes_back_unchanged_after_a_refusal(clients: Clients) -> None:
    assert Login(clients.public).run(state=STATES[0], decision="deny")["state"] == STATES[0]


@pytest.mark.spec("AUTHZ-39", "RFC 9700 2.6")
def test_the_authorization_endpoint_has_no_cors(clients: Clients) -> None:
    login = Login(clients.public)
    origin = {"origin": login.client.registered.origins[0]}
    refused = login.browser.get(login.authorize_url(scope="unknown"), origin)
    page = login.browser.get(login.authorize_url(client_id="nobody"), origin)
    started = login.browser.get(Login(clients.public).authorize_url(), origin)
    assert (refused.status_code, page.status_code, started.status_code) == (303, 400, 303)
    preflight = requests.options(
        f"{clients.base}/authorize", headers=origin | {"access-control-request-method": "GET"}, timeout=30
    )
    assert preflight.status_code == 405
    for response in (refused, page, started, preflight):
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]


# -- pages ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("AUTHZ-40", "RFC 9700 4.16", "RFC 9700 4.2")
def test_every_page_is_safe_to_show(clients: Clients) -> None:
    assert_page(Login(clients.public).start(client_id="nobody"), 400)
    assert_page(Login(clients.multi_provider).start(), 200)
    login = Login(clients.third_party)
    assert_page(login.browser.follow(login.browser.get(login.callback_url(prompt="consent"))), 200)
    assert_page(requests.get(f"{clients.base}/callback/openid", timeout=30), 400)
    assert_page(requests.get(f"{clients.base}/consent", timeout=30), 400)


@pytest.mark.spec("AUTHZ-41", "RFC 9700 4.16")
@pytest.mark.parametrize("value", [SCRIPT, ATTRIBUTE, "</title>" + SCRIPT])
@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "state", "scope", "provider", "anything"])
def test_what_a_page_repeats_is_escaped(clients: Clients, name: str, value: str) -> None:
    login = Login(clients.multi_provider)
    response = login.start(**{name: value})
    if response.status_code == 303:
        # An error that is redirected carries no markup either.
        assert not set("<>\"'{} ") & set(response.headers["location"])
        return
    text = assert_page(response, 400 if name in ("client_id", "redirect_uri") else 200)
    assert value not in text
    assert "<script>alert" not in text
    assert "<img src=x" not in text


@pytest.mark.local_only
@pytest.mark.spec("AUTHZ-41", "RFC 9700 4.16")
@pytest.mark.parametrize("name", [SCRIPT, ATTRIBUTE])
def test_a_client_cannot_write_markup_by_its_name(clients: Clients, name: str) -> None:
    client = register(clients.base, name=name, providers=("openid", "infolobby"), first_party=False)
    login = Login(client)
    chooser = assert_page(login.start(), 200)
    named = Login(client, "openid", browser=login.browser)
    consent = assert_page(login.browser.follow(login.browser.get(named.callback_url())), 200)
    for text in (chooser, consent):
        assert escape(name) in text
        assert name not in text


@pytest.mark.spec("AUTHZ-41", "RFC 9700 4.3")
def test_no_page_shows_what_the_request_holds_in_confidence(clients: Clients) -> None:
    login = Login(clients.public)
    text = assert_refused(login.start(redirect_uri="https://evil.example/"))
    for name in ("state", "nonce", "code_challenge", "redirect_uri"):
        assert login.parameters[name] not in text
    back = login.client.base + "/callback/openid?" + urlencode({"code": "code-of-the-provider", "state": "x" * 30})
    text = assert_refused(login.browser.get(back))
    assert "code-of-the-provider" not in text
    assert "x" * 30 not in text


# -- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.spec("AUTHZ-43", "RFC 9110 15.5.15")
@pytest.mark.parametrize("name", ["state", "scope", "client_id", "redirect_uri", "nonce", "anything"])
def test_a_parameter_that_is_too_long(clients: Clients, name: str) -> None:
    login = Login(clients.public)
    assert_refused(login.start(**{name: "x" * 8193}))
    assert_refused(posted(login, urlencode(login.parameters | {name: "x" * 20_000})))


@pytest.mark.spec("AUTHZ-43", "RFC 6749 4.1.2.1")
@pytest.mark.parametrize("state", ["x" * 5001, " " * 1667, "é" * 834])
def test_a_state_that_is_too_long_does_not_come_back(clients: Clients, state: str) -> None:
    """It is measured as it would stand in the answer's URL, and would be stored with each login that anybody begins."""
    login = Login(clients.public)
    started = posted(login, urlencode(login.parameters | {"state": state}))
    pushed = Login(clients.public)
    refused = post_form(f"{clients.base}/par", pushed.parameters | {"state": state})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    login.parameters.pop("state")
    assert_error_redirect(login, started, "invalid_request")


@pytest.mark.spec("AUTHZ-37", "RFC 6749 4.1.2")
@pytest.mark.parametrize("state", ["x" * 5000, " " * 1666, 'a b&c=d%20+é"' * 150])
def test_a_state_may_be_just_so_long(clients: Clients, state: str) -> None:
    login = Login(clients.public)
    started = posted(login, urlencode(login.parameters | {"state": state}))
    login.parameters["state"] = state
    login.read_answer(login.browser.get(login.at_provider(started)))
    assert login.answer["state"] == state
    assert login.redeem().status_code == 200


@pytest.mark.spec("AUTHZ-43", "OpenID Core 3.1.2.1")
def test_a_nonce_that_is_too_long_is_refused(clients: Clients) -> None:
    login = Login(clients.public)
    assert_goes_on(login, login.start(nonce="n" * 512))
    for nonce in ("n" * 513, "é" * 257):
        refused = Login(clients.public)
        assert_error_redirect(refused, refused.start(nonce=nonce), "invalid_request")


@pytest.mark.spec("AUTHZ-43", "RFC 9110 15.5.15")
def test_a_request_that_the_gateway_does_not_pass_on(clients: Clients) -> None:
    response = Login(clients.public).start(state="x" * 40_000)
    assert response.status_code in (400, 413, 414, 431)
    assert "location" not in response.headers


@pytest.mark.spec("AUTHZ-43", "RFC 3986 2.1")
@pytest.mark.parametrize("bad", ["%ff", "%c3%28", "%ed%a0%80", "%zz", "%", "%1", "%u0041"])
@pytest.mark.parametrize("name", ["state", "client_id", "unknown"])
def test_a_query_that_is_badly_encoded(clients: Clients, name: str, bad: str) -> None:
    login = Login(clients.public)
    pairs = [f"{known}={quote(value, safe='')}" for known, value in login.parameters.items() if known != name]
    query = "&".join([*pairs, f"{name}={bad}"])
    assert_refused(get_exactly(f"{clients.base}/authorize?{query}"))
    assert_refused(posted(login, query))


@pytest.mark.spec("AUTHZ-43", "RFC 6749 3.1")
@pytest.mark.parametrize(
    "query", ["", "?", "?&&&", "?=", "?client_id", "?=x&=y", "?" + "&".join(f"p{n}=" for n in range(900))]
)
def test_a_query_that_says_nothing(clients: Clients, query: str) -> None:
    assert_refused(get_exactly(f"{clients.base}/authorize{query}"))


@pytest.mark.spec("AUTHZ-21", "AUTHZ-36", "RFC 6749 4.1.3")
def test_a_code_is_bound_to_the_redirect_uri_that_got_it(clients: Clients) -> None:
    login = Login(clients.two_redirects)
    login.run(redirect_uri=OTHER_CALLBACK)
    refused = login.redeem(redirect_uri=CALLBACK)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    form = {"grant_type": "refresh_token", "refresh_token": login.answer["code"]} | login.client.credentials()
    assert post_form(f"{clients.base}/token", form).json()["error"] == "invalid_grant"
    assert login.redeem().status_code == 200
