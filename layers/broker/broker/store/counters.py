"""Counters that all function instances share: items of the Grants table that only ever grow, one per key and window."""

import hashlib
from typing import Any

from broker.encoding import b64url
from broker.store.attributes import item
from broker.store.aws import call

KEEP_AFTER_WINDOW = 3600


class Counters:
    """Adds to counters. Errors of `add`: StoreUnavailable."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def add(self, name: str, key: str, start: int, window: int, amount: int) -> int:
        """Add `amount` to the counter of `key` (hashed: it may be an address) in the window from `start`; the new total."""
        digest = b64url(hashlib.sha256(f"{name}|{key}".encode()).digest()[:15])
        answer = call(
            self._dynamodb.update_item,
            TableName=self._table,
            Key=item({"pk": f"limit#{digest}#{start}", "sk": "limit"}),
            UpdateExpression="SET delete_at = :delete ADD hits :amount",
            ExpressionAttributeValues=item({":amount": amount, ":delete": start + window + KEEP_AFTER_WINDOW}),
            ReturnValues="UPDATED_NEW",
        )
        return int(answer["Attributes"]["hits"]["N"])
