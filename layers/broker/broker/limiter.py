"""Rate limiting without a wait: requests are counted beside their own work, and an exceeded limit stops the *next* ones.

The count of a request runs in a thread while the request does its own store call, so it adds no round trip in sequence. Its
result is remembered by this function instance: once a limit is exceeded, requests are refused without any call until the window
ends. A request that was let in is never refused afterwards, so nothing is consumed that the client does not hear of. The price: a
limit may be exceeded by the requests that are under way, about one per instance.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker import audit, clock
from broker.protocol.errors import TOO_MANY_REQUESTS, OAuthError
from broker.protocol.limits import FAILURE_COST, Limit, header_fields
from broker.store.aws import StoreUnavailable
from broker.store.counters import Counters

if TYPE_CHECKING:
    from concurrent.futures import Future

WAIT_SECONDS = 1.0
"""How long an answer may wait for its counters at most; they normally are back before the request's own call."""
MOST_REMEMBERED = 10_000


@dataclass(frozen=True)
class Subject:
    """Whose requests are counted under which limit: (name of the limit, key)."""

    name: str
    key: str = field(repr=False)


@dataclass
class Count:
    """The counting of one request, under way."""

    subjects: tuple[Subject, ...]
    futures: list["Future[None]"]


class Limiter:
    """All limits of one function instance."""

    def __init__(
        self, counters: Counters, limits: Mapping[str, Limit], pick: Callable[[int], int] = secrets.randbelow
    ) -> None:
        """pick: a random number below its argument; a request is written down when it is 0."""
        from concurrent.futures import ThreadPoolExecutor

        self._counters = counters
        self._limits = limits
        self._pick = pick
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="limiter")
        self._used: dict[tuple[Subject, int], int] = {}

    def check(self, subjects: Iterable[Subject]) -> None:
        """Refuse what is known to be over a limit; no I/O. Errors: OAuthError 429 with retry_after."""
        now = clock.now()
        for subject in subjects:
            limit = self._limits.get(subject.name)
            if limit is not None and self._used.get((subject, limit.start(now)), 0) >= limit.quota:
                audit.event("request.limited", limit=subject.name)
                raise OAuthError(
                    TOO_MANY_REQUESTS,
                    "too many requests, please come back later",
                    retry_after=limit.start(now) + limit.window - now,
                )

    def count(self, subjects: tuple[Subject, ...], amount: int = 1) -> Count:
        """Start counting; returns at once."""
        limited = tuple(subject for subject in subjects if subject.name in self._limits)
        weighed = ((subject, self._limits[subject.name].weight) for subject in limited)
        return Count(
            limited, [self._submit(subject, amount * weight) for subject, weight in weighed if not self._pick(weight)]
        )

    def _submit(self, subject: Subject, amount: int) -> "Future[None]":
        # In the request's own context, so that what the thread logs belongs to it.
        return self._threads.submit(copy_context().run, self._add, subject, amount)

    def finish(self, count: Count, *, failed: bool) -> None:
        """Wait (bounded) until the request is counted: a function is frozen once it has answered."""
        from concurrent.futures import wait

        if failed:
            count.futures += self._count_failure(count.subjects)
        wait(count.futures, timeout=WAIT_SECONDS)

    def _count_failure(self, subjects: tuple[Subject, ...]) -> "list[Future[None]]":
        """What a refused request counts more. Always written: guessing is what limits are for."""
        return [self._submit(subject, FAILURE_COST - 1) for subject in subjects]

    def headers(self, subjects: Iterable[Subject]) -> dict[str, str]:
        """The RateLimit fields of the limit that is closest to its end, as far as this instance knows. No I/O."""
        now = clock.now()
        known = []
        for subject in subjects:
            limit = self._limits.get(subject.name)
            if limit is not None and (subject, limit.start(now)) in self._used:
                used = self._used[subject, limit.start(now)]
                known.append((limit.quota - used, subject.name, limit, used))
        if not known:
            return {}
        _, name, limit, used = min(known, key=lambda entry: entry[0])
        return header_fields(name, limit, used, now)

    def _add(self, subject: Subject, amount: int) -> None:
        limit = self._limits[subject.name]
        start = limit.start(clock.now())
        try:
            total = self._counters.add(subject.name, subject.key, start, limit.window, amount)
        except StoreUnavailable as error:
            audit.event("limit.uncounted", limit=subject.name, detail=error.detail)
            return
        if len(self._used) >= MOST_REMEMBERED:
            self._used.clear()
        self._used[subject, start] = max(total, self._used.get((subject, start), 0))
