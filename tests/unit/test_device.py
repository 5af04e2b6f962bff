"""The device grant's own pieces: user codes, sealing to a device, and the steps of its login on every store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from broker import clock
from broker.crypto import sealed_box
from broker.crypto.sealing import SealBroken
from broker.endpoints import device as endpoint
from broker.pages import texts
from broker.protocol import device
from broker.protocol.clients import Client
from broker.protocol.registration import InvalidRegistration, validate_client
from broker.runtime import runtime
from broker.settings import LIMITS
from broker.store.device_logins import DeviceLogins, may_open, was_denied_by
from broker.store.grants import Grant, Refused, new_grant_id
from broker.store.links import Link
from broker_cli.options import GrantType
from broker_testing.parallel import at_once
from broker_testing.stores import search

CODE, OTHER, BROWSER, SECRET = b"c" * 32, b"o" * 32, b"b" * 32, b"s" * 32
LIFETIME, INTERVAL = 600, 5

# -- user codes ----------------------------------------------------------------------------------------------------


def test_new_user_codes() -> None:
    """Eight letters of the alphabet, never the same (RFC 8628 section 6.1)."""
    codes = {device.new_user_code() for _ in range(200)}
    assert len(codes) == 200
    assert {letter for code in codes for letter in code} == set("BCDFGHJKLMNPQRSTVWXZ")
    assert {len(code) for code in codes} == {8}


@given(st.text("BCDFGHJKLMNPQRSTVWXZ", min_size=8, max_size=8))
def test_a_code_is_read_as_it_is_shown(code: str) -> None:
    assert device.normalise(device.shown(code)) == code
    assert device.normalise(device.shown(code).lower()) == code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WDJB-MJHT", "WDJBMJHT"),
        ("wdjbmjht", "WDJBMJHT"),
        (" w d j b \u2013 m.j_h\tt\n", "WDJBMJHT"),
        ("WDJB\u2212MJHT", "WDJBMJHT"),
        ("", None),
        ("WDJB-MJH", None),
        ("WDJB-MJHTT", None),
        ("WDJA-MJHT", None),
        ("WDJB-MJH0", None),
        ("WDJB/MJHT", None),
        ("\u212adjbmjht", None),  # the Kelvin sign, which is no K of ours
    ],
)
def test_what_people_type(text: str, expected: str | None) -> None:
    assert device.normalise(text) == expected


# -- sealing to a device -------------------------------------------------------------------------------------------


def test_only_the_private_key_opens_what_is_sealed() -> None:
    public = sealed_box.public_key(CODE)
    sealed = sealed_box.seal(public, "p", b"plain", b"here")
    assert sealed_box.unseal(CODE, "p", sealed, b"here") == b"plain"
    assert sealed_box.seal(public, "p", b"plain", b"here") != sealed
    for key, purpose, place in ((OTHER, "p", b"here"), (public, "p", b"here"), (CODE, "q", b"here"), (CODE, "p", b"x")):
        with pytest.raises(SealBroken):
            sealed_box.unseal(key, purpose, sealed, place)


@pytest.mark.parametrize("position", [0, 31, 32, 44, -1])
def test_a_changed_seal_is_broken(position: int) -> None:
    changed = bytearray(sealed_box.seal(sealed_box.public_key(CODE), "p", b"plain", b"here"))
    changed[position] ^= 1
    with pytest.raises(SealBroken):
        sealed_box.unseal(CODE, "p", bytes(changed), b"here")


@pytest.mark.parametrize("sealed", [b"", b"x" * 31, b"x" * 32, bytes(32) + b"x" * 40])
def test_what_is_no_seal(sealed: bytes) -> None:
    """Too short, or with a public key that everybody's agrees with (all zero)."""
    with pytest.raises(SealBroken):
        sealed_box.unseal(CODE, "p", sealed, b"here")


# -- the steps of a login ------------------------------------------------------------------------------------------


@pytest.fixture
def logins(base: str, each_store: str) -> DeviceLogins:
    """The table as the handlers have it."""
    return runtime().device_logins


def begun(logins: DeviceLogins, user_code: str | None = None, **attributes: Any) -> Grant:
    now = clock.now()
    values: dict[str, Any] = {
        "grant_id": new_grant_id(),
        "stage": "device",
        "client_id": f"client-{new_grant_id()}",
        "provider": "",
        "created_at": now,
        "expires_at": now + LIFETIME,
        "scope": ("openid",),
        "resource": ("https://api.example",),
        "code_hash": CODE,
        "device_key": sealed_box.public_key(CODE),
        "device_until": now + LIFETIME,
        "poll_interval": INTERVAL,
    }
    login = Grant(**(values | attributes))
    logins.begin_device(login, user_code or device.new_user_code())
    return login


def now_of(logins: DeviceLogins, login: Grant) -> Grant:
    grant, _ = logins.read(login.grant_id)
    assert grant is not None
    return grant


def claimed(logins: DeviceLogins, login: Grant) -> Grant:
    """At the provider and back."""
    logins.open(login.grant_id, provider="p", browser_hash=BROWSER)
    return logins.claim(login.grant_id, provider="p", browser_hash=BROWSER, exchange_until=clock.now() + 60)


def approved(logins: DeviceLogins, login: Grant) -> Grant:
    """Ready for the device."""
    return finished(logins, claimed(logins, login))


def finished(logins: DeviceLogins, exchange: Grant) -> Grant:
    """Ready for the device, after this exchange."""
    values = {
        "stage": "device_ready",
        "subject": "p|1",
        "auth_time": clock.now(),
        "secret_hash": SECRET,
        "code_sealed": b"sealed",
        "absolute_expires_at": clock.now() + 10_000,
        "expires_at": exchange.device_until,
    }
    ready = Grant(**({name: getattr(exchange, name) for name in exchange.__dataclass_fields__} | values))
    tokens = Link(exchange.grant_id, "p", b"tokens", 1)
    logins.finish_exchange(ready, tokens, exchange_until=exchange.expires_at)
    return ready


def poll(logins: DeviceLogins, login: Grant, **changes: Any) -> None:
    logins.poll(login.grant_id, **({"code_hash": CODE, "client_id": login.client_id} | changes))


def redeem(logins: DeviceLogins, login: Grant, **changes: Any) -> Grant:
    values: dict[str, Any] = {
        "code_hash": CODE,
        "client_id": login.client_id,
        "resource": (),
        "jkt": None,
        "bind_refresh": True,
        "handle_key": 1,
        "idle_lifetime": 1000,
    }
    return logins.redeem_device(login.grant_id, **(values | changes))


def refused(act: Callable[[], object]) -> Grant | None:
    """What stood in the way."""
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.grant


def test_a_device_login_keeps_everything(logins: DeviceLogins) -> None:
    code = device.new_user_code()
    login = begun(logins, code, asked_provider="p", provider="p")
    assert now_of(logins, login) == login
    assert logins.by_user_code(code) == login


def test_a_user_code_leads_to_one_login_at_a_time(logins: DeviceLogins) -> None:
    """The second has neither code nor item; once the first has expired, the code is free."""
    code = device.new_user_code()
    first = begun(logins, code)
    with pytest.raises(Refused):
        begun(logins, code, grant_id="A" * 22)
    assert logins.read("A" * 22) == (None, None)
    assert logins.by_user_code(code) == first
    clock.offset += LIFETIME
    assert logins.by_user_code(code) is None
    second = begun(logins, code)
    assert logins.by_user_code(code) == second


def test_of_many_with_one_user_code_one_begins(logins: DeviceLogins) -> None:
    code = device.new_user_code()

    def attempt() -> bool:
        try:
            begun(logins, code)
        except Refused:
            return False
        return True

    # A transaction that meets another one is cancelled and tried again, so whoever loses knows why.
    assert sum(at_once([attempt] * 4)) == 1


def test_a_poll_counts_for_the_right_client_in_time(logins: DeviceLogins) -> None:
    login = begun(logins)
    for wrong in ({"code_hash": OTHER}, {"client_id": "another"}):
        assert refused(partial(poll, logins, login, **wrong)) == login
    began = clock.now()
    poll(logins, login)
    assert began + INTERVAL <= now_of(logins, login).poll_after <= clock.now() + INTERVAL
    assert refused(partial(poll, logins, login)) is not None
    clock.offset += INTERVAL
    poll(logins, login)
    began = clock.now()
    logins.slow_down(login.grant_id, 5)
    slowed = now_of(logins, login)
    assert slowed.poll_interval == 10
    assert began + 10 <= slowed.poll_after <= clock.now() + 10
    clock.offset += LIFETIME
    assert refused(partial(poll, logins, login)) == slowed


def test_who_may_take_a_login_up(logins: DeviceLogins) -> None:
    """While it waits or somebody is at the provider; not during an exchange, but once that has failed to end."""
    login = begun(logins)
    logins.open(login.grant_id, provider="q", browser_hash=OTHER)
    exchange = claimed(logins, login)
    assert exchange.provider == "p"
    assert not may_open(exchange)
    assert refused(partial(logins.open, login.grant_id, provider="p", browser_hash=BROWSER)) == exchange
    assert refused(partial(logins.deny, login.grant_id, browser_hash=OTHER)) == exchange
    clock.offset += 61
    assert may_open(exchange)
    again = claimed(logins, login)
    assert now_of(logins, login) == again
    logins.reopen(login.grant_id, exchange_until=again.expires_at)
    assert may_open(now_of(logins, login))
    logins.deny(login.grant_id, browser_hash=OTHER)
    ended = now_of(logins, login)
    assert (ended.stage, ended.end_reason, ended.browser_hash) == ("ended", "denied", OTHER)
    assert was_denied_by(ended, OTHER)
    assert not was_denied_by(ended, BROWSER)
    for step in (
        partial(logins.open, login.grant_id, provider="p", browser_hash=BROWSER),
        partial(poll, logins, login),
    ):
        assert refused(step) == ended
    assert refused(partial(logins.reopen, login.grant_id, exchange_until=exchange.expires_at)) == ended


def test_an_exchange_that_is_over_neither_finishes_nor_ends_another(logins: DeviceLogins) -> None:
    """The secrets of one exchange open nothing beside the tokens of another."""
    login = begun(logins)
    first = claimed(logins, login)
    clock.offset += 61
    second = claimed(logins, login)
    assert refused(partial(finished, logins, first)) == second
    assert refused(partial(logins.reopen, login.grant_id, exchange_until=first.expires_at)) == second
    assert finished(logins, second).stage == now_of(logins, login).stage == "device_ready"


def test_an_ordinary_login_has_nothing_of_a_device(logins: DeviceLogins) -> None:
    """No step of a device applies to it."""
    login = begun(
        logins, stage="login", device_key=b"", browser_hash=BROWSER, provider="p", poll_interval=0, device_until=0
    )
    stored = now_of(logins, login)
    assert stored == login
    for step in (
        partial(logins.open, login.grant_id, provider="p", browser_hash=OTHER),
        partial(logins.deny, login.grant_id, browser_hash=OTHER),
        partial(poll, logins, login),
        partial(redeem, logins, login),
        partial(logins.slow_down, login.grant_id, 5),
    ):
        assert refused(step) == login
    exchange = logins.claim(login.grant_id, provider="p", browser_hash=BROWSER, exchange_until=clock.now() + 60)
    assert refused(partial(logins.reopen, login.grant_id, exchange_until=exchange.expires_at)) == exchange


def test_an_approved_login_is_redeemed_once(logins: DeviceLogins) -> None:
    login = begun(logins)
    assert refused(partial(redeem, logins, login)) == login
    ready = approved(logins, login)
    assert now_of(logins, login).code_sealed == b"sealed"
    assert list(search(client_id=login.client_id)) == [], "approved, and not active yet"
    for wrong in ({"code_hash": OTHER}, {"client_id": "another"}, {"resource": ("https://other.example",)}):
        refused(partial(redeem, logins, login, **wrong))
    assert refused(partial(logins.deny, login.grant_id, browser_hash=BROWSER)) is not None
    assert refused(partial(poll, logins, login)) is not None

    def attempt() -> Grant | None:
        try:
            return redeem(logins, login, resource=("https://api.example",), jkt="thumbprint")
        except Refused:
            return None

    (before,) = [grant for grant in at_once([attempt] * 10) if grant is not None]
    assert before.code_sealed == ready.code_sealed
    active = now_of(logins, login)
    assert (active.stage, active.generation, active.refresh_jkt, active.bound_from) == ("active", 1, "thumbprint", 1)
    assert (active.code_sealed, active.device_key, active.device_until, active.poll_interval) == (b"", b"", 0, 0)
    assert active.code_hash == CODE
    assert [grant.grant_id for grant in search(client_id=login.client_id)] == [login.grant_id]


def test_an_approved_login_ends_with_its_device_code(logins: DeviceLogins) -> None:
    login = begun(logins)
    approved(logins, login)
    clock.offset += LIFETIME
    refused(partial(redeem, logins, login))
    assert now_of(logins, login).stage == "device_ready"


# -- registration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grant_types", "good"),
    [
        ((device.GRANT_TYPE,), True),
        ((device.GRANT_TYPE, "refresh_token"), True),
        (("refresh_token",), False),
        ((device.GRANT_TYPE, "authorization_code"), False),
    ],
)
def test_a_device_needs_no_redirect_uri(grant_types: tuple[str, ...], good: bool) -> None:
    client = Client("tv", "A TV", (), grant_types=grant_types, providers=("p",))
    if good:
        validate_client(client, LIMITS)
        return
    with pytest.raises(InvalidRegistration):
        validate_client(client, LIMITS)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("device_code", device.GRANT_TYPE),
        (device.GRANT_TYPE, device.GRANT_TYPE),
        ("authorization_code", "authorization_code"),
        ("password", None),
    ],
)
def test_grant_types_on_the_command_line(typed: str, expected: str | None) -> None:
    @click.command()
    @click.option("--grant-type", type=GrantType())
    def command(grant_type: str) -> None:
        click.echo(grant_type)

    outcome = CliRunner().invoke(command, ["--grant-type", typed])
    assert (outcome.exit_code, outcome.output.strip()) == (0, expected) if expected else outcome.exit_code == 2


# -- the page ------------------------------------------------------------------------------------------------------


def test_every_sentence_of_the_page_can_be_replaced() -> None:
    """What the endpoint says stands among the texts that the operator may put into his own words."""
    problems = [endpoint._NOT_GOOD, endpoint._STALE, endpoint._CHOOSE]
    errors = [endpoint._TITLE, endpoint._TOO_MANY, endpoint._UNREADABLE]
    assert [text for text in (*problems, *errors) if text not in texts.KEYS] == []
