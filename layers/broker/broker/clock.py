"""The wall clock of the broker: whole seconds since the epoch, in one place so that a test can move time.

All instances go by one clock, DynamoDB's: where the machine's own is wrong by more than a moment, it is put right by the Date
headers of DynamoDB's answers. Two instances whose clocks differ by minutes would else not agree on when a lease, a code or a
retry window ends. Nothing else in the package may ask the operating system for the time of day.
"""

import time
from email.utils import parsedate_to_datetime

TOLERATED = 2.0
"""Seconds of difference that are taken for none: a Date header has whole seconds, and an answer takes its time."""
QUICK = 1.0
"""Seconds. A slower answer says too little about what time it is now."""

offset: float = 0.0
"""Seconds added to the real time. Always 0 in production; tests move it to make things expire without sleeping."""
skew: float = 0.0
"""Seconds by which the machine's clock is wrong. Always 0 in production; tests put it wrong."""
_correction: float = 0.0


def machine() -> float:
    """What the machine's own clock says, in seconds since the epoch, right or wrong."""
    return time.time() + skew


def hear(date: str | None, asked_at: float) -> None:
    """Learn what time it is from the Date header of an answer (RFC 9110 section 6.6.1). `asked_at`: `machine()` then."""
    global _correction  # noqa: PLW0603 - the one clock of the process
    arrived_at = machine()
    if date is None or not 0 <= arrived_at - asked_at <= QUICK:
        return
    try:
        told = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return
    difference = told + 0.5 - arrived_at  # on average the header has lost half a second
    _correction = difference if abs(difference) > TOLERATED else 0.0


def _seconds() -> float:
    return machine() + _correction + offset


def now() -> int:
    """The present time, in whole seconds since the epoch."""
    return int(_seconds())


def now_ms() -> int:
    """The present time, in milliseconds since the epoch (leases need finer steps than a second)."""
    return int(_seconds() * 1000)
