"""Nothing is lost at any crash point: each step of each operation, failed in each way, and what the client can do then.

docs/crash-points.md says what comes of each; here it is tried, at a provider that forgives nothing, and compared.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from broker import clock
from broker.grants import vault
from broker.runtime import runtime
from broker.store import rescue
from broker_local.server import PROJECT
from broker_testing.crashes import PROVIDER, Fault, Steps, messages_come_back, recorded
from broker_testing.trouble import pass_time
from sandbox_provider import clock as sandbox_clock
from vault.operations import AFTER_LEASE, OPERATIONS, Prepared

pytestmark = pytest.mark.timeout(600)  # hundreds of requests on a machine that may be busy

DOCUMENT = PROJECT / "docs" / "crash-points.md"
GOES_ON, REPEAT, SIGN_IN, NONE = "goes on", "repeat", "sign in", "–"
TO_QUEUE = ("SendMessage", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
ROW = re.compile(r"^\| *(.+?) *\|$", re.MULTILINE)


@dataclass(frozen=True)
class Tried:
    """One line of a table: a step, and what comes of each fault."""

    step: str
    outcomes: tuple[str, ...]

    @property
    def line(self) -> str:
        """As the document has it."""
        return " | ".join((self.step, *self.outcomes))


@pytest.fixture
def steps(base: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    monkeypatch.setattr(vault, "sleep", lambda _seconds: None)
    monkeypatch.setattr(rescue, "WAIT_SECONDS", 0)
    with recorded() as recording:
        yield recording


def at_the_moment(prepared: Prepared) -> None:
    """Everything as it was when the request was ready, the time too, and the function cold."""
    prepared.snapshot.restore()
    clock.offset = sandbox_clock.offset = prepared.offset - (time.time() - prepared.at)
    runtime().forget()


def outcome(prepared: Prepared, steps: Steps, number: int, fault: Fault) -> str:
    """What comes of the fault. Asserts that the answers say so, and that what is left is worth something."""
    at_the_moment(prepared)
    steps.arm(number, fault)
    response = prepared.act()
    met = steps.met
    steps.disarm()
    assert met, "the fault was not reached"
    if prepared.is_done(response):
        prepared.prove(response)
        return GOES_ON
    assert_answered(response, died=fault in (Fault.DIES_BEFORE, Fault.DIES_AFTER))
    messages_come_back()
    pass_time(AFTER_LEASE)
    again = prepared.act()
    if prepared.is_done(again):
        prepared.prove(again)
        return REPEAT
    assert_definite(again)
    return SIGN_IN


def assert_answered(response: requests.Response, *, died: bool) -> None:
    """A function that lives says that the request may be repeated, or that the person has to sign in; and never fails itself."""
    if died:
        assert response.status_code == 500
    elif response.status_code == 303:
        assert "error=temporarily_unavailable" in response.headers["location"]
    elif response.status_code == 503:
        assert int(response.headers["retry-after"]) >= 1
        assert "temporarily_unavailable" in response.text
    elif response.status_code in (502, 504):  # userinfo, when the provider itself could not be asked
        assert response.json()["error"] == "temporarily_unavailable"
    else:
        assert_definite(response)


def assert_definite(response: requests.Response) -> None:
    """Nothing else is possible, and the answer says so."""
    if response.headers["content-type"].startswith("text/html"):
        assert response.status_code == 400
        assert "Please start again" in response.text
    else:
        assert (response.status_code, response.json()["error"]) in ((400, "invalid_grant"), (401, "invalid_token"))


def tried(prepared: Prepared, steps: Steps) -> list[Tried]:
    """The whole table of an operation."""
    at_the_moment(prepared)
    steps.arm(None)
    response = prepared.act()
    assert prepared.is_done(response), response.text
    names = list(steps.taken)
    steps.disarm()
    prepared.prove(response)
    table = []
    for number, name in enumerate(names):
        faults = [fault for fault in Fault if fault is not Fault.TWICE or is_repeated_by_sdk(name)]
        outcomes = [outcome(prepared, steps, number, fault) for fault in faults]
        table.append(Tried(name, (*outcomes, *[NONE] * (len(Fault) - len(faults)))))
    return [*table, Tried("the answer vanishes", (after_vanished_answer(prepared),))]


def is_repeated_by_sdk(step: str) -> bool:
    """Calls to a provider are repeated by rules of their own, and calls to the queue by nobody."""
    return not step.startswith((PROVIDER, *TO_QUEUE))


def test_the_sdk_repeats_no_call_to_the_queue(base: str) -> None:
    """To a second attempt at receiving, what the first one received would be invisible."""
    assert runtime().rescue._sqs().meta.config.retries["total_max_attempts"] == 1


def after_vanished_answer(prepared: Prepared) -> str:
    """All was well, but the client heard nothing of it and repeats its request."""
    at_the_moment(prepared)
    assert prepared.is_done(prepared.act())
    again = prepared.act()
    if prepared.is_done(again):
        prepared.prove(again)
        return REPEAT
    assert_definite(again)
    return SIGN_IN


def documented(operation: str) -> list[str]:
    """The lines of the operation's table in the document, without its head and without the words on what a step is for."""
    section = DOCUMENT.read_text("utf-8").partition(f"\n### {operation}\n")[2].partition("\n#")[0]
    rows = [[cell.strip() for cell in row.split("|")] for row in ROW.findall(section)][2:]
    return [" | ".join(filter(None, cells[:-1])) for cells in rows]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_comes_of_each_fault_is_what_the_document_says(base: str, steps: Steps, operation: str) -> None:
    table = [entry.line for entry in tried(OPERATIONS[operation](base), steps)]
    assert documented(operation) == table, "\n" + "\n".join(f"| {line} | |" for line in table)


def test_the_document_has_these_operations_and_no_others() -> None:
    assert re.findall(r"^### (.+)$", DOCUMENT.read_text("utf-8"), re.MULTILINE) == list(OPERATIONS)
