"""Providers that know the broker by a key: an assertion at the sandbox's OpenID provider, a made secret at an Apple."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import jwt
import pytest
import requests

from broker.runtime import runtime
from broker.store.aws import client as aws_client
from broker.upstream.signing import ClientKey, new_key
from broker_testing import apple
from broker_testing.apple import FakeApple, registered_apple
from broker_testing.journey import Login, TestClient, refresh, register, revoke, userinfo
from broker_testing.providers import provider_set
from broker_testing.sandbox import end_at_provider, register_key, start_counting
from broker_testing.trouble import pass_time

PROVIDER = "oidc"


def put_secret(name: str, document: dict[str, str]) -> None:
    """What the broker is at a provider."""
    secret_id = runtime().settings.provider_secret_prefix + name
    aws_client("secretsmanager").put_secret_value(SecretId=secret_id, SecretString=json.dumps(document))
    runtime().forget()


def recorded(base: str) -> list[dict[str, object]]:
    calls = requests.get(f"{base}/sandbox/_calls", params={"provider": PROVIDER}, timeout=30).json()["calls"]
    return [call for call in calls if call["endpoint"] in ("token", "revoke")]


@pytest.fixture
def by_key(base: str) -> Iterator[ClientKey]:
    """The sandbox's OpenID provider, at which the broker has a key and no secret."""
    name = runtime().settings.provider_secret_prefix + PROVIDER
    before = json.loads(aws_client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
    key = new_key("ES256")
    with provider_set(PROVIDER, {"token.auth": "private_key_jwt"}):
        put_secret(PROVIDER, {"client_id": before["client_id"], "private_key": key.private_pem, "kid": key.kid})
        register_key(base, PROVIDER, key.public_jwk)
        yield key
        register_key(base, PROVIDER, None)
    put_secret(PROVIDER, before)


def test_a_login_from_begin_to_end_without_a_secret(base: str, by_key: ClientKey) -> None:
    client = register(base, providers=(PROVIDER,))
    start_counting(base, PROVIDER)
    tokens = Login(client).tokens()
    assert userinfo(base, tokens["access_token"]).status_code == 200
    pass_time(301)
    refreshed = refresh(client, tokens["refresh_token"]).json()
    assert userinfo(base, refreshed["access_token"]).status_code == 200
    assert revoke(client, refreshed["refresh_token"]).status_code == 200
    calls = recorded(base)
    assert [(call["endpoint"], call["grant_type"], call["auth"], call["status"]) for call in calls] == [
        ("token", "authorization_code", "key", 200),
        ("token", "refresh_token", "key", 200),
        ("revoke", "", "key", 200),
    ]
    assert end_at_provider(base, PROVIDER, "grant") >= 1


def test_a_key_that_the_provider_does_not_know(base: str, by_key: ClientKey) -> None:
    register_key(base, PROVIDER, new_key("ES256").public_jwk)
    login = Login(register(base, providers=(PROVIDER,)))
    assert login.run()["error"] == "server_error"


def test_a_new_key_is_used_when_the_old_one_is_refused(base: str, by_key: ClientKey) -> None:
    """A function that still remembers the old key reads the secret anew, and no login is lost."""
    client = register(base, providers=(PROVIDER,))
    Login(client).tokens()
    remembered = runtime().provider_credentials(PROVIDER)
    new = new_key("ES256")
    held = {"client_id": remembered.client_id, "private_key": new.private_pem, "kid": new.kid}
    secret_id = runtime().settings.provider_secret_prefix + PROVIDER
    aws_client("secretsmanager").put_secret_value(SecretId=secret_id, SecretString=json.dumps(held))
    register_key(base, PROVIDER, new.public_jwk)
    assert runtime().provider_credentials(PROVIDER).key == by_key, "remembered for five minutes"
    assert "access_token" in Login(client).tokens()
    assert runtime().provider_credentials(PROVIDER).key == new


# -- Apple ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def apple_id(base: str) -> Iterator[FakeApple]:
    """An Apple at which the broker is registered, under the name apple."""
    with registered_apple() as running:
        yield running


def come_back(login: Login, apple_id: FakeApple, *, first: bool, **changes: str) -> requests.Response:
    """From the client to Apple and back: the browser posts Apple's answer, with the cookie that such a post may carry."""
    started = login.start(**changes)
    (cookie,) = SimpleCookie(started.headers["set-cookie"]).values()
    # Lax cookies stay away from a post of another site, and browsers drop a SameSite=None cookie that is not Secure.
    assert (cookie["samesite"], cookie["secure"], cookie["httponly"]) == ("None", True, True)
    form = apple_id.answer(started.headers["location"], first=first)
    headers = {"cookie": f"{cookie.key}={cookie.value}", "origin": apple_id.url}
    return login.browser.post(f"{login.client.base}/callback/apple", urlencode(form), headers)


def signed_in(client: TestClient, apple_id: FakeApple, *, first: bool) -> dict[str, str]:
    login = Login(client)
    login.read_answer(come_back(login, apple_id, first=first, scope="openid profile email"))
    response = login.redeem()
    assert response.status_code == 200, response.text
    tokens: dict[str, str] = response.json()
    return tokens


def test_sign_in_with_apple(base: str, apple_id: FakeApple) -> None:
    client = register(base, providers=("apple",))
    tokens = signed_in(client, apple_id, first=True)
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    profile = userinfo(base, tokens["access_token"]).json()
    assert profile["sub"] == claims["sub"] == f"apple|{apple.SUBJECT}"
    assert (claims["name"], claims["given_name"], claims["family_name"]) == ("Jane Appleseed", "Jane", "Appleseed")
    assert "name" not in profile, "which came once, in the redirect"
    assert profile["email"] == "jane@privaterelay.example"
    assert profile["email_verified"] is True
    assert [path for path, _ in apple_id.requests] == ["/auth/token"]
    pass_time(3600 * 2)
    refreshed = refresh(client, tokens["refresh_token"]).json()
    assert len(apple_id.requests) == 1, "Apple wants a refresh token tried once a day at most"
    assert userinfo(base, refreshed["access_token"]).json() == profile
    pass_time(3600 * 25)
    refreshed = refresh(client, refreshed["refresh_token"]).json()
    assert [form.get("grant_type") for _, form in apple_id.requests] == ["authorization_code", "refresh_token"]
    assert revoke(client, refreshed["refresh_token"]).status_code == 200
    assert (apple_id.requests[-1][0], apple_id.refresh_tokens, apple_id.refused) == ("/auth/revoke", set(), [])


def test_the_name_comes_once_only(base: str, apple_id: FakeApple) -> None:
    tokens = signed_in(register(base, providers=("apple",)), apple_id, first=False)
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert "name" not in claims
    assert claims["email"] == "jane@privaterelay.example"


def test_a_post_without_the_browsers_cookie_is_nobodys(base: str, apple_id: FakeApple) -> None:
    login = Login(register(base, providers=("apple",)))
    form = apple_id.answer(login.start(scope="openid").headers["location"], first=True)
    refused = requests.post(f"{base}/callback/apple", data=form, timeout=30, allow_redirects=False)
    assert refused.status_code == 400
    assert apple_id.requests == [], "the code of another browser's login goes nowhere"


def test_a_person_who_cancels(base: str, apple_id: FakeApple) -> None:
    login = Login(register(base, providers=("apple",)))
    started = login.start(scope="openid")
    (cookie,) = SimpleCookie(started.headers["set-cookie"]).values()
    state = apple_id.answer(started.headers["location"], first=True)["state"]
    form = urlencode({"state": state, "error": "user_cancelled_authorize"})
    back = login.browser.post(f"{base}/callback/apple", form, {"cookie": f"{cookie.key}={cookie.value}"})
    assert login.read_answer(back)["error"] == "access_denied"


def test_a_key_that_is_not_the_teams(base: str, apple_id: FakeApple) -> None:
    other = {"client_id": apple.CLIENT_ID, "private_key": new_key("ES256").private_pem, "kid": apple.KEY_ID}
    put_secret("apple", other)
    login = Login(register(base, providers=("apple",)))
    assert login.read_answer(come_back(login, apple_id, first=True))["error"] == "server_error"
    assert apple_id.refused == ["InvalidSignatureError"]
