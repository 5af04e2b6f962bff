"""The broker that the conformance tests are aimed at: a URL, and clients of every kind that the tests need.

A broker is known here by what an operator could tell anybody: its URL and what its clients were registered with. Clients come
from the local broker, where they are registered on the spot, or from a JSON file:

    {"username": "johndoe", "password": "sandbox",
     "clients": {"public": {"client_id": "...", "redirect_uris": ["https://app.example/callback"],
                            "providers": ["openid"], "scope": ["openid", "profile", "email", "offline_access"]},
                 "confidential": {"client_id": "...", "client_secret": "...", ...}}}

Kinds and what they are registered with: KINDS. A kind that the file leaves out skips the tests that need it. Every client's
first provider must be one of the sandbox's, because the tests log in through its pages. The kinds that may call the proxy also
need a provider file that allows what `broker_testing.proxy.allowed_calls` allows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from broker.protocol import device, token_exchange
from broker.protocol.clients import Client, ClientSecret, hash_secret
from broker_testing.journey import CALLBACK, TestClient, register

ORIGIN = "https://app.example"
OTHER_CALLBACK = "https://app.example/other"
RESOURCE = "https://api.example/v1"
AFTER_LOGOUT = "https://app.example/bye"
_CONFIDENTIAL: Mapping[str, Any] = {"secret": True}
_DEVICE: Mapping[str, Any] = {"grant_types": (device.GRANT_TYPE, "refresh_token"), "redirect_uris": ()}

_EXCHANGING: Mapping[str, Any] = {
    "providers": ("redbooth",),
    "token_exchange": ("redbooth",),
    "grant_types": ("authorization_code", "refresh_token", token_exchange.GRANT_TYPE),
}

KINDS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "public": {},
        "other_public": {"redirect_uris": ("https://two.example/callback",)},
        "confidential": _CONFIDENTIAL,
        "other_confidential": {**_CONFIDENTIAL, "redirect_uris": ("https://two.example/callback",)},
        "confidential_basic": {**_CONFIDENTIAL, "auth_methods": ("client_secret_basic",)},
        "confidential_post": {**_CONFIDENTIAL, "auth_methods": ("client_secret_post",)},
        "odd_credentials": {**_CONFIDENTIAL, "client_id": "odd:id+/%20", "client_secret": "p%w+d é:&="},
        "without_pkce": {**_CONFIDENTIAL, "require_pkce": False},
        "redirect_uri_required": {**_CONFIDENTIAL, "require_redirect_uri": True},
        "two_redirects": {"redirect_uris": (CALLBACK, OTHER_CALLBACK)},
        "query_redirect": {"redirect_uris": (f"{CALLBACK}?x=1&y=a%20b",)},
        "loopback": {"redirect_uris": ("http://127.0.0.1/cb",), "origins": ()},
        "disabled": {"disabled": True},
        "no_refresh": {"grant_types": ("authorization_code",)},
        "no_code": {"grant_types": ("refresh_token",)},
        "narrow": {"scope": ("profile",)},
        "resources": {"resources": (RESOURCE,)},
        "serves_resource": {**_CONFIDENTIAL, "served_resources": (RESOURCE,)},
        "es256_confidential": {**_CONFIDENTIAL, "id_token_alg": "ES256"},
        "post_logout": {"post_logout_redirect_uris": (AFTER_LOGOUT, f"{AFTER_LOGOUT}?x=1")},
        "opaque": {"access_token_format": "opaque"},
        "es256": {"id_token_alg": "ES256"},
        "strict_rotation": {"retry_window": 0},
        "short_lived": {"idle_lifetime": 700, "absolute_lifetime": 1500},
        "refresh_cookie": {"refresh_cookie": True},
        "third_party": {"first_party": False},
        "pushed_only": {"require_par": True},
        "multi_provider": {"providers": ("openid", "infolobby")},
        "device": _DEVICE,
        "other_device": _DEVICE,
        "device_confidential": {**_CONFIDENTIAL, **_DEVICE},
        "device_third_party": {**_DEVICE, "first_party": False, "name": "A <b>device</b>"},
        "device_multi_provider": {**_DEVICE, "providers": ("openid", "infolobby")},
        "device_resources": {**_DEVICE, "resources": (RESOURCE,)},
        "device_infolobby": {**_DEVICE, "providers": ("infolobby",)},
        "device_redbooth": {**_DEVICE, "providers": ("redbooth",)},
        "infolobby": {"providers": ("infolobby",)},
        "lockitnetwork": {"providers": ("lockitnetwork",)},
        "phpapi": {"providers": ("phpapi",)},
        "redbooth": {"providers": ("redbooth",)},
        "iternio": {"providers": ("iternio",)},
        "exchanging": _EXCHANGING,
        "exchanging_other_provider": {**_EXCHANGING, "token_exchange": ("infolobby",)},
        "exchanging_without_grant_type": {**_EXCHANGING, "grant_types": ("authorization_code", "refresh_token")},
        "exchanging_nothing": {**_EXCHANGING, "token_exchange": ()},
        "exchanging_long_lived": {**_EXCHANGING, "access_token_lifetime": 86400},
        "exchanging_with_resources": {**_EXCHANGING, "resources": (RESOURCE,)},
        "exchanging_backend": {
            **_CONFIDENTIAL,
            "grant_types": (token_exchange.GRANT_TYPE,),
            "redirect_uris": (),
            "served_resources": (RESOURCE,),
            "token_exchange": ("redbooth",),
        },
        "calling": {"providers": ("redbooth",), "proxy": ("redbooth",)},
        "calling_two": {"providers": ("redbooth", "infolobby"), "proxy": ("redbooth", "infolobby")},
    }
)
"""Kind -> what it is registered with, beside one redirect URI (CALLBACK), its origin, and the provider `openid`."""


@dataclass(frozen=True)
class Clients:
    """The clients of a running broker, by kind: `clients.public`. `username` and `password` are somebody's at its sandbox."""

    base: str
    by_kind: Mapping[str, TestClient]
    username: str = "johndoe"
    password: str = field(default="sandbox", repr=False)

    def __getattr__(self, kind: str) -> TestClient:
        """The client of that kind (one of KINDS); skips the test where this broker has none."""
        if kind not in KINDS:
            raise AttributeError(kind)
        if kind not in self.by_kind:
            pytest.skip(f"the clients file has no client {kind}")
        return self.by_kind[kind]

    def of_kind(self, kind: str) -> TestClient:
        """The same, for a kind that a test has in a variable."""
        client: TestClient = getattr(self, kind)
        return client


def registered_clients(base: str) -> Clients:
    """Register a client of every kind at the local broker."""
    return Clients(base, {kind: _register(base, attributes) for kind, attributes in KINDS.items()})


def described_clients(base: str, path: Path) -> Clients:
    """The clients that a JSON file describes, of the broker at `base`. Raises ValueError for what is no such file."""
    document = json.loads(path.read_text("utf-8"))
    unknown = set(document["clients"]) - set(KINDS)
    if unknown:
        raise ValueError(f"{path} has clients of unknown kinds: {', '.join(sorted(unknown))}")
    clients = {kind: _described(base, kind, entry) for kind, entry in document["clients"].items()}
    people = {name: document[name] for name in ("username", "password") if name in document}
    return Clients(base, clients, **people)


def _register(base: str, attributes: Mapping[str, Any]) -> TestClient:
    values = {"providers": ("openid",)} | dict(attributes)
    secret = values.pop("client_secret", None)
    if secret is None:
        return register(base, **values)
    values |= {"secrets": (ClientSecret(hash_secret(secret), 1),)}
    return TestClient(base, register(base, **values).registered, secret)


def _described(base: str, kind: str, entry: Mapping[str, Any]) -> TestClient:
    """What a file says of a client, completed by what its kind stands for."""
    values = {"providers": ("openid",), "redirect_uris": (CALLBACK,), **KINDS[kind]}
    values = {name: value for name, value in values.items() if name not in ("secret", "client_secret")}
    values |= {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    secret = values.pop("client_secret", None)
    return TestClient(base, Client(**({"name": kind} | values)), secret)
