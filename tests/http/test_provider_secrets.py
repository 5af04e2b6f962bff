"""A provider rotates the broker's client secret, at whatever moment: nobody's login or refresh fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import requests

from broker import clock
from broker.runtime import runtime
from broker.store.aws import client as aws_client
from broker.store.secrets import REREAD_SECONDS, ProviderSecret
from broker_local.server import SANDBOX_CLIENT_SECRET as OLD
from broker_local.server import LocalBroker
from broker_testing.journey import Login, TestClient, refresh, register, revoke, userinfo
from broker_testing.key_rotation import operators_client
from broker_testing.parallel import at_once
from broker_testing.proxy import call, provider_with
from broker_testing.sandbox import change_secrets, counted, end_at_provider, start_counting, wrong_secret_said_as
from broker_testing.trouble import pass_time

NEW = "the-secret-that-the-provider-made-today"
WAYS = ("infolobby", "lockitnetwork", "iternio")
"""Secrets in the body, by Basic, and as a key in the profile's address."""


OTHER_WORDS = {
    "Keycloak": b'{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}',
    "no code": b'{"message":"Bad credentials"}',
    "a page": b"<html><body>Unauthorized</body></html>",
    "nothing": b"",
    "its own mark": b'{"status":"error","message":"not allowed"}',
    "a code of its own": b'{"error":"unauthorized"}',
    "a number": b'{"error":{"code":401,"message":"Unauthorized"}}',
}
"""What a wrong secret is called with a 401, if not invalid_client."""


@dataclass
class Secrets:
    """A provider's secret in both places: at the provider, and in the broker's Secrets Manager."""

    local: LocalBroker
    provider: str
    logged: int
    reads: int = 0

    @property
    def name(self) -> str:
        return self.local.environment["BROKER_PROVIDER_SECRET_PREFIX"] + self.provider

    def held(self) -> str:
        return str(operators_client(self.local.aws_endpoint).get_secret_value(SecretId=self.name)["SecretString"])

    def keep(self, **slots: str) -> None:
        """What the operator writes; functions notice when their cache has run out, or when they look again."""
        client_id = ProviderSecret.of_text(self.held()).client_id
        text = ProviderSecret(client_id, **slots).text()
        operators_client(self.local.aws_endpoint).put_secret_value(SecretId=self.name, SecretString=text)

    def takes(self, *secrets: str) -> None:
        """The provider takes these from now on."""
        change_secrets(self.local.url, self.provider, *secrets)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self.local.log_text()[self.logged :].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and f'"{name}"' in line]

    def fallbacks(self) -> list[str]:
        return [event["slot"] for event in self.events("upstream.secret_fallback")]


@pytest.fixture
def secrets(local_broker: LocalBroker, base: str, request: pytest.FixtureRequest) -> Iterator[Secrets]:
    """The provider's secret, put back afterwards everywhere."""
    kept = Secrets(local_broker, getattr(request, "param", "infolobby"), len(local_broker.log_text()))
    before = kept.held()
    events = aws_client("secretsmanager").meta.events

    def count(**_: object) -> None:
        kept.reads += 1

    events.register("before-send.secrets-manager.GetSecretValue", count)
    yield kept
    events.unregister("before-send.secrets-manager.GetSecretValue", count)
    change_secrets(base, kept.provider)
    operators_client(local_broker.aws_endpoint).put_secret_value(SecretId=kept.name, SecretString=before)
    runtime().forget()
    log = local_broker.log_text()[kept.logged :]
    assert NEW not in log
    assert OLD not in log


def warm(secrets: Secrets) -> TestClient:
    """A client whose provider's secret the functions remember."""
    runtime().provider_credentials(secrets.provider)
    return register(secrets.local.url, providers=(secrets.provider,))


def token_calls(secrets: Secrets) -> int:
    """Calls of the provider's token endpoint since `start_counting`."""
    calls = counted(secrets.local.url, secrets.provider)
    return sum(count for name, count in calls.items() if name.startswith("token"))


def good(response: requests.Response) -> dict[str, Any]:
    assert response.status_code == 200, (response.status_code, response.text)
    document: dict[str, Any] = response.json()
    return document


@pytest.mark.parametrize("secrets", WAYS, indirect=True)
def test_a_secret_that_changes_while_people_log_in_fails_no_login(secrets: Secrets) -> None:
    """One is at the provider when it happens; his code is not lost. The next one meets the new secret at once."""
    secrets.keep(client_secret=OLD, client_secret_next=NEW)
    client = warm(secrets)
    login = Login(client)
    back = login.callback_url()
    assert secrets.fallbacks() == []
    secrets.takes(NEW)
    start_counting(client.base, secrets.provider)
    login.read_answer(login.browser.get(back))
    tokens = login.tokens()
    good(userinfo(client.base, tokens["access_token"]))
    assert set(secrets.fallbacks()) == {"next"}
    assert token_calls(secrets) == 2
    already = len(secrets.fallbacks())
    start_counting(client.base, secrets.provider)
    good(userinfo(client.base, Login(client).tokens()["access_token"]))
    assert token_calls(secrets) == 1
    assert len(secrets.fallbacks()) == already


@pytest.mark.parametrize("secrets", ["redbooth", "openid"], indirect=True)
def test_a_secret_that_changes_between_refreshes_ends_no_login(secrets: Secrets) -> None:
    """Also where a refresh token works once: it is not used up by a request that the provider refused."""
    secrets.keep(client_secret=OLD, client_secret_next=NEW)
    client = warm(secrets)
    tokens = Login(client).tokens()
    secrets.takes(NEW)
    for _ in range(2):
        pass_time(7200)  # every sandbox provider's token has expired
        tokens = good(refresh(client, tokens["refresh_token"]))
        good(userinfo(client.base, tokens["access_token"]))
    assert secrets.fallbacks() == ["next"]
    assert revoke(client, tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize("words", OTHER_WORDS.values(), ids=OTHER_WORDS)
def test_a_wrong_secret_in_other_words(secrets: Secrets, words: bytes) -> None:
    """Row 10 as well: the other slot is tried; where that is wrong too, there is an alarm, and nothing is lost."""
    secrets.keep(client_secret=OLD, client_secret_next=NEW)
    client = warm(secrets)
    secrets.takes(NEW)
    with wrong_secret_said_as(words):
        tokens = Login(client).tokens()
        assert set(secrets.fallbacks()) == {"next"}
        pass_time(3600)
        secrets.takes("another secret altogether")
        answer = refresh(client, tokens["refresh_token"])
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert Login(client).run()["error"] == "server_error"
    assert {event["row"] for event in secrets.events("upstream.misconfigured")} == {10}
    secrets.takes(NEW)
    pass_time(6)
    good(refresh(client, tokens["refresh_token"]))


@pytest.mark.parametrize("words", OTHER_WORDS.values(), ids=OTHER_WORDS)
@pytest.mark.parametrize("secrets", ["iternio"], indirect=True)
def test_a_wrong_key_at_a_profile_that_takes_the_token_too_ends_no_login(secrets: Secrets, words: bytes) -> None:
    """A 401 does not say which of the two is refused. There is nothing to renew the token with: only the key can be put right."""
    client = warm(secrets)
    tokens = Login(client).tokens()
    secrets.takes("another secret altogether")
    with wrong_secret_said_as(words):
        answer = userinfo(client.base, tokens["access_token"])
    assert (answer.status_code, answer.json()["error"]) == (502, "temporarily_unavailable")
    (alarm,) = secrets.events("upstream.misconfigured")
    assert (alarm["row"], alarm["status"]) == (10, 401)
    assert secrets.events("grant.ended") == secrets.events("link.reconnect_required") == []
    secrets.takes(OLD)
    good(userinfo(client.base, tokens["access_token"]))
    good(userinfo(client.base, good(refresh(client, tokens["refresh_token"]))["access_token"]))


@pytest.mark.parametrize("secrets", ["iternio"], indirect=True)
def test_an_api_that_refuses_the_token_while_the_key_is_wrong_ends_no_login(secrets: Secrets) -> None:
    """Whether the token is dead, the proxy asks at the profile; with a wrong key that proves nothing."""
    runtime().provider_credentials("iternio")
    client = register(secrets.local.url, providers=("iternio",), proxy=("iternio",))
    tokens = Login(client).tokens()
    elsewhere = runtime().provider("redbooth").api.base  # which has never seen the token
    secrets.takes("another secret altogether")
    with wrong_secret_said_as(b""), provider_with("iternio", api_base=elsewhere, api_allow=["GET /me"]):
        answer = call(client, tokens["access_token"], "me", provider="iternio")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    assert [event["row"] for event in secrets.events("upstream.misconfigured")] == [10]
    assert secrets.events("grant.ended") == []
    secrets.takes(OLD)
    good(userinfo(client.base, tokens["access_token"]))


@pytest.mark.parametrize("secrets", ["iternio"], indirect=True)
def test_a_token_that_is_refused_by_name_beside_a_key_ends_its_login(secrets: Secrets) -> None:
    """invalid_token is about the token alone (RFC 6750 section 3.1)."""
    client = warm(secrets)
    tokens = Login(client).tokens()
    end_at_provider(client.base, "iternio", "grant")
    answer = userinfo(client.base, tokens["access_token"])
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    assert secrets.events("upstream.misconfigured") == []
    assert [event["detail"] for event in secrets.events("grant.ended")] == ["expired"]


def test_a_secret_that_the_functions_have_not_seen_yet_is_found_at_the_first_refusal(secrets: Secrets) -> None:
    """The operator was told when the provider had changed it already: his entry counts at once, not in five minutes."""
    client = warm(secrets)
    secrets.takes(NEW)
    secrets.keep(client_secret=OLD, client_secret_next=NEW)
    good(userinfo(client.base, Login(client).tokens()["access_token"]))
    assert secrets.fallbacks() == ["next"]


def test_a_secret_that_was_replaced_outright_is_found_too(secrets: Secrets) -> None:
    """`provider set-secret`, without a second slot."""
    client = warm(secrets)
    secrets.takes(NEW)
    secrets.keep(client_secret=NEW)
    Login(client).tokens()
    assert secrets.fallbacks() == ["current"]


def test_a_secret_that_was_promoted_too_early_fails_nothing(secrets: Secrets) -> None:
    """The provider still wants the one before, which is in the slot of the old one."""
    secrets.keep(client_secret=NEW, client_secret_old=OLD)
    runtime().forget()
    client = warm(secrets)
    Login(client).tokens()
    assert secrets.fallbacks() == ["old"]
    secrets.takes(NEW)
    Login(client).tokens()
    assert secrets.fallbacks() == ["old", "current"]


def test_many_at_the_same_moment(secrets: Secrets) -> None:
    """Logins come back and refreshes fall due as the provider changes its mind."""
    secrets.keep(client_secret=OLD, client_secret_next=NEW)
    client = warm(secrets)
    renewed = [Login(client).tokens()["refresh_token"] for _ in range(3)]
    pass_time(3600)
    logins = [Login(client) for _ in range(3)]
    addresses = [login.callback_url() for login in logins]
    secrets.takes(NEW)
    calls = [
        *(partial(login.browser.get, address) for login, address in zip(logins, addresses, strict=True)),
        *(partial(refresh, client, token) for token in renewed),
    ]
    answers = at_once(calls)
    for login, answer in zip(logins, answers[:3], strict=True):
        login.read_answer(answer)
        good(userinfo(client.base, login.tokens()["access_token"]))
    for answer in answers[3:]:
        good(userinfo(client.base, good(answer)["access_token"]))
    assert secrets.events("upstream.misconfigured") == []


def test_when_neither_is_right_nothing_is_lost(secrets: Secrets) -> None:
    """Row 10: 503 and an alarm, the login and the provider's tokens stay, and go on when somebody has put it right."""
    secrets.keep(client_secret=OLD, client_secret_next=NEW)
    client = warm(secrets)
    tokens = Login(client).tokens()
    pass_time(3600)
    secrets.takes("another secret altogether")
    for _ in range(3):
        answer = refresh(client, tokens["refresh_token"])
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        pass_time(6)  # as long as the vault does not try again
    assert Login(client).run()["error"] == "server_error"
    assert {event["kind"] for event in secrets.events("upstream.misconfigured")} == {"CLIENT_REFUSED"}
    assert secrets.fallbacks() == []
    secrets.keep(client_secret="another secret altogether")
    pass_time(REREAD_SECONDS)
    good(userinfo(client.base, good(refresh(client, tokens["refresh_token"]))["access_token"]))


def test_refusals_cannot_make_the_broker_read_its_secret_at_will(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look in REREAD_SECONDS, however many logins the provider refuses."""
    client = warm(secrets)
    addresses = [(login := Login(client), login.callback_url()) for _ in range(3)]
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    secrets.takes(NEW)
    secrets.reads = 0
    for login, address in addresses:
        assert login.read_answer(login.browser.get(address))["error"] == "server_error"
    assert secrets.reads == 1
