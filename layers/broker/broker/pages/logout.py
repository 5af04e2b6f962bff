"""The pages of signing out: the question whether to, and the word that it is done."""

from html import escape

from broker.gateway import Request, Response
from broker.pages import icons, page, parts
from broker.pages.branding import current, say
from broker.protocol.clients import Client
from broker.protocol.parameters import Parameters

_BROUGHT_BACK = ("client_id", "post_logout_redirect_uri", "state")


def question(request: Request, client: Client, parameters: Parameters, token: str) -> Response:
    """Sign out? `parameters`: the request, which the form repeats; `token`: proof that this browser was asked (CSRF)."""
    repeated = [(name, value) for name, value in parameters.pairs() if name in _BROUGHT_BACK and value]
    body = (
        f"<p>{say('logout.question', client=parts.client_name(client))}</p>"
        f'<form method="post" action="{escape(request.issuer)}/logout">'
        f'{page.hidden_fields((*repeated, ("token", token)))}<div class="actions">'
        f'<button type="submit">{say("logout.button")}</button></div></form>'
    )
    return page.render(
        current().text("logout.ask"),
        body,
        form_targets=(request.issuer,),
        returns_to=parameters.get("post_logout_redirect_uri"),
        sign=icons.sign(icons.LEAVE),
    )


def done(client: Client, return_to: str | None = None) -> Response:
    """You are signed out. `return_to`: where the person may go from here, an address that nobody has checked."""
    body = f'<p>{say("logout.done", client=parts.client_name(client))}</p><p class="soft">{say("logout.provider")}</p>'
    if return_to is not None:
        link = f'<a href="{escape(return_to)}" rel="noreferrer">{parts.way_back(return_to)}</a>'
        body += f'<p class="warning">{say("consent.unchecked")}</p><p>{link}</p>'
    return page.render(current().text("logout.title"), body, sign=icons.sign(icons.DONE))
