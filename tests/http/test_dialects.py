"""The paths of dialects loosen nothing: not for clients that did not opt in, and not beyond what a guide says."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests

from broker import clock
from broker.limiter import Limiter
from broker.protocol.limits import Limit
from broker.runtime import runtime
from broker.store.aws import client as aws_client
from broker.store.counters import Counters
from broker.upstream import serve
from broker_testing.journey import CALLBACK, Login, TestClient, change, post_form, refresh, register, userinfo
from broker_testing.sandbox import end_at_provider
from broker_testing.stores import search

TIMEOUT = 30
DIALECTS = ("infolobby", "lockitnetwork", "phpapi", "redbooth", "iternio")
STRANGERS: dict[str, dict[str, Any]] = {
    "none": {},
    "public": {"secret": False},
    "without PKCE": {"require_pkce": False},
    "another dialect": {"dialect": "other"},
}


def application(base: str, dialect: str, **attributes: Any) -> TestClient:
    """A confidential client that may speak a dialect."""
    return register(base, **({"secret": True, "providers": (dialect,), "dialect": dialect} | attributes))


def stranger(base: str, dialect: str, kind: str) -> TestClient:
    """A client that may not speak this dialect."""
    other = next(name for name in DIALECTS if name != dialect)
    attributes = {"secret": True, "providers": (dialect,), "token_by_get": True} | STRANGERS[kind]
    return register(base, **{key: other if value == "other" else value for key, value in attributes.items()})


def path_of(dialect: str, endpoint: str) -> str:
    """The dialect's first path for an endpoint."""
    served = serve.dialects()[dialect]
    return next(path for path, what in served.paths().items() if what == endpoint)


def authorize_url(client: TestClient, dialect: str, **changes: str | None) -> str:
    """What the guide's application asks for."""
    asked = {"response_type": "code", "client_id": client.client_id, "redirect_uri": client.redirect_uri} | changes
    parameters = {name: value for name, value in asked.items() if value is not None}
    return f"{client.base}{path_of(dialect, 'authorize')}?{urlencode(parameters)}"


def code_of(client: TestClient, dialect: str, **changes: str | None) -> str:
    """The code of a login by the dialect's way."""
    login = Login(client)
    back = login.browser.get(login.at_provider(login.browser.get(authorize_url(client, dialect, **changes))))
    return dict(parse_qsl(urlsplit(back.headers["location"]).query))["code"]


def redeem(client: TestClient, dialect: str, code: str, **changes: str | None) -> requests.Response:
    """The code at the dialect's token endpoint, by the client authentication that the guide has."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": client.redirect_uri}
    url = client.base + path_of(dialect, "token")
    if "client_secret_post" in serve.dialects()[dialect].token.auth or client.secret is None:
        return post_form(url, form | client.credentials(), changes)
    return post_form(url, form, changes, auth=(client.client_id, str(client.secret)))


def tokens_of(client: TestClient, dialect: str) -> dict[str, Any]:
    """The token answer of a login by the dialect's way."""
    response = redeem(client, dialect, code_of(client, dialect))
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def profile(base: str, dialect: str, token: str | None, **arguments: Any) -> requests.Response:
    """The profile with the token in the header."""
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    return requests.get(base + path_of(dialect, "profile"), headers=headers, timeout=TIMEOUT, **arguments)


# -- clients that did not opt in ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STRANGERS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_authorization_endpoint_redirects_nobody_who_did_not_opt_in(base: str, dialect: str, kind: str) -> None:
    client = stranger(base, dialect, kind)
    for changes in ({}, {"response_type": None}, {"redirect_uri": f"{CALLBACK}?x=1"}):
        answer = Login(client).browser.get(authorize_url(client, dialect, **changes))
        assert (answer.status_code, "location" in answer.headers) == (400, False)
        assert "unauthorized_client" in answer.text


@pytest.mark.parametrize("kind", STRANGERS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_token_endpoint_refuses_who_did_not_opt_in_and_consumes_nothing(base: str, dialect: str, kind: str) -> None:
    """Even a request that is right in the standard: the code is good at /token afterwards."""
    client = stranger(base, dialect, kind)
    login = Login(client)
    login.run()
    paths = [path for path, endpoint in serve.dialects()[dialect].paths().items() if endpoint == "token"]
    form = {"grant_type": "authorization_code", "code": login.answer["code"], "redirect_uri": client.redirect_uri}
    for path in paths:
        for changes in ({"code_verifier": login.verifier}, {}, {"grant_type": None, "redirect_uri": None}):
            answer = post_form(base + path, form | client.credentials(), changes)
            if answer.json()["error"] != "invalid_request":  # no grant_type, where the dialect wants one
                assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
        by_get = requests.get(base + path, params=form | client.credentials(), timeout=TIMEOUT)
        assert (by_get.status_code, by_get.headers["allow"]) == (405, "POST")
    assert login.redeem().status_code == 200


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "lockitnetwork"])
def test_the_profile_refuses_tokens_of_clients_that_did_not_opt_in(base: str, dialect: str) -> None:
    client = stranger(base, dialect, "none")
    token = Login(client).tokens()["access_token"]
    refused = profile(base, dialect, token)
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    assert profile(base, dialect, None, params={"access_token": token}).status_code == 401
    assert userinfo(base, token).status_code == 200


def test_opting_in_changes_nothing_at_the_standard_paths(base: str) -> None:
    """Not what is required, not the shape of answers, not the errors."""
    client = application(base, "iternio", redirect_uris=(CALLBACK,), token_by_get=True)
    login = Login(client)
    assert login.read_answer(login.start(code_challenge=None, code_challenge_method=None))["error"] == "invalid_request"
    login = Login(client)
    assert login.read_answer(login.start(response_type=None))["error"] == "invalid_request"
    login = Login(client)
    assert set(login.run()) == {"code", "state", "iss"}
    assert login.redeem(grant_type=None).json()["error"] == "invalid_request"
    tokens = login.redeem().json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    assert tokens["expires_in"] == 600
    by_get = requests.get(f"{base}/token", params=client.credentials(), timeout=TIMEOUT)
    assert by_get.status_code == 405
    assert (
        requests.get(f"{base}/userinfo", params={"access_token": tokens["access_token"]}, timeout=TIMEOUT).status_code
        == 400
    )
    assert refresh(client, tokens["refresh_token"]).status_code == 200


def test_a_dialect_is_lost_with_the_registration(base: str) -> None:
    client = application(base, "redbooth")
    tokens = tokens_of(client, "redbooth")
    assert profile(base, "redbooth", tokens["access_token"]).status_code == 200
    change(client, dialect=None)
    runtime().forget()
    assert profile(base, "redbooth", tokens["access_token"]).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]} | client.credentials()
    assert post_form(f"{base}/oauth2/token", form).json()["error"] == "unauthorized_client"


# -- what no guide allows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_public_client_needs_pkce_in_every_dialect(base: str, dialect: str) -> None:
    client = application(base, dialect, secret=False)
    login = Login(client)
    refused = login.browser.get(authorize_url(client, dialect))
    assert dict(parse_qsl(urlsplit(refused.headers["location"]).query))["error"] == "invalid_request"
    challenge = {name: login.parameters[name] for name in ("code_challenge", "code_challenge_method")}
    code = code_of(client, dialect, **challenge)
    assert redeem(client, dialect, code).status_code == 400
    assert redeem(client, dialect, code, code_verifier=login.verifier).status_code == 200


@pytest.mark.parametrize("dialect", DIALECTS)
def test_pkce_counts_where_a_confidential_client_uses_it(base: str, dialect: str) -> None:
    """RFC 9700 section 4.8: what was begun with a challenge does not end without a verifier, and the other way round."""
    client = application(base, dialect)
    login = Login(client)
    challenge = {name: login.parameters[name] for name in ("code_challenge", "code_challenge_method")}
    code = code_of(client, dialect, **challenge)
    assert redeem(client, dialect, code).status_code == 400
    assert redeem(client, dialect, code, code_verifier=login.verifier).status_code == 200
    assert redeem(client, dialect, code_of(client, dialect), code_verifier=login.verifier).status_code == 400


@pytest.mark.parametrize("response_type", ["token", "code token", "id_token"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_implicit_is_refused_in_every_dialect(base: str, dialect: str, response_type: str) -> None:
    client = application(base, dialect)
    answer = Login(client).browser.get(authorize_url(client, dialect, response_type=response_type))
    parameters = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    assert parameters["error"] == "unsupported_response_type"


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "iternio"])
def test_response_type_is_required_where_the_guide_requires_it(base: str, dialect: str) -> None:
    client = application(base, dialect)
    answer = Login(client).browser.get(authorize_url(client, dialect, response_type=None))
    assert dict(parse_qsl(urlsplit(answer.headers["location"]).query))["error"] == "invalid_request"


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://app.example/callback/",
        "https://app.example/Callback?x=1",
        "https://app.example:8443/callback?x=1",
        "https://app.example.evil.example/callback?x=1",
        "https://app.example@evil.example/callback?x=1",
        "https://evil.example/callback?x=1",
        "http://app.example/callback?x=1",
        "https://app.example/callback?code=stolen",
        "https://app.example/callback?x=1#fragment",
        "https://app.example/callback?x=%zz",
        "https://app.example/callback?x=\\evil",
        "https://app.example/callback/..?x=1",
        "https://app.example\\@evil.example/callback?x=1",
    ],
)
def test_a_free_query_is_free_in_nothing_but_the_query(base: str, redirect_uri: str) -> None:
    client = application(base, "redbooth")
    answer = Login(client).browser.get(authorize_url(client, "redbooth", redirect_uri=redirect_uri))
    assert (answer.status_code, "location" in answer.headers) == (400, False)


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "redbooth"])
def test_the_query_is_free_only_where_the_guide_says_so(base: str, dialect: str) -> None:
    client = application(base, dialect)
    answer = Login(client).browser.get(authorize_url(client, dialect, redirect_uri=f"{CALLBACK}?x=1"))
    assert (answer.status_code, "location" in answer.headers) == (400, False)


def test_a_free_query_must_be_repeated_to_the_letter(base: str) -> None:
    client = application(base, "redbooth")
    code = code_of(client, "redbooth", redirect_uri=f"{CALLBACK}?x=1")
    assert redeem(client, "redbooth", code, redirect_uri=CALLBACK).json()["error"] == "invalid_grant"
    assert redeem(client, "redbooth", code, redirect_uri=f"{CALLBACK}?x=1").status_code == 200


def test_a_raw_redirect_uri_takes_only_registered_text(base: str) -> None:
    client = application(base, "phpapi", redirect_uris=(f"{CALLBACK}?a=1&b=2",))
    start = f"{base}/api/authorize.php?client_id={client.client_id}&response_type=code&redirect_uri="
    browser = Login(client).browser
    assert browser.get(f"{start}{CALLBACK}?a=1&b=2").status_code == 303
    for wrong in (f"{CALLBACK}?a=1", f"{CALLBACK}?a=1&b=2&redirect_uri={CALLBACK}?a=1&b=2", f"{CALLBACK}?a=1&b=3"):
        answer = browser.get(start + wrong)
        assert (answer.status_code, "location" in answer.headers) == (400, False)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_wrong_secret_is_refused_and_consumes_nothing(base: str, dialect: str) -> None:
    client = application(base, dialect)
    code = code_of(client, dialect)
    wrong = TestClient(base, client.registered, "wrong")
    refused = redeem(wrong, dialect, code)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert redeem(client, dialect, code).status_code == 200


def test_tokens_by_get_only_for_clients_registered_for_it(base: str) -> None:
    client = application(base, "iternio")
    form = {"code": code_of(client, "iternio")} | client.credentials()
    refused = requests.get(f"{base}/1/oauth/token", params=form, timeout=TIMEOUT)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert redeem(client, "iternio", form["code"]).status_code == 200


@pytest.mark.parametrize("dialect", ["phpapi", "iternio"])
def test_no_refresh_where_the_guide_has_none(base: str, dialect: str) -> None:
    client = application(base, dialect)
    refused = post_form(
        base + path_of(dialect, "token"), {"grant_type": "refresh_token", "refresh_token": "x"} | client.credentials()
    )
    assert refused.json()["error"] == "unsupported_grant_type"


@pytest.mark.parametrize(("dialect", "methods"), [("phpapi", "GET"), ("redbooth", "GET, POST")])
def test_authorize_takes_the_methods_of_the_guide(base: str, dialect: str, methods: str) -> None:
    answer = requests.request("PUT", base + path_of(dialect, "authorize"), timeout=TIMEOUT)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)


# -- empty and repeated parameters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["iternio", "redbooth", "infolobby"])
def test_an_empty_scope_is_none(base: str, dialect: str) -> None:
    """RFC 6749 section 3.1: a parameter without a value is left out, and who names no scope gets all that it may have."""
    client = application(base, dialect, scope=("get_telemetry", "set_telemetry", "openid"))

    def asked_of_the_provider(scope: str | None) -> dict[str, str]:
        sent = Login(client).browser.get(authorize_url(client, dialect, scope=scope))
        query = dict(parse_qsl(urlsplit(sent.headers["location"]).query))
        return {name: value for name, value in query.items() if name not in ("state", "redirect_uri")}

    whole = asked_of_the_provider(None)
    assert "get_telemetry" in whole["scope"]
    assert asked_of_the_provider("") == asked_of_the_provider(" ") == whole
    assert asked_of_the_provider("get_telemetry")["scope"] == "get_telemetry"


@pytest.mark.parametrize(
    "repeated", [("authorization_code", ""), ("", "authorization_code"), ("", ""), ("authorization_code",) * 2]
)
@pytest.mark.parametrize("path", ["/api/token.php", "/1/oauth/token"])
def test_a_repeated_grant_type_is_refused_where_it_may_be_left_out(
    base: str, path: str, repeated: tuple[str, str]
) -> None:
    """RFC 6749 section 3.2: no parameter more than once, whatever it is."""
    client = application(base, "phpapi" if "php" in path else "iternio")
    form = [("code", "garbage"), *client.credentials().items()]
    answer = requests.post(base + path, data=[*form, *(("grant_type", value) for value in repeated)], timeout=TIMEOUT)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    once = requests.post(base + path, data=[*form, ("grant_type", "")], timeout=TIMEOUT)
    assert once.json()["error"] in ("invalid_grant", "invalid_code")


@pytest.mark.parametrize("repeated", ["response_type=&response_type=", "response_type=code&response_type="])
def test_a_repeated_response_type_is_refused_where_it_may_be_left_out(base: str, repeated: str) -> None:
    client = application(base, "iternio")
    browser = Login(client).browser
    url = authorize_url(client, "iternio", response_type=None)
    answer = browser.get(f"{url}&{repeated}")
    assert dict(parse_qsl(urlsplit(answer.headers["location"]).query))["error"] == "invalid_request"
    assert f"{base}/sandbox/iternio/" in browser.get(f"{url}&response_type=").headers["location"]


# -- lifetimes ---------------------------------------------------------------------------------------------------------


def test_an_iternio_token_lives_until_it_is_revoked(base: str) -> None:
    """Opaque, without an end but that of the login; then 401."""
    client = application(base, "iternio")
    tokens = tokens_of(client, "iternio")
    token = tokens["user_token"]
    assert token.startswith("tba_")
    clock.offset = 80 * 86400
    assert profile(base, "iternio", token).status_code == 200
    revoked = post_form(f"{base}/revoke", {"token": token} | client.credentials())
    assert revoked.status_code == 200
    assert profile(base, "iternio", token).status_code == 401
    clock.offset = 0
    late = tokens_of(client, "iternio")["user_token"]
    clock.offset = 91 * 86400
    assert profile(base, "iternio", late).status_code == 401


def test_a_registered_lifetime_counts_before_the_guide_s(base: str) -> None:
    client = application(base, "redbooth", access_token_lifetime=300)
    assert tokens_of(client, "redbooth")["expires_in"] == 300


# -- errors, in each guide's words -------------------------------------------------------------------------------------

Fault = Literal["missing", "invalid", "expired", "revoked"]
_PHP = "The access token is invalid or expired"
TEXTS: dict[str, dict[Fault, str]] = {
    "phpapi": {"missing": _PHP, "invalid": _PHP, "expired": _PHP, "revoked": _PHP},
    "redbooth": {
        "missing": "The access token is invalid",
        "invalid": "The access token is invalid",
        "expired": "The access token expired",
        "revoked": "The access token was revoked",
    },
}


@pytest.mark.parametrize("fault", ["missing", "invalid", "expired", "revoked"])
@pytest.mark.parametrize("dialect", TEXTS)
def test_the_words_for_a_bad_access_token(base: str, dialect: str, fault: Fault) -> None:
    client = application(base, dialect)
    token: str | None = tokens_of(client, dialect)["access_token"]
    if fault == "missing":
        token = None
    elif fault == "invalid":
        token = "x.y.z"
    elif fault == "expired":
        clock.offset = 7201
    else:
        assert post_form(f"{base}/revoke", {"token": str(token)} | client.credentials()).status_code == 200
    refused = profile(base, dialect, token)
    text = TEXTS[dialect][fault]
    assert refused.status_code == 401
    assert refused.headers["cache-control"] == "no-store"
    realm = "Doorkeeper" if dialect == "redbooth" else base
    challenge = f'Bearer realm="{realm}", error="invalid_token", error_description="{text}"'
    assert refused.headers["www-authenticate"] == challenge
    nested = {"error": {"message": text, "code": 401}}
    assert refused.json() == (
        nested if dialect == "redbooth" else {"error": "invalid_token", "error_description": text}
    )


@pytest.mark.parametrize(("dialect", "path"), [("infolobby", "/api/oauth/profile"), ("iternio", "/1/oauth/me")])
def test_who_comes_without_a_token_is_told_of_no_error(base: str, dialect: str, path: str) -> None:
    """RFC 6750 section 3.1, at dialects whose guide has no words for it: the challenge says how to authenticate, and no more."""
    for headers in ({}, {"authorization": "Basic YTpi"}):
        refused = requests.get(base + path, headers=headers, timeout=TIMEOUT)
        assert (refused.status_code, refused.content) == (401, b"")
        assert refused.headers["www-authenticate"] == f'Bearer realm="{base}"'
        assert refused.headers["cache-control"] == "no-store"
    assert 'error="invalid_token"' in profile(base, dialect, "x.y.z").headers["www-authenticate"]


def test_a_consent_that_the_provider_took_back_reads_as_revoked(base: str) -> None:
    client = application(base, "redbooth")
    token = tokens_of(client, "redbooth")["access_token"]
    end_at_provider(base, "redbooth", "grant", "johndoe")
    refused = profile(base, "redbooth", token)
    assert (refused.status_code, refused.json()) == (
        401,
        {"error": {"message": "The access token was revoked", "code": 401}},
    )


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"code": "garbage"}, 400, "invalid_code"),
        ({"code": None}, 400, "invalid_request"),
        ({"client_id": None}, 400, "invalid_request"),
        ({"client_secret": None}, 400, "invalid_request"),
        ({"client_secret": ""}, 400, "invalid_request"),
        ({"client_id": "nobody", "client_secret": None}, 400, "invalid_request"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_the_error_codes_of_the_php_style(base: str, changes: dict[str, str | None], status: int, error: str) -> None:
    client = application(base, "phpapi")
    answer = post_form(f"{base}/api/token.php", {"code": "x"} | client.credentials(), changes)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert set(answer.json()) == {"error", "error_description"}
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_missing_credentials_are_invalid_client_where_no_guide_says_otherwise(base: str) -> None:
    """RFC 6749 section 5.2."""
    client = application(base, "iternio")
    form = {"code": "x"} | client.credentials()
    for changes in ({"client_id": None}, {"client_secret": None}):
        answer = post_form(f"{base}/1/oauth/token", form, changes)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_the_other_dialects_say_invalid_grant(base: str) -> None:
    for dialect in ("infolobby", "lockitnetwork", "redbooth", "iternio"):
        assert redeem(application(base, dialect), dialect, "garbage").json()["error"] == "invalid_grant"


def test_an_access_token_in_two_places_is_refused(base: str) -> None:
    client = application(base, "redbooth")
    token = tokens_of(client, "redbooth")["access_token"]
    for answer in (
        profile(base, "redbooth", token, params={"access_token": token}),
        profile(base, "redbooth", None, params={"access_token": [token, token]}),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, 400)
    assert profile(base, "infolobby", None, params={"access_token": token}).status_code == 401


def test_too_many_requests_say_when_to_come_back(base: str) -> None:
    client = application(base, "phpapi")
    before = runtime().limiter
    counters = Counters(aws_client("dynamodb"), runtime().settings.grants_table)
    runtime().__dict__["limiter"] = Limiter(counters, {"token.authorization_code.client": Limit(1, 60)})
    try:
        form = {"code": "garbage"} | client.credentials()
        answers = [post_form(f"{base}/api/token.php", form) for _ in range(2)]
    finally:
        runtime().__dict__["limiter"] = before
    assert [answer.status_code for answer in answers] == [400, 429]
    assert 0 < int(answers[1].headers["retry-after"]) <= 60
    assert "ratelimit" in answers[1].headers


# -- whose profile it is -----------------------------------------------------------------------------------------------


def test_another_provider_s_person_has_the_shape_of_the_dialect(base: str) -> None:
    client = application(base, "infolobby", providers=("redbooth",))
    document = profile(base, "infolobby", tokens_of(client, "infolobby")["access_token"]).json()
    assert document == {
        "userId": 1001,
        "username": "johndoe",
        "emailAddress": "john@example.com",
        "timezone": None,
        "locale": None,
    }


def test_with_two_providers_ids_cannot_be_confused(base: str) -> None:
    """John is 1001 at both: an application that knows people by that number would take one for the other."""
    client = application(base, "infolobby", providers=("infolobby", "redbooth"))
    login = Login(client)
    page = login.browser.get(authorize_url(client, "infolobby"))
    assert page.status_code == 200
    assert f"{base}/api/oauth/authorize?" in page.text, "the chooser stays in the dialect"
    for provider in client.registered.providers:
        code = code_of(client, "infolobby", provider=provider)
        token = redeem(client, "infolobby", code).json()["access_token"]
        assert profile(base, "infolobby", token).json()["userId"] == f"{provider}|1001"


def test_an_id_that_a_browser_would_round_stays_text(base: str) -> None:
    client = application(base, "redbooth")
    login = Login(client)
    sent = login.browser.get(authorize_url(client, "redbooth"))
    back = login.browser.get(login.at_provider(sent, username="000123"))
    code = dict(parse_qsl(urlsplit(back.headers["location"]).query))["code"]
    token = redeem(client, "redbooth", code).json()["access_token"]
    assert profile(base, "redbooth", token).json()["id"] == "9007199254740993"


def test_a_client_of_a_dialect_that_is_not_first_party_asks_for_consent(base: str) -> None:
    """The page in between keeps both names of the code."""
    client = application(base, "iternio", first_party=False)
    login = Login(client)
    arrived = login.browser.get(login.at_provider(login.browser.get(authorize_url(client, "iternio", state="s"))))
    page = login.browser.follow(arrived, stop=(client.redirect_uri,))
    assert page.status_code == 200, page.text
    answer = dict(parse_qsl(urlsplit(login.browser.submit(page, {"decision": "allow"}).headers["location"]).query))
    assert answer["auth_code"] == answer["code"]
    assert redeem(client, "iternio", answer["code"]).json()["state"] == "s"


def test_what_is_kept_for_the_dialect_is_gone_once_the_code_is_out(base: str) -> None:
    client = application(base, "iternio")
    code = code_of(client, "iternio", state="s")
    grants = list(search(client_id=client.client_id))
    assert grants == [], "not active yet"
    assert redeem(client, "iternio", code).status_code == 200
    (grant,) = search(client_id=client.client_id)
    assert (grant.dialect, grant.state, grant.code_sealed) == ("", None, b"")


def test_a_traced_page_of_any_origin_may_ask_for_a_profile(base: str) -> None:
    asked = {"origin": "https://anybody.example", "access-control-request-method": "GET"}
    answer = requests.options(f"{base}/api/userinfo.php", headers=asked, timeout=30)
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {"authorization", "traceparent", "baggage"} <= allowed
    assert "RateLimit" in answer.headers["access-control-expose-headers"]
