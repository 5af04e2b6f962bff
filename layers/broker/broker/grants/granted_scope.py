"""Scopes that a provider granted fewer of than were asked for (RFC 6749 section 3.3): noted on the login, and told.

What is missing only ever grows. A provider that gave a scope back later would give it without the person having been asked.
"""

from broker import audit
from broker.protocol.scopes import provider_scope
from broker.runtime import Runtime
from broker.store.grants import Grant
from broker.upstream.tokens import UpstreamTokens

MAX_TOLD = 200
"""Characters of scope names in one audit event."""


def missing(grant: Grant, tokens: UpstreamTokens) -> tuple[str, ...]:
    """Of the login's scope, what the provider's tokens do not have, or at one time did not; in the order asked for."""
    if tokens.scope is None:  # neither the request nor any answer named one
        return grant.missing_scope
    lacking = {*grant.missing_scope, *tokens.missing_scope(provider_scope(grant.scope))}
    return tuple(scope for scope in grant.scope if scope in lacking)


def note(runtime: Runtime, grant: Grant, tokens: UpstreamTokens) -> None:
    """Write down what a refreshed token has lost. No I/O when nothing has changed. Errors: StoreUnavailable."""
    now_missing = missing(grant, tokens)
    if now_missing != grant.missing_scope and runtime.grants.note_missing_scope(grant, now_missing):
        report(grant, now_missing)


def report(grant: Grant, missing_scope: tuple[str, ...]) -> None:
    """Put what is missing into the audit log."""
    audit.event(
        "link.scope_narrowed",
        grant_id=grant.grant_id,
        client_id=grant.client_id,
        provider=grant.provider,
        missing=" ".join(missing_scope)[:MAX_TOLD],
        count=len(missing_scope),
    )
