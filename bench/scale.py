"""Which quota binds first: bench/usage.json (measured) held against bench/quotas.toml, and the storm after an outage.

    make scale        writes the generated parts of docs/scale.md

`quota_table` is pure, and a test holds docs/scale.md to it.
"""

from __future__ import annotations

import json
import math
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cost

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "scale.md"
RATES = (10, 1_000, 50_000)
REFRESHES = ("refresh", "refresh_upstream")
"""What one client does most often under one rate limit; the codes that it redeems are counted apart."""
SERVED = 10
"""Requests a second that one execution environment serves at most, however short they are (Lambda quotas)."""


def loads(usage: cost.Usage, mix: Mapping[str, int], assumed: Mapping[str, float]) -> dict[str, float]:
    """What one login a second uses of each quota, with all that goes with it."""
    times = dict.fromkeys(cost.LOGIN, 1) | dict(mix)

    def total(of: Callable[[Mapping[str, Any]], float]) -> float:
        return sum(count * of(usage[step]) for step, count in times.items())

    def running(function: str) -> float:
        """Environments of one function: as many as run at a time, and enough for SERVED requests a second each."""
        own = {name: count for name, count in times.items() if function in usage[name]["functions"]}
        seconds = sum(count * cost.duration_ms(usage[name], assumed) for name, count in own.items()) / 1000
        requests: float = sum(count * usage[name]["invocations"] for name, count in own.items())
        return max(seconds, requests / SERVED)

    functions = {function for name in times for function in usage[name]["functions"]}
    return {
        "api_requests": total(lambda step: step["invocations"]),
        "lambda_concurrency": sum(map(running, functions)),
        "table_writes": total(lambda step: step["write_units"]),
        "table_reads": total(lambda step: step["read_units"]),
        "token_throttle": times["token"] + sum(times[step] for step in REFRESHES),
        "authorize_throttle": times["authorize"],
        "client_limit": sum(times[step] for step in REFRESHES),
        "log_bytes": total(lambda step: step["log_bytes"] + assumed["platform_log_bytes"]) / 1_000_000,
    }


def quota_table(usage: cost.Usage, quotas: Mapping[str, Any], assumed: Mapping[str, float]) -> str:
    """The table of docs/scale.md, and the sentences on what binds first."""
    used = loads(usage, quotas["mix"], assumed)
    head = ["what", "default", *(f"at {rate:,}/s" for rate in RATES), "to get more"]
    lines = [_row(head), _row(["---"] * len(head))]
    for name, quota in (quotas["quota"] | quotas["own"]).items():
        cells = [_cell(used[name] * rate, quota["most"]) for rate in RATES]
        lines.append(_row([quota["what"], f"{quota['most']:,} {quota['unit']}", *cells, quota["raise"]]))
    sentences = [_first(rate, used, quotas["quota"]) for rate in RATES]
    return "\n".join(lines) + "\n\n" + "\n".join(f"- {sentence}" for sentence in sentences)


def _cell(amount: float, most: float) -> str:
    text = f"{amount:,.0f}" if amount >= 10 else f"{amount:.2g}"
    return f"**{text}**" if amount > most else text


def _first(rate: int, used: Mapping[str, float], quotas: Mapping[str, Any]) -> str:
    """Which quota binds first, or several that do so together."""
    shares = {name: used[name] * rate / quota["most"] for name, quota in quotas.items()}
    most = max(shares.values())
    found = [quotas[name]["what"] for name, share in shares.items() if math.isclose(share, most)]
    one = len(found) == 1
    if most > 1:
        state = f"{'binds' if one else 'bind'} first, {most:.1f} times over"
    else:
        state = f"{'is' if one else 'are'} the nearest, at {most:.0%} of the default"
    return f"At {rate:,} logins a second: {' and '.join(found)} {state}."


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def replaced(document: str, name: str, content: str) -> str:
    """`document` with what stands between the marks of `name` replaced. Errors: ValueError when there are none."""
    begin, end = f"<!-- {name}: generated -->", f"<!-- /{name} -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"docs/scale.md has no part {name}")
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def current_quotas() -> str:
    """The table of the stored measurement and quotas."""
    usage = json.loads((HERE / "usage.json").read_text("utf-8"))
    quotas = tomllib.loads((HERE / "quotas.toml").read_text("utf-8"))
    assumed = cost.prices_of(cost.TEMPLATE)["assumed"]
    return quota_table(usage, quotas, assumed)


def main() -> None:
    """Write the generated parts of docs/scale.md."""
    import storm

    text = replaced(DOCUMENT.read_text("utf-8"), "quotas", current_quotas())
    DOCUMENT.write_text(replaced(text, "storm", storm.report()), "utf-8")
    sys.stdout.write(current_quotas() + "\n")


if __name__ == "__main__":
    main()
