"""The one clock of all instances: the machine's, put right by what DynamoDB says."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import formatdate

import pytest

from broker import clock

TRUE = 1_800_000_000.0


@pytest.fixture(autouse=True)
def true_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It is exactly TRUE, and nothing is known of any error."""
    monkeypatch.setattr("broker.clock.time.time", lambda: TRUE)
    monkeypatch.setattr(clock, "skew", 0.0)
    monkeypatch.setattr(clock, "_correction", 0.0)
    yield


@pytest.mark.parametrize("skew", [120.0, -120.0, 2.9, -3.1, 86400.0])
def test_a_wrong_clock_is_put_right_within_a_second(monkeypatch: pytest.MonkeyPatch, skew: float) -> None:
    monkeypatch.setattr(clock, "skew", skew)
    assert clock.now() == int(TRUE + skew)
    clock.hear(formatdate(TRUE, usegmt=True), clock.machine() - 0.1)
    assert abs(clock.now() - TRUE) <= 1
    assert abs(clock.now_ms() - TRUE * 1000) <= 1000


@pytest.mark.parametrize("skew", [0.0, 1.4, -1.4])
def test_a_moment_is_no_error(monkeypatch: pytest.MonkeyPatch, skew: float) -> None:
    """A Date header has whole seconds: what it could correct it could as well spoil."""
    monkeypatch.setattr(clock, "skew", skew)
    clock.hear(formatdate(TRUE, usegmt=True), clock.machine())
    assert clock.now_ms() == int((TRUE + skew) * 1000)


def test_a_clock_that_is_right_again_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "skew", 120.0)
    clock.hear(formatdate(TRUE, usegmt=True), clock.machine())
    monkeypatch.setattr(clock, "skew", 0.0)
    clock.hear(formatdate(TRUE, usegmt=True), clock.machine())
    assert clock.now_ms() == TRUE * 1000


@pytest.mark.parametrize("date", [None, "", "yesterday", "Tue, 99 Nov 2023 22:13:50 GMT"])
def test_what_is_no_date_says_nothing(date: str | None) -> None:
    clock.hear(date, TRUE)
    assert clock.now() == TRUE


@pytest.mark.parametrize("took", [1.5, -5.0])
def test_a_slow_answer_says_nothing(took: float) -> None:
    """By the time it arrives it is later; and a clock that was set back meanwhile measures nothing."""
    clock.hear(formatdate(TRUE - 60, usegmt=True), TRUE - took)
    assert clock.now() == TRUE
