"""The vault's last resorts: the rescue queue, refusals that nobody explains, too little time, a revocation that was cut off."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
from botocore.client import BaseClient

from broker import invocation
from broker.crypto import handles
from broker.crypto.handles import Handle, Kind
from broker.grants import ending, vault
from broker.runtime import runtime
from broker.store import rescue
from broker.store.aws import StoreUnavailable
from broker.store.grants import Grant, Grants
from broker.store.links import Link, Links
from broker.store.rescue import RescueQueue
from broker.store.secrets import CredentialStore
from broker.upstream.http import BoundedHttp, Deadline, UpstreamRequest, UpstreamResponse
from broker_local.server import LocalBroker
from broker_testing.crashes import Fault, forget_messages, messages_come_back, recorded, waiting_messages
from broker_testing.journey import Login, TestClient, refresh, register, revoke, userinfo
from broker_testing.sandbox import counted, forget_faults, order_fault, start_counting
from broker_testing.trouble import pass_time

STRICT = "openid"
"""The provider whose refresh token works once, and ends the grant when it comes again."""
LIFETIME = 300
AFTER_LEASE = 9
DAY = 86400


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "sleep", lambda _seconds: None)
    monkeypatch.setattr(rescue, "WAIT_SECONDS", 0)


@pytest.fixture(autouse=True)
def no_messages() -> Iterator[None]:
    yield
    forget_messages()


@dataclass
class Held:
    """A login, and what its client holds."""

    client: TestClient
    tokens: dict[str, Any]

    def refresh(self) -> requests.Response:
        response = refresh(self.client, self.tokens["refresh_token"])
        self.tokens = response.json() if response.status_code == 200 else self.tokens
        return response

    def userinfo(self) -> requests.Response:
        return userinfo(self.client.base, self.tokens["access_token"])

    @property
    def handle(self) -> Handle:
        handle = handles.read(Kind.REFRESH, self.tokens["refresh_token"], runtime().keys.ring())
        assert handle is not None
        return handle

    @property
    def grant(self) -> Grant:
        grant, _ = runtime().grants.read(self.handle.grant_id)
        assert grant is not None
        return grant

    @property
    def link(self) -> Link:
        link = runtime().grants.links.read(self.handle.grant_id)
        assert link is not None
        return link


def logged_in(base: str, provider: str = STRICT) -> Held:
    client = register(base, providers=(provider,))
    return Held(client, Login(client, provider).tokens())


@contextmanager
def refused_by_store(owner: type, method: str) -> Iterator[None]:
    """This one kind of write or call fails, and does nothing."""

    def refuse(*_arguments: object, **_named: object) -> None:
        raise StoreUnavailable("ordered by a test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, refuse)
        yield


def assert_unavailable(response: requests.Response) -> None:
    assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
    assert int(response.headers["retry-after"]) >= 1


def assert_reconnect(response: requests.Response) -> None:
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert "reconnect=" in response.json()["reconnect_url"]


def rescued(base: str) -> Held:
    """A login whose new provider token is in the queue, and whose lease has run out."""
    held = logged_in(base)
    pass_time(LIFETIME + 5)
    with refused_by_store(Links, "write"):
        assert held.userinfo().status_code == 200
    assert waiting_messages() == 1
    assert held.link.version == 1
    pass_time(AFTER_LEASE)
    return held


# -- the rescue queue ----------------------------------------------------------------------------------------------


def test_a_token_that_cannot_be_written_is_used_and_kept(base: str) -> None:
    """The provider is asked once; the next one who needs the token takes it from the queue."""
    start_counting(base, STRICT)
    held = rescued(base)
    assert held.refresh().status_code == 200
    assert counted(base, STRICT)["token:refresh_token"] == 1
    assert (held.link.version, held.link.lease_id, held.link.recover) == (2, "", False)
    assert waiting_messages() == 0
    pass_time(LIFETIME + 5)
    assert held.refresh().status_code == 200
    assert held.userinfo().status_code == 200


def test_what_is_in_the_queue_opens_nothing(base: str, local_broker: LocalBroker) -> None:
    """It is sealed under the grant secret, which only the client holds."""
    held = rescued(base)
    sqs = local_broker.aws_client("sqs")
    answer = sqs.receive_message(QueueUrl=runtime().settings.rescue_queue, VisibilityTimeout=0)
    (message,) = answer["Messages"]
    assert json.loads(message["Body"]).keys() == {"grant_id", "provider", "version", "due_at", "sealed"}
    assert held.refresh().status_code == 200
    tokens = vault.tokens_of(held.link, held.handle.secret)
    for secret in (tokens.access_token, tokens.refresh_token or "", handles.fingerprint(held.handle.secret).hex()):
        assert secret not in message["Body"]


def test_whoever_comes_first_writes_for_everybody(base: str) -> None:
    first, second = rescued_two(base)
    start_counting(base, STRICT)
    assert first.refresh().status_code == 200
    assert second.refresh().status_code == 200
    assert counted(base, STRICT).get("token:refresh_token", 0) == 0
    assert waiting_messages() == 0


def rescued_two(base: str) -> tuple[Held, Held]:
    first, second = logged_in(base), logged_in(base)
    pass_time(LIFETIME + 5)
    with refused_by_store(Links, "write"):
        assert [held.userinfo().status_code for held in (first, second)] == [200, 200]
    assert waiting_messages() == 2
    pass_time(AFTER_LEASE)
    return first, second


def test_a_message_that_is_older_than_the_table_changes_nothing(base: str) -> None:
    """The version is the fence, and what is superseded is deleted: also what belongs to a login that has ended."""
    held, ended = rescued_two(base)
    written = replace(held.link, version=2, sealed=b"newer", due_at=held.link.due_at)
    runtime().grants.links.write(written)
    assert revoke(ended.client, ended.tokens["refresh_token"]).status_code == 200
    third = logged_in(base)
    _leave_behind(third)
    assert third.userinfo().status_code == 200
    assert waiting_messages() == 0
    assert held.link.sealed == b"newer"


def _leave_behind(held: Held) -> None:
    """An instance took the lease and died, before the provider was asked."""
    pass_time(LIFETIME + 5)
    runtime().grants.links.take_lease(held.link, "of one who has died", runtime().settings.lease)
    pass_time(AFTER_LEASE)


def test_a_message_that_nobody_can_read_is_deleted(base: str, local_broker: LocalBroker) -> None:
    held = logged_in(base)
    _leave_behind(held)
    sqs = local_broker.aws_client("sqs")
    for body in (
        "x",
        "[]",
        '{"grant_id": "g"}',
        '{"grant_id":"g","provider":"p","version":"x","due_at":1,"sealed":"!"}',
    ):
        sqs.send_message(QueueUrl=runtime().settings.rescue_queue, MessageBody=body)
    assert held.refresh().status_code == 200
    assert waiting_messages() == 0


def test_a_message_that_cannot_be_written_yet_stays(base: str) -> None:
    """And nobody uses the old refresh token meanwhile: the table is down for him too."""
    held = rescued(base)
    start_counting(base, STRICT)
    with recorded() as steps:
        steps.arm(_number_of_write(held, steps), Fault.DOWN)
        assert_unavailable(held.refresh())
    assert waiting_messages() == 1
    assert counted(base, STRICT) == {}
    messages_come_back()
    pass_time(AFTER_LEASE)
    assert held.refresh().status_code == 200


def _number_of_write(held: Held, steps: Any) -> int:
    """Where the write of the message is among the steps: after it was received."""
    from broker_testing.crashes import Snapshot

    now, tokens = Snapshot.take(), held.tokens
    steps.arm(None)
    assert held.refresh().status_code == 200
    number = int(steps.taken.index("ReceiveMessage")) + 1
    now.restore()
    held.tokens = tokens
    start_counting(held.client.base, STRICT)
    return number


def test_a_queue_that_cannot_be_read_is_no_reason_to_ask_again(base: str) -> None:
    """It may have what the provider will not give a second time."""
    held = rescued(base)
    start_counting(base, STRICT)
    with refused_by_store(RescueQueue, "receive"):
        assert_unavailable(held.refresh())
    assert counted(base, STRICT) == {}
    pass_time(AFTER_LEASE)
    assert held.refresh().status_code == 200


@pytest.mark.parametrize(("provider", "lifetime"), [("openid", 300), ("redbooth", 7200)])
def test_a_token_that_nothing_takes_is_lost(base: str, local_broker: LocalBroker, provider: str, lifetime: int) -> None:
    """Row 26: the old refresh token is tried once more; a provider that takes it only once has then said its last word."""
    held = logged_in(base, provider)
    pass_time(lifetime + 5)
    with refused_by_store(Links, "write"), refused_by_store(RescueQueue, "send"):
        assert_unavailable(held.refresh())
    assert '"audit":"upstream.lost"' in local_broker.log_text()
    start_counting(base, provider)
    pass_time(AFTER_LEASE)
    assert_reconnect(held.refresh())
    assert counted(base, provider)["token:refresh_token"] == 1
    assert (held.grant.end_reason, held.grant.end_detail) == ("upstream_revoked", "refused")


def test_a_provider_that_takes_its_refresh_token_again_loses_nothing(base: str) -> None:
    """Row 26, where the replay helps."""
    held = logged_in(base, "infolobby")
    pass_time(3600 + 5)
    with refused_by_store(Links, "write"), refused_by_store(RescueQueue, "send"):
        assert_unavailable(held.refresh())
    pass_time(AFTER_LEASE)
    assert held.refresh().status_code == 200
    assert held.userinfo().status_code == 200


@contextmanager
def one_message_at_a_time() -> Iterator[None]:
    """SQS may give fewer messages than it is asked for, and does so as long as there are few."""
    base: Any = BaseClient
    call = base._make_api_call

    def sparing(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "ReceiveMessage":
            arguments = arguments | {"MaxNumberOfMessages": 1}
        return call(self, operation, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "_make_api_call", sparing)
        yield


def test_an_older_message_of_the_same_login_does_not_hide_the_wanted_one(base: str) -> None:
    """The first outage left its tokens in the table and in the queue, the second one in the queue alone."""
    held = logged_in(base)
    pass_time(LIFETIME + 5)
    with written_without_an_answer():
        assert held.refresh().status_code == 200
    assert (held.link.version, waiting_messages()) == (2, 1)
    pass_time(LIFETIME + 5)
    with refused_by_store(Links, "write"):
        assert held.refresh().status_code == 200
    assert (held.link.version, waiting_messages()) == (2, 2)
    pass_time(LIFETIME + AFTER_LEASE)
    start_counting(base, STRICT)
    with one_message_at_a_time():
        assert held.refresh().status_code == 200
    assert (held.link.version, waiting_messages()) == (4, 0)
    assert counted(base, STRICT)["token:refresh_token"] == 1  # for what was in the queue has been due since
    assert held.userinfo().status_code == 200


@contextmanager
def written_without_an_answer() -> Iterator[None]:
    """Every write of new tokens is done, but too late for whoever waits for it."""
    write = Links.write

    def slowly(links: Links, link: Link) -> None:
        write(links, link)
        raise StoreUnavailable("it took too long")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Links, "write", slowly)
        patch.setattr(vault, "WRITE_TRIES", 1)
        yield


# -- refusals that nobody explains ---------------------------------------------------------------------------------


def refused_oddly(held: Held) -> requests.Response:
    order_fault(held.client.base, STRICT, "token", "error", "out_of_cheese")
    response = held.refresh()
    forget_faults(held.client.base, STRICT)
    return response


def test_days_of_unknown_refusals_end_the_login(base: str) -> None:
    """Row 12: 503 and counted; after five over two days the person has to reconnect."""
    held = logged_in(base)
    pass_time(LIFETIME + 5)
    for number in range(1, 5):
        assert_unavailable(refused_oddly(held))
        assert held.link.refusals == number
        pass_time(DAY // 2)
    assert_reconnect(refused_oddly(held))
    assert (held.grant.end_reason, held.grant.end_detail) == ("upstream_revoked", "unknown_refusals")


def test_many_unknown_refusals_on_one_day_end_nothing(base: str) -> None:
    """A provider's bad day is not its last word."""
    held = logged_in(base)
    pass_time(LIFETIME + 5)
    for _ in range(8):
        assert_unavailable(refused_oddly(held))
        pass_time(3600)
    assert held.refresh().status_code == 200
    assert (held.link.refusals, held.link.refused_since) == (0, 0)


def test_a_success_begins_the_count_anew(base: str) -> None:
    held = logged_in(base)
    for _ in range(2):
        pass_time(LIFETIME + 5)
        for _ in range(4):
            assert_unavailable(refused_oddly(held))
            pass_time(DAY // 2)
        assert held.refresh().status_code == 200
    assert held.grant.stage == "active"


def test_other_failures_neither_count_nor_begin_anew(base: str) -> None:
    held = logged_in(base)
    pass_time(LIFETIME + 5)
    assert_unavailable(refused_oddly(held))
    pass_time(10)
    order_fault(base, STRICT, "token", "status", 503, times=2)
    assert_unavailable(held.refresh())
    assert held.link.refusals == 1


def test_clients_are_asked_to_wait_longer_the_longer_the_provider_is_down(base: str) -> None:
    """Half of the time that it has been failing, and begun anew once it has answered; its own Retry-After goes before."""
    held = logged_in(base)
    pass_time(LIFETIME + 5)
    order_fault(base, STRICT, "token", "status", 503, times=8)
    waits = []
    for seconds in (40, 80, 600):
        answer = held.refresh()
        assert_unavailable(answer)
        waits.append(int(answer.headers["retry-after"]))
        pass_time(seconds)
    assert waits[0] == 5
    assert 20 <= waits[1] <= 25
    assert 48 <= waits[2] < 60
    forget_faults(base, STRICT)
    assert held.refresh().status_code == 200
    assert held.link.failing_since == 0


def test_who_comes_during_the_pause_is_told_to_wait_as_long(base: str) -> None:
    """He has not failed himself, but the provider has been down for as long as for him who has."""
    held = logged_in(base)
    pass_time(LIFETIME + 5)
    order_fault(base, STRICT, "token", "status", 503, times=4)
    assert_unavailable(held.refresh())
    pass_time(80)
    for _ in range(2):
        answer = held.refresh()
        assert_unavailable(answer)
        assert 40 <= int(answer.headers["retry-after"]) < 50
    forget_faults(base, STRICT)


@pytest.mark.parametrize("due_only", [False, True])
def test_a_provider_that_says_when_is_not_asked_before(base: str, due_only: bool) -> None:
    """Its own Retry-After is the pause; a token that is still good is used meanwhile."""
    held = logged_in(base)
    pass_time(LIFETIME + (-25 if due_only else 5))
    order_fault(base, STRICT, "token", "rate_limit", 20)
    start_counting(base, STRICT)
    for seconds in (12, 9):
        if due_only:
            assert held.userinfo().status_code == 200
        else:
            assert int(held.refresh().headers["retry-after"]) >= 5
        assert counted(base, STRICT)["token:refresh_token"] == 1
        pass_time(seconds)
    assert held.refresh().status_code == 200
    assert counted(base, STRICT)["token:refresh_token"] == 2


def test_a_code_about_the_request_is_passed_on(base: str) -> None:
    """Row 11: nothing is used up, and nothing ends."""
    held = logged_in(base)
    pass_time(LIFETIME + 5)
    order_fault(base, STRICT, "token", "error", "invalid_scope")
    response = held.refresh()
    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")
    pass_time(10)
    assert held.refresh().status_code == 200


# -- the store is down while the provider's token is good ----------------------------------------------------------


@pytest.mark.parametrize("method", ["take_lease", "release_lease"])
def test_a_token_that_is_only_due_is_used_while_the_table_takes_nothing(base: str, method: str) -> None:
    held = logged_in(base)
    pass_time(LIFETIME - 20)
    order_fault(base, STRICT, "token", "status", 503, times=2)
    with refused_by_store(Links, method):
        assert held.userinfo().status_code == 200
    forget_faults(base, STRICT)


# -- a lease that is lost while its holder lives --------------------------------------------------------------------

ROTATING = "redbooth"
"""The provider whose refresh token works once, and whose grant lives on when it comes again."""


@pytest.fixture
def two_refreshers(base: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """A login that is due, and leases that nobody prolongs because the table does not take it."""
    held = logged_in(base, ROTATING)
    pass_time(7205)

    def refuse(*_arguments: object) -> None:
        raise StoreUnavailable("ordered by a test")

    monkeypatch.setattr(Links, "renew_lease", refuse)
    yield held
    assert (held.grant.stage, held.link.version) == ("active", 2)
    pass_time(7205)
    assert held.refresh().status_code == 200
    assert held.userinfo().status_code == 200


@dataclass
class Beside:
    """A second request for the same login, in a thread of its own."""

    held: Held
    answer: requests.Response | None = None
    may_go_on: threading.Event = field(default_factory=threading.Event)
    has_come: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        self.token = self.held.tokens["refresh_token"]
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.answer = refresh(self.held.client, self.token)
        self.has_come.set()

    def stop_here(self) -> None:
        """In the second request: tell the first one, and wait for it."""
        self.has_come.set()
        assert self.may_go_on.wait(30)

    def end(self) -> requests.Response:
        self.may_go_on.set()
        self.thread.join(30)
        assert self.answer is not None
        return self.answer


def test_who_lost_the_lease_takes_what_its_new_holder_gets(
    two_refreshers: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one's request reaches the provider after the second one's, and is refused; the second one has not written yet."""
    held, beside, sent = two_refreshers, Beside(two_refreshers), list[str]()
    send = BoundedHttp.send

    def sending(self: BoundedHttp, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        if not request.url.endswith("/token"):
            return send(self, request, deadline)
        sent.append(request.url)
        if len(sent) == 1:
            pass_time(AFTER_LEASE)
            beside.begin()
            assert beside.has_come.wait(30)
            return send(self, request, deadline)
        answer = send(self, request, deadline)
        beside.stop_here()
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(vault, "_keeping", lambda *_: nullcontext())  # who is to lose his lease does not prolong it
        patch.setattr(BoundedHttp, "send", sending)
        patch.setattr(vault, "sleep", lambda _seconds: beside.may_go_on.set())
        first = held.refresh()
        second = beside.end()
    assert (first.status_code, second.status_code) == (200, 200), (first.text, second.text)
    assert first.json()["refresh_token"] == second.json()["refresh_token"]
    assert len(sent) == 2


def test_who_took_over_looks_for_what_the_one_before_may_still_write(
    two_refreshers: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one has the provider's answer, but neither the table nor the queue has it yet when the second one is refused."""
    held, beside, sent = two_refreshers, Beside(two_refreshers), list[str]()
    write, send = Links.write, BoundedHttp.send

    def writing(links: Links, link: Link) -> None:
        if not sent[1:]:
            pass_time(AFTER_LEASE)
            beside.begin()
            assert beside.has_come.wait(30)
        write(links, link)
        beside.may_go_on.set()

    def sending(self: BoundedHttp, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        sent.extend([request.url] if request.url.endswith("/token") else [])
        return send(self, request, deadline)

    with monkeypatch.context() as patch:
        patch.setattr(vault, "_keeping", lambda *_: nullcontext())  # who is to lose his lease does not prolong it
        patch.setattr(vault, "WRITE_SECONDS", 30.0)
        with_seconds_left(patch, 1000)
        patch.setattr(Links, "write", writing)
        patch.setattr(BoundedHttp, "send", sending)
        patch.setattr(vault, "sleep", lambda _seconds: beside.stop_here())
        first = held.refresh()
        second = beside.end()
    assert (first.status_code, second.status_code) == (200, 200), (first.text, second.text)
    assert first.json()["refresh_token"] == second.json()["refresh_token"]
    assert len(sent) == 2


# -- too little time -----------------------------------------------------------------------------------------------


def with_seconds_left(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(invocation, "seconds_left", lambda: seconds)


def test_a_refresh_that_lambda_could_cut_off_is_not_begun(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider's new token that is not written any more would be lost."""
    held = logged_in(base)
    pass_time(LIFETIME + 5)
    start_counting(base, STRICT)
    with monkeypatch.context() as patch:
        with_seconds_left(patch, vault.refresh_seconds(runtime()) - 1)
        assert_unavailable(held.refresh())
    assert counted(base, STRICT) == {}
    assert held.link.lease_id == ""
    assert held.refresh().status_code == 200


def time_that(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, *, takes: float, of: float) -> None:
    """Of this many seconds that are left, the call takes so many, as the AWS client repeats it; it is done all the same."""
    left = [of]
    done = getattr(owner, method)

    def slowly(self: Any, *arguments: Any) -> Any:
        left[0] -= takes
        return done(self, *arguments)

    monkeypatch.setattr(owner, method, slowly)
    monkeypatch.setattr(invocation, "seconds_left", lambda: left[0])


@pytest.mark.parametrize("due_only", [False, True])
def test_a_refresh_is_not_begun_after_a_slow_lease(base: str, monkeypatch: pytest.MonkeyPatch, due_only: bool) -> None:
    """The time that was enough before is not any more; the lease is given back, and the next one may try at once."""
    held = logged_in(base)
    pass_time(LIFETIME + (-20 if due_only else 5))
    start_counting(base, STRICT)
    with monkeypatch.context() as patch:
        time_that(patch, Links, "take_lease", takes=9, of=vault.refresh_seconds(runtime()) + 1)
        if due_only:
            assert held.userinfo().status_code == 200
        else:
            assert_unavailable(held.refresh())
    assert "token:refresh_token" not in counted(base, STRICT)
    assert (held.link.lease_id, held.link.cool_until, held.link.failing_since) == ("", 0, 0)
    assert held.refresh().status_code == 200
    assert counted(base, STRICT)["token:refresh_token"] == 1


def test_a_refresh_is_not_begun_after_a_slow_look_into_the_queue(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it finds there is written all the same; what it does not find is left to the next one."""
    held = logged_in(base)
    _leave_behind(held)
    start_counting(base, STRICT)
    enough = vault.refresh_seconds(runtime(), recovering=True)
    with monkeypatch.context() as patch:
        time_that(patch, Links, "read", takes=9, of=enough + 1)
        assert_unavailable(held.refresh())
    assert counted(base, STRICT) == {}
    assert (held.link.lease_id, held.link.recover, held.link.cool_until) == ("", True, 0)
    assert held.refresh().status_code == 200
    assert counted(base, STRICT) == {"token:refresh_token": 1}


def test_a_token_that_is_only_due_is_used_when_there_is_no_time(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held = logged_in(base)
    pass_time(LIFETIME - 20)
    start_counting(base, STRICT)
    with_seconds_left(monkeypatch, 5)
    assert held.userinfo().status_code == 200
    assert counted(base, STRICT) == {"userinfo": 1}


def test_an_invocation_knows_when_it_ends() -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 20_000

    invocation.begin(Context())
    assert 19 < invocation.seconds_left() <= 20
    assert 19 < invocation.within(5, invocation.seconds_left) <= 20  # what runs beside it is the same invocation
    invocation.begin(None)
    assert invocation.seconds_left() == math.inf


def test_what_takes_too_long_is_left_to_itself() -> None:
    never = threading.Event()
    with pytest.raises(StoreUnavailable):
        invocation.within(0.01, never.wait)
    never.set()

    def fail() -> None:
        raise KeyError("its own error")

    with pytest.raises(KeyError):
        invocation.within(5, fail)
    assert invocation.within(5, lambda: "in time") == "in time"


# -- the end -------------------------------------------------------------------------------------------------------


def test_a_revocation_that_was_cut_off_is_finished_by_its_repetition(base: str) -> None:
    """The login ends at once; the provider is told by whoever comes after the one who died."""
    held = logged_in(base)
    with recorded() as steps:
        steps.arm(None)
        runtime().forget()
        assert held.userinfo().status_code == 200
        steps.arm(0, Fault.DIES_AFTER)
        assert revoke(held.client, held.tokens["refresh_token"]).status_code == 500
        steps.disarm()
    assert (held.grant.stage, held.grant.end_reason) == ("ended", "revoked")
    start_counting(base, STRICT)
    assert revoke(held.client, held.tokens["refresh_token"]).status_code == 200
    assert counted(base, STRICT) == {}  # whoever ended it may still be at it
    pass_time(AFTER_LEASE)
    stranger = register(base, providers=(STRICT,))
    assert revoke(stranger, held.tokens["refresh_token"]).status_code == 200
    assert counted(base, STRICT) == {}
    for _ in range(2):
        assert revoke(held.client, held.tokens["refresh_token"]).status_code == 200
    assert counted(base, STRICT) == {"revoke": 1}
    assert runtime().grants.links.read(held.handle.grant_id) is None


def audited(local_broker: LocalBroker, since: int) -> list[tuple[str, str | None]]:
    """Event and provider of the lines since then that tell of a failure."""
    lines = [json.loads(line) for line in local_broker.log_text()[since:].splitlines() if '"audit"' in line]
    failures = {"upstream.failed", "upstream.misconfigured", "store.unavailable", "link.unreadable"}
    return [(line["audit"], line.get("provider")) for line in lines if line["audit"] in failures]


@pytest.mark.parametrize(("owner", "method"), [(Links, "drop"), (Grants, "read"), (CredentialStore, "secret")])
def test_a_store_that_fails_at_a_revocation_is_no_failure_of_the_provider(
    base: str, local_broker: LocalBroker, owner: type, method: str
) -> None:
    """It would count as one in the alarms and on the dashboard."""
    held, since = logged_in(base), len(local_broker.log_text())
    with refused_by_store(owner, method):
        assert revoke(held.client, held.tokens["refresh_token"]).status_code == 200
    assert audited(local_broker, since) == [("store.unavailable", None)]
    assert held.grant.stage == "ended"


def test_a_store_that_fails_when_the_operator_ends_a_login_is_no_failure_of_a_provider(
    base: str, local_broker: LocalBroker
) -> None:
    held, since = logged_in(base), len(local_broker.log_text())
    with refused_by_store(Links, "drop"):
        assert ending.end(runtime(), base, held.handle.grant_id, "operator")
    assert audited(local_broker, since) == [("store.unavailable", None)]


def test_tokens_that_cannot_be_opened_are_deleted_and_named_as_that(base: str, local_broker: LocalBroker) -> None:
    held, since = logged_in(base), len(local_broker.log_text())
    start_counting(base, STRICT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vault, "_PURPOSE", "something else")
        assert revoke(held.client, held.tokens["refresh_token"]).status_code == 200
    assert audited(local_broker, since) == [("link.unreadable", STRICT)]
    assert counted(base, STRICT) == {}
    assert runtime().grants.links.read(held.handle.grant_id) is None


def test_tokens_that_cannot_be_opened_end_the_login(base: str) -> None:
    """A table that was changed or restored by hand: the client is told where to log in again, at whatever it asks."""
    held, other = logged_in(base), logged_in(base)
    for one in (held, other):
        runtime().grants.links.write(replace(one.link, version=2, sealed=b"of nobody"))
    told = other.userinfo()
    assert (told.status_code, told.json()["error"]) == (401, "invalid_token")
    assert "reconnect=" in told.json()["reconnect_url"]
    pass_time(LIFETIME + 5)
    assert_reconnect(held.refresh())
    for one in (held, other):
        assert (one.grant.end_reason, one.grant.end_detail) == ("upstream_revoked", "unreadable")


@pytest.mark.parametrize("after_death", [False, True])
def test_a_token_that_is_renewed_while_the_provider_is_told_is_revoked_too(
    base: str, monkeypatch: pytest.MonkeyPatch, after_death: bool
) -> None:
    """A refresh was under way when the client signed out: what it writes after the link was read is not just deleted. The same
    when the one who ended the login died, and a repetition tells the provider."""
    held, told = logged_in(base), list[str]()
    before, secret = held.link, held.handle.secret
    tokens = vault.tokens_of(before, secret)
    renewed = replace(tokens, refresh_token="the-renewed-one")
    send = BoundedHttp.send

    def sending(self: BoundedHttp, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        if not told:
            runtime().grants.links.write(vault.with_tokens(replace(before, version=2), renewed, secret))
        told.append(dict(parse_qsl((request.body or b"").decode()))["token"])
        return send(self, request, deadline)

    if after_death:
        runtime().grants.end(before.grant_id, "revoked")
        pass_time(AFTER_LEASE)
    monkeypatch.setattr(BoundedHttp, "send", sending)
    assert revoke(held.client, held.tokens["refresh_token"]).status_code == 200
    assert told == [tokens.refresh_token, "the-renewed-one"]
    assert runtime().grants.links.read(before.grant_id) is None


def test_a_link_that_never_comes_to_rest_is_left_to_the_next_revocation(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = logged_in(base)
    send = BoundedHttp.send

    def sending(self: BoundedHttp, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        link, secret = held.link, held.handle.secret
        tokens = vault.tokens_of(link, secret)
        runtime().grants.links.write(vault.with_tokens(replace(link, version=link.version + 1), tokens, secret))
        return send(self, request, deadline)

    with monkeypatch.context() as patch:
        patch.setattr(BoundedHttp, "send", sending)
        assert revoke(held.client, held.tokens["refresh_token"]).status_code == 200
    assert held.link.version == 1 + vault.REVOKE_TURNS
    pass_time(AFTER_LEASE)
    assert revoke(held.client, held.tokens["refresh_token"]).status_code == 200
    assert runtime().grants.links.read(held.handle.grant_id) is None


def test_a_token_that_was_renewed_while_its_login_ended_is_revoked(base: str) -> None:
    """The end could revoke only the tokens of before."""
    held = logged_in(base)
    pass_time(LIFETIME + 5)
    write = Links.write

    def ended_just_before(links: Links, link: Link) -> None:
        runtime().grants.end(link.grant_id, "operator")
        links.drop(link.grant_id)
        write(links, link)

    start_counting(base, STRICT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Links, "write", ended_just_before)
        refused = held.refresh()
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert counted(base, STRICT) == {"token:refresh_token": 1, "revoke": 1}


@contextmanager
def while_renewing(action: Callable[[], None]) -> Iterator[None]:
    """Somebody does `action` when the provider has renewed a token, and before the broker hears of it."""
    send, waiting = BoundedHttp.send, [action]

    def sending(self: BoundedHttp, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        answer = send(self, request, deadline)
        if waiting and request.url.endswith("/token"):
            waiting.pop()()
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BoundedHttp, "send", sending)
        yield
    assert not waiting, "nothing was renewed"


def _sign_out(held: Held, how: str) -> None:
    if how == "revoke":
        done = revoke(held.client, held.tokens["refresh_token"])
    else:
        hint = {"id_token_hint": held.tokens["id_token"]}
        done = requests.get(f"{held.client.base}/logout", params=hint, timeout=30)
    assert done.status_code == 200


@pytest.mark.parametrize("how", ["revoke", "logout"])
@pytest.mark.parametrize("request_", [Held.refresh, Held.userinfo])
def test_who_signs_out_beside_a_renewal_is_not_asked_to_reconnect(
    base: str, how: str, request_: Callable[[Held], requests.Response]
) -> None:
    """The tokens are gone when they are to be written, and not because the provider ended anything."""
    held = logged_in(base)
    pass_time(LIFETIME - 20)
    with while_renewing(partial(_sign_out, held, how)):
        refused = request_(held)
    assert refused.status_code in (400, 401)
    assert refused.json() == {
        "error": "invalid_grant" if refused.status_code == 400 else "invalid_token",
        "error_description": "the login has ended, please log in again",
    }
    assert held.grant.end_reason == {"revoke": "revoked"}.get(how, how)


def test_who_finds_the_login_ended_for_the_same_reason_is_told_where_to_reconnect(base: str) -> None:
    held = logged_in(base)
    pass_time(LIFETIME - 20)

    def end_beside() -> None:
        ending.end(runtime(), base, held.handle.grant_id, "upstream_revoked", detail="refused")

    with while_renewing(end_beside):
        assert_reconnect(held.refresh())
    assert held.grant.end_detail == "refused"


def test_a_code_whose_answer_was_lost_ends_the_login_with_that_reason(base: str) -> None:
    """The repetition by the SDK is told from a replay; what was sealed in the code is gone all the same."""
    login = Login(register(base, providers=(STRICT,)), STRICT)
    code = login.run()["code"]
    with recorded() as steps:
        runtime().client(login.client.client_id)
        runtime().keys.ring()
        steps.arm(0, Fault.TWICE)
        response = login.redeem()
        assert steps.taken[0] == "UpdateItem Grants"
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    handle = handles.read(Kind.CODE, code, runtime().keys.ring())
    assert handle is not None
    grant, link = runtime().grants.read(handle.grant_id)
    assert grant is not None
    assert (grant.end_reason, link) == ("answer_lost", None)
