"""The refresh token grant (RFC 6749 section 6): rotation that happens exactly once and still forgives a lost answer.

Each generation is used up by one conditional write. Its successor is computed, not stored, so a request that comes again
within the retry window gets the very same one. Everything else with a genuine but used token is reuse, and ends the login
(RFC 9700 section 4.14.2).
"""

from broker import audit, clock
from broker.crypto import handles
from broker.crypto.handles import Handle, Kind
from broker.grants import vault
from broker.grants.issuing import Issuer, TokenAnswer
from broker.protocol.clients import Client
from broker.protocol.errors import INVALID_GRANT, INVALID_SCOPE, INVALID_TARGET, OAuthError
from broker.protocol.parameters import Parameters
from broker.protocol.scopes import parse_scope
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
    resource = form.all("resource")
    due = handle.due
    if due and due <= clock.now():
        due = _renew_upstream(runtime, client, handle, scope)
    idle_lifetime = issuer.idle_lifetime(client)
    try:
        grant = runtime.grants.rotate(
            handle.grant_id,
            generation=handle.generation,
            secret_hash=handles.fingerprint(handle.secret),
            client_id=client.client_id,
            scope=scope,
            resource=issuer.grantable(resource),
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


def _renew_upstream(runtime: Runtime, client: Client, handle: Handle, scope: tuple[str, ...] | None) -> int:
    """Renew the provider's token before the client's own is used up. Returns when it falls due next.

    Only for a token that will rotate or be retried: what must be refused is left to the write that refuses it.
    """
    grant, link = runtime.grants.read(handle.grant_id)
    if grant is None or link is None or not _may_continue(runtime, grant, client, handle, scope):
        return handle.due
    return vault.renew_at_refresh(runtime, grant, link, handle.secret)


def _may_continue(
    runtime: Runtime, grant: Grant, client: Client, handle: Handle, scope: tuple[str, ...] | None
) -> bool:
    return (
        grant.stage == "active"
        and grant.client_id == client.client_id
        and grant.secret_hash == handles.fingerprint(handle.secret)
        and clock.now() < min(grant.expires_at, grant.absolute_expires_at)
        and (grant.generation == handle.generation or _is_retry(runtime, client, handle, grant, scope))
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
    if grant.stage != "active":
        raise _refused(client, handle, f"ended: {grant.end_reason}", "the login has ended, please log in again")
    if clock.now() >= min(grant.expires_at, grant.absolute_expires_at):
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
    if _is_retry(runtime, client, handle, grant, scope):
        audit.event("refresh.retried", grant_id=grant.grant_id, client_id=client.client_id, generation=grant.generation)
        return grant
    _end_family(runtime, client, handle, grant)
    raise _refused(client, handle, "reused", "the refresh token was used before, please log in again")


def _is_retry(runtime: Runtime, client: Client, handle: Handle, grant: Grant, scope: tuple[str, ...] | None) -> bool:
    window = client.retry_window if client.retry_window is not None else runtime.settings.retry_window
    return (
        handle.generation == grant.generation - 1
        and clock.now() < grant.rotated_at + window
        and grant.rotated_scope == " ".join(scope or ())
    )


def _end_family(runtime: Runtime, client: Client, handle: Handle, grant: Grant) -> None:
    audit.event("refresh.reused", grant_id=grant.grant_id, client_id=client.client_id, generation=handle.generation)
    if runtime.grants.end(grant.grant_id, "reuse"):
        audit.event("grant.ended", grant_id=grant.grant_id, client_id=client.client_id, reason="reuse")
        vault.revoke_upstream(runtime, grant.grant_id, handle.secret)


def _refused(client: Client, handle: Handle, reason: str, description: str) -> OAuthError:
    audit.event("refresh.refused", grant_id=handle.grant_id, client_id=client.client_id, reason=reason)
    return OAuthError(INVALID_GRANT, description)
