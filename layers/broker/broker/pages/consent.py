"""The page that asks a person whether a client may have what it asks for."""

from html import escape
from urllib.parse import urlsplit

from broker.gateway import Request, Response
from broker.grants.consent import Question
from broker.pages import page
from broker.protocol.clients import Client


def render(request: Request, client: Client, asked: Question, login: str) -> Response:
    """Who asks, for what, as whom, and where the answer goes; Allow and Deny."""
    person = asked.claims.get("name") or asked.claims.get("preferred_username") or asked.grant.subject
    target = urlsplit(asked.grant.redirect_uri)
    scopes = "".join(f"<li>{escape(scope)}</li>" for scope in asked.grant.scope)
    fields = page.hidden_fields((("login", login), ("token", asked.form_token)))
    body = (
        f"<p><strong>{escape(client.name)}</strong> wants to use your {escape(asked.grant.provider)} account.</p>"
        f"<p>You are signed in as <strong>{escape(str(person))}</strong>.</p><ul>{scopes}</ul>"
        f'<p class="soft">You will return to <code>{escape(target.netloc or target.scheme)}</code>.</p>'
        f'<form method="post" action="{escape(request.issuer)}/consent">{fields}'
        '<button type="submit" name="decision" value="allow">Allow</button> '
        '<button type="submit" name="decision" value="deny">Deny</button></form>'
    )
    return page.render(f"Allow {client.name}?", body, form_targets=(request.issuer, asked.grant.redirect_uri))
