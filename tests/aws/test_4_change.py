"""What changes while people are logged in, or half-way there: a deployment of new code and settings, and the keys."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from aws.deployment import Deployment
from broker_testing.journey import Login, TestClient, pkce_pair, refresh, register, revoke, userinfo
from broker_testing.parallel import at_once

PROVIDERS = ("openid", "redbooth", "infolobby")
REPEATS, BEGAN_AGAIN = 5, 2
"""How many requests may have to be repeated, and logins be begun anew, during a whole deployment: the emulator starts every
function at once, on a few processors."""


@pytest.fixture(scope="module")
def client(deployment: Deployment) -> TestClient:
    """A client of the providers that are used here."""
    return register(deployment.base, providers=PROVIDERS)


@dataclass
class Halfway:
    """Logins at every stage, left where they are."""

    client: TestClient
    at_provider: list[tuple[Login, requests.Response]] = field(default_factory=list)
    with_code: list[Login] = field(default_factory=list)
    active: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def begin(cls, client: TestClient) -> Halfway:
        """One login of each provider at each stage."""
        begun = cls(client)
        for provider in PROVIDERS:
            login = Login(client, provider)
            begun.at_provider.append((login, login.start()))
            waiting = Login(client, provider)
            waiting.run()
            begun.with_code.append(waiting)
            begun.active.append(Login(client, provider).tokens())
        return begun

    def finish(self) -> None:
        """Every one of them goes on to its end."""
        for login, started in self.at_provider:
            login.read_answer(login.browser.get(login.at_provider(started)))
            self.active.append(login.tokens())
        self.active += [login.tokens() for login in self.with_code]
        for tokens in self.active:
            assert userinfo(self.client.base, tokens["access_token"]).status_code == 200
            refreshed = refresh(self.client, tokens["refresh_token"])
            assert refreshed.status_code == 200, refreshed.text
            again = refresh(self.client, refreshed.json()["refresh_token"])
            assert again.status_code == 200, again.text
            assert revoke(self.client, again.json()["refresh_token"]).status_code == 200


@dataclass
class Load:
    """People who log in, come back and sign out, one after another."""

    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def one_person(self, client: TestClient, provider: str) -> None:
        """A whole login."""
        login = Login(client, provider)
        if login.run().get("error") == "temporarily_unavailable":
            self.done["began again"] += 1
            return
        tokens = self._answer(login.redeem).json()
        self._answer(lambda: userinfo(client.base, tokens["access_token"]))
        refreshed = self._answer(lambda: refresh(client, tokens["refresh_token"])).json()
        self._answer(lambda: revoke(client, refreshed["refresh_token"]))
        self.done[provider] += 1

    def _answer(self, ask: Callable[[], requests.Response]) -> requests.Response:
        """Who is told to repeat a request, as by an instance that starts too slowly here, repeats it."""
        for _ in range(REPEATS):
            answer = ask()
            if answer.status_code not in {503, 504}:  # of the broker, or because the sandbox has only just been started
                break
            self.done["repeated"] += 1
        assert answer.status_code == 200, answer.text
        return answer


@contextmanager
def people(client: TestClient) -> Iterator[Load]:
    """While this lasts, somebody is always logging in by each provider; nothing may fail."""
    load, over = Load(), threading.Event()

    def keep_coming(provider: str) -> None:
        while not over.is_set():
            try:
                load.one_person(client, provider)
            except (AssertionError, KeyError, requests.RequestException) as failure:
                load.failures.append(f"{provider}: {failure!r}"[:500])
                return

    threads = [threading.Thread(target=keep_coming, args=(provider,)) for provider in PROVIDERS]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _changed_build(build: Path, folder: Path) -> Path:
    """The same with other code: one function's own, and the layer that all share."""
    shutil.copytree(build, folder, dirs_exist_ok=True)
    built = folder / ".aws-sam" / "build"
    with (built / "AuthorizeFunction" / "app.py").open("a") as source:
        source.write("\nCHANGED = True\n")
    (built / "BrokerLayer" / "python" / "broker" / "changed.py").write_text('"""Only another version has this."""\n')
    return folder


def test_a_deployment_of_new_code_and_settings_loses_no_login(
    deployment: Deployment, client: TestClient, build: Path, tmp_path: Path
) -> None:
    """Whoever is logged in stays so, whoever is half-way arrives, and nobody who comes meanwhile is turned away."""
    halfway = Halfway.begin(client)
    before = _running_code(deployment)
    with people(client) as load:
        deployment.deploy(_changed_build(build, tmp_path), LogLevel="DEBUG")
    after = _running_code(deployment)
    assert load.failures == []
    completed = sum(load.done[provider] for provider in PROVIDERS)
    assert load.done["began again"] <= max(BEGAN_AGAIN, completed // 10)  # the longer it takes, the more people come
    assert load.done["repeated"] <= max(REPEATS, completed // 2)
    assert min(load.done[provider] for provider in PROVIDERS) >= 1
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before if name != "SandboxFunction")
    halfway.finish()


def _running_code(deployment: Deployment) -> dict[str, tuple[object, ...]]:
    """What each function runs when it is called: its code, layers and log level."""
    lambdas = deployment.client("lambda")
    behind = {arn.partition(":function:")[2].partition(":")[0]: arn for arn in deployment.front.api.functions.values()}
    found: dict[str, tuple[object, ...]] = {}
    for logical_id, name in deployment.resources("AWS::Lambda::Function").items():
        if name in behind:
            described = lambdas.get_function_configuration(FunctionName=behind[name])
            layers = tuple(layer["Arn"] for layer in described["Layers"])
            level = described["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"]
            found[logical_id] = (described["CodeSha256"], layers, level)
    return found


def test_a_rotation_of_the_keys_loses_no_login(deployment: Deployment, client: TestClient) -> None:
    """Secrets Manager's four steps, by the deployed function with its own role; the next signing key is published first."""
    halfway = Halfway.begin(client)
    before = _keys(deployment)
    published = _published(deployment)
    deployment.rotate_keys()
    assert before < _keys(deployment)
    for tokens in halfway.active:
        assert jwt.get_unverified_header(tokens["access_token"])["kid"] in published
    halfway.finish()


def _keys(deployment: Deployment) -> set[str]:
    return {key["name"] for key in deployment.broker("keys", "list")["keys"]}


def _published(deployment: Deployment) -> set[str]:
    document = requests.get(f"{deployment.base}/.well-known/jwks.json", timeout=30).json()
    return {key["kid"] for key in document["keys"]}


def test_a_code_counts_once_however_many_instances_are_asked(deployment: Deployment, client: TestClient) -> None:
    """RFC 6749 section 4.1.2. Each request runs in a process of its own here, as in Lambda."""
    login = Login(client, "openid")
    login.run()
    answers = at_once([login.redeem] * 4)
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    assert login.redeem(code_verifier=pkce_pair()[0]).status_code == 400
