"""The contract of the Grants table, on every store: each step of a login once, for the right one alone, and not too late.

Whatever implements `Grants` has to pass this, races with real threads among it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from os import urandom
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker import clock
from broker.runtime import runtime
from broker.store.aws import StoreUnavailable
from broker.store.grant_search import SCAN_SEGMENTS
from broker.store.grants import AnswerLost, Consent, Grant, Grants, Refused, new_grant_id
from broker.store.links import Link, LinkRefused
from broker_testing.parallel import at_once
from broker_testing.stores import search
from broker_testing.trouble import answer_lost_once, attempts_kept, pages_of, store_refuses

pytestmark = pytest.mark.usefixtures("each_store")

MANY = 20
BROWSER, CODE, SECRET = b"b" * 32, b"c" * 32, b"s" * 32
CHALLENGE, REDIRECT = "x" * 43, "https://app.example/cb"
IDLE = 1000


@pytest.fixture
def grants(base: str) -> Grants:
    """The table as the handlers have it."""
    return runtime().grants


def a_login(**attributes: Any) -> Grant:
    now = clock.now()
    values: dict[str, Any] = {
        "grant_id": new_grant_id(),
        "stage": "login",
        "client_id": f"client-{new_grant_id()}",
        "provider": "p",
        "created_at": now,
        "expires_at": now + 600,
        "redirect_uri": REDIRECT,
        "redirect_uri_sent": True,
        "scope": ("openid", "email"),
        "resource": ("https://api.example",),
        "state": "the client's state",
        "code_challenge": CHALLENGE,
        "nonce": "n",
        "max_age": 0,
        "browser_hash": BROWSER,
    }
    return Grant(**(values | attributes))


def begun(grants: Grants, **attributes: Any) -> Grant:
    login = a_login(**attributes)
    grants.begin(login)
    return login


def claim(grants: Grants, login: Grant, **changes: Any) -> Grant:
    values: dict[str, Any] = {"provider": "p", "browser_hash": BROWSER, "exchange_until": clock.now() + 60}
    return grants.claim(login.grant_id, **(values | changes))


def finish(grants: Grants, login: Grant, sealed: bytes = b"sealed tokens", **changes: Any) -> Grant:
    now = clock.now()
    values: dict[str, Any] = {
        "stage": "code",
        "subject": "p|1",
        "auth_time": now,
        "code_hash": CODE,
        "secret_hash": SECRET,
        "code_sealed": b"sealed",
        "absolute_expires_at": now + 5000,
        "expires_at": now + 60,
    }
    code = replace(login, **(values | changes))
    tokens = Link(login.grant_id, "p", sealed, version=1, due_at=now + 100)
    grants.finish_exchange(code, tokens, exchange_until=login.expires_at)
    return code


def coded(grants: Grants, **attributes: Any) -> Grant:
    login = begun(grants, **attributes)
    return finish(grants, claim(grants, login))


def redeem(grants: Grants, code: Grant, **changes: Any) -> Grant:
    values: dict[str, Any] = {
        "code_hash": CODE,
        "client_id": code.client_id,
        "code_challenge": CHALLENGE,
        "redirect_uri": REDIRECT,
        "resource": (),
        "max_attempts": 5,
        "handle_key": 1,
        "idle_lifetime": IDLE,
    }
    return grants.redeem(code.grant_id, **(values | changes))


def active(grants: Grants, **attributes: Any) -> Grant:
    code = coded(grants, **attributes)
    redeem(grants, code)
    return now_stored(grants, code)


def rotate(grants: Grants, login: Grant, **changes: Any) -> Grant:
    values: dict[str, Any] = {
        "generation": login.generation,
        "secret_hash": SECRET,
        "client_id": login.client_id,
        "scope": None,
        "resource": (),
        "handle_key": 2,
        "upstream_due": 77,
        "idle_lifetime": IDLE,
    }
    return grants.rotate(login.grant_id, **(values | changes))


def now_stored(grants: Grants, login: Grant) -> Grant:
    stored, _ = grants.read(login.grant_id)
    assert stored is not None
    return stored


def link_of(grants: Grants, login: Grant) -> Link:
    link = grants.links.read(login.grant_id)
    assert link is not None
    return link


def won(actions: list[Callable[[], object]]) -> int:
    """How many of the actions, run at the same moment, were not refused."""

    def attempt(action: Callable[[], object]) -> bool:
        try:
            action()
        except (Refused, LinkRefused):
            return False
        return True

    return sum(at_once([partial(attempt, action) for action in actions]))


# -- the way of a login --------------------------------------------------------------------------------------------


def test_a_login_is_stored_as_it_is(grants: Grants) -> None:
    """Absent and zero are kept apart: max_age=0 asks for a fresh login, no max_age does not."""
    login = begun(grants)
    assert now_stored(grants, login) == login
    bare = begun(grants, state=None, code_challenge=None, nonce=None, max_age=None, resource=())
    assert now_stored(grants, bare) == bare
    with pytest.raises(Refused):
        grants.begin(login)


def test_each_step_leaves_behind_what_is_no_longer_needed(grants: Grants) -> None:
    """What opened a step is gone after it: the browser's hash, the client's state, the sealed secret, the nonce."""
    login = begun(grants)
    claimed = claim(grants, login)
    assert (claimed.stage, claimed.browser_hash, claimed.state) == ("exchange", b"", "the client's state")
    code = now_stored(grants, finish(grants, claimed))
    assert (code.stage, code.state, code.code_sealed, code.nonce) == ("code", None, b"sealed", "n")
    before = redeem(grants, code)
    assert (before.stage, before.code_sealed, before.nonce) == ("code", b"sealed", "n")
    after = now_stored(grants, login)
    assert (after.stage, after.code_sealed, after.nonce, after.max_age) == ("active", b"", None, None)
    assert (after.generation, after.handle_key) == (1, 1)
    assert after.expires_at == pytest.approx(clock.now() + IDLE, abs=2)
    assert link_of(grants, login).sealed == b"sealed tokens"


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        (begun, claim),
        (
            lambda grants: claim(grants, begun(grants)),
            lambda grants, login: finish(grants, login, secret_hash=urandom(32)),
        ),
        (coded, redeem),
        (active, rotate),
    ],
    ids=["claim", "finish", "redeem", "rotate"],
)
def test_every_step_happens_once_however_many_come(
    grants: Grants, stage: Callable[[Grants], Grant], step: Callable[[Grants, Grant], object]
) -> None:
    login = stage(grants)
    assert won([partial(step, grants, login)] * MANY) == 1
    with pytest.raises(Refused):
        step(grants, login)


@pytest.mark.parametrize(
    ("stage", "step", "lifetime"),
    [(begun, claim, 600), (coded, redeem, 60), (active, rotate, IDLE)],
    ids=["claim", "redeem", "rotate"],
)
def test_no_step_happens_after_its_end_though_the_item_is_still_there(
    grants: Grants, stage: Callable[[Grants], Grant], step: Callable[[Grants, Grant], object], lifetime: int
) -> None:
    """DynamoDB deletes late: the condition itself knows the time."""
    login = stage(grants)
    clock.offset = lifetime + 1
    with pytest.raises(Refused) as refused:
        step(grants, login)
    assert refused.value.grant == now_stored(grants, login)


@pytest.mark.parametrize("changes", [{"provider": "other"}, {"browser_hash": b"x" * 32}, {"browser_hash": b""}])
def test_only_the_browser_and_provider_of_a_login_claim_it(grants: Grants, changes: dict[str, Any]) -> None:
    login = begun(grants)
    with pytest.raises(Refused):
        claim(grants, login, **changes)
    assert now_stored(grants, login) == login
    claim(grants, login)


@pytest.mark.parametrize(
    "changes",
    [
        {"code_hash": b"x" * 32},
        {"client_id": "another"},
        {"code_challenge": "y" * 43},
        {"code_challenge": None},
        {"redirect_uri": REDIRECT + "/"},
        {"redirect_uri": None, "redirect_uri_optional": False},
        {"resource": ("https://other.example",)},
        {"resource": ("https://api.example", "https://other.example")},
        {"max_attempts": 0},
    ],
    ids=str,
)
def test_a_redemption_that_is_wrong_in_one_thing_changes_nothing(grants: Grants, changes: dict[str, Any]) -> None:
    code = coded(grants)
    before = now_stored(grants, code)
    with pytest.raises(Refused) as refused:
        redeem(grants, code, **changes)
    assert refused.value.grant == before == now_stored(grants, code)
    redeem(grants, code, resource=("https://api.example",))


def test_a_code_without_a_challenge_takes_no_verifier(grants: Grants) -> None:
    """RFC 9700 section 4.8.2: the downgrade."""
    code = coded(grants, code_challenge=None)
    with pytest.raises(Refused):
        redeem(grants, code)
    redeem(grants, code, code_challenge=None)


def test_wrong_attempts_are_counted_and_end_the_code(grants: Grants) -> None:
    code = coded(grants)
    at_once([partial(grants.count_attempt, code.grant_id)] * 4)
    assert now_stored(grants, code).attempts == 4
    grants.count_attempt(code.grant_id)
    with pytest.raises(Refused):
        redeem(grants, code)
    grants.count_attempt(new_grant_id())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.fixed_dictionaries(
        {},
        optional={
            "generation": st.sampled_from([0, 2, 3]),
            "secret_hash": st.binary(min_size=32, max_size=32),
            "client_id": st.text(min_size=1, max_size=20),
            "scope": st.sampled_from([("admin",), ("openid", "admin"), ("open",)]),
            "resource": st.sampled_from([("https://other.example",), ("https://api.exampl",)]),
        },
    ).filter(bool)
)
def test_a_rotation_that_is_wrong_in_anything_changes_nothing(grants: Grants, changes: dict[str, Any]) -> None:
    """Any mixture of wrong generation, secret, client, scope and resource."""
    login = active(grants)
    with pytest.raises(Refused) as refused:
        rotate(grants, login, **changes)
    assert refused.value.grant == login == now_stored(grants, login)
    assert rotate(grants, login, scope=("email",), resource=("https://api.example",)).generation == 2


def test_expiry_slides_but_never_past_the_absolute_end(grants: Grants) -> None:
    login = active(grants)
    for step in range(1, 6):
        clock.offset = step * 900
        login = rotate(grants, login)
        assert login.expires_at == pytest.approx(clock.now() + IDLE, abs=2)
    assert (login.generation, login.upstream_due, login.handle_key) == (6, 77, 2)
    clock.offset = 5001
    with pytest.raises(Refused):
        rotate(grants, login)


def test_a_step_on_nothing_is_refused_with_nothing(grants: Grants) -> None:
    for step in (claim, redeem, rotate):
        with pytest.raises(Refused) as refused:
            step(grants, a_login())
        assert refused.value.grant is None
    assert grants.read(new_grant_id()) == (None, None)
    assert not grants.end(new_grant_id(), "revoked")


# -- the end -------------------------------------------------------------------------------------------------------


def test_a_login_ends_once_and_the_first_reason_stays(grants: Grants) -> None:
    login = active(grants)
    ended = at_once([partial(grants.end, login.grant_id, f"reason {number}") for number in range(MANY)])
    (first,) = [one for one in ended if one is not None]
    stored = now_stored(grants, login)
    assert (stored.stage, stored.end_reason) == ("ended", f"reason {ended.index(first)}")
    assert first == stored
    assert not grants.end(login.grant_id, "later")
    for step in (claim, redeem, rotate):
        with pytest.raises(Refused):
            step(grants, login)


def test_only_its_own_client_ends_a_login(grants: Grants) -> None:
    login = active(grants)
    assert not grants.end(login.grant_id, "revoked", client_id="another")
    assert now_stored(grants, login) == login
    assert grants.end(login.grant_id, "revoked", client_id=login.client_id)


def test_nothing_that_could_be_used_stays_in_a_login_that_ended(grants: Grants) -> None:
    for login in (begun(grants), coded(grants)):
        grants.end(login.grant_id, "denied")
        stored = now_stored(grants, login)
        assert (stored.code_sealed, stored.browser_hash, stored.state) == (b"", b"", None)


# -- consent -------------------------------------------------------------------------------------------------------


def test_consent_is_given_once_by_the_same_browser(grants: Grants) -> None:
    """Consent given in another browser would be somebody else's."""
    login = claim(grants, begun(grants))
    login = replace(login, browser_hash=b"q" * 32)
    waiting = finish(grants, login, stage="consent", code_hash=b"")
    consent = Consent("p|1", login.client_id, "https://a.example", ("openid",), clock.now() + 500)
    code = replace(waiting, code_hash=CODE, code_sealed=b"resealed", expires_at=clock.now() + 60)
    with pytest.raises(Refused):
        grants.approve(code, browser_hash=BROWSER, consent=consent)
    assert grants.consent("p|1", login.client_id, "https://a.example") is None
    assert won([partial(grants.approve, code, browser_hash=b"q" * 32, consent=consent)] * MANY) == 1
    assert grants.consent("p|1", login.client_id, "https://a.example") == consent
    assert grants.consent("p|2", login.client_id, "https://a.example") is None
    assert grants.consent("p|1", login.client_id, "https://b.example") is None
    before = redeem(grants, code)
    assert (before.code_sealed, before.browser_hash, before.state) == (b"resealed", b"q" * 32, login.state)
    after = grants.read_grant(login.grant_id)
    assert after is not None
    assert (after.code_sealed, after.browser_hash, after.state, after.response_mode) == (b"", b"", None, "")
    clock.offset = 501
    assert grants.consent("p|1", login.client_id, "https://a.example") is None


# -- the provider's tokens -----------------------------------------------------------------------------------------


def test_one_instance_holds_the_lease(grants: Grants) -> None:
    login = active(grants)
    link = link_of(grants, login)
    leases = [partial(grants.links.take_lease, link, f"lease {number}", 15) for number in range(MANY)]
    assert won(list(leases)) == 1
    with pytest.raises(LinkRefused) as refused:
        grants.links.take_lease(link, "late", 15)
    assert refused.value.link == link_of(grants, login)
    clock.offset = 16
    with pytest.raises(LinkRefused):
        grants.links.take_lease(link, "of one who has not seen the lease that ran out", 15)
    grants.links.take_lease(link_of(grants, login), "after it ran out", 15)
    assert link_of(grants, login).recover


def test_the_write_of_an_instance_that_was_overtaken_is_refused(grants: Grants) -> None:
    """Fencing: whoever finishes after another has written changes nothing."""
    login = active(grants)
    link = link_of(grants, login)
    grants.links.take_lease(link, "the slow one", 15)
    clock.offset = 16
    grants.links.take_lease(link_of(grants, login), "the next one", 15)
    renewed = replace(link, version=2, sealed=b"new", due_at=4711)
    grants.links.write(renewed)
    with pytest.raises(LinkRefused) as refused:
        grants.links.write(replace(renewed, sealed=b"of the slow one"))
    stored = link_of(grants, login)
    assert stored == refused.value.link == replace(renewed, written_at=stored.written_at, lease_id="", recover=False)
    assert stored.written_at - link.written_at in (16, 17)
    with pytest.raises(LinkRefused):
        grants.links.take_lease(link, "of the old version", 15)


def test_who_lost_the_lease_may_write_while_nobody_else_has(grants: Grants) -> None:
    """What he has may be the only tokens that the provider still takes."""
    login = active(grants)
    link = link_of(grants, login)
    grants.links.take_lease(link, "the slow one", 15)
    clock.offset = 16
    grants.links.take_lease(link_of(grants, login), "the next one", 15)
    grants.links.write(replace(link, version=2, sealed=b"new"))
    assert (link_of(grants, login).sealed, link_of(grants, login).lease_id) == (b"new", "")


def test_a_lease_is_kept_while_its_holder_says_so(grants: Grants) -> None:
    login = active(grants)
    link = link_of(grants, login)
    grants.links.take_lease(link, "mine", 15)
    clock.offset = 14
    grants.links.renew_lease(link, "mine", 15)
    clock.offset = 28
    with pytest.raises(LinkRefused):
        grants.links.take_lease(link_of(grants, login), "other", 15)
    with pytest.raises(LinkRefused):
        grants.links.renew_lease(link, "not mine", 15)


def test_unknown_refusals_are_counted_until_tokens_are_written(grants: Grants) -> None:
    login = active(grants)
    link = link_of(grants, login)
    grants.links.take_lease(link, "first", 15)
    grants.links.release_lease(link, "first", 0, refusals=1, refused_since=77)
    grants.links.take_lease(link, "second", 15)
    grants.links.release_lease(link, "second", 0)
    assert (link_of(grants, login).refusals, link_of(grants, login).refused_since) == (1, 77)
    grants.links.write(replace(link, version=2, sealed=b"new"))
    assert (link_of(grants, login).refusals, link_of(grants, login).refused_since) == (0, 0)


def test_the_first_of_the_failures_in_a_row_is_remembered_until_tokens_are_written(grants: Grants) -> None:
    login = active(grants)
    began = clock.now()
    for offset in (0, 10):
        clock.offset = offset
        link = link_of(grants, login)
        grants.links.take_lease(link, f"lease {offset}", 15)
        grants.links.release_lease(link, f"lease {offset}", clock.now() + 5)
        assert began <= link_of(grants, login).failing_since <= began + 1
    grants.links.write(replace(link_of(grants, login), version=2, sealed=b"new"))
    assert link_of(grants, login).failing_since == 0


def test_a_write_that_is_repeated_because_its_answer_was_lost_knows_its_own_work(grants: Grants) -> None:
    """botocore repeats it by itself; to the repetition it would look like a replay, a theft, or another instance."""
    with answer_lost_once("PutItem"):
        login = begun(grants)
    with answer_lost_once("UpdateItem"):
        claimed = claim(grants, login)
    with answer_lost_once("PutItem"), answer_lost_once("UpdateItem"):
        code = finish(grants, claimed)
    redeem(grants, code)
    with answer_lost_once("UpdateItem"):
        rotated = rotate(grants, now_stored(grants, login))
    assert rotated.generation == 2
    link = link_of(grants, login)
    with answer_lost_once("UpdateItem"):
        grants.links.take_lease(link, "mine", 15)
    with answer_lost_once("UpdateItem"):
        grants.links.write(replace(link, version=2, sealed=b"new"))
    with answer_lost_once("UpdateItem"):
        ended = grants.end(login.grant_id, "revoked")
    assert ended == now_stored(grants, login)


@pytest.mark.parametrize("lost", ["PutItem", "UpdateItem"])
@pytest.mark.parametrize("stage", ["code", "consent", "device_ready"])
def test_an_exchange_is_finished_when_both_of_its_writes_are_done(grants: Grants, lost: str, stage: str) -> None:
    """Either of them may fail, and then there is no code to give out."""
    claimed = claim(grants, begun(grants))
    with store_refuses(lost, "InternalServerError"), pytest.raises(StoreUnavailable):
        finish(grants, claimed, stage=stage, browser_hash=BROWSER)


def test_first_tokens_that_arrive_late_undo_nothing(grants: Grants) -> None:
    """An attempt that the AWS client has given up takes away neither a lease nor what it was renewed to."""
    with attempts_kept("PutItem") as attempts:
        login = begun(grants)
        attempts.clear()
        code = finish(grants, claim(grants, login))
    (late,) = attempts
    redeem(grants, code)
    grants.links.take_lease(link_of(grants, login), "mine", 15)
    leased = link_of(grants, login)
    late()
    assert link_of(grants, login) == leased
    grants.links.write(replace(leased, version=2, sealed=b"new"))
    late()
    assert (link_of(grants, login).version, link_of(grants, login).sealed) == (2, b"new")


def test_a_second_exchange_replaces_what_the_first_one_left(grants: Grants) -> None:
    """A device's person tries again after the tokens were written and the login was not; attempts of before change nothing."""
    claimed = claim(grants, begun(grants))
    with attempts_kept("PutItem") as attempts:
        with store_refuses("UpdateItem", "InternalServerError"), pytest.raises(StoreUnavailable):
            finish(grants, claimed, stage="device_ready", sealed=b"of the first exchange")
        with answer_lost_once("PutItem"):
            finish(grants, claimed, stage="device_ready", sealed=b"of the second exchange")
    assert link_of(grants, claimed).sealed == b"of the second exchange"
    for late in attempts:
        late()
        assert link_of(grants, claimed).sealed == b"of the second exchange"


def test_a_device_finds_the_tokens_as_soon_as_it_may_come(grants: Grants) -> None:
    """It polls whenever it likes, so that the login must not be ready before they are there."""
    claimed = claim(grants, begun(grants))
    with store_refuses("PutItem", "InternalServerError"), pytest.raises(StoreUnavailable):
        finish(grants, claimed, stage="device_ready")
    assert now_stored(grants, claimed).stage == "exchange"


def test_a_code_whose_redemption_got_no_answer_is_lost(grants: Grants) -> None:
    """What was sealed in it is gone with the write, so that it cannot be told from a replay by anything but its mark."""
    code = coded(grants)
    with answer_lost_once("UpdateItem"), pytest.raises(AnswerLost):
        redeem(grants, code)
    with pytest.raises(Refused):
        redeem(grants, code)


def test_after_a_failure_nobody_tries_before_the_pause_is_over(grants: Grants) -> None:
    link = link_of(grants, active(grants))
    grants.links.take_lease(link, "mine", 15)
    grants.links.release_lease(link, "not mine", 0)
    with pytest.raises(LinkRefused):
        grants.links.take_lease(link, "other", 15)
    grants.links.release_lease(link, "mine", clock.now() + 5)
    with pytest.raises(LinkRefused):
        grants.links.take_lease(link, "too early", 15)
    clock.offset = 6
    grants.links.take_lease(link, "in time", 15)


def test_dropped_tokens_are_gone_and_the_login_stays(grants: Grants) -> None:
    login = active(grants)
    grants.links.drop(login.grant_id)
    grants.links.drop(login.grant_id)
    grants.links.drop(login.grant_id, 1)  # it is gone already
    assert grants.read(login.grant_id) == (login, None)


def test_tokens_are_dropped_as_they_were_read_or_not_at_all(grants: Grants) -> None:
    login = active(grants)
    newer = replace(link_of(grants, login), version=2, sealed=b"newer")
    grants.links.write(newer)
    with pytest.raises(LinkRefused) as refused:
        grants.links.drop(login.grant_id, 1)
    assert refused.value.link is not None
    assert replace(refused.value.link, written_at=newer.written_at) == newer
    with answer_lost_once("DeleteItem"):
        grants.links.drop(login.grant_id, 2)
    assert grants.read(login.grant_id) == (login, None)


# -- what it costs, and who finds it -------------------------------------------------------------------------------


def test_the_item_that_rotates_fits_one_write_unit(grants: Grants) -> None:
    """1 KB, also with a long redirect URI and four scopes; the provider's tokens lie beside it."""
    login = active(
        grants,
        redirect_uri=REDIRECT,
        scope=("openid", "profile", "email", "offline_access"),
        state="s" * 500,
        client_id=new_grant_id(),
    )
    key = {"pk": {"S": login.grant_id}, "sk": {"S": "grant"}}
    answer = grants._dynamodb.get_item(TableName=runtime().settings.grants_table, Key=key, ConsistentRead=True)
    size = sum(len(name) + _size(*value.values()) for name, value in answer["Item"].items())
    assert size < 1024, size


def _size(value: object) -> int:
    """At least what DynamoDB counts: bytes of strings and binaries, digits of numbers, one for each entry of a list."""
    if isinstance(value, list):
        return sum(1 + _size(*entry.values()) for entry in value)
    return len(value) if isinstance(value, str | bytes) else 1


def found(**wanted: str) -> list[str]:
    """The ids that a search finds, in order."""
    return sorted(login.grant_id for login in search(**wanted))


def test_an_operator_finds_the_logins_of_a_client_and_of_a_person(grants: Grants) -> None:
    """Only those that were ever active, whatever became of them."""
    client_id, subject = f"client-{new_grant_id()}", f"p|{new_grant_id()}"
    mine = [active(grants, client_id=client_id).grant_id for _ in range(3)]
    begun(grants, client_id=client_id)
    never = coded(grants, client_id=client_id)
    grants.end(never.grant_id, "login_failed")
    theirs = [_of_person(grants, subject, client_id), _of_person(grants, subject, "client-else")]
    grants.end(mine[2], "revoked")
    assert found(client_id=client_id) == sorted([*mine, theirs[0]])
    assert found(subject=subject) == sorted(theirs)
    assert found(client_id=client_id, subject=subject) == [theirs[0]]
    assert found(client_id="nobody") == found(subject="nobody") == []
    assert {*mine, *theirs} <= set(found()), "of all clients and persons"
    (login,) = search(client_id=client_id, subject=subject)
    assert login == grants.read_grant(theirs[0])


def _of_person(grants: Grants, subject: str, client_id: str) -> str:
    login = begun(grants, client_id=client_id)
    redeem(grants, finish(grants, claim(grants, login), subject=subject))
    return login.grant_id


def test_a_search_reads_every_page_of_every_part(grants: Grants) -> None:
    """Also those of which nothing is wanted: DynamoDB filters a page after it has read it."""
    client_id = f"client-{new_grant_id()}"
    for number in range(40):
        begun(grants, client_id=client_id if number % 4 == 0 else "client-else", stage="active", generation=1)
    with pages_of(3) as asked:
        assert len(set(found(client_id=client_id))) == 10
    firsts = [page for page in asked if "ExclusiveStartKey" not in page]
    assert sorted(page["Segment"] for page in firsts) == list(range(SCAN_SEGMENTS))
    assert {page["TotalSegments"] for page in asked} == {SCAN_SEGMENTS}
    assert len(asked) > 40 / 3
    assert not any(page.get("ConsistentRead") for page in asked), "a consistent read costs twice as much"


def test_pages_end_at_a_megabyte(grants: Grants) -> None:
    client_id = f"client-{new_grant_id()}"
    for _ in range(16):
        begun(grants, client_id=client_id, stage="active", generation=1, nonce="n" * 330_000)
    with pages_of(None) as asked:
        assert len(set(found(client_id=client_id))) == 16
    assert len(asked) > SCAN_SEGMENTS


def test_a_search_that_is_left_reads_no_further(grants: Grants) -> None:
    client_id = f"client-{new_grant_id()}"
    for _ in range(20):
        begun(grants, client_id=client_id, stage="active", generation=1)
    with pages_of(1) as asked:
        searching = search(client_id=client_id)
        assert next(searching).client_id == client_id
        before = len(asked)
        assert isinstance(searching, Generator)
        searching.close()
    assert len(asked) <= before + SCAN_SEGMENTS, "no more than was being read at that moment"


def test_a_search_that_a_page_fails_says_so(grants: Grants) -> None:
    with store_refuses("Scan", "AccessDeniedException"), pytest.raises(StoreUnavailable) as failed:
        found(client_id="any")
    assert failed.value.detail == "scan: AccessDeniedException"


def test_a_login_from_when_there_was_an_index_is_as_any_other(grants: Grants) -> None:
    """It has the attribute that the index was by, until it expires."""
    login = active(grants)
    grants._dynamodb.update_item(
        TableName=runtime().settings.grants_table,
        Key={"pk": {"S": login.grant_id}, "sk": {"S": "grant"}},
        UpdateExpression="SET client_shard = :shard",
        ExpressionAttributeValues={":shard": {"S": f"{login.client_id}#7"}},
    )
    assert list(search(client_id=login.client_id)) == [login]
    assert grants.read_grant(login.grant_id) == login
    assert rotate(grants, login).generation == 2
    assert grants.end(login.grant_id, "revoked") is not None
    assert found(client_id=login.client_id) == [login.grant_id]
