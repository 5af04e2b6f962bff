"""The provider's tokens of a login, sealed, and the lease on refreshing them: the item "upstream" beside the login's own.

Whoever refreshes has the lease, and writes over the version that he read, so that no refresh undoes a newer one
(docs/crash-points.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from broker import clock
from broker.store.attributes import Item, item, plain
from broker.store.aws import ConditionFailed, call, update_item


@dataclass(frozen=True)
class Link:
    """The provider's tokens of a login, sealed under the grant secret, and the lease on refreshing them.

    Attributes:
        version: counts the writes of `sealed`; part of what the seal is bound to.
        due_at: when the tokens are to be refreshed, a margin before their end (epoch seconds); 0 = never.
        written_at: when this version was put into the table, which does that itself (epoch seconds); 0 = not there, or long ago.
        lease_id, lease_until: who may refresh now, and until when (epoch milliseconds).
        cool_until: no refresh is tried before (epoch seconds), after one failed.
        recover: a lease on this version was never given back, so that what it brought may be in the rescue queue.
        failing_since: when the first of the failures in a row was (epoch seconds), 0 for none.
        refusals, refused_since: how often the provider has refused this version in a way that is not known, and since when.
    """

    grant_id: str
    provider: str
    sealed: bytes = field(repr=False)
    version: int
    due_at: int = 0
    written_at: int = 0
    lease_id: str = ""
    lease_until: int = 0
    cool_until: int = 0
    recover: bool = False
    failing_since: int = 0
    refusals: int = 0
    refused_since: int = 0

    @property
    def is_first(self) -> bool:
        """Whether these are the tokens that the login itself brought."""
        return self.version == 1


class LinkRefused(Exception):
    """The write on the provider's tokens did not apply. `link` is what is there, None if nothing is."""

    def __init__(self, link: Link | None) -> None:
        super().__init__("refused")
        self.link = link


class Links:
    """The provider's tokens in the Grants table. Errors of every method: StoreUnavailable."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def read(self, grant_id: str) -> Link | None:
        """The upstream tokens alone, in one consistent read."""
        answer = call(self._dynamodb.get_item, TableName=self._table, Key=_key(grant_id), ConsistentRead=True)
        return link_of(answer["Item"]) if "Item" in answer else None

    def put_first(self, link: Link, delete_at: int) -> None:
        """Put the first tokens of a login, over nothing but those of an exchange before that was not finished.

        Such a one is there when a device's person tries again. It is replaced as it was seen and not by its version: an attempt
        that the AWS client has given up may still arrive, and must not take a lease, newer tokens, or a later exchange's away.
        Errors: LinkRefused with what is there now.
        """
        stored, seen = None, b"-"  # no seal is that
        for _ in range(2):
            try:
                call(
                    self._dynamodb.put_item,
                    TableName=self._table,
                    Item=_item(link, delete_at),
                    ConditionExpression="attribute_not_exists(pk) OR sealed = :seen",
                    ExpressionAttributeValues=item({":seen": seen}),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ConditionFailed as failed:
                # No two seals are the same: a write that was repeated because its first answer was lost finds its own work.
                stored = link_of(failed.item) if failed.item else None
                seen = stored.sealed if stored else seen
                if seen != link.sealed:
                    continue
            return
        raise LinkRefused(stored)

    def take_lease(self, link: Link, lease_id: str, seconds: float) -> None:
        """Get the sole right to refresh this version for a while. Errors: LinkRefused with what is there now.

        Of a lease that ran out and was never given back a note is kept (`recover`), until new tokens are written.
        """
        now = clock.now_ms()
        values: dict[str, object] = {
            ":version": link.version,
            ":seen": link.lease_id,
            ":now": now,
            ":now_s": now // 1000,
            ":lease": lease_id,
            ":until": now + int(seconds * 1000),
        }
        update = "SET lease_id = :lease, lease_until = :until"
        if link.lease_id:
            update += ", recover = :yes"
            values[":yes"] = True
        try:
            self._step(
                link.grant_id,
                condition="version = :version AND lease_until < :now AND cool_until <= :now_s"
                " AND (attribute_not_exists(lease_id) OR lease_id = :seen)",
                update=update,
                values=values,
            )
        except LinkRefused as refused:
            # A write that was repeated because its first answer was lost finds its own work.
            if refused.link is None or refused.link.lease_id != lease_id:
                raise

    def renew_lease(self, link: Link, lease_id: str, seconds: float) -> None:
        """Keep the lease for so long from now on. Errors: LinkRefused when it is no longer ours."""
        self._step(
            link.grant_id,
            condition="version = :version AND lease_id = :lease",
            update="SET lease_until = :until",
            values={
                ":version": link.version,
                ":lease": lease_id,
                ":until": clock.now_ms() + int(seconds * 1000),
            },
        )

    def write(self, link: Link) -> None:
        """Put refreshed tokens (`link.version` is the new version) in place of those that they were refreshed from.

        The version is the fence: who finishes late, after another has written, changes nothing. The lease is none, because
        whoever lost it while nobody has written may have the only tokens that the provider still takes.
        Errors: LinkRefused with what is there now.
        """
        try:
            self._step(
                link.grant_id,
                condition="version = :before",
                update="SET sealed = :sealed, version = :version, due_at = :due, written_at = :now, lease_until = :zero,"
                " cool_until = :zero"
                " REMOVE lease_id, recover, failing_since, refusals, refused_since",
                values={
                    ":before": link.version - 1,
                    ":sealed": link.sealed,
                    ":version": link.version,
                    ":due": link.due_at,
                    ":now": clock.now(),
                    ":zero": 0,
                },
            )
        except LinkRefused as refused:
            # A write that was repeated because its first answer was lost finds its own work: no two seals are the same.
            if refused.link is None or (refused.link.version, refused.link.sealed) != (link.version, link.sealed):
                raise

    def release_lease(
        self, link: Link, lease_id: str, cool_until: int, *, refusals: int | None = None, refused_since: int = 0
    ) -> None:
        """Give the lease back without new tokens; no other refresh is tried before `cool_until`, 0 if none has failed.

        `refusals`: the new count of unknown refusals, None to leave it.
        """
        values: dict[str, object] = {":version": link.version, ":lease": lease_id, ":zero": 0, ":cool": cool_until}
        counted = ""
        if cool_until:
            counted = ", failing_since = :failing"
            values[":failing"] = link.failing_since or clock.now()
        if refusals is not None:
            counted += ", refusals = :refusals, refused_since = :since"
            values |= {":refusals": refusals, ":since": refused_since}
        try:
            self._step(
                link.grant_id,
                condition="version = :version AND lease_id = :lease",
                update=f"SET lease_until = :zero, cool_until = :cool{counted} REMOVE lease_id",
                values=values,
            )
        except LinkRefused:
            return

    def drop(self, grant_id: str, version: int | None = None) -> None:
        """Delete the upstream tokens of a login that has ended. `version`: only if they are still these.

        Errors: LinkRefused with the newer ones.
        """
        only: dict[str, Any] = {}
        if version is not None:
            only = {
                "ConditionExpression": "attribute_not_exists(pk) OR version = :version",
                "ExpressionAttributeValues": item({":version": version}),
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        try:
            call(self._dynamodb.delete_item, TableName=self._table, Key=_key(grant_id), **only)
        except ConditionFailed as failed:
            raise LinkRefused(link_of(failed.item) if failed.item else None) from None

    def _step(self, grant_id: str, *, condition: str, update: str, values: Mapping[str, object]) -> None:
        try:
            update_item(self._dynamodb, self._table, _key(grant_id), condition, update, values)
        except ConditionFailed as failed:
            raise LinkRefused(link_of(failed.item) if failed.item else None) from None


def _key(grant_id: str) -> Item:
    return item({"pk": grant_id, "sk": "upstream"})


def _item(link: Link, delete_at: int) -> Item:
    values = {f.name: getattr(link, f.name) for f in fields(link) if f.name != "grant_id"}
    return item(values | {"written_at": clock.now(), "pk": link.grant_id, "sk": "upstream", "delete_at": delete_at})


def link_of(stored: Item) -> Link:
    """The link in an item of the table."""
    found = plain(stored)
    return Link(grant_id=found["pk"], **{f.name: found[f.name] for f in fields(Link) if f.name in found})
