"""What a dialect is: a name, the rules of its authorization endpoint, and its paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sandbox_provider.authorization import AuthorizationRules, authorize
from sandbox_provider.call import Call
from sandbox_provider.wire import Response


@dataclass(frozen=True)
class Route:
    """One path of a provider."""

    endpoint: str
    """Its role, by which tests order faults: authorize, token, userinfo, revoke, api, discovery, jwks, login, consent."""
    methods: tuple[str, ...]
    answer: Callable[[Call], Response]


def authorize_route(rules: AuthorizationRules, *methods: str) -> Route:
    """The route of an authorization endpoint."""
    return Route("authorize", methods, lambda call: authorize(call, rules))


def nothing_here(_: Call) -> Response:
    """The answer on a path that a provider does not have."""
    return Response.json({"error": "not_found"}, 404)


@dataclass(frozen=True)
class Dialect:
    """One fake provider."""

    provider: str
    """The path segment below /sandbox/."""
    title: str
    rules: AuthorizationRules
    routes: Mapping[str, Route]
    not_found: Callable[[Call], Response] = nothing_here
