"""Ending a login: the one place where a login that gave out something ends, and all that follows from its end.

The end itself is one conditional write, so whatever follows happens once, however many requests race. What follows is best
effort: it never changes the answer, and never brings the login back.
"""

from broker import audit
from broker.grants import backchannel, vault
from broker.runtime import Runtime
from broker.store.grants import Grant

TOLD = frozenset({"logout", "reuse", "code_replay", "upstream_revoked"})
"""The reasons that the client has not brought about knowingly by itself, and is told of (Back-Channel Logout)."""


def end(
    runtime: Runtime,
    issuer: str,
    grant_id: str,
    reason: str,
    *,
    client_id: str | None = None,
    grant_secret: bytes | None = None,
    detail: str = "",
    is_answer: bool = False,
) -> Grant | None:
    """End a login, here and at its provider, and tell its client where that is due. Returns it as it is now; None if it had
    ended before.

    `client_id`: only if the login is this client's. `detail`: what the reason leaves open. `grant_secret`: opens the
    provider's tokens, so that they can be revoked there; without it, or where the provider has ended the access itself,
    or nobody was ever given them, they are only deleted. `is_answer`: as for `Grants.end`.
    Errors: StoreUnavailable when the login could not be ended; then nothing has happened.
    """
    ended = runtime.grants.end(grant_id, reason, client_id=client_id, detail=detail, is_answer=is_answer)
    if ended is None:
        if grant_secret is not None:
            vault.finish_revocation(runtime, grant_id, grant_secret, client_id)
        return None
    revoked = _let_go(runtime, grant_id, grant_secret)
    audit.event(
        "grant.ended",
        grant_id=grant_id,
        client_id=ended.client_id,
        reason=reason,
        detail=detail,
        upstream_revoked=revoked,
    )
    # Before its code is redeemed, a login has given the client nothing that it could sign a person out of.
    if reason in TOLD and ended.generation > 0:
        backchannel.tell(runtime, issuer, ended)
    return ended


def _let_go(runtime: Runtime, grant_id: str, grant_secret: bytes | None) -> bool:
    """Revoke the provider's tokens if they can be opened, and delete them. Returns whether the provider was told."""
    if grant_secret is not None:
        return vault.revoke_upstream(runtime, grant_id, grant_secret)
    vault.drop(runtime, grant_id)
    return False
