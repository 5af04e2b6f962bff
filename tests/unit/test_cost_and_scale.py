"""docs/cost.md and docs/scale.md say what follows from the measurement and the prices that are stored, and nothing else."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

import cost
import scale
import storm
from usage import size_of

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_cost_page_is_computed_from_the_stored_measurement() -> None:
    assert (DOCS / "cost.md").read_text("utf-8") == cost.current(), "run `make cost`"


def test_the_scale_page_is_computed_from_the_stored_measurement() -> None:
    text = (DOCS / "scale.md").read_text("utf-8")
    assert scale.replaced(text, "quotas", scale.current_quotas()) == text, "run `make scale`"


def test_a_part_that_is_missing_is_not_replaced_in_silence() -> None:
    with pytest.raises(ValueError, match="no part storm"):
        scale.replaced("nothing here", "storm", "text")


def test_dollars_of_a_step_by_hand() -> None:
    """A request, 3 write units, 2 reads, 10 ms of CPU at 0.289 of a processor, 2 round trips, a provider call, 1 KB of log."""
    prices: dict[str, Any] = tomllib.loads((Path(cost.__file__).parent / "prices.toml").read_text("utf-8"))
    step = {
        "invocations": 1,
        "write_units": 3,
        "read_units": 2,
        "cpu_ms": 10,
        "round_trips": 2,
        "upstream_calls": 1,
        "log_bytes": 1000,
        "answer_bytes": 850,
        "secret_calls": 0,
    }
    found = cost.part_costs(step, prices)
    assert found["API"] == pytest.approx(1e-6)
    assert found["DynamoDB"] == pytest.approx(3 * 0.625e-6 + 2 * 0.125e-6)
    assert found["Lambda"] == pytest.approx(0.2e-6 + (0.010 / 0.289 + 0.010 + 0.120) * 0.5 * 0.0000133334)
    assert found["logs"] == pytest.approx((1000 + 330) * 0.5e-9)
    assert found["data out"] == pytest.approx(1000 * 0.09e-9)


def test_items_are_weighed_as_dynamodb_does() -> None:
    """Developer Guide, "item sizes": names and UTF-8 bytes, numbers by half their digits, 3 for a list and 1 for each entry."""
    assert size_of({"pk": {"S": "abc"}}) == 5
    assert size_of({"n": {"N": "1234"}, "b": {"B": b"12345678"}}) == 1 + 3 + 1 + 8
    assert size_of({"l": {"L": [{"S": "a"}, {"S": "bc"}]}}) == 1 + 3 + (1 + 1) + (1 + 2)
    assert size_of({"t": {"BOOL": True}}) == 2


def test_every_step_was_measured() -> None:
    usage = json.loads((Path(cost.__file__).parent / "usage.json").read_text("utf-8"))
    assert {step for steps in cost.JOURNEYS.values() for step in steps} == set(usage)


def test_what_clients_are_told_spares_a_provider_that_comes_back() -> None:
    """A smaller crowd than the page's; the ratios do not depend on its size."""
    policies = list(storm.POLICIES.values())
    fixed, told = (storm.simulate(policy, clients=6_000) for policy in (policies[0], policies[-1]))
    assert sum(told.at_provider) < sum(fixed.at_provider) / 2
    assert max(told.at_provider) < max(fixed.at_provider) / 3
    assert told.recovered <= 60
