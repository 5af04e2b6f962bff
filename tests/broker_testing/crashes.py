"""Crashes on order: every call that a function makes to the outside is a step, and each step can go wrong in each way.

Works on the handlers of a LocalBroker in this process: what the sandbox and the test itself call is not counted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from threading import Lock
from typing import Any, TypeVar

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError
from moto.dynamodb.models import dynamodb_backends
from moto.sqs.models import sqs_backends

from broker import invocation
from broker.runtime import runtime
from broker.upstream.http import BoundedHttp, Deadline, TransportError, TransportKind, UpstreamRequest, UpstreamResponse
from broker_local import privileges
from broker_local.lambdas import LoadedFunction

Result = TypeVar("Result")
PROVIDER = "provider"


class Fault(Enum):
    """What goes wrong with a step."""

    DIES_BEFORE = "the function dies before it"
    DIES_AFTER = "the function dies after it"
    DOWN = "the service is down from there on"
    ANSWER_LOST = "its answer is lost"
    TWICE = "its answer is lost and it is sent again"


class Killed(BaseException):
    """The function has died: no handler of errors sees it."""


@dataclass
class Steps:
    """The steps that were taken since the last `arm`, and the fault that waits among them.

    arm(None) only records. `met`: whether the fault was reached.
    """

    taken: list[str] = field(default_factory=list)
    met: bool = False
    _number: int | None = None
    _fault: Fault | None = None
    _down: str | None = None
    _lock: Lock = field(default_factory=Lock)

    def arm(self, number: int | None, fault: Fault | None = None) -> None:
        """From now on, the step with this number (from 0) meets the fault."""
        self.taken, self.met, self._number, self._fault, self._down = [], False, number, fault, None

    def disarm(self) -> None:
        """All is well again, and nothing is recorded."""
        self.arm(None)

    def take(self, service: str, name: str, act: Callable[[], Result]) -> Result:
        """One step."""
        with self._lock:
            number = len(self.taken)
            self.taken.append(name)
            if self._down == service:
                raise _down(service, name)
            fault = self._fault if number == self._number else None
            self.met = self.met or fault is not None
            if fault is Fault.DOWN:
                self._down = service
                raise _down(service, name)
        if fault is Fault.DIES_BEFORE:
            raise Killed
        if fault is None:
            return act()
        with suppress(ClientError):  # a refusal is an answer, and lost like any other
            act()
        if fault is Fault.DIES_AFTER:
            raise Killed
        if fault is Fault.ANSWER_LOST:
            raise _lost(service)
        return act()


def _down(service: str, name: str) -> Exception:
    if service == PROVIDER:
        return TransportError(TransportKind.UNREACHABLE, sent=False, detail="ordered by a test")
    return ClientError({"Error": {"Code": "InternalServerError", "Message": "ordered by a test"}}, name)


def _lost(service: str) -> Exception:
    if service == PROVIDER:
        return TransportError(TransportKind.TIMEOUT, sent=True, detail="ordered by a test")
    return ReadTimeoutError(endpoint_url=f"https://{service}.example")


@contextmanager
def recorded() -> Iterator[Steps]:
    """While this lasts, every step of a broker function goes through the Steps; a killed function answers as Lambda does."""
    steps = Steps()
    base: Any = BaseClient
    call, send, invoke = base._make_api_call, BoundedHttp.send, LoadedFunction.invoke

    def counted_call(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if not _is_of_broker():
            return call(self, operation, arguments)
        service = self.meta.service_model.service_name
        return steps.take(service, _name(operation, arguments), lambda: call(self, operation, arguments))

    def counted_send(self: BoundedHttp, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        name = f"{PROVIDER} {request.url.partition('?')[0].rpartition('/')[2]}"
        return steps.take(PROVIDER, name, lambda: send(self, request, deadline))

    def dying(self: LoadedFunction, event: dict[str, Any]) -> object:
        try:
            return invoke(self, event)
        except Killed:
            raise RuntimeError("the function has died") from None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "_make_api_call", counted_call)
        patch.setattr(BoundedHttp, "send", counted_send)
        patch.setattr(LoadedFunction, "invoke", dying)
        patch.setattr(invocation, "at_once", one_after_the_other)
        yield steps


def one_after_the_other(beside: Callable[[], None], action: Callable[[], None]) -> None:
    """What is done at once, in an order that is always the same."""
    beside()
    action()


def _is_of_broker() -> bool:
    function = privileges._running.get()
    return function is not None and function.name != "SandboxFunction"


def _name(operation: str, arguments: dict[str, Any]) -> str:
    settings = runtime().settings
    names = {settings.grants_table: "Grants", settings.registry_table: "Registry", settings.keys_secret: "keys"}
    if "TransactItems" in arguments:
        return f"{operation} Grants"
    where = arguments.get("TableName") or arguments.get("SecretId")
    if where is None:
        return operation
    return f"{operation} {names.get(where, 'provider secret')}"


@dataclass(frozen=True)
class Snapshot:
    """What the tables of logins, the broker's and the sandbox's, and the rescue queue held at a moment."""

    items: dict[str, Any]
    messages: dict[str, Any]

    @classmethod
    def take(cls) -> Snapshot:
        """As it is now."""
        items = {name: copy.deepcopy(table.items) for name, table in _tables()}
        return cls(items, {queue.name: copy.deepcopy(queue._messages) for queue in _queues()})

    def restore(self) -> None:
        """As it was then."""
        for name, table in _tables():
            table.items = copy.deepcopy(self.items[name])
        for queue in _queues():
            queue._messages = copy.deepcopy(self.messages.get(queue.name, []))
            queue.pending_messages.clear()


def messages_come_back() -> None:
    """The visibility timeout passes: what somebody received and did not delete can be received again."""
    for queue in _queues():
        for message in queue._messages:
            message.visible_at = 0


def forget_messages() -> None:
    """The queues are empty again."""
    for queue in _queues():
        queue._messages = []


def waiting_messages() -> int:
    """How many messages the queues hold."""
    return sum(len(queue._messages) for queue in _queues())


def _tables() -> Iterator[tuple[str, Any]]:
    for account in dynamodb_backends.values():
        for backend in account.values():
            for name, table in backend.tables.items():
                if name.endswith(("GrantsTable", "SandboxTable")):
                    yield name, table


def _queues() -> Iterator[Any]:
    for account in sqs_backends.values():
        for backend in account.values():
            yield from backend.queues.values()
