"""Calls of a provider's API through the broker's proxy, and of the token exchange."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import requests

from broker.protocol.token_exchange import ACCESS_TOKEN_TYPE, GRANT_TYPE
from broker_testing.journey import TestClient, post_form, send_exactly
from broker_testing.providers import provider_set

PROVIDER = "redbooth"
"""The sandbox's provider that has an API."""
ALLOWED = (
    "GET,POST /tasks",
    "PUT,PATCH,DELETE /tasks/*",
    "GET /projects",
    "GET,POST,PUT,PATCH,DELETE /echo",
    "GET,POST /echo/**",
    "GET /echo/",
    "GET,POST /files/*/download",
    "GET /quota",
    "GET /forbidden",
    "GET,POST /unwelcome",
    "GET /indiscreet",
)
REACHING: dict[str, Any] = {"providers": (PROVIDER,), "proxy": (PROVIDER,)}
"""What a client is registered with that may call the API."""
EXCHANGING: dict[str, Any] = {
    "providers": (PROVIDER,),
    "token_exchange": (PROVIDER,),
    "grant_types": ("authorization_code", "refresh_token", GRANT_TYPE),
}
"""What a client is registered with that may have the provider's token."""


def provider_with(provider: str = PROVIDER, **fields: object) -> AbstractContextManager[None]:
    """While this lasts, fields of the provider's file are these: `api_allow` is api.allow."""
    return provider_set(provider, {name.replace("_", ".", 1): value for name, value in fields.items()})


def allowed_calls() -> AbstractContextManager[None]:
    """While this lasts, the calls that the conformance suite makes of the provider's API are allowed."""
    return provider_with(api_allow=list(ALLOWED), api_forward=["X-Redbooth-Version"])


def call(
    client: TestClient,
    access_token: str | None,
    path: str,
    method: str = "GET",
    *,
    provider: str = PROVIDER,
    headers: Mapping[str, str] | None = None,
    data: bytes | None = None,
) -> requests.Response:
    """One call through the proxy, by a Bearer token; `path` goes out exactly as it is written."""
    sent = dict(headers or {})
    if access_token is not None:
        sent["authorization"] = f"Bearer {access_token}"
    return send_exactly(method, f"{client.base}/proxy/{provider}/{path}", sent, data)


def exchange(
    client: TestClient, subject_token: str, /, *, proof: str | None = None, **changes: str | None
) -> requests.Response:
    """The token exchange, for the provider's name as audience; `proof`: the DPoP header."""
    form = {
        "grant_type": GRANT_TYPE,
        "subject_token": subject_token,
        "subject_token_type": ACCESS_TOKEN_TYPE,
        "audience": PROVIDER,
    } | client.credentials()
    return post_form(f"{client.base}/token", form, changes, headers={"dpop": proof} if proof else {})
