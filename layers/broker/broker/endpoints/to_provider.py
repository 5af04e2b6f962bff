"""The step from a login to the provider's own pages: the upstream authorization request and the browser's cookie."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.crypto import handles
from broker.crypto.handles import Handle, Kind
from broker.endpoints import cookies, redirect_answer
from broker.gateway import Request, Response
from broker.grants import upstream_login
from broker.protocol.errors import TEMPORARILY_UNAVAILABLE, OAuthError
from broker.protocol.scopes import provider_scope
from broker.runtime import ProviderUnusable, Runtime
from broker.store.grants import Grant
from broker.upstream.authorization import authorization_url

if TYPE_CHECKING:
    from broker.upstream.provider import Provider


@dataclass(frozen=True)
class Departure:
    """Everything that sends one browser to one provider for one login. Made without I/O but for cached reads, so that
    whatever can fail fails before the login is written."""

    location: str = field(repr=False)
    cookie_name: str
    cookie_value: str = field(repr=False)
    browser_hash: bytes = field(repr=False)
    by_form: bool = False

    def response(self, request: Request, runtime: Runtime) -> Response:
        """The redirect, with this login's cookie and without those of too many abandoned ones."""
        lifetime = runtime.settings.login_lifetime
        cookie = cookies.set_login(request, self.cookie_name, self.cookie_value, lifetime, by_form=self.by_form)
        old = [name for name in cookies.surplus_logins(request) if name != self.cookie_name]
        return redirect_answer.see_other(self.location, (cookie, *(cookies.clear_login(request, name) for name in old)))


def prepare(
    request: Request,
    runtime: Runtime,
    login: Grant,
    provider_name: str,
    login_hint: str = "",
    browser_secret: str | None = None,
) -> Departure:
    """The departure for a login, whose own provider may still be open, with what its client asked for.

    login_hint: whom the client expects to sign in. It is in the address alone, as no later step needs it.
    browser_secret: what will be in the browser's cookie, None for a random one.

    Errors: OAuthError temporarily_unavailable, StoreUnavailable.
    """
    provider, grant_id = usable_provider(runtime, provider_name), login.grant_id
    key = runtime.keys.ring().handle_key()
    state = handles.make(Handle(Kind.STATE, grant_id, key_id=key.id), key)
    transaction = upstream_login.Transaction.of(provider, key, grant_id, request.issuer, state)
    browser_secret = browser_secret or secrets.token_urlsafe(handles.SECRET_BYTES)
    location = authorization_url(
        provider,
        runtime.provider_credentials(provider.name),
        redirect_uri=transaction.redirect_uri,
        state=state,
        scope=provider_scope(login.scope),
        code_challenge=transaction.code_challenge,
        nonce=transaction.nonce,
        max_age=login.max_age,
        prompts=login.provider_prompts,
        login_hint=login_hint,
    )
    return Departure(
        location=location,
        cookie_name=cookies.login_cookie_name(request, upstream_login.cookie_key(provider, grant_id)),
        cookie_value=f"{state}.{browser_secret}",
        browser_hash=handles.fingerprint(browser_secret.encode()),
        by_form=provider.answers_by_form,
    )


def usable_provider(runtime: Runtime, name: str) -> Provider:
    """The provider. Errors: OAuthError temporarily_unavailable when it cannot be used now."""
    try:
        return runtime.provider(name)
    except ProviderUnusable as error:
        raise OAuthError(TEMPORARILY_UNAVAILABLE, "the provider cannot be used now", detail=error.detail) from None
