"""Steps of a token endpoint, for the dialects to compose.

Each step either returns what it found or raises the Refusal to answer with. A code is checked against everything it is
bound to before it is consumed, so that a wrong request does not burn somebody else's code.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote_plus

from sandbox_provider import assertions, errors
from sandbox_provider.call import Call
from sandbox_provider.errors import INVALID_GRANT, Error, Refusal
from sandbox_provider.store import DAY, Grant, Token
from sandbox_provider.wire import EncodingError, Parameters

Style = Literal["basic", "body", "key"]
Rule = Literal["required", "optional", "unknown"]

REFRESH_LIFETIME = 180 * DAY


@dataclass(frozen=True)
class Issued:
    """New tokens for a grant."""

    grant: Grant
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    """Empty when none is issued."""
    scope: str


def posted(call: Call) -> Parameters:
    """The parameters of a POST: in the body, form encoded, each once."""
    if call.request.raw_query:
        # RFC 6749 section 2.3.1: credentials must not be in the URL, where every log keeps them.
        raise Refusal(errors.INVALID_REQUEST.saying("Parameters belong into the body, not into the URL"))
    if not call.request.is_form:
        raise Refusal(errors.INVALID_REQUEST.saying("The body has to be application/x-www-form-urlencoded"))
    try:
        return _each_once(call.request.form)
    except EncodingError as error:
        raise Refusal(errors.INVALID_REQUEST) from error


def queried(call: Call) -> Parameters:
    """The parameters of a GET: in the URL, each once."""
    try:
        return _each_once(call.request.query)
    except EncodingError as error:
        raise Refusal(errors.INVALID_REQUEST) from error


def _each_once(parameters: Parameters) -> Parameters:
    if parameters.repeated:
        raise Refusal(errors.INVALID_REQUEST)
    return parameters


def required(parameters: Parameters, name: str) -> str:
    """The value of a parameter that must be there."""
    value = parameters.get(name)
    if value is None:
        raise Refusal(errors.INVALID_REQUEST.saying(f"{name} is missing"))
    return value


def authenticate(call: Call, parameters: Parameters, *styles: Style) -> None:
    """Make sure that the registered application calls, by one of the accepted ways and by no second one besides."""
    in_header = "authorization" in call.request.headers
    in_body = "client_secret" in parameters.names
    by_key = "client_assertion" in parameters.names
    # RFC 6749 section 5.2: an attempt by header is answered with a challenge of the same scheme.
    challenge = [("WWW-Authenticate", f'Basic realm="{call.title}"')] if in_header or "body" not in styles else []
    if in_header + in_body + by_key > 1:
        raise Refusal(errors.INVALID_REQUEST.saying("The client authenticates in more than one way"), *challenge)
    style: Style = "basic" if in_header else "key" if by_key else "body"
    knows = {"basic": _by_header, "body": _by_body, "key": assertions.is_right}[style]
    if style not in styles or not knows(call, parameters):
        raise Refusal(errors.INVALID_CLIENT, *challenge)


def _by_body(call: Call, parameters: Parameters) -> bool:
    secret = parameters.get("client_secret") or ""
    return parameters.get("client_id") == call.client.client_id and call.has_secret(secret)


def _by_header(call: Call, parameters: Parameters) -> bool:
    named = parameters.get("client_id")
    if named is not None and named != call.client.client_id:
        raise Refusal(errors.INVALID_REQUEST.saying("client_id differs from the one that authenticates"))
    try:
        pair = base64.b64decode(call.request.credentials("basic") or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    client_id, colon, secret = pair.partition(":")
    # curl -u, as the guides show it, sends both as they are; RFC 6749 section 2.3.1 has them form encoded first.
    return bool(colon) and any(
        call.client.client_id == a and call.has_secret(b)
        for a, b in ((client_id, secret), (unquote_plus(client_id), unquote_plus(secret)))
    )


def redeem(
    call: Call, parameters: Parameters, *, redirect_uri: Rule, pkce: bool = False, error: Error = INVALID_GRANT
) -> Grant:
    """Turn the code into the grant it stands for, once; `error` is the dialect's word for a bad code."""
    value = required(parameters, "code")
    returned_to = required(parameters, "redirect_uri") if redirect_uri == "required" else parameters.get("redirect_uri")
    code = call.store.find_token("code", value)
    if code is None or not belongs_to_caller(call, code):
        raise Refusal(error)
    if redirect_uri != "unknown" and returned_to is not None and returned_to != code.grant.redirect_uri:
        raise Refusal(error)
    if pkce and not _verifies(parameters.get("code_verifier"), code.grant.code_challenge):
        raise Refusal(error)
    if not code.alive(call.now) or not call.store.use_once(code, call.now):
        _punish_replay(call, value)
        raise Refusal(error)
    return code.grant


def _verifies(verifier: str | None, challenge: str) -> bool:
    if not challenge or verifier is None:
        # A verifier without a challenge is a downgrade (RFC 9700 section 2.1.1), a challenge without one a theft.
        return not challenge and verifier is None
    computed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return 43 <= len(verifier) <= 128 and hmac.compare_digest(computed, challenge.encode())


def _punish_replay(call: Call, value: str) -> None:
    """A code redeemed twice ends what was issued for it (RFC 6749 section 4.1.2)."""
    code = call.store.find_token("code", value)
    if code is not None and code.used:
        call.store.revoke_grant(code.grant.id)


def issue(call: Call, grant: Grant, *, lifetime: int | None, refreshable: bool) -> Issued:
    """The tokens for a code. `lifetime` of the access token in seconds, None for one that never expires."""
    refresh_token = _new_refresh_token(call, grant) if refreshable else ""
    return _issued(call, grant, grant.scope, refresh_token, lifetime)


def refresh(
    call: Call,
    parameters: Parameters,
    *,
    lifetime: int,
    rotation: Literal["never", "always", "revoke on reuse"],
) -> Issued:
    """New tokens for a refresh token (RFC 6749 section 6)."""
    value = required(parameters, "refresh_token")
    token = call.store.find_token("refresh", value)
    if token is None or not belongs_to_caller(call, token):
        raise Refusal(INVALID_GRANT)
    scope = parameters.get("scope") or token.scope
    if not set(scope.split()) <= set(token.scope.split()):
        raise Refusal(errors.INVALID_SCOPE)
    if rotation == "never":
        if not token.alive(call.now):
            raise Refusal(INVALID_GRANT)
        return _issued(call, token.grant, scope, value, lifetime)
    if not token.alive(call.now) or not call.store.use_once(token, call.now):
        if rotation == "revoke on reuse":
            _punish_reuse(call, value)
        raise Refusal(INVALID_GRANT)
    return _issued(call, token.grant, scope, _new_refresh_token(call, token.grant), lifetime)


def _punish_reuse(call: Call, value: str) -> None:
    """A rotated refresh token that comes back was stolen from somebody (RFC 9700 section 4.14.2)."""
    token = call.store.find_token("refresh", value)
    if token is not None and token.used:
        call.store.revoke_grant(token.grant.id)


def _new_refresh_token(call: Call, grant: Grant) -> str:
    value = secrets.token_urlsafe(32)
    call.store.add_token("refresh", value, grant, grant.scope, call.now + REFRESH_LIFETIME)
    return value


def _issued(call: Call, grant: Grant, scope: str, refresh_token: str, lifetime: int | None) -> Issued:
    access_token = secrets.token_urlsafe(32)
    call.store.keep_grant(grant, None if lifetime is None else call.now + REFRESH_LIFETIME + DAY)
    call.store.add_token("access", access_token, grant, scope, None if lifetime is None else call.now + lifetime)
    return Issued(grant, access_token, refresh_token, scope)


def belongs_to_caller(call: Call, token: Token) -> bool:
    """Whether a token was issued to the application that calls."""
    return token.grant.provider == call.provider and token.grant.client_id == call.client.client_id
