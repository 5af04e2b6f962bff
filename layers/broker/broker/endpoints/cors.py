"""CORS for the endpoints that a browser's script may call. The authorization endpoint has none (RFC 9700 section 2.6)."""

from collections.abc import Iterable, Mapping

from broker.gateway import Request, Response
from broker.protocol.clients import Client
from broker.runtime import Runtime
from broker.store.aws import StoreUnavailable

CUSTOM_HEADER = "x-requested-with"
"""A header that a foreign page cannot send without a preflight: required where a cookie is the credential."""
TRACING_HEADERS = ("traceparent", "tracestate", "baggage", "sentry-trace")
"""What the SDKs that trace a page's requests add to them (W3C Trace Context, W3C Baggage, Sentry). Nothing here reads them and
they are no credentials, but a browser drops a request with a header that its preflight was not granted."""

EXPOSED = ("WWW-Authenticate", "Retry-After", "X-Request-Id", "DPoP-Nonce", "RateLimit", "RateLimit-Policy")


def any_origin_preflight(methods: str, header_names: Iterable[str], origin: Mapping[str, str]) -> Response:
    """The answer to a preflight for what a page of any origin may ask. origin: the headers that say so."""
    return Response(204, headers={**origin, **_granted(methods, header_names)})


def preflight(request: Request, runtime: Runtime, methods: str, further_headers: Iterable[str] = ()) -> Response:
    """The answer to OPTIONS. It names no client, so an origin passes if any client lists it.

    `further_headers`: that a script may send here, beside those that it may send everywhere.
    """
    header_names = ("Content-Type", "Authorization", "DPoP", CUSTOM_HEADER.title(), *further_headers)
    origin = request.origin
    if origin is None or not runtime.directory.origin_is_listed(origin):
        return Response(204, headers={"vary": "Origin", "allow": methods})
    return Response(204, headers={**_allowed(origin, credentials=True), **_granted(methods, header_names)})


def _granted(methods: str, header_names: Iterable[str]) -> dict[str, str]:
    """What a preflight is told that a script may send."""
    names = dict.fromkeys((*header_names, *(name.title() for name in TRACING_HEADERS)))
    return {
        "access-control-allow-methods": methods,
        "access-control-allow-headers": ", ".join(names),
        "access-control-max-age": "600",
    }


def headers(request: Request, client: Client) -> dict[str, str]:
    """The CORS headers of an answer to this client's request; only for origins that the client lists."""
    if request.origin is None:
        return {}
    if request.origin not in client.origins:
        return {"vary": "Origin"}
    return _allowed(request.origin, credentials=client.refresh_cookie)


def headers_of_error(request: Request, runtime: Runtime, client: Client | None) -> dict[str, str]:
    """The CORS headers of an error; before the client is known, of any listed origin, so that its page can read it.

    An error is answered even if the store cannot say which origins are listed.
    """
    if client is not None:
        return headers(request, client)
    if request.origin is None:
        return {}
    try:
        listed = runtime.directory.origin_is_listed(request.origin)
    except StoreUnavailable:
        return {}
    return _allowed(request.origin, credentials=True) if listed else {"vary": "Origin"}


def exposing(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The same headers of an answer, which let a script read further ones, if they let it read any."""
    if (exposed := headers.get("access-control-expose-headers")) is None:
        return dict(headers)
    return {**headers, "access-control-expose-headers": ", ".join(dict.fromkeys((*exposed.split(", "), *names)))}


def _allowed(origin: str, *, credentials: bool) -> dict[str, str]:
    allowed = {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": ", ".join(EXPOSED),
        "vary": "Origin",
    }
    return allowed | {"access-control-allow-credentials": "true"} if credentials else allowed
