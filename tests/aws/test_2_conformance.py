"""The conformance suite, aimed at the deployed stack as at any other broker: a URL and clients of every kind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aws.deployment import PROJECT, Deployment
from broker_testing.conformance import registered_clients
from broker_testing.proxy import allowed_calls

AT_LEAST = 800
"""Tests that must have run: the suite skips what a remote broker cannot be asked."""
WITHOUT = ("lost_by_the_network", "two_authorization_headers", "at_once")
"""Tests that open a connection of their own, for which only a real authority's certificate would do; and those that start a
process for each of many requests here. One of the latter is in test_4_change.py."""


@pytest.mark.timeout(900)
def test_the_deployed_stack_conforms(deployment: Deployment, tmp_path: Path) -> None:
    described = {
        kind: {"client_id": client.client_id, "name": client.registered.name, "origins": client.registered.origins}
        | ({"client_secret": client.secret} if client.secret else {})
        for kind, client in registered_clients(deployment.base).by_kind.items()
    }
    file = tmp_path / "clients.json"
    file.write_text(json.dumps({"clients": described}))
    words = [sys.executable, "-m", "pytest", "tests/conformance", "-n", "2", "-p", "no:cacheprovider"]
    words += ["-k", " and ".join(f"not {name}" for name in WITHOUT)]
    words += ["--broker-url", deployment.base, "--broker-clients", str(file)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BROKER_"))}
    with allowed_calls():
        done = subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= AT_LEAST, done.stdout[-2000:]
