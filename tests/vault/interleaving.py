"""Requests that stop before each step of I/O, so that a test decides who goes on, who dies, and whose answer is lost.

Each request runs in a thread of its own, but only one at a time, and only as far as its next step: a call to AWS, a call to the
provider, or a wait. So every interleaving of steps can be had, and comes out the same each time. Time stands still but for
what tests and waits add to it.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from functools import partial
from io import BytesIO
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.client import BaseClient
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError, ReadTimeoutError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import Client

from broker import clock, invocation
from broker.grants import recovery, vault
from broker.runtime import runtime
from broker.store.aws import client as aws_client
from broker.upstream import http
from broker.upstream.http import TransportError, TransportKind
from broker_local.api_gateway import HttpResponse
from broker_local.template import REGION
from broker_testing.crashes import one_after_the_other

Result = TypeVar("Result")

EPOCH = 1_800_000_000
"""Where time begins."""
READS = frozenset({"Query", "GetItem", "GetQueueAttributes", "ReceiveMessage", "wait"})
SEAT = 60
"""Seconds of real time after which a request that does not come to its next step is stuck."""


class Order(Enum):
    """What becomes of a step."""

    GO = "is done"
    TWICE = "is done, its first answer is lost, and the AWS client repeats it"
    KILL_BEFORE = "is never done, as the function dies"
    KILL_AFTER = "is done, and the function dies"
    FAIL_BEFORE = "is refused"
    FAIL_AFTER = "is done, and the answer is lost"


class Killed(BaseException):
    """The function is gone. No handler of errors may see it."""


class Request:
    """A request under way.

    Attributes:
        at: the step before which it waits, empty when it is over.
        answer: None if it was killed.
        changed: its last step may have written something.
        lost: what it had in memory is gone, or an answer of the provider is, or not even the rescue queue took it.
        unsafe: it has used a refresh token of the provider, and what it got for it is neither in the table nor in the queue.
        outlived: it stood still for longer than a lease lasts, so whoever came after it could not know that it lives.
        waits_until: when its wait is over.
        went_wrong: not every step simply went well.
    """

    def __init__(self, kind: str, send: Callable[[], HttpResponse]) -> None:
        self.kind = kind
        self.at = ""
        self.answer: HttpResponse | None = None
        self.killed = False
        self.changed = False
        self.lost = False
        self.unsafe = False
        self.outlived = False
        self.began, self.ended = next(_moments), 0
        self.waits_until = 0.0
        self.went_wrong = False
        self._send = send
        self._order = Order.GO
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self._error: BaseException | None = None
        threading.Thread(target=self._run, daemon=True).start()
        self._wait()

    @property
    def is_over(self) -> bool:
        """Whether it was answered or killed."""
        return self.at == ""

    def step(self, order: Order = Order.GO) -> None:
        """Do the step that it waits before, and go on to the next one. Raises what no request may end with."""
        self._order = order
        self.went_wrong = self.went_wrong or order is not Order.GO
        in_doubt = order is Order.FAIL_AFTER and self.at.startswith("provider")
        not_kept = order in (Order.FAIL_BEFORE, Order.FAIL_AFTER) and self.at == "SendMessage"
        self.lost = self.lost or in_doubt or not_kept or order in (Order.KILL_BEFORE, Order.KILL_AFTER)
        self.changed = self.at not in READS and not self.at.startswith("provider")
        self._go.release()
        self._wait()

    def abandon(self) -> None:
        """Let its thread end, if it has not."""
        if not self.is_over:
            self.step(Order.KILL_BEFORE)

    def _wait(self) -> None:
        assert self._stopped.acquire(timeout=SEAT), f"{self.kind} is stuck after {self.at}"
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        _current.set(self)
        try:
            self.answer = self._send()
        except Killed:
            pass
        except BaseException as error:  # it belongs to the test
            self._error = error
        self.at = ""
        self.ended = next(_moments)
        self._stopped.release()

    def overlaps(self, other: Request) -> bool:
        """Whether the two were under way at the same time."""
        return not (0 < self.ended < other.began or 0 < other.ended < self.began)

    def reach(self, at: str, effect: Callable[[], Result], failures: Mapping[Order, Exception]) -> Result:
        """Stop before a step, then do with it as was ordered."""
        if self.killed:
            raise Killed
        self.at = at
        self._stopped.release()
        self._go.acquire()
        order = self._order
        if order is Order.KILL_BEFORE:
            self._die()
        if order is Order.FAIL_BEFORE and order in failures:
            raise failures[order]
        if order is Order.TWICE:
            effect()
        try:
            return effect()
        finally:
            if order is Order.KILL_AFTER:
                self._die()
            if order is Order.FAIL_AFTER and order in failures:
                raise failures[order]

    def _die(self) -> None:
        self.killed = True
        raise Killed


_moments = itertools.count(1)
_current: ContextVar[Request | None] = ContextVar("request", default=None)


def current() -> Request | None:
    """The request that this thread serves."""
    return _current.get()


def reach(at: str, effect: Callable[[], Result], failures: Mapping[Order, Exception]) -> Result:
    """A step of the current request; of none, it is done at once."""
    request = _current.get()
    return effect() if request is None else request.reach(at, effect, failures)


def provider_failures() -> dict[Order, Exception]:
    """What a call to a provider ends with when it is not answered."""
    return {
        Order.FAIL_BEFORE: TransportError(TransportKind.UNREACHABLE, sent=False),
        Order.FAIL_AFTER: TransportError(TransportKind.TIMEOUT, sent=True),
    }


class RescueQueue:
    """SQS as far as the broker uses it, by the clock of the test. `visibility`: seconds that a message is kept from others
    once it was received.

    A standard queue: it gives as many as it likes, in any order, and now and then one that was deleted. `dice` decides.
    """

    def __init__(self, visibility: float) -> None:
        self.dice = random.Random(0)
        self._visibility = visibility
        self._bodies: dict[str, str] = {}
        self._hidden_until: dict[str, float] = {}
        self._deleted: set[str] = set()
        self._sent = 0

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """One call of the SQS client."""
        if operation == "SendMessage":
            self._sent += 1
            receipt = f"message-{self._sent}"
            self._bodies[receipt], self._hidden_until[receipt] = arguments["MessageBody"], 0
            return {"MessageId": receipt}
        if operation == "DeleteMessage":
            self._delete(arguments["ReceiptHandle"])
            return {}
        if operation == "GetQueueAttributes":
            hidden = sum(until > clock.offset for until in self._hidden_until.values())
            return {"Attributes": {"ApproximateNumberOfMessagesNotVisible": str(hidden)}}
        assert operation == "ReceiveMessage", operation
        seen = [receipt for receipt in self._bodies if self._hidden_until[receipt] <= clock.offset]
        seen = self.dice.sample(seen, min(len(seen), self.dice.choice((1, 1, 2, arguments["MaxNumberOfMessages"]))))
        self._hidden_until |= dict.fromkeys(seen, clock.offset + self._visibility)
        return {"Messages": [{"Body": self._bodies[receipt], "ReceiptHandle": receipt} for receipt in seen]}

    def _delete(self, receipt: str) -> None:
        """For good; or so that it comes once more, after some time or at once."""
        if receipt in self._bodies and receipt not in self._deleted and self.dice.random() < 0.25:
            self._deleted.add(receipt)
            self._hidden_until[receipt] = 0
            return
        self._bodies.pop(receipt, None)
        self._hidden_until.pop(receipt, None)


class _DirectSession:
    """What botocore sends its requests through: to moto in this process, without a socket, as thousands are sent."""

    def __init__(self) -> None:
        self._moto = Client(DomainDispatcherApplication(create_backend_app))

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """One HTTP request."""
        headers = {
            name: value.decode() if isinstance(value, bytes) else str(value) for name, value in request.headers.items()
        }
        path = urlsplit(request.url).path
        answer = self._moto.open(path, method=request.method, headers=headers, data=request.body)
        return AWSResponse(request.url, answer.status_code, HTTPHeaders.from_pairs(answer.headers), _Raw(answer.data))


@dataclass(frozen=True)
class Stored:
    """A login as it lies in the table, as far as a model needs it. Times are epoch seconds."""

    stage: str
    generation: int
    rotated_at: int
    expires_at: int
    end_reason: str


def stored(grant_id: str) -> Stored | None:
    """The login as moto has it in memory, without a call: models look after every step."""
    table = dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables[runtime().settings.grants_table]
    item = table.get_item(DynamoType({"S": grant_id}), DynamoType({"S": "grant"}))
    if item is None:
        return None
    values = {name: attribute.value for name, attribute in item.attrs.items()}
    return Stored(
        stage=values["stage"],
        generation=int(values.get("generation", 0)),
        rotated_at=int(values.get("rotated_at", 0)),
        expires_at=int(values["expires_at"]),
        end_reason=values.get("end_reason", ""),
    )


class _Raw(BytesIO):
    def stream(self) -> Iterator[bytes]:
        yield self.read()


@contextmanager
def stepwise(queue: RescueQueue) -> Iterator[None]:
    """While this lasts, every `Request` stops at its steps, time stands still, and `queue` is all there is of SQS."""
    client: Any = BaseClient  # the type stubs leave out the one method through which every call goes
    call = client._make_api_call
    registry = runtime().settings.registry_table

    def calling(self: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
        service = self.meta.service_model.service_name
        effect = partial(call, self, operation, arguments)
        if service == "sqs":
            effect = partial(queue.call, operation, arguments)
        elif service != "dynamodb" or arguments.get("TableName") == registry:
            return effect()  # remembered by instances that have been up for a minute
        name = "WriteLink" if ":sealed" in arguments.get("ExpressionAttributeValues", {}) else operation
        return reach(name, partial(_noting_safety, name, effect), _aws_failures(operation))

    def wait(seconds: float) -> None:
        until = clock.offset + seconds
        request = current()
        assert request is not None
        request.waits_until = until
        reach("wait", lambda: setattr(clock, "offset", max(clock.offset, until)), {})

    with ExitStack() as stack:
        for owner, name, value in (
            (BaseClient, "_make_api_call", calling),
            (aws_client("dynamodb")._endpoint, "http_session", _DirectSession()),
            (vault, "sleep", wait),
            (vault, "POLL_SECONDS", 0.5),
            (clock, "machine", lambda: float(EPOCH)),
            (clock, "offset", 0.0),
            (clock, "hear", lambda *_: None),
            (http, "time", SimpleNamespace(monotonic=lambda: clock.offset)),
            # Bounds in real time, and the thread that keeps a lease, have no meaning while time stands still: here no
            # request stands still for as long as a lease, unless it is to lose it (`outlived`).
            (invocation, "within", lambda _seconds, action: action()),
            (recovery, "within", lambda _seconds, action: action()),
            (invocation, "start_thread", lambda _action: None),
            (invocation, "at_once", one_after_the_other),
            (invocation, "seconds_left", lambda: 1000.0),
        ):
            stack.enter_context(patch.object(owner, name, value))
        yield


def _noting_safety(name: str, effect: Callable[[], Result]) -> Result:
    result = effect()
    request = current()
    if request is not None and name in {"WriteLink", "SendMessage"}:
        request.unsafe = False
    return result


def _aws_failures(operation: str) -> dict[Order, Exception]:
    error: Any = {
        "Error": {"Code": "InternalServerError", "Message": "ordered by a test"},
        "ResponseMetadata": {"HTTPStatusCode": 500},
    }
    return {
        Order.FAIL_BEFORE: ClientError(error, operation),
        Order.FAIL_AFTER: ReadTimeoutError(endpoint_url="https://aws.example"),
    }
