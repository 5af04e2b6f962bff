"""Requests and responses as values, and API Gateway events nowhere else.

Parameters are read from the raw query and the raw body, never from `queryStringParameters`: that field joins repeated
parameters with commas and would hide the very mistakes a strict provider has to refuse.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

MAX_PARAMETERS = 100
MAX_BYTES = 64 * 1024


class EncodingError(Exception):
    """Query or body are not form encoded UTF-8, or too large."""


@dataclass(frozen=True)
class Parameters:
    """Form parameters in the order sent. An empty value counts as left out (RFC 6749 section 3.1)."""

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Parameters:
        """Read form encoded text; EncodingError when it is not."""
        if len(text) > MAX_BYTES:
            raise EncodingError
        try:
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
        except ValueError as error:
            raise EncodingError from error
        return cls(tuple(pairs))

    def get(self, name: str) -> str | None:
        """The first non-empty value of `name`."""
        return next((value for key, value in self.pairs if key == name and value), None)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name as often as it was sent, in order."""
        return tuple(name for name, _ in self.pairs)

    @property
    def repeated(self) -> frozenset[str]:
        """Names sent more than once, which RFC 6749 sections 3.1 and 3.2 forbid."""
        return frozenset(name for name, times in Counter(self.names).items() if times > 1)


@dataclass(frozen=True)
class Request:
    """One HTTP request. Headers have lower-case names."""

    method: str
    path: str
    raw_query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    api_id: str = ""

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Request:
        """Read an event of payload format 2.0."""
        context = event["requestContext"]
        text = event.get("body") or ""
        body = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()
        return cls(
            method=context["http"]["method"].upper(),
            path=event["rawPath"],
            raw_query=event.get("rawQueryString") or "",
            headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
            body=body,
            api_id=context.get("apiId") or "",
        )

    @property
    def query(self) -> Parameters:
        """Parameters of the URL."""
        return Parameters.parse(self.raw_query)

    @property
    def form(self) -> Parameters:
        """Parameters of a form encoded body; none when the body is of another type."""
        if not self.is_form:
            return Parameters()
        try:
            return Parameters.parse(self.body.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise EncodingError from error

    @property
    def is_form(self) -> bool:
        """Whether the body is declared as application/x-www-form-urlencoded."""
        declared = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return declared == "application/x-www-form-urlencoded"

    def credentials(self, scheme: str) -> str | None:
        """What follows `scheme` in the Authorization header (the scheme's case is free, RFC 9110 section 11.1)."""
        sent, _, value = self.headers.get("authorization", "").strip().partition(" ")
        return value.strip() if sent.lower() == scheme.lower() else None


@dataclass(frozen=True)
class Response:
    """One HTTP answer. binary: a body that is no text, in place of `body`."""

    status: int
    body: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    binary: bytes = field(default=b"", repr=False)

    @classmethod
    def json(cls, payload: object, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
        """A JSON answer that no cache may keep (RFC 6749 section 5.1)."""
        body = json.dumps(payload, ensure_ascii=False)
        return cls(status, body, (("Content-Type", "application/json"), *_UNCACHED, *headers))

    @classmethod
    def redirect(cls, location: str) -> Response:
        """Send the browser elsewhere with a GET (302, as the providers do)."""
        return cls(302, "", (("Location", location), *_UNCACHED, ("Referrer-Policy", "no-referrer")))

    def with_headers(self, *headers: tuple[str, str]) -> Response:
        """The same answer with more headers."""
        return replace(self, headers=(*self.headers, *headers))

    def to_event(self) -> dict[str, Any]:
        """The shape that API Gateway expects back."""
        headers = dict([*self.headers, ("X-Content-Type-Options", "nosniff")])
        return {
            "statusCode": self.status,
            "headers": headers,
            "cookies": [],
            "body": base64.b64encode(self.binary).decode("ascii") if self.binary else self.body,
            "isBase64Encoded": bool(self.binary),
        }


_UNCACHED = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))
