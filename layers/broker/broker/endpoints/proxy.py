"""The proxy: a client calls its provider's API with the broker's access token, and never sees the provider's.

What may be called is in the provider's file (api.base, api.allow), who may call is in the client's registration. An answer goes
back as the provider gave it, except for what would act on the broker's own origin. Must never be a way around `api.allow`: path
and method are held against it in the very form in which they go out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from broker import audit, invocation
from broker.crypto.tokens import AccessToken
from broker.endpoints import bearer, cors
from broker.endpoints.bearer import Session
from broker.endpoints.entry import method_not_allowed, unavailable
from broker.endpoints.rate_limits import Gate
from broker.gateway import Request, Response
from broker.grants import granted_scope, reconnect, reconnect_request, vault
from broker.protocol.clients import Client
from broker.protocol.errors import (
    BAD_GATEWAY,
    GATEWAY_TIMEOUT,
    INVALID_REQUEST,
    INVALID_TOKEN,
    PROXY_REFUSED,
    REQUEST_TOO_LARGE,
    OAuthError,
)
from broker.runtime import ProviderUnusable, Runtime
from broker.store.aws import StoreUnavailable
from broker.upstream.api import FORWARDED, MAX_BODY, SAFE, ApiAnswer, ApiCall, call_api
from broker.upstream.api_rules import METHODS, BadCall, is_allowed, segments_of
from broker.upstream.dialect import fetch_profile
from broker.upstream.failures import FailureKind, UpstreamFailure
from broker.upstream.renewal import can_refresh
from broker.upstream.transport import Deadline

if TYPE_CHECKING:
    from broker.store.links import Link
    from broker.upstream.provider import Provider

NAME = "token-broker"
SERVED = ("HEAD", *METHODS)
REFUSED = "proxy.refused"
_URL_TEXT = re.compile(r"[!-~]+")
SHORTEST_CALL = 1.0
"""Seconds that a call gets, however little time is left."""

_HARMLESS = {
    # A page that the provider serves must not become one of the broker's origin, where the broker's cookies are.
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "cross-origin-resource-policy": "same-site",
}


@dataclass(frozen=True)
class _Failure:
    """What a failed call is answered with. error: Proxy-Status's word for it (RFC 9209 section 2.3)."""

    answer: OAuthError
    error: str


def respond(request: Request, runtime: Runtime) -> Response:
    """Any method of /proxy/{provider}/{path}."""
    return bearer.with_nonce(request, runtime, _marked(_respond(request, runtime)))


def _marked(response: Response) -> Response:
    """The answer with a word on whether it is the provider's or the broker's own (RFC 9209 section 2)."""
    headers = {**_status("error=proxy_internal_response"), **response.headers}
    return replace(response, headers=cors.exposing(headers, ("Proxy-Status",)))


def _respond(request: Request, runtime: Runtime) -> Response:
    if request.method == "OPTIONS":
        return cors.preflight(request, runtime, ", ".join(SERVED), _header_names(request, runtime))
    if request.method not in SERVED:
        return method_not_allowed(*SERVED, headers=cors.headers_of_error(request, runtime, None))
    return bearer.opened(
        request, runtime, "proxy", lambda: bearer.access_token(request, runtime, in_form=False), _answer
    )


def _header_names(request: Request, runtime: Runtime) -> tuple[str, ...]:
    """The request headers that a script may send here beside the usual ones."""
    try:
        further = runtime.provider(request.path_parameters["provider"]).api.forward
    except (ProviderUnusable, StoreUnavailable):
        further = ()
    return tuple(name.title() for name in sorted({*FORWARDED, *further} - {"content-type"}))


def _answer(request: Request, runtime: Runtime, token: AccessToken, gate: Gate) -> Response:
    client: Client | None = None
    try:
        gate.admit()
        client = bearer.client_of(runtime, token)
        gate.count(None)
        bearer.check_key(_as_sent(request), runtime, token)
        name = _provider_for(client, token, request)
        call = _call(request)
        session = bearer.session_of(runtime, token, client, REFUSED)
        if session.grant.provider != name:
            raise _refused(token, name, "the login is at another provider")
        answer = _called(runtime, request, session, call)
    except OAuthError as error:
        gate.forgive_if_a_step(error)
        return bearer.challenge(request, runtime, client, error)
    except StoreUnavailable as error:
        audit.unavailable(error)
        return bearer.challenge(request, runtime, client, unavailable())
    except _Failed as failed:
        response = bearer.challenge(request, runtime, client, failed.failure.answer)
        return replace(response, headers={**response.headers, **_status(f"error={failed.failure.error}")})
    gate.forgive()  # what the provider refuses is no guess at anything of ours
    return _passed_on(request, client, answer)


def _as_sent(request: Request) -> Request:
    """The request under the URL that the client wrote, which is what a DPoP proof names (RFC 9449 section 4.3)."""
    sent = request.sent_parameters["path"]
    if _URL_TEXT.fullmatch(sent) and request.path.endswith("/" + unquote(sent)):
        return replace(request, path=request.path.removesuffix(unquote(sent)) + sent)
    return replace(request, path=quote(request.path, safe="/:@!$&'()*+,;=~"))


def _provider_for(client: Client, token: AccessToken, request: Request) -> str:
    """The provider named in the path, if this client may call it. What else is registered stays unknown."""
    name = request.path_parameters["provider"]
    if name not in client.proxy:
        raise _refused(token, None, "this client may not call that provider through the broker")
    return name


def _call(request: Request) -> ApiCall:
    """The call that is asked for. Errors: OAuthError 400, 413."""
    if len(request.body) > MAX_BODY:
        raise OAuthError(REQUEST_TOO_LARGE, f"the body must not be larger than {MAX_BODY} bytes")
    sent = request.sent_parameters["path"]
    path = request.path.removeprefix(f"/proxy/{request.path_parameters['provider']}/")
    try:
        if "%2f" in sent.lower() or unquote(sent, errors="replace") != path:
            # The gateway decodes the path and cuts it at an encoded question mark: it would be another one.
            raise BadCall("the path has an encoded slash or question mark, which cannot be passed on")
        segments = segments_of(path)
    except BadCall as problem:
        raise OAuthError(INVALID_REQUEST, str(problem)) from None
    return ApiCall(request.method, segments, request.raw_query, request.headers, request.body)


def _called(runtime: Runtime, request: Request, session: Session, call: ApiCall) -> ApiAnswer:
    """The provider's answer. Errors: OAuthError, _Failed, StoreUnavailable."""
    name = session.grant.provider
    try:
        provider = runtime.provider(name)
        if not is_allowed(provider.api.allow, call.method, call.segments):
            raise _refused(session.token, name, "the operator does not allow this call of the provider's API")
        answer = _Caller(runtime, provider, session, call, f"{request.issuer}/proxy/{name}/").answer()
    except BadCall as problem:
        raise OAuthError(INVALID_REQUEST, str(problem)) from None
    except ProviderUnusable as error:
        raise vault.temporarily_unavailable(error.detail, 60) from None
    except vault.LinkDead as dead:
        raise reconnect.required(runtime, request.issuer, session.grant, INVALID_TOKEN, dead.reason) from None
    except vault.LinkUnavailable as error:
        raise vault.temporarily_unavailable("the provider's token cannot be renewed", error.retry_after) from None
    except UpstreamFailure as failure:
        vault.report(session.grant.grant_id, name, "proxy", failure)
        raise _Failed(_failure(failure)) from None
    return answer


@dataclass(frozen=True)
class _Caller:
    """One client's call, with the provider's token that it goes out with."""

    runtime: Runtime
    provider: Provider
    session: Session
    call: ApiCall
    here: str

    def answer(self) -> ApiAnswer:
        """Rows 27 and 28: a refused token is renewed once, and what changes nothing is then asked again."""
        fresh = self._fresh(self.session.link)
        answer = self._send(fresh)
        if answer.status != 401:
            return answer
        renewed = self._renewed(fresh)
        if self.call.method not in SAFE:
            raise OAuthError(INVALID_TOKEN, "the provider's token was renewed, please repeat the request")
        answer = self._send(renewed)
        if answer.status == 401:
            raise self._unwelcome()
        return answer

    def _fresh(self, link: Link, rejected_version: int | None = None) -> vault.Fresh:
        secret = self.session.token.grant_secret
        fresh = vault.fresh_tokens(self.runtime, self.provider, link, secret, rejected_version=rejected_version)
        granted_scope.note(self.runtime, self.session.grant, fresh.tokens)
        return fresh

    def _deadline(self) -> Deadline:
        """For a call. Nothing is kept back for a renewal that may follow: one that has too little time is not begun."""
        room = max(invocation.seconds_left() - SHORTEST_CALL, SHORTEST_CALL)
        return Deadline.after(min(self.runtime.settings.proxy_deadline, room))

    def _send(self, fresh: vault.Fresh) -> ApiAnswer:
        try:
            answer = call_api(
                self.provider,
                self.runtime.provider_credentials(self.provider.name),
                self.runtime.api_http,
                fresh.tokens,
                self.call,
                here=self.here,
                deadline=self._deadline(),
            )
        except UpstreamFailure as failure:
            if failure.sent:  # so it may have done what it was to do
                self._tell_of_call(failure.status)
            raise
        self._tell_of_call(answer.status)
        return answer

    def _tell_of_call(self, status: int | None) -> None:
        audit.event(
            "proxy.called",
            grant_id=self.session.grant.grant_id,
            client_id=self.session.client.client_id,
            provider=self.provider.name,
            method=self.call.method,
            status=status,
        )

    def _renewed(self, refused: vault.Fresh) -> vault.Fresh:
        """Errors: OAuthError when there is nothing to be had by renewing; LinkDead, LinkUnavailable."""
        if refused.link.version != self.session.link.version:
            raise self._unwelcome()
        if can_refresh(self.provider, refused.tokens):
            if vault.is_new(refused.link):  # so the 401 is what the API thinks of the call
                raise self._unwelcome()
            return self._fresh(refused.link, rejected_version=refused.link.version)
        if self._is_refused_at_userinfo(refused):
            raise vault.LinkDead("expired")
        raise self._unwelcome()

    def _unwelcome(self) -> OAuthError:
        """One call that is refused need not mean that the link is dead; but the person may give more when asked again."""
        where = reconnect_request.url(self.runtime.keys.ring(), self.session.token.issuer, self.session.grant)
        return OAuthError(INVALID_TOKEN, "the provider refuses its own token for this call", reconnect_url=where)

    def _is_refused_at_userinfo(self, refused: vault.Fresh) -> bool:
        if not self.provider.has_userinfo:
            return False
        credentials = self.runtime.provider_credentials(self.provider.name)
        deadline = self._deadline()
        try:
            fetch_profile(self.provider, credentials, self.runtime.http, refused.tokens, deadline=deadline)
        except UpstreamFailure as failure:
            if failure.alarm:
                vault.report(self.session.grant.grant_id, self.provider.name, "proxy", failure)
            return failure.kind in (FailureKind.TOKEN_REFUSED, FailureKind.GRANT_REFUSED)
        return False


class _Failed(Exception):
    """The call did not come to an answer that can go back."""

    def __init__(self, failure: _Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


_BY_KIND: Mapping[FailureKind, tuple[str, str]] = {
    FailureKind.UNREACHABLE: ("the provider cannot be reached", "destination_unavailable"),
    FailureKind.UNTRUSTED: ("the provider cannot be reached", "tls_certificate_error"),
    FailureKind.ADDRESS_REFUSED: ("the provider cannot be reached", "destination_ip_prohibited"),
    FailureKind.TIMEOUT: ("the provider did not answer in time", "connection_read_timeout"),
    FailureKind.SERVER_ERROR: ("the provider's answer broke off", "http_response_incomplete"),
    FailureKind.UNREADABLE: ("the provider's answer cannot be read", "http_protocol_error"),
    FailureKind.TOO_LARGE: (f"the provider's answer is larger than {MAX_BODY} bytes", "http_response_body_size"),
    FailureKind.REDIRECT: ("the provider redirects to somewhere outside of its API", "http_protocol_error"),
    FailureKind.UNUSABLE: ("the provider's answer cannot be passed on", "http_protocol_error"),
}


def _failure(failure: UpstreamFailure) -> _Failure:
    description, error = _BY_KIND.get(failure.kind, ("the provider could not be asked", "proxy_internal_error"))
    if failure.kind is FailureKind.UNUSABLE and not failure.sent:
        description, error = "the provider could not be asked", "proxy_configuration_error"
    kind = GATEWAY_TIMEOUT if failure.kind is FailureKind.TIMEOUT else BAD_GATEWAY
    return _Failure(OAuthError(kind, description), error)


def _refused(token: AccessToken, provider: str | None, reason: str) -> OAuthError:
    """`provider`: only one that is registered, as the log is no place for what somebody wrote into a URL."""
    audit.event(REFUSED, grant_id=token.grant_id, client_id=token.client_id, provider=provider, reason=reason)
    return OAuthError(PROXY_REFUSED, reason)


def _passed_on(request: Request, client: Client, answer: ApiAnswer) -> Response:
    headers = dict(answer.headers)
    if not headers.get("content-disposition", "").lower().startswith("attachment"):
        headers["content-disposition"] = "attachment"
    if answer.body:
        headers.setdefault("content-type", "application/octet-stream")
    readable = cors.exposing(cors.headers(request, client), (name.title() for name in answer.headers))
    own = {**readable, **_HARMLESS, **_status(f"received-status={answer.status}")}
    return Response(answer.status, answer.body, {**headers, **own})


def _status(parameter: str) -> dict[str, str]:
    return {"proxy-status": f"{NAME}; {parameter}"}
