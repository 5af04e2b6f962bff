"""The storm of retries after a provider was down, simulated: do the back-offs that clients are told let it recover?

    make storm

Deterministic (a seed), in virtual time. The model: every client renews its session once per access token; every so often the
provider's own token is due with it, and while the provider is down that refresh is answered 503 with Retry-After, which clients
obey. Each retry that finds the link's cool-down over is one call to the provider. Compared are policies for Retry-After.
"""

from __future__ import annotations

import heapq
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from broker.grants import back_off

CLIENTS = 60_000
SESSION = 600
"""Seconds between two refreshes of a client: the life of its access token."""
UPSTREAM = 3600
"""Seconds between two renewals of a provider's token."""
DOWN_FROM, DOWN_UNTIL, END = 600, 900, 1500
BUCKET = 10
NORMAL_BROKER, NORMAL_PROVIDER = CLIENTS / SESSION, CLIENTS / UPSTREAM

Policy = Callable[[float, random.Random], float]
"""(seconds since it first failed, a source of chance) -> seconds of Retry-After."""

POLICIES: dict[str, Policy] = {
    "5 s, always": lambda _failing, _chance: 5,
    "60 s, always": lambda _failing, _chance: 60,
    "half of the time it fails, 5 to 60 s": lambda failing, _chance: min(60, max(5, failing / 2)),
    "what the broker tells (the same and up to a quarter more)": lambda failing, chance: back_off.retry_after(
        int(failing), chance.randrange
    ),
}


@dataclass(frozen=True)
class Outcome:
    """Requests in each bucket of BUCKET seconds, and when the last client had its tokens again (seconds after the end)."""

    at_broker: tuple[int, ...]
    at_provider: tuple[int, ...]
    recovered: float
    longest_wait: float

    def peak(self, counts: tuple[int, ...], normal: float) -> float:
        """The highest rate while it is down and after, in multiples of the normal one."""
        return max(counts[DOWN_FROM // BUCKET :]) / BUCKET / normal


def simulate(policy: Policy, seed: int = 1, clients: int = CLIENTS) -> Outcome:
    """One run."""
    chance = random.Random(seed)  # noqa: S311 - chance of a model, not of a secret
    broker, provider = [0] * (END // BUCKET), [0] * (END // BUCKET)
    recovered = longest = 0.0
    for when, due in _requests(chance, clients):
        broker[int(when) // BUCKET] += 1
        if not due:
            continue
        last, waits = _until_served(policy, chance, when, broker, provider)
        if waits:
            recovered, longest = max(recovered, last - DOWN_UNTIL), max(longest, last - max(when, DOWN_FROM))
    return Outcome(tuple(broker), tuple(provider), recovered, longest)


def _requests(chance: random.Random, clients: int) -> Iterator[tuple[float, bool]]:
    """(when, whether the provider's token is due) of every ordinary refresh."""
    queue = [(chance.uniform(0, SESSION), chance.uniform(0, UPSTREAM)) for _ in range(clients)]
    heapq.heapify(queue)
    while queue:
        when, due = heapq.heappop(queue)
        if when >= END:
            continue
        is_due = when >= due
        yield when, is_due
        heapq.heappush(queue, (when + SESSION, when + UPSTREAM if is_due else due))


def _until_served(
    policy: Policy, chance: random.Random, when: float, broker: list[int], provider: list[int]
) -> tuple[float, bool]:
    """Retry as told until the provider answers. Returns (when it did, whether there was a wait)."""
    first = None
    while True:
        if when >= END:
            return when, True
        provider[int(when) // BUCKET] += 1
        if not DOWN_FROM <= when < DOWN_UNTIL:
            return when, first is not None
        first = when if first is None else first
        when += policy(when - first, chance)
        if when < END:
            broker[int(when) // BUCKET] += 1


def report() -> str:
    """The table and the chart of docs/scale.md."""
    lines = [
        "| Retry-After | peak at the broker | peak at the provider | all served again after |",
        "|---|---|---|---|",
    ]
    outcomes = {name: simulate(policy) for name, policy in POLICIES.items()}
    for name, found in outcomes.items():
        at_broker = found.peak(found.at_broker, NORMAL_BROKER)
        at_provider = found.peak(found.at_provider, NORMAL_PROVIDER)
        lines.append(f"| {name} | {at_broker:.1f} x | {at_provider:.1f} x | {found.recovered:.0f} s |")
    charts = [_chart(name, outcomes[name]) for name in (next(iter(POLICIES)), next(reversed(POLICIES)))]
    return "\n".join(lines) + "\n\n" + "\n\n".join(charts)


def _chart(name: str, outcome: Outcome) -> str:
    """Calls to the provider over time, a bar for every 50 seconds."""
    width, rows = 50 // BUCKET, []
    for start in range(DOWN_FROM - 100, END, 50):
        counts = outcome.at_provider[start // BUCKET : start // BUCKET + width]
        rate = sum(counts) / 50 / NORMAL_PROVIDER
        state = "down" if DOWN_FROM <= start < DOWN_UNTIL else ""
        rows.append(f"    {start - DOWN_FROM:>5} s {state:<4} {rate:5.1f} x {'#' * min(60, round(rate))}")
    return f"Calls to the provider with Retry-After of {name}, in multiples of normal:\n\n" + "\n".join(rows)


def main() -> None:
    """Print it."""
    sys.stdout.write(report() + "\n")


if __name__ == "__main__":
    main()
