"""The consent page: GET shows the question, POST answers it. Only the browser that logged in can see or answer it."""

import secrets

from broker import audit
from broker.crypto import handles
from broker.crypto.handles import Kind
from broker.endpoints import cookies, redirect_answer
from broker.endpoints.entry import unavailable
from broker.gateway import Request, Response
from broker.grants import consent, upstream_login
from broker.grants.consent import NotAsked, Question
from broker.pages import consent as consent_page
from broker.pages import error as error_page
from broker.protocol.clients import Client
from broker.protocol.errors import ACCESS_DENIED, OAuthError
from broker.protocol.parameters import MalformedParameters, Parameters
from broker.runtime import ProviderUnusable, Runtime
from broker.store.aws import StoreUnavailable
from broker.store.grants import Refused


def respond(request: Request, runtime: Runtime) -> Response:
    """GET or POST /consent."""
    try:
        if request.method in ("GET", "HEAD"):
            asked, client, login, _ = _open(request, runtime, request.query())
            if asked.answer:
                raise NotAsked
            return consent_page.render(request, client, asked, login, _title(runtime, asked.grant.provider))
        if request.method == "POST" and request.has_form():
            return _decide(request, runtime, request.form())
        raise NotAsked
    except (NotAsked, Refused, MalformedParameters):
        audit.event("consent.refused", reason="not open in this browser")
        explanation = (
            "This question has been answered, has expired, or was asked in another browser, or cookies are off."
            " Please start again."
        )
        return error_page.render(
            request, title="Sign-in cannot go on", explanation=explanation, code="invalid_request", status=400
        )
    except StoreUnavailable as failure:
        audit.unavailable(failure)
        error = unavailable()
        return error_page.render(
            request,
            title="Sign-in cannot go on",
            explanation="Please try again in a moment.",
            code=error.kind.code,
            status=error.kind.status,
            retry_after=error.retry_after,
        )


def _open(request: Request, runtime: Runtime, parameters: Parameters) -> tuple[Question, Client, str, str]:
    """(question, client, login handle, cookie name). A forged handle or a missing cookie costs no read of the Grants."""
    login = parameters.get("login") or ""
    handle = handles.read(Kind.STATE, login, runtime.keys.ring())
    if handle is None:
        raise NotAsked
    name = cookies.login_cookie_name(request, upstream_login.short_id(handle.grant_id))
    state, _, browser_secret = request.cookies.get(name, "").partition(".")
    if not browser_secret or not secrets.compare_digest(state.encode(), login.encode()):
        raise NotAsked
    asked = consent.question(runtime, handle.grant_id, browser_secret)
    client = runtime.client(asked.grant.client_id)
    if client is None or client.disabled:
        raise NotAsked
    return asked, client, login, name


def _title(runtime: Runtime, provider: str) -> str:
    """What people call the provider. The question stays open when it has just been switched off."""
    try:
        return runtime.provider(provider).title
    except ProviderUnusable:
        return provider


def _decide(request: Request, runtime: Runtime, form: Parameters) -> Response:
    if request.is_of_foreign_page:
        raise NotAsked
    asked, client, _, cookie = _open(request, runtime, form)
    token, decision = form.get("token") or "", form.get("decision")
    if not secrets.compare_digest(token.encode(), asked.form_token(client).encode()) or decision not in (
        "allow",
        "deny",
    ):
        raise NotAsked
    if asked.answer not in ("", decision):
        raise NotAsked
    cleared = (cookies.clear_login(request, cookie),)
    address = redirect_answer.address_of(asked.grant)
    if decision == "deny":
        consent.deny(runtime, request.issuer, asked)
        return redirect_answer.failure(
            request, address, OAuthError(ACCESS_DENIED, "the person denied the access"), cleared
        )
    code = consent.allow(runtime, runtime.keys.ring(), client, asked)
    return redirect_answer.success(request, address, code, cleared)
