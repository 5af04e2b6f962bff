"""The translation that API Gateway's HTTP API does: HTTP request -> Lambda event 2.0, Lambda answer -> HTTP response.

Pure functions. What AWS does not document is taken from published captures of the real service: `rawPath` arrives
percent-decoded and ends at a decoded `?`, while `rawQueryString` and `pathParameters` stay as sent; form bodies arrive
in base64; cookies leave the headers, and a cookie without a name is dropped.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

from broker_local.template import ACCOUNT_ID, Route

MAX_BODY = 10 * 1024 * 1024  # bytes
MAX_HEAD = 10_240  # bytes, request line and header values together
MAX_ANSWER = 6 * 1024 * 1024  # bytes of JSON that Lambda returns

_TEXT = re.compile(r"(text/.*|application/(json|javascript|xml))", re.IGNORECASE)
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it came off the wire: `target` and `headers` untouched, `body` complete."""

    method: str
    target: str
    protocol: str
    headers: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)
    source_ip: str
    port: int

    @property
    def encoded_path(self) -> str:
        """The path exactly as sent."""
        return self.target.partition("?")[0]

    @property
    def path(self) -> str:
        """The path as API Gateway tells it: decoded, ending at the first `?`, be it encoded or not."""
        return unquote(self.encoded_path, errors="replace").partition("?")[0]

    @property
    def query(self) -> str:
        """The query exactly as sent, without the `?`."""
        return self.target.partition("?")[2]


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What goes back on the wire. Content-Length is added by the server."""

    status: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Match:
    """A route that fits a path, with its path parameters as sent, still percent-encoded."""

    route: Route
    parameters: Mapping[str, str]


def match_route(routes: Iterable[Route], method: str, path: str) -> Match | None:
    """The most specific route for the method and the encoded path, as the HTTP API chooses: literal segments before
    `{name}` before `{name+}`, and a named method before ANY. None when nothing fits."""
    best: tuple[tuple[int, ...], Match] | None = None
    for route in routes:
        if route.method not in {"ANY", method}:
            continue
        parameters = _path_parameters(route.path, path)
        if parameters is None:
            continue
        rank = (*map(_openness, route.path.split("/")), int(route.method == "ANY"))
        if best is None or rank < best[0]:
            best = rank, Match(route, parameters)
    return best[1] if best else None


def _openness(segment: str) -> int:
    return 0 if not segment.startswith("{") else 2 if segment.endswith("+}") else 1


def _path_parameters(pattern: str, path: str) -> dict[str, str] | None:
    expected, given = pattern.split("/"), path.split("/")
    if expected[-1].endswith("+}") and len(given) > len(expected):
        given[len(expected) - 1 :] = ["/".join(given[len(expected) - 1 :])]
    if len(expected) != len(given):
        return None
    parameters: dict[str, str] = {}
    for segment, value in zip(expected, given, strict=True):
        if segment.startswith("{"):
            if not value:
                return None
            parameters[segment.strip("{+}")] = value
        elif segment != unquote(value):
            return None
    return parameters


def refusal(request: HttpRequest) -> HttpResponse | None:
    """The answer of API Gateway itself to a request that it would not pass on, else None."""
    head = len(request.method) + len(request.target) + len(request.protocol) + 2
    head += sum(len(value) for _, value in request.headers)
    if head > MAX_HEAD:
        return message(431, "Request Header Fields Too Large")
    if len(request.body) > MAX_BODY:
        return message(413, "Request Entity Too Large")
    if not (request.target.isascii() and request.target.startswith("/")):
        return message(400, "Bad Request")
    return None


def message(status: int, text: str) -> HttpResponse:
    """An answer that API Gateway makes by itself."""
    return HttpResponse(status, (("content-type", "application/json"),), json.dumps({"message": text}).encode())


def to_event(request: HttpRequest, match: Match, *, request_id: str, now: datetime) -> dict[str, Any]:
    """The Lambda event, payload format 2.0, for a request on the stage `$default`."""
    headers = _event_headers(request)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": match.route.key,
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT_ID,
            "apiId": "local",
            "domainName": "localhost",
            "domainPrefix": "localhost",
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": request.protocol,
                "sourceIp": request.source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": match.route.key,
            "stage": "$default",
            "time": now.astimezone(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now.timestamp() * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies := _cookies(request.headers):
        event["cookies"] = cookies
    if parameters := _query_parameters(request.query):
        event["queryStringParameters"] = parameters
    if match.parameters:
        event["pathParameters"] = dict(match.parameters)
    if request.body:
        text = _TEXT.fullmatch(headers.get("content-type", "").partition(";")[0].strip()) is not None
        event["isBase64Encoded"] = not text
        event["body"] = (
            request.body.decode("utf-8", "replace") if text else base64.b64encode(request.body).decode("ascii")
        )
    return event


def _event_headers(request: HttpRequest) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key = name.lower()
        if key in _HOP_BY_HOP or key == "cookie":
            continue
        headers[key] = f"{headers[key]},{value}" if key in headers else value
    forwarded = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{forwarded}, {request.source_ip}" if forwarded else request.source_ip
    headers["x-forwarded-port"] = str(request.port)
    headers["x-forwarded-proto"] = "http"
    if request.body:
        headers["content-length"] = str(len(request.body))
    return headers


def _cookies(headers: Sequence[tuple[str, str]]) -> list[str]:
    pairs = (part.strip(" \t") for name, value in headers if name.lower() == "cookie" for part in value.split(";"))
    return [pair for pair in pairs if pair.partition("=")[0].strip(" \t") and "=" in pair]


def _query_parameters(query: str) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


class BadAnswerError(Exception):
    """A handler returned what API Gateway cannot turn into a response."""


def from_answer(answer: object) -> HttpResponse:
    """A handler's answer as API Gateway understands format 2.0.

    An answer without `statusCode` is itself the JSON body of a 200. Raises BadAnswerError for anything that Lambda or
    API Gateway would refuse; the client then sees 500.
    """
    try:
        encoded = json.dumps(answer)
    except (TypeError, ValueError) as error:
        raise BadAnswerError("the answer cannot be written as JSON") from error
    if len(encoded) > MAX_ANSWER:
        raise BadAnswerError("the answer is larger than 6 MB")
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return HttpResponse(200, (("content-type", "application/json"),), encoded.encode())
    status = answer["statusCode"]
    if not isinstance(status, int | str) or isinstance(status, bool) or not 100 <= _integer(status) <= 599:
        raise BadAnswerError("statusCode must be an HTTP status")
    body = _answer_body(answer)
    headers = _answer_headers(answer)
    if body and not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain;charset=utf-8"))
    return HttpResponse(_integer(status), tuple(headers), body)


def _integer(value: int | str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise BadAnswerError("statusCode must be a number") from error


def _answer_body(answer: Mapping[str, Any]) -> bytes:
    body = answer.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise BadAnswerError("body must be a string")
    if not answer.get("isBase64Encoded"):
        return body.encode()
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise BadAnswerError("body is not base64") from error


def _answer_headers(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    given, cookies = answer.get("headers") or {}, answer.get("cookies") or []
    if not isinstance(given, dict) or not isinstance(cookies, list):
        raise BadAnswerError("headers must be a mapping and cookies a list")
    headers = [(str(name).lower(), _header_value(value)) for name, value in given.items()]
    headers += [("set-cookie", _header_value(cookie)) for cookie in cookies]
    return [(name, value) for name, value in headers if name not in {"content-length", *_HOP_BY_HOP}]


def _header_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise BadAnswerError("a header's value must be a string, a number or a boolean")
    text = str(value)
    if any(character in text for character in "\r\n\0"):
        raise BadAnswerError("a header's value must be one line")
    return text


def reason(status: int) -> str:
    """The status line's words for `status`."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
