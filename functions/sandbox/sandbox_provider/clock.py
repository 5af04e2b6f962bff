"""The sandbox's one clock, so that a test can move all of its lifetimes at once.

Nothing else in the sandbox may ask the machine for the time.
"""

from __future__ import annotations

import time

offset: float = 0.0
"""Seconds added to the machine's time; tests set it to look into the future."""


def now() -> int:
    """Seconds since the epoch, shifted by `offset`."""
    return int(time.time() + offset)


def wait(seconds: float) -> None:
    """Let real time pass (only the fault `slow` does)."""
    time.sleep(seconds)
