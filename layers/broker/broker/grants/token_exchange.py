"""Token exchange (RFC 8693): the provider's access token, fresh, for a client that the operator lets have it.

The subject token is an access token of the broker's, of this client or for a resource that this client answers for. Must never
give the provider's refresh token, nor a token of any provider but the login's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker import audit, clock
from broker.crypto import tokens
from broker.crypto.tokens import AccessToken
from broker.grants import alive, granted_scope, reconnect, vault
from broker.grants.issuing import Issuer
from broker.protocol.clients import Client
from broker.protocol.errors import (
    INVALID_DPOP_PROOF,
    INVALID_GRANT,
    INVALID_REQUEST,
    INVALID_SCOPE,
    INVALID_TARGET,
    UNAUTHORIZED_CLIENT,
    OAuthError,
)
from broker.protocol.token_exchange import ACCESS_TOKEN_TYPE, ExchangeRequest
from broker.runtime import ProviderUnusable, Runtime
from broker.store.grants import Grant
from broker.store.links import Link
from broker.upstream.api import base_of
from broker.upstream.failures import UpstreamFailure
from broker.upstream.tokens import UpstreamTokens

if TYPE_CHECKING:
    from broker.upstream.provider import Provider, TokenPlacement


@dataclass(frozen=True)
class ExchangeAnswer:
    """A successful answer (RFC 8693 section 2.2.1). expires_in: seconds, None when the provider does not say.

    scope: what the provider granted, None when it is not known.
    """

    access_token: str = field(repr=False)
    token_type: str
    expires_in: int | None
    scope: tuple[str, ...] | None

    def document(self) -> dict[str, object]:
        """The members of the JSON answer."""
        members: dict[str, object] = {
            "access_token": self.access_token,
            "issued_token_type": ACCESS_TOKEN_TYPE,
            "token_type": self.token_type,
        }
        if self.expires_in is not None:
            members["expires_in"] = self.expires_in
        if self.scope is not None:
            members["scope"] = " ".join(self.scope)
        return members


def exchange(runtime: Runtime, issuer: Issuer, client: Client, asked: ExchangeRequest) -> ExchangeAnswer:
    """The access token of the provider that the login is at.

    Errors: OAuthError invalid_request for the subject token (RFC 8693 section 2.2.2), invalid_target, invalid_scope,
    unauthorized_client, invalid_dpop_proof; invalid_grant with the way to reconnect when the provider gives no more tokens;
    temporarily_unavailable. StoreUnavailable.
    """
    if not client.token_exchange:
        raise OAuthError(UNAUTHORIZED_CLIENT, "this client may not have any provider's token")
    token = _subject_token(issuer, client, asked.subject_token)
    grant, link = _login(runtime, issuer, client, token)
    try:
        provider = runtime.provider(grant.provider)
        _check_target(runtime, provider, vault.held_tokens(link, token.grant_secret), asked)
        if provider.name not in client.token_exchange:
            raise OAuthError(UNAUTHORIZED_CLIENT, "this client may not have tokens of this provider")
        fresh = vault.fresh_tokens(runtime, provider, link, token.grant_secret).tokens
        granted_scope.note(runtime, grant, fresh)
    except ProviderUnusable as error:
        raise vault.temporarily_unavailable(error.detail, 60) from None
    except vault.LinkDead as dead:
        raise reconnect.required(runtime, issuer.url, grant, INVALID_GRANT, dead.reason) from None
    except vault.LinkUnavailable as error:
        raise vault.temporarily_unavailable("the provider's token cannot be renewed", error.retry_after) from None
    if set(asked.scope or ()) - set(fresh.scope or ()):
        raise OAuthError(INVALID_SCOPE, "the provider has not granted that scope")
    audit.event("upstream.token_given", grant_id=grant.grant_id, client_id=client.client_id, provider=provider.name)
    return _answer(provider, fresh)


def _subject_token(issuer: Issuer, client: Client, text: str) -> AccessToken:
    """The subject token, if this client may use it. No I/O."""
    token = tokens.read_access_token(text, issuer.ring, issuer.url)
    if token is None:
        raise _refused("the subject_token is not valid here, or has expired")
    if token.client_id == client.client_id:
        # RFC 9449 section 7: who found a bound token must not get an unbound one for it.
        if token.cnf_jkt is not None and token.cnf_jkt != issuer.jkt:
            raise OAuthError(INVALID_DPOP_PROOF, "the subject_token is bound to a key, which a DPoP header must prove")
        # RFC 9700 section 4.9: the resource that is called with the token could give a public client's id as well.
        if client.is_public and token.cnf_jkt is None and issuer.url not in token.audience:
            raise _refused("the subject_token is for a resource, and nothing proves that it comes from its client")
        return token
    # A backend that was called with the token. It cannot have the caller's key, and has checked the caller's proof itself.
    # The issuer is the audience of tokens that are meant for no backend; one that may introspect them was not called with them.
    if client.is_public or not (set(token.audience) - {issuer.url}) & set(client.served_resources):
        raise _refused("the subject_token was issued to another client, and not for a resource of this one")
    return token


def _login(runtime: Runtime, issuer: Issuer, client: Client, token: AccessToken) -> tuple[Grant, Link]:
    """The login of the subject token with the provider's tokens, in one read."""
    holder = client if token.client_id == client.client_id else runtime.client(token.client_id)
    if holder is None or holder.disabled:
        raise _refused("the client of the subject_token is no longer registered")
    grant, link = runtime.grants.read(token.grant_id)
    if grant is None or not alive.stands_behind_access(grant, token.grant_secret):
        where = reconnect.url_after_end(runtime, issuer.url, grant) if grant is not None else None
        if where is not None:
            raise OAuthError(INVALID_GRANT, "the provider has revoked the access", reconnect_url=where)
        raise _refused("the login of the subject_token has ended")
    if link is None:
        raise reconnect.required(runtime, issuer.url, grant, INVALID_GRANT, "gone")
    return grant, link


def _check_target(runtime: Runtime, provider: Provider, held: UpstreamTokens, asked: ExchangeRequest) -> None:
    """Every target named is the login's own provider. Errors: OAuthError invalid_target (RFC 8693 section 2.2.2)."""
    if asked.audience not in (None, provider.name):
        raise OAuthError(INVALID_TARGET, "the audience is not the provider of this login")
    if asked.resource is None:
        return
    try:
        base = base_of(provider, runtime.provider_credentials(provider.name), held)
    except UpstreamFailure:
        base = None
    if base is None or asked.resource.rstrip("/") != base.rstrip("/"):
        raise OAuthError(INVALID_TARGET, "the resource is not the API of this login's provider")


def _answer(provider: Provider, fresh: UpstreamTokens) -> ExchangeAnswer:
    left = None if fresh.expires_at is None else max(1, fresh.expires_at - clock.now())
    token_type = "Bearer" if _is_bearer(provider.api.token) else "N_A"
    return ExchangeAnswer(fresh.access_token, token_type, left, fresh.scope)


def _is_bearer(placement: TokenPlacement) -> bool:
    """Whether the provider's API takes the token as RFC 6750 section 2 says; else no token type says how (RFC 8693 2.2.1)."""
    if placement.place == "query":
        return placement.name == "access_token"
    return placement.name.lower() == "authorization" and placement.text.lower() == "bearer {access_token}"


def _refused(description: str) -> OAuthError:
    """RFC 8693 section 2.2.2: whatever is wrong with a subject token is an invalid_request."""
    return OAuthError(INVALID_REQUEST, description)
