"""What a device login costs, and what an intruder finds of it: in the logs nothing, in the tables nothing that opens it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from broker import clock
from broker.crypto import handles, sealed_box
from broker.crypto.handles import Kind
from broker.crypto.sealing import SealBroken
from broker.grants import device_code
from broker.limiter import Limiter
from broker.protocol import device
from broker.protocol.limits import Limit
from broker.runtime import runtime
from broker.store.aws import client
from broker.store.counters import Counters
from broker.store.grants import Grant
from broker_local.server import LocalBroker
from broker_testing.device import Device, Person
from broker_testing.journey import Login, register, userinfo
from broker_testing.trouble import answer_lost_once
from broker_testing.wire import tapped

GRANT_TYPES = (device.GRANT_TYPE, "refresh_token")


@contextmanager
def writes_of(grant_id: str) -> Iterator[list[str]]:
    """The operations on a login's item, counters and replay marks apart."""
    found: list[str] = []

    def record(request: Any, event_name: str, **_details: object) -> None:
        if f'"{grant_id}"' in request.body.decode():
            found.append(event_name.rpartition(".")[2])

    events = client("dynamodb").meta.events
    events.register("before-send", record)
    try:
        yield found
    finally:
        events.unregister("before-send", record)


def handle_of(of: Device) -> handles.Handle:
    handle = handles.read(Kind.DEVICE, of.answer["device_code"], runtime().keys.ring())
    assert handle is not None
    return handle


def grant_of(of: Device) -> Grant:
    grant, _ = runtime().grants.read(handle_of(of).grant_id)
    assert grant is not None
    return grant


def test_a_poll_costs_one_conditional_write(base: str) -> None:
    """While the device waits; the one that fetches the tokens costs two, a forged one nothing."""
    tv = Device(register(base, grant_types=GRANT_TYPES, redirect_uris=())).begin()
    with writes_of(grant_of(tv).grant_id) as writes:
        assert tv.poll().json()["error"] == "authorization_pending"
    assert writes == ["UpdateItem"]
    Person(base).approve(tv.user_code)
    clock.offset += 5
    with writes_of(grant_of(tv).grant_id) as writes:
        assert tv.poll().status_code == 200
    assert writes == ["UpdateItem", "UpdateItem"]


def test_a_device_that_comes_after_the_end_of_its_login(base: str) -> None:
    """Approved, but the login lasts for less than the device code does."""
    tv = Device(register(base, grant_types=GRANT_TYPES, redirect_uris=(), absolute_lifetime=30)).begin()
    Person(base).approve(tv.user_code)
    clock.offset += 31
    late = tv.poll()
    assert (late.status_code, late.json()["error"]) == (400, "expired_token")


@pytest.mark.parametrize("step", ['":until"', ":code_sealed"], ids=["state used up", "login ready"])
def test_a_poll_between_a_write_and_its_repetition_undoes_nothing(base: str, step: str) -> None:
    """A device polls every five seconds, about as long as the AWS client waits for an answer that is lost."""
    tv, person = Device(register(base, grant_types=GRANT_TYPES, redirect_uris=())).begin(), Person(base)
    back = person.callback_url(person.confirm(tv.user_code))
    clock.offset += 6
    polls: list[requests.Response] = []
    with answer_lost_once("UpdateItem", of=step, then=lambda: polls.append(tv.poll())):
        page = person.browser.get(back)
    assert page.status_code == 200, page.text
    clock.offset += 6
    answer = tv.poll() if polls[0].status_code == 400 else polls[0]
    assert answer.status_code == 200
    assert userinfo(base, answer.json()["access_token"]).status_code == 200


def test_a_poll_knows_its_own_repetition(base: str) -> None:
    tv = Device(register(base, grant_types=GRANT_TYPES, redirect_uris=())).begin()
    clock.offset += 6
    with answer_lost_once("UpdateItem"):
        assert tv.poll().json()["error"] == "authorization_pending"
    assert grant_of(tv).poll_interval == 5


def test_an_ordinary_login_stays_as_small_as_it_was(base: str) -> None:
    """Devices add nothing to the item that rotates."""
    login = Login(register(base))
    tokens = login.tokens()
    grant_id = _grant_id(tokens)
    stored = client("dynamodb").get_item(
        TableName=runtime().settings.grants_table, Key={"pk": {"S": grant_id}, "sk": {"S": "grant"}}
    )["Item"]
    assert not {name for name in stored if name.startswith(("device", "poll", "asked"))}


def test_polls_that_wait_do_not_use_up_the_rate_limit(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pending is no failure: it counts as one request, as a success does; polling too fast is one."""
    counters = Counters(client("dynamodb"), runtime().settings.grants_table)
    limiter = Limiter(counters, {"token.device_code.client": Limit(90, 3600)})
    monkeypatch.setitem(runtime().__dict__, "limiter", limiter)
    clock.offset += 3600 - clock.now() % 3600
    tv = Device(register(base, grant_types=GRANT_TYPES, redirect_uris=())).begin()

    def left(answer: requests.Response, error: str) -> int:
        assert answer.json()["error"] == error
        return int(re.findall(";r=([0-9]+);", answer.headers["ratelimit"])[0])

    assert left(tv.poll(), "authorization_pending") == 89
    assert left(tv.poll(), "slow_down") == 79
    clock.offset += 15
    assert left(tv.poll(), "authorization_pending") == 78


def test_what_an_intruder_finds(base: str, local_broker: LocalBroker) -> None:
    """The device's secret is nowhere; nothing that is stored opens the approved login, but the device does."""
    before = len(local_broker.log_text())
    tv = Device(register(base, grant_types=GRANT_TYPES, redirect_uris=())).begin()
    with tapped(local_broker) as tap:
        Person(base).approve(tv.user_code)
    login, secret = grant_of(tv), handle_of(tv).secret
    assert login.stage == "device_ready"
    table = client("dynamodb").scan(TableName=runtime().settings.grants_table, ConsistentRead=True)["Items"]
    stored = [value for item in table for entry in item.values() for value in entry.values()]
    assert secret not in stored
    place = login.grant_id.encode()
    for candidate in {bytes(value) for value in stored if isinstance(value, bytes) and len(value) == 32}:
        with pytest.raises(SealBroken):
            sealed_box.unseal(candidate, device_code._PURPOSE, login.code_sealed, place)
    contents = json.loads(sealed_box.unseal(secret, device_code._PURPOSE, login.code_sealed, place))
    text = json.dumps(stored, default=bytes.hex)
    assert contents["grant_secret"] not in text
    assert device.normalise(tv.user_code) not in [str(value) for value in stored]
    log = local_broker.log_text()[before:]
    assert "device.approved" in log
    for value in (tv.user_code, device.normalise(tv.user_code) or "", tv.answer["device_code"], *tap.secrets()):
        assert value not in log


def _grant_id(tokens: dict[str, Any]) -> str:
    handle = handles.read(Kind.REFRESH, tokens["refresh_token"], runtime().keys.ring())
    assert handle is not None
    return handle.grant_id
