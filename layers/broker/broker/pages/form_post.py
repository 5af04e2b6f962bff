"""The answer of an authorization request as a form that the browser sends to the client (OAuth 2.0 Form Post Response Mode)."""

from collections.abc import Sequence
from html import escape

from broker.gateway import Request, Response
from broker.pages import page
from broker.pages.branding import current, say

SCRIPT_PATH = "/assets/form-post.js"
SCRIPT = "document.forms[0].submit();\n"
"""Sends the form by itself where scripts run; the button does it everywhere else."""


def render(
    request: Request, redirect_uri: str, parameters: Sequence[tuple[str, str]], cookies: tuple[str, ...]
) -> Response:
    """The form with the answer's parameters, to `redirect_uri`."""
    body = (
        f"<p>{say('return.intro')}</p>"
        f'<form method="post" action="{escape(redirect_uri)}">{page.hidden_fields(parameters)}'
        f'<button type="submit">{say("return.button")}</button></form>'
    )
    script = request.issuer + SCRIPT_PATH
    response = page.render(current().text("return.title"), body, returns_to=redirect_uri, script=script)
    return Response(response.status, response.body, response.headers, cookies)
