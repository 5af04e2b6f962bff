"""Events for the operator's other systems (Amazon EventBridge): that a person has to reconnect, and that he has.

Best effort, after the write that the event tells of: a failure is audited and never changes what the caller answers. An event
must never hold anything that opens a login; docs/links.md has its shape.
"""

import json
from dataclasses import dataclass

from broker import audit, clock, invocation
from broker.runtime import Runtime
from broker.store import aws
from broker.store.aws import StoreUnavailable
from broker.store.grants import Grant

SOURCE = "token-broker"
VERSION = 1
RECONNECT_REQUIRED = "Link Reconnect Required"
RECOVERED = "Link Recovered"
TIMEOUT = 1.0
"""Seconds in all, as botocore counts them anew for connecting and for the answer. There is no second try: a client is waiting."""


@dataclass(frozen=True)
class LinkEvent:
    """What happened to a login's link to its provider.

    Attributes:
        kind: the detail-type.
        grant: the login that ended.
        time: when it happened, epoch seconds.
        reason: why the person has to reconnect (vault.LinkDead); reconnect_url: where.
        recovered_by: the id of the login that took its place.
    """

    kind: str
    grant: Grant
    time: int
    reason: str = ""
    reconnect_url: str = ""
    recovered_by: str = ""

    def detail(self) -> dict[str, object]:
        """The members of the event's detail."""
        told = {"reason": self.reason, "reconnect_url": self.reconnect_url, "recovered_by": self.recovered_by}
        return {
            "version": VERSION,
            "grant_id": self.grant.grant_id,
            "client_id": self.grant.client_id,
            "provider": self.grant.provider,
            "subject": self.grant.subject,
            "time": self.time,
            **{name: value for name, value in told.items() if value},
        }


def reconnect_required(grant: Grant, reason: str, reconnect_url: str) -> LinkEvent:
    """The provider gives no more tokens for this login, which has ended. Its time is the one in the table."""
    return LinkEvent(RECONNECT_REQUIRED, grant, grant.ended_at, reason=reason, reconnect_url=reconnect_url)


def recovered(grant: Grant, by: Grant) -> LinkEvent:
    """The same person has logged in again in place of `grant`."""
    return LinkEvent(RECOVERED, grant, clock.now(), recovered_by=by.grant_id)


def publish(runtime: Runtime, event: LinkEvent) -> None:
    """Put the event on the operator's bus, if there is one. Errors: none; a failure is audited."""
    bus = runtime.settings.event_bus
    if not bus:
        return
    entry = {
        "Source": SOURCE,
        "DetailType": event.kind,
        "Detail": json.dumps(event.detail()),
        "EventBusName": bus,
    }
    try:
        client = aws.client("events", timeout=TIMEOUT, attempts=1)
        answer = invocation.within(TIMEOUT, lambda: aws.call(client.put_events, Entries=[entry]))
        (result,) = answer["Entries"]
    except StoreUnavailable as failure:
        audit.event("event.failed", grant_id=event.grant.grant_id, kind=event.kind, detail=failure.detail)
        return
    if "ErrorCode" in result:  # an answer of 200 says nothing of the single entry
        audit.event("event.failed", grant_id=event.grant.grant_id, kind=event.kind, detail=str(result["ErrorCode"]))
