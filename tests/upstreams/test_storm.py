"""Two hundred requests at the same moment, on several instances in processes of their own: ten for each of twenty links, over a
hundred expiries of these together; and all for one link, over twenty expiries. The strictest servers see exactly one refresh per
expiry, every link is alive at the end, and hardly anybody is told to come again.

The instances share nothing but the tables, as Lambda's do. That is proved on two stores that nobody wrote together.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from broker import clock
from broker_local.server import LocalBroker
from broker_testing.parallel import at_once
from broker_testing.stores import moved_to
from upstreams.held import Held, logged_in, pass_time
from upstreams.servers import HERE, Process, Upstream, running

pytestmark = pytest.mark.timeout(600)

AT_ONCE = 200
LINKS = 20
INSTANCES = 2
TRIES = 20
OVERLOADED = 2
"""How often a request may be told to come later, on a machine that is busy. If nobody waited for whoever refreshes, it would be
sixteen times."""


@contextmanager
def instances(broker: LocalBroker, aws_endpoint: str) -> Iterator[list[Process]]:
    """More instances of a running broker."""
    settings = {"issuer": broker.url, "aws_endpoint": aws_endpoint}
    with ExitStack() as stack:
        words: list[str | Path] = [sys.executable, HERE / "instance.py"]
        yield [stack.enter_context(running(words, settings)) for _ in range(INSTANCES)]


@pytest.fixture(scope="module")
def on_moto(local_broker: LocalBroker) -> Iterator[list[Process]]:
    """Instances over the local broker's own store."""
    with instances(local_broker, local_broker.aws_endpoint) as started:
        yield started


@pytest.fixture
def on_ministack(local_broker: LocalBroker, ministack: str, oidc: Upstream) -> Iterator[list[Process]]:
    """The local broker moved to ministack, and instances over that."""
    with moved_to(local_broker, ministack):
        oidc.register()
        with instances(local_broker, ministack) as started:
            yield started


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    document: dict[str, Any]


def ask(base: str, method: str, path: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None) -> Answer:
    """One request on a connection of its own, made with as little work as can be: thousands of them share two cores with
    everything that is under test."""
    connection = HTTPConnection(base.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path, None if form is None else urlencode(form), dict(headers))
        response = connection.getresponse()
        return Answer(response.status, json.loads(response.read()))
    finally:
        connection.close()


def refresh(base: str, held: Held) -> Answer:
    """The refresh_token grant at one instance."""
    form = {"grant_type": "refresh_token", "refresh_token": held.refresh_token} | held.client.credentials()
    return ask(base, "POST", "/token", {"content-type": "application/x-www-form-urlencoded"}, form)


def userinfo(base: str, held: Held) -> Answer:
    """The profile, at one instance."""
    return ask(base, "GET", "/userinfo", {"authorization": f"Bearer {held.tokens['access_token']}"})


@dataclass
class Storm:
    """Links at one server, and the instances that they are used through."""

    upstream: Upstream
    instances: Sequence[Process]
    links: Sequence[Held]
    refused: list[Answer] = field(default_factory=list)

    def let_time_pass(self, seconds: float) -> None:
        """For everybody."""
        pass_time(self.upstream, seconds)
        for instance in self.instances:
            instance.set_clock(clock.offset)

    def round(self, times: int) -> None:
        """Every link is refreshed and asked for its profile this many times at once, through all instances."""
        asked = [(link, number) for link in self.links for number in range(times)]
        self.refused.clear()
        answers = at_once([partial(self._ask, link, number) for link, number in asked])
        assert len(self.refused) <= len(asked) * OVERLOADED
        assert [answer for answer in answers if answer.status != 200] == []
        for index, link in enumerate(self.links):
            own = answers[index * times : (index + 1) * times]
            refreshed = [answer.document for answer in own if "refresh_token" in answer.document]
            assert len(refreshed) == sum(_is_refresh(number) for number in range(times))
            assert len({tokens["refresh_token"] for tokens in refreshed}) == 1
            assert all("sub" in answer.document for answer in own if "refresh_token" not in answer.document)
            link.tokens = refreshed[-1]

    def _ask(self, link: Held, number: int) -> Answer:
        """Ask, and ask again when told to come later, which is counted: two hundred at once are an overload now and then."""
        base = self.instances[number % len(self.instances)].url
        for _ in range(TRIES):
            answer = (refresh if _is_refresh(number) else userinfo)(base, link)
            if answer.status != 503:
                break
            self.refused.append(answer)
        return answer


def _is_refresh(number: int) -> bool:
    """Half refresh and half ask for the profile, each at every instance."""
    return number % 4 < 2


def weather(base: str, upstream: Upstream, started: Sequence[Process], rounds: int, links: int = LINKS) -> None:
    """`rounds` expiries of `links` links, in turns: the provider's token is gone, or it is only due."""
    storm = Storm(upstream, started, [logged_in(base, upstream) for _ in range(links)])
    for number in range(rounds):
        upstream.forget_calls()
        storm.let_time_pass(upstream.lifetime + 60 if number % 2 == 0 else upstream.lifetime * 0.95)
        storm.round(AT_ONCE // links)
        assert upstream.refreshes() == [""] * links
        assert {call.what for call in upstream.calls()} == {"refresh_token"}
    storm.let_time_pass(upstream.lifetime + 60)
    for link in storm.links:
        assert link.grant.stage == "active"
        assert link.refresh().status_code == 200
        assert link.userinfo().status_code == 200


def test_a_hundred_expiries(base: str, oidc: Upstream, on_moto: list[Process]) -> None:
    """At the server that takes a second use for theft, and ends the grant."""
    weather(base, oidc, on_moto, rounds=100 // LINKS)


def test_more_expiries_elsewhere(base: str, django: Upstream, on_moto: list[Process]) -> None:
    """At another one that does."""
    weather(base, django, on_moto, rounds=2)


def test_everybody_wants_the_same_link(base: str, oidc: Upstream, on_moto: list[Process]) -> None:
    """All two hundred for one login, over twenty expiries, where a second use is theft."""
    weather(base, oidc, on_moto, rounds=20, links=1)


def test_everybody_wants_the_same_link_elsewhere(base: str, django: Upstream, on_moto: list[Process]) -> None:
    """At the other one."""
    weather(base, django, on_moto, rounds=4, links=1)


def test_on_another_store(base: str, oidc: Upstream, on_ministack: list[Process]) -> None:
    weather(base, oidc, on_ministack, rounds=2)
