"""The bounded HTTP client of the functions: each request to a provider is put into the log with its time and its status.

The interpreter of dialects does not log: the operator's command uses it too. Must never write a URL, header or body.
"""

import time

from broker import audit
from broker.upstream.http import BoundedHttp, Deadline, TransportError, UpstreamRequest, UpstreamResponse


class MeasuredHttp(BoundedHttp):
    """BoundedHttp that writes `upstream.called` for requests that say which provider they are for."""

    def send(self, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        """The answer, or TransportError."""
        started = time.monotonic()
        try:
            response = super().send(request, deadline)
        except TransportError as problem:
            _report(request, started, problem.status, problem.kind.name.lower())
            raise
        _report(request, started, response.status, None)
        return response


def _report(request: UpstreamRequest, started: float, status: int | None, kind: str | None) -> None:
    if request.provider:
        audit.event(
            "upstream.called",
            provider=request.provider,
            phase=request.phase,
            status=status,
            kind=kind,
            milliseconds=round((time.monotonic() - started) * 1000),
        )
