"""The error page: for errors that must not be redirected, because nobody can say yet where to."""

import json
from html import escape

from broker.gateway import Request, Response
from broker.pages import page


def render(
    request: Request, *, title: str, explanation: str, code: str, status: int, retry_after: int | None = None
) -> Response:
    """The error for a person, or as JSON for a program that asks for it.

    `explanation` says what to do next; `code` is the OAuth error code, for the developer.
    """
    headers = {"retry-after": str(retry_after)} if retry_after is not None else {}
    if "application/json" in request.headers.get("accept", ""):
        document = json.dumps({"error": code, "error_description": explanation})
        return Response(status, document, {"content-type": "application/json"} | headers)
    reference = f'<p class="soft">For support: <code>{escape(code)}</code>, request <code>{escape(request.request_id)}</code></p>'
    response = page.render(title, f"<p>{escape(explanation)}</p>{reference}", status)
    return Response(response.status, response.body, {**response.headers, **headers})
