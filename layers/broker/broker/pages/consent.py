"""The page that asks a person whether a client may have what it asks for.

Every name on it was chosen by somebody else, so none can change the sentence that it stands in, and the one thing about a
client that is certain, the host that the answer goes to, stands right under its name.
"""

from html import escape
from urllib.parse import urlsplit

from broker.gateway import Request, Response
from broker.grants.consent import Question, counts_later
from broker.pages import inert, page, parts
from broker.pages.branding import current, say
from broker.protocol.client_id_urls import looks_like_url
from broker.protocol.clients import Client
from broker.protocol.redirects import is_on_device


def render(request: Request, client: Client, asked: Question, login: str, provider_title: str) -> Response:
    """Who asks, for what, as whom, and where the answer goes; Allow and Deny.

    login: the login's handle, which the form brings back; provider_title: what people call the provider.
    """
    redirect_uri = asked.grant.redirect_uri
    provider = inert.isolated(provider_title)
    name = parts.client_name(client)
    fields = page.hidden_fields((("login", login), ("token", asked.form_token(client))))
    listed = parts.permissions(asked.grant.granted_scope, provider, acts=client.acts_at(asked.grant.provider))
    body = (
        f"{_where(client, redirect_uri)}{_person(asked, provider)}"
        f"<h2>{say('consent.scopes')}</h2>{listed}"
        f"{_cautions(client, name, redirect_uri)}"
        f'<form method="post" action="{escape(request.issuer)}/consent">{fields}<div class="actions">'
        f'<button type="submit" name="decision" value="allow">{say("consent.allow")}</button>'
        f'<button type="submit" name="decision" value="deny" class="quiet">{say("consent.deny")}</button></div></form>'
        f"{_remembered(client, redirect_uri)}{_links(client)}"
    )
    return page.render(
        current().text("consent.title"),
        body,
        heading=say("consent.heading", client=name, provider=provider),
        sign=_tiles(client, provider_title),
        form_targets=(request.issuer,),
        returns_to=redirect_uri,
    )


def _tiles(client: Client, provider_title: str) -> str:
    first, second = inert.initial(client.name), inert.initial(provider_title)
    return (
        f'<div class="pair" aria-hidden="true"><span class="tile">{first}</span><i></i>'
        f'<span class="tile">{second}</span></div>'
    )


def _where(client: Client, redirect_uri: str) -> str:
    """The addresses that are certain: where the answer goes, and of a client id metadata document the host it is from."""
    document = inert.host(client.client_id) if client.dynamic and looks_like_url(client.client_id) else ""
    hosts = dict.fromkeys(host for host in (document, _return_host(redirect_uri)) if host)
    shown = " · ".join(f'<code dir="ltr">{escape(host)}</code>' for host in hosts)
    return f'<p class="soft">{shown}</p>' if shown else ""


def _person(asked: Question, provider: str) -> str:
    """The account by name and address as the provider gave them, never the internal subject."""
    names = [inert.text(asked.claims.get(claim) or "") for claim in ("name", "preferred_username", "email")]
    shown = list(dict.fromkeys(name for name in names if name))
    if not shown:
        return (
            f'<div class="person"><span class="tile" aria-hidden="true">•</span>'
            f"<p>{say('consent.unnamed', provider=provider)}</p></div>"
        )
    first, *others = shown
    second = f'<br><span class="small">{inert.isolated(others[-1])}</span>' if others else ""
    return (
        f'<div class="person"><span class="tile" aria-hidden="true">{inert.initial(first)}</span>'
        f'<p><span class="small">{say("consent.person", provider=provider)}</span><br>'
        f"<strong>{inert.isolated(first)}</strong>{second}</p></div>"
    )


def _cautions(client: Client, name: str, redirect_uri: str) -> str:
    """What a person should know before he answers, the gravest first."""
    host = _return_host(redirect_uri)
    on_device = not host or is_on_device(redirect_uri)
    grave = [say("consent.device")] if on_device else []
    grave += [say("consent.unchecked")] if client.dynamic else []
    warnings = "".join(f'<p class="warning">{words}</p>' for words in grave)
    notes = [] if on_device else [say("consent.return", host=f'<strong dir="ltr">{escape(host)}</strong>')]
    notes += [] if client.first_party else [say("consent.third", client=name)]
    return f'{warnings}<p class="soft after">{" ".join(notes)}</p>' if notes else warnings


def _remembered(client: Client, redirect_uri: str) -> str:
    return f'<p class="small after">{say("consent.remembered")}</p>' if counts_later(client, redirect_uri) else ""


def _links(client: Client) -> str:
    """The client's own pages; https alone, and never fetched by this one."""
    offered = (
        ("consent.website", client.client_uri),
        ("consent.policy", client.policy_uri),
        ("consent.terms", client.tos_uri),
    )
    listed = "".join(
        f'<li><a href="{escape(url)}" target="_blank" rel="noopener noreferrer">{say(key)}</a></li>'
        for key, url in offered
        if url and urlsplit(url).scheme == "https"
    )
    return f'<nav aria-label="{say("consent.links")}"><ul class="about">{listed}</ul></nav>' if listed else ""


def _return_host(redirect_uri: str) -> str:
    return inert.host(redirect_uri)
