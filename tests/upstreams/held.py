"""What a client holds after a login at a server that others wrote, and what lies behind it in the vault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests

from broker import clock
from broker.crypto import handles
from broker.crypto.handles import Handle, Kind
from broker.grants import vault
from broker.runtime import runtime
from broker.store.grants import Grant
from broker.upstream.tokens import UpstreamTokens
from broker_testing.journey import TestClient, refresh, register, userinfo
from upstreams.servers import TIMEOUT, Upstream


@dataclass
class Held:
    """A login with its present tokens."""

    client: TestClient
    tokens: dict[str, Any]

    @property
    def refresh_token(self) -> str:
        """The present one."""
        return str(self.tokens["refresh_token"])

    @property
    def handle(self) -> Handle:
        """What is in the refresh token."""
        found = handles.read(Kind.REFRESH, self.refresh_token, runtime().keys.ring())
        assert found is not None
        return found

    @property
    def grant(self) -> Grant:
        """The login as the table has it."""
        grant, _ = runtime().grants.read(self.handle.grant_id)
        assert grant is not None
        return grant

    def upstream_tokens(self) -> UpstreamTokens:
        """The provider's tokens, opened as the broker opens them."""
        link = runtime().grants.links.read(self.handle.grant_id)
        assert link is not None
        return vault.tokens_of(link, self.handle.secret)

    def refresh(self) -> requests.Response:
        """Refresh; new tokens take the place of the old ones."""
        answer = refresh(self.client, self.refresh_token)
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer

    def userinfo(self) -> requests.Response:
        """The profile, with the present access token."""
        return userinfo(self.client.base, self.tokens["access_token"])


def logged_in(base: str, upstream: Upstream, **attributes: Any) -> Held:
    """A new client's login at the server."""
    client = register(base, providers=(upstream.name,), **attributes)
    return Held(client, upstream.log_in(client).tokens())


def pass_time(upstream: Upstream, seconds: float) -> None:
    """Move the clocks of the broker and of the server."""
    clock.offset += seconds
    upstream.process.set_clock(clock.offset)


def ask_who(upstream: Upstream, url: str, access_token: str) -> int:
    """The status of the server's own answer to an access token."""
    headers = {"authorization": f"Bearer {access_token}"}
    return requests.get(f"{upstream.process.url}{url}", headers=headers, timeout=TIMEOUT).status_code
