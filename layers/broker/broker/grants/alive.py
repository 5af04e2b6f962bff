"""Whether a login still stands behind a token that names it. The one rule, for userinfo and introspection."""

from broker import clock
from broker.crypto import handles
from broker.store.grants import Grant


def stands_behind_access(grant: Grant, grant_secret: bytes) -> bool:
    """Whether access tokens with this grant secret are still good, as far as the login goes."""
    return (
        grant.stage == "active"
        and grant.secret_hash == handles.fingerprint(grant_secret)
        and clock.now() < grant.absolute_expires_at
    )


def stands_behind_refresh(grant: Grant, generation: int, grant_secret: bytes, retry_window: int) -> bool:
    """Whether the refresh token of this generation would be taken now: the present one, or for `retry_window` seconds the
    one before it, which still gets the same successor."""
    if not stands_behind_access(grant, grant_secret) or clock.now() >= grant.expires_at:
        return False
    in_window = generation == grant.generation - 1 and clock.now() < grant.rotated_at + retry_window
    return generation == grant.generation or in_window
