"""The test switch: order faults, read the record of calls, let tokens expire. Exists only when SANDBOX_FAULTS=1.

POST   /sandbox/_faults  {provider, endpoint, kind, value?, times?}   queue a fault for the next matching calls
DELETE /sandbox/_faults[?provider=]                                   forget the faults not met yet
GET    /sandbox/_calls[?provider=]                                    {count, counts, calls}
DELETE /sandbox/_calls[?provider=]                                    begin a new record
POST   /sandbox/_expire  {provider, what: access|refresh|grant, username?}
POST   /sandbox/_secret  {provider, secrets: [text]}                  the client secrets that are right; [] for the usual one
POST   /sandbox/_key     {provider, jwk: object|null}                 the application's public key, for private_key_jwt
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from sandbox_provider.clients import CLIENTS
from sandbox_provider.faults import ENDPOINTS, MISSING, Fault
from sandbox_provider.store import Store, digest
from sandbox_provider.wire import EncodingError, Request, Response

MAX_TIMES = 1000


class OrderError(Exception):
    """The test ordered something that does not exist; the text says what is wrong."""


def answer(name: str, request: Request, store: Store, now: int) -> Response:
    """Serve `/sandbox/<name>`."""
    serve = _SERVED.get((request.method, name))
    if serve is None:
        return Response.json({"error": "not_found"}, 404)
    try:
        return serve(request, store, now)
    except OrderError as error:
        return Response.json({"error": "invalid_request", "error_description": str(error)}, 400)


def _order_fault(request: Request, store: Store, now: int) -> Response:
    ordered = _body(request)
    provider, endpoint = _one_of(ordered, "provider", CLIENTS), _one_of(ordered, "endpoint", ENDPOINTS)
    times = ordered.get("times", 1)
    if not isinstance(times, int) or not 1 <= times <= MAX_TIMES:
        raise OrderError(f"times has to be a number from 1 to {MAX_TIMES}")
    fault = Fault(str(ordered.get("kind")), ordered.get("value", MISSING))
    if problem := fault.problem():
        raise OrderError(problem)
    store.queue_faults(provider, endpoint, [fault.to_text()] * times, now)
    return Response.json({"queued": times})


def _forget_faults(request: Request, store: Store, _: int) -> Response:
    for provider in _asked_for(request):
        for endpoint in ENDPOINTS:
            store.drop_faults(provider, endpoint)
    return Response.json({})


def _list_calls(request: Request, store: Store, _: int) -> Response:
    calls = [json.loads(entry) for provider in _asked_for(request) for entry in store.calls(provider)]
    counts = Counter(":".join(filter(None, (call["endpoint"], call["grant_type"]))) for call in calls)
    return Response.json({"count": len(calls), "counts": dict(counts), "calls": calls})


def _clear_calls(request: Request, store: Store, _: int) -> Response:
    for provider in _asked_for(request):
        store.clear_calls(provider)
    return Response.json({})


def _expire(request: Request, store: Store, now: int) -> Response:
    ordered = _body(request)
    provider, username = _one_of(ordered, "provider", CLIENTS), str(ordered.get("username", ""))
    what = _one_of(ordered, "what", ("access", "refresh", "grant"))
    if what == "access":
        changed = store.end_all("access", provider, username, now)
    elif what == "refresh":
        changed = store.end_all("refresh", provider, username, now)
    else:
        changed = store.end_all("grant", provider, username, now)
    return Response.json({"changed": changed})


def _register_key(request: Request, store: Store, now: int) -> Response:
    ordered = _body(request)
    provider, jwk = _one_of(ordered, "provider", CLIENTS), ordered.get("jwk")
    if jwk is not None and not isinstance(jwk, dict):
        raise OrderError("jwk has to be a JSON object or null")
    store.set_client_key(provider, json.dumps(jwk) if jwk else "", now)
    return Response.json({})


def _change_secrets(request: Request, store: Store, now: int) -> Response:
    ordered = _body(request)
    provider, secrets = _one_of(ordered, "provider", CLIENTS), ordered.get("secrets")
    if not isinstance(secrets, list) or not all(isinstance(secret, str) and secret for secret in secrets):
        raise OrderError("secrets has to be a list of texts")
    store.set_client_secrets(provider, [digest(secret) for secret in secrets], now)
    return Response.json({})


def _body(request: Request) -> Mapping[str, Any]:
    try:
        ordered = json.loads(request.body)
    except ValueError as error:
        raise OrderError("the body has to be a JSON object") from error
    if not isinstance(ordered, dict):
        raise OrderError("the body has to be a JSON object")
    return ordered


def _one_of(ordered: Mapping[str, Any], name: str, allowed: Mapping[str, str] | tuple[str, ...]) -> str:
    value = ordered.get(name)
    if not isinstance(value, str) or value not in allowed:
        raise OrderError(f"{name} has to be one of {', '.join(allowed)}")
    return value


def _asked_for(request: Request) -> tuple[str, ...]:
    try:
        provider = request.query.get("provider")
    except EncodingError as error:
        raise OrderError("the query is not properly encoded") from error
    if provider is None:
        return tuple(CLIENTS)
    return (_one_of({"provider": provider}, "provider", CLIENTS),)


_SERVED: Mapping[tuple[str, str], Callable[[Request, Store, int], Response]] = {
    ("POST", "_faults"): _order_fault,
    ("DELETE", "_faults"): _forget_faults,
    ("GET", "_calls"): _list_calls,
    ("DELETE", "_calls"): _clear_calls,
    ("POST", "_expire"): _expire,
    ("POST", "_key"): _register_key,
    ("POST", "_secret"): _change_secrets,
}
