"""What the scripts share: settings from standard input, the person, and the report. Runs in the clients' own environment."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import Any

import requests

TIMEOUT = 60


@dataclass(frozen=True)
class Settings:
    """What a test tells a script.

    issuer      the broker
    person      where the URL goes that a person should open
    auth        how the client authenticates; "none" for a public one
    resource    URL of a protected MCP server
    library     which one, for a script that knows several
    """

    issuer: str
    person: str
    redirect_uri: str
    client_id: str = ""
    client_secret: str | None = field(default=None, repr=False)
    auth: str = "none"
    id_token_alg: str = "RS256"
    resource: str = ""
    library: str = ""
    port: int = 0


def read_settings() -> Settings:
    """The settings on standard input."""
    return Settings(**json.load(sys.stdin))


def person_opens(settings: Settings, url: str) -> str:
    """Hand a URL to the person; where it led."""
    answer = requests.post(settings.person, data=url.encode(), timeout=TIMEOUT).json()
    if "error" in answer:
        raise RuntimeError(answer["error"])
    arrived: str = answer["url"]
    return arrived


def discover(settings: Settings) -> dict[str, Any]:
    """The OpenID provider metadata, for libraries that leave its fetching to the application."""
    response = requests.get(f"{settings.issuer}/.well-known/openid-configuration", timeout=TIMEOUT)
    response.raise_for_status()
    document: dict[str, Any] = response.json()
    return document


def report(**facts: object) -> None:
    """Print the report."""
    print(json.dumps(facts))  # noqa: T201
