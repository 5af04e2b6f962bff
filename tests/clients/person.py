"""Somebody with a browser, for clients in other processes: POST an authorization URL, and the answer is where it all led.

The clients under test never see a page; they hand the URL over as they would to the system's browser, and get the redirect
URI back as it arrived. It follows every redirect within the broker, logs in at the sandbox, and agrees to what it is asked.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urljoin

import requests

from broker_testing.browser import REDIRECTS, Browser, forms
from broker_testing.journey import PASSWORD

MAX_PAGES = 6
USERNAME = "johndoe"


@dataclass(frozen=True)
class Person:
    """Knows one broker; every errand begins in a fresh browser."""

    base: str

    def follow(self, url: str) -> str:
        """Open a URL and do what the pages ask for. Returns the first URL outside the broker, or "" when a page was the end."""
        browser = Browser()
        response = browser.get(url)
        for _ in range(MAX_PAGES):
            page = self._walk(browser, response)
            if page.status_code in REDIRECTS:
                return page.headers["location"]
            assert page.status_code == 200, (page.status_code, page.url, page.text)
            values = _answers(page)
            if values is None:
                return ""
            response = browser.submit(page, values)
        raise AssertionError(f"too many pages after {url}")

    def _walk(self, browser: Browser, response: requests.Response) -> requests.Response:
        """Follow redirects as long as they stay at the broker; the page, or the redirect that leaves."""
        while response.status_code in REDIRECTS:
            target = urljoin(response.url, response.headers["location"])
            if not target.startswith(f"{self.base}/"):
                break
            response = browser.get(target)
        return response


def _answers(page: requests.Response) -> dict[str, str] | None:
    """What a person fills into the page's form: a login, or consent; a device's code is there already. None without a form."""
    for form in forms(page):
        if "username" in form.fields:
            return {"username": USERNAME, "password": PASSWORD}
        if ("decision", "allow") in form.buttons:
            return {"decision": "allow"}
        if form.fields.get("user_code"):
            return {}
    return None


@contextmanager
def at_the_door(base: str) -> Iterator[str]:
    """The person as an HTTP service. Gives its URL: POST an URL as text, get `{"url": ...}` or `{"error": ...}`."""
    person = Person(base)

    class Errand(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            url = self.rfile.read(int(self.headers["content-length"])).decode()
            status, answer = 200, {"url": ""}
            try:
                answer = {"url": person.follow(url)}
            except Exception as error:
                status, answer = 500, {"error": repr(error)}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_message: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Errand)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
