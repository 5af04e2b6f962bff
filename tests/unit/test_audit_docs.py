"""docs/audit-events.md is the operator's registry of events: it must have each event with exactly its fields."""

import re
from pathlib import Path

from broker.audit import EVENTS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "audit-events.md"
ROW = re.compile(r"^\| `([a-z_.]+)` \| ([^|]*) \| [^|]+ \|$", re.MULTILINE)


def test_every_event_is_documented_with_its_fields() -> None:
    documented = {
        name: frozenset(re.findall(r"`([a-z_]+)`", fields)) for name, fields in ROW.findall(DOCUMENT.read_text())
    }
    assert documented == EVENTS
