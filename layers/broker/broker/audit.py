"""Audit events: what happened to a login, without anything that could be used or that names a person.

Every event has a registered name and registered fields; docs/audit-events.md lists them for the operator. Some events are
metrics too (broker.metrics). They are lines of the log (broker.log), which is imported when the first one is written.
"""

from typing import TYPE_CHECKING

from broker import clock, metrics

if TYPE_CHECKING:
    from broker.store.aws import StoreUnavailable

EVENTS: dict[str, frozenset[str]] = {
    "login.started": frozenset({"grant_id", "client_id", "provider"}),
    "login.pushed": frozenset({"grant_id", "client_id"}),
    "login.refused": frozenset({"client_id", "error", "detail"}),
    "login.denied": frozenset({"grant_id", "client_id", "provider", "error"}),
    "login.failed": frozenset({"grant_id", "client_id", "provider", "error", "detail", "row"}),
    "callback.refused": frozenset({"provider", "reason"}),
    "consent.asked": frozenset({"grant_id", "client_id", "provider"}),
    "consent.given": frozenset({"grant_id", "client_id", "provider"}),
    "consent.denied": frozenset({"grant_id", "client_id", "provider"}),
    "consent.repeated": frozenset({"grant_id", "client_id", "provider"}),
    "consent.refused": frozenset({"reason"}),
    "client.registered": frozenset({"client_id", "initial_token"}),
    "client.changed": frozenset({"client_id"}),
    "client.unregistered": frozenset({"client_id"}),
    "registration.refused": frozenset({"client_id", "error", "detail"}),
    "client_document.read": frozenset({"client_id"}),
    "client_document.refused": frozenset({"client_id", "reason"}),
    "client_document.unreachable": frozenset({"client_id", "reason"}),
    "device.started": frozenset({"grant_id", "client_id"}),
    "device.confirmed": frozenset({"grant_id", "client_id", "provider"}),
    "device.denied": frozenset({"grant_id", "client_id"}),
    "device.approved": frozenset({"grant_id", "client_id", "provider"}),
    "device.redeemed": frozenset({"grant_id", "client_id"}),
    "device.refused": frozenset({"grant_id", "client_id", "reason"}),
    "device.replayed": frozenset({"grant_id", "client_id"}),
    "device_page.refused": frozenset({"reason"}),
    "code.issued": frozenset({"grant_id", "client_id", "provider"}),
    "code.redeemed": frozenset({"grant_id", "client_id"}),
    "code.refused": frozenset({"grant_id", "client_id", "reason"}),
    "code.replayed": frozenset({"grant_id", "client_id"}),
    "token.refused": frozenset({"client_id", "error", "detail", "grant_type"}),
    "replay.refused": frozenset({"client_id", "kind"}),
    "refresh.rotated": frozenset({"grant_id", "client_id", "generation"}),
    "refresh.retried": frozenset({"grant_id", "client_id", "generation"}),
    "refresh.refused": frozenset({"grant_id", "client_id", "reason"}),
    "refresh.reused": frozenset({"grant_id", "client_id", "generation"}),
    "grant.ended": frozenset({"grant_id", "client_id", "reason", "detail", "upstream_revoked"}),
    "link.reconnect_required": frozenset({"grant_id", "client_id", "provider", "reason"}),
    "link.recovered": frozenset({"grant_id", "client_id", "provider", "recovered_by"}),
    "link.other_account": frozenset({"grant_id", "client_id", "provider", "reconnects"}),
    "link.unreadable": frozenset({"grant_id", "provider"}),
    "link.scope_narrowed": frozenset({"grant_id", "client_id", "provider", "missing", "count"}),
    "event.failed": frozenset({"grant_id", "kind", "detail"}),
    "logout.refused": frozenset({"client_id", "reason"}),
    "backchannel.told": frozenset({"grant_id", "client_id"}),
    "backchannel.failed": frozenset({"grant_id", "client_id", "kind", "status"}),
    "introspection.refused": frozenset({"client_id", "reason"}),
    "upstream.called": frozenset({"provider", "phase", "status", "kind", "milliseconds"}),
    "upstream.refreshed": frozenset({"grant_id", "provider", "version"}),
    "upstream.rescued": frozenset({"grant_id", "provider", "version", "detail"}),
    "upstream.recovered": frozenset({"grant_id", "provider", "version"}),
    "upstream.lost": frozenset({"grant_id", "provider", "version", "detail"}),
    "upstream.failed": frozenset({"grant_id", "provider", "phase", "kind", "row", "status", "detail"}),
    "upstream.misconfigured": frozenset({"grant_id", "provider", "phase", "kind", "row", "status", "detail"}),
    "upstream.secret_fallback": frozenset({"provider", "slot"}),
    "userinfo.refused": frozenset({"grant_id", "client_id", "reason"}),
    "upstream.token_given": frozenset({"grant_id", "client_id", "provider"}),
    "proxy.called": frozenset({"grant_id", "client_id", "provider", "method", "status"}),
    "proxy.refused": frozenset({"grant_id", "client_id", "provider", "reason"}),
    "instance.started": frozenset({"init_type"}),
    "request.limited": frozenset({"limit"}),
    "limit.uncounted": frozenset({"limit", "detail"}),
    "limit.unreadable": frozenset({"detail"}),
    "keys.read": frozenset({"age_days"}),
    "keys.rotated": frozenset({"step", "added", "removed"}),
    "keys.rotation_failed": frozenset({"step", "detail"}),
    "keys.not_known": frozenset({"detail"}),
    "store.unavailable": frozenset({"detail"}),
    "request.failed": frozenset({"error_type"}),
}
"""Event name -> the fields it may have."""


def event(name: str, **values: object) -> None:
    """Write one audit event. Errors: ValueError for an unregistered name or field (a fault of the program)."""
    allowed = EVENTS.get(name)
    if allowed is None or not allowed.issuperset(values):
        raise ValueError(f"audit event {name} with fields {sorted(values)} is not registered")
    from broker.log import logger

    fields = {field: value for field, value in values.items() if value not in (None, "")}
    logger.info(name, extra={"audit": name} | metrics.members(name, fields, clock.now_ms()))


def unavailable(failure: "StoreUnavailable") -> None:
    """Write why something could not be done now: as a failure of the store only if it was one, as that stops deployments."""
    if failure.event is not None:
        event(failure.event, detail=failure.detail)
