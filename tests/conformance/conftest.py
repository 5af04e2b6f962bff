"""Black-box tests of the wire: HTTP and registered clients alone, so that they can be aimed at any running broker.

    pytest tests/conformance                                                     against the local broker
    pytest tests/conformance --broker-url https://b.example --broker-clients clients.json

Every test says what it proves: @pytest.mark.spec("AUTHZ-19", "RFC 9700 2.1"), ids of requirements.toml first, then sections.
Tests that move time, order faults or look inside are marked local_only and skipped elsewhere.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker import clock
from broker.runtime import Runtime
from broker_testing.conformance import Clients, described_clients, registered_clients
from broker_testing.openapi import difference
from broker_testing.wire import tapped
from conformance import compliance


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this suite."""
    group = parser.getgroup("conformance")
    group.addoption("--broker-url", help="issuer URL of a running broker; default: the local one, started here")
    group.addoption("--broker-clients", type=Path, help="JSON file of its clients (see broker_testing/conformance.py)")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line(
        "markers", "spec(*what): requirement ids of requirements.toml, then sections of specifications"
    )
    config.addinivalue_line("markers", "local_only: needs the local broker: moves time, orders faults or looks inside")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder names its requirements; they travel with its report."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.user_properties.append((compliance.PROPERTY, compliance.proved_by(item)))


@pytest.fixture(autouse=True)
def _only_where_it_can_run(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("local_only") and request.config.getoption("--broker-url", default=None):
        pytest.skip("needs the local broker: moves time, orders faults or looks inside")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """A test that is not local_only fails here already, not first at a deployed broker, when it reaches into the local one."""
    if item.get_closest_marker("local_only") or item.config.getoption("--broker-url", default=None):
        return (yield)
    tests_thread = threading.get_ident()

    def refuse_the_test(runtime: Runtime, name: str) -> Any:
        if threading.get_ident() == tests_thread:  # the broker's requests have threads of their own
            pytest.fail(f"reaches into the local broker (runtime().{name}), so it needs @pytest.mark.local_only")
        return object.__getattribute__(runtime, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runtime, "__getattribute__", refuse_the_test)
        outcome = yield
    if clock.offset:
        pytest.fail("moves the local broker's time, so it needs @pytest.mark.local_only")
    return outcome


@pytest.fixture(autouse=True)
def _watched(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the local broker answers is what docs/openapi.yaml says, in every test; the sandbox's switches are for local_only."""
    if request.config.getoption("--broker-url", default=None):
        yield
        return
    with tapped(request.getfixturevalue("local_broker")) as tap:
        yield
    answers = [(one.request.method, one.request.target, one.response) for one in tap.exchanges if not one.is_sandbox]
    assert [problem for answer in answers if (problem := difference(*answer))] == []
    if not request.node.get_closest_marker("local_only"):
        assert [one.request.target for one in tap.exchanges if one.request.path.startswith("/sandbox/_")] == []


@pytest.fixture(scope="session")
def local_clients(request: pytest.FixtureRequest) -> Clients:
    """A client of every kind at the local broker."""
    return registered_clients(request.getfixturevalue("local_broker").url)


@pytest.fixture
def clients(request: pytest.FixtureRequest) -> Clients:
    """The clients of the broker under test, `clients.public` and so on; `clients.base` is its URL."""
    url = request.config.getoption("--broker-url", default=None)
    if url is None:
        request.getfixturevalue("base")  # puts time back after the test
        local: Clients = request.getfixturevalue("local_clients")
        return local
    file = request.config.getoption("--broker-clients")
    return described_clients(url.rstrip("/"), file) if file else Clients(url.rstrip("/"), {})
