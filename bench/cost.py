"""What the broker costs: bench/usage.json (measured) times bench/prices.toml (list prices), as docs/cost.md.

    make usage cost  measures anew, and writes docs/cost.md

`document` is pure, and a test holds docs/cost.md to it.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from broker_local.template import Template

HERE = Path(__file__).parent
PROJECT = HERE.parent
GOAL_LOGINS, GOAL_IDLE = 10.0, 5.0
MILLION = 1_000_000
GIGABYTE = 1_000_000_000

PARTS = ("API", "Lambda", "DynamoDB", "logs", "data out")
JOURNEYS: Mapping[str, tuple[str, ...]] = {
    "logins (authorize, callback, token)": ("authorize", "callback", "token"),
    "refreshes": ("refresh",),
    "refreshes that renew the provider's token": ("refresh_upstream",),
    "profile reads (userinfo)": ("userinfo",),
    "token exchanges": ("token_exchange",),
    "revocations": ("revoke",),
}

Usage = Mapping[str, Mapping[str, Any]]
Prices = Mapping[str, Any]


def part_costs(step: Mapping[str, Any], prices: Prices) -> dict[str, float]:
    """Dollars of one run of a step, by part."""
    assumed, requests = prices["assumed"], step["invocations"]
    milliseconds = (
        step["cpu_ms"] / assumed["cpu_share"]
        + step["round_trips"] * assumed["round_trip_ms"]
        + step["upstream_calls"] * assumed["provider_ms"]
    )
    log_bytes = step["log_bytes"] + requests * (assumed["request_log_bytes"] + assumed["platform_log_bytes"])
    out_bytes = step["answer_bytes"] + requests * assumed["api_header_bytes"]

    def dollars(name: str, amount: float) -> float:
        price = prices["request"][name]
        return float(amount * price["price"] / price["per"])

    return {
        "API": dollars("http_api", requests),
        "Lambda": dollars("lambda", requests)
        + dollars("lambda_gb_second", milliseconds / 1000 * assumed["memory_gb"])
        + dollars("secret_call", step["secret_calls"]),
        "DynamoDB": dollars("write_unit", step["write_units"]) + dollars("read_unit", step["read_units"]),
        "logs": dollars("log_gb", log_bytes / GIGABYTE),
        "data out": dollars("data_out_gb", out_bytes / GIGABYTE),
    }


def journey_costs(steps: tuple[str, ...], usage: Usage, prices: Prices) -> dict[str, float]:
    """Dollars of a million runs of these steps, by part."""
    found = [part_costs(usage[step], prices) for step in steps]
    return {part: MILLION * sum(costs[part] for costs in found) for part in PARTS}


def idle_costs(alarms: int, providers: int, prices: Prices) -> list[tuple[str, float]]:
    """(what, dollars a month) of a deployment that nobody uses."""
    month, free = prices["month"], prices["free"]
    paid = max(0, alarms - free["alarm"])
    return [
        (f"{1 + providers} secrets (the keys, and {providers} providers)", (1 + providers) * month["secret"]["price"]),
        (f"{alarms} alarms, of which {free['alarm']} are free", paid * month["alarm"]["price"]),
        ("1 dashboard, which is free", 0.0),
    ]


def alarms_of(template: Template) -> int:
    """How many alarms a deployment with default parameters has."""
    return len(template.logical_ids("AWS::CloudWatch::Alarm"))


def document(usage: Usage, prices: Prices, alarms: int) -> str:
    """docs/cost.md."""
    per_million = {name: journey_costs(steps, usage, prices) for name, steps in JOURNEYS.items()}
    idle = idle_costs(alarms, 3, prices)
    logins, monthly = sum(next(iter(per_million.values())).values()), sum(price for _, price in idle)
    return (
        "\n\n".join(
            [
                "# What it costs",
                _INTRODUCTION.format(date=prices["date"], region=prices["region"]),
                "## Per million\n\n" + _journeys(per_million),
                _verdict("A million logins", logins, GOAL_LOGINS) + " " + _LEVERS,
                "## When idle\n\n" + _table(("a month", "dollars"), [(what, f"{price:.2f}") for what, price in idle]),
                _verdict("An idle month", monthly, GOAL_IDLE) + " " + _IDLE,
                "## What was measured\n\n" + _measured(usage),
                "## Prices\n\n" + _price_list(prices),
                "## What is assumed\n\n" + _assumed(prices),
            ]
        )
        + "\n"
    )


_INTRODUCTION = """Computed by `make usage cost` from what a run of the whole flow used (`bench/usage.json`) and the list prices
of {date} in {region} (`bench/prices.toml`), without discounts and, but for CloudWatch's lasting allowances when idle,
without free tiers. Change the prices or the assumptions there and run it again. The flow uses an OpenID provider with
userinfo, an ID token and a rotating refresh token, the dearest kind; rate limits, audit events and metrics are on, as by
default."""

_LEVERS = """What moves it most: the provider's own speed (the functions wait for it), the lines that Lambda and the API log for
every request, and the memory of the functions (they mostly wait, so less memory is cheaper and slower). `RateLimits=off`
saves the writes of the counters ([rate limits](rate-limits.md#what-it-costs))."""

_IDLE = """A customer-managed key adds 1.00, each further provider 0.40, `DetailedAlarms=true` 0.10 for each function. A custom
metric costs 0.30 a month for the hours in which it gets a value, so a quiet deployment pays next to nothing for them and
a busy one up to 0.30 for each name, provider and error code in use."""


def _journeys(per_million: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        (name, *(f"{costs[part]:.2f}" for part in PARTS), f"**{sum(costs.values()):.2f}**")
        for name, costs in per_million.items()
    ]
    return _table(("a million", *PARTS, "dollars"), rows)


def _verdict(what: str, price: float, goal: float) -> str:
    met = "met" if price <= goal else "missed"
    return f"{what} cost {price:.2f} dollars; the goal of {goal:.0f} is {met}."


def _measured(usage: Usage) -> str:
    names = ("write_units", "read_units", "round_trips", "upstream_calls", "cpu_ms", "log_bytes", "answer_bytes")
    rows = [(name, *(f"{step[column]:g}" for column in names)) for name, step in usage.items()]
    head = ("step", "write units", "read units", "AWS calls", "provider calls", "CPU ms", "log bytes", "answer bytes")
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
    prices = tomllib.loads((HERE / "prices.toml").read_text("utf-8"))
    template = Template.load(PROJECT / "template.yaml", stack="token-broker", overrides={})
    return document(usage, prices, alarms_of(template))


def main() -> None:
    """Write docs/cost.md."""
    text = current()
    (PROJECT / "docs" / "cost.md").write_text(text, "utf-8")
    sys.stdout.write("\n".join(line for line in text.splitlines() if "the goal of" in line) + "\n")


if __name__ == "__main__":
    main()
