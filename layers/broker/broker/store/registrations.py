"""What the Registry keeps for clients that register themselves: the operator's policy, initial access tokens, and the writes.

Initial access tokens are there as SHA-256 of a 256-bit random value. A use of one is counted by the very transaction that
writes the client, so that parallel requests get exactly the clients that its uses allow.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import Any

from broker import clock
from broker.protocol.clients import Client
from broker.protocol.registration_policy import RegistrationPolicy
from broker.store.attributes import item, plain
from broker.store.aws import ConditionFailed, StoreUnavailable, call
from broker.store.registry import MAX_KEY_BYTES, client_item, client_of, dynamic_count_change, origin_changes

_POLICY = "policy#registration"
_TOKEN = "initial_token#"
_ID_LENGTH = 16


class InitialTokenRefused(Exception):
    """The initial access token is unknown, expired, revoked or used up."""


class TooManyClients(Exception):
    """There are as many self-registered clients as the policy lets be."""


class RegistrationGone(Exception):
    """The client is not registered any more."""


@dataclass(frozen=True)
class InitialToken:
    """An initial access token (RFC 7591 section 3). Times are epoch seconds; `expires_at` 0 = never.

    Attributes:
        sha256: hex digest of the token; its beginning is the id that operators see.
        uses_left: how many clients may still be registered with it.
    """

    sha256: str
    name: str
    uses_left: int
    expires_at: int
    created_at: int

    @property
    def id(self) -> str:
        """What the operator calls it by."""
        return self.sha256[:_ID_LENGTH]

    def is_usable(self) -> bool:
        """Whether a client may be registered with it now."""
        return self.uses_left > 0 and (not self.expires_at or clock.now() < self.expires_at)


class Registrations:
    """Reads and writes of the Registry table for self-registration. Errors of every method: StoreUnavailable."""

    def __init__(self, dynamodb: Any, table: str, cache_seconds: int = 60) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._cache_seconds = cache_seconds
        self._policy: tuple[RegistrationPolicy, int] | None = None

    # -- the policy ------------------------------------------------------------------------------------------------

    def policy(self) -> RegistrationPolicy:
        """The operator's policy, remembered for a while; the default (all off) when there is none."""
        now = clock.now()
        if self._policy and now < self._policy[1]:
            return self._policy[0]
        stored = self._get(_POLICY)
        policy = _policy(stored) if stored else RegistrationPolicy()
        self._policy = (policy, now + self._cache_seconds)
        return policy

    def set_policy(self, policy: RegistrationPolicy) -> None:
        """Replace the policy."""
        call(self._dynamodb.put_item, TableName=self._table, Item=item(asdict(policy) | {"pk": _POLICY}))
        self.forget()

    def forget(self) -> None:
        """Drop what is remembered."""
        self._policy = None

    # -- initial access tokens -------------------------------------------------------------------------------------

    def add_initial_token(self, token: InitialToken) -> None:
        """Let a token be used."""
        call(self._dynamodb.put_item, TableName=self._table, Item=item(asdict(token) | {"pk": _TOKEN + token.sha256}))

    def initial_token(self, sha256: str) -> InitialToken | None:
        """The token of that digest, usable or not."""
        stored = self._get(_TOKEN + sha256)
        return _token(stored) if stored else None

    def initial_tokens(self) -> Iterator[InitialToken]:
        """All tokens, in no order. Reads the whole table: for the operator only."""
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "FilterExpression": "begins_with(pk, :prefix)",
            "ExpressionAttributeValues": item({":prefix": _TOKEN}),
        }
        while True:
            page = call(self._dynamodb.scan, **arguments)
            yield from (_token(plain(stored)) for stored in page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def remove_initial_token(self, sha256: str) -> None:
        """Let a token be used no more."""
        call(self._dynamodb.delete_item, TableName=self._table, Key=item({"pk": _TOKEN + sha256}))

    # -- clients that register themselves --------------------------------------------------------------------------

    def registered(self) -> int:
        """How many clients have registered themselves and are still there."""
        stored = self._get("count#registered")
        return int(stored.get("registered", 0)) if stored else 0

    def set_registered(self, count: int) -> None:
        """Put the count right: a request that was cut off may have left it wrong by one."""
        values = {"pk": "count#registered", "registered": count}
        call(self._dynamodb.put_item, TableName=self._table, Item=item(values))

    def client(self, client_id: str) -> Client | None:
        """The client of that id as it is at this moment: it may have been registered, or removed, just now."""
        pk = f"client#{client_id}"
        stored = self._get(pk) if len(pk.encode("utf-8", "surrogatepass")) <= MAX_KEY_BYTES else None
        return client_of(stored) if stored else None

    def register(self, client: Client, *, initial_token: str | None, max_clients: int) -> None:
        """Write a new client. `initial_token`: SHA-256 (hex) of the token whose use this is, if one is needed.

        Errors: InitialTokenRefused, TooManyClients; nothing was registered then.
        """
        self._take_place(max_clients)
        # Before the client, and apart from it: an origin that is listed too early lets nobody do anything, while a
        # transaction over an item that many clients share would fail whenever two of them register at once.
        self._list_origins(client, frozenset(), frozenset(client.origins))
        put = {"TableName": self._table, "Item": client_item(client), "ConditionExpression": "attribute_not_exists(pk)"}
        try:
            if initial_token is None:
                call(self._dynamodb.put_item, **put)
            else:
                use = _use_of(self._table, initial_token)
                call(self._dynamodb.transact_write_items, TransactItems=[{"Put": put}, {"Update": use}])
        except ConditionFailed:
            self._leave_place(client)
            raise InitialTokenRefused from None
        except StoreUnavailable:
            # If it was written all the same, nobody was told the client's id, so that it counts for nothing.
            with suppress(StoreUnavailable):
                self._leave_place(client)
            raise

    def change(self, before: Client, after: Client) -> None:
        """Replace what is registered, while its registration access token is the same. Errors: RegistrationGone."""
        self._list_origins(after, frozenset(before.origins), frozenset(after.origins))
        try:
            call(
                self._dynamodb.put_item,
                TableName=self._table,
                Item=client_item(after),
                ConditionExpression="registration_token = :token",
                ExpressionAttributeValues=item({":token": before.registration_token}),
            )
        except ConditionFailed:
            raise RegistrationGone from None

    def unregister(self, client: Client) -> None:
        """Remove a client. Errors: RegistrationGone."""
        try:
            call(
                self._dynamodb.delete_item,
                TableName=self._table,
                Key=item({"pk": f"client#{client.client_id}"}),
                ConditionExpression="registration_token = :token",
                ExpressionAttributeValues=item({":token": client.registration_token}),
            )
        except ConditionFailed:
            raise RegistrationGone from None
        self._leave_place(client)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _get(self, pk: str) -> dict[str, Any] | None:
        answer = call(self._dynamodb.get_item, TableName=self._table, Key=item({"pk": pk}), ConsistentRead=True)
        return plain(answer["Item"]) if "Item" in answer else None

    def _take_place(self, max_clients: int) -> None:
        taking = dynamic_count_change(self._table, 1)
        taking["ConditionExpression"] = "attribute_not_exists(registered) OR registered < :max"
        taking["ExpressionAttributeValues"] |= item({":max": max_clients})
        try:
            call(self._dynamodb.update_item, **taking)
        except ConditionFailed:
            raise TooManyClients from None

    def _leave_place(self, client: Client) -> None:
        self._list_origins(client, frozenset(client.origins), frozenset())
        call(self._dynamodb.update_item, **dynamic_count_change(self._table, -1))

    def _list_origins(self, client: Client, before: frozenset[str], after: frozenset[str]) -> None:
        for change in origin_changes(self._table, client, before, after):
            call(self._dynamodb.update_item, **change)


def _use_of(table: str, sha256: str) -> dict[str, Any]:
    return {
        "TableName": table,
        "Key": item({"pk": _TOKEN + sha256}),
        "ConditionExpression": "uses_left > :zero AND (expires_at = :zero OR expires_at > :now)",
        "UpdateExpression": "ADD uses_left :minus",
        "ExpressionAttributeValues": item({":zero": 0, ":now": clock.now(), ":minus": -1}),
    }


def _policy(stored: Mapping[str, Any]) -> RegistrationPolicy:
    values: dict[str, Any] = {f.name: stored[f.name] for f in fields(RegistrationPolicy) if f.name in stored}
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return RegistrationPolicy(**values)


def _token(stored: Mapping[str, Any]) -> InitialToken:
    return InitialToken(**{f.name: stored[f.name] for f in fields(InitialToken)})
