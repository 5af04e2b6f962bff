"""The authorization endpoint and the two forms behind it: sign in, then allow or deny.

The steps are the same for every dialect; what differs is said by `AuthorizationRules`. Nothing is ever redirected to a
URI that is not registered: such requests end on an error page (RFC 6749 section 4.1.2.1).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote, urlencode

from sandbox_provider import errors, forms, pages, people
from sandbox_provider.call import Call
from sandbox_provider.errors import Error, PageRefusal, Refusal
from sandbox_provider.forms import Pending
from sandbox_provider.store import Grant
from sandbox_provider.wire import EncodingError, Parameters, Response

CODE_LIFETIME = 60

Access = tuple[tuple[str, str], ...]


def same_uri(registered: str, given: str) -> bool:
    """Exact comparison, the rule of RFC 9700 section 2.1."""
    return registered == given


def no_scope(requested: str) -> str:
    """For dialects that define no scope at all: asking for one is a fault."""
    if requested:
        raise Refusal(errors.INVALID_SCOPE)
    return ""


@dataclass(frozen=True)
class AuthorizationRules:
    """Where a dialect's authorization endpoint differs from the others."""

    access: tuple[str, ...]
    """What the application gets in any case, in words for the person."""
    redirect_matches: Callable[[str, str], bool] = same_uri
    """Whether the registered URI (first) covers the given one."""
    echoes_state: bool = True
    default_response_type: str | None = None
    code_parameter: str = "code"
    pkce: Literal["unknown", "optional", "required"] = "unknown"
    scope: Callable[[str], str] = no_scope
    """From the parameter as sent to the granted scope, space separated; raises Refusal."""
    names_issuer: bool = False
    """Whether redirects have `iss` (RFC 9207)."""
    scope_texts: Access = ()
    """What each scope means, in words for the person."""


def authorize(call: Call, rules: AuthorizationRules) -> Response:
    """The request that the application sends the person with: answers the sign-in page."""
    parameters = _parameters(call)
    redirect_uri = _trusted_redirect_uri(call, rules, parameters)
    try:
        pending = _pending(call, rules, parameters, redirect_uri)
    except Refusal as refusal:
        # A repeated state is ambiguous, so none is returned.
        state = "" if "state" in parameters.repeated else parameters.get("state") or ""
        return _error_redirect(call, rules, redirect_uri, state, refusal.error)
    if call.forced_error is not None:
        forced = Error(call.forced_error, 400, "This error was ordered by a test.")
        return _error_redirect(call, rules, redirect_uri, pending.state, forced)
    return pages.login(call, pending)


def login(call: Call, rules: AuthorizationRules) -> Response:
    """User name and password: answers the consent page, or the sign-in page again."""
    parameters = _submitted(call)
    pending = _resumed(call, "login", parameters)
    signed_in = people.sign_in(parameters.get("username") or "", parameters.get("password") or "")
    if signed_in is None:
        return pages.login(call, pending, failed=True)
    asked = [text for scope, text in rules.scope_texts if scope in pending.scope.split()]
    return pages.consent(call, replace(pending, username=signed_in.username), (*rules.access, *asked))


def consent(call: Call, rules: AuthorizationRules) -> Response:
    """The decision: sends the person back to the application with a code or with an error."""
    parameters = _submitted(call)
    pending = _resumed(call, "consent", parameters)
    decision = parameters.get("decision")
    if decision == "deny":
        return _error_redirect(call, rules, pending.redirect_uri, pending.state, errors.ACCESS_DENIED)
    if decision != "allow":
        raise PageRefusal("The form was sent without a decision. Go back and choose Allow or Deny.")
    return _redirect(call, rules, pending.redirect_uri, pending.state, (rules.code_parameter, _new_code(call, pending)))


def _parameters(call: Call) -> Parameters:
    """From the URL for GET, from the body for POST; never from both, or the two could disagree."""
    by_get = call.request.method == "GET"
    if not by_get and (call.request.raw_query or not call.request.is_form):
        raise PageRefusal("A POST request carries its parameters in a form encoded body and nowhere else.")
    try:
        return call.request.query if by_get else call.request.form
    except EncodingError as error:
        raise PageRefusal("The request's parameters are not properly encoded.") from error


def _trusted_redirect_uri(call: Call, rules: AuthorizationRules, parameters: Parameters) -> str:
    for name in ("client_id", "redirect_uri"):
        if name in parameters.repeated:
            raise PageRefusal(f"The request includes {name} more than once.")
    client_id = parameters.get("client_id")
    if client_id is None:
        raise PageRefusal("The request names no application: client_id is missing.")
    if client_id != call.client.client_id:
        raise PageRefusal(f"No application with this client_id is registered with {call.title}.")
    redirect_uri = parameters.get("redirect_uri")
    if redirect_uri is None:
        raise PageRefusal("The request does not say where to return to: redirect_uri is missing.")
    if not any(rules.redirect_matches(registered, redirect_uri) for registered in call.client.redirect_uris):
        raise PageRefusal("The redirect_uri is not the one registered for this application.")
    if "client_secret" in parameters.names:
        raise PageRefusal("The request shows the application's client_secret to the browser.")
    return redirect_uri


def _pending(call: Call, rules: AuthorizationRules, parameters: Parameters, redirect_uri: str) -> Pending:
    if parameters.repeated:
        raise Refusal(errors.INVALID_REQUEST)
    response_type = parameters.get("response_type") or rules.default_response_type
    if response_type is None:
        raise Refusal(errors.INVALID_REQUEST.saying("response_type is missing"))
    if response_type != "code":
        raise Refusal(errors.UNSUPPORTED_RESPONSE_TYPE)
    return Pending(
        provider=call.provider,
        client_id=call.client.client_id,
        redirect_uri=redirect_uri,
        scope=rules.scope(parameters.get("scope") or ""),
        state=parameters.get("state") or "",
        code_challenge=_code_challenge(rules, parameters),
        nonce=parameters.get("nonce") or "",
    )


def _code_challenge(rules: AuthorizationRules, parameters: Parameters) -> str:
    if rules.pkce == "unknown":
        return ""
    challenge, method = parameters.get("code_challenge"), parameters.get("code_challenge_method")
    if challenge is None:
        if rules.pkce == "required" or method is not None:
            raise Refusal(errors.INVALID_REQUEST.saying("code challenge required"))
        return ""
    if method != "S256":
        raise Refusal(errors.INVALID_REQUEST.saying("transform algorithm not supported"))
    # 32 bytes in base64url without padding (RFC 7636 section 4.2).
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", challenge):
        raise Refusal(errors.INVALID_REQUEST.saying("code_challenge is not an S256 challenge"))
    return challenge


def _submitted(call: Call) -> Parameters:
    try:
        parameters = call.request.form
    except EncodingError as error:
        raise PageRefusal("The form's fields are not properly encoded.") from error
    if parameters.repeated:
        raise PageRefusal("The form was sent with a field twice.")
    return parameters


def _resumed(call: Call, purpose: forms.Purpose, parameters: Parameters) -> Pending:
    pending = forms.unseal(purpose, parameters.get("request") or "", call.settings, call.now)
    if pending is None or pending.provider != call.provider:
        raise PageRefusal("This form is no longer valid. Go back to the application and start again.")
    return pending


def _new_code(call: Call, pending: Pending) -> str:
    grant = Grant(
        id=secrets.token_hex(16),
        provider=pending.provider,
        client_id=pending.client_id,
        username=pending.username,
        scope=pending.scope,
        redirect_uri=pending.redirect_uri,
        state=pending.state,
        code_challenge=pending.code_challenge,
        nonce=pending.nonce,
        auth_time=call.now,
    )
    code = secrets.token_urlsafe(32)
    call.store.add_grant(grant, call.now)
    call.store.add_token("code", code, grant, grant.scope, call.now + CODE_LIFETIME)
    return code


def _error_redirect(call: Call, rules: AuthorizationRules, redirect_uri: str, state: str, error: Error) -> Response:
    return _redirect(call, rules, redirect_uri, state, ("error", error.code), ("error_description", error.description))


def _redirect(
    call: Call, rules: AuthorizationRules, redirect_uri: str, state: str, *answer: tuple[str, str]
) -> Response:
    echoed: tuple[tuple[str, str], ...] = (("state", state),) if state and rules.echoes_state else ()
    echoed += (("iss", call.issuer),) if rules.names_issuer else ()
    # The redirect URI's own query is kept (RFC 6749 section 3.1.2).
    separator = "&" if "?" in redirect_uri else "?"
    return Response.redirect(f"{redirect_uri}{separator}{urlencode((*answer, *echoed), quote_via=quote)}")
