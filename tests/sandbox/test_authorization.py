"""The authorization endpoint: what is refused with a page, what is sent back, and the pages themselves."""

from __future__ import annotations

import base64
import hashlib
import re
from urllib.parse import urlencode

import pytest

from sandbox_provider import clock

from .driver import (
    ALL,
    BASE,
    CHALLENGE,
    INFOLOBBY,
    ITERNIO,
    LOCKIT,
    OIDC,
    OPENID,
    PHPAPI,
    REDBOOTH,
    Answer,
    Registration,
    Sandbox,
)

every_provider = pytest.mark.parametrize("at", ALL, ids=lambda at: at.provider)


def assert_page(answer: Answer, text: str) -> None:
    assert answer.status == 400
    assert "location" not in answer.headers
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert text in answer.body


@every_provider
def test_unknown_client_gets_a_page(sandbox: Sandbox, at: Registration) -> None:
    assert_page(sandbox.get(at, at.authorize, at.request(client_id="nobody")), "No application with this client_id")
    assert_page(sandbox.get(at, at.authorize, at.request(client_id=None)), "client_id is missing")


@every_provider
@pytest.mark.parametrize(
    "uri",
    [
        f"{BASE}/callback/other",
        "{uri}/",
        "{uri}#fragment",
        "https://evil.example/callback",
        "http://localhost:3001{path}",
        "http://user@localhost:3000{path}",
        "http://localhost:3000@evil.example{path}",
        "HTTP://localhost.evil.example:3000{path}",
        "http://localhost:3000\\@evil.example{path}",
        "http://localhost:99999{path}",
    ],
)
def test_foreign_redirect_uri_gets_a_page(sandbox: Sandbox, at: Registration, uri: str) -> None:
    given = uri.format(uri=at.redirect_uri, path=f"/callback/{at.provider}")
    assert_page(sandbox.get(at, at.authorize, at.request(redirect_uri=given)), "not the one registered")


@every_provider
def test_missing_redirect_uri_gets_a_page(sandbox: Sandbox, at: Registration) -> None:
    assert_page(sandbox.get(at, at.authorize, at.request(redirect_uri=None)), "redirect_uri is missing")


@every_provider
def test_redirect_uri_with_a_query_is_redbooths_alone(sandbox: Sandbox, at: Registration) -> None:
    answer = sandbox.get(at, at.authorize, at.request(redirect_uri=f"{at.redirect_uri}?txn=abc"))
    assert answer.status == (200 if at is REDBOOTH else 400)


def test_redbooth_keeps_the_redirect_uris_query_and_wants_all_of_it_again(sandbox: Sandbox) -> None:
    full = f"{REDBOOTH.redirect_uri}?txn=a%20b"
    back = sandbox.decide(REDBOOTH, redirect_uri=full)
    assert back.location.startswith(f"{full}&code=")
    code = back.returned["code"]
    refused = sandbox.redeem(REDBOOTH, code)
    assert (refused.status, refused.json["error"]) == (400, "invalid_grant")
    assert sandbox.redeem(REDBOOTH, code, redirect_uri=full).status == 200


@every_provider
@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_repeated_trust_parameters_get_a_page(sandbox: Sandbox, at: Registration, name: str) -> None:
    request = at.request()
    query = urlencode(request) + "&" + urlencode({name: request[name]})
    assert_page(sandbox.get(at, at.authorize, query), f"{name} more than once")


@every_provider
def test_repeated_other_parameter_is_sent_back(sandbox: Sandbox, at: Registration) -> None:
    back = sandbox.get(at, at.authorize, urlencode(at.request()) + "&state=second")
    assert back.status == 302
    assert back.location.startswith(f"{at.redirect_uri}?error=invalid_request&")
    assert "state" not in back.returned


@every_provider
def test_response_type(sandbox: Sandbox, at: Registration) -> None:
    token = sandbox.get(at, at.authorize, at.request(response_type="token"))
    assert token.returned["error"] == "unsupported_response_type"
    missing = sandbox.get(at, at.authorize, at.request(response_type=None))
    if at.provider.startswith("iternio"):
        assert missing.status == 200
    else:
        assert missing.returned["error"] == "invalid_request"
        assert missing.returned.get("state") == (None if at in (PHPAPI, REDBOOTH) else "st&te é")


@every_provider
def test_client_secret_in_the_browser_gets_a_page(sandbox: Sandbox, at: Registration) -> None:
    assert_page(sandbox.get(at, at.authorize, at.request(client_secret="x")), "client_secret")


@every_provider
def test_bad_encoding_gets_a_page(sandbox: Sandbox, at: Registration) -> None:
    assert_page(sandbox.get(at, at.authorize, urlencode(at.request()) + "&x=%ff"), "not properly encoded")


@every_provider
def test_unknown_parameters_are_passed_over(sandbox: Sandbox, at: Registration) -> None:
    assert sandbox.get(at, at.authorize, at.request(foo="bar")).status == 200


@every_provider
def test_methods(sandbox: Sandbox, at: Registration) -> None:
    posted = sandbox.post(at, at.authorize, at.request())
    assert posted.status == (200 if at in (REDBOOTH, OPENID, OIDC) else 405)
    put = sandbox.send("PUT", f"/sandbox/{at.provider}{at.authorize}")
    assert (put.status, put.headers["allow"]) == (405, "GET, POST" if at in (REDBOOTH, OPENID, OIDC) else "GET")


def test_posted_request_must_not_be_in_the_url_too(sandbox: Sandbox) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = urlencode(REDBOOTH.request())
    assert_page(sandbox.send("POST", "/sandbox/redbooth/oauth2/authorize", "state=x", form, body), "nowhere else")
    json_type = {"content-type": "application/json"}
    assert_page(sandbox.send("POST", "/sandbox/redbooth/oauth2/authorize", "", json_type, body), "form encoded")


@pytest.mark.parametrize(
    ("at", "scope"),
    [
        (INFOLOBBY, "email"),
        (LOCKIT, "locks"),
        (REDBOOTH, "email"),
        (ITERNIO, "set_telemetry get_plan"),
        (ITERNIO, "telemetry"),
    ],
)
def test_scope_the_provider_does_not_know(sandbox: Sandbox, at: Registration, scope: str) -> None:
    assert sandbox.get(at, at.authorize, at.request(scope=scope)).returned["error"] == "invalid_scope"


def test_unencoded_redirect_uri_of_the_php_guides_sample(sandbox: Sandbox) -> None:
    query = f"client_id={PHPAPI.client_id}&redirect_uri={PHPAPI.redirect_uri}&response_type=code"
    assert sandbox.get(PHPAPI, PHPAPI.authorize, query).status == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None},
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge": CHALLENGE[:-1]},
        {"code_challenge": CHALLENGE + "="},
    ],
)
def test_openid_requires_s256(sandbox: Sandbox, changes: dict[str, str | None]) -> None:
    assert sandbox.get(OPENID, OPENID.authorize, OPENID.request(**changes)).returned["error"] == "invalid_request"


def test_more_redirect_uris_by_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_REDIRECT_URIS", '{"infolobby": ["https://app.example/cb"]}')
    request = {"redirect_uri": "https://app.example/cb"}
    assert sandbox.get(INFOLOBBY, INFOLOBBY.authorize, INFOLOBBY.request(**request)).status == 200
    assert sandbox.get(LOCKIT, LOCKIT.authorize, LOCKIT.request(**request)).status == 400


@pytest.mark.parametrize("suffix", ["amazonaws.com", "amazonaws.com.cn"])
def test_base_is_derived_from_the_api(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setenv("SANDBOX_BASE", "")
    monkeypatch.setenv("SANDBOX_URL_SUFFIX", suffix)
    derived = f"https://api123.execute-api.eu-west-1.{suffix}/callback/infolobby"
    assert sandbox.get(INFOLOBBY, INFOLOBBY.authorize, INFOLOBBY.request(redirect_uri=derived)).status == 200
    assert sandbox.get(INFOLOBBY, INFOLOBBY.authorize, INFOLOBBY.request()).status == 400


@pytest.mark.parametrize("path", ["/stage/sandbox/infolobby", "/sandbox/infolobby"])
def test_base_with_a_path(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("SANDBOX_BASE", "https://h.example/stage")
    request = INFOLOBBY.request(redirect_uri="https://h.example/stage/callback/infolobby")
    page = sandbox.send("GET", f"{path}/api/oauth/authorize", urlencode(request))
    assert page.status == 200
    assert page.form.action == "/stage/sandbox/infolobby/login"


# The pages


@every_provider
def test_sign_in_page(sandbox: Sandbox, at: Registration) -> None:
    page = sandbox.get(at, at.authorize, at.request())
    assert page.form.names == ("username", "password")
    assert page.form.action == f"/sandbox/{at.provider}/login"
    assert re.search(r'<p class="banner" role="note">Sandbox - .+ - fake provider</p>', page.body)
    assert "<strong>Token broker</strong> asks for access" in page.body
    assert "<dt>johndoe</dt><dd>John Doe</dd>" in page.body
    assert "<script" not in page.body


@every_provider
def test_consent_page(sandbox: Sandbox, at: Registration) -> None:
    page = sandbox.submit(sandbox.get(at, at.authorize, at.request()), username="zoe", password="sandbox")
    assert page.form.buttons == (("decision", "allow"), ("decision", "deny"))
    assert "<strong>Zoë Müller-Łukasiewicz 李</strong>" in page.body
    assert f"<strong>Token broker</strong> ({at.client_id}) wants to:" in page.body
    assert "<li>" in page.body
    assert f"You will return to {BASE}." in page.body


def test_consent_names_the_scopes_asked_for(sandbox: Sandbox) -> None:
    page = sandbox.get(ITERNIO, ITERNIO.authorize, ITERNIO.request(scope="get_plan,get_telemetry"))
    consent = sandbox.submit(page, username="johndoe", password="sandbox")
    assert "<li>read your route plans</li>" in consent.body
    assert "send your car" not in consent.body


@pytest.mark.parametrize(
    ("username", "password"), [("johndoe", "wrong"), ("nobody", "sandbox"), ("", "sandbox"), ("johnsmith", "")]
)
def test_wrong_password_asks_again(sandbox: Sandbox, username: str, password: str) -> None:
    page = sandbox.get(INFOLOBBY, INFOLOBBY.authorize, INFOLOBBY.request())
    again = sandbox.submit(page, username=username, password=password)
    assert again.status == 200
    assert '<p class="error" role="alert">User name or password is wrong.' in again.body
    assert sandbox.submit(again, username="john@example.com", password="sandbox").form.buttons


def test_style_is_allowed_by_its_hash_and_nothing_else_is(sandbox: Sandbox) -> None:
    for page in (
        sandbox.get(INFOLOBBY, INFOLOBBY.authorize, INFOLOBBY.request()),
        sandbox.get(INFOLOBBY, INFOLOBBY.authorize),
    ):
        style = page.body.partition("<style>")[2].partition("</style>")[0]
        expected = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert page.headers["content-security-policy"] == (
            f"default-src 'none'; style-src 'sha256-{expected}'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
        )
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "style=" not in page.body


def test_values_are_escaped(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = 'https://app.example"><script>alert(1)</script>/cb'
    monkeypatch.setenv("SANDBOX_REDIRECT_URIS", '{"infolobby": ["' + hostile.replace('"', '\\"') + '"]}')
    request = INFOLOBBY.request(redirect_uri=hostile, state='"><script>')
    page = sandbox.get(INFOLOBBY, INFOLOBBY.authorize, request)
    consent = sandbox.submit(page, username="johndoe", password="sandbox")
    assert consent.status == 200
    assert "<script" not in page.body + consent.body
    assert "&quot;&gt;&lt;script&gt;" in consent.body


def test_error_page_shows_no_value_of_the_request(sandbox: Sandbox) -> None:
    answer = sandbox.get(INFOLOBBY, INFOLOBBY.authorize, {"client_id": "<script>alert(1)</script>"})
    assert "alert" not in answer.body


# The forms


def test_tampered_form_is_refused(sandbox: Sandbox) -> None:
    page = sandbox.get(INFOLOBBY, INFOLOBBY.authorize, INFOLOBBY.request())
    sealed = base64.urlsafe_b64decode(page.form.hidden["request"])
    for altered in (
        sealed.replace(b"/callback/", b"/callbakk/"),
        sealed[:-1],
        bytes([sealed[0] ^ 1]) + sealed[1:],
        b"",
    ):
        request = base64.urlsafe_b64encode(altered).decode()
        answer = sandbox.submit(page, username="johndoe", password="sandbox", request=request)
        assert_page(answer, "no longer valid")
    assert_page(sandbox.submit(page, username="johndoe", password="sandbox", request="é"), "no longer valid")


def test_sign_in_cannot_be_skipped(sandbox: Sandbox) -> None:
    page = sandbox.get(INFOLOBBY, INFOLOBBY.authorize, INFOLOBBY.request())
    skipped = {"request": page.form.hidden["request"], "decision": "allow"}
    assert_page(sandbox.post(INFOLOBBY, "/consent", skipped), "no longer valid")


def test_form_of_another_provider_is_refused(sandbox: Sandbox) -> None:
    page = sandbox.get(INFOLOBBY, INFOLOBBY.authorize, INFOLOBBY.request())
    moved = {"request": page.form.hidden["request"], "username": "johndoe", "password": "sandbox"}
    assert_page(sandbox.post(LOCKIT, "/login", moved), "no longer valid")


def test_form_grows_old(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    page = sandbox.get(INFOLOBBY, INFOLOBBY.authorize, INFOLOBBY.request())
    monkeypatch.setattr(clock, "offset", 601.0)
    assert_page(sandbox.submit(page, username="johndoe", password="sandbox"), "no longer valid")


@pytest.mark.parametrize("fields", [{}, {"decision": "maybe"}])
def test_no_decision_is_neither_yes_nor_no(sandbox: Sandbox, fields: dict[str, str]) -> None:
    page = sandbox.get(INFOLOBBY, INFOLOBBY.authorize, INFOLOBBY.request())
    consent = sandbox.submit(page, username="johndoe", password="sandbox")
    assert_page(sandbox.submit(consent, **fields), "without a decision")
    twice = urlencode({**consent.form.hidden, "decision": "allow"}) + "&decision=deny"
    assert_page(sandbox.post(INFOLOBBY, "/consent", twice), "a field twice")


def test_unknown_paths(sandbox: Sandbox) -> None:
    for path in ("/sandbox/infolobby/nothing", "/sandbox/nobody/token", "/sandbox", "/other/x", "/sandbox/_calls"):
        assert sandbox.send("GET", path).status == 404
    nested = sandbox.send("GET", "/sandbox/redbooth/api/3/nothing")
    assert (nested.status, nested.json) == (404, {"error": {"message": "Resource not found", "code": 404}})
