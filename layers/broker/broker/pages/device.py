"""The pages of the device authorization grant (RFC 8628 section 3.3): the code, the question, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from broker.gateway import Request, Response
from broker.pages import error as error_page
from broker.pages import icons, inert, page, parts
from broker.pages.branding import current, say
from broker.protocol import device
from broker.protocol.clients import Client
from broker.protocol.errors import ACCESS_DENIED, TEMPORARILY_UNAVAILABLE, OAuthError
from broker.store.grants import Grant

if TYPE_CHECKING:
    from broker.upstream.provider import Provider


def enter(request: Request, prefilled: str, token: str, *, problem: str = "", status: int = 200) -> Response:
    """The form for the code that the device shows."""
    described = ' aria-describedby="problem" aria-invalid="true"' if problem else ""
    body = (
        f"<p>{say('device.intro')}</p>{_problem(problem)}"
        f'<form method="post" action="{escape(request.issuer)}/device">{page.hidden_fields((("token", token),))}'
        f'<label for="user_code">{say("device.code")}</label>'
        f'<input id="user_code" class="code" name="user_code" value="{escape(prefilled)}" type="text" inputmode="text" required'
        ' autofocus dir="ltr" autocomplete="off" autocapitalize="characters" spellcheck="false" maxlength="20"'
        f' placeholder="XXXX-XXXX"{described}><button type="submit">{say("device.continue")}</button></form>'
    )
    title = current().text("device.title")
    return page.render(title, body, status, form_targets=(request.issuer,), sign=icons.sign(icons.DEVICE))


def confirm(
    request: Request,
    client: Client,
    login: Grant,
    choice: Mapping[str, Provider],
    user_code: str,
    token: str,
    *,
    problem: str = "",
    status: int = 200,
) -> Response:
    """Who asks, for what, and the warning against codes that somebody else sent (RFC 8628 section 5.4).

    `choice`: the providers that the person may choose from, by name.
    """
    fields = page.hidden_fields((("user_code", user_code), ("token", token)))
    titles = [inert.isolated(provider.title) for provider in choice.values()]
    unchecked = f'<p class="warning">{say("device.unchecked")}</p>' if client.dynamic else ""
    acts = any(client.acts_at(name) for name in choice)
    asked = parts.permissions(login.scope, titles[0] if len(titles) == 1 else None, acts=acts)
    body = (
        f"{_problem(problem)}<p>{say('device.compare')}</p>"
        f'<p class="usercode"><code dir="ltr">{device.shown(user_code)}</code></p>'
        f'<p class="warning">{say("device.warning")}</p>{unchecked}<h2>{say("consent.scopes")}</h2>{asked}'
        f'<form method="post" action="{escape(request.issuer)}/device">{fields}{_providers(choice)}<div class="actions">'
        f'<button type="submit" name="decision" value="allow">{say("device.continue")}</button>'
        f'<button type="submit" name="decision" value="deny" formnovalidate class="quiet">{say("consent.deny")}</button>'
        "</div></form>"
    )
    return page.render(
        current().text("device.title"),
        body,
        status,
        heading=say("device.heading", client=parts.client_name(client)),
        form_targets=(request.issuer,),
        # Where a provider's own pages lead nobody knows, only that they are served as this one is.
        returns_to=request.issuer,
        sign=icons.sign(icons.DEVICE),
    )


def approved(cookies: tuple[str, ...]) -> Response:
    """The person is done here; the device goes on by itself."""
    body = f"<p>{say('device.approved.next')}</p>"
    response = page.render(current().text("device.approved"), body, sign=icons.sign(icons.DONE))
    return Response(response.status, response.body, response.headers, cookies)


def denied(cookies: tuple[str, ...] = ()) -> Response:
    """The person refused, here or at the provider."""
    body = f"<p>{say('device.denied.next')}</p>"
    response = page.render(current().text("device.denied"), body, sign=icons.sign(icons.ALERT))
    return Response(response.status, response.body, response.headers, cookies)


def failed(request: Request, error: OAuthError, cookies: tuple[str, ...]) -> Response:
    """The provider did not bring the person back with an access."""
    if error.kind is ACCESS_DENIED:
        return denied(cookies)
    response = error_page.render(
        request,
        title="The device was not connected",
        explanation="The sign-in could not be completed. You can enter the code of your device again.",
        code=error.kind.code,
        status=503 if error.kind is TEMPORARILY_UNAVAILABLE else 502,
        retry_after=error.retry_after,
    )
    return Response(response.status, response.body, response.headers, cookies)


def _providers(choice: Mapping[str, Provider]) -> str:
    if len(choice) < 2:
        return ""
    options = "".join(
        f'<label class="choice"><input type="radio" name="provider" value="{escape(name)}" required>'
        f"<span>{inert.isolated(provider.title)}</span></label>"
        for name, provider in choice.items()
    )
    return f'<fieldset class="choices"><legend>{say("device.provider")}</legend>{options}</fieldset>'


def _problem(text: str) -> str:
    return f'<p id="problem" class="warning" role="alert">{escape(current().translated(text))}</p>' if text else ""
