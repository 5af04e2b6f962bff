"""The endpoints that an access token opens, and how each provider refuses there."""

from __future__ import annotations

import pytest

from sandbox_provider import clock

from .driver import (
    ALL,
    INFOLOBBY,
    ITERNIO,
    LOCKIT,
    OPENID,
    PHPAPI,
    REDBOOTH,
    SECRET,
    Registration,
    Sandbox,
    bearer,
)

every_provider = pytest.mark.parametrize("at", ALL, ids=lambda at: at.provider)


@every_provider
def test_foreign_tokens_are_unknown(sandbox: Sandbox, at: Registration) -> None:
    other = REDBOOTH if at is not REDBOOTH else INFOLOBBY
    assert sandbox.userinfo(at, sandbox.tokens(other)["access_token"]).status == 401
    assert sandbox.userinfo(at, "invented").status == 401


@pytest.mark.parametrize("at", (INFOLOBBY, LOCKIT, OPENID), ids=lambda at: at.provider)
def test_challenges_of_rfc_6750(sandbox: Sandbox, at: Registration, monkeypatch: pytest.MonkeyPatch) -> None:
    access_token = sandbox.tokens(at)["access_token"]
    title = {INFOLOBBY: "InfoLobby", LOCKIT: "LockitNetwork", OPENID: "OpenID provider"}[at]
    missing = sandbox.get(at, at.userinfo)
    assert (missing.status, missing.headers["www-authenticate"]) == (401, f'Bearer realm="{title}"')
    # A token in the URL is no token here (RFC 9700 section 4.3.2).
    assert sandbox.get(at, at.userinfo, {"access_token": access_token}).status == 401
    assert sandbox.get(at, at.userinfo, headers={"authorization": f"bEARER {access_token}"}).status == 200
    monkeypatch.setattr(clock, "offset", 604_801.0)
    expired = sandbox.userinfo(at, access_token)
    assert (expired.status, expired.json["error"]) == (401, "invalid_token")
    assert expired.headers["www-authenticate"] == (
        f'Bearer realm="{title}", error="invalid_token", error_description="The access token expired"'
    )


def test_openid_wants_the_scope(sandbox: Sandbox) -> None:
    tokens = sandbox.tokens(OPENID, scope="profile unheard_of")
    assert tokens["scope"] == "profile"
    answer = sandbox.userinfo(OPENID, tokens["access_token"])
    assert (answer.status, answer.json["error"]) == (403, "insufficient_scope")
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


def test_openid_userinfo_by_post(sandbox: Sandbox) -> None:
    access_token = sandbox.tokens(OPENID)["access_token"]
    assert sandbox.post(OPENID, "/userinfo", "", bearer(access_token)).json["sub"] == "1001"


def test_php_refusals_and_cors(sandbox: Sandbox) -> None:
    for answer in (sandbox.get(PHPAPI, PHPAPI.userinfo), sandbox.userinfo(PHPAPI, "invented")):
        assert answer.status == 401
        assert answer.json == {
            "error": "invalid_token",
            "error_description": "The access token is invalid or expired",
        }
        assert answer.headers["access-control-allow-origin"] == "*"
    preflight = sandbox.send("OPTIONS", "/sandbox/phpapi/api/userinfo.php")
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-headers"] == "Authorization"


def test_redbooths_words(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, faults: None) -> None:
    code = sandbox.code(REDBOOTH)
    access_token = sandbox.redeem(REDBOOTH, code).json["access_token"]

    def challenge(token: str) -> str:
        answer = sandbox.userinfo(REDBOOTH, token)
        assert answer.status == 401
        description: str = answer.json["error"]["message"]
        assert answer.json == {"error": {"message": description, "code": 401}}
        assert description in answer.headers["www-authenticate"]
        return answer.headers["www-authenticate"]

    start = 'Bearer realm="Doorkeeper", error="invalid_token", error_description='
    assert challenge("invented") == start + '"The access token is invalid"'
    with monkeypatch.context() as later:
        later.setattr(clock, "offset", 7201.0)
        assert challenge(access_token) == start + '"The access token expired"'
    assert sandbox.control("POST", "_expire", {"provider": "redbooth", "what": "grant"}).json == {"changed": 1}
    assert challenge(access_token) == start + '"The access token was revoked"'


def test_redbooth_takes_the_token_in_the_url_or_in_the_header(sandbox: Sandbox) -> None:
    access_token = sandbox.tokens(REDBOOTH)["access_token"]
    in_url = {"access_token": access_token}
    assert sandbox.get(REDBOOTH, REDBOOTH.userinfo, in_url).json["id"] == 1001
    both = sandbox.get(REDBOOTH, REDBOOTH.userinfo, in_url, bearer(access_token))
    assert both.status == 400
    assert both.json["error"]["code"] == 400
    assert sandbox.get(REDBOOTH, REDBOOTH.userinfo, "access_token=%ff").status == 401


def test_redbooth_may_ask_to_come_back(sandbox: Sandbox) -> None:
    access_token = sandbox.tokens(REDBOOTH)["access_token"]
    for _ in range(2):
        later = sandbox.get(REDBOOTH, "/api/3/tasks", headers=bearer(access_token))
        assert (later.status, later.headers["retry-after"], later.body) == (202, "1", "")
        done = sandbox.get(REDBOOTH, "/api/3/tasks", headers=bearer(access_token))
        assert (done.status, done.json[0]["type"]) == (200, "Task")
    assert sandbox.get(REDBOOTH, "/api/3/tasks").status == 401


def test_iternio_wants_the_api_key_too(sandbox: Sandbox) -> None:
    token = sandbox.tokens(ITERNIO)["user_token"]

    def me(query: dict[str, str] | str) -> tuple[int, str]:
        answer = sandbox.get(ITERNIO, ITERNIO.userinfo, query)
        return answer.status, answer.json.get("error", "")

    assert me({"access_token": token}) == (400, "invalid_request")
    assert me({"access_token": token, "api_key": "wrong"}) == (401, "invalid_client")
    assert me({"api_key": SECRET}) == (401, "")
    assert me({"api_key": SECRET, "access_token": "invented"}) == (401, "invalid_token")
    assert me("api_key=a&api_key=b") == (400, "invalid_request")
    assert me("api_key=%ff") == (400, "invalid_request")
    in_header = sandbox.get(ITERNIO, ITERNIO.userinfo, {"api_key": SECRET}, bearer(token))
    assert in_header.status == 401
