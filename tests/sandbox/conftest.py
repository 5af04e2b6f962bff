"""A browser and an application at the sandbox: real events into the real handler, over moto's DynamoDB."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from moto import mock_aws
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from sandbox_provider import clock, store

from .driver import BASE, SECRET, Sandbox

TABLE = "sandbox-test"


def _create_table() -> None:
    store.dynamodb().create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


_ENVIRONMENT = {
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "SANDBOX_TABLE": TABLE,
    "SANDBOX_CLIENT_SECRET": SECRET,
    "SANDBOX_BASE": BASE,
}
_UNSET = ("AWS_ENDPOINT_URL", "SANDBOX_FAULTS", "SANDBOX_REDIRECT_URIS", "SANDBOX_CALLS_PER_MINUTE")


@pytest.fixture(scope="module", autouse=True)
def module_environment() -> Iterator[None]:
    """The Lambda's environment, and a DynamoDB client of this module's own."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in _ENVIRONMENT.items():
            environment.setenv(name, value)
        for name in _UNSET:
            environment.delenv(name, raising=False)
        store.dynamodb.cache_clear()
        yield
        store.dynamodb.cache_clear()


@pytest.fixture(scope="module")
def simulated_aws(module_environment: None) -> Iterator[None]:
    """AWS in this process, once per module: making a client takes longer than most tests."""
    # Nothing is reset or removed: that would empty the tables of a local broker that runs in the same process.
    simulation = mock_aws()
    simulation.start(reset=False)
    yield
    simulation.stop(remove_data=False)


@pytest.fixture
def sandbox(simulated_aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The handler over an empty table, in this process, at the present time."""
    monkeypatch.setattr(clock, "offset", 0.0)
    _create_table()
    yield Sandbox()
    store.dynamodb().delete_table(TableName=TABLE)


class _OneAtATime:
    """moto checks a condition and writes in two steps; a real table does it in one."""

    def __init__(self) -> None:
        self._application = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Sequence[bytes]:
        with self._lock:
            return list(self._application(environ, start_response))


@pytest.fixture
def served_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The handler over moto behind HTTP, whose writes are atomic between threads."""
    server = make_server("127.0.0.1", 0, _OneAtATime(), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        store.dynamodb.cache_clear()
        _create_table()
        yield Sandbox()
    finally:
        store.dynamodb().delete_table(TableName=TABLE)
        store.dynamodb.cache_clear()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch on what only tests may use."""
    monkeypatch.setenv("SANDBOX_FAULTS", "1")
