"""The bounded HTTP client: one request, one answer, within one total deadline and one size.

Ordinary client timeouts bound the wait for the *next* byte, so a server that dribbles bytes holds a caller for as
long as it likes. Here every wait gets only what is left of the deadline: name lookup, connect, TLS, sending, headers
and body. Must never follow a redirect (it would carry credentials elsewhere), use a proxy from the environment,
connect to an address that was not checked, or show a URL, header or body in an error.
"""

import contextlib
import http.client
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from broker.upstream.addresses import Address, may_be_called, parse_address
from broker.upstream.transport import (
    Deadline,
    Sender,
    TransportError,
    TransportKind,
    UpstreamRequest,
    UpstreamResponse,
)

__all__ = [
    "MAX_ADDRESSES",
    "MAX_BODY",
    "BoundedHttp",
    "Deadline",
    "Sender",
    "TransportError",
    "TransportKind",
    "UpstreamRequest",
    "UpstreamResponse",
    "no_connection",
    "system_resolver",
]

MAX_BODY = 1024 * 1024
MAX_HEAD = 64 * 1024
MAX_ADDRESSES = 4
"""How many of a host's addresses are tried."""
# What OpenSSL, by its version, calls an answer that is no TLS: mostly plain HTTP on another port.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL"})
_CHUNK = 8192

Resolver = Callable[[str, int], Sequence[str]]
ReadableBuffer = bytes | bytearray | memoryview


_MAKING_CONTEXT = threading.Lock()


@cache
def _default_context() -> ssl.SSLContext:
    return ssl.create_default_context()


class _BudgetSpentError(Exception):
    """More bytes came than this phase of the answer may have."""


class _Limits:
    """What one connection has left: time until the deadline, bytes until the limit."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.bytes_left = MAX_HEAD

    def time_left(self) -> float:
        remaining = self.deadline.remaining()
        if remaining <= 0:
            raise TimeoutError("deadline")
        return remaining

    def count(self, received: int) -> int:
        self.bytes_left -= received
        if self.bytes_left < 0:
            raise _BudgetSpentError
        return received


class _BoundedSocket(socket.socket):
    """A socket whose every read and write waits no longer than what is left of the deadline."""

    limits: _Limits

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int = 0, flags: int = 0) -> int:  # type: ignore[override]
        self.settimeout(self.limits.time_left())
        return self.limits.count(super().recv_into(buffer, min(nbytes or len(buffer), _CHUNK), flags))

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:  # type: ignore[override]
        self.settimeout(self.limits.time_left())
        super().sendall(data, flags)


class _BoundedTLSSocket(ssl.SSLSocket):
    """The same under TLS. OpenSSL reads and the handshake keep one deadline per call in C; `sendall` loops over
    `send`.
    """

    limits: _Limits

    def recv_into(  # type: ignore[override]
        self, buffer: bytearray | memoryview, nbytes: int | None = None, flags: int = 0
    ) -> int:
        self.settimeout(self.limits.time_left())
        return self.limits.count(super().recv_into(buffer, min(nbytes or len(buffer), _CHUNK), flags))

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:  # type: ignore[override]
        self.settimeout(self.limits.time_left())
        return super().send(data, flags)


def system_resolver(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as the machine's resolver orders them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def no_connection(problem: Exception) -> str:
    """Why a server could not be connected to, in words; the name of the error where it is a rare one."""
    match problem:
        case ssl.SSLError() if problem.reason in _NO_TLS:
            return "what listens there does not speak TLS"
        case ssl.SSLError():
            return f"the TLS handshake failed ({problem.reason or type(problem).__name__})"
        case ConnectionRefusedError():
            return "the connection is refused"
        case ConnectionError():
            return "the connection is broken off"
        case TimeoutError():
            return "nothing answers"
    return f"there is no connection ({type(problem).__name__})"


@dataclass(frozen=True)
class _Target:
    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "_Target":
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, parts.hostname or "", port, path)

    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


class BoundedHttp:
    """Sends one request per connection. Thread-safe; all share one TLS context, which is made at the first call.

    allow_loopback: local mode only; lets this machine's loopback be called, over plain http too.
    resolver: host and port to IP addresses; tls_context: for tests with their own authority; max_body: bytes.
    clock: epoch seconds, stamped on answers.
    """

    def __init__(
        self,
        *,
        allow_loopback: bool,
        resolver: Resolver = system_resolver,
        tls_context: ssl.SSLContext | None = None,
        max_body: int = MAX_BODY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._allow_loopback = allow_loopback
        self._resolver = resolver
        self._tls_context = tls_context
        self._max_body = max_body
        self._clock = clock

    def send(self, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        """The answer, whatever its status; redirects are answers. Raises TransportError, within the deadline."""
        target = _Target.of(request.url)
        limits = _Limits(deadline)
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.auto_open = 0  # never reconnect by name: only the checked address is called
        connection.sock = self._open(target, limits)
        try:
            return self._converse(connection, target, request, limits)
        finally:
            connection.close()

    def _open(self, target: _Target, limits: _Limits) -> socket.socket:
        """A connected socket to a checked address, with TLS where the URL says so. Takes at most half of the time."""
        if limits.deadline.remaining() <= 0:
            raise _unreachable("no time is left")
        setup = limits.deadline.share(0.5)
        addresses = self._checked_addresses(target, setup)
        failure: TransportError | None = None
        for index, address in enumerate(addresses):
            try:
                plain = _connect(address, target.port, setup.share(1 / (len(addresses) - index)), limits)
            except OSError as problem:
                failure = _unreachable(no_connection(problem))
                continue
            return self._secure(plain, target, setup, limits) if target.scheme == "https" else plain
        raise failure or _unreachable("the name has no address")

    def _checked_addresses(self, target: _Target, setup: Deadline) -> list[Address]:
        literal = parse_address(target.host)
        found = [literal] if literal else [parse_address(text) for text in self._resolve(target, setup)]
        if not found:
            raise _unreachable("the name has no address")
        checked = [
            address
            for address in found
            if address and may_be_called(address, scheme=target.scheme, allow_loopback=self._allow_loopback)
        ]
        if not checked:
            raise TransportError(
                TransportKind.ADDRESS_REFUSED, sent=False, detail="the name leads to no address that may be called"
            )
        return checked[:MAX_ADDRESSES]

    def _resolve(self, target: _Target, setup: Deadline) -> Sequence[str]:
        """The resolver in a thread of its own: a lookup cannot be given a timeout, only be left behind."""
        outcome: queue.SimpleQueue[Sequence[str] | None] = queue.SimpleQueue()

        def look_up() -> None:
            found: Sequence[str] | None = None
            with contextlib.suppress(OSError, UnicodeError):
                found = self._resolver(target.host, target.port)
            outcome.put(found)

        threading.Thread(target=look_up, daemon=True, name="upstream-lookup").start()
        try:
            found = outcome.get(timeout=setup.remaining())
        except queue.Empty:
            raise _unreachable("the name lookup took too long") from None
        if found is None:
            raise _unreachable("the name lookup failed")
        return found

    def _secure(self, plain: socket.socket, target: _Target, setup: Deadline, limits: _Limits) -> socket.socket:
        try:
            plain.settimeout(max(setup.remaining(), 0.001))
            secured = self._context().wrap_socket(plain, server_hostname=target.host)
        except ssl.SSLCertVerificationError as problem:
            plain.close()
            raise TransportError(TransportKind.UNTRUSTED, sent=False, detail=problem.verify_message) from None
        except (OSError, ValueError) as problem:
            plain.close()
            raise _unreachable(no_connection(problem)) from None
        assert isinstance(secured, _BoundedTLSSocket)  # noqa: S101 - the context's own socket class
        secured.limits = limits
        return secured

    def prepare(self) -> None:
        """Do now what the first https call would have to do: loading the authorities is slow. Sends nothing."""
        self._context()

    def _context(self) -> ssl.SSLContext:
        with _MAKING_CONTEXT:
            context = self._tls_context or _default_context()
            context.sslsocket_class = _BoundedTLSSocket
            return context

    def _converse(
        self, connection: http.client.HTTPConnection, target: _Target, request: UpstreamRequest, limits: _Limits
    ) -> UpstreamResponse:
        status: int | None = None
        try:
            _write(connection, target, request)
            connection.response_class = _FinalResponse
            answer = connection.getresponse()
            status = answer.status
            body = self._read_body(answer, limits)
        except TimeoutError:
            raise TransportError(TransportKind.TIMEOUT, sent=True, status=status) from None
        except _BudgetSpentError:
            raise TransportError(TransportKind.TOO_LARGE, sent=True, status=status) from None
        except (http.client.IncompleteRead, http.client.RemoteDisconnected, OSError) as problem:
            raise TransportError(
                TransportKind.TRUNCATED, sent=True, status=status, detail=type(problem).__name__
            ) from None
        except (http.client.HTTPException, ValueError) as problem:
            raise TransportError(
                TransportKind.MALFORMED, sent=True, status=status, detail=type(problem).__name__
            ) from None
        headers = tuple((name.lower(), str(value)) for name, value in answer.getheaders())
        return UpstreamResponse(status, headers, body, self._clock())

    def _read_body(self, answer: http.client.HTTPResponse, limits: _Limits) -> bytes:
        # Chunk sizes and trailers are bytes of the body phase too; they may not be endless either.
        limits.bytes_left = self._max_body * 2 + MAX_HEAD
        if answer.length is not None and answer.length > self._max_body:
            raise _BudgetSpentError
        pieces: list[bytes] = []
        size = 0
        while piece := answer.read(_CHUNK):
            pieces.append(piece)
            size += len(piece)
            if size > self._max_body:
                raise _BudgetSpentError
        if answer.length:  # http.client does not say so when a read with a size meets an early end
            raise http.client.IncompleteRead(b"", answer.length)
        return b"".join(pieces)


class _FinalResponse(http.client.HTTPResponse):
    """The answer behind those of 102 and 103, which announce it (RFC 9110 section 15.2); http.client skips 100 alone."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status not in (102, 103):
                return version, status, reason
            http.client.parse_headers(self.fp)


def _unreachable(detail: str) -> TransportError:
    return TransportError(TransportKind.UNREACHABLE, sent=False, detail=detail)


def _connect(address: Address, port: int, deadline: Deadline, limits: _Limits) -> _BoundedSocket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    plain = _BoundedSocket(family, socket.SOCK_STREAM)
    try:
        plain.limits = limits
        plain.settimeout(max(deadline.remaining(), 0.001))
        plain.connect((str(address), port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        plain.close()
        raise
    return plain


def _write(connection: http.client.HTTPConnection, target: _Target, request: UpstreamRequest) -> None:
    """`identity` and `close`: no decompression bomb, and no answer of an earlier request on a reused connection."""
    connection.putrequest(request.method, target.path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", target.host_header())
    given = {name.lower() for name, _ in request.headers}
    for name, value in (("Accept", "application/json"), ("User-Agent", "token-broker")):
        if name.lower() not in given:
            connection.putheader(name, value)
    for name, value in request.headers:
        connection.putheader(name, value)
    connection.putheader("Accept-Encoding", "identity")
    connection.putheader("Connection", "close")
    if request.body is not None or request.method in {"POST", "PUT", "PATCH"}:
        connection.putheader("Content-Length", str(len(request.body or b"")))
    connection.endheaders(request.body)
