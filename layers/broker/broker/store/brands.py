"""The operator's brand in the Registry: one item, read by the functions that show pages, written by his command."""

from typing import Any

from broker import audit, clock
from broker.brand import DEFAULT, Brand, BrandProblem, document_of, parse
from broker.store.attributes import item, plain
from broker.store.aws import StoreUnavailable, call

_KEY = "brand#default"
RETRY_SECONDS = 10
"""After a failure the store is left in peace for so long: an outage must not make every error page slow."""


class Brands:
    """Reads with a memory of `cache_seconds`. That there is no brand is remembered too, so that it costs nothing."""

    def __init__(self, dynamodb: Any, table: str, cache_seconds: int = 60) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._cache_seconds = cache_seconds
        self._brand = DEFAULT
        self._until = 0

    def current(self) -> Brand:
        """The brand. Never fails: pages are shown as they last were while the store cannot be read."""
        now = clock.now()
        if now < self._until:
            return self._brand
        try:
            self._brand = self.stored() or DEFAULT
            self._until = now + self._cache_seconds
        except StoreUnavailable as failure:
            audit.unavailable(failure)
            self._until = now + RETRY_SECONDS
        except BrandProblem:
            from broker.log import logger

            # Written by another version, or by hand. A page without the brand is better than none.
            logger.error("the stored brand cannot be used")
            self._brand, self._until = DEFAULT, now + self._cache_seconds
        return self._brand

    def stored(self) -> Brand | None:
        """The brand as stored, None without one. Errors: BrandProblem, StoreUnavailable."""
        answer = call(self._dynamodb.get_item, TableName=self._table, Key=item({"pk": _KEY}))
        if "Item" not in answer:
            return None
        document = plain(answer["Item"])
        del document["pk"]
        return parse(document)

    def put(self, brand: Brand) -> None:
        """Store the brand, over the one that is there. Errors: StoreUnavailable."""
        call(self._dynamodb.put_item, TableName=self._table, Item=item({"pk": _KEY, **document_of(brand)}))
        self.forget()

    def remove(self) -> None:
        """Go back to the default. Errors: StoreUnavailable."""
        call(self._dynamodb.delete_item, TableName=self._table, Key=item({"pk": _KEY}))
        self.forget()

    def forget(self) -> None:
        """Drop what is remembered."""
        self._brand, self._until = DEFAULT, 0
