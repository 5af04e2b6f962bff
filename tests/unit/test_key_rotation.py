"""Rotation of the key document: nothing that a key made outlives it, no key is used before everybody knows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import clock
from broker.crypto import keys, rotation
from broker.crypto.keys import Algorithm, KeyRing, SecretKey, SigningKey, document_of, new_document, parse
from broker.crypto.rotation import MAX_DOCUMENT, Lives, RotationRefused
from broker.key_lives import LEAD, SLACK, lives
from broker.settings import LIMITS
from broker.upstream import serve

DAY = 86400
SHORT = Lives(lead=10, handle=100, sealing=80, signing=40, hint=200)
T0 = 1_800_000_000


FIRST = parse(new_document(T0))


@pytest.fixture
def first() -> KeyRing:
    """The keys of a new document."""
    return FIRST


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, first: KeyRing) -> None:
    """New signing keys cost no time: all have the first ones' PEM, and kids of their own of the same length."""
    _quick(monkeypatch, first)


def _quick(monkeypatch: pytest.MonkeyPatch, first: KeyRing) -> None:
    numbers = iter(range(10**6))

    def new_signing_key(alg: Algorithm, active_from: int) -> SigningKey:
        model = next(key for key in first.signing if key.alg == alg)
        return SigningKey(f"{next(numbers):043}", alg, model.private_pem, active_from)

    monkeypatch.setattr(rotation, "new_signing_key", new_signing_key)


def all_kinds(ring: KeyRing) -> Iterator[tuple[SecretKey | SigningKey, ...]]:
    yield ring.handle
    yield ring.sealing
    for alg in keys.ALGORITHMS:
        yield tuple(key for key in ring.signing if key.alg == alg)


def at(monkeypatch: pytest.MonkeyPatch, now: int) -> None:
    monkeypatch.setattr(clock, "now", lambda: now)


def used(ring: KeyRing) -> tuple[int, int, str, str]:
    """What is made with now."""
    ids = ring.handle_key().id, ring.sealing_key().id
    return *ids, ring.signing_key("ES256").kid, ring.signing_key("RS256").kid


# -- one rotation --------------------------------------------------------------------------------------------------


def test_a_rotation_adds_a_next_key_to_every_kind_and_lets_the_one_before_retire(
    first: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is published at once (META-11), used after the lead time, and the one before outlives all that it made."""
    second = rotation.rotated(first, T0 + 1000, SHORT)
    for kind, life in zip(all_kinds(second), (100, 80, 40, 40), strict=True):
        before, following = kind
        assert (before.active_from, before.retires_at) == (T0, T0 + 1010 + life)
        assert (following.active_from, following.retires_at) == (T0 + 1010, None)
    at(monkeypatch, T0 + 1009)
    assert used(second) == used(first)
    assert {key["kid"] for key in second.jwks()["keys"]} == {key.kid for key in second.signing}
    assert len(second.jwks()["keys"]) == 4
    at(monkeypatch, T0 + 1010)
    assert not set(used(second)[2:]) & set(used(first)[2:])
    assert used(second)[:2] == (2, 2)
    at(monkeypatch, T0 + 1010 + 40)
    assert {key["kid"] for key in second.jwks()["keys"]} == set(used(second)[2:])
    assert parse(document_of(second)) == second


def test_a_kind_that_has_a_next_key_gets_no_other(first: KeyRing, quick: None) -> None:
    """However often it is called for: every next key follows one that was used."""
    second = rotation.rotated(first, T0 + 1000, SHORT)
    assert rotation.rotated(second, T0 + 1005, SHORT) == second
    third = rotation.rotated(second, T0 + 1010, SHORT)
    assert [key.id for key in third.handle] == [1, 2, 3]


def test_what_has_retired_is_dropped_and_its_public_half_kept_for_sign_outs(first: KeyRing, quick: None) -> None:
    """The private half of a retired signing key must not lie about; an old ID token still says which login is to end."""
    second = rotation.rotated(first, T0 + 1000, SHORT)
    third = rotation.rotated(second, T0 + 1010 + 40, SHORT)
    assert [key.id for key in third.handle] == [1, 2, 3]
    assert {key.kid for key in third.past} == {key.kid for key in first.signing}
    assert {key.retires_at for key in third.past} == {T0 + 1010 + 200}
    assert not {key.private_pem for key in first.signing} & {key.public_pem for key in third.past}
    assert "PRIVATE" not in "".join(key.public_pem for key in third.past)
    assert "past" in json.loads(document_of(third))
    assert parse(document_of(third)) == third
    later = rotation.rotated(third, T0 + 1010 + 200, SHORT)
    assert [key.id for key in later.handle] == [3, 4]
    assert not {key.kid for key in later.past} & {key.kid for key in first.signing}


def test_at_once_the_new_keys_are_used_and_the_next_ones_kept(
    first: KeyRing, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions that remember the old document may begin to use its next keys for some minutes more."""
    waiting = rotation.rotated(first, T0 + 1000, SHORT)
    now = rotation.rotated(waiting, T0 + 1001, SHORT, at_once=True)
    at(monkeypatch, T0 + 1001)
    assert [key.id for key in now.handle] == [1, 2, 3]
    assert used(now)[:2] == (3, 3)
    assert [key.retires_at for key in now.handle] == [T0 + 1010 + 100, T0 + 1010 + 100, None]
    states = {key.name: key.state for key in rotation.reports(now, T0 + 1001)}
    assert (states["handle:2"], states["handle:3"]) == ("retiring", "active")
    assert rotation.problems(now, T0 + 1001, SHORT, oldest=0) == ()
    rotation.check_follows(now, waiting, T0 + 1001)
    at(monkeypatch, T0 + 1010)
    assert used(now)[:2] == (3, 3)


def test_a_key_of_a_clock_that_is_ahead_is_used_when_there_is_no_other(
    first: KeyRing, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, T0 - 240)
    assert used(first)[:2] == (1, 1)
    assert set(used(first)[2:]) == {key.kid for key in first.signing}


def test_a_revoked_key_is_gone_at_once_and_another_is_there(
    first: KeyRing, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, T0 + 50)
    kid = first.signing_key("ES256").kid
    after = rotation.replaced(first, ["handle:1", kid], T0 + 50, SHORT)
    assert (after.handle_key_by_id(1), after.signing_key_by_kid(kid)) == (None, None)
    assert after.sealing_key_by_id(1) is not None
    assert used(after)[:2] == (2, 2)
    everything = rotation.replaced(after, [rotation.ALL], T0 + 60, SHORT)
    assert not {key.name for key in rotation.reports(after, 0)} & {key.name for key in rotation.reports(everything, 0)}
    with pytest.raises(RotationRefused, match="there is no key handle:7, nonsense"):
        rotation.replaced(first, ["nonsense", "handle:7", "handle:1"], T0, SHORT)


@pytest.mark.parametrize("use", ["handle", "sealing", "ES256", "RS256"])
def test_a_revoked_key_leaves_no_problem_with_the_one_that_it_had_followed(
    first: KeyRing, quick: None, use: str
) -> None:
    """Which retires at the time that the revoked one had set, before what a key could have made that the new one followed."""
    ring, now = first, T0
    for _ in range(2):
        now += SHORT.lead + 30
        ring = rotation.rotated(ring, now, SHORT)
    now += SHORT.lead + 30
    (name,) = [key.name for key in rotation.reports(ring, now) if use in (key.use, key.alg) and key.state == "active"]
    assert rotation.problems(ring, now, SHORT, oldest=0) == ()
    after = rotation.replaced(ring, [name], now, SHORT)
    assert name not in {key.name for key in rotation.reports(after, now)}
    assert rotation.problems(after, now, SHORT, oldest=0) == ()


SLOW = 5
"""Seconds for which a function remembers a document; SHORT.lead is more."""


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 150), st.booleans()), min_size=1, max_size=12))
def test_nothing_outlives_the_key_that_made_it(steps: list[tuple[int, bool]]) -> None:
    """However rotations follow each other: at every moment, what was made with the key then in use is still accepted at
    the last moment of the longest life it may have, by the document of that time. Functions go by the document before for
    some seconds, which the lives allow for."""
    ring = FIRST
    with pytest.MonkeyPatch.context() as patch:
        _quick(patch, ring)
        now, owed = T0, []
        for wait, at_once in steps:
            for moment in {now, now + wait // 2, now + wait - 1}:
                at(patch, moment)
                owed.append((moment, used(ring)))
            now += wait
            at(patch, now)
            before, ring = ring, rotation.rotated(ring, now, SHORT, at_once=at_once)
            for late in (0, SLOW):
                at(patch, now + late)
                owed.append((now + late - SLOW, used(before)))
            at(patch, now)
            for moment, (handle, sealing, *kids) in owed:
                assert ring.handle_key_by_id(handle) or moment + SHORT.handle <= now
                assert ring.sealing_key_by_id(sealing) or moment + SHORT.sealing <= now
                assert all(ring.signing_key_by_kid(kid) or moment + SHORT.signing <= now for kid in kids)
                assert all(ring.retired_key_by_kid(kid) or moment + SHORT.hint <= now for kid in kids)
        assert parse(document_of(ring)) == ring


# -- how long ------------------------------------------------------------------------------------------------------


def test_the_lives_cover_every_lifetime_that_can_be_set() -> None:
    """Whatever the operator, a client or a dialect says, a key retires after what it made."""
    found = lives()
    longest_login = LIMITS["absolute_lifetime"][1]
    assert longest_login == max(high for _, high in LIMITS.values())  # so nothing that may be set lives longer
    assert found.handle == found.sealing == found.hint == longest_login + SLACK
    signed = [dialect.token.lifetime for dialect in serve.dialects().values() if not dialect.token.opaque]
    assert None not in signed  # else a signed token would live as long as its login
    assert 7 * DAY in signed
    assert found.signing == max(LIMITS["access_token_lifetime"][1], *(life or 0 for life in signed)) + SLACK
    assert found.lead == LEAD == DAY


@pytest.mark.parametrize("days", [7, 30, 365])
def test_the_document_stays_within_the_limit_of_a_secret(first: KeyRing, quick: None, days: int) -> None:
    """After years of rotation, with logins as long as they may be."""
    ring, now = first, T0
    for _ in range(3 * 400 // days + 3):
        now += days * DAY
        ring = rotation.rotated(ring, now, lives())
    assert rotation.problems(ring, now + DAY, lives(), oldest=2 * days * DAY) == ()
    assert len(document_of(ring)) < MAX_DOCUMENT * 0.75
    expected = 400 // days + 2
    assert expected - 1 <= len(ring.handle) <= expected + 1


def test_a_document_that_would_be_too_large_is_not_made(first: KeyRing, quick: None) -> None:
    ring = first
    with pytest.raises(RotationRefused, match="more than 65536 bytes"):
        for minute in range(100):
            ring = rotation.rotated(ring, T0 + minute, lives(), at_once=True)


# -- reports and trials --------------------------------------------------------------------------------------------


def test_reports_say_the_state_and_never_a_secret(first: KeyRing, quick: None) -> None:
    ring = rotation.rotated(rotation.rotated(first, T0 + 100, SHORT), T0 + 150, SHORT)
    shown = {key.name: (key.use, key.alg, key.state) for key in rotation.reports(ring, T0 + 150)}
    assert shown["handle:1"] == ("handle", "HMAC-SHA-256", "retiring")
    assert shown["handle:2"] == ("handle", "HMAC-SHA-256", "active")
    assert shown["sealing:3"] == ("sealing", "AES-256-GCM", "next")
    assert shown[first.signing[0].kid] == ("signing", first.signing[0].alg, "retired")
    text = repr(rotation.reports(ring, T0)) + repr(ring)
    for key in (*ring.handle, *ring.sealing):
        assert repr(key.secret) not in text
    assert "PRIVATE" not in text


def test_problems_are_named(first: KeyRing, quick: None) -> None:
    kid = first.signing[0].kid
    assert rotation.problems(first, T0, SHORT, oldest=0) == ()
    assert rotation.problems(first, T0 + 400 * DAY, lives(), oldest=0) == ()
    old = rotation.problems(first, T0 + 31 * DAY, lives(), oldest=30 * DAY)
    assert old[0] == "the handle key 1 has been in use for 31 days, and none is there to follow it"
    assert len(old) == 4
    assert f"key {kid} has been in use" in old[2] + old[3]
    assert rotation.problems(replace(first, sealing=()), T0, SHORT, oldest=0) == (
        "there is no sealing key that may be used",
    )
    ring = rotation.rotated(first, T0 + 100, SHORT)
    early = replace(ring, handle=(replace(ring.handle[0], retires_at=T0 + 111), ring.handle[1]))
    never = replace(ring, handle=(replace(ring.handle[0], retires_at=None), ring.handle[1]))
    assert rotation.problems(early, T0 + 105, SHORT, oldest=0) == (
        "the handle key 1 retires while tokens that it made may still live",
    )
    assert rotation.problems(never, T0 + 105, SHORT, oldest=0) == (
        "the handle key 1 was followed by another and never retires",
    )


def test_every_key_is_tried_out(first: KeyRing) -> None:
    """testSecret: a document that lost a key, or has one that does not work, must not become the present one."""
    second = rotation.rotated(first, T0 + 100, SHORT)
    rotation.try_out(second, T0 + 100)
    rotation.check_follows(second, first, T0 + 100)
    rotation.try_out(first, T0)
    (ec, rsa) = first.signing
    wrong: list[tuple[KeyRing, str]] = [
        (replace(second, handle=second.handle[1:]), "a kind of key has none that may be used"),
        (replace(second, signing=second.signing[:2]), "a kind of key has none that may be used"),
        (replace(second, handle=(*second.handle, second.handle[0])), "two handle keys have the same id"),
        (
            replace(second, handle=(replace(second.handle[0], secret=b"x" * 32), second.handle[1])),
            "missing or changed: handle:1",
        ),
        (replace(second, sealing=(replace(second.sealing[1], active_from=T0),)), "missing or changed: sealing:1"),
        (replace(first, signing=(replace(ec, kid="a" * 43), rsa)), f"{'a' * 43} has another's kid"),
        (replace(first, signing=(replace(ec, private_pem="no key"), rsa)), f"{ec.kid} does not work"),
        (replace(first, signing=(replace(ec, private_pem=rsa.private_pem), rsa)), f"{ec.kid} does not work"),
    ]
    for ring, sentence in wrong:
        with pytest.raises(RotationRefused, match=sentence) as refused:
            rotation.try_out(ring, T0 + 100)
            rotation.check_follows(ring, first, T0 + 100)
        assert "PRIVATE" not in str(refused.value)
        assert refused.value.__cause__ is None


def test_only_what_is_new_has_to_wait(first: KeyRing, quick: None) -> None:
    """A key that is published already may come into use at any moment, and one that has retired never does."""
    second = rotation.rotated(first, T0 + 1000, SHORT)
    rotation.check_lead(second, first, T0 + 1003, 7)
    rotation.check_lead(second, second, T0 + 1009, 7)
    rotation.check_lead(first, first, T0 + 1000, 7)
    for now, new in ((T0 + 1004, second), (T0 + 1000, rotation.rotated(first, T0 + 1000, SHORT, at_once=True))):
        kids = sorted(key.kid for key in new.signing[1::2])
        with pytest.raises(
            RotationRefused, match=f"took too long: {', '.join([*kids, 'handle:2', 'sealing:2'])} would be"
        ):
            rotation.check_lead(new, first, now, 7)
    third = rotation.rotated(second, T0 + 1010 + 40, SHORT)
    assert third.past
    rotation.check_lead(third, second, T0 + 1010 + 40, 7)


# -- a key that is not known yet -----------------------------------------------------------------------------------


def test_only_an_id_that_follows_lets_a_ring_look_again(first: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that somebody made up are refused without a look, but for the few that a newer document could have."""
    at(monkeypatch, T0)
    asked: list[bool] = []

    def newer(surely: bool) -> KeyRing | None:
        asked.append(surely)
        return replace(first, handle=(*first.handle, SecretKey(2, b"n" * 32, T0)))

    ring = replace(first, newer=newer)
    for key_id in (0, 7, 256, 257, 65535):
        assert ring.handle_key_by_id(key_id) is None
        assert ring.sealing_key_by_id(key_id) is None
    assert ring.signing_key_by_kid("short") is None
    assert asked == []
    found = ring.handle_key_by_id(2)
    assert found is not None
    assert found.id == 2
    assert ring.handle_key_by_id(3) is None
    assert ring.signing_key_by_kid("k" * 43) is None
    assert asked == [True, True, False]
