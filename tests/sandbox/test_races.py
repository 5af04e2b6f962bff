"""Once means once, however many ask at the same time. Real threads against moto behind HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from .driver import INFOLOBBY, ITERNIO, OPENID, PHPAPI, REDBOOTH, Answer, Registration, Sandbox

PARALLEL = 12


def at_once(step: Callable[[], Answer]) -> list[Answer]:
    """Do the same from many threads, released together."""
    barrier = Barrier(PARALLEL)

    def wait_and_step(_: int) -> Answer:
        barrier.wait()
        return step()

    with ThreadPoolExecutor(PARALLEL) as threads:
        return list(threads.map(wait_and_step, range(PARALLEL)))


@pytest.mark.parametrize("at", (INFOLOBBY, PHPAPI, ITERNIO), ids=lambda at: at.provider)
def test_code_is_redeemed_once(served_sandbox: Sandbox, at: Registration) -> None:
    code = served_sandbox.code(at)
    answers = at_once(lambda: served_sandbox.redeem(at, code))
    assert Counter(answer.status for answer in answers) == {200: 1, 400: PARALLEL - 1}
    refused = {answer.json["error"] for answer in answers if answer.status == 400}
    assert refused == {"invalid_code" if at is PHPAPI else "invalid_grant"}


def test_redbooths_refresh_token_is_rotated_once(served_sandbox: Sandbox) -> None:
    refresh_token = served_sandbox.tokens(REDBOOTH)["refresh_token"]
    answers = at_once(lambda: served_sandbox.refresh(REDBOOTH, refresh_token))
    assert Counter(answer.status for answer in answers) == {200: 1, 400: PARALLEL - 1}
    (rotated,) = (answer.json for answer in answers if answer.status == 200)
    assert served_sandbox.userinfo(REDBOOTH, rotated["access_token"]).status == 200
    assert served_sandbox.refresh(REDBOOTH, rotated["refresh_token"]).status == 200


def test_openid_takes_a_race_for_reuse(served_sandbox: Sandbox) -> None:
    refresh_token = served_sandbox.tokens(OPENID)["refresh_token"]
    answers = at_once(lambda: served_sandbox.refresh(OPENID, refresh_token))
    assert Counter(answer.status for answer in answers) == {200: 1, 400: PARALLEL - 1}
    (rotated,) = (answer.json for answer in answers if answer.status == 200)
    assert served_sandbox.userinfo(OPENID, rotated["access_token"]).status == 401
    assert served_sandbox.refresh(OPENID, rotated["refresh_token"]).status == 400


def test_each_fault_is_met_once_and_each_call_recorded_once(served_sandbox: Sandbox, faults: None) -> None:
    ordered = {"provider": "infolobby", "endpoint": "token", "kind": "status", "value": 503, "times": 5}
    assert served_sandbox.control("POST", "_faults", ordered).status == 200
    answers = at_once(lambda: served_sandbox.redeem(INFOLOBBY, "invented"))
    assert Counter(answer.status for answer in answers) == {503: 5, 400: PARALLEL - 5}
    recorded = served_sandbox.control("GET", "_calls").json
    assert recorded["counts"] == {"token:authorization_code": PARALLEL}
    assert Counter(call["status"] for call in recorded["calls"]) == {503: 5, 400: PARALLEL - 5}


def test_rate_is_counted_exactly(served_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox_provider.clock.now", lambda: 1_800_000_000)
    monkeypatch.setenv("SANDBOX_CALLS_PER_MINUTE", "4")
    answers = at_once(lambda: served_sandbox.redeem(PHPAPI, "invented"))
    assert Counter(answer.status for answer in answers) == {400: 4, 429: PARALLEL - 4}
