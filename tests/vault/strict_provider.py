"""A provider in memory, as strict as they come: a code or a refresh token that comes twice without need ends its grant.

It stands where the broker's HTTP client is. It knows which request used what, so that a second use without a cause is found.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from broker import clock
from broker.store.registry import ProviderEntry
from broker.upstream.http import Deadline, UpstreamRequest, UpstreamResponse
from vault.interleaving import Request, current, provider_failures, reach

NAME = "strict-machine"
BASE = "https://strict.example"
LIFETIME = 300
INFINITY = float("inf")
ENTRY = ProviderEntry(
    name=NAME,
    document={
        "title": "Strict",
        "authorize": {"url": f"{BASE}/authorize", "pkce": "off"},
        "token": {"url": f"{BASE}/token"},
        "userinfo": {"url": f"{BASE}/userinfo"},
        "revoke": {"url": f"{BASE}/revoke"},
    },
    created_at=1,
)


@dataclass
class ProviderGrant:
    """What one person allowed the broker once. `dead`: why it is over, empty while it is not."""

    dead: str = ""
    code_used: bool = False


@dataclass
class Token:
    """An access token; or a refresh token, with the request that used it."""

    grant: ProviderGrant
    expires_at: int = 0
    used_by: Request | None = None


class StrictProvider:
    """The sender that the broker calls. `down_for`: so many calls are answered 503. `violations`: what no broker may do."""

    def __init__(self) -> None:
        self.down_for = 0
        self.was_down_at = -INFINITY
        self.violations: list[str] = []
        self.codes: dict[str, ProviderGrant] = {}
        self._access: dict[str, Token] = {}
        self._refresh: dict[str, Token] = {}
        self._numbers = itertools.count(1)

    def allow(self) -> str:
        """A person agrees; the code."""
        code = f"code-{next(self._numbers)}"
        self.codes[code] = ProviderGrant()
        return code

    def send(self, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:  # noqa: ARG002
        """The answer, or TransportError."""
        path = urlsplit(request.url).path
        status, document = reach(f"provider {path}", lambda: self._answer(path, request), provider_failures())
        return UpstreamResponse(
            status, (("content-type", "application/json"),), json.dumps(document).encode(), clock.now()
        )

    def _answer(self, path: str, request: UpstreamRequest) -> tuple[int, Mapping[str, Any]]:
        if self.down_for:
            self.down_for -= 1
            self.was_down_at = clock.offset
            return 503, {}
        form = dict(parse_qsl((request.body or b"").decode()))
        if path == "/userinfo":
            return self._userinfo(dict(request.headers)["Authorization"].removeprefix("Bearer "))
        if path == "/revoke":
            return self._revoke(form["token"])
        return self._by_code(form["code"]) if "code" in form else self._by_refresh_token(form["refresh_token"])

    def _by_code(self, code: str) -> tuple[int, Mapping[str, Any]]:
        grant = self.codes[code]
        if grant.code_used:
            self.violations.append("a code was exchanged twice")
            grant.dead = "code used twice"
        if grant.dead:
            return 400, {"error": "invalid_grant"}
        grant.code_used = True
        return 200, self._tokens(grant)

    def _by_refresh_token(self, text: str) -> tuple[int, Mapping[str, Any]]:
        token = self._refresh[text]
        if token.grant.dead:
            return 400, {"error": "invalid_grant"}
        user = current()
        assert user is not None, "only watched requests refresh"
        if token.used_by is not None:
            self._is_used_again(token, token.used_by, user)
            return 400, {"error": "invalid_grant"}
        token.used_by = user
        user.unsafe = True
        return 200, self._tokens(token.grant)

    def _is_used_again(self, token: Token, first: Request, second: Request) -> None:
        """Row 26: once more after an answer that was lost with all that was in it. Else only by two who had the lease one after
        the other because it was lost by one who lives; then the grant goes on, so that it is seen whether the login does."""
        if first.unsafe and first.lost:
            token.grant.dead = "refresh token used twice"
        elif not ((first.outlived or second.outlived) and first.overlaps(second)):
            self.violations.append("a refresh token was used twice, though nothing was lost")
            token.grant.dead = "refresh token used twice"

    def has_lost(self, grant: ProviderGrant) -> bool:
        """Whether tokens of the grant were lost on the way to the broker's table; or are late there, as their write fails, with
        one who is taken for dead."""
        users = [token.used_by for token in self._refresh.values() if token.grant is grant and token.used_by]
        return any(user.unsafe and (user.lost or (user.outlived and user.went_wrong)) for user in users)

    def _tokens(self, grant: ProviderGrant) -> Mapping[str, Any]:
        number = next(self._numbers)
        self._access[f"access-{number}"] = Token(grant, clock.now() + LIFETIME)
        self._refresh[f"refresh-{number}"] = Token(grant)
        return {
            "access_token": f"access-{number}",
            "refresh_token": f"refresh-{number}",
            "token_type": "Bearer",
            "expires_in": LIFETIME,
        }

    def _userinfo(self, text: str) -> tuple[int, Mapping[str, Any]]:
        token = self._access[text]
        if token.grant.dead or token.expires_at <= clock.now():
            return 401, {"error": "invalid_token"}
        return 200, {"sub": "johndoe", "name": "John Doe"}

    def _revoke(self, text: str) -> tuple[int, Mapping[str, Any]]:
        token = self._refresh.get(text) or self._access[text]
        token.grant.dead = token.grant.dead or "revoked by the broker"
        return 200, {}
