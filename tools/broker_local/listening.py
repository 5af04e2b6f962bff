"""Sockets and servers of the local environment: loopback only, and never a port that somebody else holds."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

_BACKLOG = 512
_POLL_SECONDS = 0.05
_ATTEMPTS = 20


class PortTakenError(Exception):
    """Somebody listens on the port already."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is taken by another program")
        self.port = port


def listen(port: int) -> list[socket.socket]:
    """Listening sockets on 127.0.0.1 and, where the machine has it, ::1: browsers take "localhost" for either.

    `port` 0 means any free port, the same for both. Raises PortTakenError.
    """
    for _ in range(_ATTEMPTS if port == 0 else 1):
        first = _bind(socket.AF_INET, "127.0.0.1", port)
        number = int(first.getsockname()[1])
        try:
            return [first, _bind(socket.AF_INET6, "::1", number)]
        except PortTakenError:
            first.close()
            if port:
                raise
        except OSError:  # a machine without IPv6
            return [first]
    raise PortTakenError(port)


def _bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno in {errno.EADDRINUSE, errno.EACCES}:
            raise PortTakenError(port) from error
        raise


class _Handler(WSGIRequestHandler):
    """Passes the request on as it came off the wire: WSGI itself decodes the path and joins headers."""

    def make_environ(self) -> WSGIEnvironment:
        environ = super().make_environ()
        environ["broker.target"] = self.path
        environ["broker.headers"] = list(self.headers.items())
        return environ

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Nothing: the default line would show the query, and with it codes and states."""


class Servers:
    """Threaded HTTP servers on the given sockets, each in a thread of its own until `stop`."""

    def __init__(self, application: WSGIApplication, sockets: Iterable[socket.socket]) -> None:
        self._servers = [_server(application, listening) for listening in sockets]
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
            for server in self._servers
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop listening and wait until no server thread is left. Requests under way are abandoned."""
        for server in self._servers:
            server.shutdown()
        for thread in self._threads:
            thread.join()


def _server(application: WSGIApplication, listening: socket.socket) -> BaseWSGIServer:
    host, port = listening.getsockname()[:2]
    with listening:  # the server works on a duplicate
        return make_server(host, port, application, threaded=True, request_handler=_Handler, fd=listening.fileno())


def one_at_a_time(application: WSGIApplication) -> WSGIApplication:
    """`application` behind a lock. The request's body is read before the lock is taken.

    moto checks a condition and writes in two steps that threads can interleave; DynamoDB does both in one. Without the
    lock a race test would find faults of moto's, and miss none of ours with it.
    """
    lock = threading.Lock()

    def locked(environ: WSGIEnvironment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = BytesIO(environ["wsgi.input"].read(length))
        with lock:
            return list(application(environ, start_response))

    return locked
