"""What the sandbox is told by its environment. Reads it in one place; must never log or show the client secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CALLS_PER_MINUTE = 600


class SettingsError(Exception):
    """The environment is incomplete; the text names the variable."""


@dataclass(frozen=True)
class Settings:
    """One deployment of the sandbox."""

    table: str
    client_secret: str = field(repr=False)
    base: str
    """Public URL of the API without trailing slash, such as `https://abc.execute-api.eu-west-1.amazonaws.com`."""
    more_redirect_uris: tuple[tuple[str, str], ...]
    """Redirect URIs registered besides `<base>/callback/<provider>`, as pairs (provider, URI)."""
    faults: bool
    """Whether tests may order faults and read the record of calls."""
    calls_per_minute: int
    """Token calls that one client of the PHP style API may make in a minute."""

    @property
    def prefix(self) -> str:
        """The path of `base`, empty for most deployments."""
        return urlsplit(self.base).path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], api_id: str) -> Settings:
        """Read the variables; `api_id` names the API when SANDBOX_BASE is empty."""
        return cls(
            table=_required(environ, "SANDBOX_TABLE"),
            client_secret=_required(environ, "SANDBOX_CLIENT_SECRET"),
            base=environ.get("SANDBOX_BASE", "").rstrip("/") or _derived_base(environ, api_id),
            more_redirect_uris=_redirect_uris(environ.get("SANDBOX_REDIRECT_URIS", "")),
            faults=environ.get("SANDBOX_FAULTS") == "1",
            calls_per_minute=int(environ.get("SANDBOX_CALLS_PER_MINUTE") or CALLS_PER_MINUTE),
        )


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _derived_base(environ: Mapping[str, str], api_id: str) -> str:
    region = environ.get("AWS_REGION", "")
    if not api_id or not region:
        raise SettingsError("SANDBOX_BASE is empty and the event names no API to derive it from")
    return f"https://{api_id}.execute-api.{region}.{environ.get('SANDBOX_URL_SUFFIX') or 'amazonaws.com'}"


def _redirect_uris(text: str) -> tuple[tuple[str, str], ...]:
    if not text:
        return ()
    listed = json.loads(text)
    return tuple((provider, uri) for provider, uris in listed.items() for uri in uris)
