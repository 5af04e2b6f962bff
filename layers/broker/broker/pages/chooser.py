"""The page on which a person chooses the provider, when the client may use several and named none."""

from html import escape

from broker.gateway import Request, Response
from broker.pages import page
from broker.protocol.clients import Client
from broker.protocol.parameters import Parameters
from broker.runtime import ProviderUnusable, Runtime


def render(request: Request, runtime: Runtime, client: Client, parameters: Parameters) -> Response:
    """A button per provider; each sends the same authorization request again, now with the provider named."""
    usable = [name for name in client.providers if _is_usable(runtime, name)]
    buttons = "".join(
        f'<button type="submit" name="provider" value="{escape(name)}">{escape(name)}</button>' for name in usable
    )
    fields = page.hidden_fields((name, value) for name, value in parameters.pairs() if name != "provider")
    body = (
        f"<p>{escape(client.name)} asks you to sign in. Where do you have an account?</p>"
        f'<form method="get" action="{escape(request.issuer)}/authorize">{fields}{buttons}</form>'
    )
    providers = [runtime.provider(name).authorize.url for name in usable]
    return page.render("Choose how to sign in", body, form_targets=(request.issuer, *providers))


def _is_usable(runtime: Runtime, name: str) -> bool:
    try:
        runtime.provider(name)
    except ProviderUnusable:
        return False
    return True
