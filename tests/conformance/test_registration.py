"""Clients that register themselves (RFC 7591) and manage their registration (RFC 7592)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from broker import clock
from broker.protocol.clients import hash_secret
from broker.protocol.registration_policy import RegistrationPolicy
from broker.runtime import runtime
from broker.store.registrations import InitialToken
from broker_testing.conformance import ORIGIN
from broker_testing.journey import CALLBACK, Login, refresh, register, userinfo
from broker_testing.parallel import at_once
from broker_testing.registration import (
    OPEN,
    ask_to_register,
    log_in,
    manage,
    metadata,
    policy_is,
    registered,
    visitor,
)
from broker_testing.trouble import (
    answer_lost_once,
    meanwhile,
    pass_time,
    replicas_behind,
    store_answer_lost,
    store_refuses,
)
from conformance.front_channel import assert_error_redirect, assert_page
from conformance.wire import assert_error, assert_method_not_allowed, assert_tokens, assert_unavailable

pytestmark = pytest.mark.local_only


@pytest.fixture
def open_base(base: str) -> Iterator[str]:
    """A broker at which everybody may register."""
    with policy_is(OPEN):
        yield base


def initial_token(text: str, *, uses: int = 1, expires_at: int = 0) -> str:
    """Let this initial access token be used."""
    runtime().registrations.add_initial_token(InitialToken(hash_secret(text), "", uses, expires_at, clock.now()))
    return text


def allowed_origin(base: str, origin: str) -> str | None:
    """What a browser that asks ahead for a page of `origin` is told, now."""
    runtime().registry.forget()
    headers = {"origin": origin, "access-control-request-method": "POST"}
    response = requests.options(f"{base}/token", headers=headers, timeout=30)
    return response.headers.get("access-control-allow-origin")


def switch_off(client_id: str) -> None:
    """What `broker client disable` does."""
    runtime().registry.forget()
    stored = runtime().registry.client(client_id)
    assert stored is not None
    runtime().registry.update_client(replace(stored, disabled=True), stored)


def assert_challenged(response: requests.Response, *, with_token: bool) -> None:
    """401 as RFC 6750 section 3 has it."""
    assert_error(response, 401, "invalid_token")
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="')
    assert ('error="invalid_token"' in challenge) is with_token


# -- registration -------------------------------------------------------------------------------------------------


@pytest.mark.spec("REG-125", "RFC 7591 3.2.1")
def test_a_public_client_registers_and_logs_somebody_in(open_base: str) -> None:
    response = ask_to_register(open_base, metadata(scope="openid profile email offline_access"))
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    information = response.json()
    assert re.fullmatch(r"dyn_[A-Za-z0-9_-]{22}", information["client_id"])
    assert abs(information["client_id_issued_at"] - clock.now()) < 60
    assert not {"client_secret", "client_secret_expires_at"} & set(information)
    assert information["registration_client_uri"] == f"{open_base}/register/{information['client_id']}"
    assert re.fullmatch(r"tbg_[A-Za-z0-9_-]{43}", information["registration_access_token"])
    for name, value in metadata().items():
        assert information[name] == value

    client = visitor(open_base, information)
    login, page = log_in(client)
    assert "A visitor" in page
    tokens = assert_tokens(login.redeem())
    assert userinfo(open_base, tokens["access_token"]).status_code == 200
    assert_tokens(refresh(client, tokens["refresh_token"]))


@pytest.mark.spec("REG-125", "RFC 7591 3.2.1")
@pytest.mark.parametrize("by", ["itself", "the operator"])
def test_a_client_that_was_registered_just_now_is_known(open_base: str, by: str) -> None:
    runtime().registry.forget()
    with replicas_behind():
        if by == "itself":
            login, _ = log_in(visitor(open_base, registered(open_base, redirect_uris=[f"{ORIGIN}/cb"])))
        else:
            login = Login(register(open_base, providers=("openid",), origins=(ORIGIN,)))
            login.run()
        assert_tokens(login.redeem())
        assert allowed_origin(open_base, ORIGIN) == ORIGIN


@pytest.mark.spec("REG-125", "RFC 7591 3.2.1")
def test_a_confidential_client_gets_its_secret_once(open_base: str) -> None:
    information = registered(open_base, token_endpoint_auth_method="client_secret_post")
    assert information["client_secret_expires_at"] == 0
    assert re.fullmatch(r"tbcs_[A-Za-z0-9_-]{43}", information["client_secret"])
    login, _ = log_in(visitor(open_base, information))
    assert_error(login.redeem(client_secret="wrong"), 401, "invalid_client")
    assert_tokens(login.redeem())
    assert "client_secret" not in manage(information, "GET").json()


@pytest.mark.spec("REG-125")
def test_nothing_that_is_stored_can_be_used(open_base: str) -> None:
    information = registered(open_base, token_endpoint_auth_method="client_secret_basic")
    stored = runtime().registry.client(information["client_id"])
    assert stored is not None
    assert stored.registration_token == hash_secret(information["registration_access_token"])
    assert [one.sha256 for one in stored.secrets] == [hash_secret(information["client_secret"])]
    assert (stored.first_party, stored.dynamic, stored.require_pkce) == (False, True, True)


REDIRECT_URIS: list[Any] = [
    None,
    [],
    "https://app.example/cb",
    [1],
    ["https://app.example/cb#part"],
    ["javascript:alert(1)"],
    ["data:text/html,x"],
    ["http://app.example/cb"],
    ["http://127.0.0.1.evil.example/cb"],
    ["https://*.app.example/cb"],
    ["https://user@app.example/cb"],
    ["/cb"],
    ["myapp:/cb"],
    ["https://[::1/cb"],
    ["https://app.example/cb", "https://app.example/cb"],
    ["https://app.example/\ud800"],
    [f"https://app.example/{number}" for number in range(51)],
]


@pytest.mark.spec("REG-126", "RFC 7591 3.2.2")
@pytest.mark.parametrize("uris", REDIRECT_URIS, ids=repr)
def test_bad_redirect_uris(open_base: str, uris: object) -> None:
    assert_error(ask_to_register(open_base, metadata(redirect_uris=uris)), 400, "invalid_redirect_uri")


KEY = {"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"} | {
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
}
METADATA: list[dict[str, Any]] = [
    {"token_endpoint_auth_method": "tls_client_auth"},
    {"token_endpoint_auth_method": 1},
    {"token_endpoint_auth_method": "private_key_jwt"},
    {"grant_types": ["implicit"]},
    {"grant_types": ["password"]},
    {"grant_types": "authorization_code"},
    {"grant_types": ["refresh_token"], "response_types": []},
    {"response_types": ["token"]},
    {"response_types": ["code", "token"]},
    {"response_types": []},
    {"jwks": {"keys": [KEY]}, "jwks_uri": "https://app.example/jwks"},
    {"jwks": {"keys": [{**KEY, "d": "secret"}]}},
    {"jwks": {"keys": []}},
    {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}},
    {"jwks": {"keys": [{"kty": []}]}},
    {"jwks": []},
    {"jwks_uri": "http://app.example/jwks"},
    {"jwks_uri": "https://app.example:25/jwks"},
    {"jwks_uri": "https://app.example:99999/jwks"},
    {"client_name": "a\u202eb"},
    {"client_name": "\u200d"},
    {"client_name": "n" * 101},
    {"client_name": ["x"]},
    {"client_uri": "javascript:alert(1)"},
    {"logo_uri": "data:image/png;base64,x"},
    {"policy_uri": "https://user@app.example/"},
    {"tos_uri": "tos"},
    {"contacts": "me@app.example"},
    {"contacts": ["\x1b[2J"]},
    {"scope": ["openid"]},
    {"scope": 'a"b'},
    {"scope": "nothing-of-this"},
    {"application_type": "desktop"},
    {"subject_type": "pairwise"},
    {"id_token_signed_response_alg": "none"},
    {"id_token_signed_response_alg": "HS256"},
    {"require_pushed_authorization_requests": "yes"},
    {"dpop_bound_access_tokens": 1},
    {"backchannel_logout_uri": "http://app.example/logout"},
    {"backchannel_logout_uri": "https://app.example:1023/logout"},
    {"post_logout_redirect_uris": ["https://app.example/#x"]},
    {"software_id": "\n"},
]


@pytest.mark.spec("REG-126", "RFC 7591 3.2.2")
@pytest.mark.parametrize("changes", METADATA, ids=repr)
def test_bad_metadata(open_base: str, changes: dict[str, Any]) -> None:
    assert_error(ask_to_register(open_base, metadata(**changes)), 400, "invalid_client_metadata")


@pytest.mark.spec("REG-126", "OpenID Connect Registration 2")
def test_a_web_application_has_no_private_use_scheme(open_base: str) -> None:
    uris = ["com.example.app:/cb"]
    response = ask_to_register(open_base, metadata(application_type="web", redirect_uris=uris))
    assert_error(response, 400, "invalid_redirect_uri")


@pytest.mark.spec("REG-125", "RFC 8252 7")
@pytest.mark.parametrize("uri", ["http://127.0.0.1/cb", "http://localhost:6274/cb", "com.example.app:/cb"])
def test_a_native_application_registers(open_base: str, uri: str) -> None:
    information = registered(open_base, redirect_uris=[uri])
    assert information["application_type"] == "native"
    client = visitor(open_base, information)
    assert Login(client).start().status_code == 303
    assert Login(client).start(redirect_uri="http://evil.example/cb").status_code == 400


@pytest.mark.spec("REG-129", "RFC 7591 2")
def test_the_default_of_what_is_left_out(open_base: str) -> None:
    response = ask_to_register(open_base, {"redirect_uris": [CALLBACK], "x-unknown": {"a": 1}, "client_uri": ""})
    assert response.status_code == 201
    information = response.json()
    assert information["token_endpoint_auth_method"] == "client_secret_basic"
    assert information["grant_types"] == ["authorization_code"]
    assert information["response_types"] == ["code"]
    assert information["application_type"] == "web"
    assert information["id_token_signed_response_alg"] == "RS256"
    assert information["scope"] == "openid profile email offline_access"
    assert information["require_pushed_authorization_requests"] is False
    assert information["dpop_bound_access_tokens"] is False
    assert not {"x-unknown", "client_uri", "client_name", "jwks", "contacts"} & set(information)


@pytest.mark.spec("REG-125", "RFC 7591 3.2.1")
def test_all_that_is_registered_is_returned(open_base: str) -> None:
    full = metadata(
        client_uri="https://app.example/",
        logo_uri="https://app.example/logo.png",
        tos_uri="https://app.example/tos",
        policy_uri="https://app.example/policy",
        contacts=["team at app"],
        software_id="4NRB1",
        software_version="2.1",
        application_type="web",
        jwks={"keys": [KEY]},
        id_token_signed_response_alg="ES256",
        post_logout_redirect_uris=["https://app.example/bye"],
        backchannel_logout_uri="https://app.example:8443/logout",
        require_pushed_authorization_requests=True,
        dpop_bound_access_tokens=True,
        scope="openid email",
    )
    information = registered(open_base, **full)
    assert {name: information[name] for name in full} == full
    assert manage(information, "GET").json() == information


@pytest.mark.spec("REG-129", "RFC 7591 2")
def test_the_policy_narrows_what_is_asked_for(base: str) -> None:
    narrow = replace(OPEN, scope=("openid",), grant_types=("authorization_code",), resources=("https://api.example",))
    with policy_is(narrow):
        information = registered(base, scope="openid email repo")
        assert information["scope"] == "openid"
        assert information["grant_types"] == ["authorization_code"]
        client = visitor(base, information)
        login, _ = log_in(client, scope=None, resource="https://api.example")
        tokens = assert_tokens(login.redeem())
        assert tokens["scope"] == "openid"
        assert "refresh_token" not in tokens
        refused = Login(client).start(scope="openid", resource="https://other.example")
        assert "error=invalid_target" in refused.text


@pytest.mark.spec("REG-126", "RFC 9700 4.11.2")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"scope": "nonsense"}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"provider": "nonsense"}, "invalid_request"),
    ],
)
def test_nobody_is_sent_through_to_where_a_stranger_likes(
    open_base: str, changes: dict[str, str | None], code: str
) -> None:
    """A request that is wrong on purpose would make the broker an open redirector: the person decides whether he goes on."""
    there = "https://there.example/cb?a=1"
    client = visitor(open_base, registered(open_base, redirect_uris=[there]))
    login = Login(client)
    page = login.start(**changes)
    assert (page.status_code, page.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert not {"location", "refresh", "set-cookie"} & {name.lower() for name in page.headers}
    text = page.text
    assert '<strong dir="ltr">there.example</strong>' in text
    (back,) = re.findall(r'<a href="(https://there[^"]+)" rel="noreferrer">', text)
    answer = dict(parse_qsl(urlsplit(unescape(back)).query))
    assert unescape(back).startswith(f"{there}&")
    assert (answer["error"], answer["iss"]) == (code, open_base)
    assert answer["state"] == login.parameters["state"]
    by_form = assert_page(Login(client).start(**changes, response_mode="form_post"), 400)
    assert f'<form method="post" action="{there}">' in by_form
    assert f'name="error" value="{code}"' in by_form
    assert "<script" not in by_form


@pytest.mark.spec("REG-126", "RFC 9700 4.11.2")
def test_a_silent_login_and_an_operators_client_are_answered_by_a_redirect(open_base: str) -> None:
    client = visitor(open_base, registered(open_base))
    login = Login(client)
    assert_error_redirect(login, login.start(prompt="none"), "login_required")
    own = Login(register(open_base))
    assert_error_redirect(own, own.start(scope="nonsense"), "invalid_scope")


@pytest.mark.spec("REG-126")
def test_the_policy_says_where_redirect_uris_may_lead(base: str) -> None:
    hosts = ("app.example", "*.apps.example", "127.0.0.1", "com.example.app:")
    with policy_is(replace(OPEN, redirect_hosts=hosts)):
        for good in (
            "https://app.example/cb",
            "https://a.apps.example/cb",
            "http://127.0.0.1/cb",
            "com.example.app:/cb",
        ):
            assert ask_to_register(base, metadata(redirect_uris=[good])).status_code == 201, good
            registered(base, redirect_uris=["https://app.example/cb"], post_logout_redirect_uris=[good])
        for bad in (
            "https://apps.example/cb",
            "https://app.example.evil.example/cb",
            "http://localhost/cb",
            "com.x.y:/cb",
        ):
            assert_error(ask_to_register(base, metadata(redirect_uris=[bad])), 400, "invalid_redirect_uri")
            document = metadata(redirect_uris=["https://app.example/cb"], post_logout_redirect_uris=[bad])
            assert_error(ask_to_register(base, document), 400, "invalid_client_metadata")


@pytest.mark.spec("REG-126", "GEN-143", "RFC 9700 4.11.2")
@pytest.mark.parametrize("there", ["https://there.example/bye?a=1", "com.example.there:/bye"])
def test_a_sign_out_sends_nobody_to_where_a_stranger_likes(open_base: str, there: str) -> None:
    """Who registered the client has ID tokens of his own logins, for a link that he gives to anybody."""
    client = visitor(open_base, registered(open_base, application_type="native", post_logout_redirect_uris=[there]))
    login, _ = log_in(client)
    tokens = assert_tokens(login.redeem())
    request = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": there, "state": "s&t"}
    for _ in range(2):  # the login has ended the second time
        page = requests.get(f"{open_base}/logout", params=request, timeout=30, allow_redirects=False)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert not {"location", "refresh"} & {name.lower() for name in page.headers}
        assert "You are signed out of" in page.text
        (back,) = re.findall(r'<a href="([^"]+)" rel="noreferrer">', page.text)
        assert unescape(back) == f"{there}{'&' if '?' in there else '?'}state=s%26t"
        place = "there.example" if there.startswith("https") else "com.example.there:"
        assert f'<strong dir="ltr">{place}</strong>' in page.text
    assert_error(refresh(client, tokens["refresh_token"]), 400, "invalid_grant")


@pytest.mark.spec("REG-129")
@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        ("{}", "text/plain", "invalid_request"),
        ("a=b", "application/x-www-form-urlencoded", "invalid_request"),
        ("{", "application/json", "invalid_client_metadata"),
        ("[]", "application/json", "invalid_client_metadata"),
        ('"x"', "application/json", "invalid_client_metadata"),
        ("", "application/json", "invalid_client_metadata"),
        ('{"a": NaN}', "application/json", "invalid_client_metadata"),
        ('{"a": -1e999}', "application/json", "invalid_client_metadata"),
        ('{"redirect_uris": [], "redirect_uris": []}', "application/json", "invalid_client_metadata"),
        ("[" * 20_000, "application/json", "invalid_client_metadata"),
        ('{"a": "' + "x" * 40_000 + '"}', "application/json", "invalid_client_metadata"),
    ],
    ids=["text", "form", "broken", "array", "string", "empty", "NaN", "infinite", "twice", "deep", "big"],
)
def test_what_is_not_a_json_object(open_base: str, body: str, content_type: str, code: str) -> None:
    response = requests.post(f"{open_base}/register", data=body, headers={"content-type": content_type}, timeout=30)
    assert_error(response, 400, code)


@pytest.mark.spec("REG-125", "RFC 9110 15.5.6")
def test_methods_and_origins(open_base: str) -> None:
    response = requests.get(f"{open_base}/register", timeout=30)
    assert_method_not_allowed(response, "POST")
    information = registered(open_base)
    assert_method_not_allowed(manage(information, "POST"), "GET", "HEAD", "PUT", "DELETE")
    head = manage(information, "HEAD")
    assert (head.status_code, head.headers["content-type"], head.content) == (200, "application/json", b"")
    preflight = requests.options(f"{open_base}/register", headers={"origin": "https://x.example"}, timeout=30)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in preflight.headers


@pytest.mark.spec("REG-125")
def test_a_browser_application_may_call_from_where_it_returns_to(open_base: str) -> None:
    """And no longer once it is gone. Two clients of one origin are counted, not mixed up."""
    origin = "https://spa.example"
    first, second = (registered(open_base, redirect_uris=[f"{origin}/cb"]) for _ in range(2))

    assert allowed_origin(open_base, origin) == origin
    assert manage(first, "DELETE").status_code == 204
    assert allowed_origin(open_base, origin) == origin
    document = metadata(client_id=second["client_id"], redirect_uris=["https://elsewhere.example/cb"])
    assert manage(second, "PUT", document).status_code == 200
    assert allowed_origin(open_base, origin) is None


def _sharing(base: str, origin: str) -> tuple[dict[str, Any], dict[str, object]]:
    """(a client with pages at `origin`, where another client has its pages too; metadata that takes it elsewhere)."""
    _, leaving = (registered(base, redirect_uris=[f"{origin}/cb"]) for _ in range(2))
    return leaving, metadata(client_id=leaving["client_id"], redirect_uris=["https://elsewhere.example/cb"])


@pytest.mark.spec("REG-125")
def test_parallel_changes_take_no_origin_from_another_client(open_base: str) -> None:
    origin = "https://parallel.example"
    leaving, elsewhere = _sharing(open_base, origin)
    statuses = at_once([lambda: manage(leaving, "PUT", elsewhere).status_code] * 8)
    assert set(statuses) == {200}, "they all ask for the same"
    assert allowed_origin(open_base, origin) == origin
    goings = [lambda: manage(leaving, "DELETE").status_code] * 4
    assert set(at_once(goings)) <= {204, 401}
    assert allowed_origin(open_base, origin) == origin


@pytest.mark.spec("REG-125")
def test_changes_that_failed_take_no_origin_from_another_client(open_base: str) -> None:
    origin = "https://throttled.example"
    leaving, elsewhere = _sharing(open_base, origin)
    with store_refuses("PutItem", "ProvisionedThroughputExceededException"):
        for _ in range(2):
            assert_unavailable(manage(leaving, "PUT", elsewhere))
    assert manage(leaving, "PUT", elsewhere).status_code == 200
    assert allowed_origin(open_base, origin) == origin


@pytest.mark.spec("REG-125")
@pytest.mark.parametrize("operation", ["PutItem", "UpdateItem"])
def test_answers_that_were_lost_take_no_origin_from_another_client(open_base: str, operation: str) -> None:
    """Neither the answer to the write, after which it is sent again, nor that to the count, which is sent once."""
    origin = f"https://{operation.lower()}.example"
    leaving, elsewhere = _sharing(open_base, origin)
    losing = answer_lost_once(operation) if operation == "PutItem" else store_answer_lost(operation, attempts=1)
    with losing:
        assert manage(leaving, "PUT", elsewhere).status_code == 200
    assert manage(leaving, "GET").json()["redirect_uris"] == elsewhere["redirect_uris"]
    assert allowed_origin(open_base, origin) == origin


# -- who may register ---------------------------------------------------------------------------------------------


@pytest.mark.spec("REG-127", "META-9")
def test_registration_is_off_unless_the_operator_lets_it_be(base: str) -> None:
    runtime().registrations.forget()
    assert_error(ask_to_register(base, metadata()), 403, "access_denied")
    for name in ("oauth-authorization-server", "openid-configuration"):
        document = requests.get(f"{base}/.well-known/{name}", timeout=30).json()
        assert not {"registration_endpoint", "client_id_metadata_document_supported"} & set(document)


@pytest.mark.spec("REG-127", "META-9")
def test_metadata_names_the_endpoint_where_it_is_open(open_base: str) -> None:
    document = requests.get(f"{open_base}/.well-known/oauth-authorization-server", timeout=30).json()
    assert document["registration_endpoint"] == f"{open_base}/register"


@pytest.fixture
def token_base(base: str) -> Iterator[str]:
    """A broker at which holders of an initial access token may register."""
    with policy_is(replace(OPEN, mode="token")):
        yield base


@pytest.mark.spec("REG-127", "RFC 7591 3")
def test_an_initial_access_token_is_needed(token_base: str) -> None:
    assert_challenged(ask_to_register(token_base, metadata()), with_token=False)
    # Before the metadata is looked at: nobody without a token learns what is right about it.
    assert_challenged(ask_to_register(token_base, {}), with_token=False)
    for wrong in ("tbi_wrong", "x", "tbi_" + "A" * 43):
        assert_challenged(ask_to_register(token_base, metadata(), wrong), with_token=True)


@pytest.mark.spec("REG-127", "RFC 7591 3")
def test_an_initial_access_token_is_used_up(token_base: str) -> None:
    token = initial_token("tbi_used-up", uses=2)
    assert_error(ask_to_register(token_base, metadata(redirect_uris=[]), token), 400, "invalid_redirect_uri")
    assert ask_to_register(token_base, metadata(), token).status_code == 201
    assert ask_to_register(token_base, metadata(), token).status_code == 201
    assert_challenged(ask_to_register(token_base, metadata(), token), with_token=True)


@pytest.mark.spec("REG-127")
def test_an_initial_access_token_expires(token_base: str) -> None:
    token = initial_token("tbi_expires", expires_at=clock.now() + 60)
    pass_time(61)
    assert_challenged(ask_to_register(token_base, metadata(), token), with_token=True)


@pytest.mark.spec("REG-127")
def test_parallel_requests_get_the_clients_that_the_token_allows(token_base: str) -> None:
    token = initial_token("tbi_race", uses=3)
    responses = at_once([lambda: ask_to_register(token_base, metadata(), token)] * 8)
    assert sorted(response.status_code for response in responses) == [201] * 3 + [401] * 5
    # Nothing is left of the refused: their places and their origins are free again.
    assert runtime().registrations.registered() == 3


@pytest.mark.spec("REG-127")
def test_there_are_no_more_clients_than_the_policy_lets_be(base: str) -> None:
    with policy_is(replace(OPEN, max_clients=2)):
        first = registered(base)
        registered(base)
        assert_error(ask_to_register(base, metadata()), 403, "access_denied")
        assert manage(first, "DELETE").status_code == 204
        registered(base)


@pytest.mark.spec("REG-125")
def test_a_store_that_is_down_registers_nobody(open_base: str) -> None:
    with store_refuses("PutItem", "InternalServerError"):
        assert_unavailable(ask_to_register(open_base, metadata()))
    assert runtime().registrations.registered() == 0


@pytest.mark.spec("REG-125")
def test_a_registration_whose_answer_the_store_lost_is_one(open_base: str) -> None:
    with answer_lost_once("PutItem"):
        information = registered(open_base)
    assert manage(information, "GET").json() == information
    assert runtime().registrations.registered() == 1


@pytest.mark.spec("REG-127")
def test_a_use_whose_answer_the_store_lost_is_one(token_base: str) -> None:
    token = initial_token("tbi_lost_once")
    with answer_lost_once("TransactWriteItems"):
        response = ask_to_register(token_base, metadata(), token)
    assert response.status_code == 201
    assert manage(response.json(), "GET").status_code == 200
    assert_challenged(ask_to_register(token_base, metadata(), token), with_token=True)
    assert runtime().registrations.registered() == 1


@pytest.mark.spec("REG-127")
def test_a_registration_that_nobody_was_told_of_costs_no_use(token_base: str) -> None:
    token = initial_token("tbi_lost")
    with store_answer_lost("TransactWriteItems"):
        assert_unavailable(ask_to_register(token_base, metadata(client_name="Nobody's"), token))
    assert runtime().registrations.registered() == 0
    assert "Nobody's" not in {client.name for client in runtime().registry.clients()}
    assert ask_to_register(token_base, metadata(), token).status_code == 201


# -- management ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("REG-128", "RFC 7592 2.1")
def test_a_client_reads_its_registration(open_base: str) -> None:
    information = registered(open_base)
    response = manage(information, "GET")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert response.json() == information


@pytest.mark.spec("REG-128", "RFC 7592 2")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_with_its_own_registration_token(open_base: str, method: str) -> None:
    information, other = registered(open_base), registered(open_base)
    document = metadata(client_id=information["client_id"])
    uri = information["registration_client_uri"]
    without = requests.request(method, uri, json=document, timeout=30)
    assert_challenged(without, with_token=False)
    for wrong in ("x", other["registration_access_token"], information["client_id"], ""):
        headers = {"authorization": f"Bearer {wrong}"}
        response = requests.request(method, uri, json=document, headers=headers, timeout=30)
        assert_challenged(response, with_token=bool(wrong))
    unknown = {**information, "registration_client_uri": f"{open_base}/register/dyn_unknown"}
    assert_challenged(manage(unknown, method, document), with_token=True)
    assert manage(information, "GET").json() == information


@pytest.mark.spec("REG-128")
def test_a_client_of_the_operators_cannot_be_managed(open_base: str) -> None:
    """It has no registration token, so that none can be right, an empty one included."""
    for authorization in ("Bearer", "Bearer ", "Bearer x", "Bearer None"):
        response = requests.get(
            f"{open_base}/register/playground", headers={"authorization": authorization}, timeout=30
        )
        assert_error(response, 401, "invalid_token")


@pytest.mark.spec("REG-128", "RFC 7592 2.2")
def test_a_client_changes_its_registration(open_base: str) -> None:
    information = registered(open_base, client_uri="https://app.example/")
    uris = ["https://app.example/new"]
    document = metadata(client_id=information["client_id"], client_name="Renamed", redirect_uris=uris)
    response = manage(information, "PUT", document)
    assert response.status_code == 200
    assert response.json()["client_name"] == "Renamed"
    assert "client_uri" not in response.json(), "what is left out is deleted"
    assert manage(information, "GET").json() == response.json()
    client = visitor(open_base, response.json())
    assert Login(client).start().status_code == 303
    assert Login(client).start(redirect_uri=CALLBACK).status_code == 400


@pytest.mark.spec("REG-128", "RFC 7592 2.2")
@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": "dyn_other"},
        {"registration_access_token": "tbg_mine"},
        {"registration_client_uri": "https://app.example"},
        {"client_secret_expires_at": 0},
        {"client_id_issued_at": 1},
        {"client_secret": "tbcs_chosen"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_the_server_manages_is_not_the_clients_to_change(open_base: str, changes: dict[str, Any]) -> None:
    information = registered(open_base)
    document = metadata(**({"client_id": information["client_id"], "client_name": "Changed"} | changes))
    assert_error(manage(information, "PUT", document), 400, "invalid_request")
    assert manage(information, "GET").json() == information


@pytest.mark.spec("REG-128", "RFC 7592 2.2")
def test_a_bad_change_changes_nothing(open_base: str) -> None:
    information = registered(open_base)
    document = metadata(client_id=information["client_id"], redirect_uris=["http://evil.example"])
    assert_error(manage(information, "PUT", document), 400, "invalid_redirect_uri")
    assert manage(information, "GET").json() == information


@pytest.mark.spec("REG-128", "RFC 7592 2.2")
def test_a_client_becomes_confidential_and_public_again(open_base: str) -> None:
    information = registered(open_base)
    document = metadata(client_id=information["client_id"], token_endpoint_auth_method="client_secret_post")
    secret = manage(information, "PUT", document).json()["client_secret"]
    kept = manage(information, "PUT", document | {"client_secret": secret})
    assert kept.status_code == 200
    assert "client_secret" not in kept.json(), "the secret is still the same"
    login, _ = log_in(visitor(open_base, {**kept.json(), "client_secret": secret}))
    assert_tokens(login.redeem())
    again = manage(information, "PUT", metadata(client_id=information["client_id"]))
    assert again.json()["token_endpoint_auth_method"] == "none"
    stored = runtime().registry.client(information["client_id"])
    assert stored is not None
    assert stored.secrets == ()


@pytest.mark.spec("REG-128")
def test_a_change_keeps_what_the_operator_decided(open_base: str) -> None:
    information = registered(open_base)
    stored = runtime().registry.client(information["client_id"])
    assert stored is not None
    decided = replace(stored, providers=("infolobby",), first_party=True, idle_lifetime=900)
    runtime().registry.update_client(decided, stored)
    assert manage(information, "PUT", metadata(client_id=information["client_id"])).status_code == 200
    after = runtime().registry.client(information["client_id"])
    assert after is not None
    assert (after.providers, after.first_party, after.idle_lifetime) == (("infolobby",), True, 900)


@pytest.mark.spec("REG-128")
def test_a_client_that_was_switched_off_manages_nothing(open_base: str) -> None:
    information = registered(open_base)
    switch_off(information["client_id"])
    for method in ("GET", "PUT", "DELETE"):
        document = metadata(client_id=information["client_id"])
        assert_error(manage(information, method, document), 403, "access_denied")


@pytest.mark.spec("REG-128")
@pytest.mark.parametrize(("method", "operation"), [("PUT", "PutItem"), ("DELETE", "DeleteItem")])
def test_what_the_operator_decides_meanwhile_is_not_undone(open_base: str, method: str, operation: str) -> None:
    information = registered(open_base)
    document = metadata(client_id=information["client_id"], client_name="Changed")
    with meanwhile(operation, lambda: switch_off(information["client_id"])):
        assert_unavailable(manage(information, method, document))
    assert_error(manage(information, method, document), 403, "access_denied")
    runtime().registry.forget()
    stored = runtime().registry.client(information["client_id"])
    assert stored is not None
    assert (stored.disabled, stored.name) == (True, "A visitor")


@pytest.mark.spec("REG-128")
def test_a_change_does_not_bring_back_a_client_that_was_removed_meanwhile(open_base: str) -> None:
    information = registered(open_base)
    document = metadata(client_id=information["client_id"])
    with meanwhile("PutItem", lambda: runtime().registry.remove_client(information["client_id"])):
        assert_challenged(manage(information, "PUT", document), with_token=True)
    assert_challenged(manage(information, "GET"), with_token=True)


@pytest.mark.spec("REG-128", "RFC 7592 2.3")
def test_a_removal_whose_answer_the_store_lost_is_one(open_base: str) -> None:
    information = registered(open_base)
    with answer_lost_once("DeleteItem"):
        assert manage(information, "DELETE").status_code == 204
    assert_challenged(manage(information, "GET"), with_token=True)


@pytest.mark.spec("REG-128", "RFC 7592 2.3")
def test_a_client_deletes_itself(open_base: str) -> None:
    information = registered(open_base)
    client = visitor(open_base, information)
    login, _ = log_in(client)
    tokens = assert_tokens(login.redeem())
    response = manage(information, "DELETE")
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["cache-control"] == "no-store"
    for method in ("GET", "PUT", "DELETE"):
        document = metadata(client_id=information["client_id"])
        assert_challenged(manage(information, method, document), with_token=True)
    assert_error(refresh(client, tokens["refresh_token"]), 401, "invalid_client")
    assert_error(userinfo(open_base, tokens["access_token"]), 401, "invalid_token")
    assert Login(client).start().status_code == 400


@pytest.mark.spec("REG-128")
def test_management_goes_on_when_registration_is_closed(open_base: str) -> None:
    information = registered(open_base)
    with policy_is(RegistrationPolicy()):
        assert manage(information, "GET").status_code == 200
        assert manage(information, "DELETE").status_code == 204


@pytest.mark.spec("REG-125", "RFC 9700 4.4")
def test_markup_in_a_clients_name_is_text(open_base: str) -> None:
    information = registered(open_base, client_name="<img src=x onerror=alert(1)>")
    _, page = log_in(visitor(open_base, information))
    assert "<img" not in page
    assert "&lt;img src=x" in page
