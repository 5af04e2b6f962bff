"""The token endpoints: parameters, client authentication, codes, lifetimes, refresh and rotation."""

from __future__ import annotations

import base64
from urllib.parse import quote_plus, urlencode

import pytest

from sandbox_provider import clock

from .driver import (
    ALL,
    BASE,
    CHALLENGE,
    INFOLOBBY,
    ITERNIO,
    ITERNIO_LIVE,
    LOCKIT,
    OIDC,
    OPENID,
    PHPAPI,
    REDBOOTH,
    SECRET,
    VERIFIER,
    Answer,
    Registration,
    Sandbox,
    basic,
)

every_provider = pytest.mark.parametrize("at", ALL, ids=lambda at: at.provider)
BODY_ONLY = (INFOLOBBY, PHPAPI, ITERNIO, ITERNIO_LIVE)
NAMES_GRANT_TYPE = (INFOLOBBY, LOCKIT, REDBOOTH, OPENID)
REFRESHING = (INFOLOBBY, LOCKIT, REDBOOTH, OPENID)


def by(at: object) -> str:
    return at.provider if isinstance(at, Registration) else str(at)


def assert_error(answer: Answer, status: int, error: str) -> None:
    assert (answer.status, answer.json["error"]) == (status, error)
    assert set(answer.json) == {"error", "error_description"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


def bad_code(at: Registration) -> str:
    return "invalid_code" if at is PHPAPI else "invalid_grant"


# Codes


@every_provider
def test_code_is_good_once_and_a_replay_ends_the_grant(sandbox: Sandbox, at: Registration) -> None:
    code = sandbox.code(at)
    tokens = sandbox.redeem(at, code).json
    access_token = tokens.get("access_token") or tokens["user_token"]
    assert sandbox.userinfo(at, access_token).status == 200
    assert_error(sandbox.redeem(at, code), 400, bad_code(at))
    assert sandbox.userinfo(at, access_token).status == 401


@every_provider
def test_code_lives_a_minute(sandbox: Sandbox, at: Registration, monkeypatch: pytest.MonkeyPatch) -> None:
    early, late = sandbox.code(at), sandbox.code(at)
    monkeypatch.setattr(clock, "offset", 58.0)
    assert sandbox.redeem(at, early).status == 200
    monkeypatch.setattr(clock, "offset", 61.0)
    assert_error(sandbox.redeem(at, late), 400, bad_code(at))


@every_provider
def test_unknown_code(sandbox: Sandbox, at: Registration) -> None:
    assert_error(sandbox.redeem(at, "invented"), 400, bad_code(at))
    assert_error(sandbox.redeem(at, "é\u0000"), 400, bad_code(at))


@every_provider
def test_missing_code(sandbox: Sandbox, at: Registration) -> None:
    assert_error(sandbox.redeem(at, ""), 400, "invalid_request")


def test_code_of_another_provider(sandbox: Sandbox) -> None:
    assert_error(sandbox.redeem(REDBOOTH, sandbox.code(INFOLOBBY)), 400, "invalid_grant")


@every_provider
def test_redirect_uri_at_the_token_endpoint(sandbox: Sandbox, at: Registration) -> None:
    code = sandbox.code(at)
    other = sandbox.redeem(at, code, redirect_uri=f"{BASE}/callback/other")
    if at is PHPAPI:
        assert other.status == 200
        return
    assert_error(other, 400, "invalid_grant")
    # The refusals did not burn the code.
    without = sandbox.redeem(at, code, redirect_uri=None)
    if at is ITERNIO_LIVE:
        assert without.status == 200
        return
    assert_error(without, 400, "invalid_request")
    assert sandbox.redeem(at, code).status == 200


def test_php_knows_neither_grant_type_nor_refresh(sandbox: Sandbox) -> None:
    assert sandbox.redeem(PHPAPI, sandbox.code(PHPAPI), grant_type="nonsense").status == 200
    assert_error(sandbox.refresh(PHPAPI, "x"), 400, "invalid_request")


@pytest.mark.parametrize("at", NAMES_GRANT_TYPE, ids=by)
def test_grant_type(sandbox: Sandbox, at: Registration) -> None:
    code = sandbox.code(at)
    assert_error(sandbox.redeem(at, code, grant_type=None), 400, "invalid_request")
    assert_error(sandbox.redeem(at, code, grant_type="password"), 400, "unsupported_grant_type")
    assert sandbox.redeem(at, code).status == 200


@pytest.mark.parametrize("at", (ITERNIO, ITERNIO_LIVE), ids=by)
def test_iternio_defaults_the_grant_type_and_has_no_other(sandbox: Sandbox, at: Registration) -> None:
    assert_error(sandbox.refresh(at, "x"), 400, "unsupported_grant_type")
    assert sandbox.redeem(at, sandbox.code(at), grant_type=None).status == 200


# The request as such


@every_provider
def test_repeated_parameter(sandbox: Sandbox, at: Registration) -> None:
    code = sandbox.code(at)
    body = urlencode({"code": code, "client_id": at.client_id, "client_secret": SECRET}) + "&code=" + code
    assert_error(sandbox.post(at, at.token, body), 400, "invalid_request")


@every_provider
def test_token_request_is_a_form_in_the_body(sandbox: Sandbox, at: Registration) -> None:
    assert_error(sandbox.post(at, at.token, "{}", {"content-type": "application/json"}), 400, "invalid_request")
    assert_error(sandbox.post(at, at.token, "code=%ff"), 400, "invalid_request")
    in_url = {"code": "x", "client_id": at.client_id, "client_secret": SECRET}
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = sandbox.send("POST", f"/sandbox/{at.provider}{at.token}", urlencode(in_url), form, "")
    assert_error(answer, 400, "invalid_request")


@every_provider
def test_token_request_by_get_is_iternios_alone(sandbox: Sandbox, at: Registration) -> None:
    query = {
        "code": sandbox.code(at),
        "client_id": at.client_id,
        "client_secret": SECRET,
        "redirect_uri": at.redirect_uri,
    }
    answer = sandbox.get(at, at.token, query)
    if at in (ITERNIO, ITERNIO_LIVE):
        assert answer.status == 200
        assert_error(sandbox.get(at, at.token, urlencode(query) + "&code=x"), 400, "invalid_request")
        assert_error(sandbox.get(at, at.token, "code=%ff"), 400, "invalid_request")
    else:
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


# Client authentication


@pytest.mark.parametrize("at", [at for at in ALL if at is not LOCKIT], ids=by)
def test_wrong_credentials_in_the_body(sandbox: Sandbox, at: Registration) -> None:
    code = sandbox.code(at)
    assert_error(sandbox.redeem(at, code, client_secret="wrong"), 401, "invalid_client")
    assert_error(sandbox.redeem(at, code, client_id="nobody"), 401, "invalid_client")
    missing = sandbox.redeem(at, code, client_secret=None)
    # The PHP guide counts the credentials among the required parameters.
    assert_error(missing, *((400, "invalid_request") if at is PHPAPI else (401, "invalid_client")))
    assert sandbox.redeem(at, code).status == 200


@pytest.mark.parametrize("at", BODY_ONLY, ids=by)
def test_basic_where_the_guide_wants_the_body(sandbox: Sandbox, at: Registration) -> None:
    sent = {"grant_type": "authorization_code", "code": sandbox.code(at), "redirect_uri": at.redirect_uri}
    answer = sandbox.post(at, at.token, sent, basic(at.client_id))
    assert_error(answer, *((400, "invalid_request") if at is PHPAPI else (401, "invalid_client")))
    if at is not PHPAPI:
        assert answer.headers["www-authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("at", (LOCKIT, REDBOOTH, OPENID), ids=by)
def test_basic_where_it_is_accepted(sandbox: Sandbox, at: Registration) -> None:
    for secret in (SECRET, quote_plus(SECRET)):
        sent = {
            "grant_type": "authorization_code",
            "code": sandbox.code(at),
            "redirect_uri": at.redirect_uri,
            "code_verifier": VERIFIER,
        }
        sent |= {} if at in (OPENID, OIDC) else {"code_verifier": ""}
        assert sandbox.post(at, at.token, sent, basic(at.client_id, secret)).status == 200


@every_provider
def test_two_ways_of_authentication_at_once(sandbox: Sandbox, at: Registration) -> None:
    sent = {"code": sandbox.code(at), "client_id": at.client_id, "client_secret": SECRET}
    sent |= {"grant_type": "authorization_code", "redirect_uri": at.redirect_uri}
    assert_error(sandbox.post(at, at.token, sent, basic(at.client_id)), 400, "invalid_request")


def test_lockit_refuses_credentials_in_the_body(sandbox: Sandbox) -> None:
    code = sandbox.code(LOCKIT)
    sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": LOCKIT.redirect_uri}
    in_body = sandbox.post(LOCKIT, LOCKIT.token, {**sent, "client_id": LOCKIT.client_id, "client_secret": SECRET})
    assert_error(in_body, 401, "invalid_client")
    assert in_body.headers["www-authenticate"] == 'Basic realm="LockitNetwork"'
    assert_error(sandbox.post(LOCKIT, LOCKIT.token, sent), 401, "invalid_client")
    other = sandbox.post(LOCKIT, LOCKIT.token, {**sent, "client_id": "other"}, basic(LOCKIT.client_id))
    assert_error(other, 400, "invalid_request")
    assert sandbox.redeem(LOCKIT, code).status == 200


@pytest.mark.parametrize(
    "header",
    [
        basic(LOCKIT.client_id, "wrong")["authorization"],
        basic("nobody")["authorization"],
        "Basic !!!",
        "Basic",
        "Basic " + base64.b64encode(b"\xff:x").decode(),
        "Basic " + base64.b64encode(b"nocolon").decode(),
        "Bearer x",
    ],
)
def test_lockit_refuses_a_wrong_header(sandbox: Sandbox, header: str) -> None:
    sent = {"grant_type": "authorization_code", "code": "x", "redirect_uri": LOCKIT.redirect_uri}
    answer = sandbox.post(LOCKIT, LOCKIT.token, sent, {"authorization": header})
    assert_error(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"] == 'Basic realm="LockitNetwork"'


# PKCE


def test_openid_checks_the_verifier(sandbox: Sandbox) -> None:
    code = sandbox.code(OPENID)
    assert_error(sandbox.redeem(OPENID, code, code_verifier="x" * 43), 400, "invalid_grant")
    assert_error(sandbox.redeem(OPENID, code, code_verifier=None), 400, "invalid_grant")
    assert sandbox.redeem(OPENID, code).status == 200


def test_lockit_takes_pkce_if_offered(sandbox: Sandbox) -> None:
    challenge = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    code = sandbox.code(LOCKIT, **challenge)
    assert_error(sandbox.redeem(LOCKIT, code), 400, "invalid_grant")
    assert sandbox.redeem(LOCKIT, code, code_verifier=VERIFIER).status == 200
    # A verifier that nothing was announced for is a downgrade.
    assert_error(sandbox.redeem(LOCKIT, sandbox.code(LOCKIT), code_verifier=VERIFIER), 400, "invalid_grant")


# Lifetimes and refresh


@pytest.mark.parametrize(
    ("at", "lifetime"),
    [(INFOLOBBY, 3600), (LOCKIT, 604800), (PHPAPI, 3600), (REDBOOTH, 7200), (OPENID, 300)],
    ids=by,
)
def test_access_token_lives_as_long_as_said(
    sandbox: Sandbox, at: Registration, lifetime: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    access_token = sandbox.tokens(at)["access_token"]
    monkeypatch.setattr(clock, "offset", lifetime - 5.0)
    assert sandbox.userinfo(at, access_token).status == 200
    monkeypatch.setattr(clock, "offset", lifetime + 1.0)
    assert sandbox.userinfo(at, access_token).status == 401


def test_iternios_token_lasts(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    token = sandbox.tokens(ITERNIO)["user_token"]
    monkeypatch.setattr(clock, "offset", 10 * 365 * 86400.0)
    assert sandbox.userinfo(ITERNIO, token).status == 200


@pytest.mark.parametrize("at", (INFOLOBBY, LOCKIT), ids=by)
def test_refresh_token_that_stays(sandbox: Sandbox, at: Registration, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sandbox.tokens(at)
    monkeypatch.setattr(clock, "offset", 700_000.0)
    for _ in range(2):
        renewed = sandbox.refresh(at, first["refresh_token"]).json
        assert renewed["refresh_token"] == first["refresh_token"]
        assert sandbox.userinfo(at, renewed["access_token"]).status == 200
    assert sandbox.userinfo(at, first["access_token"]).status == 401
    monkeypatch.setattr(clock, "offset", 181 * 86400.0)
    assert_error(sandbox.refresh(at, first["refresh_token"]), 400, "invalid_grant")


def test_redbooth_rotates_and_an_old_token_harms_nobody(sandbox: Sandbox) -> None:
    first = sandbox.tokens(REDBOOTH)
    second = sandbox.refresh(REDBOOTH, first["refresh_token"]).json
    assert_error(sandbox.refresh(REDBOOTH, first["refresh_token"]), 400, "invalid_grant")
    assert sandbox.userinfo(REDBOOTH, second["access_token"]).status == 200
    assert sandbox.refresh(REDBOOTH, second["refresh_token"]).status == 200


def test_openid_ends_the_grant_when_a_rotated_token_comes_back(sandbox: Sandbox) -> None:
    first = sandbox.tokens(OPENID)
    second = sandbox.refresh(OPENID, first["refresh_token"]).json
    assert sandbox.userinfo(OPENID, second["access_token"]).status == 200
    assert_error(sandbox.refresh(OPENID, first["refresh_token"]), 400, "invalid_grant")
    assert_error(sandbox.refresh(OPENID, second["refresh_token"]), 400, "invalid_grant")
    assert sandbox.userinfo(OPENID, second["access_token"]).status == 401


@pytest.mark.parametrize("at", REFRESHING, ids=by)
def test_refresh_is_checked(sandbox: Sandbox, at: Registration) -> None:
    tokens = sandbox.tokens(at)
    assert_error(sandbox.refresh(at, "invented"), 400, "invalid_grant")
    assert_error(sandbox.refresh(at, tokens["access_token"]), 400, "invalid_grant")
    assert_error(sandbox.refresh(at, ""), 400, "invalid_request")
    assert_error(sandbox.refresh(at, tokens["refresh_token"], scope="more"), 400, "invalid_scope")
    if at is not LOCKIT:
        wrong = sandbox.refresh(at, tokens["refresh_token"], client_secret="wrong")
        assert_error(wrong, 401, "invalid_client")
    # None of that cost the token.
    assert sandbox.refresh(at, tokens["refresh_token"]).status == 200


def test_narrower_scope_for_one_access_token(sandbox: Sandbox) -> None:
    tokens = sandbox.tokens(OPENID)
    narrow = sandbox.refresh(OPENID, tokens["refresh_token"], scope="openid").json
    assert narrow["scope"] == "openid"
    assert sandbox.userinfo(OPENID, narrow["access_token"]).json == {"sub": "1001"}
    assert sandbox.refresh(OPENID, narrow["refresh_token"]).json["scope"] == "openid profile email"


# Revocation


def test_revoking_the_refresh_token_ends_all(sandbox: Sandbox) -> None:
    tokens = sandbox.tokens(OPENID)
    sent = {"token": tokens["refresh_token"], "token_type_hint": "access_token"}
    answer = sandbox.post(OPENID, "/revoke", sent, basic(OPENID.client_id))
    assert (answer.status, answer.body) == (200, "")
    assert sandbox.userinfo(OPENID, tokens["access_token"]).status == 401
    assert_error(sandbox.refresh(OPENID, tokens["refresh_token"]), 400, "invalid_grant")
    assert sandbox.post(OPENID, "/revoke", sent, basic(OPENID.client_id)).status == 200


def test_revoking_the_access_token_ends_that_alone(sandbox: Sandbox) -> None:
    tokens = sandbox.tokens(OPENID)
    sent = {"token": tokens["access_token"], "client_id": OPENID.client_id, "client_secret": SECRET}
    assert sandbox.post(OPENID, "/revoke", sent).status == 200
    assert sandbox.userinfo(OPENID, tokens["access_token"]).status == 401
    assert sandbox.refresh(OPENID, tokens["refresh_token"]).status == 200


def test_revocation_is_checked(sandbox: Sandbox) -> None:
    tokens = sandbox.tokens(OPENID)
    token = {"token": tokens["refresh_token"]}
    assert_error(sandbox.post(OPENID, "/revoke", token), 401, "invalid_client")
    assert_error(sandbox.post(OPENID, "/revoke", token, basic(OPENID.client_id, "wrong")), 401, "invalid_client")
    assert_error(sandbox.post(OPENID, "/revoke", {"x": "y"}, basic(OPENID.client_id)), 400, "invalid_request")
    assert sandbox.post(OPENID, "/revoke", {"token": "invented"}, basic(OPENID.client_id)).status == 200
    foreign = sandbox.tokens(REDBOOTH)["refresh_token"]
    assert sandbox.post(OPENID, "/revoke", {"token": foreign}, basic(OPENID.client_id)).status == 200
    assert sandbox.refresh(REDBOOTH, foreign).status == 200
    assert sandbox.get(OPENID, "/revoke").headers["allow"] == "POST"
    assert sandbox.userinfo(OPENID, tokens["access_token"]).status == 200


# The PHP style API's rate limit


def test_rate_limit(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_CALLS_PER_MINUTE", "2")
    now = 1_800_000_000  # the first second of a minute
    monkeypatch.setattr(clock, "now", lambda: now)
    code = sandbox.code(PHPAPI)
    first = sandbox.redeem(PHPAPI, "invented")
    assert_error(first, 400, "invalid_code")
    assert first.headers["x-ratelimit-remaining"] == "1"
    # Callers who do not name the client do not use up its share.
    assert sandbox.redeem(PHPAPI, "invented", client_id="nobody").headers["x-ratelimit-remaining"] == "1"
    assert sandbox.redeem(PHPAPI, "invented").headers["x-ratelimit-remaining"] == "0"
    monkeypatch.setattr(clock, "now", lambda: now + 20)
    limited = sandbox.redeem(PHPAPI, code)
    assert_error(limited, 429, "rate_limit_exceeded")
    assert limited.headers["retry-after"] == "40"
    assert limited.headers["x-ratelimit-limit"] == "2"
    assert limited.headers["x-ratelimit-remaining"] == "0"
    assert limited.headers["x-ratelimit-reset"] == str(now + 60)
    monkeypatch.setattr(clock, "now", lambda: now + 60)
    monkeypatch.setenv("SANDBOX_CALLS_PER_MINUTE", "")
    assert sandbox.redeem(PHPAPI, code).status == 400
    assert sandbox.redeem(PHPAPI, sandbox.code(PHPAPI)).headers["x-ratelimit-limit"] == "600"
