"""Random interleavings over the whole life of logins: steps of I/O in any order, crashes, lost answers, outages, passing time.

A model watches from outside. What it holds the broker to, after every step:

- a login goes on by one generation at a time, and only by whoever holds the present refresh token; every generation has one
  refresh token, however often it is given out;
- a login ends only for a cause, keeps its reason, and no token of it works for a request that comes later;
- the provider sees no refresh token twice unless what it answered the first time was lost on the way;
- what nothing ended is alive in the end.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from broker import clock
from broker.crypto import handles
from broker.crypto.handles import Kind
from broker.grants import vault
from broker.protocol.clients import Client
from broker.runtime import runtime
from broker_local.api_gateway import HttpRequest, HttpResponse
from broker_local.seed import put_secret
from broker_local.server import LocalBroker, local_template
from broker_testing.journey import CALLBACK, pkce_pair
from vault.interleaving import Order, Request, RescueQueue, Stored, stepwise, stored
from vault.operations import AFTER_LEASE
from vault.strict_provider import ENTRY, INFINITY, NAME, StrictProvider

EXAMPLES = int(os.environ.get("STATE_MACHINE_EXAMPLES", "40"))
"""Tries of a run; a long search is STATE_MACHINE_EXAMPLES=5000 with a pytest --timeout to match."""
STEPS = 40
WINDOWS = {"forgiving": 30, "strict": 0}
"""Seconds within which the predecessor of a refresh token gets the same successor, by client id."""
MOST_LOGINS = 4
pytestmark = pytest.mark.timeout(1800)
"""Seconds. When a search finds something, it looks for the shortest way there, and must not be cut off before it can tell it."""
TROUBLE = 30.0
"""Seconds after a fault during which a request may be told to come back later."""
Turns = list[tuple[int, Order]]
WHICH = st.integers(0, 11)
IDLE = st.sampled_from([0, 0, 0, 1, 6, 9, 31, 275, 310, 310])
ASKS = st.lists(
    st.tuples(
        st.sampled_from([*["refresh"] * 12, *["userinfo"] * 5, "redeem", "revoke"]),
        st.sampled_from([*[0] * 12, 1, 1, 2]),
    ),
    max_size=3,
)
TURNS = st.builds(
    lambda well, ill: [(which, Order.GO) for which in well] + ill,
    st.lists(st.integers(0, 2), max_size=9),
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(list(Order)[::-1])), max_size=4),
)
"""Who takes the next steps, and what becomes of them; the first of them go well."""
EVENTS = st.sampled_from(
    [
        *["the provider is down"] * 4,
        *["the table takes no tokens"] * 4,
        *["leases run out"] * 4,
        "the person takes the access back",
    ]
)


@dataclass
class Login:
    """A login as its client and the model know it."""

    client_id: str
    verifier: str
    state: str
    back: str = ""
    cookie: str = ""
    provider_code: str = ""
    code: str = ""
    redeemed: bool = False
    tokens: dict[int, str] = field(default_factory=dict)
    access: list[tuple[str, int]] = field(default_factory=list)
    grant_id: str = ""
    seen: Stored | None = None

    @property
    def newest(self) -> int:
        """The last generation whose refresh token the client got; 0 for none."""
        return max(self.tokens, default=0)


@dataclass
class Flight:
    """A request under way, and what the model has to know of it.

    `generation`: of the refresh token that it uses. `moved`: it has redeemed the code, or made the next generation.
    """

    login: Login
    request: Request
    began_at: float
    ended_before: bool
    generation: int = 0
    access_until: int = 0
    alone: bool = True
    moved: bool = False


class Machine(RuleBasedStateMachine):
    """Logins at a broker whose every step is watched."""

    broker: LocalBroker
    visibility: float

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.queue = RescueQueue(self.visibility)
        self._stack.enter_context(stepwise(self.queue))
        self.provider = StrictProvider()
        self._stack.enter_context(patch.dict(runtime().__dict__, {"http": self.provider}))
        runtime().forget()
        self.logins: list[Login] = []
        self.flights: list[Flight] = []
        self.troubled_at = -INFINITY
        self.refused_writes = 0
        self.is_sound = True

    # -- what can happen ---------------------------------------------------------------------------------------------

    @initialize(idle=st.sampled_from([0, 275, 310, 310]), seed=st.integers(0, 99))
    def two_people_have_signed_in(self, idle: int, seed: int = 0) -> None:
        """At each client one, perhaps so long ago that the provider's tokens are due, or have expired. `seed`: what the rescue
        queue goes by."""
        self.queue.dice.seed(seed)
        for client_id in sorted(WINDOWS):
            self.log_in(client_id, "tokens")
        clock.offset += idle

    @precondition(lambda self: len(self.logins) < MOST_LOGINS)
    @rule(client_id=st.sampled_from(sorted(WINDOWS)), far=st.sampled_from(["callback", "code"]))
    def log_in(self, client_id: str, far: str) -> None:
        """A person signs in: as far as the provider's answer in the browser, the code, or the tokens."""
        verifier, challenge = pkce_pair()
        login = Login(client_id, verifier, state=f"state-{len(self.logins)}")
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "scope": "openid profile",
            "state": login.state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "provider": NAME,
        }
        begun = self._send("GET", f"/authorize?{urlencode(query)}")
        assert begun.status == 303, begun
        asked = dict(parse_qsl(urlsplit(_header(begun, "location")).query))
        login.provider_code = self.provider.allow()
        login.back = f"/callback/{NAME}?{urlencode({'code': login.provider_code, 'state': asked['state']})}"
        login.cookie = _header(begun, "set-cookie").partition(";")[0]
        state = next(iter(SimpleCookie(login.cookie).values())).value.partition(".")[0]
        handle = handles.read(Kind.STATE, state, runtime().keys.ring())
        assert handle is not None
        login.grant_id = handle.grant_id
        self.logins.append(login)
        arrival = self._start("callback", login)
        if far != "callback":
            self._finish(arrival)
        if far == "tokens" and login.code:
            self._ask("redeem", login)

    @rule(login=WHICH, after=IDLE, asks=ASKS, turns=TURNS, finish=st.booleans())
    def ask(self, login: int, after: int, asks: list[tuple[str, int]], turns: Turns, finish: bool) -> None:
        """Some time later a client begins some requests at once, each with its newest token or with an older one; then what
        is under way goes on, step by step in some order, perhaps to its end."""
        if after:
            self.pass_time(after)
        going_on = [known for known in self.logins if known.seen is None or known.seen.stage != "ended"] or self.logins
        chosen = going_on[login % len(going_on)]
        for kind, older in asks:
            if chosen.code if kind == "redeem" else chosen.tokens:
                self._start(kind, chosen, older)
        for which, order in turns:
            if self.flights:
                self._step(self.flights[-1 - which % len(self.flights)], order)
        if finish:
            self._finish_all()

    @rule(login=WHICH, event=EVENTS, calls=st.integers(1, 4))
    def something_happens(self, login: int, event: str, calls: int) -> None:
        """The provider is down for some calls; the table takes no tokens, as often as the broker tries; whoever is under way
        stands still until his lease has run out; or the person takes the access back at the provider."""
        if event == "the provider is down":
            self.provider.down_for = calls
        elif event == "the table takes no tokens":
            self.refused_writes = vault.WRITE_TRIES
        elif event == "leases run out":
            self.outlive_leases()
        else:
            grant = self.provider.codes[self.logins[login % len(self.logins)].provider_code]
            grant.dead = grant.dead or "by the person"

    @rule(login=WHICH, after=IDLE, far=st.integers(1, 9), later=st.integers(1, 12))
    def ask_twice_beyond_a_lease(self, login: int, after: int, far: int, later: int) -> None:
        """A request stands still somewhere, and a second one goes its way as if the first one had died."""
        if after:
            self.pass_time(after)
        chosen = self.logins[login % len(self.logins)]
        if chosen.tokens:
            self._go(self._start("refresh", chosen), far)
            self.outlive_leases()
            self._go(self._start("refresh", chosen), later)

    def _go(self, flight: Flight, steps: int) -> None:
        for _ in range(steps):
            if not flight.request.is_over:
                self._step(flight, Order.GO)

    def outlive_leases(self) -> None:
        """Everybody under way goes on later than anybody would wait for him."""
        for flight in self.flights:
            flight.request.outlived = True
        self.troubled_at = clock.offset = clock.offset + AFTER_LEASE

    def pass_time(self, seconds: int) -> None:
        """Nobody who is alive stands still for as long as a lease here, so what is under way comes first."""
        self._finish_all()
        clock.offset += seconds

    # -- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def the_provider_has_nothing_to_complain_of(self) -> None:
        assert self.provider.violations == []

    def teardown(self) -> None:
        try:
            if self.is_sound:
                self._come_to_an_end()
            for flight in self.flights:
                flight.request.abandon()
        finally:
            self._stack.close()

    def _come_to_an_end(self) -> None:
        """All faults are over: what nothing has ended is alive."""
        self.provider.down_for = self.refused_writes = 0
        self._finish_all()
        clock.offset += 12  # the lease of whoever died ends, and so does every cool-down
        for login in self.logins:
            self._probe(login)
        self.the_provider_has_nothing_to_complain_of()

    def _probe(self, login: Login) -> None:
        """What is alive can be used; what has ended cannot, by any of its tokens."""
        before = stored(login.grant_id)
        if before is None or not login.tokens:
            return
        if before.stage == "ended":
            self._ask("userinfo", login)
            for generation in {login.newest, 1}:
                self._ask("refresh", login, login.newest - generation)
            self._ask("revoke", login)
            return
        window = WINDOWS[login.client_id]
        retry = login.newest == before.generation - 1 and clock.now() < before.rotated_at + window
        flight = self._ask("refresh", login)
        answer = flight.request.answer
        assert answer is not None
        dead = self.provider.codes[login.provider_code].dead  # perhaps since this request: row 26
        if dead and answer.status == 400:
            return
        if login.newest < before.generation and not retry and flight.generation < before.generation:
            assert answer.status == 400
            return
        assert answer.status == 200, (answer.status, answer.body, before, dead)
        profile = self._ask("userinfo", login).request.answer
        assert profile is not None
        assert profile.status == 200 or dead, (profile.status, profile.body)

    # -- requests ----------------------------------------------------------------------------------------------------

    def _ask(self, kind: str, login: Login, older: int = 0) -> Flight:
        """A whole request without a fault."""
        flight = self._start(kind, login, older)
        self._finish(flight)
        return flight

    def status_of(self, kind: str, login: Login) -> int:
        """The answer's status, of a whole request without a fault of its own."""
        answer = self._ask(kind, login).request.answer
        assert answer is not None
        return answer.status

    def fail_at(self, step: str, order: Order, kind: str, login: Login) -> None:
        """A request to which this happens at its first step of that name."""
        flight = self.stop_at(step, kind, login)
        self._step(flight, order)
        self._finish(flight)

    def stop_at(self, step: str, kind: str, login: Login) -> Flight:
        """A request that stands before its first step of that name."""
        flight = self._start(kind, login)
        while flight.request.at != step:
            self._step(flight, Order.GO)
        return flight

    def go_on(self, flight: Flight) -> int:
        """To the end, if it is not there yet; the answer's status."""
        self._finish(flight)
        assert flight.request.answer is not None
        return flight.request.answer.status

    def _start(self, kind: str, login: Login, older: int = 0) -> Flight:
        generation = max(1, login.newest - older)
        while generation not in login.tokens and generation < login.newest:
            generation += 1  # the client never got this one
        token = login.tokens.get(generation, "")
        access, until = login.access[-1] if login.access else ("", 0)
        sends: dict[str, Callable[[], HttpResponse]] = {
            "callback": lambda: self._send("GET", login.back, cookie=login.cookie),
            "redeem": lambda: self._post(
                "/token",
                grant_type="authorization_code",
                code=login.code,
                redirect_uri=CALLBACK,
                code_verifier=login.verifier,
                client_id=login.client_id,
            ),
            "refresh": lambda: self._post(
                "/token", grant_type="refresh_token", refresh_token=token, client_id=login.client_id
            ),
            "userinfo": lambda: self._send("GET", "/userinfo", authorization=f"Bearer {access}"),
            "revoke": lambda: self._post("/revoke", token=token, client_id=login.client_id),
        }
        seen = login.seen
        others = [flight for flight in self.flights if flight.login is login]
        for flight in others:
            flight.alone = False
        flight = Flight(
            login,
            Request(kind, sends[kind]),
            clock.offset,
            ended_before=seen is not None and seen.stage == "ended",
            generation=generation,
            access_until=until,
            alone=not others,
        )
        self.flights.append(flight)
        if flight.request.is_over:
            self._settle(flight)
        return flight

    def _post(self, path: str, **form: str) -> HttpResponse:
        return self._send(
            "POST", path, body=urlencode(form).encode(), **{"content-type": "application/x-www-form-urlencoded"}
        )

    def _send(self, method: str, target: str, *, body: bytes = b"", **headers: str) -> HttpResponse:
        """One request at the broker's front door."""
        sent = [("host", f"localhost:{self.broker.port}"), *headers.items()]
        request = HttpRequest(method, target, "HTTP/1.1", sent, body, "127.0.0.1", self.broker.port)
        return self.broker._respond(request, "request-id")

    def _step(self, flight: Flight, order: Order) -> None:
        request = flight.request
        if request.at == "wait":
            order = Order.GO
            self._give_time(flight)
        elif request.at.startswith("provider") and order is Order.TWICE:
            order = Order.FAIL_AFTER
        elif request.at == "WriteLink" and self.refused_writes:
            self.refused_writes -= 1
            order = Order.FAIL_BEFORE
        if order is not Order.GO:
            self.troubled_at = clock.offset
        self.is_sound = False
        request.step(order)
        self._settle(flight)
        self.is_sound = True

    def _give_time(self, waiting: Flight) -> None:
        """While one waits, all others go on for as long."""
        for other in [other for other in self.flights if other is not waiting]:
            while not other.request.is_over and (
                other.request.at != "wait" or other.request.waits_until < waiting.request.waits_until
            ):
                self._step(other, Order.GO)

    def _finish(self, flight: Flight) -> None:
        for _ in range(200):
            if flight.request.is_over:
                return
            self._step(flight, Order.GO)
        raise AssertionError(f"{flight.request.kind} does not come to an end")

    def _finish_all(self) -> None:
        while self.flights:
            self._finish(self.flights[0])

    def _is_in_trouble(self) -> bool:
        """Whether a fault, here or at the provider, is too fresh for everybody to be served."""
        return clock.offset <= max(self.troubled_at, self.provider.was_down_at) + TROUBLE

    # -- the model ---------------------------------------------------------------------------------------------------

    def _watch(self, flight: Flight) -> None:
        """What one step of one request did to its login."""
        login, request = flight.login, flight.request
        if not request.changed:
            return
        before, after = login.seen, stored(login.grant_id)
        login.seen = after
        if before is None or after is None:
            return
        if before.stage == "ended":
            assert (after.stage, after.end_reason) == ("ended", before.end_reason)
            return
        if after.generation != before.generation:
            assert after.generation == before.generation + 1
            if before.generation == 0:
                assert request.kind == "redeem"
            else:
                assert (request.kind, flight.generation) == ("refresh", before.generation)
            flight.moved = True
        if after.stage == "ended":
            assert self._is_cause(flight, before, after.end_reason), (request.kind, after.end_reason)

    def _is_cause(self, flight: Flight, before: Stored, reason: str) -> bool:
        """Whether this request may end its login for this reason."""
        kind = flight.request.kind
        if reason == "revoked":
            return kind == "revoke"
        if reason == "code_replay":
            return kind == "redeem" and before.stage == "active" and not flight.moved
        if reason == "answer_lost":
            return kind == "redeem" and flight.request.went_wrong
        if reason == "upstream_revoked":
            grant = self.provider.codes[flight.login.provider_code]
            return kind in ("refresh", "userinfo") and (grant.dead != "" or self.provider.has_lost(grant))
        if reason == "reuse":
            window = WINDOWS[flight.login.client_id]
            is_retry = flight.generation == before.generation - 1 and clock.now() < before.rotated_at + window
            return kind == "refresh" and flight.generation < before.generation and not (is_retry or flight.moved)
        dead = self.provider.codes[flight.login.provider_code].dead != ""
        return reason == "login_failed" and kind == "callback" and (dead or self._is_in_trouble())

    def _settle(self, flight: Flight) -> None:
        """Take note of what a step did, and hold the answer, if that is here, against what the model knows."""
        if flight.request.is_over:
            self.flights.remove(flight)
        self._watch(flight)
        answer = flight.request.answer
        if answer is not None:
            check: Callable[[Flight, HttpResponse], None] = getattr(self, f"_check_{flight.request.kind}")
            check(flight, answer)

    def _may_be_told_to_wait(self, flight: Flight) -> bool:
        return self._is_in_trouble() or not flight.alone

    def _check_callback(self, flight: Flight, answer: HttpResponse) -> None:
        if answer.status in (400, 503):
            assert self._may_be_told_to_wait(flight), answer
            return
        assert answer.status == 303, answer
        given = dict(parse_qsl(urlsplit(_header(answer, "location")).query))
        assert given["state"] == flight.login.state
        if "code" in given:
            flight.login.code = given["code"]
        else:
            dead = self.provider.codes[flight.login.provider_code].dead
            assert dead or self._may_be_told_to_wait(flight), given

    def _check_redeem(self, flight: Flight, answer: HttpResponse) -> None:
        login = flight.login
        if answer.status == 200:
            assert not login.redeemed, "one code, two answers"
            login.redeemed = True
            self._take(login, 1, json.loads(answer.body))
        else:
            self._check_refused(flight, answer)

    def _check_refresh(self, flight: Flight, answer: HttpResponse) -> None:
        if answer.status == 200:
            assert not flight.ended_before
            self._take(flight.login, flight.generation + 1, json.loads(answer.body))
        else:
            self._check_refused(flight, answer)

    def _check_refused(self, flight: Flight, answer: HttpResponse) -> None:
        """400 only when the login is over, 503 only when something is in the way."""
        error = json.loads(answer.body)["error"]
        if (answer.status, error) == (503, "temporarily_unavailable"):
            assert int(_header(answer, "retry-after")) > 0
            assert self._may_be_told_to_wait(flight), answer
            return
        assert (answer.status, error) == (400, "invalid_grant"), answer
        now = stored(flight.login.grant_id)
        assert now is None or now.stage == "ended" or clock.now() >= now.expires_at, (now, answer)

    def _take(self, login: Login, generation: int, document: dict[str, Any]) -> None:
        token = document["refresh_token"]
        handle = handles.read(Kind.REFRESH, token, runtime().keys.ring())
        assert handle is not None
        assert (handle.grant_id, handle.generation) == (login.grant_id, generation)
        assert login.tokens.setdefault(generation, token) == token, "one generation, two tokens"
        login.access.append((document["access_token"], clock.now() + document["expires_in"]))

    def _check_userinfo(self, flight: Flight, answer: HttpResponse) -> None:
        over = flight.ended_before or clock.now() >= flight.access_until
        if answer.status == 200:
            assert not over or flight.request.outlived  # who was let in, and stood still then
            assert json.loads(answer.body) == {"sub": f"{NAME}|johndoe", "name": "John Doe"}
        elif answer.status == 401:
            now = stored(flight.login.grant_id)
            dead = self.provider.codes[flight.login.provider_code].dead
            assert over or dead or now is None or now.stage == "ended", answer
        else:
            assert answer.status in (502, 503, 504), answer
            assert self._may_be_told_to_wait(flight), answer

    def _check_revoke(self, flight: Flight, answer: HttpResponse) -> None:
        if answer.status == 200:
            now = stored(flight.login.grant_id)
            assert now is None or now.stage == "ended"
        else:
            assert answer.status == 503, answer
            assert self._may_be_told_to_wait(flight), answer


def _header(response: HttpResponse, name: str) -> str:
    return next(value for known, value in response.headers if known.lower() == name)


@pytest.fixture
def watched(local_broker: LocalBroker, base: str) -> Iterator[None]:
    """Clients and the provider, known to the broker."""
    secrets_manager, secret_id = (
        local_broker.aws_client("secretsmanager"),
        runtime().settings.provider_secret_prefix + NAME,
    )
    secret = json.dumps({"client_id": "the-broker", "client_secret": "a secret of the broker"})
    put_secret(secrets_manager, secret_id, secret)
    registry = runtime().registry
    registry.add_provider(ENTRY)
    for client_id, window in WINDOWS.items():
        registry.add_client(
            Client(
                client_id=client_id,
                name="A client of the state machine",
                redirect_uris=(CALLBACK,),
                providers=(NAME,),
                retry_window=window,
                created_at=1,
            )
        )
    yield
    registry.remove_provider(NAME)
    secrets_manager.delete_secret(SecretId=secret_id, ForceDeleteWithoutRecovery=True)
    for client_id in WINDOWS:
        registry.remove_client(client_id)


@pytest.fixture
def machine(local_broker: LocalBroker, watched: None) -> type[Machine]:
    """The machine at this broker, whose queue hides messages as the template says."""
    queues = local_template(local_broker.port).queues()
    (hidden,) = [queue.attributes["VisibilityTimeout"] for queue in queues if queue.name.endswith("RescueQueue")]

    class OfThisBroker(Machine):
        broker = local_broker
        visibility = float(hidden)

    return OfThisBroker


def test_whatever_happens_in_whatever_order(machine: type[Machine]) -> None:
    chosen = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, report_multiple_bugs=False)
    run_state_machine_as_test(machine, settings=chosen)


# -- what the machine once found, every time -----------------------------------------------------------------------


@pytest.fixture
def due(machine: type[Machine]) -> Iterator[Machine]:
    """Two logins whose provider tokens have expired."""
    started = machine()
    try:
        started.two_people_have_signed_in(310)
        yield started
    finally:
        started.teardown()


def test_who_outlives_his_lease_before_the_provider_answers(due: Machine) -> None:
    """Another one is answered first, so he is refused, before the other one has written."""
    login = due.logins[0]
    first = due.stop_at("provider /token", "refresh", login)
    due.outlive_leases()
    second = due.stop_at("WriteLink", "refresh", login)
    assert [due.go_on(first), due.go_on(second)] == [200, 200]


def test_who_outlives_his_lease_before_he_writes(due: Machine) -> None:
    """Another one is refused, while he has the only good tokens."""
    login = due.logins[0]
    first = due.stop_at("WriteLink", "refresh", login)
    due.outlive_leases()
    assert [due.status_of("refresh", login), due.go_on(first)] == [200, 200]


@pytest.fixture
def rescued(machine: type[Machine]) -> Iterator[Machine]:
    """Two logins whose new provider tokens are in the rescue queue, and due again."""
    started = machine()
    try:
        started.two_people_have_signed_in(310)
        for login in started.logins:
            started.refused_writes = vault.WRITE_TRIES
            assert started.status_of("refresh", login) == 200
        started.pass_time(310)
        yield started
    finally:
        started.teardown()  # all that nothing has ended is alive, and the provider has nothing to complain of


def test_rescued_tokens_that_cannot_be_written_yet(rescued: Machine) -> None:
    """The old refresh token is not used instead, neither then nor while the message is hidden in the queue."""
    login = rescued.logins[0]
    rescued.refused_writes = 2  # of its own tokens, and of the other login's
    assert rescued.status_of("refresh", login) == 503
    for _ in range(7):
        assert rescued.status_of("refresh", login) in (200, 503)
        rescued.pass_time(1)
    assert rescued.status_of("refresh", login) == 200


@pytest.mark.parametrize("order", [Order.KILL_AFTER, Order.FAIL_AFTER])
def test_a_reader_who_takes_the_messages_with_him(rescued: Machine, order: Order) -> None:
    """He has received both logins' tokens, and nobody else can for a while: neither login is asked for again meanwhile."""
    own, others = rescued.logins
    rescued.fail_at("ReceiveMessage", order, "refresh", own)
    for _ in range(9):
        for login in (own, others):
            assert rescued.status_of("refresh", login) in (200, 503)
        rescued.pass_time(1)
    assert [rescued.status_of("refresh", login) for login in (own, others)] == [200, 200]


class OldestFirst(random.Random):
    """A queue that gives one message at a time, the oldest first, and each of them once more after it was deleted."""

    def random(self) -> float:
        return 0.0

    def choice(self, seq: Any) -> Any:
        return seq[0]

    def sample(self, population: Any, k: int, **_: Any) -> list[Any]:
        return list(population[:k])


def test_a_message_that_comes_once_more_does_not_hide_the_next_one(rescued: Machine) -> None:
    """Its tokens were written long ago; those of the second outage come behind it."""
    login = rescued.logins[0]
    rescued.queue.dice = OldestFirst()
    assert rescued.status_of("refresh", login) == 200
    rescued.pass_time(310)
    rescued.refused_writes = vault.WRITE_TRIES
    assert rescued.status_of("refresh", login) == 200
    rescued.pass_time(310)
    assert rescued.status_of("refresh", login) == 200
    rescued.the_provider_has_nothing_to_complain_of()
