"""A second DynamoDB beside moto: ministack, in a process of its own, and how a running broker is moved to it.

Two stores that nobody wrote together: what a race test proves on both is not a property of one emulator.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.runtime import runtime
from broker.store import grant_search
from broker.store.aws import client
from broker.store.grants import Grant
from broker_local import aws, lambdas
from broker_local.seed import seed
from broker_local.server import PROJECT, SANDBOX_CLIENT_SECRET, LocalBroker, local_template
from broker_testing.ports import free_port

STARTUP_SECONDS = 30


def ministack_program() -> Path | None:
    """The installed program: where `make test` says it is, or in the virtual environment that make gives it. None without."""
    named = os.environ.get("MINISTACK")
    if named:
        return Path(named)
    found = sorted(PROJECT.glob(".venv-ministack*/bin/ministack"))
    return found[0] if found else None


@contextmanager
def running_ministack(program: Path) -> Iterator[str]:
    """ministack on a free port, empty; its endpoint."""
    port = free_port()
    environment = os.environ | {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "LOG_LEVEL": "ERROR"}
    with subprocess.Popen(
        [program], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    ) as process:
        try:
            _wait_until_it_listens(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@contextmanager
def moved_to(broker: LocalBroker, endpoint: str) -> Iterator[None]:
    """The running broker with its tables and secrets at `endpoint`, set up anew; back again afterwards.

    Handlers find their tables through the environment, so a cold start under another endpoint is a move.
    """
    aws.create_resources(local_template(broker.port), endpoint)
    before = aws.with_environment({**broker.environment, "AWS_ENDPOINT_URL": endpoint})
    lambdas.start_cold()
    try:
        seed(broker.url, SANDBOX_CLIENT_SECRET)
        yield
    finally:
        aws.restore_environment(before)
        lambdas.start_cold()


def search(**wanted: str) -> Iterator[Grant]:
    """The logins that the operator would find in the table that the handlers have."""
    return grant_search.search(client("dynamodb"), runtime().settings.grants_table, **wanted)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            raise RuntimeError(f"ministack ended with status {process.returncode}")
        time.sleep(0.05)
    raise RuntimeError(f"ministack does not listen after {STARTUP_SECONDS} s")
