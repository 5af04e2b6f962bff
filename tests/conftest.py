"""One broker for the whole run, started as `make run` starts it; time goes back to normal after every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from broker_local.server import LocalBroker


@pytest.fixture(scope="session")
def local_broker() -> Iterator[LocalBroker]:
    """The local broker: real handlers over moto, the sandbox's providers registered, its faults allowed."""
    with LocalBroker(seed=True, environment={"SANDBOX_FAULTS": "1"}) as running:
        yield running


@pytest.fixture
def base(local_broker: LocalBroker) -> Iterator[str]:
    """The broker's URL. Nothing is remembered of the Registry, and time and the sandbox's faults are reset afterwards."""
    from broker import clock
    from broker.runtime import runtime
    from sandbox_provider import clock as sandbox_clock

    runtime().forget()
    yield local_broker.url
    clock.offset = 0
    sandbox_clock.offset = 0
