"""Sign-out started by a client (OpenID Connect RP-Initiated Logout 1.0): the browser comes, a login ends, the browser goes back.

An ID token of ours says which login. It is no secret, so it can do nothing but end that login. Without one the person is
asked, where his browser holds the login (a refresh cookie); where it does not, there is nothing here to sign out of. The
browser goes to registered addresses alone, and to those of a client that registered itself by a link.
"""

import secrets
from dataclasses import dataclass

from broker import audit
from broker.crypto import handles, tokens
from broker.crypto.handles import Kind
from broker.endpoints import cookies, redirect_answer
from broker.endpoints.entry import unavailable
from broker.gateway import Request, Response
from broker.grants import ending
from broker.pages import error as error_page
from broker.pages import logout as logout_page
from broker.protocol.clients import Client
from broker.protocol.errors import OAuthError
from broker.protocol.parameters import MalformedParameters, Parameters
from broker.protocol.redirects import with_parameters
from broker.runtime import Runtime
from broker.store.aws import StoreUnavailable

QUESTION_LIFETIME = 600
"""Seconds that the person may take to answer whether to sign out."""
_MALFORMED = "The sign-out request cannot be read. Please sign out in the application."
_BAD_HINT = (
    "The application did not say rightly whose sign-in to end (id_token_hint). Please sign out in the application."
)
_UNKNOWN_CLIENT = "The application that sent you here is not known (client_id)."
_BAD_RETURN = (
    "The address to return to after signing out is not registered for this application (post_logout_redirect_uri)."
)


class LogoutRefused(Exception):
    """The request cannot be followed, and nothing has happened. `explanation` is for the person."""

    def __init__(self, reason: str, explanation: str, client_id: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.explanation = explanation
        self.client_id = client_id


@dataclass(frozen=True)
class _Asked:
    """A request that was checked.

    grant_id: the login that the hint names, None without a hint. return_to: with state; None to stay here.
    """

    client: Client
    grant_id: str | None
    return_to: str | None


def respond(request: Request, runtime: Runtime) -> Response:
    """GET or POST /logout."""
    if request.method not in ("GET", "POST"):
        # Not HEAD either, which programs send ahead of a link that nobody has followed yet.
        page = _page(request, "invalid_request", "Use GET or POST here.", 405)
        return Response(page.status, page.body, {**page.headers, "allow": "GET, POST"})
    try:
        parameters = _parameters(request)
        asked = _check(request, runtime, parameters)
        if asked.grant_id is None:
            return _without_hint(request, runtime, asked, parameters)
        secret = _secret_in_cookie(request, runtime, asked)
        _end(request, runtime, asked.client, asked.grant_id, secret)
        # Anybody's page can send the browser here with a hint of its own: the cookie of another login stays (logout CSRF).
        return _signed_out(asked, () if secret is None else (_without_refresh(request, asked.client),))
    except LogoutRefused as refusal:
        audit.event("logout.refused", client_id=refusal.client_id, reason=refusal.reason)
        return _page(request, "invalid_request", refusal.explanation, 400)
    except StoreUnavailable as failure:
        audit.unavailable(failure)
        error = unavailable()
    except OAuthError as limited:
        error = limited
    explanation = "Please reload this page in a moment."
    return _page(request, error.kind.code, explanation, error.kind.status, error.retry_after)


def _parameters(request: Request) -> Parameters:
    """The query of a GET, the form of a POST; never a mixture (section 2)."""
    try:
        parameters = request.query()
        if request.method == "POST":
            if not request.has_form() or any(True for _ in parameters.pairs()):
                raise LogoutRefused("form", _MALFORMED)
            parameters = request.form()
        parameters.reject_repeated()
    except (MalformedParameters, OAuthError):
        raise LogoutRefused("parameters", _MALFORMED) from None
    return parameters


def _check(request: Request, runtime: Runtime, parameters: Parameters) -> _Asked:
    """Errors: LogoutRefused, before anything has happened; StoreUnavailable."""
    hint, client_id = parameters.get("id_token_hint"), parameters.get("client_id")
    grant_id: str | None = None
    if hint is not None:
        grant_id, audience = _login_of(request, runtime, hint)
        if client_id not in (None, audience):  # section 2: they must agree
            raise LogoutRefused("hint of another client", _BAD_HINT)
        client_id = audience
    if client_id is None:
        raise LogoutRefused("no hint", _BAD_HINT)
    client = runtime.client(client_id)
    if client is None:
        raise LogoutRefused("unknown client", _UNKNOWN_CLIENT)
    return _Asked(client, grant_id, _return_to(client, parameters))


def _login_of(request: Request, runtime: Runtime, hint: str) -> tuple[str, str]:
    """(grant id, client id) of an ID token that was issued here; it may have expired (section 2)."""
    claims = tokens.verify(hint, runtime.keys.ring(), "JWT", even_retired=True)
    if claims is None or claims.get("iss") != request.issuer:
        raise LogoutRefused("hint", _BAD_HINT)
    grant_id, audience = claims.get("sid"), claims.get("aud")
    if not isinstance(grant_id, str) or not isinstance(audience, str):
        raise LogoutRefused("hint without sid", _BAD_HINT)
    return grant_id, audience


def _return_to(client: Client, parameters: Parameters) -> str | None:
    """Compared as an exact string (section 3.1); nothing else is ever redirected to."""
    address, state = parameters.get("post_logout_redirect_uri"), parameters.get("state")
    if address is None:
        return None
    if client.disabled or address not in client.post_logout_redirect_uris:
        raise LogoutRefused("post_logout_redirect_uri", _BAD_RETURN, client.client_id)
    return with_parameters(address, [("state", state)]) if state is not None else address


def _without_hint(request: Request, runtime: Runtime, asked: _Asked, parameters: Parameters) -> Response:
    """Ask the person (section 6: without a hint anybody may have sent him), and end the login of his refresh cookie."""
    if not asked.client.refresh_cookie:
        raise LogoutRefused("no hint", _BAD_HINT, asked.client.client_id)
    name = cookies.logout_cookie_name(request)
    shown, answered = request.cookies.get(name, ""), parameters.get("token") or ""
    confirmed = bool(shown) and secrets.compare_digest(shown.encode(), answered.encode())
    if not confirmed or request.method != "POST" or request.is_of_foreign_page:
        token = secrets.token_urlsafe(32)
        page = logout_page.question(request, asked.client, parameters, token)
        return Response(
            page.status, page.body, page.headers, (cookies.set_logout(request, name, token, QUESTION_LIFETIME),)
        )
    handle = _handle_in_cookie(request, runtime, asked.client)
    if handle is not None:
        _end(request, runtime, asked.client, handle.grant_id, handle.secret)
    return _signed_out(asked, (cookies.clear_logout(request, name), _without_refresh(request, asked.client)))


def _handle_in_cookie(request: Request, runtime: Runtime, client: Client) -> handles.Handle | None:
    token = request.cookies.get(cookies.refresh_cookie_name(request, client.client_id), "")
    return handles.read(Kind.REFRESH, token, runtime.keys.ring())


def _secret_in_cookie(request: Request, runtime: Runtime, asked: _Asked) -> bytes | None:
    """The grant secret, if the browser's refresh cookie is of the login that the hint names, so that the provider can be told;
    a page on another site never brings it (SameSite=Strict)."""
    if not asked.client.refresh_cookie:
        return None
    handle = _handle_in_cookie(request, runtime, asked.client)
    return handle.secret if handle is not None and handle.grant_id == asked.grant_id else None


def _end(request: Request, runtime: Runtime, client: Client, grant_id: str, grant_secret: bytes | None) -> None:
    ending.end(runtime, request.issuer, grant_id, "logout", client_id=client.client_id, grant_secret=grant_secret)


def _without_refresh(request: Request, client: Client) -> str:
    return cookies.clear_refresh(request, cookies.refresh_cookie_name(request, client.client_id))


def _signed_out(asked: _Asked, cleared: tuple[str, ...]) -> Response:
    # Whoever may register clients has hints of his own logins, and could send anybody through the broker to where he likes: so
    # with a client that registered itself the person goes there or not (RFC 9700 section 4.11.2).
    if asked.return_to is not None and not asked.client.dynamic:
        return redirect_answer.see_other(asked.return_to, cleared)
    page = logout_page.done(asked.client, asked.return_to)
    return Response(page.status, page.body, page.headers, cleared)


def _page(request: Request, code: str, explanation: str, status: int, retry_after: int | None = None) -> Response:
    return error_page.render(
        request,
        title="Sign-out cannot go on",
        explanation=explanation,
        code=code,
        status=status,
        retry_after=retry_after,
    )
