"""Real threads that begin at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def at_once(actions: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run every action in a thread of its own, none before all threads stand ready. Their results, in the order given."""
    ready = threading.Barrier(len(actions))

    def run(action: Callable[[], Result]) -> Result:
        ready.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))
