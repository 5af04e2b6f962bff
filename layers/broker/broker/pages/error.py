"""The error page: for errors that must not be redirected, because nobody can say yet where to."""

import json
from html import escape

from broker.gateway import Request, Response
from broker.pages import icons, page
from broker.pages.branding import current, say


def render(
    request: Request,
    *,
    title: str,
    explanation: str,
    code: str,
    status: int,
    retry_after: int | None = None,
    way_back: str = "",
    returns_to: str | None = None,
) -> Response:
    """The error for a person, or as JSON for a program that asks for it.

    `explanation` says what to do next; `code` is the OAuth error code, for the developer. English texts that stand in
    `broker.pages.texts` are shown in the operator's words; a program gets the English ones. `way_back` is HTML of where a
    person may go from here, and `returns_to` the URL that a form in it goes to.
    """
    headers = {"retry-after": str(retry_after)} if retry_after is not None else {}
    if "application/json" in request.headers.get("accept", ""):
        document = json.dumps({"error": code, "error_description": explanation})
        return Response(status, document, {"content-type": "application/json"} | headers)
    brand = current()
    body = (
        f'<p role="alert">{escape(brand.translated(explanation))}</p>{way_back}'
        f'<p class="support-note">{say("error.support")}</p><dl class="support">'
        f"<dt>{say('error.code')}</dt><dd><code>{escape(code)}</code></dd>"
        f"<dt>{say('error.request')}</dt><dd><code>{escape(request.request_id)}</code></dd></dl>"
    )
    shown = brand.translated(title)
    response = page.render(shown, body, status, returns_to=returns_to, sign=icons.sign(icons.ALERT))
    return Response(response.status, response.body, {**response.headers, **headers})
