"""Registers what a newcomer needs: keys, the sandbox's providers with their credentials, and the playground's clients.

Writes through the broker's own Registry, as the operator's command does. It must only ever run against local tables.
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from broker import clock, settings
from broker.crypto.keys import new_document
from broker.protocol.clients import Client
from broker.store.registry import AlreadyExists, ProviderEntry, Registry
from broker_local import aws

PLAYGROUND_CLIENT_ID = "playground"
PLAYGROUND_COOKIE_CLIENT_ID = "playground-cookie"
TRY_REDIRECT_URI = "http://127.0.0.1:8765/callback"
"""The redirect URI of `broker provider try`."""


@dataclass(frozen=True)
class SandboxProvider:
    """One fake provider: where its description comes from, and its addresses below /sandbox/<name>.

    `paths` replaces the catalogue's URLs (dotted field -> path); with `variable` the description takes the address
    of the whole provider as that variable instead.
    """

    name: str
    client_id: str
    catalogue: str | None = None
    file: str | None = None
    paths: dict[str, str] = field(default_factory=dict)
    variable: str | None = None


_ITERNIO = {"authorize.url": "/oauth/auth", "token.url": "/1/oauth/token", "userinfo.url": "/1/oauth/me"}

PROVIDERS = (
    SandboxProvider(
        "infolobby",
        "sandbox-infolobby",
        catalogue="infolobby",
        paths={
            "authorize.url": "/api/oauth/authorize",
            "token.url": "/api/oauth/token",
            "userinfo.url": "/api/oauth/profile",
        },
    ),
    SandboxProvider(
        "lockitnetwork",
        "sandbox-lockitnetwork",
        catalogue="lockitnetwork",
        paths={"authorize.url": "/oauth/authorize", "token.url": "/oauth/access-token"},
    ),
    SandboxProvider("phpapi", "sandbox-phpapi", catalogue="phpapi", variable="base"),
    SandboxProvider(
        "redbooth",
        "sandbox-redbooth",
        catalogue="redbooth",
        paths={
            "authorize.url": "/oauth2/authorize",
            "token.url": "/oauth2/token",
            "userinfo.url": "/api/3/me",
            "api.base": "/api/3",
        },
    ),
    SandboxProvider("iternio", "4711", catalogue="iternio", paths=_ITERNIO),
    SandboxProvider("iternio-live", "4712", catalogue="iternio", paths=_ITERNIO),
    SandboxProvider("openid", "sandbox-openid", file="openid.toml", variable="base"),
    SandboxProvider("oidc", "sandbox-oidc", catalogue="oidc", variable="issuer"),
)


def seed(base: str, client_secret: str) -> None:
    """Register everything for a broker whose URL is `base`; `client_secret` is what the sandbox expects of it.

    Reads table and secret names from the environment. What is registered already stays as it is.
    """
    configured = settings.from_environment(os.environ)
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    secrets = aws.client("secretsmanager", endpoint)
    registry = Registry(aws.client("dynamodb", endpoint), configured.registry_table)
    put_secret(secrets, configured.keys_secret, new_document(clock.now()))
    for provider in PROVIDERS:
        credentials = {"client_id": provider.client_id, "client_secret": client_secret}
        put_secret(secrets, configured.provider_secret_prefix + provider.name, json.dumps(credentials))
        _register(registry.add_provider, provider_entry(provider, base))
    for client in playground_clients(base):
        _register(registry.add_client, client)


def provider_entry(provider: SandboxProvider, base: str) -> ProviderEntry:
    """The Registry's entry of a sandbox provider for a broker at `base`."""
    home = f"{base}/sandbox/{provider.name}"
    document: dict[str, Any] | None = None
    if provider.file:
        document = tomllib.loads((Path(__file__).parent / provider.file).read_text("utf-8"))
    return ProviderEntry(
        name=provider.name,
        catalogue=provider.catalogue,
        document=document,
        overrides={name: home + path for name, path in provider.paths.items()},
        variables={provider.variable: home} if provider.variable else {},
        created_at=clock.now(),
    )


def playground_clients(base: str) -> tuple[Client, ...]:
    """The playground: an ordinary public client, and the same with its refresh token in a cookie; allowed every sandbox
    provider."""
    in_page = Client(
        client_id=PLAYGROUND_CLIENT_ID,
        name="Playground",
        redirect_uris=(f"{base}/",),
        origins=(base,),
        providers=tuple(provider.name for provider in PROVIDERS),
        created_at=clock.now(),
    )
    in_cookie = replace(
        in_page, client_id=PLAYGROUND_COOKIE_CLIENT_ID, name="Playground with a refresh cookie", refresh_cookie=True
    )
    return in_page, in_cookie


def put_secret(secrets: Any, name: str, value: str) -> None:
    """Create the secret, or give an existing one a new value."""
    try:
        secrets.create_secret(Name=name, SecretString=value)
    except secrets.exceptions.ResourceExistsException:
        secrets.put_secret_value(SecretId=name, SecretString=value)


def _register(add: Any, entry: object) -> None:
    try:
        add(entry)
    except AlreadyExists:
        return
