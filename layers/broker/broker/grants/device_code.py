"""The device authorization grant (RFC 8628): a device waits and polls, while a person logs in with a browser elsewhere.

The device code is a handle whose secret is a private X25519 key. The table has the public key, to which the callback seals the
grant secret, so the design holds here too: nothing that is stored opens a provider's token, and only the device can redeem.
"""

import json
import os
from dataclasses import dataclass, field, replace

from broker import audit, clock
from broker.crypto import handles, sealed_box
from broker.crypto.handles import Handle, Kind
from broker.crypto.keys import KeyRing
from broker.encoding import from_b64url
from broker.grants import ending, reconnect
from broker.grants.authorization_code import Established
from broker.grants.issuing import Issuer, TokenAnswer
from broker.grants.vault import temporarily_unavailable
from broker.protocol import device
from broker.protocol.clients import Client
from broker.protocol.errors import (
    ACCESS_DENIED,
    AUTHORIZATION_PENDING,
    EXPIRED_TOKEN,
    INVALID_GRANT,
    INVALID_TARGET,
    SLOW_DOWN,
    OAuthError,
)
from broker.protocol.parameters import Parameters
from broker.protocol.scopes import parse_resources
from broker.runtime import Runtime
from broker.store.device_logins import WAITING
from broker.store.grants import AnswerLost, Grant, Refused, new_grant_id

_PURPOSE = "token-broker grant secret to device"
_USER_CODE_TRIES = 5


@dataclass(frozen=True)
class DeviceCode:
    """What a device is given: the code that it polls with, and the one that it shows, in its normal form."""

    device_code: str = field(repr=False)
    user_code: str = field(repr=False)


def begin(
    runtime: Runtime,
    ring: KeyRing,
    client: Client,
    *,
    provider: str | None,
    scope: tuple[str, ...],
    resource: tuple[str, ...],
    reconnects: str = "",
) -> DeviceCode:
    """A new login that waits for a person. `provider` None: the person chooses; `reconnects`: the login whose place it takes.

    Errors: OAuthError, StoreUnavailable.
    """
    secret, now = os.urandom(handles.SECRET_BYTES), clock.now()
    until = now + runtime.settings.device_lifetime
    login = Grant(
        grant_id=new_grant_id(),
        stage="device",
        client_id=client.client_id,
        provider=provider or "",
        asked_provider=provider or "",
        created_at=now,
        expires_at=until,
        scope=scope,
        resource=resource,
        code_hash=handles.fingerprint(secret),
        device_key=sealed_box.public_key(secret),
        device_until=until,
        poll_interval=runtime.settings.device_interval,
        reconnects=reconnects,
    )
    user_code = _begin(runtime, login)
    audit.event("device.started", grant_id=login.grant_id, client_id=client.client_id)
    key = ring.handle_key()
    return DeviceCode(handles.make(Handle(Kind.DEVICE, login.grant_id, secret=secret, key_id=key.id), key), user_code)


def ready(established: Established) -> Grant:
    """The login at stage "device_ready", sealed to its device. Errors: Refused when the device code has ended meanwhile."""
    grant = established.grant
    if grant.device_until <= clock.now():
        raise Refused(grant)
    sealed = sealed_box.seal(grant.device_key, _PURPOSE, established.contents, grant.grant_id.encode())
    return replace(grant, stage="device_ready", code_sealed=sealed, expires_at=grant.device_until)


def redeem(runtime: Runtime, issuer: Issuer, client: Client, form: Parameters) -> TokenAnswer:
    """One poll: tokens once the person has approved. While he has not, it costs one conditional write.

    Errors: OAuthError authorization_pending, slow_down, expired_token, access_denied (RFC 8628 section 3.5), invalid_grant
    (unknown, used, another client's), invalid_target. A used code that comes again, right in everything, ends the login as an
    authorization code does.
    """
    handle = handles.read(Kind.DEVICE, form.require("device_code"), issuer.ring)
    if handle is None:
        raise OAuthError(INVALID_GRANT, "the device_code is not one that was issued here")
    resource = parse_resources(form.all("resource"))
    try:
        runtime.device_logins.poll(
            handle.grant_id, code_hash=handles.fingerprint(handle.secret), client_id=client.client_id
        )
    except Refused as refused:
        ready = _ready_or_raise(runtime, issuer, client, handle, refused.grant)
        return _redeem_ready(runtime, issuer, client, handle, ready, resource)
    raise OAuthError(AUTHORIZATION_PENDING, "the person has not finished yet")


def _begin(runtime: Runtime, login: Grant) -> str:
    for _ in range(_USER_CODE_TRIES):
        user_code = device.new_user_code()
        try:
            runtime.device_logins.begin_device(login, user_code)
        except Refused:  # the user code is in use
            continue
        return user_code
    raise temporarily_unavailable("no free user code was found")


def _redeem_ready(
    runtime: Runtime, issuer: Issuer, client: Client, handle: Handle, ready: Grant, resource: tuple[str, ...]
) -> TokenAnswer:
    key = issuer.ring.handle_key()
    idle_lifetime = issuer.idle_lifetime(client)
    try:
        before = runtime.device_logins.redeem_device(
            handle.grant_id,
            code_hash=handles.fingerprint(handle.secret),
            client_id=client.client_id,
            resource=issuer.grantable(resource),
            jkt=issuer.jkt,
            bind_refresh=client.is_public,
            handle_key=key.id,
            idle_lifetime=idle_lifetime,
        )
    except Refused as refused:
        _ready_or_raise(runtime, issuer, client, handle, refused.grant)
        raise OAuthError(INVALID_TARGET, "the resource was not part of the device authorization request") from None
    except AnswerLost:
        before = ready  # what the lost answer had was read a moment ago, with the poll that was refused
    inner = json.loads(sealed_box.unseal(handle.secret, _PURPOSE, before.code_sealed, before.grant_id.encode()))
    active = replace(before, generation=1, handle_key=key.id, expires_at=clock.now() + idle_lifetime)
    audit.event("device.redeemed", grant_id=before.grant_id, client_id=client.client_id)
    reconnect.note_recovery(runtime, active)
    return issuer.answer(
        client,
        active,
        from_b64url(inner["grant_secret"]),
        scope=before.scope,
        resource=resource or before.resource,
        claims=inner["claims"],
    )


def _ready_or_raise(runtime: Runtime, issuer: Issuer, client: Client, handle: Handle, grant: Grant | None) -> Grant:
    """The login that refused a device's write, if it is ready for it. Errors: OAuthError: what the device is told."""
    if grant is None:
        raise _refused(client, handle, "gone", OAuthError(EXPIRED_TOKEN, "the device_code has expired"))
    if grant.code_hash != handles.fingerprint(handle.secret):
        raise _refused(client, handle, "unknown", OAuthError(INVALID_GRANT, "the device_code is unknown"))
    if grant.client_id != client.client_id:
        error = OAuthError(INVALID_GRANT, "the device_code was issued to another client")
        raise _refused(client, handle, "other client", error)
    if grant.stage == "ended" and grant.end_reason == "denied":
        raise _refused(
            client, handle, "denied", OAuthError(ACCESS_DENIED, "the person or the provider denied the access")
        )
    if grant.stage not in (*WAITING, "device_ready"):
        _end_if_replayed(runtime, issuer, client, grant)
        raise _refused(client, handle, "used", OAuthError(INVALID_GRANT, "the device_code was used"))
    if grant.device_until <= clock.now() or (
        grant.stage == "device_ready" and grant.absolute_expires_at <= clock.now()
    ):
        raise _refused(client, handle, "expired", OAuthError(EXPIRED_TOKEN, "the device_code has expired"))
    if grant.stage in WAITING:
        raise _too_soon(runtime, grant)
    return grant


def _end_if_replayed(runtime: Runtime, issuer: Issuer, client: Client, grant: Grant) -> None:
    if grant.stage == "active" and ending.end(runtime, issuer.url, grant.grant_id, "code_replay"):
        audit.event("device.replayed", grant_id=grant.grant_id, client_id=client.client_id)


def _too_soon(runtime: Runtime, grant: Grant) -> OAuthError:
    """RFC 8628 section 3.5: this and all later intervals are 5 seconds longer."""
    try:
        runtime.device_logins.slow_down(grant.grant_id, device.SLOW_DOWN_SECONDS)
    except Refused:  # redeemed at this very moment, by a poll that was on time
        return OAuthError(INVALID_GRANT, "the device_code was used")
    return OAuthError(SLOW_DOWN, f"wait {device.SLOW_DOWN_SECONDS} seconds longer between polls from now on")


def _refused(client: Client, handle: Handle, reason: str, error: OAuthError) -> OAuthError:
    audit.event("device.refused", grant_id=handle.grant_id, client_id=client.client_id, reason=reason)
    return error
