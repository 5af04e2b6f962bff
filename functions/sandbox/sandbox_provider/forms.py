"""The state of a sign-in while it is in the person's hands: a hidden form field that cannot be altered.

It carries nothing secret, only what the authorization request said; the MAC keeps a person (or a page that made him
submit the form) from changing the redirect URI, the scope or who has signed in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import Literal

from sandbox_provider.settings import Settings

Purpose = Literal["login", "consent"]

LIFETIME = 600
"""Seconds a person may take over each form."""


@dataclass(frozen=True)
class Pending:
    """An authorization request that was found valid and now waits for the person."""

    provider: str
    client_id: str
    redirect_uri: str
    scope: str
    state: str
    code_challenge: str
    username: str = ""
    """Who has signed in; empty before."""
    nonce: str = ""


def seal(purpose: Purpose, pending: Pending, settings: Settings, now: int) -> str:
    """The hidden field for the form of that purpose."""
    payload = json.dumps([asdict(pending), now + LIFETIME], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_mac(purpose, payload, settings) + payload).decode()


def unseal(purpose: Purpose, value: str, settings: Settings, now: int) -> Pending | None:
    """Read the hidden field; None when it was altered, is of the other form or too old."""
    try:
        sealed = base64.urlsafe_b64decode(value.encode())
    except ValueError:
        return None
    mac, payload = sealed[:32], sealed[32:]
    if not hmac.compare_digest(mac, _mac(purpose, payload, settings)):
        return None
    members, expires_at = json.loads(payload)
    return Pending(**members) if now < expires_at else None


def _mac(purpose: Purpose, payload: bytes, settings: Settings) -> bytes:
    # A key of its own, so that no form ever shows a MAC under the client secret itself.
    key = hashlib.sha256(b"sandbox form " + purpose.encode() + b"\0" + settings.client_secret.encode()).digest()
    return hmac.digest(key, payload, "sha256")
