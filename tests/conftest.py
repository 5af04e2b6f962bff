"""One broker for the whole run, started as `make run` starts it; time goes back to normal after every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from moto.dynamodb.models import dynamodb_backends

from broker import log  # noqa: F401 - it keeps the standard output that it finds now, which no test replaces
from broker.crypto import keys, rotation
from broker_local.server import LocalBroker
from broker_testing.key_rotation import spare_signing_keys, tried_out
from broker_testing.stores import ministack_program, moved_to, running_ministack

# No example is timed, as machines differ; CI tries the same examples each time, a developer's machine looks for new ones.
settings.register_profile("broker", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("broker")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What any run that has the conformance suite in it may be asked for."""
    group = parser.getgroup("conformance")
    group.addoption("--compliance-results", type=Path, help="write what each test proved, as JSON, to this file")


def pytest_configure(config: pytest.Config) -> None:
    """Register the recorder where results are asked for."""
    results = config.getoption("--compliance-results")
    if results is not None and not hasattr(config, "workerinput"):
        from conformance import compliance

        config.pluginmanager.register(compliance.Recorder(results))


@pytest.fixture(scope="session")
def local_broker() -> Iterator[LocalBroker]:
    """The local broker: real handlers over moto, the sandbox's providers registered, its faults allowed.

    Without rate limits, as all tests come from one address; the tests of the limits switch them on.
    """
    with LocalBroker(seed=True, environment={"SANDBOX_FAULTS": "1", "BROKER_RATE_LIMITS": "off"}) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def small_tables() -> Iterator[None]:
    """Each module's logins go when it ends: moto looks through a whole table for every query, so it must stay small."""
    yield
    for account in dynamodb_backends.values():
        for backend in account.values():
            for name, table in backend.tables.items():
                if name.endswith(("GrantsTable", "SandboxTable")):
                    table.items.clear()


@pytest.fixture
def base(local_broker: LocalBroker) -> Iterator[str]:
    """The broker's URL. Nothing is remembered of the Registry, and time and the sandbox's faults are reset afterwards."""
    from broker import clock
    from broker.runtime import runtime
    from sandbox_provider import clock as sandbox_clock

    runtime().forget()
    yield local_broker.url
    clock.offset = clock.skew = 0
    clock._correction = 0.0
    sandbox_clock.offset = 0


@pytest.fixture(scope="session")
def ministack() -> Iterator[str]:
    """The endpoint of a running ministack."""
    program = ministack_program()
    if program is None:
        pytest.skip("ministack is not installed; `make test` installs it")
    with running_ministack(program) as endpoint:
        yield endpoint


@pytest.fixture(scope="module", params=["moto", "ministack"])
def each_store(request: pytest.FixtureRequest, local_broker: LocalBroker) -> Iterator[str]:
    """Runs the module's tests twice, with the broker's tables in either store; the store's name."""
    store = str(request.param)
    if store == "moto":
        yield store
        return
    with moved_to(local_broker, request.getfixturevalue("ministack")):
        yield store


@pytest.fixture
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """New signing keys are genuine, but made once for all tests: making and trying out an RSA key takes long."""
    spare = {alg: iter(made) for alg, made in spare_signing_keys().items()}

    def new_signing_key(alg: keys.Algorithm, active_from: int) -> keys.SigningKey:
        return replace(next(spare[alg]), active_from=active_from)

    def try_signature(key: keys.SigningKey) -> None:
        tried_out(replace(key, active_from=0, retires_at=None))

    monkeypatch.setattr(keys, "new_signing_key", new_signing_key)
    monkeypatch.setattr(rotation, "new_signing_key", new_signing_key)
    monkeypatch.setattr(rotation, "_try_signature", try_signature)
