"""The callback: the provider's answer comes back with the browser, and becomes an authorization code for the client.

One path per provider (mix-up defence, RFC 9700 section 4.4). The state is used up by the first write, before the provider's
code is exchanged, so a code is never exchanged twice however often the browser comes.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from broker import audit, clock
from broker.crypto import handles
from broker.crypto.handles import Handle, Kind
from broker.crypto.keys import KeyRing
from broker.endpoints import cookies, redirect_answer
from broker.endpoints.entry import unavailable
from broker.endpoints.rate_limits import Gate
from broker.gateway import Request, Response
from broker.grants import authorization_code, consent, reconnect_request, upstream_login
from broker.grants.authorization_code import Established, Person
from broker.grants.subjects import pseudonym_of, subject_of
from broker.grants.upstream_login import Transaction
from broker.grants.vault import report
from broker.pages import error as error_page
from broker.protocol.authorization_request import ReturnAddress
from broker.protocol.clients import Client
from broker.protocol.errors import ACCESS_DENIED, SERVER_ERROR, TEMPORARILY_UNAVAILABLE, ErrorKind, OAuthError
from broker.protocol.parameters import MalformedParameters, Parameters
from broker.protocol.scopes import provider_scope
from broker.runtime import ProviderUnreachable, ProviderUnusable, Runtime
from broker.store.aws import StoreUnavailable
from broker.store.grants import Grant, Refused
from broker.upstream import id_token
from broker.upstream.authorization import CallbackAnswer, CallbackProblem, Credentials, read_callback
from broker.upstream.dialect import exchange_code, fetch_profile
from broker.upstream.failures import FailureKind, UpstreamFailure, answer_in_callback
from broker.upstream.tokens import UpstreamTokens
from broker.upstream.transport import Deadline

if TYPE_CHECKING:
    from broker.upstream.provider import Provider

_KINDS = {kind.code: kind for kind in (ACCESS_DENIED, SERVER_ERROR, TEMPORARILY_UNAVAILABLE)}


class NotOurs(Exception):
    """The request belongs to no login of this browser: a page, no redirect, no call to the provider. `reason` is for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class _Arrival:
    """A provider's answer whose state and cookie belong together."""

    handle: Handle
    state: str = field(repr=False)
    browser_secret: str = field(repr=False)
    cookie: str


@dataclass(frozen=True)
class _Claimed:
    """A login whose state was just used up: from here on, whatever happens, its client gets an answer."""

    request: Request
    runtime: Runtime
    ring: KeyRing
    provider: Provider
    arrival: _Arrival
    login: Grant
    gate: Gate

    @property
    def address(self) -> ReturnAddress:
        return redirect_answer.address_of(self.login)

    @property
    def is_device(self) -> bool:
        """Whether a device waits for this login (RFC 8628), so that there is nowhere to send the browser back to."""
        return self.login.device_key != b""

    def failure(self, error: OAuthError) -> Response:
        if self.is_device:
            from broker.pages import device

            return device.failed(self.request, error, self._cleared)
        return redirect_answer.failure(self.request, self.address, error, self._cleared)

    def success(self, code: str) -> Response:
        return redirect_answer.success(self.request, self.address, code, self._cleared)

    def device_approved(self) -> Response:
        """The page that sends the person back to his device."""
        from broker.pages import device

        return device.approved(self._cleared)

    def to_consent(self, browser_secret: str) -> Response:
        """To the page that asks the person, with a cookie that only this browser gets."""
        name = cookies.login_cookie_name(self.request, upstream_login.short_id(self.login.grant_id))
        value = f"{self.arrival.state}.{browser_secret}"
        cookie = cookies.set_login(self.request, name, value, self.runtime.settings.consent_lifetime)
        cleared = self._cleared if self.arrival.cookie != name else ()
        location = f"{self.request.issuer}/consent?login={self.arrival.state}"
        return redirect_answer.see_other(location, (*cleared, cookie))

    @property
    def _cleared(self) -> tuple[str, ...]:
        return (cookies.clear_login(self.request, self.arrival.cookie),)


def respond(request: Request, runtime: Runtime) -> Response:
    """GET (or POST, for providers that answer with a form) /callback/{provider}."""
    name = request.path_parameters.get("provider", "")
    gate = Gate(request, runtime, "callback")
    try:
        if request.method not in ("GET", "POST"):  # a HEAD that programs send ahead of a link would use up the state
            raise NotOurs("method")
        ring = runtime.keys.ring()
        provider = _provider(runtime, name)
        parameters = _parameters(request)
        answer, problem = _answer(provider, parameters)
        arrival = _arrival(request, provider, parameters, answer, ring)
        if answer is not None and answer.code is not None:
            gate.admit()  # anybody may begin a login and bring a code that he made up, and each costs a call of the provider
            # Read before anything is used up: while it cannot be had, reloading the page is all that is needed.
            runtime.provider_credentials(provider.name)
        login = _claim(runtime, provider, arrival)
        claimed = _Claimed(request, runtime, ring, provider, arrival, login, gate)
        return gate.settle(_continue(claimed, answer, problem))
    except NotOurs as refusal:
        audit.event("callback.refused", provider=name if name.isalnum() else None, reason=refusal.reason)
        explanation = (
            "This sign-in has expired, was already completed, or began in another browser, or cookies are off."
            " Please start again."
        )
        return _page(request, "invalid_request", explanation, 400)
    except OAuthError as limited:
        return _reload(request, limited)
    except StoreUnavailable as failure:
        audit.unavailable(failure)
        return _reload(request)
    except ProviderUnreachable as failure:  # nothing is used up yet
        audit.event("callback.refused", provider=name if name.isalnum() else None, reason=failure.detail)
        return _reload(request)


def _provider(runtime: Runtime, name: str) -> Provider:
    try:
        return runtime.provider(name)
    except ProviderUnreachable:
        raise
    except ProviderUnusable as error:
        raise NotOurs(error.detail) from None


def _parameters(request: Request) -> Parameters:
    try:
        return request.form() if request.method == "POST" and request.has_form() else request.query()
    except MalformedParameters as error:
        raise NotOurs(str(error)) from None


def _answer(provider: Provider, parameters: Parameters) -> tuple[CallbackAnswer | None, str | None]:
    """(the provider's answer, None), or (None, what is wrong with it)."""
    try:
        return read_callback(provider, list(parameters.pairs())), None
    except CallbackProblem as problem:
        return None, str(problem)


# -- whose login is it: no I/O but the one conditional write -------------------------------------------------------


def _arrival(
    request: Request, provider: Provider, parameters: Parameters, answer: CallbackAnswer | None, ring: KeyRing
) -> _Arrival:
    """The login that this browser began and that this answer is for. Errors: NotOurs."""
    stated = answer.state if answer is not None else parameters.get(upstream_login.state_parameter(provider))
    if provider.authorize.state == "cookie":
        return _from_cookie(request, provider.name, None, ring)
    handle = handles.read(Kind.STATE, stated or "", ring)
    if handle is None:
        raise NotOurs("state")
    return _from_cookie(request, upstream_login.cookie_key(provider, handle.grant_id), stated, ring)


def _from_cookie(request: Request, key: str, stated: str | None, ring: KeyRing) -> _Arrival:
    name = cookies.login_cookie_name(request, key)
    state, _, browser_secret = request.cookies.get(name, "").partition(".")
    handle = handles.read(Kind.STATE, state, ring)
    if handle is None or not browser_secret:
        raise NotOurs("cookie")
    if stated is not None and not secrets.compare_digest(stated.encode(), state.encode()):
        raise NotOurs("state of another login")
    return _Arrival(handle, state, browser_secret, name)


def _claim(runtime: Runtime, provider: Provider, arrival: _Arrival) -> Grant:
    """Use up the state, for this provider and this browser only."""
    try:
        return runtime.grants.claim(
            arrival.handle.grant_id,
            provider=provider.name,
            browser_hash=handles.fingerprint(arrival.browser_secret.encode()),
            exchange_until=clock.now() + runtime.settings.exchange_lifetime,
        )
    except Refused:
        raise NotOurs("used, expired, or not of this browser and provider") from None


# -- from here on the client gets the answer -----------------------------------------------------------------------


def _continue(claimed: _Claimed, answer: CallbackAnswer | None, problem: str | None) -> Response:
    runtime, login = claimed.runtime, claimed.login
    try:
        client = _client(runtime, login)
        if answer is None or answer.code is None:
            raise _provider_error(answer, problem)
        tokens, person = _exchange(claimed, answer, answer.code)
        reconnect_request.require_same_account(runtime, login, person.subject)
        established = authorization_code.establish(runtime, client, login, claimed.provider, tokens, person)
        if claimed.is_device:  # the person was asked before he left for the provider
            return _let_device_in(claimed, established)
        if consent.is_needed(runtime, client, established.grant):
            return claimed.to_consent(consent.ask(runtime, established))
        code, waiting = authorization_code.code_for(runtime, claimed.ring, established.grant, established.contents)
        runtime.grants.finish_exchange(waiting, established.link, exchange_until=login.expires_at)
    except StoreUnavailable as failure:
        audit.unavailable(failure)
        # The state is used up, so the page could not be reloaded; the client is told to begin again.
        return claimed.failure(unavailable())
    except Refused:
        return _fail(claimed, OAuthError(TEMPORARILY_UNAVAILABLE, "the sign-in took too long, please try again"))
    except OAuthError as error:
        return _fail(claimed, error)
    audit.event("code.issued", grant_id=login.grant_id, client_id=login.client_id, provider=login.provider)
    return claimed.success(code)


def _let_device_in(claimed: _Claimed, established: Established) -> Response:
    """Errors: Refused when the device code or the exchange has ended; StoreUnavailable."""
    from broker.grants import device_code

    login = claimed.login
    ready = device_code.ready(established)
    claimed.runtime.grants.finish_exchange(ready, established.link, exchange_until=login.expires_at)
    audit.event("device.approved", grant_id=login.grant_id, client_id=login.client_id, provider=login.provider)
    return claimed.device_approved()


def _client(runtime: Runtime, login: Grant) -> Client:
    client = runtime.client(login.client_id)
    if client is None or client.disabled:
        raise OAuthError(SERVER_ERROR, "the client is no longer registered")
    return client


def _provider_error(answer: CallbackAnswer | None, problem: str | None) -> OAuthError:
    """The provider's error in our words; what it wrote itself goes to the log alone."""
    if answer is None or answer.error is None:
        return OAuthError(SERVER_ERROR, "the provider's answer could not be understood", detail=problem or "")
    kind = _kind(answer.error)  # one that a client may be told: all others are server_error already
    descriptions = {ACCESS_DENIED: "the person or the provider denied the access"}
    return OAuthError(
        kind, descriptions.get(kind, "the provider reported an error"), detail=f"provider error {answer.error}"
    )


def _exchange(claimed: _Claimed, answer: CallbackAnswer, code: str) -> tuple[UpstreamTokens, Person]:
    """The provider's tokens, and who they are for. Errors: OAuthError, StoreUnavailable."""
    runtime, provider, login, state = claimed.runtime, claimed.provider, claimed.login, claimed.arrival.state
    key = claimed.ring.handle_key_by_id(claimed.arrival.handle.key_id)
    if key is None:
        raise OAuthError(TEMPORARILY_UNAVAILABLE, "the sign-in took too long, please try again")
    transaction = Transaction.of(provider, key, login.grant_id, claimed.request.issuer, state)
    deadline = Deadline.after(runtime.settings.upstream_deadline)
    credentials = runtime.provider_credentials(provider.name)
    try:
        tokens = exchange_code(
            provider,
            credentials,
            runtime.http,
            code=code,
            redirect_uri=transaction.redirect_uri,
            code_verifier=transaction.code_verifier,
            state=state,
            asked_scope=provider_scope(login.scope),
            kept=answer.kept,
            now=clock.now(),
            deadline=deadline,
        )
        person = _person(claimed, tokens, credentials, transaction.nonce, deadline)
        if provider.has_userinfo:
            # Who can ask userinfo asks no ID token any more, and every KB that is kept is paid for at each renewal.
            tokens = replace(tokens, id_token=None)
        # What the provider signs or answers stands above what came through the browser.
        return tokens, replace(person, claims={**answer.claims, **person.claims})
    except UpstreamFailure as failure:
        report(login.grant_id, provider.name, "callback", failure)
        if failure.is_refusal:
            claimed.gate.count(None)  # beside the write that ends the login; a sign-in that goes well is not counted
        kind = _kind(answer_in_callback(failure))
        denied = "this account may not sign in here"
        raise OAuthError(
            kind, denied if kind is ACCESS_DENIED else "the provider could not complete the sign-in"
        ) from None


def _person(
    claimed: _Claimed, tokens: UpstreamTokens, credentials: Credentials, nonce: str, deadline: Deadline
) -> Person:
    """Who the tokens are for: by the ID token where there is one, by userinfo, or by none. Errors: UpstreamFailure."""
    runtime, provider, login = claimed.runtime, claimed.provider, claimed.login
    identity = None
    if id_token.is_expected(provider, provider_scope(login.scope)):
        expected = id_token.Expected(credentials.client_id, nonce, login.max_age, clock.now())
        identity = id_token.check(provider, tokens, runtime.provider_keys, expected, deadline)
    if not provider.has_userinfo:
        if identity is not None:
            return Person(subject_of(provider.name, identity.subject), identity.claims, identity.auth_time)
        # The provider cannot say who this is: a pseudonym of this login alone.
        return Person(pseudonym_of(provider.name, login.grant_id), {})
    profile = fetch_profile(provider, credentials, runtime.http, tokens, deadline=deadline)
    if identity is None:
        return Person(subject_of(provider.name, profile.subject), profile.claims)
    if profile.subject != identity.subject:
        # OpenID Connect Core section 5.3.2: somebody's access token beside somebody else's ID token.
        raise UpstreamFailure(FailureKind.UNUSABLE, row=15, status=200, detail="userinfo is about another subject")
    return Person(subject_of(provider.name, profile.subject), {**identity.claims, **profile.claims}, identity.auth_time)


def _kind(code: str) -> ErrorKind:
    return _KINDS.get(code) or ErrorKind(code)


def _fail(claimed: _Claimed, error: OAuthError) -> Response:
    runtime, login = claimed.runtime, claimed.login
    denied = error.kind is ACCESS_DENIED
    try:
        if claimed.is_device and not denied:
            _reopen(runtime, login)
        else:
            detail = error.detail if error.detail == reconnect_request.OTHER_ACCOUNT else ""
            runtime.grants.end(login.grant_id, "denied" if denied else "login_failed", detail=detail)
    except StoreUnavailable as failure:
        audit.unavailable(failure)
    audit.event(
        "login.denied" if denied else "login.failed",
        grant_id=login.grant_id,
        client_id=login.client_id,
        provider=login.provider,
        error=error.kind.code,
        **({} if denied else {"detail": error.detail}),
    )
    return claimed.failure(error)


def _reopen(runtime: Runtime, login: Grant) -> None:
    """The device goes on waiting, so that the person may try again."""
    try:
        runtime.device_logins.reopen(login.grant_id, exchange_until=login.expires_at)
    except Refused:
        return


def _reload(request: Request, error: OAuthError | None = None) -> Response:
    error = error or unavailable()
    explanation = "Please reload this page in a moment."
    return _page(request, error.kind.code, explanation, error.kind.status, error.retry_after)


def _page(request: Request, code: str, explanation: str, status: int, retry_after: int | None = None) -> Response:
    return error_page.render(
        request,
        title="Sign-in cannot go on",
        explanation=explanation,
        code=code,
        status=status,
        retry_after=retry_after,
    )
