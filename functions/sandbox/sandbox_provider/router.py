"""From a path to the dialect that speaks there, and back. The one place that turns refusals into answers."""

from __future__ import annotations

import os
from dataclasses import replace

from sandbox_provider import authorization, clock, control, pages
from sandbox_provider.call import Call
from sandbox_provider.clients import client_of
from sandbox_provider.dialects import DIALECTS
from sandbox_provider.dialects.dialect import Dialect, Route
from sandbox_provider.errors import PageRefusal, Refusal
from sandbox_provider.faults import ENDPOINTS, Fault
from sandbox_provider.recording import RecordedCall
from sandbox_provider.settings import Settings
from sandbox_provider.store import Store
from sandbox_provider.wire import Request, Response


def answer(request: Request) -> Response:
    """Serve one request below `/sandbox/`."""
    settings = Settings.from_environment(os.environ, request.api_id)
    store = Store(settings.table)
    # A gateway may or may not have taken the path of the base URL away.
    path = request.path.removeprefix(settings.prefix) if settings.prefix else request.path
    root, _, rest = path.removeprefix("/").partition("/")
    name, _, inner = rest.partition("/")
    if root != "sandbox":
        return _not_found()
    if settings.faults and name.startswith("_"):
        return control.answer(name, request, store, clock.now())
    dialect = DIALECTS.get(name)
    if dialect is None:
        return _not_found()
    client = client_of(dialect.provider, settings)
    call = Call(request, dialect.provider, dialect.title, client, settings, store, clock.now())
    return _serve(call, dialect, f"/{inner}")


def _serve(call: Call, dialect: Dialect, path: str) -> Response:
    route = _route(dialect, path)
    if route is None:
        return dialect.not_found(call)
    fault = _ordered_fault(call, route)
    if fault is None:
        response = _process(call, route)
    else:
        forced = fault.forced_error(route.endpoint)
        instead = None if forced else fault.instead()
        response = instead or fault.spoil(
            _process(replace(call, forced_error=forced, id_token_fault=fault.id_token()), route)
        )
    if call.settings.faults:
        kind = fault.kind if fault else ""
        recorded = RecordedCall.of(call.provider, route.endpoint, call.request, response.status, kind, call.now)
        call.store.record_call(call.provider, recorded.to_text(), call.now)
    return response


def _route(dialect: Dialect, path: str) -> Route | None:
    shared = {
        "/login": Route("login", ("POST",), lambda call: authorization.login(call, dialect.rules)),
        "/consent": Route("consent", ("POST",), lambda call: authorization.consent(call, dialect.rules)),
    }
    return shared.get(path) or dialect.routes.get(path)


def _ordered_fault(call: Call, route: Route) -> Fault | None:
    if not call.settings.faults or route.endpoint not in ENDPOINTS:
        return None
    text = call.store.take_fault(call.provider, route.endpoint)
    return None if text is None else Fault.from_text(text)


def _process(call: Call, route: Route) -> Response:
    if call.request.method not in route.methods:
        return Response.json({"error": "method_not_allowed"}, 405, (("Allow", ", ".join(route.methods)),))
    try:
        return route.answer(call)
    except Refusal as refusal:
        return refusal.response()
    except PageRefusal as refusal:
        return pages.refused(call.title, refusal.explanation)


def _not_found() -> Response:
    return Response.json({"error": "not_found"}, 404)
