"""A provider played from a script: over real sockets byte by byte (`ScriptedServer`), or without any (`ScriptedHttp`)."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from broker.upstream import catalogue
from broker.upstream.dialect import Credentials
from broker.upstream.http import Deadline, TransportError, UpstreamRequest, UpstreamResponse
from broker.upstream.provider import Provider
from broker.upstream.schema import merge_overrides, parse_provider
from broker.upstream.tokens import UpstreamTokens

NOW = 1_700_000_000
CREDENTIALS = Credentials("the-client", "planted-secret/+é")
TOKENS = UpstreamTokens("old-access", "old-refresh", expires_at=NOW + 3600, scope=("read",))
PLAIN: Mapping[str, object] = {
    "authorize": {"url": "https://provider.example/authorize"},
    "token": {"url": "https://provider.example/token"},
    "userinfo": {"url": "https://provider.example/me"},
    "revoke": {"url": "https://provider.example/revoke"},
}
VARIABLES = {
    "phpapi": {"base": "https://php.example"},
    "oidc": {"issuer": "https://id.example"},
    "apple": {"team_id": "TEAM123456"},
}

Script = Callable[[socket.socket, threading.Event], None]


def plain(**overrides: object) -> Provider:
    """A provider of the RFCs' own dialect, with overrides: `__` stands for the dot."""
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return parse_provider("plain", merge_overrides(PLAIN, dotted), source="plain.toml")


def from_catalogue(name: str) -> Provider:
    return parse_provider(
        name, catalogue.document(name), source=f"{name}.toml", variables=VARIABLES.get(name, {}), local=False
    )


def deadline() -> Deadline:
    """Ample: what is tested with it must not take its time."""
    return Deadline.after(30)


def answer(
    status: int = 200, body: object = None, headers: Mapping[str, str] | None = None, received_at: float = NOW
) -> UpstreamResponse:
    """An answer: bytes and text as they are, everything else as JSON, None as nothing."""
    if isinstance(body, str):
        body = body.encode()
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return UpstreamResponse(status, tuple((headers or {}).items()), data, received_at)


@dataclass
class ScriptedHttp:
    """Plays its answers in order, and keeps what was asked. An answer too few is an error of the code under test."""

    script: list[UpstreamResponse | TransportError]
    requests: list[UpstreamRequest] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    deadlines: list[Deadline] = field(default_factory=list)

    def send(self, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        self.requests.append(request)
        self.deadlines.append(deadline)
        assert deadline.remaining() > 0
        outcome = self.script[len(self.requests) - 1]
        if isinstance(outcome, TransportError):
            raise outcome
        return outcome

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    @property
    def only(self) -> UpstreamRequest:
        assert len(self.requests) == 1
        return self.requests[0]


def http_of(*script: UpstreamResponse | TransportError) -> ScriptedHttp:
    return ScriptedHttp(list(script))


def form_of(request: UpstreamRequest) -> dict[str, str]:
    assert dict(request.headers)["Content-Type"] == "application/x-www-form-urlencoded"
    return dict(parse_qsl((request.body or b"").decode(), keep_blank_values=True, strict_parsing=True))


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True))


def whole(status_line: str, body: bytes = b"", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status_line}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def says(data: bytes) -> Script:
    """These bytes, then the end."""

    def play(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(data)

    return play


def dribbles(first: bytes, again: bytes) -> Script:
    """These bytes, then for ever some more, each well before any ordinary timeout would notice."""

    def play(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        while not over.wait(0.02):
            connection.sendall(again)

    return play


def floods(first: bytes, again: bytes) -> Script:
    """These bytes, then more without an end, as fast as they go."""

    def play(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        while not over.is_set():
            connection.sendall(again)

    return play


def keeps_silent(_: socket.socket, over: threading.Event) -> None:
    over.wait()


@dataclass
class ScriptedServer:
    """Every connection sends its request and gets the script; `requests` holds the raw bytes of each."""

    listener: socket.socket
    script: Script
    wrap: Callable[[socket.socket], socket.socket]
    port: int
    requests: list[bytes] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/", *, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def run(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with suppress(OSError), self.wrap(accepted) as connection:
            self.requests.append(_read_request(connection))
            self.script(connection, self.over)


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(4096)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        body += connection.recv(4096)
    return head + b"\r\n\r\n" + body


@contextmanager
def serving(
    script: Script, wrap: Callable[[socket.socket], socket.socket] = lambda plain: plain
) -> Iterator[ScriptedServer]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = ScriptedServer(listener, script, wrap, listener.getsockname()[1])
    threading.Thread(target=server.run, daemon=True).start()
    try:
        yield server
    finally:
        server.over.set()
        # A thread in accept() is woken by a shutdown, not by a close.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
