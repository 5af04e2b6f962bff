"""What the broker costs: bench/usage.json (measured) times bench/prices.toml (list prices), as docs/cost.md.

    make usage cost  measures anew, and writes docs/cost.md

`document` is pure, and a test holds docs/cost.md to it.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.metrics import ERROR_CODES, METRICS
from broker.store.secrets import CACHE_SECONDS
from broker_local.template import Template

HERE = Path(__file__).parent
PROJECT = HERE.parent
TEMPLATE = PROJECT / "template.yaml"
GOAL_LOGINS, GOAL_IDLE = 10.0, 5.0
MILLION = 1_000_000
GIGABYTE = 1_000_000_000
DAY = 86_400
MONTH = 365 * DAY / 12
PROVIDERS = 3

SHORT_TOKEN = 43
"""Characters of the sandbox's access and refresh tokens."""
_PRICED = ("write_unit", "secret_call")
PARTS = ("API", "Lambda", "DynamoDB", "logs", "data out")
TRACES = "traces"
LOGIN = ("authorize", "callback", "token")
JOURNEYS: Mapping[str, tuple[str, ...]] = {
    "logins (authorize, callback, token)": LOGIN,
    "refreshes": ("refresh",),
    "refreshes that renew the provider's token": ("refresh_upstream",),
    "profile reads (userinfo)": ("userinfo",),
    "token exchanges": ("token_exchange",),
    "revocations": ("revoke",),
}

WHOLE_PROCESSOR = 1769
"""Megabytes of memory with which a function has the time of one processor (Lambda Developer Guide, "Configure memory")."""
ACCESS_LOG = {
    "requestId": "QQchtKCGkOTjeII=",
    "routeKey": "ANY /callback/{provider}",
    "httpMethod": "POST",
    "status": "303",
    "responseLatency": "412",
    "integrationLatency": "409",
    "integrationStatus": "200",
    "integrationErrorMessage": "-",
    "error.responseType": "-",
    "identity.sourceIp": "203.0.113.255",
}
"""What the API writes for each variable of its access log, at its longest for a login that goes well."""

Usage = Mapping[str, Mapping[str, Any]]
Prices = Mapping[str, Any]


@dataclass(frozen=True)
class Stack:
    """What the template makes with default parameters, as far as it costs.

    Attributes:
        alarm_metrics: that its alarms read.
        detailed_alarm_metrics: that they read besides with DetailedAlarms=true.
        absolute_lifetime: seconds, of a login.
        is_traced: whether X-Ray samples requests.
    """

    alarm_metrics: int
    detailed_alarm_metrics: int
    absolute_lifetime: int
    is_traced: bool

    @property
    def parts(self) -> tuple[str, ...]:
        """What a request is charged for."""
        return (*PARTS, TRACES) if self.is_traced else PARTS


def duration_ms(step: Mapping[str, Any], assumed: Mapping[str, float]) -> float:
    """Milliseconds that one run of a step keeps functions busy, without cold starts."""
    calls = step["upstream_calls"]
    return float(
        (step["cpu_ms"] + calls * assumed["handshake_cpu_ms"]) / assumed["cpu_share"]
        + step["round_trips"] * assumed["round_trip_ms"]
        + calls * assumed["provider_ms"]
    )


def part_costs(step: Mapping[str, Any], prices: Prices) -> dict[str, float]:
    """Dollars of one run of a step, by part."""
    assumed, requests, cold = prices["assumed"], step["invocations"], prices["assumed"]["cold_share"]
    milliseconds = duration_ms(step, assumed) + cold * (
        requests * assumed["start_ms"] + step["cold_round_trips"] * assumed["round_trip_ms"]
    )
    log_bytes = step["log_bytes"] + requests * (assumed["request_log_bytes"] + assumed["platform_log_bytes"])
    out_bytes = step["answer_bytes"] + requests * assumed["api_header_bytes"]
    out_bytes += step["sent_bytes"] + step["upstream_calls"] * assumed["handshake_bytes"]

    def dollars(name: str, amount: float) -> float:
        price = prices["request"][name]
        return float(amount * price["price"] / price["per"])

    return {
        "API": dollars("http_api", requests),
        "Lambda": dollars("lambda", requests)
        + dollars("lambda_gb_second", milliseconds / 1000 * assumed["memory_gb"])
        + dollars("secret_call", step["secret_calls"] + cold * step["cold_secret_calls"]),
        "DynamoDB": dollars("write_unit", step["write_units"])
        + dollars("read_unit", step["read_units"] + cold * step["cold_read_units"]),
        "logs": dollars("log_gb", log_bytes / GIGABYTE),
        "data out": dollars("data_out_gb", out_bytes / GIGABYTE),
        TRACES: dollars("trace", requests * assumed["traced_share"]),
    }


def journey_costs(
    steps: tuple[str, ...], usage: Usage, prices: Prices, parts: tuple[str, ...] = PARTS
) -> dict[str, float]:
    """Dollars of a million runs of these steps, by part."""
    found = [part_costs(usage[step], prices) for step in steps]
    return {part: MILLION * sum(costs[part] for costs in found) for part in parts}


@dataclass(frozen=True)
class Monthly:
    """Dollars a month, and what they would be without CloudWatch's allowances."""

    what: str
    dollars: float
    without_allowances: float


def idle_costs(alarm_metrics: int, providers: int, prices: Prices) -> list[Monthly]:
    """What a deployment costs that nobody uses."""
    month, free = prices["month"], prices["free"]
    secrets = (1 + providers) * month["secret"]["price"]
    alarm, dashboard = month["alarm"]["price"], month["dashboard"]["price"]
    paid = max(0, alarm_metrics - free["alarm"])
    return [
        Monthly(f"{1 + providers} secrets (the keys, and {providers} providers)", secrets, secrets),
        Monthly(
            f"{alarm_metrics} metrics in alarms, of which {free['alarm']} are free", paid * alarm, alarm_metrics * alarm
        ),
        Monthly("1 dashboard, which is free", 0.0, dashboard),
    ]


def custom_metrics(providers: int) -> int:
    """How many custom metrics are in use where every event and error occurs: CloudWatch counts a name once for each combination
    of its dimensions' values (broker.metrics)."""
    kept = {(metric.name, names) for metrics in METRICS.values() for metric in metrics for names in metric.dimensions}
    values = {"service": 1, "provider": providers, "error": len(ERROR_CODES)}
    return sum(values[names[-1]] for _, names in kept)


def busy_costs(usage: Usage, prices: Prices, stack: Stack) -> list[tuple[str, float]]:
    """(what, dollars) that come with use, and not with each request."""
    month, free = prices["month"], prices["free"]
    metrics = custom_metrics(1)
    paid = max(0, metrics - free["metric"]) * month["metric"]["price"]
    days, stored = stack.absolute_lifetime / DAY, login_bytes(usage, prices) / GIGABYTE * MILLION
    kept = stored * month["storage_gb"]["price"] * stack.absolute_lifetime / MONTH
    return [
        (f"a month of {metrics} custom metrics, of which {free['metric']} are free", paid),
        (f"a million logins kept for {days:g} days (`AbsoluteLifetime`), {stored:.1f} GB", kept),
    ]


def login_bytes(usage: Usage, prices: Prices) -> float:
    """What DynamoDB stores of one login."""
    items: float = sum(usage[step]["stored_bytes"] for step in LOGIN)
    return items + float(prices["assumed"]["stored_overhead_bytes"])


def alarms_of(template: Template) -> int:
    """How many metrics the alarms of a deployment read. CloudWatch charges for an alarm as often as it has metrics."""
    alarms = map(template.properties, template.logical_ids("AWS::CloudWatch::Alarm"))
    return sum(len([one for one in alarm.get("Metrics", ()) if "MetricStat" in one]) or 1 for alarm in alarms)


def stack_of(path: Path) -> Stack:
    """What a template makes. Errors: TemplateError."""
    template, detailed = (
        Template.load(path, stack="token-broker", overrides=overrides) for overrides in ({}, {"DetailedAlarms": "true"})
    )
    return Stack(
        alarm_metrics=alarms_of(template),
        detailed_alarm_metrics=alarms_of(detailed) - alarms_of(template),
        absolute_lifetime=int(template.resolve({"Ref": "AbsoluteLifetime"})),
        is_traced=template.resolve({"Ref": "Tracing"}) == "Active",
    )


def prices_of(path: Path) -> Prices:
    """The list prices, and as assumptions also what follows from a template. Errors: TemplateError."""
    template = Template.load(path, stack="token-broker", overrides={})
    (memory,) = {function.memory for function in template.functions()}
    line = str(template.properties("BrokerApi")["AccessLogSettings"]["Format"])
    written = re.sub(r"\$context\.([\w.]+)", lambda variable: ACCESS_LOG[variable[1]], line)
    prices = tomllib.loads((HERE / "prices.toml").read_text("utf-8"))
    derived = {
        "memory_gb": memory / 1024,
        "cpu_share": round(memory / WHOLE_PROCESSOR, 3),
        "request_log_bytes": len(written),
    }
    return {**prices, "assumed": {**derived, **prices["assumed"]}}


def document(usage: Usage, prices: Prices, stack: Stack) -> str:
    """docs/cost.md."""
    per_million = {name: journey_costs(steps, usage, prices, stack.parts) for name, steps in JOURNEYS.items()}
    idle = idle_costs(stack.alarm_metrics, PROVIDERS, prices)
    logins, monthly = sum(next(iter(per_million.values())).values()), sum(one.dollars for one in idle)
    return (
        "\n\n".join(
            [
                "# What it costs",
                _introduction(usage, prices),
                "## Per million\n\n" + _journeys(per_million, stack.parts),
                _verdict("A million logins cost", logins, GOAL_LOGINS),
                _levers(usage, prices),
                "## When idle\n\n" + _idle_table(idle),
                _verdict("An idle month costs", monthly, GOAL_IDLE),
                _idle(prices, stack),
                "## When busy\n\n" + _busy_table(busy_costs(usage, prices, stack)),
                _busy(prices),
                "## Traces\n\n" + _traces(usage, prices),
                "## What was measured\n\n" + _measured(usage),
                "## Prices\n\n" + _price_list(prices),
                "## What is assumed\n\n" + _assumed(prices),
            ]
        )
        + "\n"
    )


_INTRODUCTION = """Computed by `make usage cost` from what a run of the whole flow used (`bench/usage.json`) and the list prices
of {date} in {region} (`bench/prices.toml`), without discounts and, except for CloudWatch's permanent allowances,
without free tiers. Change the prices or the assumptions there and run it again. The flow uses an OpenID provider with
userinfo, an ID token and a rotating refresh token; rate limits, audit events and metrics are on, as
by default. What functions send to the provider is data out too.

One request in a hundred is taken to meet a cold start, which also reads the Registry and the secrets; where traffic is so low
that most do, a million logins cost about {cold:.0f} more. An instance reads its secrets again every five minutes: at one login
a second that adds {again:.2f}, at ten a second a tenth of it.

The provider's tokens are short here ({short} characters; its ID token is not kept, as userinfo can be asked). DynamoDB writes by
the KB, so each further KB of a provider's tokens adds {kilobyte:.2f} to a million logins, and {renewal:.2f} to a million
renewals. Not counted, as they are cents: the storage of logs and, with `KmsKeyArn`, the uses of the key."""

_LEVERS = """What changes it most: the provider's own speed (the functions wait for it), the lines that the functions and the
API log for every request, and the memory of the functions. `FunctionMemory={twice}` adds {more:.2f} to a million logins; the
{processor_ms:.0f} ms of processor time in a login then take {slow:.0f} ms instead of {slower:.0f}. `RateLimits=off` saves the
writes of the counters ([rate limits](rate-limits.md#what-it-costs))."""


_IDLE = """The allowances are the account's, so the second column is for a stack beside others that use them up. CloudWatch
charges for each metric that an alarm reads. A customer-managed key adds {key:.2f}, each further provider {secret:.2f}, and
`DetailedAlarms=true` {detailed:.2f}, for two metrics of each function."""

_BUSY = """That many metrics are in use with one provider, if every event and every error code occurs; each further provider adds
{further}. A metric costs {metric:.2f} a month for the hours in which it gets a value, so a quiet deployment pays next to nothing
for them. A login that is not used is deleted earlier, after `IdleLifetime`. With `GrantsPointInTimeRecovery=true` each GB
costs {recovery:.2f} a month more."""

_TRACES = """`Tracing=Active` lets X-Ray trace the first request of each second and {share:.0%} of the others; Lambda has no
setting for that. The {share:.0%} add {sampled:.2f} to a million logins, the first of each second up to {first:.2f} a month.
At low rates nearly every request is the first of its second: a million logins then cost {all:.2f} more."""


def _introduction(usage: Usage, prices: Prices) -> str:
    write, secret = (MILLION * prices["request"][name]["price"] / prices["request"][name]["per"] for name in _PRICED)
    return _INTRODUCTION.format(
        date=prices["date"],
        region=prices["region"],
        cold=_all_cold(usage, prices),
        again=secret * sum(usage[step]["cold_secret_calls"] for step in LOGIN) / CACHE_SECONDS,
        short=SHORT_TOKEN,
        kilobyte=write,
        renewal=2 * write,  # the lease and the new tokens are two writes of the same item
    )


def _all_cold(usage: Usage, prices: Prices) -> float:
    """Dollars that a million logins cost more if every request meets a new instance."""
    always = {**prices, "assumed": {**prices["assumed"], "cold_share": 1}}
    warm, cold = (sum(journey_costs(LOGIN, usage, which).values()) for which in (prices, always))
    return cold - warm


def _levers(usage: Usage, prices: Prices) -> str:
    assumed = prices["assumed"]
    memory, share = 2 * assumed["memory_gb"], 2 * assumed["cpu_share"]
    twice = {**prices, "assumed": {**assumed, "memory_gb": memory, "cpu_share": share}}
    less, more = (journey_costs(LOGIN, usage, which)["Lambda"] for which in (prices, twice))
    spent = sum(usage[step]["cpu_ms"] for step in LOGIN)
    return _LEVERS.format(
        twice=round(1024 * memory),
        more=more - less,
        processor_ms=spent,
        slow=spent / share,
        slower=spent / assumed["cpu_share"],
    )


def _idle(prices: Prices, stack: Stack) -> str:
    key, secret, alarm = (prices["month"][name]["price"] for name in ("key", "secret", "alarm"))
    return _IDLE.format(key=key, secret=secret, detailed=stack.detailed_alarm_metrics * alarm)


def _busy(prices: Prices) -> str:
    metric, recovery = (prices["month"][name]["price"] for name in ("metric", "recovery_gb"))
    return _BUSY.format(further=custom_metrics(2) - custom_metrics(1), metric=metric, recovery=recovery)


def _traces(usage: Usage, prices: Prices) -> str:
    trace, share = prices["request"]["trace"], prices["assumed"]["traced_share"]
    one = trace["price"] / trace["per"]
    every = MILLION * one * sum(usage[step]["invocations"] for step in LOGIN)
    return _TRACES.format(share=share, sampled=every * share, first=one * MONTH, all=every)


def _idle_table(idle: Sequence[Monthly]) -> str:
    rows = [(one.what, f"{one.dollars:.2f}", f"{one.without_allowances:.2f}") for one in idle]
    total = (sum(one.dollars for one in idle), sum(one.without_allowances for one in idle))
    return _table(
        ("a month", "dollars", "without CloudWatch's allowances"),
        [*rows, ("together", *(f"**{dollars:.2f}**" for dollars in total))],
    )


def _busy_table(busy: Sequence[tuple[str, float]]) -> str:
    return _table(("what", "dollars"), [(what, f"{price:.2f}") for what, price in busy])


def _journeys(per_million: Mapping[str, Mapping[str, float]], parts: tuple[str, ...]) -> str:
    rows = [
        (name, *(f"{costs[part]:.2f}" for part in parts), f"**{sum(costs.values()):.2f}**")
        for name, costs in per_million.items()
    ]
    return _table(("a million", *parts, "dollars"), rows)


def _verdict(what: str, price: float, goal: float) -> str:
    met = "met" if price <= goal else "missed"
    return f"{what} {price:.2f} dollars; the goal of {goal:.0f} is {met}."


def _measured(usage: Usage) -> str:
    names = (
        "write_units",
        "read_units",
        "round_trips",
        "upstream_calls",
        "cpu_ms",
        "log_bytes",
        "answer_bytes",
        "sent_bytes",
    )
    rows = [(name, *(f"{step[column]:g}" for column in names)) for name, step in usage.items()]
    head = (
        "step",
        "write units",
        "read units",
        "AWS calls",
        "provider calls",
        "CPU ms",
        "log bytes",
        "answer bytes",
        "bytes to provider",
    )
    return _table(head, rows)


def _price_list(prices: Prices) -> str:
    rows = [(price["what"], f"{price['price']:g} per {price['per']:,}") for price in prices["request"].values()]
    rows += [(price["what"], f"{price['price']:g} a month") for price in prices["month"].values()]
    return _table(("what", "dollars"), rows)


def _assumed(prices: Prices) -> str:
    return _table(
        ("assumption", "value"), [(name.replace("_", " "), f"{value:g}") for name, value in prices["assumed"].items()]
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def current() -> str:
    """docs/cost.md of the stored measurement and prices, and of template.yaml."""
    usage = json.loads((HERE / "usage.json").read_text("utf-8"))
    return document(usage, prices_of(TEMPLATE), stack_of(TEMPLATE))


def main() -> None:
    """Write docs/cost.md."""
    text = current()
    (PROJECT / "docs" / "cost.md").write_text(text, "utf-8")
    sys.stdout.write("\n".join(line for line in text.splitlines() if "the goal of" in line) + "\n")


if __name__ == "__main__":
    main()
