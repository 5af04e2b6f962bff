"""One deployment for the whole run, on which the files work one after another, in the order of their numbers.

`make test-aws` runs them, in a network of their own (private_network). What the emulator is, and what it is not: docs/testing.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aws.deployment import Deployment, Machine, copy_of_the_build, fresh_account


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the first deployment is made from."""
    return copy_of_the_build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Deployment]:
    """The stack, deployed; its providers are registered."""
    try:
        machine = Machine.from_environment(tmp_path_factory.mktemp("account"))
    except KeyError:
        pytest.skip("needs a network of its own; `make test-aws` makes it")
    with fresh_account(machine) as account, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("REQUESTS_CA_BUNDLE", str(account.certificates.authority))
        account.deploy(build)
        for name, value in account.own_view().items():
            patch.setenv(name, value)
        account.first_steps()
        yield account


@pytest.fixture
def base(deployment: Deployment) -> str:
    """The deployed broker's URL."""
    return deployment.base
