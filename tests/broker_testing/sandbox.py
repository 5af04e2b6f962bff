"""The sandbox's test switch: order faults, and count what the broker asked of a provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pytest
import requests

from broker.upstream.http import BoundedHttp, Deadline, UpstreamRequest, UpstreamResponse

TIMEOUT = 30


def order_fault(base: str, provider: str, endpoint: str, kind: str, value: object = None, *, times: int = 1) -> None:
    """The next calls of an endpoint (authorize, token, userinfo, revoke) meet this fault; `value` None is left out."""
    order: dict[str, object] = {"provider": provider, "endpoint": endpoint, "kind": kind, "times": times}
    if value is not None:
        order["value"] = value
    response = requests.post(f"{base}/sandbox/_faults", json=order, timeout=TIMEOUT)
    assert response.status_code == 200, response.text


def forget_faults(base: str, provider: str) -> None:
    """Faults that were ordered and not met are called off."""
    assert requests.delete(f"{base}/sandbox/_faults", params={"provider": provider}, timeout=TIMEOUT).status_code == 200


def start_counting(base: str, provider: str) -> None:
    """Begin a new record of the provider's calls."""
    assert requests.delete(f"{base}/sandbox/_calls", params={"provider": provider}, timeout=TIMEOUT).status_code == 200


def counted(base: str, provider: str) -> dict[str, int]:
    """Calls since the last `start_counting`, by endpoint, as in {"token:refresh_token": 1, "userinfo": 2}."""
    response = requests.get(f"{base}/sandbox/_calls", params={"provider": provider}, timeout=TIMEOUT)
    assert response.status_code == 200, response.text
    counts: dict[str, int] = response.json()["counts"]
    return counts


@contextmanager
def wrong_secret_said_as(body: bytes) -> Iterator[None]:
    """The providers refuse a wrong client secret with 401 still, but with this body."""
    send = BoundedHttp.send

    def rewritten(self: BoundedHttp, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        answer = send(self, request, deadline)
        refused = answer.status == 401 and b"invalid_client" in answer.body
        return replace(answer, body=body) if refused else answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BoundedHttp, "send", rewritten)
        yield


def register_key(base: str, provider: str, jwk: Mapping[str, object] | None) -> None:
    """Register the broker's public key at a provider (private_key_jwt); None takes it back."""
    order = {"provider": provider, "jwk": dict(jwk) if jwk else None}
    response = requests.post(f"{base}/sandbox/_key", json=order, timeout=TIMEOUT)
    assert response.status_code == 200, response.text


def change_secrets(base: str, provider: str, *secrets: str) -> None:
    """Let these be the client secrets that a provider takes from now on; none: the usual one again."""
    order = {"provider": provider, "secrets": list(secrets)}
    response = requests.post(f"{base}/sandbox/_secret", json=order, timeout=TIMEOUT)
    assert response.status_code == 200, response.text


def end_at_provider(base: str, provider: str, what: str, username: str | None = None) -> int:
    """Let the provider's access tokens ("access"), refresh tokens ("refresh") or whole grants ("grant") end; how many."""
    order = {"provider": provider, "what": what} | ({"username": username} if username else {})
    response = requests.post(f"{base}/sandbox/_expire", json=order, timeout=TIMEOUT)
    assert response.status_code == 200, response.text
    changed: int = response.json()["changed"]
    return changed
