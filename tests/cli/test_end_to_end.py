"""A client made by the command logs a person in, and the command tells what became of the login."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from broker.protocol.clients import Client
from broker_local.server import PROJECT
from broker_testing.journey import CALLBACK, Login, TestClient, refresh, userinfo
from broker_testing.ports import free_port

from .conftest import Operator


@pytest.fixture
def running(operator: Operator) -> Iterator[Operator]:
    """An operator beside `make run`, in a process of its own as for a newcomer."""
    port = free_port(2)
    folders = ("layers/broker", "tools", "functions/sandbox")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(PROJECT / folder) for folder in folders)}
    words = [sys.executable, "-m", "broker_local", "--port", str(port)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == f"ready: http://localhost:{port}\n"
            operator.port = port
            operator.now = int(time.time())
            yield operator
        finally:
            server.terminate()


def test_a_login_from_registration_to_revocation(running: Operator) -> None:
    words = ("client", "add", "--name", "App", "--redirect-uri", CALLBACK, "--confidential", "--provider", "openid")
    added = running.json(*words)
    client_id, secret = added["client_id"], added["client_secret"]
    base = f"http://localhost:{running.port}"

    client = TestClient(base, Client(client_id, "App", (CALLBACK,)), secret)
    tokens = Login(client).tokens()
    assert userinfo(base, tokens["access_token"]).status_code == 200
    refreshed = refresh(client, tokens["refresh_token"]).json()

    running.now = int(time.time())
    (listed,) = running.json("grant", "list", "--client", client_id)
    shown = running.json("grant", "show", listed["grant_id"])
    assert (shown["stage"], shown["refreshes"], shown["provider"]) == ("active", 1, "openid")
    assert shown["explanation"] == "The person is logged in."

    assert running.json("grant", "revoke", listed["grant_id"], "--yes")["revoked"] is True
    refused = refresh(client, refreshed["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert userinfo(base, refreshed["access_token"]).status_code == 401
    assert "An operator revoked it" in running("grant", "show", listed["grant_id"]).out
    for token in (secret, *tokens.values(), *refreshed.values()):
        assert not isinstance(token, str) or len(token) < 32 or running.seen.count(token) == (token == secret)
