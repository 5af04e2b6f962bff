"""Bad days, for a broker in this process: time passes, the store fails.

The fixture `base` puts the clocks back after every test; what begins in a `with` block ends with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ReadTimeoutError

from broker import clock
from broker.store.aws import client
from sandbox_provider import clock as sandbox_clock


def pass_time(seconds: float) -> None:
    """Move the clocks of the broker and of the sandbox."""
    clock.offset += seconds
    sandbox_clock.offset += seconds


@contextmanager
def store_refuses(operation: str, code: str) -> Iterator[None]:
    """DynamoDB answers this error to every call of `operation`, and does nothing."""
    status = 500 if code == "InternalServerError" else 400

    def refuse(**_: Any) -> tuple[SimpleNamespace, dict[str, Any]]:
        error = {
            "Error": {"Code": code, "Message": "ordered by a test"},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        return SimpleNamespace(status_code=status), error

    with _hook(f"before-call.dynamodb.{operation}", refuse):
        yield


@contextmanager
def store_answer_lost(operation: str, **of_client: int) -> Iterator[None]:
    """DynamoDB does what `operation` asks, and its answer never arrives. `of_client`: which client of it, if not the usual."""

    def lose(**_: Any) -> None:
        raise ReadTimeoutError(endpoint_url="https://dynamodb.example")

    with _hook(f"after-call.dynamodb.{operation}", lose, **of_client):
        yield


@contextmanager
def meanwhile(operation: str, action: Callable[[], None]) -> Iterator[None]:
    """Somebody does `action`, all of it, just before DynamoDB is asked for `operation` the next time."""
    waiting = [action]

    def act(**_: Any) -> None:
        if waiting:
            waiting.pop()()

    with _hook(f"before-call.dynamodb.{operation}", act):
        yield
    assert not waiting, f"no {operation} was sent"


@contextmanager
def answer_lost_once(operation: str, *, of: str = "", then: Callable[[], None] | None = None) -> Iterator[None]:
    """DynamoDB does what the next `operation` asks, its answer never arrives, and botocore sends it again.

    `of`: what the request has to have in it; `then`: what somebody does before it is sent again.
    """
    dynamodb = client("dynamodb")
    send = dynamodb._endpoint.http_session.send
    lost: list[str] = []

    def lose_first(request: Any, **_: Any) -> None:
        if not lost and of.encode() in request.body:
            lost.append(operation)
            send(request)
            if then is not None:
                then()
            raise ReadTimeoutError(endpoint_url="https://dynamodb.example")

    with _hook(f"before-send.dynamodb.{operation}", lose_first):
        yield
    assert lost, f"no {operation} was sent"


@contextmanager
def attempts_kept(operation: str) -> Iterator[list[Callable[[], None]]]:
    """Every attempt at `operation` is kept, to be sent once more later: as one that was given up and is still on its way."""
    send = client("dynamodb")._endpoint.http_session.send
    kept: list[Callable[[], None]] = []

    def keep(request: Any, **_: Any) -> None:
        kept.append(lambda: send(request))

    with _hook(f"before-send.dynamodb.{operation}", keep):
        yield kept


@contextmanager
def replicas_behind() -> Iterator[None]:
    """DynamoDB has written all, and no eventually consistent read has any of it yet."""

    def nothing(params: Mapping[str, Any], **_: Any) -> tuple[SimpleNamespace, dict[str, Any]] | None:
        if json.loads(params["body"]).get("ConsistentRead"):
            return None
        return SimpleNamespace(status_code=200), {"ResponseMetadata": {"HTTPStatusCode": 200}}

    with _hook("before-call.dynamodb.GetItem", nothing):
        yield


@contextmanager
def pages_of(limit: int | None) -> Iterator[list[Mapping[str, Any]]]:
    """DynamoDB reads at most so many items for a page of a scan (None: as many as it likes); the pages that were asked for."""
    asked: list[Mapping[str, Any]] = []

    def shorten(params: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        asked.append(params)
        return params if limit is None else {**params, "Limit": limit}

    with _hook("provide-client-params.dynamodb.Scan", shorten):
        yield asked


@contextmanager
def _hook(event: str, handler: Any, **of_client: int) -> Iterator[None]:
    events = client("dynamodb", **of_client).meta.events
    events.register_first(event, handler)
    try:
        yield
    finally:
        events.unregister(event, handler)
