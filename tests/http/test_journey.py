"""The whole journey with every provider of the sandbox: log in, read the profile, refresh, sign out; and deny."""

from __future__ import annotations

import json

import jwt
import pytest
import requests

from broker import clock
from broker_local.server import LocalBroker
from broker_testing.journey import CALLBACK, Login, refresh, register, revoke, userinfo
from sandbox_provider import clock as sandbox_clock

REFRESHING = ("infolobby", "lockitnetwork", "redbooth", "openid")
PROVIDERS = (*REFRESHING, "phpapi", "iternio", "iternio-live")

PROFILES = {
    "infolobby": {"name": "John Smith", "zoneinfo": "America/New_York", "locale": "en-US"},
    "phpapi": {"name": "John Doe", "email": "john@example.com", "preferred_username": "johndoe"},
}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_allow(base: str, provider: str) -> None:
    login = Login(register(base, providers=(provider,)), provider)
    tokens = login.tokens()
    assert set(login.answer) == {"code", "state", "iss"}
    assert login.answer["iss"] == base
    assert tokens["token_type"] == "Bearer"
    assert tokens["scope"] == "openid profile email"
    profile = userinfo(base, tokens["access_token"])
    assert profile.status_code == 200, profile.text
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert profile.json()["sub"] == claims["sub"]
    assert claims["sub"].startswith(f"{provider}|")
    renewed = refresh(login.client, tokens["refresh_token"])
    assert renewed.status_code == 200, renewed.text
    assert renewed.json()["refresh_token"] != tokens["refresh_token"]
    assert userinfo(base, renewed.json()["access_token"]).json()["sub"] == claims["sub"]
    signed_out = revoke(login.client, renewed.json()["refresh_token"])
    assert (signed_out.status_code, signed_out.text) == (200, "")
    assert userinfo(base, renewed.json()["access_token"]).status_code == 401
    again = refresh(login.client, renewed.json()["refresh_token"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_deny(base: str, provider: str) -> None:
    login = Login(register(base, providers=(provider,)), provider)
    answer = login.run(decision="deny")
    assert answer["error"] == "access_denied", answer
    assert answer["state"] == login.parameters["state"]
    assert answer["iss"] == base
    assert "code" not in answer


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_tokens_are_signed_as_registered(base: str, alg: str) -> None:
    """Both kinds of token, verified by the published keys and nothing else."""
    login = Login(register(base, id_token_alg=alg, access_token_alg=alg))
    tokens = login.tokens()
    keys = jwt.PyJWKSet.from_dict(requests.get(f"{base}/.well-known/jwks.json", timeout=30).json())
    for text, audience in ((tokens["id_token"], login.client.client_id), (tokens["access_token"], base)):
        key = keys[jwt.get_unverified_header(text)["kid"]]
        claims = jwt.decode(text, key, algorithms=[alg], audience=audience, issuer=base)
        assert claims["sub"].startswith("infolobby|")
    assert userinfo(base, tokens["access_token"]).status_code == 200


def test_where_the_provider_has_no_refresh_a_login_ends_with_its_access(base: str) -> None:
    """PHP style: 3600 seconds, however often it is refreshed; then the frontend is told to log in again."""
    login = Login(register(base, providers=("phpapi",)), "phpapi")
    tokens = login.tokens()
    for passed in (1200, 2400, 3500):
        clock.offset = sandbox_clock.offset = passed
        renewed = refresh(login.client, tokens["refresh_token"])
        assert renewed.status_code == 200, renewed.text
        tokens = renewed.json()
        assert userinfo(base, tokens["access_token"]).status_code == 200
    assert tokens["expires_in"] <= 100, "no access token outlives the provider's"
    clock.offset = sandbox_clock.offset = 3601
    ended = refresh(login.client, tokens["refresh_token"])
    assert (ended.status_code, ended.json()["error"]) == (400, "invalid_grant")
    assert ended.json()["error_description"] == "the login has expired, please log in again"
    assert userinfo(base, tokens["access_token"]).status_code == 401


def test_a_code_is_worth_nothing_once_its_login_is_over(base: str) -> None:
    """A login that lasts for less than the code would."""
    login = Login(register(base, absolute_lifetime=30))
    login.run()
    clock.offset = sandbox_clock.offset = 31
    late = login.redeem()
    assert (late.status_code, late.json()["error"]) == (400, "invalid_grant")
    clock.offset = sandbox_clock.offset = 0
    assert login.redeem().status_code == 200, "nothing was used up"


@pytest.mark.parametrize("provider", ["iternio", "iternio-live"])
def test_where_access_has_no_end_a_login_lives_for_its_absolute_lifetime(base: str, provider: str) -> None:
    login = Login(register(base, providers=(provider,), absolute_lifetime=86400 * 3, idle_lifetime=86400), provider)
    tokens = login.tokens()
    for day in (0.9, 1.8, 2.7):
        clock.offset = sandbox_clock.offset = int(86400 * day)
        tokens = refresh(login.client, tokens["refresh_token"]).json()
        assert userinfo(base, tokens["access_token"]).status_code == 200
    clock.offset = sandbox_clock.offset = 86400 * 3 + 1
    ended = refresh(login.client, tokens["refresh_token"])
    assert (ended.status_code, ended.json()["error"]) == (400, "invalid_grant")


def test_why_a_request_cannot_be_read_is_in_the_log(base: str, local_broker: LocalBroker) -> None:
    """The page says it in the words that the operator may replace; the reason is for whoever looks the request up."""
    before = len(local_broker.log_text())
    form = {"content-type": "application/x-www-form-urlencoded"}
    page = requests.post(f"{base}/authorize", b"client_id=%zz", headers=form, timeout=30)
    assert page.status_code == 400
    said = "The sign-in request cannot be read. Please start again in the application."
    assert said in page.text
    assert "percent" not in page.text
    reason = "Reason: a percent sign is not followed by two hexadecimal digits."
    assert f"{said} {reason}" in local_broker.log_text()[before:]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (f"{CALLBACK}/", "another path or query at https://app.example"),
        ("https://user:word@evil.example:8443/secret?a=b", "https://evil.example:8443"),
        ("https://[", "no URI"),
    ],
)
def test_the_log_says_what_was_wrong_with_a_redirect_uri(
    base: str, local_broker: LocalBroker, sent: str, told: str
) -> None:
    """The person is asked to pass the request's id on, which must lead to more than he can see. No path is repeated."""
    login = Login(register(base, providers=("openid",)))
    before = len(local_broker.log_text())
    page = login.start(redirect_uri=sent)
    assert page.status_code == 400
    lines = (json.loads(line) for line in local_broker.log_text()[before:].splitlines() if line.startswith("{"))
    (entry,) = (line for line in lines if line.get("audit") == "login.refused")
    assert entry["correlation_id"] == page.headers["x-request-id"]
    assert entry["client_id"] == login.client.client_id
    registered = "The address to return to is not registered for this application (redirect_uri)."
    assert entry["detail"] == f"{registered} Sent: {told}"
