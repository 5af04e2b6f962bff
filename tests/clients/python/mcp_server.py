"""A protected MCP server, by the official SDK: it trusts the broker, and asks it about every token (RFC 7662)."""

from __future__ import annotations

import httpx2
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

from clients.python.script import TIMEOUT, Settings, discover, read_settings


class Introspection:
    """Whatever the broker says of a token."""

    def __init__(self, settings: Settings) -> None:
        self._endpoint = discover(settings)["introspection_endpoint"]
        self._auth = httpx2.BasicAuth(settings.client_id, settings.client_secret or "")

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token, while it is good."""
        async with httpx2.AsyncClient(timeout=TIMEOUT) as client:
            response = await client.post(self._endpoint, data={"token": token}, auth=self._auth)
        response.raise_for_status()
        told = response.json()
        if not told["active"]:
            return None
        audience = told["aud"]
        return AccessToken(
            token=token,
            client_id=told["client_id"],
            scopes=told.get("scope", "").split(),
            expires_at=told["exp"],
            resource=audience if isinstance(audience, str) else audience[0],
            subject=told["sub"],
        )


def main(settings: Settings) -> None:
    """Serve until the end; one tool says whom the token is about."""
    auth = AuthSettings(
        issuer_url=settings.issuer,
        resource_server_url=settings.resource,
        required_scopes=["profile"],
        validate_token_resource=True,
    )
    server = MCPServer("protected", token_verifier=Introspection(settings), auth=auth, log_level="ERROR")

    def whoami() -> str:
        """The subject and the resource of the token."""
        token = get_access_token()
        assert token is not None
        return f"{token.subject} at {token.resource}"

    server.add_tool(whoami)
    server.run("streamable-http", host="127.0.0.1", port=settings.port)


if __name__ == "__main__":
    main(read_settings())
