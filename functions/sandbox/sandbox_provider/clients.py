"""The one application that is registered at each fake provider: the broker."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sandbox_provider.settings import Settings

APPLICATION = "Token broker"

CLIENTS: Mapping[str, str] = MappingProxyType(
    {
        "infolobby": "sandbox-infolobby",
        "lockitnetwork": "sandbox-lockitnetwork",
        "phpapi": "sandbox-phpapi",
        "redbooth": "sandbox-redbooth",
        "iternio": "4711",
        "iternio-live": "4712",
        "openid": "sandbox-openid",
        "oidc": "sandbox-oidc",
    }
)
"""Client id by provider name. The secret is the same everywhere: SANDBOX_CLIENT_SECRET."""


@dataclass(frozen=True)
class Client:
    """A registration as the provider holds it."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uris: tuple[str, ...]
    name: str = APPLICATION

    def has_secret(self, presented: str) -> bool:
        """Whether the secret is the registered one, compared in constant time."""
        return hmac.compare_digest(presented.encode(), self.client_secret.encode())


def client_of(provider: str, settings: Settings) -> Client:
    """The application registered at `provider`."""
    more = tuple(uri for name, uri in settings.more_redirect_uris if name == provider)
    own = f"{settings.base}/callback/{provider}"
    return Client(CLIENTS[provider], settings.client_secret, (own, *more))
