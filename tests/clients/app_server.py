"""The web server of an application: one page, its script with the library in it, and its settings."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = (
    b'<!doctype html><html lang="en"><title>loading</title><link rel="icon" href="data:,">'
    b'<script type="module" src="/app.js"></script>'
)
_TYPES = {"/app.js": "text/javascript", "/settings.json": "application/json"}


@dataclass
class App:
    """A running application; its settings can still change, as its origin must be known before it can be registered."""

    origin: str
    settings: Mapping[str, object] = field(default_factory=dict)


@contextmanager
def serving(script: bytes) -> Iterator[App]:
    """Serve `script` as the application's, on a port of its own."""
    app = App("")

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            body = {"/app.js": script, "/settings.json": json.dumps(app.settings).encode()}.get(path, PAGE)
            self.send_response(200)
            self.send_header("content-type", _TYPES.get(path, "text/html; charset=utf-8"))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_message: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    app.origin = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield app
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
