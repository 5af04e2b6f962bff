"""What clients are told to wait grows with the outage, is never over a minute, and differs among them."""

from __future__ import annotations

import pytest

from broker.grants.back_off import LEAST, MOST, retry_after


@pytest.mark.parametrize(
    ("failing_for", "least", "most"),
    [(0, 5, 5), (9, 5, 5), (20, 10, 11), (60, 30, 36), (95, 47, 57), (120, 48, 59), (9000, 48, 59)],
)
def test_half_of_the_time_and_up_to_a_quarter_more(failing_for: int, least: int, most: int) -> None:
    assert retry_after(failing_for, lambda _below: 0) == least
    assert retry_after(failing_for, lambda below: below - 1) == most
    assert LEAST <= least <= most <= MOST
