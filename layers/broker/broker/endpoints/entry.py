"""From a Lambda event to an endpoint and back: the one place where what nobody expected becomes an answer."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from broker import audit, invocation
from broker.gateway import Request, Response, event_answer, request_of
from broker.protocol.errors import SERVER_ERROR, TEMPORARILY_UNAVAILABLE, OAuthError
from broker.runtime import Runtime, runtime, start_type
from broker.store.aws import StoreUnavailable

Endpoint = Callable[[Request, Runtime], Response]

STORE_RETRY_AFTER = 2
"""Seconds after which a client may repeat a request that the store could not serve."""


def lambda_handler(
    endpoint: Endpoint, *, tokens: bool = False, providers: bool = False, proofs: bool = False, calls: bool = False
) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """A Lambda handler around an endpoint. It never raises: an unexpected error is a 500 that says nothing.

    What most requests need is made at once when Lambda starts the function. tokens: JWTs of ours are signed or read;
    proofs: JWTs of others are read, and none of ours; providers: their dialects are needed; calls: they are called.
    """
    if start_type():
        runtime().warm_up(tokens=tokens, providers=providers, proofs=proofs, calls=calls)
    started = False

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        nonlocal started
        from broker.log import logger

        invocation.begin(context)
        broker = runtime()
        request = request_of(event, issuer=broker.settings.issuer, api_domain=broker.settings.api_domain)
        invocation.comes_from(request.source_ip)
        logger.set_correlation_id(request.request_id)
        if not started:
            started = True
            audit.event("instance.started", init_type=start_type() or "on-demand")
        return event_answer(_without_body_on_head(request, _answer(endpoint, request, broker)), request.request_id)

    return handler


def _answer(endpoint: Endpoint, request: Request, broker: Runtime) -> Response:
    try:
        return endpoint(request, broker)
    except StoreUnavailable as error:
        audit.unavailable(error)
        return error_response(unavailable())
    except OAuthError as error:  # a client's document that may not be read now; endpoints answer all others themselves
        return error_response(error)
    except Exception as error:  # whatever it is, the client gets a well-formed 500
        _write(error)
        return error_response(OAuthError(SERVER_ERROR, "something went wrong here"))


def _write(error: Exception) -> None:
    """Only its type and where it came from: the message of an unknown exception may quote anything."""
    import traceback

    from broker.log import logger

    frames = [f"{frame.name} {frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    audit.event("request.failed", error_type=type(error).__name__)
    logger.error("unexpected error", extra={"frames": frames})


def unavailable(retry_after: int = STORE_RETRY_AFTER) -> OAuthError:
    """The error for a store or provider that is down: nothing was consumed, the same request may be repeated."""
    return OAuthError(TEMPORARILY_UNAVAILABLE, "please repeat the request later", retry_after=retry_after)


def json_response(
    document: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer."""
    return Response(status, json.dumps(document), {"content-type": "application/json"} | dict(headers or {}))


def error_response(error: OAuthError, headers: Mapping[str, str] | None = None) -> Response:
    """An error as RFC 6749 section 5.2 wants it: JSON, not stored, with a challenge on 401."""
    document = {"error": error.kind.code, "error_description": error.description}
    if error.reconnect_url is not None:
        document["reconnect_url"] = error.reconnect_url
    extra = dict(headers or {})
    if error.retry_after is not None:
        extra["retry-after"] = str(error.retry_after)
    return json_response(document, error.kind.status, extra)


def method_not_allowed(*allowed: str, headers: Mapping[str, str] | None = None) -> Response:
    """405 with Allow (RFC 9110 section 15.5.6). `headers`: CORS, where a script may call the endpoint."""
    document = {"error": "invalid_request", "error_description": f"use {' or '.join(allowed)}"}
    return json_response(document, 405, {**(headers or {}), "allow": ", ".join(allowed)})


def _without_body_on_head(request: Request, response: Response) -> Response:
    return Response(response.status, "", response.headers, response.cookies) if request.method == "HEAD" else response
