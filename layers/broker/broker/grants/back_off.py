"""How long a client is asked to wait while a provider is down: half of the time that it has been failing, so that waits grow
with the outage and no counter is needed. bench/storm.py shows what that does to a provider that comes back. Pure.
"""

from collections.abc import Callable

LEAST, MOST = 5, 60
"""Seconds. The least is a link's cool-down; the most, with all that is added, is what a person can be asked to wait for."""


def retry_after(failing_for: int, below: Callable[[int], int]) -> int:
    """Seconds for Retry-After. `failing_for`: seconds since the first failure in a row; `below`: a random number below its
    argument. Up to a quarter is added, so that clients that failed together do not come back together: in a long outage too, so
    there is room for it below the most."""
    wait = min(MOST * 4 // 5, max(LEAST, failing_for // 2))
    return wait + below(wait // 4)
