"""A tap on the wire: every request and answer of a local broker, and the secrets that were in them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from broker_local.api_gateway import HttpRequest, HttpResponse
from broker_local.server import LocalBroker

SECRET_NAMES = frozenset(
    {
        *("code", "auth_code", "state", "nonce", "code_verifier", "client_secret", "client_assertion", "password"),
        *("access_token", "refresh_token", "id_token", "user_token", "token", "api_key", "assertion"),
        *("email", "emailAddress", "txn", "login_hint"),
    }
)
"""Names of parameters and members whose values must stay out of the logs."""
BETWEEN_SERVERS = SECRET_NAMES - {"state", "txn", "nonce", "email", "emailAddress", "login_hint", "password", "token"}
"""Those whose values, in a call from the broker to a provider, nobody else may ever see."""
SHORTEST = 8
"""Shorter values would be found by chance."""


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    request: HttpRequest
    response: HttpResponse

    @property
    def is_sandbox(self) -> bool:
        """Whether a fake provider was called, by the broker or by a person's browser."""
        return self.request.path.startswith("/sandbox/")

    @property
    def is_upstream_call(self) -> bool:
        """Whether the broker called the provider, not a browser."""
        by_test = self.header("user-agent").startswith(("test browser", "python-requests"))
        return self.is_sandbox and not by_test

    def header(self, name: str) -> str:
        """A request header, empty when absent."""
        return next((value for known, value in self.request.headers if known.lower() == name), "")

    def answer_text(self) -> str:
        """Status line apart, all that went back: header names and values, and the body."""
        head = "\n".join(f"{name}: {value}" for name, value in self.response.headers)
        return f"{head}\n\n{self.response.body.decode('utf-8', 'replace')}"

    def secrets(self, names: Set[str] = SECRET_NAMES) -> set[str]:
        """Every value of these names, every cookie and every credential in it, long enough to be recognised."""
        pairs = dict.fromkeys((*self._sent(), *self._answered()))
        found = {value for name, value in pairs if name in names} | set(self._credentials())
        return {value for value in found if len(value) >= SHORTEST}

    def _sent(self) -> Iterator[tuple[str, str]]:
        body = self.request.body.decode("utf-8", "replace")
        yield from parse_qsl(urlsplit(self.request.target).query)
        yield from parse_qsl(body)
        yield from _of_json(body)

    def _answered(self) -> Iterator[tuple[str, str]]:
        for name, value in self.response.headers:
            if name.lower() == "location":
                yield from parse_qsl(urlsplit(value).query)
        yield from _of_json(self.response.body.decode("utf-8", "replace"))

    def _credentials(self) -> Iterator[str]:
        scheme, _, credentials = self.header("authorization").partition(" ")
        yield credentials
        if scheme.lower() == "basic":
            yield from _of_basic(credentials)
        yield from _of_cookies(self.header("cookie"))
        for name, value in self.response.headers:
            if name.lower() == "set-cookie":
                yield from _of_cookies(value.partition(";")[0])


@dataclass
class Tap:
    """What went over the wire since the tap was opened."""

    exchanges: list[Exchange] = field(default_factory=list)

    def secrets(self) -> set[str]:
        """All secrets of all exchanges."""
        return {value for exchange in self.exchanges for value in exchange.secrets()}

    def upstream_secrets(self) -> set[str]:
        """Those that only the broker and a provider may know: tokens, client secrets, verifiers, codes."""
        calls = [exchange for exchange in self.exchanges if exchange.is_upstream_call]
        return {value for exchange in calls for value in exchange.secrets(BETWEEN_SERVERS)}


@contextmanager
def tapped(broker: LocalBroker) -> Iterator[Tap]:
    """Record what the local broker is asked and answers."""
    tap, respond = Tap(), broker._respond

    def recording(request: HttpRequest, request_id: str) -> HttpResponse:
        response = respond(request, request_id)
        tap.exchanges.append(Exchange(request, response))
        return response

    broker._respond = recording  # type: ignore[method-assign]
    try:
        yield tap
    finally:
        broker._respond = respond  # type: ignore[method-assign]


def disguises(value: str) -> set[str]:
    """The value as it is, and as it looks percent-encoded, in JSON, in hex, and within base64 of a longer text."""
    raw = value.encode()
    forms = {value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1], raw.hex()}
    for shift in range(3):
        # What stands before the value decides which of three spellings base64 gives it; the edges mix with neighbours.
        encoded = base64.b64encode(b"\0" * shift + raw)
        inner = encoded[4 if shift else 0 : len(encoded) - 4].decode()
        forms |= {inner, inner.replace("+", "-").replace("/", "_")} if len(inner) >= SHORTEST else set()
    return forms


def _of_json(text: str) -> Iterator[tuple[str, str]]:
    try:
        yield from _of_members(json.loads(text))
    except ValueError:
        return


def _of_members(document: Any) -> Iterator[tuple[str, str]]:
    if isinstance(document, dict):
        for name, value in document.items():
            if isinstance(value, str):
                yield name, value
            yield from _of_members(value)
    elif isinstance(document, list):
        for entry in document:
            yield from _of_members(entry)


def _of_basic(credentials: str) -> Iterator[str]:
    try:
        pair = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return
    secret = pair.partition(":")[2]
    yield from (secret, unquote(secret))


def _of_cookies(header: str) -> Iterator[str]:
    for morsel in SimpleCookie(header).values():
        yield morsel.value
        yield from morsel.value.split(".")
