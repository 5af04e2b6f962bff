"""docs/cost.md and docs/scale.md say what follows from the measurement and the prices that are stored, and nothing else."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

import cost
import scale
import storm
from broker.metrics import ERROR_CODES
from broker.protocol.limits import MOST_PER_SECOND
from broker_local.template import Template
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
    """A request, 3 write units, 2 reads, 10 ms of CPU at 0.109 of a processor, 2 round trips, a provider call, 1 KB of log."""
    prices = cost.prices_of(cost.TEMPLATE)
    step = {
        "invocations": 1,
        "write_units": 3,
        "read_units": 2,
        "cpu_ms": 10,
        "round_trips": 2,
        "upstream_calls": 1,
        "log_bytes": 1000,
        "answer_bytes": 850,
        "sent_bytes": 400,
        "secret_calls": 0,
        "cold_read_units": 2,
        "cold_secret_calls": 2,
        "cold_round_trips": 4,
    }
    found = cost.part_costs(step, prices)
    assert found["API"] == pytest.approx(1e-6)
    assert found["DynamoDB"] == pytest.approx(3 * 0.625e-6 + (2 + 0.01 * 2) * 0.125e-6)
    assert found["Lambda"] == pytest.approx(
        0.2e-6
        + ((0.010 + 0.0007) / 0.109 + 0.010 + 0.120 + 0.0035 + 0.01 * 4 * 0.005) * 0.1875 * 0.0000133334
        + 0.01 * 2 * 5e-6
    )
    assert found["logs"] == pytest.approx((1000 + 205) * 0.5e-9)
    assert found["data out"] == pytest.approx((850 + 150 + 400 + 650) * 0.09e-9)
    assert found["traces"] == pytest.approx(0.05 * 5e-6)


def _stored() -> tuple[cost.Usage, cost.Prices]:
    usage = json.loads((Path(cost.__file__).parent / "usage.json").read_text("utf-8"))
    return usage, cost.prices_of(cost.TEMPLATE)


STACK = cost.stack_of(cost.PROJECT / "template.yaml")


def test_an_alarm_costs_as_much_as_it_has_metrics() -> None:
    """CloudWatch's prices are for "alarm metrics"; an expression over metrics is none."""
    stat = {"MetricStat": {"Metric": {"Namespace": "N", "MetricName": "M"}, "Period": 60, "Stat": "Sum"}}
    entries = [{"Id": "a"} | stat, {"Id": "b"} | stat, {"Id": "both", "Expression": "a + b"}]
    alarms = {
        "Plain": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "M"}},
        "Computed": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": entries}},
    }
    assert cost.alarms_of(Template({"Resources": alarms}, stack="s", overrides={})) == 1 + 2


def test_a_detailed_alarm_reads_two_metrics() -> None:
    functions = [path for path in (cost.PROJECT / "functions").glob("*/app.py") if path.parent.name != "sandbox"]
    assert STACK.detailed_alarm_metrics == 2 * len(functions)
    usage, prices = _stored()
    assert f"`DetailedAlarms=true` {0.2 * len(functions):.2f}" in cost.document(usage, prices, STACK)


def test_traces_are_counted_where_the_functions_are_traced_by_default() -> None:
    usage, prices = _stored()
    untraced, traced = (cost.document(usage, prices, replace(STACK, is_traced=traced)) for traced in (False, True))
    assert "| data out | dollars |" in untraced
    assert "| data out | traces | dollars |" in traced
    without, with_traces = (
        cost.journey_costs(cost.LOGIN, usage, prices, replace(STACK, is_traced=traced).parts)
        for traced in (False, True)
    )
    assert sum(with_traces.values()) - sum(without.values()) == pytest.approx(3 * 0.05 * 5)
    for text in (untraced, traced):  # what the other setting costs is said in any case
        assert "The 5% add 0.75 to a million logins" in text
        assert "a million logins then cost 15.00 more" in text


def test_an_idle_month_by_hand() -> None:
    """A secret is 0.40, a metric in an alarm 0.10 after ten, a dashboard 3.00 after three."""
    rows = cost.idle_costs(36, 3, _stored()[1])
    assert [one.dollars for one in rows] == pytest.approx([1.60, 2.60, 0.0])
    assert [one.without_allowances for one in rows] == pytest.approx([1.60, 3.60, 3.00])


def test_a_provider_adds_two_custom_metrics_and_an_error_code_one() -> None:
    """UpstreamTime and UpstreamFailures are kept by provider, Refusals by error."""
    assert cost.custom_metrics(2) - cost.custom_metrics(1) == 2
    assert cost.custom_metrics(0) > len(ERROR_CODES)


def test_what_comes_with_use_by_hand() -> None:
    usage, prices = _stored()
    (_, metrics), (_, kept) = cost.busy_costs(usage, prices, replace(STACK, absolute_lifetime=90 * 86400))
    assert metrics == pytest.approx((cost.custom_metrics(1) - 10) * 0.30)
    stored = sum(usage[step]["stored_bytes"] for step in ("authorize", "callback", "token")) + 2 * 100
    assert kept == pytest.approx(stored / 1000 * 0.25 * 90 / (365 / 12))


ASSUMED = {
    "cpu_share": 0.289,
    "round_trip_ms": 5,
    "provider_ms": 120,
    "platform_log_bytes": 420,
    "handshake_cpu_ms": 0.7,
}


LOGINS_ALONE = {"refresh": 0, "refresh_upstream": 0}


def _requests(cpu_ms: float) -> cost.Usage:
    """Every step is one request that waits for nothing."""
    step = {"invocations": 1, "round_trips": 0, "upstream_calls": 0, "write_units": 1, "read_units": 1, "log_bytes": 0}
    names = (*cost.LOGIN, *scale.REFRESHES)
    return {name: step | {"cpu_ms": cpu_ms, "functions": {f"of {name}": 1.0}} for name in names}


def test_an_environment_serves_ten_requests_a_second_at_most() -> None:
    """Lambda quotas: "each instance of your execution environment can serve up to 10 requests per second"."""
    short, long = (scale.loads(_requests(cpu_ms), LOGINS_ALONE, ASSUMED) for cpu_ms in (2.89, 57.8))
    assert short["lambda_concurrency"] == pytest.approx(3 / 10)  # three requests of 10 ms each
    assert long["lambda_concurrency"] == pytest.approx(3 * 0.2)


def test_environments_serve_one_function_alone() -> None:
    """A slow function's environments are of no use to one whose requests are many and short."""
    usage = dict(_requests(2.89))
    usage["callback"] = {**usage["callback"], "cpu_ms": 57.8}
    assert scale.loads(usage, LOGINS_ALONE, ASSUMED)["lambda_concurrency"] == pytest.approx(2 / 10 + 0.2)


def test_quotas_that_bind_together_are_all_named() -> None:
    quotas = {
        "quota": {
            name: {"most": most, "unit": "a second", "what": name, "raise": "ask"}
            for name, most in (("api_requests", 10), ("lambda_concurrency", 1), ("table_writes", 1000))
        },
        "own": {},
        "mix": LOGINS_ALONE,
    }
    text = scale.quota_table(_requests(cpu_ms=1), quotas, ASSUMED)
    assert "- At 10 logins a second: api_requests and lambda_concurrency bind first, 3.0 times over." in text


def test_the_largest_rate_limit_is_the_brokers() -> None:
    quotas = tomllib.loads((Path(scale.__file__).parent / "quotas.toml").read_text("utf-8"))
    assert quotas["own"]["client_limit"]["most"] == MOST_PER_SECOND
    parameters = Template.load(cost.TEMPLATE, stack="t", overrides={})
    for quota, parameter in (("token_throttle", "ThrottleRate"), ("authorize_throttle", "LoginThrottleRate")):
        assert quotas["quota"][quota]["most"] == int(parameters.resolve({"Ref": parameter}))


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
