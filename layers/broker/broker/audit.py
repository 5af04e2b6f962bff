"""Audit events and the log: what happened to a login, without anything that could be used or that names a person.

Every event has a registered name and registered fields; docs/audit-events.md lists them for the operator. Some events are
metrics too (broker.metrics).
"""

import json
import logging
import re
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from broker import clock, metrics

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
    "keys.read": frozenset({"age_days"}),
    "keys.rotated": frozenset({"step", "added", "removed"}),
    "keys.rotation_failed": frozenset({"step", "detail"}),
    "store.unavailable": frozenset({"detail"}),
    "request.failed": frozenset({"error_type"}),
}
"""Event name -> the fields it may have."""

_PATTERNS = (
    (re.compile(r"tb[a-z]{1,2}_[A-Za-z0-9_-]{16,}"), "[handle]"),
    (re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)?"), "[jwt]"),
    (re.compile(r"(?i)\b(bearer|basic|dpop)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 [credentials]"),
    (re.compile(r"[A-Za-z0-9._%+'-]+(?:@|%40)[A-Za-z0-9-]+\.[A-Za-z0-9.-]+"), "[email]"),
    (
        re.compile(
            r"(?i)([\"']?\b(?:code|user_code|device_code|state|access_token|refresh_token|id_token|client_secret|client_assertion|code_verifier|password"
            r"|user_token|auth_code|api_key|subject_token|cookie|authorization)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',;}]+"
        ),
        r"\1[redacted]",
    ),
)


def redact(text: str) -> str:
    """`text` without anything that looks like a token, credential or e-mail address."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


class RedactingFormatter(LambdaPowertoolsFormatter):
    """Redacts the finished line, so that no path into the log (exception text included) goes around it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON, redacted value by value so that it stays JSON."""
        line = json.loads(super().format(record))
        if "audit" in line:
            del line["message"]  # it says the same, and every byte of a line is paid for
        return json.dumps(_redacted(line), separators=(",", ":"))


def _redacted(value: Any) -> Any:
    match value:
        case str():
            return redact(value)
        case dict():
            return {name: _redacted(entry) for name, entry in value.items()}
        case list():
            return [_redacted(entry) for entry in value]
    return value


# Lambda takes a line's own time where that is in the form of RFC 3339.
logger = Logger(logger_formatter=RedactingFormatter(location=None, use_rfc3339=True))


def event(name: str, **values: object) -> None:
    """Write one audit event. Errors: ValueError for an unregistered name or field (a fault of the program)."""
    allowed = EVENTS.get(name)
    if allowed is None or not allowed.issuperset(values):
        raise ValueError(f"audit event {name} with fields {sorted(values)} is not registered")
    fields = {field: value for field, value in values.items() if value not in (None, "")}
    logger.info(name, extra={"audit": name} | fields | metrics.members(name, fields, clock.now_ms()))
