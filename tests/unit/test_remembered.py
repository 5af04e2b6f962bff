"""What an instance remembers by names that strangers choose has an end."""

from __future__ import annotations

from typing import Any

import pytest

from broker.protocol.clients import Client
from broker.remembered import remember
from broker.store import registry
from broker.store.registry import Registry, client_item


class Table:
    """Has every client that is asked for."""

    def __init__(self) -> None:
        self.reads: list[str] = []

    def get_item(self, **asked: Any) -> dict[str, Any]:
        client_id = asked["Key"]["pk"]["S"].removeprefix("client#")
        self.reads.append(client_id)
        return {"Item": client_item(Client(client_id=client_id, name="One of many", redirect_uris=(), dynamic=True))}


def test_the_oldest_goes_where_there_are_enough() -> None:
    memory: dict[str, int] = {}
    for number, name in enumerate("abac"):
        remember(memory, name, number, most=2)
    assert memory == {"a": 2, "c": 3}


def test_strangers_clients_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may register clients, where the operator lets him, and name one after the other."""
    monkeypatch.setattr(registry, "REMEMBERED", 20)
    table = Table()
    known = Registry(table, "registry", cache_seconds=60)
    for number in range(100):
        found = known.client(f"dyn_{number}")
        assert found is not None
        assert found.client_id == f"dyn_{number}"
    assert len(known._cache) == 20
    table.reads.clear()
    for name in ("dyn_99", "dyn_80", "dyn_79"):
        assert known.client(name) is not None
    assert table.reads == ["dyn_79"], "the newest are still there"
