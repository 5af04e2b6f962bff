"""How long this invocation may still run, so that nothing which must not be cut off is begun too late.

Lambda ends a function at its timeout without a word; a provider's new refresh token that was about to be written would be
lost with it.
"""

import math
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from broker.store.aws import StoreUnavailable

Result = TypeVar("Result")

_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)
_source_ip: ContextVar[str] = ContextVar("source_ip", default="")


def begin(context: Any) -> None:
    """Take note of Lambda's context. Without one (None), there is no end."""
    left = getattr(context, "get_remaining_time_in_millis", None)
    _ends_at.set(math.inf if left is None else time.monotonic() + left() / 1000)


def comes_from(source_ip: str) -> None:
    """Take note of the address that the request came from."""
    _source_ip.set(source_ip)


def source_ip() -> str:
    """The address that the request came from; "" for what is no request."""
    return _source_ip.get()


def seconds_left() -> float:
    """Seconds until Lambda ends this invocation."""
    return _ends_at.get() - time.monotonic()


def within(seconds: float, action: Callable[[], Result]) -> Result:
    """What `action` returns or raises, if it does so in time; after that it is left to itself.

    The timeouts of the AWS clients add up over their own repetitions to more than there may be left. Errors: StoreUnavailable
    when it takes longer; its effect may still come.
    """
    outcomes: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            outcomes.put((action(), None))
        except BaseException as error:  # whatever it is, it belongs to who waits for it
            outcomes.put((None, error))

    start_thread(run)
    try:
        result, error = outcomes.get(timeout=seconds)
    except Empty:
        raise StoreUnavailable("it took too long") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # None is then what the action returned


def at_once(beside: Callable[[], None], action: Callable[[], None]) -> None:
    """Do both, in the time of the slower one. Raises what `action` raises, else what `beside` does."""
    outcome: SimpleQueue[BaseException | None] = SimpleQueue()

    def run() -> None:
        try:
            beside()
        except BaseException as error:  # whatever it is, it belongs to who waits for it
            outcome.put(error)
        else:
            outcome.put(None)

    start_thread(run)
    try:
        action()
    finally:  # what is left running when the answer is out is frozen with the instance
        error = outcome.get()
    if error is not None:
        raise error


def start_thread(action: Callable[[], None]) -> None:
    """Run `action` beside this thread, on behalf of the same invocation."""
    threading.Thread(target=copy_context().run, args=(action,), daemon=True).start()
