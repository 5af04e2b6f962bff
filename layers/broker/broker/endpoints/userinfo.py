"""Userinfo (OpenID Connect Core section 5.3): the provider's own answer about the person, in standard claims.

The provider's token is opened with the grant secret in the access token, used, and never shown.
"""

from dataclasses import dataclass, replace

from broker import audit
from broker.crypto import sealing, tokens
from broker.crypto.tokens import AccessToken
from broker.endpoints import cors
from broker.endpoints.entry import error_response, json_response, method_not_allowed, unavailable
from broker.gateway import Request, Response
from broker.grants import alive, ending, vault
from broker.grants.subjects import subject_of
from broker.protocol import dpop
from broker.protocol.capabilities import claims_for, protected_resource_metadata_url
from broker.protocol.clients import Client
from broker.protocol.errors import (
    BAD_GATEWAY,
    GATEWAY_TIMEOUT,
    INSUFFICIENT_SCOPE,
    INVALID_REQUEST,
    INVALID_TOKEN,
    PROVIDER_FORBIDS,
    SERVER_ERROR,
    TEMPORARILY_UNAVAILABLE,
    TOO_MANY_REQUESTS,
    ErrorKind,
    OAuthError,
)
from broker.protocol.parameters import MalformedParameters
from broker.runtime import ProviderUnusable, Runtime
from broker.store.aws import StoreUnavailable
from broker.store.grants import Grant, Link
from broker.upstream.dialect import Profile, fetch_profile
from broker.upstream.failures import UpstreamFailure, answer_in_userinfo
from broker.upstream.http import Deadline
from broker.upstream.schema import Provider

_BY_STATUS: dict[int, ErrorKind] = {
    202: TEMPORARILY_UNAVAILABLE,  # "repeat the same request later", which a userinfo client cannot read from a 2xx
    401: INVALID_TOKEN,
    403: PROVIDER_FORBIDS,
    429: TOO_MANY_REQUESTS,
    502: BAD_GATEWAY,
    503: TEMPORARILY_UNAVAILABLE,
    504: GATEWAY_TIMEOUT,
}


class NoCredentials(Exception):
    """The request has no access token: a challenge without an error code (RFC 6750 section 3.1)."""


@dataclass(frozen=True)
class Session:
    """A login that its access token opened."""

    token: AccessToken
    grant: Grant
    link: Link
    client: Client


def respond(request: Request, runtime: Runtime) -> Response:
    """GET or POST /userinfo."""
    response = _respond(request, runtime)
    if "dpop" not in request.headers:
        return response
    from broker.endpoints import dpop_proofs

    return dpop_proofs.with_nonce(runtime, response)


def _respond(request: Request, runtime: Runtime) -> Response:
    if request.method == "OPTIONS":
        return cors.preflight(request, runtime, "GET, POST")
    if request.method not in ("GET", "HEAD", "POST"):
        return method_not_allowed("GET", "POST")
    client: Client | None = None
    try:
        token = access_token(request, runtime)
        client = client_of(runtime, token)
        check_key(request, runtime, token)
        _require_openid(token)
        session = session_of(runtime, token, client)
        return json_response(_claims(runtime, request.issuer, session), headers=cors.headers(request, client))
    except NoCredentials:
        return _challenge(request, runtime, client, None)
    except OAuthError as error:
        return _challenge(request, runtime, client, error)
    except StoreUnavailable as error:
        audit.event("store.unavailable", detail=error.detail)
        return _challenge(request, runtime, client, unavailable())


def access_token(request: Request, runtime: Runtime) -> AccessToken:
    """The token presented, by header or form body and never by the query (OAuth 2.1 section 5.1). No I/O."""
    text = token_text(request)
    token = tokens.read_access_token(text, runtime.keys.ring(), request.issuer)
    if token is None or request.issuer not in token.audience:
        raise OAuthError(INVALID_TOKEN, "the access token is not valid here, or has expired")
    return token


def token_text(request: Request) -> str:
    """The text of the access token. Errors: NoCredentials; OAuthError when there is more than one, or none after the scheme."""
    authorization = request.headers.get("authorization")
    in_body = _token_in_body(request)
    if authorization is None:
        if in_body is None:
            raise NoCredentials
        return in_body
    if in_body is not None:
        raise OAuthError(INVALID_REQUEST, "the access token is there in more than one way")
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() not in ("bearer", "dpop"):
        raise NoCredentials
    text = text.strip()
    if not text or "," in text or " " in text:
        # API Gateway joins two Authorization headers with a comma, which no token has.
        raise OAuthError(INVALID_REQUEST, "the Authorization header must have exactly one access token")
    return text


def _token_in_body(request: Request) -> str | None:
    if request.method != "POST" or not request.has_form():
        return None
    try:
        form = request.form()
    except MalformedParameters as error:
        raise OAuthError(INVALID_REQUEST, str(error)) from None
    form.reject_repeated()
    return form.get("access_token")


def client_of(runtime: Runtime, token: AccessToken) -> Client:
    """The client that the token was issued to. Errors: OAuthError invalid_token when it is gone."""
    client = runtime.client(token.client_id)
    if client is None or client.disabled:
        raise OAuthError(INVALID_TOKEN, "the client of this access token is no longer registered")
    return client


def _uses_dpop(request: Request) -> bool:
    return request.headers.get("authorization", "").partition(" ")[0].lower() == "dpop"


def check_key(request: Request, runtime: Runtime, token: AccessToken) -> None:
    """A bound token comes with a proof of its key, and only such a token does (RFC 9449 sections 7.1 and 7.2).

    Errors: OAuthError with status 401.
    """
    if not _uses_dpop(request):
        if token.cnf_jkt is not None:
            raise OAuthError(INVALID_TOKEN, "the access token is bound to a key, it needs the scheme DPoP and a proof")
        return
    if token.cnf_jkt is None:
        raise OAuthError(INVALID_TOKEN, "the access token is not bound to a key, it needs the scheme Bearer")
    from broker.endpoints import dpop_proofs

    try:
        jkt = dpop_proofs.proven_key(request, runtime, access_token=token_text(request))
    except OAuthError as error:
        raise OAuthError(replace(error.kind, status=401), error.description) from None
    if jkt != token.cnf_jkt:
        raise OAuthError(INVALID_TOKEN, "the access token is bound to another key")


def _require_openid(token: AccessToken) -> None:
    if "openid" not in token.scope:
        raise OAuthError(INSUFFICIENT_SCOPE, "the access token has no openid scope")


def session_of(runtime: Runtime, token: AccessToken, client: Client) -> Session:
    """The login of the token, in one read. Errors: OAuthError invalid_token when it has ended."""
    grant, link = runtime.grants.read(token.grant_id)
    if grant is None or link is None or not alive.stands_behind_access(grant, token.grant_secret):
        audit.event("userinfo.refused", grant_id=token.grant_id, client_id=token.client_id, reason="ended")
        raise OAuthError(INVALID_TOKEN, "the login of this access token has ended")
    return Session(token, grant, link, client)


def _claims(runtime: Runtime, issuer: str, session: Session) -> dict[str, object]:
    profile = profile_of(runtime, issuer, session)
    claims = claims_for(session.token.scope, dict(profile.claims)) if profile else {}
    return {"sub": session.grant.subject} | claims


def profile_of(runtime: Runtime, issuer: str, session: Session) -> Profile | None:
    """What the provider says about the person now; None for a provider that cannot be asked. Errors: OAuthError."""
    try:
        provider = runtime.provider(session.grant.provider)
        if not provider.has_userinfo:
            return None
        profile = _profile(runtime, provider, session)
    except ProviderUnusable as error:
        raise OAuthError(
            TEMPORARILY_UNAVAILABLE, "the provider cannot be asked", detail=error.detail, retry_after=60
        ) from None
    except vault.LinkDead:
        ending.end(runtime, issuer, session.grant.grant_id, "upstream_revoked")
        raise OAuthError(INVALID_TOKEN, "the provider has revoked the access, please log in again") from None
    except vault.LinkUnavailable as error:
        raise vault.temporarily_unavailable("the provider's token cannot be renewed", error.retry_after) from None
    if subject_of(session.grant.provider, profile.subject) != session.grant.subject:
        # OpenID Connect Core section 5.3.2: the claims of another subject must not be used.
        raise OAuthError(SERVER_ERROR, "the provider answered about somebody else")
    return profile


def _profile(runtime: Runtime, provider: Provider, session: Session) -> Profile:
    """The provider's answer; a token that it rejects is refreshed once and the call repeated once."""
    secret = session.token.grant_secret
    credentials = runtime.provider_credentials(provider.name)
    try:
        fresh = vault.fresh_tokens(runtime, provider, session.link, secret)
        deadline = Deadline.after(runtime.settings.upstream_deadline)
        try:
            return fetch_profile(provider, credentials, runtime.http, fresh.tokens, deadline=deadline)
        except UpstreamFailure as failure:
            if not answer_in_userinfo(failure).refresh_and_repeat:
                raise
        fresh = vault.fresh_tokens(runtime, provider, fresh.link, secret, rejected_version=fresh.link.version)
        return fetch_profile(provider, credentials, runtime.http, fresh.tokens, deadline=deadline)
    except UpstreamFailure as failure:
        vault.report(session.grant.grant_id, provider.name, "userinfo", failure)
        raise _upstream_error(failure) from None
    except sealing.SealBroken:
        raise OAuthError(INVALID_TOKEN, "the login of this access token has ended") from None


def _upstream_error(failure: UpstreamFailure) -> OAuthError:
    answer = answer_in_userinfo(failure)
    kind = _BY_STATUS.get(answer.status, SERVER_ERROR)
    descriptions = {
        401: "the provider has revoked the access, please log in again",
        403: "the provider does not allow this with the scope that was granted",
        429: "the provider asks to come back later",
        504: "the provider did not answer in time",
    }
    return OAuthError(
        kind, descriptions.get(answer.status, "the provider could not answer"), retry_after=answer.retry_after
    )


def _challenge(request: Request, runtime: Runtime, client: Client | None, error: OAuthError | None) -> Response:
    """The error with its WWW-Authenticate challenge (RFC 6750 section 3)."""
    headers = cors.headers_of_error(request, runtime, client)
    # RFC 9728 section 5.1: who came without knowing the broker finds out from there where to get a token.
    where = f'resource_metadata="{protected_resource_metadata_url(request.issuer)}"'
    realm = f'realm="{request.issuer}"'
    if error is None:
        return Response(401, headers={**headers, "www-authenticate": _challenges(request, [realm, where], both=True)})
    if error.kind.status == 401 or error.kind in (INSUFFICIENT_SCOPE, INVALID_REQUEST):
        parameters = [realm, f'error="{error.kind.code}"', f'error_description="{error.description}"']
        if error.kind is INSUFFICIENT_SCOPE:
            parameters.append('scope="openid"')
        parameters.append(where)
        headers["www-authenticate"] = _challenges(request, parameters, both=error.kind.status == 401)
    return error_response(error, headers)


def _challenges(request: Request, parameters: list[str], *, both: bool) -> str:
    """The challenge of the scheme that the request used; `both`: with the other way to present a token beside Bearer."""
    if _uses_dpop(request):
        return dpop.challenge(*parameters)
    bearer = f"Bearer {', '.join(parameters)}"
    return f"{bearer}, {dpop.challenge()}" if both else bearer
