"""The page for a wrong authorization request of a client that registered itself, with a way back that the person may take.

Must never lead anywhere by itself: the address belongs to somebody whom nobody has checked.
"""

from collections.abc import Sequence
from html import escape

from broker.gateway import Request, Response
from broker.pages import error as error_page
from broker.pages import page, parts
from broker.pages.branding import say
from broker.protocol.authorization_request import ReturnAddress
from broker.protocol.errors import OAuthError
from broker.protocol.redirects import with_parameters


def render(request: Request, address: ReturnAddress, answer: Sequence[tuple[str, str]], error: OAuthError) -> Response:
    """The error, where the application is, and the error response (`answer`) behind a link or, as a form, a button."""
    by_form = address.response_mode == "form_post"
    words = parts.way_back(address.redirect_uri)
    if by_form:
        way = (
            f'<form method="post" action="{escape(address.redirect_uri)}">{page.hidden_fields(answer)}'
            f'<button type="submit" class="quiet">{words}</button></form>'
        )
    else:
        target = with_parameters(address.redirect_uri, answer)
        way = f'<p><a href="{escape(target)}" rel="noreferrer">{words}</a></p>'
    explanation = "The application asked for something that it cannot have here, or asked in a wrong way."
    return error_page.render(
        request,
        title="Sign-in cannot go on",
        explanation="Please try again in a moment." if error.kind.status >= 500 else explanation,
        code=error.kind.code,
        status=error.kind.status,
        retry_after=error.retry_after,
        way_back=f'<p class="warning">{say("consent.unchecked")}</p>{way}',
        returns_to=address.redirect_uri if by_form else None,
    )
