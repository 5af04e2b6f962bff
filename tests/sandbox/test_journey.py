"""Every provider's happy path, with the exact shapes of its guide, and a denial."""

from __future__ import annotations

import pytest

from .driver import (
    ALL,
    BASE,
    INFOLOBBY,
    ITERNIO,
    ITERNIO_LIVE,
    LOCKIT,
    OPENID,
    PHPAPI,
    REDBOOTH,
    SECRET,
    Registration,
    Sandbox,
    bearer,
)

DENIED = "The resource owner or authorization server denied the request."


def test_infolobby(sandbox: Sandbox) -> None:
    tokens = sandbox.tokens(INFOLOBBY, "johnsmith")
    assert set(tokens) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 3600)
    profile = sandbox.userinfo(INFOLOBBY, tokens["access_token"])
    assert profile.status == 200
    assert profile.json == {
        "userId": 123,
        "username": "John Smith",
        "emailAddress": "",
        "timezone": "America/New_York",
        "locale": "en-US",
    }
    renewed = sandbox.refresh(INFOLOBBY, tokens["refresh_token"])
    assert renewed.status == 200
    assert renewed.json["access_token"] != tokens["access_token"]
    assert sandbox.userinfo(INFOLOBBY, renewed.json["access_token"]).json["userId"] == 123


def test_lockitnetwork(sandbox: Sandbox) -> None:
    tokens = sandbox.tokens(LOCKIT)
    assert set(tokens) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 604800)
    locks = sandbox.get(LOCKIT, "/locks", headers=bearer(tokens["access_token"]))
    assert locks.json == {"locks": [{"id": "1001-1", "name": "Front door", "locked": True}]}
    renewed = sandbox.refresh(LOCKIT, tokens["refresh_token"]).json
    assert set(renewed) == set(tokens)
    assert sandbox.get(LOCKIT, "/locks", headers=bearer(renewed["access_token"])).status == 200


def test_phpapi(sandbox: Sandbox) -> None:
    tokens = sandbox.tokens(PHPAPI)
    assert set(tokens) == {"access_token", "token_type", "expires_in"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 3600)
    assert sandbox.userinfo(PHPAPI, tokens["access_token"]).json == {
        "username": "johndoe",
        "email": "john@example.com",
        "full_name": "John Doe",
    }


def test_redbooth(sandbox: Sandbox) -> None:
    tokens = sandbox.tokens(REDBOOTH)
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token", "scope", "created_at"}
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 7200, "all")
    assert sandbox.userinfo(REDBOOTH, tokens["access_token"]).json == {
        "type": "User",
        "id": 1001,
        "first_name": "John",
        "last_name": "Doe",
        "email": "john@example.com",
        "username": "johndoe",
    }
    renewed = sandbox.refresh(REDBOOTH, tokens["refresh_token"]).json
    assert renewed["refresh_token"] != tokens["refresh_token"]
    assert sandbox.userinfo(REDBOOTH, renewed["access_token"]).status == 200
    assert sandbox.refresh(REDBOOTH, renewed["refresh_token"]).status == 200


def test_iternio_as_the_guide_says(sandbox: Sandbox) -> None:
    back = sandbox.decide(ITERNIO)
    assert set(back.returned) == {"auth_code", "state"}
    answer = sandbox.redeem(ITERNIO, back.returned["auth_code"])
    assert set(answer.json) == {"user_token", "token_type", "state"}
    assert answer.json["state"] == "st&te é"
    assert sandbox.userinfo(ITERNIO, answer.json["user_token"]).json == {
        "status": "ok",
        "user_id": 1001,
        "full_name": "John Doe",
        "email": "john@example.com",
        "vehicle_name": "Sandbox car",
        "vehicle_typecode": "sandbox:car:23:60",
    }


def test_iternio_as_live_clients_find_it(sandbox: Sandbox) -> None:
    back = sandbox.decide(ITERNIO_LIVE, response_type=None, state=None, scope="set_telemetry,get_plan")
    assert set(back.returned) == {"code"}
    query = {"client_id": "4712", "client_secret": SECRET, "code": back.returned["code"]}
    answer = sandbox.get(ITERNIO_LIVE, ITERNIO_LIVE.token, query)
    assert set(answer.json) == {"access_token", "token_type"}
    for _ in range(3):
        assert sandbox.userinfo(ITERNIO_LIVE, answer.json["access_token"]).json["status"] == "ok"


def test_openid(sandbox: Sandbox) -> None:
    tokens = sandbox.tokens(OPENID, "zoe")
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (tokens["expires_in"], tokens["scope"]) == (300, "openid profile email")
    assert sandbox.userinfo(OPENID, tokens["access_token"]).json == {
        "sub": "2002",
        "name": "Zoë Müller-Łukasiewicz 李",
        "given_name": "Zoë",
        "family_name": "Müller-Łukasiewicz 李",
        "preferred_username": "zoe",
        "zoneinfo": "Europe/Zurich",
        "locale": "de-CH",
        "email": "zoë@example.com",
        "email_verified": True,
    }
    renewed = sandbox.refresh(OPENID, tokens["refresh_token"]).json
    assert sandbox.userinfo(OPENID, renewed["access_token"]).json["sub"] == "2002"
    assert sandbox.refresh(OPENID, renewed["refresh_token"]).status == 200


@pytest.mark.parametrize("at", ALL, ids=lambda at: at.provider)
def test_denial_says_so(sandbox: Sandbox, at: Registration) -> None:
    back = sandbox.decide(at, "deny")
    assert back.status == 302
    assert back.location.startswith(
        f"{BASE}/callback/{at.provider}?error=access_denied&error_description=The%20resource"
    )
    assert back.returned["error_description"] == DENIED
    # RFC 6749 section 4.1.2.1, but for the two providers that know no state.
    assert back.returned.get("state") == (None if at in (PHPAPI, REDBOOTH) else "st&te é")


@pytest.mark.parametrize("at", (PHPAPI, REDBOOTH), ids=lambda at: at.provider)
def test_state_is_dropped(sandbox: Sandbox, at: Registration) -> None:
    assert set(sandbox.decide(at).returned) == {"code"}


@pytest.mark.parametrize("at", ALL, ids=lambda at: at.provider)
def test_tokens_are_answered_uncached(sandbox: Sandbox, at: Registration) -> None:
    answer = sandbox.redeem(at, sandbox.code(at))
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"


def test_numbers_in_names_stay_text_and_ids_stay_exact(sandbox: Sandbox) -> None:
    assert sandbox.userinfo(PHPAPI, sandbox.tokens(PHPAPI, "000123")["access_token"]).json["username"] == "000123"
    assert (
        '"id": 9007199254740993' in sandbox.userinfo(REDBOOTH, sandbox.tokens(REDBOOTH, "000123")["access_token"]).body
    )


def test_person_without_email_has_no_such_claim(sandbox: Sandbox) -> None:
    claims = sandbox.userinfo(OPENID, sandbox.tokens(OPENID, "johnsmith")["access_token"]).json
    assert claims["sub"] == "123"
    assert not {"email", "email_verified"} & set(claims)
