"""Requests that an access token of the broker's opens (RFC 6750, RFC 9449 section 7): userinfo and the proxy.

Each step is one rule, and no step but the last does I/O. A token in the URL is never read (OAuth 2.1 section 5.1).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from broker import audit
from broker.crypto import tokens
from broker.crypto.tokens import AccessToken
from broker.endpoints import cors
from broker.endpoints.entry import error_response, unavailable
from broker.endpoints.rate_limits import Gate
from broker.gateway import Request, Response
from broker.grants import alive, reconnect
from broker.protocol import dpop
from broker.protocol.clients import Client
from broker.protocol.errors import INSUFFICIENT_SCOPE, INVALID_REQUEST, INVALID_TOKEN, OAuthError
from broker.protocol.parameters import MalformedParameters
from broker.protocol.protected_resource import protected_resource_metadata_url
from broker.runtime import Runtime
from broker.store.aws import StoreUnavailable
from broker.store.grants import Grant
from broker.store.links import Link


class NoCredentials(Exception):
    """The request has no access token: a challenge without an error code (RFC 6750 section 3.1)."""


class ExpiredToken(OAuthError):
    """The access token was good once."""


@dataclass(frozen=True)
class Session:
    """A login that its access token opened."""

    token: AccessToken
    grant: Grant
    link: Link
    client: Client


def access_token(request: Request, runtime: Runtime, *, in_form: bool) -> AccessToken:
    """The token presented, by header or, where `in_form` lets it, form body. No I/O.

    Errors: NoCredentials; OAuthError invalid_request, invalid_token (ExpiredToken for one that has expired).
    """
    text = token_text(request, in_form=in_form)
    token = tokens.read_access_token(text, runtime.keys.ring(), request.issuer)
    if token is None:
        raise _why_unreadable(request, runtime, text)
    if request.issuer not in token.audience:
        raise OAuthError(
            INVALID_TOKEN, "the access token is for another resource (audience), it was asked for with resource"
        )
    return token


def _why_unreadable(request: Request, runtime: Runtime, text: str) -> OAuthError:
    """Only who holds a genuine token learns that it has expired, and he can read that in it."""
    genuine = tokens.read_access_token(text, runtime.keys.ring(), request.issuer, even_expired=True)
    if genuine is not None:
        return ExpiredToken(INVALID_TOKEN, "the access token has expired")
    return OAuthError(
        INVALID_TOKEN, "this is no access token of this issuer (nor are an ID token and a refresh token one)"
    )


def token_text(request: Request, *, in_form: bool) -> str:
    """The text of the access token. Errors: NoCredentials; OAuthError when there is more than one, or none after the scheme."""
    authorization = request.headers.get("authorization")
    in_body = _token_in_body(request) if in_form else None
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


def refuse_token_in_query(request: Request) -> None:
    """Errors: OAuthError invalid_request for an access token in the URL, which logs and histories keep (RFC 9700 section 4.3.2),
    beside a good one too: it is out, and whoever sent it has to know."""
    try:
        found = "access_token" in request.query()
    except MalformedParameters as error:
        raise OAuthError(INVALID_REQUEST, str(error)) from None
    if found:
        raise OAuthError(INVALID_REQUEST, "the access token must be in the Authorization header, never in the URL")


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
        jkt = dpop_proofs.proven_key(request, runtime, access_token=token_text(request, in_form=False))
    except OAuthError as error:
        raise OAuthError(replace(error.kind, status=401), error.description) from None
    if jkt != token.cnf_jkt:
        raise OAuthError(INVALID_TOKEN, "the access token is bound to another key")


def with_nonce(request: Request, runtime: Runtime, response: Response) -> Response:
    """The answer, with a nonce for the next proof where the client uses DPoP or tries to (RFC 9449 section 9)."""
    if "dpop" not in request.headers and not _uses_dpop(request):
        return response
    from broker.endpoints import dpop_proofs

    return dpop_proofs.with_nonce(request, runtime, response)


def opened(
    request: Request,
    runtime: Runtime,
    endpoint: str,
    read: Callable[[], AccessToken],
    answer: Callable[[Request, Runtime, AccessToken, Gate], Response],
) -> Response:
    """The answer to a request under the limits of `endpoint`; a challenge where its token, which `read` reads, is not good."""
    try:
        token = read()
    except NoCredentials:
        return challenge(request, runtime, None, None)
    except OAuthError as error:
        return challenge(request, runtime, None, error)
    except StoreUnavailable as error:
        audit.unavailable(error)
        return challenge(request, runtime, None, unavailable())
    gate = Gate(request, runtime, endpoint, token)
    return gate.close(answer(request, runtime, token, gate))


def session_of(runtime: Runtime, token: AccessToken, client: Client, refused: str) -> Session:
    """The login of the token, in one read. `refused`: the audit event to write when it has ended.

    Errors: OAuthError invalid_token when it has ended, with the way to reconnect where the provider ended it.
    """
    grant, link = runtime.grants.read(token.grant_id)
    if grant is None or not alive.stands_behind_access(grant, token.grant_secret):
        audit.event(refused, grant_id=token.grant_id, client_id=token.client_id, reason="ended")
        where = reconnect.url_after_end(runtime, token.issuer, grant) if grant is not None else None
        raise OAuthError(INVALID_TOKEN, "the login of this access token has ended", reconnect_url=where)
    if link is None:
        raise reconnect.required(runtime, token.issuer, grant, INVALID_TOKEN, "gone")
    return Session(token, grant, link, client)


def challenge(
    request: Request, runtime: Runtime, client: Client | None, error: OAuthError | None, *, scope: str | None = None
) -> Response:
    """The error with its WWW-Authenticate challenge (RFC 6750 section 3); `scope`: what a token must have here."""
    headers = cors.headers_of_error(request, runtime, client)
    # RFC 9728 section 5.1: who came without knowing the broker finds out from there where to get a token.
    where = f'resource_metadata="{protected_resource_metadata_url(request.issuer)}"'
    realm = f'realm="{request.issuer}"'
    if error is None:
        return Response(401, headers={**headers, "www-authenticate": _challenges(request, [realm, where], both=True)})
    if error.kind.status == 401 or error.kind in (INSUFFICIENT_SCOPE, INVALID_REQUEST):
        parameters = [realm, f'error="{error.kind.code}"', f'error_description="{error.description}"']
        if error.kind is INSUFFICIENT_SCOPE and scope is not None:
            parameters.append(f'scope="{scope}"')
        parameters.append(where)
        headers["www-authenticate"] = _challenges(request, parameters, both=error.kind.status == 401)
    return error_response(error, headers)


def _challenges(request: Request, parameters: list[str], *, both: bool) -> str:
    """The challenge of the scheme that the request used; `both`: with the other way to present a token beside Bearer."""
    if _uses_dpop(request):
        return dpop.challenge(*parameters)
    bearer = f"Bearer {', '.join(parameters)}"
    return f"{bearer}, {dpop.challenge()}" if both else bearer
