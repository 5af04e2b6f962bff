"""What counts once: names in the Grants table that are used up by one conditional write."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

import pytest

from broker import clock
from broker.runtime import runtime
from broker.store.aws import client
from broker.store.grants import USED_MARGIN, Grants
from broker_testing.parallel import at_once

pytestmark = pytest.mark.usefixtures("base")


def test_once_and_after_its_end_again() -> None:
    grants, name, end = runtime().grants, secrets.token_hex(8), clock.now() + 10
    assert grants.use_once(name, end)
    assert not grants.use_once(name, end)
    assert grants.use_once(name + "x", end)
    clock.offset = 11
    assert not grants.use_once(name, end), "whoever found it good just before may come a little after its end"
    clock.offset = 11 + USED_MARGIN
    assert grants.use_once(name, end + 600), "DynamoDB deletes late, so the end is part of the condition"


def test_of_many_at_the_same_moment_one() -> None:
    name, end = secrets.token_hex(8), clock.now() + 60
    assert sorted(at_once([partial(runtime().grants.use_once, name, end)] * 20)) == [False] * 19 + [True]


class _Repeating:
    """A client that loses the first answer of every write, and repeats the write as botocore does."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def put_item(self, **arguments: Any) -> Any:
        self._real.put_item(**arguments)
        return self._real.put_item(**arguments)


def test_a_repeated_write_finds_its_own_work() -> None:
    grants = Grants(_Repeating(client("dynamodb")), runtime().settings.grants_table)
    name = secrets.token_hex(8)
    assert grants.use_once(name, clock.now() + 60)
    assert not runtime().grants.use_once(name, clock.now() + 60)
