"""The page on which a person chooses the provider, when the client may use several and named none.

It consumes nothing: a pushed request is still there after it was shown, for as long as a login has, and going back shows it
again.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from broker.gateway import Request, Response
from broker.pages import icons, inert, page, parts
from broker.pages.branding import current, say
from broker.protocol.clients import Client
from broker.runtime import ProviderUnusable, Runtime

if TYPE_CHECKING:
    from broker.upstream.provider import Provider


def render(request: Request, runtime: Runtime, client: Client, asked: list[tuple[str, str]]) -> Response:
    """A link per provider; each makes the same authorization request again, now with the provider named.

    asked: the request's parameters, without the provider.

    Links and not a form: browsers hold all redirects that follow a form against the page's policy, and nobody knows where a
    provider's own pages lead.
    """
    usable = [provider for name in client.providers if (provider := _usable(runtime, name))]
    title = current().text("chooser.title")
    if not usable:
        return page.render(title, f'<p role="alert">{say("chooser.none")}</p>', 503, sign=icons.sign(icons.ALERT))
    choices = "".join(_choice(request, provider, asked) for provider in usable)
    name = f"<strong>{parts.client_name(client)}</strong>"
    body = (
        f'<p>{say("chooser.intro", client=name)}</p><nav aria-label="{say("chooser.list")}">'
        f'<ul class="choices">{choices}</ul></nav>'
    )
    return page.render(title, body)


def _choice(request: Request, provider: Provider, asked: list[tuple[str, str]]) -> str:
    url = f"{request.url}?{urlencode([*asked, ('provider', provider.name)])}"
    words = say("chooser.option", provider=inert.isolated(provider.title))
    return (
        f'<li><a class="choice" href="{escape(url)}" rel="nofollow"><span class="tile" aria-hidden="true">'
        f"{inert.initial(provider.title)}</span><span>{words}</span>{icons.CHEVRON}</a></li>"
    )


def _usable(runtime: Runtime, name: str) -> Provider | None:
    try:
        return runtime.provider(name)
    except ProviderUnusable:
        return None
