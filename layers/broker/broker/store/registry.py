"""The Registry: clients and providers, written by the operator, read by the functions and kept in memory for a while.

It never holds a usable secret: client secrets are there as SHA-256, provider secrets are in Secrets Manager.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Generic, TypeVar

from broker import clock
from broker.protocol.clients import Client, ClientSecret
from broker.remembered import remember
from broker.store.attributes import Item, attribute, item, plain
from broker.store.aws import ConditionFailed, StoreUnavailable, call

Value = TypeVar("Value")

MAX_KEY_BYTES = 1024
"""Names longer than this are nobody's; DynamoDB refuses keys over 2,048 bytes with an error."""
REMEMBERED = 500
"""Entries that one instance keeps in memory. A client that registered itself takes up to 40 KB there, and all serve equally long,
so that the oldest is the one that has expired, or will first."""
_MAX_WRITES = 100
"""Of one transaction (DynamoDB). Putting 50 origins in the place of 50 others takes 101."""


class AlreadyExists(Exception):
    """An entry of that name is in the Registry already."""


class NotFound(Exception):
    """There is no entry of that name in the Registry."""


class Changed(Exception):
    """The entry of that name is not any more what it was when it was read."""


@dataclass(frozen=True)
class ProviderEntry:
    """A provider as the operator registered it; what it means is for `broker.upstream` to say.

    Attributes:
        catalogue: name of the catalogue file it starts from, or None when `document` is given.
        document: a provider file of the operator's own, parsed, or None.
        overrides: dotted field name -> value, laid over the file.
        variables: values of the file's variables.
    """

    name: str
    catalogue: str | None = None
    document: Mapping[str, Any] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    disabled: bool = False
    created_at: int = 0


@dataclass
class _Cached(Generic[Value]):
    value: Value
    until: int


class Registry:
    """Reads with a memory of `cache_seconds`; writes for the operator's tools.

    An entry that is not there is never remembered, so that a new client works at once.
    """

    def __init__(self, dynamodb: Any, table: str, cache_seconds: int = 60) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._cache_seconds = cache_seconds
        self._cache: dict[str, _Cached[dict[str, Any]]] = {}

    # -- reading ---------------------------------------------------------------------------------------------------

    def client(self, client_id: str) -> Client | None:
        """The client of that id, or None. Disabled clients are returned: the caller decides what they may do."""
        stored = self._read(f"client#{client_id}")
        return client_of(stored) if stored else None

    def provider(self, name: str) -> ProviderEntry | None:
        """The provider registered under that name, or None."""
        stored = self._read(f"provider#{name}")
        return _provider(stored) if stored else None

    def origin_is_listed(self, origin: str) -> bool:
        """Whether any client lists this browser origin. A CORS preflight names no client, so it cannot ask for more."""
        stored = self._read(f"origin#{origin}")
        return bool(stored and (stored.get("clients") or stored.get("dynamic_clients", 0) > 0))

    def clients(self) -> Iterator[Client]:
        """All clients, in no order. Reads the whole table: for the operator only."""
        return (client_of(stored) for stored in self._scan("client#"))

    def providers(self) -> Iterator[ProviderEntry]:
        """All providers, in no order. Reads the whole table: for the operator only."""
        return (_provider(stored) for stored in self._scan("provider#"))

    def forget(self) -> None:
        """Drop what is remembered."""
        self._cache.clear()

    # -- writing ---------------------------------------------------------------------------------------------------

    def add_client(self, client: Client) -> None:
        """Register a client. Errors: AlreadyExists."""
        try:
            self._write_client(client, frozenset(), {"ConditionExpression": "attribute_not_exists(pk)"})
        except ConditionFailed:
            raise AlreadyExists(client.client_id) from None

    def update_client(self, client: Client, before: Client) -> None:
        """Replace the entry that was read as `before`, if it is still that: else a secret that somebody made meanwhile would be
        lost. Errors: NotFound, Changed.
        """
        try:
            self._write_client(client, frozenset(before.origins), is_still(before))
        except ConditionFailed as refused:
            raise _other(refused, client.client_id) from None

    def remove_client(self, client_id: str) -> None:
        """Remove a client: no token of an unknown client works. Its logins stay in the table until they expire, so a client that
        is added with the same id before that has them. Errors: NotFound, Changed.
        """
        before = self._current_client(client_id)
        removal = {
            "Delete": {"TableName": self._table, "Key": item({"pk": f"client#{client_id}"}), **is_still(before)},
        }
        changes = origin_changes(self._table, before, frozenset(before.origins), frozenset())
        if before.dynamic:
            changes.append(dynamic_count_change(self._table, -1))
        try:
            self._transact([removal, *({"Update": change} for change in changes)])
        except ConditionFailed as refused:
            raise _other(refused, client_id) from None

    def add_provider(self, entry: ProviderEntry) -> None:
        """Register a provider. Errors: AlreadyExists."""
        try:
            self._put_provider(entry, {"ConditionExpression": "attribute_not_exists(pk)"})
        except ConditionFailed:
            raise AlreadyExists(entry.name) from None

    def update_provider(self, entry: ProviderEntry, before: ProviderEntry) -> None:
        """Replace the entry that was read as `before`, if it is still that: else somebody who disabled it meanwhile would have
        done so in vain. Errors: NotFound, Changed.
        """
        try:
            self._put_provider(entry, _is_still(before, _provider_item(before)))
        except ConditionFailed as refused:
            raise _other(refused, entry.name) from None

    def remove_provider(self, name: str) -> None:
        """Remove a provider's entry. Errors: NotFound."""
        try:
            call(
                self._dynamodb.delete_item,
                TableName=self._table,
                Key=item({"pk": f"provider#{name}"}),
                ConditionExpression="attribute_exists(pk)",
            )
        except ConditionFailed:
            raise NotFound(name) from None
        self.forget()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _read(self, pk: str) -> dict[str, Any] | None:
        if len(pk.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
            return None
        now = clock.now()
        cached = self._cache.get(pk)
        if cached and now < cached.until:
            return cached.value
        # Consistent: a client may come in the moment after it was registered, and what is remembered makes it rare.
        answer = call(self._dynamodb.get_item, TableName=self._table, Key=item({"pk": pk}), ConsistentRead=True)
        if "Item" not in answer:
            self._cache.pop(pk, None)
            return None
        value = plain(answer["Item"])
        remember(self._cache, pk, _Cached(value, now + self._cache_seconds), REMEMBERED)
        return value

    def _scan(self, prefix: str) -> Iterator[dict[str, Any]]:
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "FilterExpression": "begins_with(pk, :prefix)",
            "ExpressionAttributeValues": item({":prefix": prefix}),
        }
        while True:
            page = call(self._dynamodb.scan, **arguments)
            yield from (plain(stored) for stored in page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _current_client(self, client_id: str) -> Client:
        self._cache.pop(f"client#{client_id}", None)
        before = self.client(client_id)
        if before is None:
            raise NotFound(client_id)
        return before

    def _write_client(self, client: Client, origins_before: frozenset[str], condition: Mapping[str, Any]) -> None:
        write = {"Put": {"TableName": self._table, "Item": client_item(client), **condition}}
        changes = origin_changes(self._table, client, origins_before, frozenset(client.origins))
        together = _MAX_WRITES - 1
        self._transact([write, *({"Update": change} for change in changes[:together])])
        # Origins are taken off last, and one that is listed for too long lets nobody do anything.
        with suppress(StoreUnavailable):
            for change in changes[together:]:
                call(self._dynamodb.update_item, **change)

    def _transact(self, writes: list[dict[str, Any]]) -> None:
        call(self._dynamodb.transact_write_items, TransactItems=writes)
        self.forget()

    def _put_provider(self, entry: ProviderEntry, condition: Mapping[str, Any]) -> None:
        call(self._dynamodb.put_item, TableName=self._table, Item=_provider_item(entry), **condition)
        self.forget()


_LISTS = frozenset(f.name for f in fields(Client) if str(f.type).startswith("tuple[str"))


def client_item(client: Client) -> Item:
    """A client as the table has it."""
    return item(asdict(client) | {"pk": f"client#{client.client_id}"})


def _other(refused: ConditionFailed, name: str) -> Exception:
    """Why a write that was to replace or remove what was read did not: it is gone, or another."""
    return (NotFound if refused.item is None else Changed)(name)


def is_still(client: Client) -> dict[str, Any]:
    """The condition of a write that the table has the client as it is here; where it has not, ConditionFailed has what it has."""
    return _is_still(client, client_item(client))


def _provider_item(entry: ProviderEntry) -> Item:
    values = asdict(entry) | {
        "pk": f"provider#{entry.name}",
        # Provider files hold floats, booleans and nested lists: kept as JSON, as DynamoDB would change their types.
        "document": json.dumps(entry.document) if entry.document is not None else None,
        "overrides": json.dumps(entry.overrides),
    }
    return item(values)


def _is_still(entry: Client | ProviderEntry, stored: Item) -> dict[str, Any]:
    """The condition that the table has `stored`, which is `entry` as the table has it.

    An attribute that is as by default may be missing there, in an entry that was written before there was that attribute.
    """
    terms: list[str] = []
    names: dict[str, str] = {}
    values: dict[str, Any] = {}
    for number, of in enumerate(fields(entry)):
        missing, same = f"attribute_not_exists(#{number})", f"#{number} = :{number}"
        names[f"#{number}"] = of.name
        if of.name not in stored:
            terms.append(missing)
            continue
        values[f":{number}"] = stored[of.name]
        default = None if of.default in (MISSING, None) else attribute(of.default)
        terms.append(f"({missing} OR {same})" if stored[of.name] == default else same)
    return {
        "ConditionExpression": " AND ".join(terms),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def origin_changes(table: str, client: Client, before: frozenset[str], after: frozenset[str]) -> list[dict[str, Any]]:
    """The updates that list `client` under its origins, and take it off those that it had before.

    Of clients that registered themselves only the number is kept: thousands of them may share an origin like
    http://localhost:3000, and a set of their names would grow past what an item may hold.
    """
    changes = [(origin, True) for origin in sorted(after - before)]
    changes += [(origin, False) for origin in sorted(before - after)]
    return [_origin_change(table, client, origin, is_new=is_new) for origin, is_new in changes]


def _origin_change(table: str, client: Client, origin: str, *, is_new: bool) -> dict[str, Any]:
    verb = "ADD" if is_new else "DELETE"
    change: tuple[str, object] = (f"{verb} clients :value", frozenset({client.client_id}))
    if client.dynamic:
        change = ("ADD dynamic_clients :value", 1 if is_new else -1)
    return {
        "TableName": table,
        "Key": item({"pk": f"origin#{origin}"}),
        "UpdateExpression": change[0],
        "ExpressionAttributeValues": item({":value": change[1]}),
    }


def dynamic_count_change(table: str, by: int) -> dict[str, Any]:
    """The update of the number of clients that registered themselves."""
    return {
        "TableName": table,
        "Key": item({"pk": "count#registered"}),
        "UpdateExpression": "ADD registered :by",
        "ExpressionAttributeValues": item({":by": by}),
    }


def client_of(stored: Mapping[str, Any]) -> Client:
    """The client in an item of the table."""
    values = {f.name: stored[f.name] for f in fields(Client) if f.name in stored}
    values |= {name: tuple(values[name]) for name in _LISTS if name in values}
    values["secrets"] = tuple(ClientSecret(**secret) for secret in stored.get("secrets", ()))
    return Client(**values)


def _provider(stored: Mapping[str, Any]) -> ProviderEntry:
    values = {f.name: stored[f.name] for f in fields(ProviderEntry) if f.name in stored}
    for name in ("document", "overrides"):
        if name in values:
            values[name] = json.loads(values[name])
    return ProviderEntry(**values)
