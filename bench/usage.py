"""What each step of a login uses, measured in a run of the whole flow: the figures that docs/cost.md and docs/scale.md rest on.

    make usage        writes bench/usage.json

The broker runs as `make run` does. DynamoDB's units follow from the sizes of the items that were really written and read, by the
published rules; moto's own figure is not used, as it knows neither sizes nor transactions. Log bytes are of the lines that the
functions really wrote.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import requests

from broker import clock, invocation
from broker.limiter import Limiter
from broker.protocol.limits import Limit
from broker.runtime import runtime
from broker.store import aws as store
from broker.store.counters import Counters
from broker.upstream.http import BoundedHttp, _BoundedSocket
from broker_local import lambdas
from broker_local.server import LocalBroker
from broker_testing.journey import Login, TestClient, refresh, register, revoke, userinfo
from sandbox_provider import clock as sandbox_clock

_GOLDEN_RATIO = (1 + math.sqrt(5)) / 2

HERE = Path(__file__).parent
RUNS = 60
COLD_RUNS = 5
PROVIDER = "oidc"
"""With discovery, userinfo, an ID token and a rotating refresh token: the dearest of the sandbox's."""
DUE = 280
"""Seconds after which this provider's access token is to be renewed."""
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@dataclass
class Step:
    """The mean use of one step, warm. Sizes in bytes, cpu in milliseconds of this machine, the median of the runs: what else the
    machine does only adds to it.

    cold_...: what it uses besides where an instance has just started and knows neither Registry nor secrets.
    """

    invocations: float = 0.0
    write_units: float = 0.0
    read_units: float = 0.0
    secret_calls: float = 0.0
    upstream_calls: float = 0.0
    round_trips: float = 0.0
    log_bytes: float = 0.0
    answer_bytes: float = 0.0
    sent_bytes: float = 0.0
    cpu_ms: float = 0.0
    stored_bytes: float = 0.0
    cold_read_units: float = 0.0
    cold_secret_calls: float = 0.0
    cold_round_trips: float = 0.0
    functions: dict[str, float] = field(default_factory=dict)
    runs: list[float] = field(default_factory=list)


class Meter:
    """Watches the AWS calls, the provider calls and the handlers of one broker, and adds up what they use."""

    def __init__(self, broker: LocalBroker) -> None:
        self._broker = broker
        self._table = broker.aws_client("dynamodb")
        self._before: dict[str, int] = {}
        self._own = threading.local()
        self.step = Step()
        for service in ("dynamodb", "secretsmanager"):
            events = store.client(service).meta.events
            events.register("before-call", self._before_call)
            events.register("after-call", self._after_call)
        self._watch_provider()
        self._watch_handlers()
        self._watch_threads()

    def _watch_provider(self) -> None:
        send = BoundedHttp.send

        def counted(http: BoundedHttp, *arguments: Any, **named: Any) -> Any:
            self.step.upstream_calls += 1
            return send(http, *arguments, **named)

        BoundedHttp.send = counted  # type: ignore[method-assign, assignment]
        sendall = _BoundedSocket.sendall

        def weighed(connection: _BoundedSocket, data: Any, flags: int = 0) -> None:
            self.step.sent_bytes += len(data)
            sendall(connection, data, flags)

        _BoundedSocket.sendall = weighed  # type: ignore[method-assign, assignment]

    def _watch_handlers(self) -> None:
        invoke = lambdas.LoadedFunction.invoke

        def timed(loaded: lambdas.LoadedFunction, event: dict[str, Any]) -> object:
            if loaded.function.name == "SandboxFunction":
                return invoke(loaded, event)
            with self._counting():
                answer = invoke(loaded, event)
            self.step.invocations += 1
            function = loaded.function.name
            self.step.functions[function] = self.step.functions.get(function, 0.0) + 1
            self.step.answer_bytes += _answer_bytes(answer) if isinstance(answer, dict) else 0
            return answer

        lambdas.LoadedFunction.invoke = timed  # type: ignore[method-assign, assignment]

    def _watch_threads(self) -> None:
        """What a handler lets others do beside it: the second of two writes at once, and the counters of the rate limits."""
        start_thread, add, make = invocation.start_thread, Limiter._add, Limiter.__init__
        asked = Counter[int]()

        def pick(weight: int) -> int:
            """In the place of chance, of which a few samples say little: multiples of the golden ratio lie evenly, whichever of
            them a step happens to get."""
            asked[weight] += 1
            return int(asked[weight] * _GOLDEN_RATIO % 1 * weight)

        def made(limiter: Limiter, counters: Counters, limits: Mapping[str, Limit]) -> None:
            make(limiter, counters, limits, pick)

        def started(action: Callable[[], None]) -> None:
            def counted() -> None:
                with self._counting():
                    action()

            start_thread(counted)

        def added(limiter: Limiter, *arguments: Any) -> None:
            with self._counting():
                add(limiter, *arguments)

        invocation.start_thread = started
        Limiter._add = added  # type: ignore[method-assign, assignment]
        Limiter.__init__ = made  # type: ignore[method-assign, assignment]

    def _before_call(self, model: Any, params: Mapping[str, Any], **_: object) -> None:
        if model.service_model.service_name != "dynamodb":
            return
        with self._measuring():
            for table, key in _writes(model.name, json.loads(params["body"])):
                self._before[json.dumps(key, sort_keys=True)] = self._size(table, key)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """What this thread does meanwhile counts, but for the meter's own work in it."""
        self._own.seconds = 0.0
        began = time.thread_time()
        try:
            yield
        finally:
            self.step.cpu_ms += (time.thread_time() - began - self._own.seconds) * 1000

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """What is done meanwhile, in a handler's own thread, is not the handler's."""
        began = time.thread_time()
        try:
            yield
        finally:
            self._own.seconds = getattr(self._own, "seconds", 0.0) + time.thread_time() - began

    def _after_call(self, model: Any, **_: object) -> None:
        if model.service_model.service_name == "secretsmanager":
            self.step.secret_calls += 1
        self.step.round_trips += 1

    def count(self, operation: str, body: Mapping[str, Any]) -> None:
        """Add the units of one DynamoDB call that was made (Developer Guide: capacity unit consumption)."""
        with self._measuring():
            self._count(operation, body)

    def _count(self, operation: str, body: Mapping[str, Any]) -> None:
        factor = 2 if operation == "TransactWriteItems" else 1
        for table, key in _writes(operation, body):
            before = self._before.get(json.dumps(key, sort_keys=True), 0)
            after = self._size(table, key)
            self.step.write_units += factor * max(1, math.ceil(max(before, after) / 1024))
            self.step.stored_bytes += after - before
        if operation == "GetItem":
            units = max(1, math.ceil(self._size(body["TableName"], body["Key"]) / 4096))
            self.step.read_units += units if body.get("ConsistentRead") else units / 2
        if operation == "Query":
            pk = body["ExpressionAttributeValues"][":pk"]
            size = sum(self._size(body["TableName"], {"pk": pk, "sk": {"S": part}}) for part in ("grant", "upstream"))
            self.step.read_units += max(1, math.ceil(size / 4096))

    def _size(self, table: str, key: Mapping[str, Any]) -> int:
        found = self._table.get_item(TableName=table, Key=key).get("Item")
        return size_of(found) if found else 0


def _writes(operation: str, body: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(table, key) of every write of a call."""
    if operation == "TransactWriteItems":
        return [_write(part) for entry in body["TransactItems"] for part in entry.values()]
    if operation in {"PutItem", "UpdateItem", "DeleteItem"}:
        return [_write(body)]
    return []


def _answer_bytes(answer: Mapping[str, Any]) -> int:
    """Of the body and the header lines that a function answers with; the API adds some of its own."""
    lines = [f"{name}: {value}\r\n" for name, value in answer.get("headers", {}).items()]
    lines += [f"set-cookie: {cookie}\r\n" for cookie in answer.get("cookies", ())]
    return len(str(answer.get("body", "")).encode()) + sum(len(line.encode()) for line in lines)


def _write(part: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    key = part["Key"] if "Key" in part else {name: part["Item"][name] for name in ("pk", "sk") if name in part["Item"]}
    return part["TableName"], key


def size_of(item: Mapping[str, Any]) -> int:
    """Bytes of an item as DynamoDB counts them: names and values, numbers by digits, 3 for a list or map and 1 for each entry."""
    return sum(len(name.encode()) + _size_of_value(value) for name, value in item.items())


def _size_of_value(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "B":
            return len(content)
        case "N":
            return math.ceil(len(content.strip("-").replace(".", "")) / 2) + 1
        case "L":
            return 3 + sum(1 + _size_of_value(entry) for entry in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size_of_value(entry) for name, entry in content.items())
        case "SS" | "NS" | "BS":
            return sum(len(entry) for entry in content)
    return 1


def measure(broker: LocalBroker) -> dict[str, Step]:
    """The mean use of every step, warm: the Registry and the secrets are remembered, as by an instance under load. And what comes
    besides when they are not.
    """
    meter = Meter(broker)
    _count_calls(meter)
    client = register(broker.url, providers=(PROVIDER,), token_exchange=(PROVIDER,), grant_types=_GRANTS)
    Login(client, PROVIDER).tokens()
    steps: dict[str, Step] = {}
    for _ in range(RUNS):
        _one_run(meter, steps, broker, client)
    cold: dict[str, Step] = {}
    for _ in range(COLD_RUNS):
        _one_run(meter, cold, broker, client, before=lambda: runtime().forget())
    for name, step in steps.items():
        _divide(step, RUNS)
        _divide(cold[name], COLD_RUNS)
        for what in ("read_units", "secret_calls", "round_trips"):
            more = max(0.0, getattr(cold[name], what) - getattr(step, what))
            setattr(step, f"cold_{what}", round(more, 2))
    return steps


_GRANTS = ("authorization_code", "refresh_token", EXCHANGE)


def _one_run(
    meter: Meter,
    steps: dict[str, Step],
    broker: LocalBroker,
    client: TestClient,
    before: Callable[[], object] = lambda: None,
) -> None:
    """A login and what may follow it. `before`: done ahead of every step."""

    def step(name: str, act: Callable[[], requests.Response], status: int) -> requests.Response:
        meter.step = steps.setdefault(name, Step())
        logged = len(broker.log_text())
        before()
        spent = meter.step.cpu_ms
        answer = act()
        meter.step.runs.append(meter.step.cpu_ms - spent)
        if answer.status_code != status:
            raise RuntimeError(f"{name} was answered with {answer.status_code}")
        written = broker.log_text()[logged:].splitlines()
        meter.step.log_bytes += sum(len(line) + 1 for line in written if line.startswith("{"))
        meter.step = Step()
        return answer

    login = Login(client, PROVIDER)
    started = step("authorize", login.start, 303)
    returned = login.at_provider(started)
    login.read_answer(step("callback", partial(login.browser.get, returned), 303))
    tokens = step("token", login.redeem, 200).json()
    step("userinfo", partial(userinfo, broker.url, tokens["access_token"]), 200)
    renewed = step("refresh", partial(refresh, client, tokens["refresh_token"]), 200).json()
    exchange = {"grant_type": EXCHANGE, "subject_token": renewed["access_token"], "audience": PROVIDER}
    exchange |= {"subject_token_type": "urn:ietf:params:oauth:token-type:access_token"}
    post = partial(requests.post, f"{broker.url}/token", data=exchange | client.credentials(), timeout=30)
    step("token_exchange", post, 200)
    clock.offset = sandbox_clock.offset = DUE
    due = step("refresh_upstream", partial(refresh, client, renewed["refresh_token"]), 200).json()
    clock.offset = sandbox_clock.offset = 0
    step("revoke", partial(revoke, client, due["refresh_token"]), 200)


def _count_calls(meter: Meter) -> None:
    """botocore tells the body before a call and the outcome after it; the units are counted when it has been made."""
    bodies: dict[int, tuple[str, dict[str, Any]]] = {}
    events = store.client("dynamodb").meta.events

    def before(model: Any, params: Mapping[str, Any], context: Mapping[str, Any], **_: object) -> None:
        bodies[id(context)] = (model.name, json.loads(params["body"]))

    def after(context: Mapping[str, Any], **_: object) -> None:
        meter.count(*bodies.pop(id(context)))

    events.register("before-call", before)
    events.register("after-call", after)


def _divide(step: Step, runs: int) -> None:
    for name, value in asdict(step).items():
        if isinstance(value, float | int):
            setattr(step, name, round(value / runs, 2))
    step.cpu_ms = round(median(step.runs), 2)
    step.functions = {function: round(count / runs, 2) for function, count in sorted(step.functions.items())}


def main() -> None:
    """Measure and write bench/usage.json."""
    with LocalBroker(seed=True) as broker:
        runtime()
        steps = measure(broker)
    document = {name: asdict(step) for name, step in steps.items()}
    for step in document.values():
        del step["runs"]
    (HERE / "usage.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    sys.stdout.write(f"wrote {HERE.name}/usage.json: {', '.join(document)}\n")


if __name__ == "__main__":
    main()
