"""docs/providers.md explains each row and kind that a line of the log may have, and says what a refresh is answered for it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from broker.upstream.failures import FailureKind, UpstreamFailure, answer_in_refresh
from broker_local.server import PROJECT

MADE = re.compile(r"FailureKind\.(\w+),\s*(?:row=)?(\d+)(?: if [^,()]+ else (\d+))?")
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
OF_THE_PROFILE = {"TOKEN_REFUSED", "TOKEN_OR_CLIENT_REFUSED", "FORBIDDEN", "NO_SUBJECT"}


def made() -> set[tuple[int, str]]:
    """Each row with each kind that some line of the code gives it."""
    found = set()
    for path in sorted((PROJECT / "layers" / "broker" / "broker").rglob("*.py")):
        for kind, *rows in MADE.findall(path.read_text("utf-8")):
            found |= {(int(row), kind) for row in rows if row}
    return found


def documented() -> Iterator[tuple[int, str, str]]:
    """Row, kind, and what a refresh is answered."""
    section = (PROJECT / "docs" / "providers.md").read_text("utf-8").partition("### Rows in the log\n")[2]
    for row, kinds, answer in ROW.findall(section):
        yield from ((int(row), kind, answer) for kind in re.findall(r"`([A-Z_]+)`", kinds))


def test_every_row_is_explained() -> None:
    assert len(made()) > 15
    assert {(row, kind) for row, kind, _ in documented()} == made()
    assert {kind for _, kind, _ in documented()} == {kind.name for kind in FailureKind}


@pytest.mark.parametrize(("row", "kind", "answer"), [entry for entry in documented() if entry[1] not in OF_THE_PROFILE])
def test_what_a_refresh_is_answered(row: int, kind: str, answer: str) -> None:
    failure = UpstreamFailure(FailureKind[kind], row=row, error="invalid_scope" if row == 11 else None)
    given = answer_in_refresh(failure)
    assert str(given.status) in answer
    assert ("the login ends" in answer) is given.grant_is_dead
    assert ("alarm" in answer) is failure.alarm


def test_the_runbook_of_the_alarm_has_every_kind_that_sets_it_off() -> None:
    text = (PROJECT / "docs" / "runbooks" / "upstream-misconfigured.md").read_text("utf-8")
    alarming = {kind.name for kind in FailureKind if UpstreamFailure(kind, row=0).alarm}
    for part in (text.partition("## What to do")[0], text.partition("## What to do")[2]):
        assert {kind.name for kind in FailureKind if f"`{kind.name}`:" in part} == alarming
