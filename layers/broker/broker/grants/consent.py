"""Consent: for clients that are not first-party, the person is asked before the client gets anything.

All clients share one upstream client per provider, so a provider that once approved it approves silently from then on. Without
a question of our own, any registered client could take that approval (the confused deputy, RFC 9700 section 4.4). The question
comes after the provider said who it is, so that the answer can be remembered per client and person; while it is open, the
login is sealed under a secret that only the asked browser holds.

A question is answered once, but a person may click twice, and a browser that sends a form again shows nothing of the first
one's answer. So the code is derived from the browser's secret, and what the redirect needs stays until the code is redeemed: the
same answer from the same browser is answered with the same redirect.
"""

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from broker import audit, clock
from broker.crypto import handles, sealing
from broker.crypto.keys import KeyRing
from broker.encoding import b64url
from broker.grants import ending
from broker.grants.authorization_code import Established, code_for, code_of
from broker.protocol.clients import Client
from broker.protocol.redirects import is_on_device, origin_of
from broker.runtime import Runtime
from broker.store.grants import Consent, Grant, Refused

_PURPOSE = "token-broker login under consent"
_ACCOUNT = "the account"
"""Stands beside the scopes for the power to act at the provider. No scope token has a space (RFC 6749 section 3.3)."""


class NotAsked(Exception):
    """There is no open question for this browser: expired, answered already, or begun in another browser."""


@dataclass(frozen=True)
class Question:
    """A question to this browser. `claims` are about the person who is asked; `contents` go into the code if he agrees.

    `answer`: "allow" or "deny" when the browser has just said so, and claims and contents are gone; "" while it is open.
    """

    grant: Grant
    claims: Mapping[str, Any] = field(repr=False)
    contents: bytes = field(repr=False)
    browser_secret: str = field(repr=False)
    answer: str = ""

    @property
    def code_secret(self) -> bytes:
        """Of the code that comes of it: 256 bits that nobody but this browser can make, and it always the same."""
        return sealing.derive(self.browser_secret.encode(), f"consent code {self.grant.grant_id}")

    def form_token(self, client: Client) -> str:
        """What the page's form must bring back: proof that this very question was shown to this browser (CSRF)."""
        shown = " ".join(asked_for(client, self.grant))
        return b64url(hmac.digest(self.browser_secret.encode(), f"consent form {shown}".encode(), "sha256"))


def asked_for(client: Client, grant: Grant) -> tuple[str, ...]:
    """What the person is asked to agree to: the scope, and the use of his account where the operator lets the client have it."""
    return (*grant.granted_scope, *((_ACCOUNT,) if client.acts_at(grant.provider) else ()))


def is_needed(runtime: Runtime, client: Client, grant: Grant) -> bool:
    """Whether the person has to be asked. One read, for clients that are not first-party. Errors: StoreUnavailable."""
    if grant.ask_consent:
        return True
    if client.first_party:
        return False
    if not counts_later(client, grant.redirect_uri):
        return True
    given = runtime.grants.consent(grant.subject, grant.client_id, origin_of(grant.redirect_uri))
    return given is None or bool(set(asked_for(client, grant)) - set(given.scope))


def counts_later(client: Client, redirect_uri: str) -> bool:
    """Whether an answer counts for later logins as well. Not for a public client on the person's device: any program there may
    say that it is this client, and would be let in unseen (RFC 6749 section 10.2, RFC 8252 section 8.6)."""
    return not (client.is_public and is_on_device(redirect_uri))


def ask(runtime: Runtime, established: Established) -> str:
    """Put the login away until the person has answered. Returns the secret for his browser's cookie.

    Errors: Refused, StoreUnavailable.
    """
    browser_secret = secrets.token_urlsafe(handles.SECRET_BYTES)
    grant = established.grant
    sealed = sealing.seal(browser_secret.encode(), _PURPOSE, established.contents, grant.grant_id.encode())
    waiting = replace(
        grant,
        stage="consent",
        browser_hash=handles.fingerprint(browser_secret.encode()),
        code_sealed=sealed,
        expires_at=clock.now() + runtime.settings.consent_lifetime,
    )
    runtime.grants.finish_exchange(waiting, established.link, exchange_until=grant.expires_at)
    audit.event("consent.asked", grant_id=grant.grant_id, client_id=grant.client_id, provider=grant.provider)
    return browser_secret


def question(runtime: Runtime, grant_id: str, browser_secret: str) -> Question:
    """The question of this browser, open or just answered, in one read and no write, so that reloading or preloading changes
    nothing.

    Errors: NotAsked, StoreUnavailable.
    """
    grant, _ = runtime.grants.read(grant_id)
    if grant is None or clock.now() >= grant.expires_at:
        raise NotAsked
    if grant.browser_hash != handles.fingerprint(browser_secret.encode()):
        raise NotAsked
    if grant.stage != "consent":
        return Question(grant, {}, b"", browser_secret, _answer_of(grant))
    try:
        contents = sealing.unseal(browser_secret.encode(), _PURPOSE, grant.code_sealed, grant.grant_id.encode())
    except sealing.SealBroken:
        raise NotAsked from None
    return Question(grant, json.loads(contents)["claims"], contents, browser_secret)


def _answer_of(grant: Grant) -> str:
    """What was said to a question that is no longer open. Errors: NotAsked when there is nothing that could be said again."""
    if grant.stage == "code":
        return "allow"
    if grant.stage == "ended" and grant.end_reason == "denied":
        return "deny"
    raise NotAsked


def allow(runtime: Runtime, ring: KeyRing, client: Client, asked: Question) -> str:
    """The person agreed, for the first time or again. Returns the authorization code, every time the same one, whose lifetime
    counts from the first.

    Errors: Refused, NotAsked (answered otherwise meanwhile), StoreUnavailable.
    """
    if not asked.answer:
        try:
            return _allow_first(runtime, ring, client, asked)
        except Refused:  # perhaps by another click of the same browser, a moment before
            asked = question(runtime, asked.grant.grant_id, asked.browser_secret)
            if asked.answer != "allow":
                raise
    _note_repeated(asked)
    return code_of(ring, asked.grant.grant_id, asked.code_secret)


def _note_repeated(asked: Question) -> None:
    """Log that the browser gave its answer once more."""
    grant = asked.grant
    audit.event("consent.repeated", grant_id=grant.grant_id, client_id=grant.client_id, provider=grant.provider)


def _allow_first(runtime: Runtime, ring: KeyRing, client: Client, asked: Question) -> str:
    grant = asked.grant
    code, waiting = code_for(runtime, ring, grant, asked.contents, asked.code_secret)
    until = clock.now() + runtime.settings.consent_memory
    given = Consent(grant.subject, grant.client_id, origin_of(grant.redirect_uri), asked_for(client, grant), until)
    remembered = given if counts_later(client, grant.redirect_uri) else None
    runtime.grants.approve(waiting, browser_hash=grant.browser_hash, consent=remembered)
    audit.event("consent.given", grant_id=grant.grant_id, client_id=grant.client_id, provider=grant.provider)
    return code


def deny(runtime: Runtime, issuer: str, asked: Question) -> None:
    """The person refused, for the first time or again: the login ends, and the provider's tokens are deleted.

    They are not revoked. Nobody was given them, and at many providers a revocation ends all that the person ever let the broker
    have: another login of his, which works, would end with this one.
    """
    if asked.answer:
        _note_repeated(asked)
        return
    grant = asked.grant
    if ending.end(runtime, issuer, grant.grant_id, "denied", is_answer=True):
        audit.event("consent.denied", grant_id=grant.grant_id, client_id=grant.client_id, provider=grant.provider)
