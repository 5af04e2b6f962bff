"""A call below HTTP's own rules: the request, the answer, the deadline, and what can go wrong on the way.

Values only, apart from the client that sends (http.py) so that a function which may have to call a provider does not import
sockets, TLS and an HTTP parser before it does. Must never show a URL, header or body in an error.
"""

import re
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from broker.upstream.templates import check_url

_METHOD = re.compile(r"[A-Z]{1,16}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[ -~]*")


@dataclass(frozen=True)
class Deadline:
    """A moment of `time.monotonic()` by which everything is over."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.at - time.monotonic())

    def share(self, fraction: float) -> "Deadline":
        """A deadline after this part of what is left."""
        return Deadline.after(self.remaining() * fraction)


class TransportKind(Enum):
    """What went wrong below HTTP, or in it."""

    UNREACHABLE = "unreachable"
    UNTRUSTED = "untrusted certificate"
    ADDRESS_REFUSED = "address refused"
    TIMEOUT = "timeout"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    TOO_LARGE = "too large"


class TransportError(Exception):
    """No whole answer. sent: the request may have reached the server; status: the answer's, if its status line came."""

    def __init__(self, kind: TransportKind, *, sent: bool, status: int | None = None, detail: str = "") -> None:
        super().__init__(f"{kind.value}: {detail}" if detail else kind.value)
        self.kind = kind
        self.sent = sent
        self.status = status
        self.detail = detail


@dataclass(frozen=True)
class UpstreamRequest:
    """A request with an absolute URL. provider, phase: whom it is for and why, for measurements. Raises ValueError
    (without the value) for what could split it into two (CR, LF, NUL).
    """

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    provider: str = field(default="", compare=False)
    phase: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not _METHOD.fullmatch(self.method):
            raise ValueError("the method must be upper-case letters")
        check_url(self.url, local=True)
        for name, value in self.headers:
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError("a header must have a token as its name and printable ASCII as its value")


@dataclass(frozen=True)
class UpstreamResponse:
    """A whole answer. headers: names in lower case, in order, repeated ones apart; received_at: epoch seconds by our
    clock.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    received_at: float = 0.0

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        return next((value for key, value in self.headers if key == name), None)


class Sender(Protocol):
    """What the interpreter needs of an HTTP client."""

    def send(self, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        """The answer, or TransportError."""
        ...
