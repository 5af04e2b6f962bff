"""What several pages say in the same way: the client's name, and what it asks for in plain words."""

from html import escape
from urllib.parse import urlsplit

from broker.pages import icons, inert
from broker.pages.branding import say
from broker.protocol.clients import OIDC_SCOPES, Client


def client_name(client: Client) -> str:
    """HTML of what people call the client, whatever it calls itself."""
    return inert.isolated(client.name) if inert.text(client.name) else say("client.unnamed")


def way_back(address: str) -> str:
    """HTML of what a link to a client's address says: its host, or the scheme of an app."""
    place = inert.host(address) or f"{urlsplit(address).scheme}:"
    return say("refused.back", host=f'<strong dir="ltr">{escape(place)}</strong>')


def permissions(scope: tuple[str, ...], provider: str | None, *, acts: bool) -> str:
    """HTML of the list of what the client may do. `provider`: HTML of its title, None when it is still to be chosen; `acts`:
    whether it may use the account there, which is said first."""
    if not acts and not set(scope) - {"openid"}:
        words = [say("consent.scope.none")]
    else:
        words = [say(f"consent.scope.{one}") if one in OIDC_SCOPES else _of_provider(one, provider) for one in scope]
    if acts:
        words.insert(0, say("device.account") if provider is None else say("consent.account", provider=provider))
    return f'<ul class="scopes">{"".join(f"<li>{icons.CHECK}{one}</li>" for one in words)}</ul>'


def _of_provider(scope: str, provider: str | None) -> str:
    shown = f'<code dir="ltr">{escape(inert.text(scope))}</code>'
    if provider is None:
        return say("device.scope.other", scope=shown)
    return say("consent.scope.other", scope=shown, provider=provider)
