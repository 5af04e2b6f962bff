"""One request as the steps of a dialect see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox_provider.clients import Client
from sandbox_provider.settings import Settings
from sandbox_provider.store import Store, digest
from sandbox_provider.wire import Request


@dataclass(frozen=True)
class Call:
    """A request that has reached one provider's endpoint."""

    request: Request
    provider: str
    title: str
    """The provider's name as people read it."""
    client: Client
    """The application registered at this provider."""
    settings: Settings
    store: Store
    now: int
    """Seconds since the epoch."""
    forced_error: str | None = None
    """An error code that a test ordered the authorization endpoint to answer with."""
    id_token_fault: Mapping[str, Any] = field(default_factory=dict)
    """What a test ordered to be wrong with the ID token."""

    def has_secret(self, presented: str) -> bool:
        """Whether the application's secret is right: the registered one, or those that a test has put in its place."""
        ordered = self.store.client_secrets(self.provider) if self.settings.faults else ()
        return digest(presented) in ordered if ordered else self.client.has_secret(presented)

    @property
    def issuer(self) -> str:
        """The provider's own URL."""
        return f"{self.settings.base}/sandbox/{self.provider}"

    def url(self, name: str) -> str:
        """Path of one of the provider's own pages (login, consent), usable in a form."""
        return f"{self.settings.prefix}/sandbox/{self.provider}/{name}"
