"""Clients that register themselves (RFC 7591) and manage their registration (RFC 7592): their writes in the Registry.

A use of an initial access token is counted by the very transaction that writes the client, so that parallel requests get
exactly the clients that its uses allow.

Of their origins, and of the clients themselves, only numbers are kept. Those are raised before the client is written and
lowered after it, by requests of their own: a transaction over items that many clients share would fail whenever two of them
registered at once. So a number may be higher than it should be, after an answer of the table that was lost, and is never
lower: an origin that is listed for too long lets nobody do anything, and one that is not listed shuts out a client's pages.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from broker import clock
from broker.protocol.clients import Client
from broker.store.attributes import item, plain
from broker.store.aws import ConditionFailed, StoreUnavailable, call
from broker.store.registrations import INITIAL_TOKEN_KEY
from broker.store.registry import (
    MAX_KEY_BYTES,
    Changed,
    client_item,
    client_of,
    dynamic_count_change,
    is_still,
    origin_changes,
)


class InitialTokenRefused(Exception):
    """The initial access token is unknown, expired, revoked or used up."""


class TooManyClients(Exception):
    """There are as many self-registered clients as the policy lets be."""


class RegistrationGone(Exception):
    """The client is not registered any more."""


class SelfRegistered:
    """Reads and writes of the Registry table. Errors of every method: StoreUnavailable.

    `impatient`: gives a client of DynamoDB that sends no request twice.
    """

    def __init__(self, dynamodb: Any, table: str, impatient: Callable[[], Any]) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._impatient = impatient

    def client(self, client_id: str) -> Client | None:
        """The client of that id as it is at this moment: it may have been registered, or removed, just now."""
        pk = f"client#{client_id}"
        if len(pk.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
            return None
        answer = call(self._dynamodb.get_item, TableName=self._table, Key=item({"pk": pk}), ConsistentRead=True)
        return client_of(plain(answer["Item"])) if "Item" in answer else None

    def register(self, client: Client, *, initial_token: str | None, max_clients: int) -> None:
        """Write a new client, whose id is random. `initial_token`: SHA-256 (hex) of the token that is used for it, if one is
        needed.

        Errors: InitialTokenRefused, TooManyClients; nothing was registered then.
        """
        put = {
            "TableName": self._table,
            "Item": client_item(client),
            "ConditionExpression": "attribute_not_exists(pk)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        self._take_place(max_clients)
        try:
            self._list(client, client.origins)
            if initial_token is None:
                call(self._dynamodb.put_item, **put)
            else:
                use = _use_of(self._table, initial_token)
                call(self._dynamodb.transact_write_items, TransactItems=[{"Put": put}, {"Update": use}])
        except ConditionFailed as refused:
            if refused.item is not None:
                return  # by an attempt whose answer was lost: nobody else knows the id
            self._take_off(client, client.origins)
            self._leave_place()
            raise InitialTokenRefused from None
        except StoreUnavailable:
            with suppress(StoreUnavailable):
                self._withdraw(client, initial_token)
            raise

    def change(self, before: Client, after: Client) -> None:
        """Replace what is registered, if it is still what was read as `before`: else what the operator decided meanwhile would be
        lost. Errors: RegistrationGone, Changed.
        """
        self._list(after, set(after.origins) - set(before.origins))
        try:
            call(self._dynamodb.put_item, TableName=self._table, Item=client_item(after), **is_still(before))
        except ConditionFailed as refused:
            if refused.item is None:
                raise RegistrationGone from None
            if client_of(plain(refused.item)) != after:
                raise Changed(before.client_id) from None
            return  # by an attempt whose answer was lost, or by a request like this one
        self._take_off(before, set(before.origins) - set(after.origins))

    def unregister(self, client: Client) -> None:
        """Remove a client, if it is still what was read as `client`; it may be gone already. Errors: Changed."""
        try:
            call(
                self._dynamodb.delete_item,
                TableName=self._table,
                Key=item({"pk": f"client#{client.client_id}"}),
                **is_still(client),
            )
        except ConditionFailed as refused:
            if refused.item is None:
                return
            raise Changed(client.client_id) from None
        self._take_off(client, client.origins)
        self._leave_place()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _take_place(self, max_clients: int) -> None:
        taking = dynamic_count_change(self._table, 1)
        taking["ConditionExpression"] = "attribute_not_exists(registered) OR registered < :max"
        taking["ExpressionAttributeValues"] |= item({":max": max_clients})
        try:
            call(self._dynamodb.update_item, **taking)
        except ConditionFailed:
            raise TooManyClients from None

    def _withdraw(self, client: Client, initial_token: str | None) -> None:
        """Undo a registration that may have been written, and may still be: its origins stay listed."""
        removed = call(
            self._dynamodb.delete_item,
            TableName=self._table,
            Key=item({"pk": f"client#{client.client_id}"}),
            ReturnValues="ALL_OLD",
        )
        self._leave_place()
        if initial_token is not None and "Attributes" in removed:
            self._at_most_once(_uses(self._table, initial_token, 1, "attribute_exists(pk)", {}))

    def _leave_place(self) -> None:
        self._at_most_once(dynamic_count_change(self._table, -1))

    def _list(self, client: Client, origins: Iterable[str]) -> None:
        for change in origin_changes(self._table, client, frozenset(), frozenset(origins)):
            call(self._dynamodb.update_item, **change)

    def _take_off(self, client: Client, origins: Iterable[str]) -> None:
        """Only after the client's own write of this request, or another client's pages could not call the broker any more."""
        for change in origin_changes(self._table, client, frozenset(origins), frozenset()):
            self._at_most_once(change)

    def _at_most_once(self, change: Mapping[str, Any]) -> None:
        """An update that is sent once and may be lost: what is counted may be more than what is there, never less."""
        with suppress(StoreUnavailable, ConditionFailed):
            call(self._impatient().update_item, **change)


def _use_of(table: str, sha256: str) -> dict[str, Any]:
    usable = "uses_left > :zero AND (expires_at = :zero OR expires_at > :now)"
    return _uses(table, sha256, -1, usable, {":zero": 0, ":now": clock.now()})


def _uses(table: str, sha256: str, by: int, condition: str, values: Mapping[str, object]) -> dict[str, Any]:
    """The update of how many uses an initial access token has left."""
    return {
        "TableName": table,
        "Key": item({"pk": INITIAL_TOKEN_KEY + sha256}),
        "ConditionExpression": condition,
        "UpdateExpression": "ADD uses_left :by",
        "ExpressionAttributeValues": item({**values, ":by": by}),
    }
