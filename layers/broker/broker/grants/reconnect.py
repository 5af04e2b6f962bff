"""Links that break and come back: what follows when a provider gives no more tokens for a login, and when a new one replaces it.

A login that has ended never comes back, and none of its tokens works again; reconnecting is a new login (reconnect_request).
Each of the two events is bound to one conditional write, so that it is published at most once however many requests race.
"""

from broker import audit, events
from broker.grants import ending, reconnect_request
from broker.protocol.errors import ErrorKind, OAuthError
from broker.runtime import Runtime
from broker.store.aws import StoreUnavailable
from broker.store.grants import Grant


def required(runtime: Runtime, issuer_url: str, grant: Grant, kind: ErrorKind, reason: str) -> OAuthError:
    """End a login whose provider gives no more tokens, and return the error that tells its client where to reconnect.

    `reason`: the code of vault.LinkDead. Errors: StoreUnavailable when the login could not be ended, or nobody can say who else
    has ended it; the same request may come again then.
    """
    reconnect_url = reconnect_request.url(runtime.keys.ring(), issuer_url, grant)
    ended = ending.end(runtime, issuer_url, grant.grant_id, "upstream_revoked", detail=reason)
    if ended is not None:
        audit.event(
            "link.reconnect_required",
            grant_id=grant.grant_id,
            client_id=grant.client_id,
            provider=grant.provider,
            reason=reason,
        )
        events.publish(runtime, events.reconnect_required(ended, reason, reconnect_url))
    elif not _is_upstream_revoked(runtime.grants.read_grant(grant.grant_id)):
        # A sign-out was first, and took the tokens away: who has signed out must not be asked to come back.
        return OAuthError(kind, "the login has ended, please log in again")
    # "revoked" is the word by which clients of the guides' dialects tell this from a token that has expired.
    description = "the provider has revoked the access, please log in again"
    return OAuthError(kind, description, reconnect_url=reconnect_url)


def url_after_end(runtime: Runtime, issuer_url: str, grant: Grant) -> str | None:
    """Where to reconnect a login that has ended for want of the provider's tokens: the answer that said so may have been lost.
    None for every other login."""
    return reconnect_request.url(runtime.keys.ring(), issuer_url, grant) if _is_upstream_revoked(grant) else None


def _is_upstream_revoked(grant: Grant | None) -> bool:
    return grant is not None and grant.stage == "ended" and grant.end_reason == "upstream_revoked"


def note_recovery(runtime: Runtime, login: Grant) -> None:
    """The client holds the tokens of `login`: if it took the place of one that the provider had ended, tell so, once.

    Best effort: the code is redeemed, so nothing that fails here may keep the tokens from the client.
    """
    if not login.reconnects:
        return
    try:
        ended = runtime.grants.mark_recovered(login.reconnects, by=login)
    except StoreUnavailable as failure:
        audit.event("event.failed", grant_id=login.reconnects, kind=events.RECOVERED, detail=failure.detail)
        return
    if ended is None:
        return
    audit.event(
        "link.recovered",
        grant_id=ended.grant_id,
        client_id=ended.client_id,
        provider=ended.provider,
        recovered_by=login.grant_id,
    )
    events.publish(runtime, events.recovered(ended, login))
