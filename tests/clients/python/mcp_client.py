"""The MCP SDK's client with its own OAuth: discovery, registration, login with `resource`, refresh, and a new login."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import anyio
import requests
from mcp import ClientSession
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from clients.python.script import TIMEOUT, Settings, discover, person_opens, read_settings, report


class Memory:
    """Keeps everything until the end of the script, and every token set that there was."""

    def __init__(self) -> None:
        self.tokens: list[OAuthToken] = []
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        """The newest."""
        return self.tokens[-1] if self.tokens else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """One more."""
        self.tokens.append(tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """What registration gave."""
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """The same."""
        self.client = client_info


class Person:
    """The two handlers that an application gives the SDK."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.asked: list[dict[str, list[str]]] = []
        self._arrived = ""

    async def open(self, url: str) -> None:
        """Would open the browser."""
        self.asked.append(parse_qs(urlsplit(url).query))
        self._arrived = await anyio.to_thread.run_sync(person_opens, self._settings, url)

    async def came_back(self) -> AuthorizationCodeResult:
        """What the redirect brought."""
        (code,), (state,), (issuer,) = (
            parse_qs(urlsplit(self._arrived).query)[name] for name in ("code", "state", "iss")
        )
        return AuthorizationCodeResult(code=code, state=state, iss=issuer)


async def ask(settings: Settings, provider: OAuthClientProvider) -> str:
    """One session with the MCP server; what its tool says."""
    async with (
        create_mcp_http_client(auth=provider) as http,
        streamable_http_client(settings.resource, http_client=http) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        result = await session.call_tool("whoami", {})
        text: str = result.content[0].text
        return text


def revoke(settings: Settings, memory: Memory) -> int:
    """Revoke the newest refresh token, which the SDK leaves to the application; the status."""
    assert memory.client is not None
    basic = settings.auth == "client_secret_basic"
    secret = memory.client.client_secret or ""
    credentials = {"client_id": memory.client.client_id} | ({"client_secret": secret} if secret else {})
    return requests.post(
        discover(settings)["revocation_endpoint"],
        data={"token": memory.tokens[-1].refresh_token} | ({} if basic else credentials),
        auth=(memory.client.client_id, secret) if basic else None,
        timeout=TIMEOUT,
    ).status_code


async def main(settings: Settings) -> None:
    """A login, a refresh, and a new login after the client's revocation."""
    memory, person = Memory(), Person(settings)
    metadata = OAuthClientMetadata(
        client_name="An MCP client",
        redirect_uris=[settings.redirect_uri],
        grant_types=["authorization_code", "refresh_token"],
        token_endpoint_auth_method=settings.auth,
    )
    provider = OAuthClientProvider(settings.resource, metadata, memory, person.open, person.came_back)
    first = await ask(settings, provider)
    provider.context.token_expiry_time = 1  # as if its lifetime were over
    refreshed = await ask(settings, provider)
    logins = len(person.asked)

    revoked = revoke(settings, memory)
    again = await ask(settings, provider)
    report(
        first=first,
        refreshed=refreshed,
        logins=logins,
        rotated=len({tokens.refresh_token for tokens in memory.tokens[:2]}) == 2,
        revoked=revoked,
        again=again,
        logins_after_revocation=len(person.asked),
        resources=[asked["resource"] for asked in person.asked],
        issuer=memory.client and memory.client.issuer,
    )


if __name__ == "__main__":
    anyio.run(main, read_settings())
