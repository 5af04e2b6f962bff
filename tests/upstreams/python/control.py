"""What a server here has beside what it serves: a start that the tests can wait for, a clock that they move, a record of calls.

The same as node/control.js, for servers in Python; runs in environments that have nothing of the broker's.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Order = Callable[[Any], Any]


def settings() -> Mapping[str, Any]:
    """The first line of standard input. The process ends with its parent, when the input does."""
    first: Mapping[str, Any] = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return first


def _end_with_parent() -> None:
    while sys.stdin.readline():
        pass
    os._exit(0)


def ready(url: str, orders: Mapping[str, Order]) -> None:
    """Tell the tests where the server is, and take their orders ("POST /clock") until the process ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(orders))
    control = f"http://127.0.0.1:{server.server_port}"
    sys.stdout.write(json.dumps({"url": url, "control": control}) + "\n")
    sys.stdout.flush()
    server.serve_forever()


def _handler(orders: Mapping[str, Order]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            answer = orders[f"{self.command} {self.path}"](json.loads(body) if body else None)
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            self.do_GET()

        def log_message(self, *_message: object) -> None:
            return

    return Handler
