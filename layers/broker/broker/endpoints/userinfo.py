"""Userinfo (OpenID Connect Core section 5.3): the provider's own answer about the person, in standard claims.

The provider's token is opened with the grant secret in the access token, used, and never shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker import audit
from broker.crypto.tokens import AccessToken
from broker.endpoints import bearer, cors
from broker.endpoints.bearer import Session
from broker.endpoints.entry import json_response, method_not_allowed, unavailable
from broker.endpoints.rate_limits import Gate
from broker.gateway import Request, Response
from broker.grants import granted_scope, reconnect, reconnect_request, vault
from broker.grants.subjects import subject_of
from broker.grants.vault import Fresh
from broker.protocol.claims import claims_for
from broker.protocol.clients import Client
from broker.protocol.errors import (
    BAD_GATEWAY,
    GATEWAY_TIMEOUT,
    INSUFFICIENT_SCOPE,
    INVALID_TOKEN,
    PROVIDER_FORBIDS,
    SERVER_ERROR,
    TEMPORARILY_UNAVAILABLE,
    TOO_MANY_REQUESTS,
    ErrorKind,
    OAuthError,
)
from broker.protocol.scopes import provider_scope
from broker.runtime import ProviderUnusable, Runtime
from broker.store.aws import StoreUnavailable
from broker.store.links import Link
from broker.upstream.failures import FailureKind, UpstreamFailure, answer_in_userinfo
from broker.upstream.renewal import can_refresh

if TYPE_CHECKING:
    from broker.upstream.dialect import Profile
    from broker.upstream.provider import Provider
    from broker.upstream.tokens import UpstreamTokens

REFUSED = "userinfo.refused"
"""The audit event for an access token whose login has ended."""
_BY_STATUS: dict[int, ErrorKind] = {
    401: INVALID_TOKEN,
    403: PROVIDER_FORBIDS,
    429: TOO_MANY_REQUESTS,
    502: BAD_GATEWAY,
    503: TEMPORARILY_UNAVAILABLE,
    504: GATEWAY_TIMEOUT,
}


def respond(request: Request, runtime: Runtime) -> Response:
    """GET or POST /userinfo."""
    return bearer.with_nonce(request, runtime, _respond(request, runtime))


def _respond(request: Request, runtime: Runtime) -> Response:
    if request.method == "OPTIONS":
        return cors.preflight(request, runtime, "GET, POST")
    if request.method not in ("GET", "HEAD", "POST"):
        return method_not_allowed("GET", "POST", headers=cors.headers_of_error(request, runtime, None))
    return bearer.opened(request, runtime, "userinfo", lambda: _token(request, runtime), _answer)


def _token(request: Request, runtime: Runtime) -> AccessToken:
    bearer.refuse_token_in_query(request)
    return bearer.access_token(request, runtime, in_form=True)


def _answer(request: Request, runtime: Runtime, token: AccessToken, gate: Gate) -> Response:
    client: Client | None = None
    try:
        gate.admit()
        client = bearer.client_of(runtime, token)
        gate.count(None)
        bearer.check_key(request, runtime, token)
        _require_openid(token)
        session = bearer.session_of(runtime, token, client, REFUSED)
        gate.forgive()  # what the provider refuses from here on is no guess at anything of ours
        return json_response(_claims(runtime, request.issuer, session), headers=cors.headers(request, client))
    except OAuthError as error:
        gate.forgive_if_a_step(error)
        return bearer.challenge(request, runtime, client, error, scope="openid")
    except StoreUnavailable as error:
        audit.unavailable(error)
        return bearer.challenge(request, runtime, client, unavailable())


def _require_openid(token: AccessToken) -> None:
    if "openid" not in token.scope:
        raise OAuthError(INSUFFICIENT_SCOPE, "the access token has no openid scope")


def _claims(runtime: Runtime, issuer: str, session: Session) -> dict[str, object]:
    profile = profile_of(runtime, issuer, session)
    claims = claims_for(session.token.scope, dict(profile.claims)) if profile else {}
    return {"sub": session.grant.subject} | claims


def profile_of(runtime: Runtime, issuer: str, session: Session) -> Profile | None:
    """What the provider says about the person now; None for a provider that cannot be asked. Errors: OAuthError."""
    try:
        provider = runtime.provider(session.grant.provider)
        profile = _profile(runtime, provider, session) if provider.has_userinfo else _kept_profile(provider, session)
        if profile is None:
            return None
    except ProviderUnusable as error:
        raise OAuthError(
            TEMPORARILY_UNAVAILABLE, "the provider cannot be asked", detail=error.detail, retry_after=60
        ) from None
    except vault.LinkDead as dead:
        raise reconnect.required(runtime, issuer, session.grant, INVALID_TOKEN, dead.reason) from None
    except vault.LinkUnavailable as error:
        raise vault.temporarily_unavailable("the provider's token cannot be renewed", error.retry_after) from None
    if subject_of(session.grant.provider, profile.subject) != session.grant.subject:
        # OpenID Connect Core section 5.3.2: the claims of another subject must not be used.
        raise OAuthError(SERVER_ERROR, "the provider answered about somebody else")
    return profile


def _profile(runtime: Runtime, provider: Provider, session: Session) -> Profile:
    """The provider's answer; a token that it rejects is refreshed once and the call repeated once."""
    from broker.upstream.dialect import fetch_profile

    credentials = runtime.provider_credentials(provider.name)
    try:
        fresh = _fresh(runtime, provider, session, session.link)
        may_renew = _may_renew(provider, session, fresh)
        deadline = vault.call_deadline(runtime, before_refresh=may_renew)
        try:
            return fetch_profile(provider, credentials, runtime.http, fresh.tokens, deadline=deadline)
        except UpstreamFailure as failure:
            if not may_renew or not _is_for_a_new_token(provider, fresh.tokens, failure):
                raise
        fresh = _fresh(runtime, provider, session, fresh.link, rejected_version=fresh.link.version)
        deadline = vault.call_deadline(runtime, before_refresh=False)
        return fetch_profile(provider, credentials, runtime.http, fresh.tokens, deadline=deadline)
    except UpstreamFailure as failure:
        vault.report(session.grant.grant_id, provider.name, "userinfo", failure)
        raise _upstream_error(runtime, session, failure) from None


def _may_renew(provider: Provider, session: Session, fresh: Fresh) -> bool:
    """Whether a token is to be renewed if it is refused. One that a renewal has just brought is not: it stays refused."""
    if fresh.link.version != session.link.version:
        return False
    return session.link.is_first or not can_refresh(provider, fresh.tokens) or not vault.is_new(fresh.link)


def _is_for_a_new_token(provider: Provider, tokens: UpstreamTokens, failure: UpstreamFailure) -> bool:
    """Whether to renew the token. A login whose token cannot be renewed ends by that, so the refusal must be of the token for
    certain: a wrong secret of the broker's ends no login.
    """
    is_certain = failure.kind is not FailureKind.TOKEN_OR_CLIENT_REFUSED
    return answer_in_userinfo(failure).refresh_and_repeat and (is_certain or can_refresh(provider, tokens))


def _kept_profile(provider: Provider, session: Session) -> Profile | None:
    """What the provider's ID token said at the login; None where the login had none to go by."""
    from broker.upstream import id_token

    grant = session.grant
    tokens = vault.held_tokens(session.link, session.token.grant_secret)
    profile = id_token.kept_profile(provider, provider_scope(grant.scope), tokens)
    return profile if profile and subject_of(grant.provider, profile.subject) == grant.subject else None


def _fresh(
    runtime: Runtime, provider: Provider, session: Session, link: Link, rejected_version: int | None = None
) -> Fresh:
    fresh = vault.fresh_tokens(runtime, provider, link, session.token.grant_secret, rejected_version=rejected_version)
    granted_scope.note(runtime, session.grant, fresh.tokens)
    return fresh


def _upstream_error(runtime: Runtime, session: Session, failure: UpstreamFailure) -> OAuthError:
    answer = answer_in_userinfo(failure)
    descriptions = {
        401: "the provider has revoked the access, please log in again",
        403: "the provider does not allow this with the scope that was granted",
        429: "the provider asks to come back later",
        504: "the provider did not answer in time",
    }
    # The login goes on, and its link may work for other calls; what this one wants, only the person can give.
    # So can he where nobody knows whether his access or the broker's secret is refused.
    asks_person = answer.status in (401, 403) or failure.kind is FailureKind.TOKEN_OR_CLIENT_REFUSED
    token, grant = session.token, session.grant
    return OAuthError(
        _BY_STATUS[answer.status],
        descriptions.get(answer.status, "the provider could not answer"),
        retry_after=answer.retry_after,
        reconnect_url=reconnect_request.url(runtime.keys.ring(), token.issuer, grant) if asks_person else None,
    )
