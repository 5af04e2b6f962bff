"""The one interpreter: what a provider's file says, done. There is no provider's name in it.

Must never decide anything about the broker's own grants: it turns a dialect into calls and calls into tokens,
profiles or an UpstreamFailure.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from broker.upstream.authorization import (
    CallbackAnswer,
    CallbackProblem,
    Credentials,
    authorization_url,
    callback_redirect_uri,
    read_callback,
)
from broker.upstream.calls import Call, Sleep, Values, perform
from broker.upstream.failures import FailureKind, Phase, UpstreamFailure
from broker.upstream.normalise import Received, read_tokens
from broker.upstream.paths import first, is_empty, lookup
from broker.upstream.templates import placeholders
from broker.upstream.tokens import UpstreamTokens
from broker.upstream.transport import Deadline, Sender

if TYPE_CHECKING:
    from broker.upstream.provider import Provider, TokenDialect, UserinfoDialect

__all__ = [
    "CallbackAnswer",
    "CallbackProblem",
    "Credentials",
    "Profile",
    "authorization_url",
    "callback_redirect_uri",
    "exchange_code",
    "fetch_profile",
    "read_callback",
    "refresh_tokens",
    "revoke_tokens",
]

MAX_SUBJECT = 255  # OpenID Connect Core section 2
MAX_CLAIM = 4096
"""Bytes of a claim's JSON."""
MAX_DEPTH = 16
"""Objects and lists of a claim within each other. What was just not too deep to read may be too deep to write."""
_BOOLEANS = frozenset({"email_verified", "phone_number_verified"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""And half a surrogate pair, which no UTF-8 text can hold."""


@dataclass(frozen=True)
class Profile:
    """Who logged in. claims: OpenID names with the provider's JSON values, `sub` among them; document: the whole
    answer.
    """

    subject: str = field(repr=False)
    claims: Mapping[str, object] = field(repr=False)
    document: Mapping[str, object] = field(repr=False)


def exchange_code(
    provider: Provider,
    credentials: Credentials,
    http: Sender,
    *,
    code: str,
    redirect_uri: str,
    code_verifier: str | None,
    state: str | None,
    asked_scope: Sequence[str],
    kept: Mapping[str, str],
    now: int,
    deadline: Deadline,
    sleep: Sleep = time.sleep,
) -> UpstreamTokens:
    """Redeem an authorization code (RFC 6749 section 4.1.3), once.

    redirect_uri: the one of the authorization request. code_verifier: sent where the dialect has PKCE. asked_scope:
    what the answer means when it names none. kept: of the callback. now: epoch seconds. Raises UpstreamFailure.
    """
    params = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
    if provider.uses_pkce and code_verifier is not None:
        params["code_verifier"] = code_verifier
    values = Values(provider, credentials, kept, state=state)
    known = Received(now, tuple(asked_scope), kept)
    return _token_call(Phase.CODE, provider.token, params, values, known, http, deadline, sleep)


def refresh_tokens(
    provider: Provider,
    credentials: Credentials,
    http: Sender,
    tokens: UpstreamTokens,
    *,
    now: int,
    deadline: Deadline,
    sleep: Sleep = time.sleep,
) -> UpstreamTokens:
    """New tokens for old (RFC 6749 section 6). The old refresh token, scope and kept values stay where the answer
    brings none.

    Without anything to refresh with, the grant is over: UpstreamFailure of kind GRANT_REFUSED, and nothing is sent.
    """
    using = provider.refresh.using
    token = tokens.access_token if using == "access_token" else tokens.refresh_token
    if token is None:
        raise UpstreamFailure(
            FailureKind.GRANT_REFUSED, row=9, error="invalid_grant", sent=False, detail="no refresh token"
        )
    params = {"grant_type": "refresh_token", using: token}
    values = Values(provider, credentials, tokens.kept, tokens)
    known = Received(now, tokens.scope or (), tokens.kept, previous=tokens)
    return _token_call(Phase.REFRESH, provider.refresh, params, values, known, http, deadline, sleep)


def _token_call(
    phase: Phase,
    dialect: TokenDialect,
    params: Mapping[str, str],
    values: Values,
    known: Received,
    http: Sender,
    deadline: Deadline,
    sleep: Sleep,
) -> UpstreamTokens:
    call = Call(
        phase,
        dialect.method,
        dialect.url,
        dialect.body,
        dialect.params,
        dialect.headers,
        given=params,
        auth=dialect.auth,
        basic_encoding=dialect.basic_encoding,
        rename=dialect.rename,
        ok=dialect.ok,
    )
    answer = perform(call, values, http, deadline, sleep)
    return read_tokens(values.provider, dialect, answer.document or {}, known)


def fetch_profile(
    provider: Provider,
    credentials: Credentials,
    http: Sender,
    tokens: UpstreamTokens,
    *,
    deadline: Deadline,
    sleep: Sleep = time.sleep,
) -> Profile:
    """The user the access token speaks for. Raises UpstreamFailure; ValueError for a provider without userinfo
    (`has_userinfo`).
    """
    dialect = provider.userinfo
    if dialect is None:
        raise ValueError(f"{provider.name} has no userinfo.url")
    values = Values(provider, credentials, tokens.kept, tokens)
    placed = {dialect.token.name: dialect.token.text}
    in_query = dialect.token.place == "query"
    call = Call(
        Phase.USERINFO,
        dialect.method,
        dialect.url,
        "query" if dialect.method == "GET" or in_query else "form",
        {**dialect.params, **placed} if in_query else dialect.params,
        dialect.headers if in_query else {**dialect.headers, **placed},
        ok=dialect.ok,
    )
    answer = perform(call, values, http, deadline, sleep)
    return _profile(dialect, answer.document or {})


def _profile(dialect: UserinfoDialect, document: Mapping[str, object]) -> Profile:
    root = next((found for path in dialect.root if not is_empty(found := lookup(document, path))), document)
    subject = read_subject(first(root, dialect.claims["sub"]))
    claims = read_claims(root, dialect.claims)
    return Profile(subject, MappingProxyType({**claims, "sub": subject}), MappingProxyType(dict(document)))


def read_subject(value: object) -> str:
    """A user's id as text. A boolean or an object is none, and a number that lost digits may be somebody else's."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**MAX_SUBJECT:
        value = str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_SUBJECT or _CONTROL.search(value):
        raise UpstreamFailure(FailureKind.NO_SUBJECT, row=30, status=200, detail="the profile holds no usable subject")
    return value


def read_claims(document: object, named: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """The claims that are there, without those that the broker cannot pass on."""
    found = {name: _claim(name, first(document, paths)) for name, paths in named.items()}
    return {name: value for name, value in found.items() if not is_empty(value) and _is_usable(value)}


def _is_usable(value: object) -> bool:
    """Whether a claim can be stored with the login and told in JSON, which has no NaN and no Infinity (RFC 8259 section 6),
    though Python reads them.
    """
    if _is_deeper(value, MAX_DEPTH):
        return False
    try:
        return len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode()) <= MAX_CLAIM
    except ValueError:
        return False


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)


def _claim(name: str, value: object) -> object:
    """OpenID Connect Core section 5.1 has email_verified as a boolean; Apple and others write "true"."""
    if name in _BOOLEANS and value in ("true", "false"):
        return value == "true"
    return value


def revoke_tokens(
    provider: Provider,
    credentials: Credentials,
    http: Sender,
    tokens: UpstreamTokens,
    *,
    deadline: Deadline,
    sleep: Sleep = time.sleep,
) -> bool:
    """End the grant at the provider (RFC 7009). False: the provider has no revocation. Raises UpstreamFailure.

    The refresh token is revoked where there is one: the provider then ends the access tokens with it (section 2.1).
    """
    dialect = provider.revoke
    if dialect is None:
        return False
    named = {name for text in dialect.params.values() for name in placeholders(text)}
    hint = "refresh_token" if tokens.refresh_token else "access_token"
    token = {"token": tokens.refresh_token or tokens.access_token, "token_type_hint": hint}
    call = Call(
        Phase.REVOKE,
        dialect.method,
        dialect.url,
        dialect.body,
        dialect.params,
        dialect.headers,
        given={} if named & {"access_token", "refresh_token"} else token,
        auth=dialect.auth,
        basic_encoding=dialect.basic_encoding,
    )
    perform(call, Values(provider, credentials, tokens.kept, tokens), http, deadline, sleep)
    return True
