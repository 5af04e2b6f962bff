"""The first request of a function that Lambda has just started finds everything there that costs time: a start has a whole
processor, and a request a ninth of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from broker_local.lambdas import LoadedFunction
from broker_local.server import PROJECT, LocalBroker
from broker_testing import proxy
from broker_testing.journey import Login, post_form, refresh, register, revoke, userinfo

ANSWER = "answered: "
FIRST_REQUEST = f"""
import json, os, sys
sys.path.insert(0, os.getcwd())
import app
class Context:
    aws_request_id = "an invocation"
    def get_remaining_time_in_millis(self):
        return 20000
before = set(sys.modules)
answer = app.handler(json.load(sys.stdin), Context())
print()
print({ANSWER!r} + json.dumps([answer, sorted(set(sys.modules) - before)]))
"""
COSTLY = (
    *("broker.protocol", "broker.upstream", "aws_lambda_powertools", "boto", "cryptography", "jwt"),
    *("concurrent", "http", "logging", "ssl", "tomllib", "urllib"),
)


def first_request(folder: Path, event: dict[str, Any], environment: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The answer of a function in a process of its own, and the modules that it imported to answer."""
    surroundings = {**environment, "PATH": os.environ["PATH"], "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}
    run = subprocess.run(
        [sys.executable, "-c", FIRST_REQUEST],
        input=json.dumps(event),
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
        check=True,
    )
    (told,) = [line for line in run.stdout.splitlines() if line.startswith(ANSWER)]
    answer, imported = json.loads(told.removeprefix(ANSWER))
    return answer, imported


@pytest.fixture
def imported(local_broker: LocalBroker, base: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, set[str]]]:
    """While this lasts, every request is the first of its function. Function -> what its requests imported."""
    found: dict[str, set[str]] = {}
    in_this_process = LoadedFunction.invoke

    def invoke(loaded: LoadedFunction, event: dict[str, Any]) -> object:
        name = loaded.function.folder
        if name == "sandbox":
            return in_this_process(loaded, event)
        answer, modules = first_request(PROJECT / "functions" / name, event, dict(local_broker.environment))
        found.setdefault(name, set()).update(modules)
        return answer

    monkeypatch.setattr(LoadedFunction, "invoke", invoke)
    yield found


@pytest.mark.parametrize("provider", ["oidc", proxy.PROVIDER])
def test_a_first_request_imports_nothing_that_costs_time(
    base: str, imported: dict[str, set[str]], provider: str
) -> None:
    client = register(base, providers=(provider,), proxy=(provider,) if provider == proxy.PROVIDER else ())
    login = Login(client)
    assert post_form(f"{base}/par", login.parameters).status_code == 201
    tokens = login.tokens()
    assert userinfo(base, tokens["access_token"]).status_code == 200
    renewed = refresh(client, tokens["refresh_token"]).json()
    form = {"grant_type": "refresh_token", "refresh_token": renewed["refresh_token"]} | client.credentials()
    renewed = post_form(f"{base}/refresh", form).json()
    if provider == proxy.PROVIDER:
        assert proxy.call(client, renewed["access_token"], "tasks").status_code == 202
    assert revoke(client, renewed["refresh_token"]).status_code == 200
    hint = {"id_token_hint": tokens["id_token"]}
    assert requests.get(f"{base}/logout", hint, timeout=30, allow_redirects=False).status_code in (200, 303)
    assert {"par", "authorize", "callback", "token", "userinfo", "refresh", "revoke", "logout"} <= imported.keys()
    late = {name: sorted(one for one in modules if one.startswith(COSTLY)) for name, modules in imported.items()}
    assert {name: modules for name, modules in late.items() if modules} == {}
