"""A day of faults: clients use a broker while one thing after another fails, and no login may be lost by it.

    make fault-day        prints a table; the exit status is 1 if a login was lost or an answer was not one that is documented

The broker runs as `make run` does, in this process, over emulators of DynamoDB, Secrets Manager and SQS. Time is virtual: nobody
sleeps, and a wait moves the clocks of the broker and the provider. Which calls of the tables fail, and who does what when, comes
from a seed; only which of several requests under way meets a failing call does not. docs/fault-day.md explains the table.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError

from broker import clock
from broker.grants import vault
from broker.key_lives import LEAD
from broker.runtime import runtime
from broker.store import rescue
from broker.upstream.http import BoundedHttp, Deadline, TransportError, TransportKind, UpstreamRequest, UpstreamResponse
from broker_cli import main as command
from broker_local import privileges
from broker_local.server import LocalBroker
from broker_testing import key_rotation
from broker_testing.crashes import messages_come_back
from broker_testing.journey import TestClient, register
from broker_testing.ports import free_port
from broker_testing.proxy import EXCHANGING
from broker_testing.sandbox import change_secrets, forget_faults, order_fault
from broker_testing.trouble import pass_time
from good_clients import TICK, Heard, Person, end_of_tick

SEED = 20260729
THREADS = 6
PROVIDERS = ("openid",) * 6 + ("redbooth",) * 2 + ("infolobby",) * 2
"""Of the people who are there from the beginning. At openid, which meets the faults, an access token lives for 5 minutes, and a
refresh token works once: one that comes again ends the grant."""
NEWCOMERS = ("openid", "redbooth")
"""Who signs in besides, in every phase."""
HIT = "openid"
"""The provider that fails."""
REFUSED, LOST = 0.2, 0.1
"""Shares of the calls of the tables that are refused, and that are done but whose answer never comes."""
PATIENCE = 1800
"""Seconds after the end of a fault within which everybody must be served."""
NEW_SECRET = "the-secret-that-the-provider-made-today"

Failure = tuple[str, int, str]
Act = Callable[["Day"], object]
TU = "temporarily_unavailable"
_ASK_AGAIN: frozenset[Failure] = frozenset((step, 503, TU) for step in ("code", "refresh", "userinfo", "exchange"))
_PAGES: frozenset[Failure] = frozenset({("authorize", 503, TU), ("callback", 503, TU)})
_TO_CLIENT: frozenset[Failure] = frozenset({("authorize", 303, TU), ("callback", 303, TU)})
ON_REPETITION: frozenset[Failure] = frozenset({("callback", 400, "invalid_request"), ("code", 400, "invalid_grant")})
"""In a sign-in, when a repetition finds its state or code used up: the person begins again (docs/crash-points.md)."""
OURS = _ASK_AGAIN | _PAGES | _TO_CLIENT | ON_REPETITION
"""What clients may be told while the tables or Secrets Manager fail."""
MISCONFIGURED = _ASK_AGAIN | {("callback", 303, "server_error")}
"""... while the provider refuses the broker's own credentials."""
PROVIDER_DOWN = _ASK_AGAIN | {("callback", 303, TU), ("userinfo", 502, TU), ("userinfo", 504, TU)}
NOTHING: frozenset[Failure] = frozenset()


@dataclass(frozen=True)
class Phase:
    """A part of the day. seconds: its length; fault: what fails during it; before, midway: what the operator does at its begin
    and half-way; failures: what clients may be told; provider: the only one whose people may be told so, "" for all."""

    name: str
    seconds: int = 300
    fault: Callable[[Day], AbstractContextManager[object]] | None = None
    before: Act | None = None
    midway: Act | None = None
    failures: frozenset[Failure] = NOTHING
    provider: str = ""

    def explains(self, heard: Heard) -> bool:
        """Whether this answer is one that is documented for what happens in this phase."""
        failure = (heard.step, heard.status, heard.error)
        if self.provider not in ("", heard.provider) or failure not in self.failures:
            return False
        if failure in ON_REPETITION:
            return heard.repeats
        return heard.retry_after is not None or heard.status not in (429, 503)


@dataclass
class Row:
    """What came of a phase. unexplained: failures that are not documented for it; sign_ins: completed."""

    phase: Phase
    requests: int = 0
    succeeded: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    unexplained: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    begun_again: int = 0
    sign_ins: int = 0
    lost: int = 0
    was_met: bool = True

    def count(self, heard: Heard) -> None:
        """One more answer."""
        self.requests += 1
        self.repeated += heard.repeats
        if heard.error == "":
            self.succeeded += 1
            self.sign_ins += heard.step == "code"
            return
        self.failures[heard.kind] += 1
        self.lost += heard.ends_login
        self.begun_again += heard.begins_again
        if not self.phase.explains(heard):
            self.unexplained[f"{heard.step} at {heard.provider}: {heard.kind}"] += 1

    @property
    def is_good(self) -> bool:
        """Whether the fault happened, was explained to everybody, and cost nobody his login."""
        return self.was_met and not self.lost and not self.unexplained


@dataclass
class Day:
    """The broker, the people, and the table so far."""

    broker: LocalBroker
    chance: random.Random
    people: list[Person] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    met: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _clients: dict[str, tuple[TestClient, ...]] = field(default_factory=dict, repr=False)

    def invite(self, providers: tuple[str, ...], within: int) -> None:
        """These people sign in within so many seconds."""
        for number, provider in enumerate(providers):
            clients = self._clients.setdefault(provider, self._registered(provider))
            due = end_of_tick(clock.now() + self.chance.randrange(within))
            chance = random.Random(self.chance.random())  # noqa: S311 - chance of a model, not of a secret
            self.people.append(Person(clients[number % len(clients)], provider, chance, due))

    def _registered(self, provider: str) -> tuple[TestClient, ...]:
        """A public client of the provider and a confidential one."""
        attributes = EXCHANGING | {"providers": (provider,), "token_exchange": (provider,)}
        return tuple(register(self.broker.url, secret=secret, **attributes) for secret in (False, True))

    def live_through(self, phase: Phase) -> None:
        """One phase, and after its fault as long as it takes until everybody is served."""
        row = Row(phase)
        self.rows.append(row)
        self.met = 0
        if phase.before is not None:
            phase.before(self)
        self.invite(NEWCOMERS, phase.seconds)
        with phase.fault(self) if phase.fault is not None else nullcontext():
            self._until(clock.now() + phase.seconds // 2, row)
            if phase.midway is not None:
                phase.midway(self)
            self._until(clock.now() + phase.seconds // 2, row)
        self._settle(row)
        row.was_met = phase.fault is None or self.met > 0 or bool(row.failures)

    def last_look(self) -> None:
        """Everybody's login once more, when the providers' tokens are due: it refreshes, and what it gives works."""
        row = Row(Phase("every login once more"))
        self.rows.append(row)
        for step in ("refresh", "userinfo"):
            pass_time(7300 if step == "refresh" else TICK)
            for person in self.people:
                if not person.is_signed_in:
                    row.lost += not person.lost  # who was never let in; the others are counted where it happened
                    person.lost = True
                person.step = step
            self._send([person for person in self.people if person.is_signed_in], row)

    def _until(self, end: int, row: Row) -> None:
        """Everything that is due until then, in the order of time."""
        while (due := self._next_due()) <= end:
            self._move_to(due)
            self._send([person for person in self.people if person.due <= clock.now() and not person.lost], row)
        self._move_to(end)

    def _settle(self, row: Row) -> None:
        """The fault is over: whoever was told to come back does, and whoever was signing in gets in."""
        end = clock.now() + PATIENCE
        while unserved := [person for person in self.people if not person.lost and _is_unserved(person)]:
            due = min(person.due for person in unserved)
            if due > end:
                row.lost += len(unserved)
                for person in unserved:
                    person.lost = True
                return
            self._until(due, row)

    def _next_due(self) -> int:
        return min((person.due for person in self.people if not person.lost), default=sys.maxsize)

    def _move_to(self, when: int) -> None:
        if (missing := when - clock.now()) > 0:
            pass_time(missing)
            messages_come_back()  # of the rescue queue: time has passed there too

    def _send(self, people: list[Person], row: Row) -> None:
        now = clock.now()
        with ThreadPoolExecutor(THREADS) as pool:
            for heard in pool.map(lambda person: person.act(now), people):
                row.count(heard)

    def wait(self, seconds: float) -> None:
        """In the place of a sleep of the broker's: time passes for everybody."""
        with self._lock:
            pass_time(seconds)

    def meet(self) -> None:
        """A fault was met."""
        with self._lock:
            self.met += 1


def _is_unserved(person: Person) -> bool:
    return person.failed > 0 or not person.is_signed_in


# -- the faults ----------------------------------------------------------------------------------------------------


@contextmanager
def throttled_tables(day: Day) -> Iterator[None]:
    """Calls of DynamoDB by the broker's functions fail for good (the SDK has given up repeating), or lose their answer."""
    base: Any = BaseClient
    call = base._make_api_call
    dice, lock = random.Random(SEED), threading.Lock()  # noqa: S311 - chance of a model, not of a secret

    def failing(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        function = privileges._running.get()
        if self.meta.service_model.service_name != "dynamodb" or function is None or function.name == "SandboxFunction":
            return call(self, operation, arguments)
        with lock:
            number = dice.random()
        if number < REFUSED:
            day.meet()
            raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, operation)
        answer = call(self, operation, arguments)
        if number < REFUSED + LOST:
            day.meet()
            raise ReadTimeoutError(endpoint_url="https://dynamodb.example")
        return answer

    with mock.patch.object(base, "_make_api_call", failing):
        yield


@contextmanager
def secrets_manager_down(day: Day) -> Iterator[None]:
    """No secret can be read. Instances that know the keys go on with what they know."""
    with _told_of_secrets(day), key_rotation.down():
        yield
    runtime().forget()


@contextmanager
def _told_of_secrets(day: Day) -> Iterator[None]:
    """Count the reads that were refused."""
    from broker.store.aws import client

    def count(**_: object) -> None:
        day.meet()

    events = client("secretsmanager").meta.events
    events.register_first("before-call.secrets-manager", count)
    try:
        yield
    finally:
        events.unregister("before-call.secrets-manager", count)


@contextmanager
def secrets_manager_down_and_cold(day: Day) -> Iterator[None]:
    """The same for instances that start anew, and so know nothing."""
    with secrets_manager_down(day):
        runtime().forget()
        yield


@contextmanager
def provider_secret_missing(day: Day) -> Iterator[None]:
    """Somebody has deleted the secret of a provider; instances start anew."""
    secrets = day.broker.aws_client("secretsmanager")
    name = day.broker.environment["BROKER_PROVIDER_SECRET_PREFIX"] + HIT
    held = secrets.get_secret_value(SecretId=name)["SecretString"]
    secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    runtime().forget()
    yield
    secrets.create_secret(Name=name, SecretString=held)


@contextmanager
def provider_secret_expired(day: Day) -> Iterator[None]:
    """The provider takes a new secret only, until the operator has put that into the second slot."""
    change_secrets(day.broker.url, HIT, NEW_SECRET)
    yield
    operate(day, "provider", "secret", HIT, "--next", "--client-secret-stdin", stdin=NEW_SECRET)


@contextmanager
def provider_unreachable(day: Day) -> Iterator[None]:
    """Nothing that is sent to the provider arrives."""
    send = BoundedHttp.send

    def refused(self: BoundedHttp, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        if f"/sandbox/{HIT}/" not in request.url:
            return send(self, request, deadline)
        day.meet()
        raise TransportError(TransportKind.UNREACHABLE, sent=False, detail="down")

    with mock.patch.object(BoundedHttp, "send", refused):
        yield


@contextmanager
def provider_answers_errors(day: Day) -> Iterator[None]:
    """The provider answers 503 to whatever is asked of it, and does nothing."""
    for endpoint in ("token", "userinfo"):
        order_fault(day.broker.url, HIT, endpoint, "status", 503, times=250)
    yield
    forget_faults(day.broker.url, HIT)


# -- what the operator does ----------------------------------------------------------------------------------------


def operate(day: Day, *words: str, stdin: str = "") -> None:
    """Run the operator's command `broker`. Errors: RuntimeError when it fails."""
    arguments = ("--local", "--port", str(day.broker.port), *words)
    with mock.patch.object(sys, "stdin", io.StringIO(stdin)), redirect_stdout(io.StringIO()):
        if command.run(arguments) != 0:
            raise RuntimeError(f"broker {' '.join(words)} failed")


def promote_secret(day: Day) -> None:
    """The provider's new secret becomes the current one, and the old one is forgotten."""
    operate(day, "provider", "secret", HIT, "--promote")
    operate(day, "provider", "secret", HIT, "--drop-old", "--yes")


def rotate_keys(day: Day) -> None:
    """All four steps of Secrets Manager's rotation, through the broker's own function."""
    key_rotation.rotate(day.broker)


def sleep_past_lead(_day: Day) -> None:
    """Everybody sleeps until the new keys are in use. Errors: RuntimeError when they are not."""
    before = runtime().keys.ring().handle_key().id
    pass_time(LEAD + 60)
    if runtime().keys.ring().handle_key().id == before:
        raise RuntimeError("the new keys are not used")


PHASES = (
    Phase("all is well"),
    Phase("tables throttled, answers lost", seconds=600, fault=throttled_tables, failures=OURS),
    Phase("Secrets Manager down, warm", seconds=400, fault=secrets_manager_down),
    Phase("Secrets Manager down, cold", seconds=60, fault=secrets_manager_down_and_cold, failures=OURS),
    Phase("a provider's secret missing", fault=provider_secret_missing, failures=OURS, provider=HIT),
    Phase(
        "a provider's secret expired",
        fault=provider_secret_expired,
        failures=MISCONFIGURED,
        provider=HIT,
    ),
    Phase("repaired by the second slot", midway=promote_secret),
    Phase("keys rotated", midway=rotate_keys),
    Phase("the new keys in use", before=sleep_past_lead),
    Phase("a provider unreachable", fault=provider_unreachable, failures=PROVIDER_DOWN, provider=HIT),
    Phase("a provider answers 503", fault=provider_answers_errors, failures=PROVIDER_DOWN, provider=HIT),
    Phase("all is well again"),
)


def live(broker: LocalBroker, seed: int) -> Day:
    """The whole day."""
    day = Day(broker, random.Random(seed))  # noqa: S311 - chance of a model, not of a secret
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(vault, "sleep", day.wait))
        stack.enter_context(mock.patch.object(rescue, "WAIT_SECONDS", 0))
        day.invite(PROVIDERS, PHASES[0].seconds // 4)
        for phase in PHASES:
            sys.stderr.write(f"{phase.name} ...\n")
            day.live_through(phase)
        day.last_look()
    return day


# -- the table -----------------------------------------------------------------------------------------------------

_EVENTS = {
    "refresh.retried": "refreshes repeated that had been done: the same tokens again",
    "upstream.refreshed": "renewals of a provider's token",
    "upstream.rescued": "of them kept in the rescue queue, as the table did not take them",
    "upstream.recovered": "brought back from there",
    "upstream.secret_fallback": "times that the second slot turned out to be right",
    "keys.rotated": "steps of the key rotation that changed something",
}
_NEVER = ("request.failed", "upstream.lost", "refresh.reused", "link.reconnect_required")
_NO_LOGIN_YET = ("answer_lost", "code_replay")
"""Why a login may end on such a day: its code was used up, and nobody ever had its tokens."""
_HEAD = ("phase", "requests", "well", "failed", "repeated", "begun again", "signed in", "lost", "failures by kind")


def report(day: Day) -> str:
    """The table, and what the audit log says of the day."""
    lines = [_HEAD, *(_cells(row) for row in day.rows), _total(day.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    table = ["  ".join(_padded(cell, column, widths[column]) for column, cell in enumerate(line)) for line in lines]
    rule = "-" * min(150, max(map(len, table)))
    counts = Counter(str(entry["audit"]) for entry in audit_log(day.broker))
    notes = [f"{counts[name]:5}  {meaning} ({name})" for name, meaning in _EVENTS.items()]
    logged = ["", "In the audit log:", *notes]
    return "\n".join(line.rstrip() for line in (table[0], rule, *table[1:-1], rule, table[-1], *logged))


def _padded(cell: str, column: int, width: int) -> str:
    return cell.ljust(width) if column in (0, len(_HEAD) - 1) else cell.rjust(width)


def _cells(row: Row) -> tuple[str, ...]:
    numbers = (
        row.requests,
        row.succeeded,
        row.requests - row.succeeded,
        row.repeated,
        row.begun_again,
        row.sign_ins,
        row.lost,
    )
    kinds = ", ".join(f"{count} x {kind}" for kind, count in row.failures.most_common()) or "none"
    return (row.phase.name, *map(str, numbers), kinds)


def _total(rows: list[Row]) -> tuple[str, ...]:
    total = Row(Phase("the whole day"))
    for row in rows:
        for name in ("requests", "succeeded", "repeated", "begun_again", "sign_ins", "lost", "failures"):
            setattr(total, name, getattr(total, name) + getattr(row, name))
    return _cells(total)


def audit_log(broker: LocalBroker) -> Iterator[dict[str, Any]]:
    """The events of the day."""
    lines = (json.loads(line) for line in broker.log_text().splitlines() if line.startswith("{"))
    return (line for line in lines if "audit" in line)


def verdict(day: Day) -> list[str]:
    """What was wrong; nothing on a day that proves what it should."""
    wrong = []
    for row in day.rows:
        if not row.was_met:
            wrong.append(f"{row.phase.name}: the fault was never met")
        if row.lost:
            wrong.append(f"{row.phase.name}: {row.lost} logins lost")
        wrong += [f"{row.phase.name}: not documented: {count} x {what}" for what, count in row.unexplained.items()]
    bad = Counter(what for entry in audit_log(day.broker) if (what := _must_not_be(entry)))
    return wrong + [f"in the audit log: {count} x {what}" for what, count in bad.items()]


def _must_not_be(entry: dict[str, Any]) -> str:
    """What an event says that there must be none of, "" for any other."""
    name = str(entry["audit"])
    if name == "grant.ended" and entry.get("reason") not in _NO_LOGIN_YET:
        return f"{name} ({entry.get('reason')})"
    return name if name in _NEVER else ""


def started() -> LocalBroker:
    """A running broker, on two ports beside each other, where the operator's command looks for it."""
    return LocalBroker(free_port(2), environment={"SANDBOX_FAULTS": "1"}).start()


def main() -> int:
    """Live through the day, print what came of it, and return the exit status."""
    parser = argparse.ArgumentParser(description="Let one thing after another fail, and show that no login is lost.")
    parser.add_argument("--seed", type=int, default=SEED, help="another day of the same kind")
    seed = parser.parse_args().seed
    broker = started()
    try:
        day = live(broker, seed)
        wrong = verdict(day)
        people = len(day.people)
        sys.stdout.write(f"A day of faults, seed {seed}: {people} people\n\n{report(day)}\n\n")
    finally:
        broker.stop()
    for line in wrong:
        sys.stdout.write(f"WRONG  {line}\n")
    if not wrong:
        sys.stdout.write(f"All {people} logins work, and every answer was one that is documented.\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
