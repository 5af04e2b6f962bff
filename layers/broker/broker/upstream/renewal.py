"""When a provider's token is to be renewed, and whether it can be.

Apart from the calls (dialect.py), because every login asks this and few have to call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.upstream.provider import Provider
    from broker.upstream.tokens import UpstreamTokens

MARGIN_MOST = 120


def can_refresh(provider: Provider, tokens: UpstreamTokens) -> bool:
    """Whether there is something to refresh with."""
    return provider.refresh.using == "access_token" or tokens.refresh_token is not None


def refresh_due_at(provider: Provider, tokens: UpstreamTokens, now: int) -> int | None:
    """When the access token is to be renewed, in epoch seconds: a margin before its end. None: it has no known end.

    now: when the tokens were received, since the usual margin, min(120 s, a tenth of the lifetime), is of what is
    left then.
    """
    if tokens.expires_at is None:
        return None
    margin = provider.refresh.margin
    if margin is None:
        margin = min(MARGIN_MOST, max(0, tokens.expires_at - now) // 10)
    return tokens.expires_at - margin
