"""The refresh token grant (RFC 6749 section 6): rotation that happens exactly once and still forgives a lost answer.

Each generation is used up by one conditional write. Its successor is computed, not stored, so a request that comes again
within the retry window gets the very same one. Everything else with a genuine but used token is reuse, and ends the login
(RFC 9700 section 4.14.2).
"""

from broker import audit, clock
from broker.crypto import handles
from broker.crypto.handles import Handle, Kind
from broker.grants import ending, granted_scope, reconnect, vault
from broker.grants.issuing import Issuer, TokenAnswer
from broker.protocol.clients import Client
from broker.protocol.errors import INVALID_GRANT, INVALID_SCOPE, INVALID_TARGET, OAuthError
from broker.protocol.parameters import Parameters
from broker.protocol.scopes import parse_resources, parse_scope
from broker.runtime import Runtime
from broker.store.grants import Grant, Refused


def refresh(runtime: Runtime, issuer: Issuer, client: Client, refresh_token: str, form: Parameters) -> TokenAnswer:
    """Rotate a refresh token.

    Errors: OAuthError invalid_grant, invalid_scope, invalid_target; temporarily_unavailable when the provider's token had
    to be renewed first and could not be: then nothing was consumed. A wrong client consumes and ends nothing.
    """
    handle = handles.read(Kind.REFRESH, refresh_token, issuer.ring)
    if handle is None:
        raise OAuthError(INVALID_GRANT, "the refresh token is not one that was issued here")
    scope = parse_scope(form.get("scope"))
    resource = parse_resources(form.all("resource"))
    due = handle.due
    if due and due <= clock.now():
        due = _renew_upstream(runtime, issuer, client, handle, scope)
    idle_lifetime = issuer.idle_lifetime(client)
    try:
        grant = runtime.grants.rotate(
            handle.grant_id,
            generation=handle.generation,
            secret_hash=handles.fingerprint(handle.secret),
            client_id=client.client_id,
            scope=scope,
            resource=issuer.grantable(resource),
            jkt=issuer.jkt,
            is_public=client.is_public,
            handle_key=issuer.ring.handle_key().id,
            upstream_due=due,
            idle_lifetime=idle_lifetime,
        )
        audit.event("refresh.rotated", grant_id=grant.grant_id, client_id=client.client_id, generation=grant.generation)
    except Refused as refused:
        grant = _same_successor_or_raise(runtime, issuer, client, handle, refused.grant, scope, resource)
    return issuer.answer(
        client, grant, handle.secret, scope=scope or grant.scope, resource=resource or grant.resource, claims=None
    )


def _renew_upstream(
    runtime: Runtime, issuer: Issuer, client: Client, handle: Handle, scope: tuple[str, ...] | None
) -> int:
    """Renew the provider's token before the client's own is used up. Returns when it falls due next.

    Only for a token that will rotate or be retried: what must be refused is left to the write that refuses it.
    """
    grant, link = runtime.grants.read(handle.grant_id)
    if grant is None or not _may_continue(runtime, issuer, grant, client, handle, scope):
        return handle.due
    if link is None:
        raise reconnect.required(runtime, issuer.url, grant, INVALID_GRANT, "gone")
    try:
        fresh = vault.renew_at_refresh(runtime, grant, link, handle.secret)
    except vault.LinkDead as dead:
        raise reconnect.required(runtime, issuer.url, grant, INVALID_GRANT, dead.reason) from None
    granted_scope.note(runtime, grant, fresh.tokens)
    return fresh.link.due_at


def _may_continue(
    runtime: Runtime, issuer: Issuer, grant: Grant, client: Client, handle: Handle, scope: tuple[str, ...] | None
) -> bool:
    return (
        grant.stage == "active"
        and grant.client_id == client.client_id
        and _has_key(issuer, client, grant)
        and grant.secret_hash == handles.fingerprint(handle.secret)
        and clock.now() < grant.token_ends_at
        and (grant.generation == handle.generation or _is_retry(runtime, issuer, client, handle, grant, scope))
    )


def _same_successor_or_raise(
    runtime: Runtime,
    issuer: Issuer,
    client: Client,
    handle: Handle,
    grant: Grant | None,
    scope: tuple[str, ...] | None,
    resource: tuple[str, ...],
) -> Grant:
    """The login whose present refresh token is to be given again. Errors: OAuthError for everything else."""
    if grant is None or grant.secret_hash != handles.fingerprint(handle.secret):
        raise _refused(client, handle, "unknown", "the refresh token is unknown or expired")
    if grant.client_id != client.client_id:
        raise _refused(client, handle, "other client", "the refresh token was issued to another client")
    if not _has_key(issuer, client, grant) and handle.generation >= grant.bound_from:
        # Before all that follows, so that whoever found a bound token without its key cannot even end the login.
        raise _refused(client, handle, "other DPoP key", "the refresh token is bound to a DPoP key that is not proved")
    if grant.stage != "active":
        refused = _refused(client, handle, f"ended: {grant.end_reason}", "the login has ended, please log in again")
        refused.reconnect_url = reconnect.url_after_end(runtime, issuer.url, grant)
        raise refused
    if clock.now() >= grant.token_ends_at:
        raise _refused(client, handle, "expired", "the login has expired, please log in again")
    if set(scope or ()) - set(grant.scope):
        raise OAuthError(INVALID_SCOPE, "the scope is wider than what was granted")
    if set(issuer.grantable(resource)) - set(grant.resource):
        raise OAuthError(INVALID_TARGET, "the resource was not granted")
    if handle.generation > grant.generation:
        raise _refused(client, handle, "from the future", "the refresh token is unknown or expired")
    if handle.generation == grant.generation:
        # All conditions hold, so the write lost to nothing that is there now: let the client repeat it.
        raise vault.temporarily_unavailable("rotation refused without a cause")
    if _is_retry(runtime, issuer, client, handle, grant, scope):
        audit.event("refresh.retried", grant_id=grant.grant_id, client_id=client.client_id, generation=grant.generation)
        return grant
    _end_family(runtime, issuer, client, handle, grant)
    raise _refused(client, handle, "reused", "the refresh token was used before, please log in again")


def _has_key(issuer: Issuer, client: Client, grant: Grant) -> bool:
    """Whether the request proves the key that a public client's refresh token is bound to, if it is (RFC 9449 section 5)."""
    return not client.is_public or grant.refresh_jkt in (None, issuer.jkt)


def _is_retry(
    runtime: Runtime, issuer: Issuer, client: Client, handle: Handle, grant: Grant, scope: tuple[str, ...] | None
) -> bool:
    """Whether the present successor is given again: for a while to the same request, and to the holder of the DPoP key
    until he has used it, since a bound token is of no use to a thief. A window of 0 is strict for both."""
    window = client.retry_window if client.retry_window is not None else runtime.settings.retry_window
    if handle.generation != grant.generation - 1 or window == 0:
        return False
    if client.is_public and grant.refresh_jkt is not None:
        return grant.refresh_jkt == issuer.jkt
    return clock.now() < grant.rotated_at + window and grant.rotated_scope == " ".join(scope or ())


def _end_family(runtime: Runtime, issuer: Issuer, client: Client, handle: Handle, grant: Grant) -> None:
    audit.event("refresh.reused", grant_id=grant.grant_id, client_id=client.client_id, generation=handle.generation)
    ending.end(runtime, issuer.url, grant.grant_id, "reuse", grant_secret=handle.secret)


def _refused(client: Client, handle: Handle, reason: str, description: str) -> OAuthError:
    audit.event("refresh.refused", grant_id=handle.grant_id, client_id=client.client_id, reason=reason)
    return OAuthError(INVALID_GRANT, description)
