"""Client id metadata documents that were read before, so that a login need not wait for another's web server.

They lie in the Grants table, because functions may not write the Registry, and because losing them loses nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from broker import clock
from broker.encoding import b64url
from broker.store.attributes import item, plain
from broker.store.aws import call

STALE_SECONDS = 7 * 86400
"""How long after it was read a document still serves while its host cannot be reached."""
MAX_ORIGINS = 5
"""Origins kept of one document: each is a write of its own, and the document is a stranger's."""
_SORT_KEY = "document"


@dataclass(frozen=True)
class ClientDocument:
    """A document as it was read: its text, when that was, and until when it may be used unasked (epoch seconds)."""

    client_id: str
    text: str = field(repr=False)
    read_at: int
    expires_at: int


class ClientDocuments:
    """Reads and writes of the documents. Errors of every method: StoreUnavailable."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def document(self, client_id: str) -> ClientDocument | None:
        """What was read of this URL last, also if it has expired since; None when it is too old to serve at all."""
        stored = self._get(_document_key(client_id))
        if stored is None or clock.now() >= stored["read_at"] + STALE_SECONDS:
            return None
        return ClientDocument(client_id, stored["text"], stored["read_at"], stored["expires_at"])

    def keep(self, document: ClientDocument, origins: Sequence[str]) -> None:
        """Keep a document, and that its client calls from these browser origins, the first MAX_ORIGINS of them."""
        delete_at = document.read_at + STALE_SECONDS
        shared = {"sk": _SORT_KEY, "read_at": document.read_at, "delete_at": delete_at}
        for origin in origins[:MAX_ORIGINS]:
            self._put(shared | {"pk": _origin_key(origin)})
        values = {"client_id": document.client_id, "text": document.text, "expires_at": document.expires_at}
        self._put(shared | values | {"pk": _document_key(document.client_id)})

    def origin_is_listed(self, origin: str) -> bool:
        """Whether the client of a document that was read lately calls from this browser origin."""
        stored = self._get(_origin_key(origin))
        return stored is not None and clock.now() < stored["read_at"] + STALE_SECONDS

    def _get(self, pk: str) -> dict[str, Any] | None:
        answer = call(self._dynamodb.get_item, TableName=self._table, Key=item({"pk": pk, "sk": _SORT_KEY}))
        return plain(answer["Item"]) if "Item" in answer else None

    def _put(self, values: dict[str, object]) -> None:
        call(self._dynamodb.put_item, TableName=self._table, Item=item(values))


def _document_key(client_id: str) -> str:
    """Hashed, as a URL may be longer than a key."""
    return "cimd#" + b64url(hashlib.sha256(client_id.encode()).digest())


def _origin_key(origin: str) -> str:
    return "cimd_origin#" + b64url(hashlib.sha256(origin.encode("utf-8", "surrogatepass")).digest())
