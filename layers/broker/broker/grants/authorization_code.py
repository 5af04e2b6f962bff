"""The authorization code grant (RFC 6749 section 4.1, OAuth 2.1 section 4.1): issuing a code, and redeeming it once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from broker import audit, clock
from broker.crypto import handles, sealing
from broker.crypto.handles import Handle, Kind
from broker.crypto.keys import KeyRing
from broker.encoding import b64url, from_b64url
from broker.grants import ending, granted_scope, reconnect, vault
from broker.grants.issuing import Issuer, TokenAnswer
from broker.protocol import pkce
from broker.protocol.clients import Client
from broker.protocol.errors import INVALID_GRANT, INVALID_REQUEST, INVALID_TARGET, OAuthError
from broker.protocol.parameters import Parameters
from broker.protocol.scopes import parse_resources
from broker.runtime import Runtime
from broker.store.grants import AnswerLost, Grant, Refused
from broker.store.links import Link
from broker.upstream.renewal import can_refresh
from broker.upstream.tokens import UpstreamTokens

if TYPE_CHECKING:
    from broker.upstream.provider import Provider

_CODE_PURPOSE = "token-broker grant secret under code"


@dataclass(frozen=True)
class Person:
    """Who logged in: the subject at the broker, the claims about him, and when he signed in at the provider (epoch seconds;
    None when it does not say, and now is taken for it)."""

    subject: str
    claims: Mapping[str, object]
    auth_time: int | None = None


@dataclass(frozen=True)
class Established:
    """A login whose provider has answered: where it stands in the table, and what must be sealed for its owner.

    Attributes:
        grant: everything but the stage and what belongs to it.
        contents: grant secret and claims, as they are sealed under the code's secret or the browser's.
    """

    grant: Grant
    link: Link
    contents: bytes = field(repr=False)


def establish(
    runtime: Runtime, client: Client, login: Grant, provider: Provider, tokens: UpstreamTokens, person: Person
) -> Established:
    """Seal the provider's tokens under a new grant secret, which lives from now on only in what the client holds."""
    now = clock.now()
    grant_secret = os.urandom(handles.SECRET_BYTES)
    missing_scope = granted_scope.missing(login, tokens)
    if missing_scope:
        granted_scope.report(login, missing_scope)
    grant = replace(
        login,
        subject=person.subject,
        missing_scope=missing_scope,
        auth_time=now if person.auth_time is None else person.auth_time,
        secret_hash=handles.fingerprint(grant_secret),
        upstream_due=vault.due_at(provider, tokens, now),
        absolute_expires_at=_absolute_end(runtime, client, provider, tokens, now),
    )
    link = Link(login.grant_id, login.provider, b"", version=1, due_at=grant.upstream_due)
    kept = {"grant_secret": b64url(grant_secret), "claims": dict(person.claims)}
    if login.dialect and login.state is not None:
        kept["state"] = login.state  # a dialect's token answer may repeat it
    contents = json.dumps(kept).encode()
    return Established(grant, vault.with_tokens(link, tokens, grant_secret), contents)


def code_for(
    runtime: Runtime, ring: KeyRing, grant: Grant, contents: bytes, code_secret: bytes | None = None
) -> tuple[str, Grant]:
    """(a new authorization code, the login at stage "code" with it). `code_secret`: the code's, None for a random one."""
    code_secret = code_secret or os.urandom(handles.SECRET_BYTES)
    sealed = sealing.seal(code_secret, _CODE_PURPOSE, contents, grant.grant_id.encode())
    waiting = replace(
        grant,
        stage="code",
        code_hash=handles.fingerprint(code_secret),
        code_sealed=sealed,
        expires_at=clock.now() + runtime.settings.code_lifetime,
    )
    return code_of(ring, grant.grant_id, code_secret), waiting


def code_of(ring: KeyRing, grant_id: str, code_secret: bytes) -> str:
    """The authorization code with this secret, as the client gets it."""
    key = ring.handle_key()
    return handles.make(Handle(Kind.CODE, grant_id, secret=code_secret, key_id=key.id), key)


def redeem(runtime: Runtime, issuer: Issuer, client: Client, form: Parameters) -> TokenAnswer:
    """Exchange a code for tokens, exactly once.

    Errors: OAuthError invalid_grant (unknown, expired, used, another client's; wrong verifier or redirect_uri),
    invalid_request, invalid_target. Only a request that is right in everything else counts as a replay and ends the login
    (OAuth 2.1 section 4.1.3); a wrong client, verifier or redirect_uri consumes and ends nothing.
    """
    handle = handles.read(Kind.CODE, form.require("code"), issuer.ring)
    if handle is None:
        raise OAuthError(INVALID_GRANT, "the code is not one that was issued here")
    verifier = form.get("code_verifier")
    asked = _Asked(
        challenge=pkce.challenge_of(verifier) if verifier is not None else None,
        redirect_uri=form.get("redirect_uri"),
        redirect_uri_optional=not client.require_redirect_uri,
        resource=parse_resources(form.all("resource")),
        jkt=issuer.jkt,
    )
    key = issuer.ring.handle_key()
    idle_lifetime = issuer.idle_lifetime(client)
    try:
        before = runtime.grants.redeem(
            handle.grant_id,
            code_hash=handles.fingerprint(handle.secret),
            client_id=client.client_id,
            code_challenge=asked.challenge,
            redirect_uri=asked.redirect_uri,
            redirect_uri_optional=asked.redirect_uri_optional,
            jkt=asked.jkt,
            bind_refresh=client.is_public,
            resource=issuer.grantable(asked.resource),
            max_attempts=runtime.settings.code_attempts,
            handle_key=key.id,
            idle_lifetime=idle_lifetime,
        )
    except Refused as refused:
        raise _why_refused(runtime, issuer, handle, client, refused.grant, asked) from None
    except AnswerLost:
        raise _answer_lost(runtime, issuer, handle, client) from None
    inner = json.loads(sealing.unseal(handle.secret, _CODE_PURPOSE, before.code_sealed, before.grant_id.encode()))
    active = replace(before, generation=1, handle_key=key.id, expires_at=clock.now() + idle_lifetime)
    audit.event("code.redeemed", grant_id=before.grant_id, client_id=client.client_id)
    reconnect.note_recovery(runtime, active)
    answer = issuer.answer(
        client,
        active,
        from_b64url(inner["grant_secret"]),
        scope=before.scope,
        resource=asked.resource or before.resource,
        claims=inner["claims"],
    )
    return replace(answer, state=inner.get("state"))


@dataclass(frozen=True)
class _Asked:
    challenge: str | None
    redirect_uri: str | None
    redirect_uri_optional: bool
    resource: tuple[str, ...]
    jkt: str | None

    def matches(self, grant: Grant) -> bool:
        return (
            self.challenge == grant.code_challenge and self.has_redirect_uri_of(grant) and self.has_dpop_key_of(grant)
        )

    def has_dpop_key_of(self, grant: Grant) -> bool:
        """A code that is bound to a key is redeemed with a proof by that key alone (RFC 9449 section 10)."""
        return grant.code_jkt in (None, self.jkt)

    def has_redirect_uri_of(self, grant: Grant) -> bool:
        """OAuth 2.0 wants it repeated if the authorization request had it (RFC 6749 section 4.1.3), 2.1 never."""
        if self.redirect_uri is None:
            return self.redirect_uri_optional or not grant.redirect_uri_sent
        return self.redirect_uri == grant.redirect_uri


def _why_refused(
    runtime: Runtime, issuer: Issuer, handle: Handle, client: Client, grant: Grant | None, asked: _Asked
) -> OAuthError:
    """The error for a code that was not redeemed, and what follows from it for the login."""
    reason, error = _diagnose(runtime, issuer, handle, client, grant, asked)
    audit.event("code.refused", grant_id=handle.grant_id, client_id=client.client_id, reason=reason)
    return error


def _diagnose(
    runtime: Runtime, issuer: Issuer, handle: Handle, client: Client, grant: Grant | None, asked: _Asked
) -> tuple[str, OAuthError]:
    gone = OAuthError(INVALID_GRANT, "the code is unknown, expired or used")
    if grant is None or grant.code_hash != handles.fingerprint(handle.secret):
        return "unknown", gone
    if grant.client_id != client.client_id:
        return "other client", OAuthError(INVALID_GRANT, "the code was issued to another client")
    if grant.stage == "code" and grant.token_ends_at <= clock.now():
        return "expired", gone
    if not asked.matches(grant):
        if grant.stage == "code":
            runtime.grants.count_attempt(handle.grant_id)
        return "verifier, redirect_uri or key", _mismatch(grant, asked)
    if grant.stage == "code" and set(issuer.grantable(asked.resource)) - set(grant.resource):
        return "resource", OAuthError(INVALID_TARGET, "the resource was not part of the authorization request")
    if grant.stage == "code":
        # Only who has the verifier comes as far as this: who guesses hears about his guess, never that none is left.
        return "too many attempts", OAuthError(
            INVALID_GRANT, "the code was tried too often with wrong values, please log in again"
        )
    if grant.stage == "active" and ending.end(runtime, issuer.url, handle.grant_id, "code_replay"):
        audit.event("code.replayed", grant_id=handle.grant_id, client_id=client.client_id)
    return "used", gone


def _answer_lost(runtime: Runtime, issuer: Issuer, handle: Handle, client: Client) -> OAuthError:
    """The code is used up, and the grant secret that was sealed in it is gone with the answer: nobody can go on from here."""
    ending.end(runtime, issuer.url, handle.grant_id, "answer_lost")
    audit.event("code.refused", grant_id=handle.grant_id, client_id=client.client_id, reason="answer lost")
    return OAuthError(INVALID_GRANT, "the code was used up by a request whose answer was lost, please log in again")


def _mismatch(grant: Grant, asked: _Asked) -> OAuthError:
    if not asked.has_redirect_uri_of(grant):
        return OAuthError(INVALID_GRANT, "redirect_uri is not the one of the authorization request")
    if not asked.has_dpop_key_of(grant):
        return OAuthError(INVALID_GRANT, "the code is bound to a DPoP key that the request does not prove")
    if grant.code_challenge is None:
        # RFC 9700 section 4.8.2: a verifier without a challenge is a sign of a stripped one.
        return OAuthError(
            INVALID_REQUEST, "code_verifier is there, but the authorization request had no code_challenge"
        )
    if asked.challenge is None:
        return OAuthError(INVALID_GRANT, "code_verifier is missing")
    return OAuthError(INVALID_GRANT, "code_verifier does not match the code_challenge")


def _absolute_end(runtime: Runtime, client: Client, provider: Provider, tokens: UpstreamTokens, now: int) -> int:
    """A login lives no longer than the access it stands for: without an upstream refresh, until the access token ends."""
    end = now + (client.absolute_lifetime or runtime.settings.absolute_lifetime)
    if tokens.expires_at is not None and not can_refresh(provider, tokens):
        return min(end, tokens.expires_at)
    return end
