"""The wall clock of the broker: whole seconds since the epoch, in one place so that a test can move time.

Nothing else in the package may ask the operating system for the time of day.
"""

import time

offset: float = 0.0
"""Seconds added to the real time. Always 0 in production; tests move it to make things expire without sleeping."""


def now() -> int:
    """The present time, in whole seconds since the epoch."""
    return int(time.time() + offset)


def now_ms() -> int:
    """The present time, in milliseconds since the epoch (leases need finer steps than a second)."""
    return int((time.time() + offset) * 1000)
