"""The page on which a person lets a device in (RFC 8628 section 3.3): enter the code, see who asks, go to the provider.

A GET looks nothing up and changes nothing, so a link with the code in it (section 3.3.1) still needs a person to confirm.
Every form is bound to the browser by a cookie and a token made from it (CSRF), and guesses at codes are counted per address
(section 5.1).
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker import audit, clock
from broker.crypto import handles
from broker.crypto.sealing import derive
from broker.encoding import b64url
from broker.endpoints import cookies, device_authorization, to_provider
from broker.endpoints.entry import unavailable
from broker.gateway import Request, Response
from broker.pages import device as device_pages
from broker.pages import error as error_page
from broker.protocol import device
from broker.protocol.clients import Client
from broker.protocol.errors import OAuthError
from broker.protocol.limits import address_key
from broker.protocol.parameters import MalformedParameters, Parameters
from broker.runtime import ProviderUnusable, Runtime
from broker.store.aws import StoreUnavailable
from broker.store.device_logins import may_open, was_denied_by
from broker.store.grants import Grant, Refused

if TYPE_CHECKING:
    from broker.upstream.provider import Provider

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_NOT_GOOD = "This code is not valid, has expired or was already used. Please check the code that your device shows."
_STALE = "This page was open for too long, or cookies are off. Please continue once more."
_CHOOSE = "Please choose where you have an account."
_TITLE = "The device cannot be connected"
_UNREADABLE = "The request cannot be read. Please start again."
_TOO_MANY = "Too many wrong codes were entered. Please wait some minutes, then ask your device for a new code."


class TooManyGuesses(Exception):
    """From this address came too many codes that lead nowhere. `retry_after`: seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many guesses")
        self.retry_after = retry_after


@dataclass(frozen=True)
class _Visit:
    """A browser at this page. `secret`: what its cookie holds, made anew if it had none."""

    request: Request
    runtime: Runtime
    secret: str = field(repr=False)

    def token(self, user_code: str = "") -> str:
        """The anti-forgery token: of the form for entering a code, or of the question about one code."""
        return b64url(hmac.digest(self.secret.encode(), b"device form " + user_code.encode(), "sha256"))

    @property
    def browser_hash(self) -> bytes:
        """What the login keeps of the browser that refused it."""
        return handles.fingerprint(self.secret.encode())

    def login_secret(self, grant_id: str, provider: str) -> str:
        """For the cookie of the login that this browser goes on with: the same after each click, so that it makes no difference
        which of two was served last, or whose answer the browser took."""
        return b64url(derive(self.secret.encode(), f"device login {grant_id} {provider}"))

    def entry(self, prefilled: str = "", problem: str = "", status: int = 200) -> Response:
        return self._with_cookie(
            device_pages.enter(self.request, prefilled, self.token(), problem=problem, status=status)
        )

    def question(self, client: Client, login: Grant, user_code: str, problem: str = "", status: int = 200) -> Response:
        choice = _choice(self.runtime, client, login)
        return self._with_cookie(
            device_pages.confirm(
                self.request, client, login, choice, user_code, self.token(user_code), problem=problem, status=status
            )
        )

    def _with_cookie(self, page: Response) -> Response:
        name, lifetime = cookies.device_cookie_name(self.request), self.runtime.settings.device_lifetime
        cookie = cookies.set_login(self.request, name, self.secret, lifetime)
        return Response(page.status, page.body, page.headers, (*page.cookies, cookie))


def respond(request: Request, runtime: Runtime) -> Response:
    """GET or POST /device; POST /device_authorization, which the same function serves."""
    if request.path.endswith("/device_authorization"):
        return device_authorization.respond(request, runtime)
    try:
        return _serve(request, runtime)
    except MalformedParameters:
        return _error(request, "invalid_request", _UNREADABLE, 400)
    except TooManyGuesses as refusal:
        audit.event("device_page.refused", reason="too many codes")
        return _error(request, "slow_down", _TOO_MANY, 429, refusal.retry_after)
    except StoreUnavailable as failure:
        audit.unavailable(failure)
        error = unavailable()
    except OAuthError as refusal:
        error = refusal
    return _error(request, error.kind.code, "Please try again in a moment.", error.kind.status, error.retry_after)


def _serve(request: Request, runtime: Runtime) -> Response:
    known = request.cookies.get(cookies.device_cookie_name(request), "")
    has_cookie = _SECRET.fullmatch(known) is not None
    visit = _Visit(request, runtime, known if has_cookie else secrets.token_urlsafe(handles.SECRET_BYTES))
    if request.method in ("GET", "HEAD"):
        return visit.entry(_prefilled(request.query()))
    if request.method != "POST":
        refusal = _error(request, "invalid_request", "Use GET or POST here.", 405)
        return Response(405, refusal.body, {**refusal.headers, "allow": "GET, POST"})
    form = request.form() if request.has_form() else Parameters(())
    if form.repeated():
        raise MalformedParameters("a parameter is there twice")
    return _submitted(visit, form)


def _submitted(visit: _Visit, form: Parameters) -> Response:
    """A form came back: first that it is this browser's, then what it says."""
    user_code, decision = device.normalise(form.get("user_code") or ""), form.get("decision")
    expected = visit.token(user_code or "") if decision else visit.token()
    shown_here = secrets.compare_digest((form.get("token") or "").encode(), expected.encode())
    if not shown_here or visit.request.is_of_foreign_page:
        audit.event("device_page.refused", reason="not the form of this browser")
        return visit.entry(_prefilled(form), _STALE, 400)
    if user_code is None:
        return visit.entry(_prefilled(form), _NOT_GOOD, 400)
    found = _look_up(visit, user_code, decision)
    if found is None:
        audit.event("device_page.refused", reason="code")
        return visit.entry(_prefilled(form), _NOT_GOOD, 400)
    login, client = found
    try:
        if decision == "allow":
            return _allow(visit, client, login, user_code, form)
        if decision == "deny":
            return _deny(visit, login)
    except Refused:
        audit.event("device_page.refused", reason="changed meanwhile")
        return visit.entry(_prefilled(form), _NOT_GOOD, 400)
    return visit.question(client, login, user_code)


def _look_up(visit: _Visit, user_code: str, decision: str | None) -> tuple[Grant, Client] | None:
    """The login that a code leads to, if it waits for a decision, or for this browser's to be said again.

    Counted before it is tried and given back if it was right, so that guesses in parallel are counted too.
    Errors: TooManyGuesses, StoreUnavailable.
    """
    runtime, limit, now = visit.runtime, device.GUESSES, clock.now()
    key, start = address_key(visit.request.source_ip), limit.start(now)
    if runtime.counters.add("user_code", key, start, limit.window, 1) > limit.quota:
        raise TooManyGuesses(start + limit.window - now)
    login = runtime.device_logins.by_user_code(user_code)
    if login is not None and not may_open(login) and not (decision == "deny" and _has_denied(visit, login)):
        login = None
    client = runtime.client(login.client_id) if login is not None else None
    if login is None or client is None or client.disabled or device.GRANT_TYPE not in client.grant_types:
        return None
    runtime.counters.add("user_code", key, start, limit.window, -1)
    return login, client


def _allow(visit: _Visit, client: Client, login: Grant, user_code: str, form: Parameters) -> Response:
    choice = _choice(visit.runtime, client, login)
    provider = form.get("provider") if len(choice) > 1 else next(iter(choice), None)
    if provider not in choice:
        return visit.question(client, login, user_code, _CHOOSE, 400)
    secret = visit.login_secret(login.grant_id, provider)
    departure = to_provider.prepare(visit.request, visit.runtime, login, provider, browser_secret=secret)
    visit.runtime.device_logins.open(login.grant_id, provider=provider, browser_hash=departure.browser_hash)
    audit.event("device.confirmed", grant_id=login.grant_id, client_id=login.client_id, provider=provider)
    return departure.response(visit.request, visit.runtime)


def _deny(visit: _Visit, login: Grant) -> Response:
    """Once, though the person may click twice: the browser shows the answer to his last click alone. Errors: Refused."""
    try:
        if not _has_denied(visit, login):
            visit.runtime.device_logins.deny(login.grant_id, browser_hash=visit.browser_hash)
            audit.event("device.denied", grant_id=login.grant_id, client_id=login.client_id)
    except Refused as refused:
        if refused.grant is None or not _has_denied(visit, refused.grant):
            raise
    return device_pages.denied()


def _has_denied(visit: _Visit, login: Grant) -> bool:
    return was_denied_by(login, visit.browser_hash)


def _choice(runtime: Runtime, client: Client, login: Grant) -> dict[str, Provider]:
    """The providers to choose from, by name. Errors: OAuthError when there is none."""
    names = (login.asked_provider,) if login.asked_provider else client.providers
    choice: dict[str, Provider] = {}
    for name in names:
        try:
            choice[name] = runtime.provider(name)
        except ProviderUnusable as error:
            audit.event("device_page.refused", reason=error.detail)
    if not choice:
        raise unavailable(60)
    return choice


def _prefilled(parameters: Parameters) -> str:
    """What stands in the field: the code as it should look, or what was typed, within bounds."""
    text = parameters.get("user_code") or ""
    user_code = device.normalise(text)
    return device.shown(user_code) if user_code else text[:20]


def _error(request: Request, code: str, explanation: str, status: int, retry_after: int | None = None) -> Response:
    return error_page.render(
        request,
        title=_TITLE,
        explanation=explanation,
        code=code,
        status=status,
        retry_after=retry_after,
    )
