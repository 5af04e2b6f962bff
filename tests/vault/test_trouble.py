"""Trouble of every kind at once: the strictest provider sees one refresh per expiry, and the link is alive at the end."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import requests
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from broker import clock
from broker.grants import vault
from broker.runtime import runtime
from broker.store import rescue
from broker.store.links import Links
from broker.upstream.http import BoundedHttp, Deadline, UpstreamRequest, UpstreamResponse
from broker_local import privileges
from broker_local.server import LocalBroker
from broker_testing.crashes import waiting_messages
from broker_testing.journey import Login, TestClient, refresh, register, userinfo
from broker_testing.parallel import at_once
from broker_testing.sandbox import counted, start_counting
from broker_testing.trouble import pass_time
from upstreams.servers import HERE, Process, running
from vault.operations import AFTER_LEASE, LIFETIME, PROVIDER

pytestmark = pytest.mark.timeout(600)  # storms on a machine that may be busy

MANY = 32
SEED = 20260729
SKEW = 60
"""Seconds: one clock so much ahead, the other so much behind; two minutes between them."""
LEASE = 60.0
"""Seconds; longer than any delay of a busy machine."""
UNLUCKY = 10
"""Rounds, of a second each, in which a store throttles."""


class Held:
    """A login, and the newest tokens of it."""

    def __init__(self, base: str) -> None:
        self.login = Login(register(base, providers=(PROVIDER,)), PROVIDER)
        self.tokens: dict[str, Any] = self.login.tokens()

    def refresh(self, base: str | None = None) -> requests.Response:
        client = self.login.client if base is None else replace(self.login.client, base=base)
        return refresh(client, self.tokens["refresh_token"])

    def userinfo(self, base: str | None = None) -> requests.Response:
        return userinfo(base or self.login.client.base, self.tokens["access_token"])

    def take(self, answers: list[requests.Response]) -> None:
        """Take over what the refreshes among the answers gave: one and the same successor."""
        given = [answer.json() for answer in answers if "refresh_token" in answer.json()]
        assert len({tokens["refresh_token"] for tokens in given}) <= 1
        self.tokens = given[0] if given else self.tokens

    def assert_alive(self, base: str) -> None:
        """The provider's grant can still be renewed, and what it gives works."""
        pass_time(LIFETIME + 5)
        renewed = self.refresh()
        assert renewed.status_code == 200, renewed.text
        assert userinfo(base, renewed.json()["access_token"]).status_code == 200


def served_within(
    rounds: int, actions: Sequence[Callable[[], requests.Response]], wait: Callable[[float], None] = pass_time
) -> tuple[list[requests.Response], Sequence[Callable[[], requests.Response]]]:
    """Clients that are told to come back do, so often at most: the good answers, and what was not served even then."""
    served: list[requests.Response] = []
    for _ in range(rounds):
        if not actions:
            break
        answers = at_once(actions)
        assert {answer.status_code for answer in answers} <= {200, 503}, [answer.text for answer in answers]
        served += [answer for answer in answers if answer.status_code == 200]
        actions = [action for action, answer in zip(actions, answers, strict=True) if answer.status_code == 503]
        if actions:
            wait(1)
    return served, actions


def until_all_are_served(
    actions: Sequence[Callable[[], requests.Response]], wait: Callable[[float], None] = pass_time
) -> list[requests.Response]:
    """The same, and nobody may be left."""
    served, left = served_within(20, actions, wait)
    assert not left, "somebody is never served"
    return served


# -- a slow provider -----------------------------------------------------------------------------------------------


@pytest.fixture
def passing_lease(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease of which half is over whenever it has been prolonged, which happens every fifth of a second."""
    monkeypatch.setattr(runtime(), "settings", replace(runtime().settings, lease=LEASE))
    monkeypatch.setattr(vault, "PROLONGATIONS", LEASE * 5)


@contextmanager
def provider_slower_than(prolongations: int) -> Iterator[list[int]]:
    """The provider answers a refresh only after the lease was prolonged so often: after more time than one lease has."""
    seen: list[int] = []
    enough = threading.Event()
    renew, send = Links.renew_lease, BoundedHttp.send

    def counting(self: Links, *arguments: Any) -> None:
        renew(self, *arguments)
        pass_time(LEASE / 2)
        seen.append(1)
        if len(seen) >= prolongations:
            enough.set()

    def slow(self: BoundedHttp, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        answer = send(self, request, deadline)
        if request.url.endswith("/token"):
            assert enough.wait(30), "nobody prolonged the lease"
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Links, "renew_lease", counting)
        patch.setattr(BoundedHttp, "send", slow)
        yield seen


@pytest.mark.usefixtures("passing_lease")
def test_a_provider_slower_than_the_lease_is_asked_once(base: str) -> None:
    """The lease is prolonged while the provider takes its time, so nobody else thinks that its holder has died."""
    held = Held(base)
    pass_time(LIFETIME + 5)
    start_counting(base, PROVIDER)
    with provider_slower_than(prolongations=4):
        answers = until_all_are_served([held.refresh, held.userinfo] * (MANY // 2))
    assert counted(base, PROVIDER)["token:refresh_token"] == 1
    held.take(answers)
    held.assert_alive(base)


def test_a_lease_that_nobody_prolongs_runs_out(base: str) -> None:
    """The others do not wait for one who has died."""
    held = Held(base)
    link = runtime().grants.links.read(_grant_id(held))
    assert link is not None
    runtime().grants.links.take_lease(link, "of one who has died", runtime().settings.lease)
    pass_time(LIFETIME + 5)
    start_counting(base, PROVIDER)
    until_all_are_served([held.refresh, held.userinfo] * (MANY // 2))
    assert counted(base, PROVIDER)["token:refresh_token"] == 1


def _grant_id(held: Held) -> str:
    from broker.crypto import handles

    handle = handles.read(handles.Kind.REFRESH, held.tokens["refresh_token"], runtime().keys.ring())
    assert handle is not None
    return handle.grant_id


# -- a store that throttles ----------------------------------------------------------------------------------------


@contextmanager
def throttled(share: float) -> Iterator[list[str]]:
    """This share of what the broker asks of DynamoDB is refused, for good: the SDK has given up repeating."""
    dice, lock, refused = random.Random(SEED), threading.Lock(), list[str]()
    base: Any = BaseClient
    call = base._make_api_call

    def limited(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        function = privileges._running.get()
        if self.meta.service_model.service_name != "dynamodb" or function is None or function.name == "SandboxFunction":
            return call(self, operation, arguments)
        with lock:
            if dice.random() < share:
                refused.append(operation)
                raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, operation)
        return call(self, operation, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "_make_api_call", limited)
        yield refused


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_a_store_that_throttles_loses_nothing(base: str, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Whoever is told 503 comes back; a new token that cannot be written waits in the queue."""
    monkeypatch.setattr(vault, "sleep", lambda _seconds: None)
    monkeypatch.setattr(rescue, "WAIT_SECONDS", 0)
    held = Held(base)
    for _ in range(4):
        pass_time(LIFETIME + AFTER_LEASE)
        start_counting(base, PROVIDER)
        with throttled(share) as refused:
            answers, left = served_within(UNLUCKY, [held.refresh, held.userinfo] * (MANY // 2))
        answers += until_all_are_served(left)  # chance may have refused somebody each time
        assert refused
        assert counted(base, PROVIDER)["token:refresh_token"] == 1
        held.take(answers)
    held.assert_alive(base)
    assert waiting_messages() == 0


# -- clocks that differ --------------------------------------------------------------------------------------------


@pytest.fixture
def other(base: str, local_broker: LocalBroker) -> Iterator[Process]:
    """A second instance, in a process of its own, whose clock is behind; the clock of this process is ahead."""
    settings = {"issuer": base, "aws_endpoint": local_broker.aws_endpoint}
    with running([sys.executable, HERE / "instance.py"], settings) as process:
        process.order("POST", "/skew", -SKEW)
        clock.skew = SKEW
        yield process


def move_time(other: Process, seconds: float) -> None:
    """For both instances and for the provider."""
    pass_time(seconds)
    other.set_clock(clock.offset)


def test_two_instances_whose_clocks_are_two_minutes_apart(base: str, other: Process) -> None:
    """They agree on when a token is due, a lease is over and a retry window ends: all go by DynamoDB's clock."""
    held = Held(base)
    for seconds in (LIFETIME + 5, LIFETIME - 20, LIFETIME + 5, LIFETIME - 20):
        move_time(other, seconds)
        start_counting(base, PROVIDER)
        actions = [partial(act, where) for act in (held.refresh, held.userinfo) for where in (base, other.url)]
        answers = until_all_are_served(actions * (MANY // 4), partial(move_time, other))
        assert counted(base, PROVIDER)["token:refresh_token"] == 1
        held.take(answers)
    held.assert_alive(base)


def test_a_code_and_a_retry_window_end_at_the_same_moment_for_both(base: str, other: Process) -> None:
    """A code of the slow instance is good at the fast one, and what the slow one rotated may be repeated at the fast one."""
    login = Login(replace(client := register(base, providers=(PROVIDER,)), base=other.url), PROVIDER)
    login.run()
    login.client = client
    tokens = login.redeem()
    assert tokens.status_code == 200, tokens.text
    token = tokens.json()["refresh_token"]
    first, again = (refresh(at(where, client), token) for where in (other.url, base))
    assert (first.status_code, again.status_code) == (200, 200), again.text
    assert first.json()["refresh_token"] == again.json()["refresh_token"]
    move_time(other, runtime().settings.retry_window + 3)
    late = refresh(at(other.url, client), token)
    assert (late.status_code, late.json()["error"]) == (400, "invalid_grant")


def at(base: str, client: TestClient) -> TestClient:
    """The client, talking to this instance."""
    return replace(client, base=base)
