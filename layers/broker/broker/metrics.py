"""Metrics: which audit events count as what, in the embedded metric format (EMF) that CloudWatch takes out of log lines.

A metric is a member of the line that the audit event is anyway, so that there is one fact, written once: no second line, no
call to CloudWatch, nothing to flush when a function stops. Powertools has a class for metrics; importing it costs a cold start
as much as all of this package's protocol rules, and it writes lines of its own, which is why it is not used.

Must never have a dimension that somebody outside can invent values for: CloudWatch charges for each combination that occurs.
So there is the service (the stack), and besides it at most the provider, where it is one of the registry, or an error of ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from broker.protocol import errors

NAMESPACE = "TokenBroker"
SERVICE = "service"
"""The dimension that all have: the stack's name. It is a member of every log line (POWERTOOLS_SERVICE_NAME)."""

ERROR_CODES = frozenset(kind.code for kind in vars(errors).values() if isinstance(kind, errors.ErrorKind))

_PLAIN = ((SERVICE,),)
_BY_PROVIDER = ((SERVICE,), (SERVICE, "provider"))
_BY_ERROR = ((SERVICE,), (SERVICE, "error"))


Fields = Mapping[str, object]


def _one(_fields: Fields) -> object:
    return 1


def _one_if_unserved(fields: Fields) -> object:
    """A call that a provider did not serve: no whole answer, too many requests, or a fault of its own. Calls that were served,
    which nearly all are, are not told; how many calls there were is the count of UpstreamTime's samples.
    """
    status = fields.get("status")
    served = isinstance(status, int) and status < 500 and status != 429 and "kind" not in fields
    return None if served else 1


@dataclass(frozen=True)
class Metric:
    """What an event adds to one metric.

    Attributes:
        dimensions: the sets of names by which it is kept; a set counts only where the event has all of its fields.
        value: of the event's fields, None for an event that is not counted; by default the event counts as one.
        field: the event's field that is the value. The line has it once, under the name of the metric.
    """

    name: str
    unit: Literal["Count", "Milliseconds", "None"] = "Count"
    dimensions: tuple[tuple[str, ...], ...] = _PLAIN
    value: Callable[[Fields], object] = _one
    field: str = ""

    def of(self, fields: Fields) -> object:
        """The value that an event with these fields has, None if it is not counted."""
        return fields.get(self.field) if self.field else self.value(fields)


METRICS: Mapping[str, tuple[Metric, ...]] = {
    "login.started": (Metric("LoginsStarted"),),
    "login.refused": (Metric("Refusals", dimensions=_BY_ERROR),),
    "login.denied": (Metric("LoginsDenied"),),
    "login.failed": (Metric("LoginsFailed"),),
    "code.issued": (Metric("CodesIssued"),),
    "code.redeemed": (Metric("CodesRedeemed"),),
    "code.replayed": (Metric("CodesReplayed"),),
    "device.redeemed": (Metric("DevicesConnected"),),
    "device.replayed": (Metric("CodesReplayed"),),
    "token.refused": (Metric("Refusals", dimensions=_BY_ERROR),),
    "registration.refused": (Metric("Refusals", dimensions=_BY_ERROR),),
    "replay.refused": (Metric("ProofsReplayed"),),
    "refresh.rotated": (Metric("Refreshes"),),
    "refresh.retried": (Metric("RefreshesRetried"),),
    "refresh.reused": (Metric("RefreshTokensReused"),),
    "grant.ended": (Metric("LoginsEnded"),),
    "link.reconnect_required": (Metric("LinksLost"),),
    "link.recovered": (Metric("LinksRecovered"),),
    "event.failed": (Metric("EventsFailed"),),
    "backchannel.failed": (Metric("BackchannelFailures"),),
    "upstream.called": (
        Metric("UpstreamTime", "Milliseconds", _BY_PROVIDER, field="milliseconds"),
        Metric("UpstreamUnserved", value=_one_if_unserved),
    ),
    "upstream.refreshed": (Metric("UpstreamRefreshes"),),
    "upstream.rescued": (Metric("UpstreamTokensRescued"),),
    "upstream.lost": (Metric("UpstreamTokensLost"),),
    "upstream.failed": (Metric("UpstreamFailures", dimensions=_BY_PROVIDER),),
    "upstream.misconfigured": (Metric("UpstreamMisconfigured"),),
    "upstream.secret_fallback": (Metric("ProviderSecretFallbacks"),),
    "upstream.token_given": (Metric("TokensGiven"),),
    "proxy.called": (Metric("ProxyCalls"),),
    "request.limited": (Metric("RequestsLimited"),),
    "limit.uncounted": (Metric("LimitsUncounted"),),
    "store.unavailable": (Metric("StoreUnavailable"),),
    "request.failed": (Metric("RequestsFailed"),),
    "keys.read": (Metric("KeyAge", "None", field="age_days"),),
    "keys.rotation_failed": (Metric("KeyRotationsFailed"),),
    "instance.started": (Metric("ColdStarts"),),
}
"""Audit event -> the metrics that it is part of. An event that is not here is only written."""


def members(event: str, fields: Fields, now_ms: int) -> dict[str, object]:
    """What the line of an audit event has besides its name: its fields, and what makes it a metric too, if it is one.

    `fields` are those of the event, `now_ms` is epoch milliseconds. The line must have a member `service` besides.
    """
    metrics = METRICS.get(event, ())
    measured = {metric.field for metric in metrics}
    counted = [(metric, value) for metric in metrics if (value := metric.of(fields)) is not None]
    written = {name: value for name, value in fields.items() if name not in measured}
    if not counted:
        return written
    known = {SERVICE, *(name for name, value in fields.items() if name != "error" or value in ERROR_CODES)}
    directives = [_directive(metric, known) for metric, _ in counted]
    values = {metric.name: value for metric, value in counted}
    return {**written, "_aws": {"Timestamp": now_ms, "CloudWatchMetrics": directives}, **values}


def _directive(metric: Metric, known: set[str]) -> dict[str, object]:
    return {
        "Namespace": NAMESPACE,
        "Dimensions": [list(names) for names in metric.dimensions if known.issuperset(names)],
        "Metrics": [{"Name": metric.name, "Unit": metric.unit}],
    }
