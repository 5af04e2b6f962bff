"""Faults that a test orders: what a provider on a bad day answers.

Only reached when SANDBOX_FAULTS=1. A fault either stands in for the provider (nothing is processed) or lets it do its
work and spoils the answer.

    kind             value                        what the caller sees
    status           HTTP status                  that status with the error server_error; nothing processed
    html             HTTP status (200)            an HTML page; nothing processed
    empty            HTTP status (200)            an empty body; nothing processed
    truncated        -                            the right answer, cut in half
    json             any JSON                     that JSON with status 200; nothing processed
    redirect         URL                          302 to there; nothing processed
    big              bytes (2 MiB)                a JSON body of that size; nothing processed
    rate_limit       seconds (30)                 429 with the limit's headers; nothing processed
    error            error code                   that OAuth error; at authorize, sent back by redirect
    invalid_grant    -                            short for error with the value invalid_grant
    slow             seconds (1)                  the right answer, late
    lost_answer      HTTP status (504)            everything is processed, the answer is lost
    expires_in       any JSON, or left out        the right answer with another expires_in, or without one
    set              {name: value}                the right answer with these members
    drop             [name]                       the right answer without these members
    id_token         {set, drop, alg, ...}        an ID token with these faults (dialects/oidc.py)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox_provider import clock
from sandbox_provider.errors import INVALID_CLIENT, RATE_LIMITED, Error, Refusal
from sandbox_provider.wire import Response

ENDPOINTS = ("authorize", "token", "userinfo", "revoke", "api", "discovery", "jwks")

MISSING = "missing"
"""Stands for a value that was not given, where null is a value of its own."""

_INSTEAD: Mapping[str, Callable[[Any], Response]] = {
    "status": lambda value: Refusal(Error("server_error", int(value), "This fault was ordered by a test.")).response(),
    "html": lambda value: _html(_number(value, 200)),
    "empty": lambda value: Response(_number(value, 200)),
    "json": Response.json,
    "redirect": lambda value: Response.redirect(str(value)),
    "big": lambda value: Response.json({"filler": "x" * _number(value, 2 * 1024 * 1024)}),
    "rate_limit": lambda value: too_many(limit=0, retry_after=_number(value, 30)),
    "error": lambda value: _oauth_error(str(value)),
    "invalid_grant": lambda _: _oauth_error("invalid_grant"),
}

_AFTER: Mapping[str, Callable[[Any, Response], Response]] = {
    "truncated": lambda _, response: _with_body(response, response.body[: len(response.body) // 2]),
    "lost_answer": lambda value, _: _html(_number(value, 504)),
    "expires_in": lambda value, response: _edited(
        response, {} if value == MISSING else {"expires_in": value}, ("expires_in",)
    ),
    "set": lambda value, response: _edited(response, value, ()),
    "drop": lambda value, response: _edited(response, {}, tuple(value)),
    "slow": lambda _, response: response,
    "id_token": lambda _, response: response,
}

KINDS = frozenset({*_INSTEAD, *_AFTER})

_NEEDS_VALUE = frozenset({"status", "json", "redirect", "error", "set", "drop", "id_token"})


@dataclass(frozen=True)
class Fault:
    """One ordered fault."""

    kind: str
    value: Any = MISSING

    @classmethod
    def from_text(cls, text: str) -> Fault:
        """Read back what `to_text` wrote."""
        kind, value = json.loads(text)
        return cls(kind, value)

    def to_text(self) -> str:
        """A form that the table can hold."""
        return json.dumps([self.kind, self.value])

    def problem(self) -> str:
        """What is wrong with the order; empty when nothing is."""
        if self.kind not in KINDS:
            return f"kind has to be one of {', '.join(sorted(KINDS))}"
        if self.kind in _NEEDS_VALUE and self.value == MISSING:
            return f"the kind {self.kind} needs a value"
        shapes = {"id_token": dict, "set": dict, "drop": list, "status": int, "redirect": str, "error": str}
        shape = shapes.get(self.kind)
        if shape is not None and not isinstance(self.value, shape):
            return f"the value of the kind {self.kind} has to be a JSON {shape.__name__}"
        return ""

    def forced_error(self, endpoint: str) -> str | None:
        """The error that the authorization endpoint is to send back by redirect."""
        if endpoint != "authorize":
            return None
        return {"error": str(self.value), "invalid_grant": "invalid_grant"}.get(self.kind)

    def id_token(self) -> Mapping[str, Any]:
        """What is to be wrong with the ID token; nothing for every other kind."""
        return self.value if self.kind == "id_token" else {}

    def instead(self) -> Response | None:
        """The answer in place of the provider's, for the kinds that process nothing."""
        if self.kind == "slow":
            clock.wait(1.0 if self.value == MISSING else float(self.value))
        answer = _INSTEAD.get(self.kind)
        return None if answer is None else answer(self.value)

    def spoil(self, response: Response) -> Response:
        """The provider's answer as it reaches the caller."""
        spoiler = _AFTER.get(self.kind)
        return response if spoiler is None else spoiler(self.value, response)


def too_many(*, limit: int, retry_after: int) -> Response:
    """The answer to a caller who exceeds a rate limit of `limit` calls; to be repeated after that many seconds."""
    return Refusal(
        RATE_LIMITED,
        ("X-RateLimit-Limit", str(limit)),
        ("X-RateLimit-Remaining", "0"),
        ("X-RateLimit-Reset", str(clock.now() + retry_after)),
        ("Retry-After", str(retry_after)),
    ).response()


def _number(value: Any, default: int) -> int:
    return default if value == MISSING else int(value)


def _oauth_error(code: str) -> Response:
    status = INVALID_CLIENT.status if code == INVALID_CLIENT.code else 400
    return Refusal(Error(code, status, "This error was ordered by a test.")).response()


def _html(status: int) -> Response:
    body = "<!doctype html><title>Sorry</title><h1>We will be back soon</h1>"
    return Response(status, body, (("Content-Type", "text/html; charset=utf-8"),))


def _with_body(response: Response, body: str) -> Response:
    return Response(response.status, body, response.headers)


def _edited(response: Response, members: Mapping[str, Any], without: tuple[str, ...]) -> Response:
    """Change members of a JSON answer; answers that are not successes stay as they are."""
    if response.status != 200:
        return response
    answered = {name: value for name, value in json.loads(response.body).items() if name not in without}
    return _with_body(response, json.dumps(answered | dict(members), ensure_ascii=False))
