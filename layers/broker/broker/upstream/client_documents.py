"""Reads a client id metadata document from its URL (draft-ietf-oauth-client-id-metadata-document section 4).

Anybody can make the broker call a URL in this way, so it must never call an address that is not public (the bounded client
checks the very address it connects to), follow a redirect, read more than MAX_BYTES or take longer than SECONDS.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from broker.protocol.json_documents import MalformedDocument, parse_object
from broker.upstream.transport import Deadline, Sender, TransportError, TransportKind, UpstreamRequest, UpstreamResponse

MAX_BYTES = 5 * 1024
"""As the draft recommends in section 6.6."""
SECONDS = 4.0
LIFETIME = 3600
LIFETIME_LIMITS = (300, 86400)
"""Seconds that a document serves: when its host says nothing, and the least and most that it may say."""

_PASSING = frozenset({TransportKind.UNREACHABLE, TransportKind.TIMEOUT, TransportKind.TRUNCATED})
_JSON = re.compile(r"application/(?:json|[a-z0-9!#$&^_.+-]+\+json)", re.IGNORECASE)
_MAX_AGE = re.compile(r"(?:^|,)\s*max-age=\"?([0-9]{1,9})\"?\s*(?:,|$)", re.IGNORECASE)


class DocumentRefused(Exception):
    """What is at the URL is no document that may be used. `reason` is for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DocumentUnreachable(Exception):
    """The host does not answer now, or not rightly; it may later. `reason` is for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class FetchedDocument:
    """A document: its text, its members, and for how many seconds it serves."""

    text: str = field(repr=False)
    members: dict[str, Any] = field(repr=False)
    lifetime: int


def fetch(http: Sender, client_id: str) -> FetchedDocument:
    """Read the document at a client id URL that `protocol.client_id_urls` found no fault with.

    Errors: DocumentRefused, DocumentUnreachable.
    """
    try:
        response = http.send(UpstreamRequest("GET", client_id), Deadline.after(SECONDS))
    except TransportError as problem:
        if problem.kind in _PASSING:
            raise DocumentUnreachable(problem.kind.value) from None
        raise DocumentRefused(problem.kind.value) from None
    except ValueError:
        raise DocumentRefused("not a URL") from None
    if response.status >= 500 or response.status == 429:
        raise DocumentUnreachable(f"status {response.status}")
    if response.status != 200:  # a redirect as well: it could lead where the URL may not (section 4)
        raise DocumentRefused(f"status {response.status}")
    media_type = (response.header("content-type") or "").partition(";")[0].strip()
    if not _JSON.fullmatch(media_type):
        raise DocumentRefused("content type")
    try:
        members = parse_object(response.body, max_bytes=MAX_BYTES)
    except MalformedDocument as problem:
        raise DocumentRefused(str(problem)) from None
    return FetchedDocument(response.body.decode("utf-8"), members, _lifetime(response))


def _lifetime(response: UpstreamResponse) -> int:
    """max-age within our limits (RFC 9111 section 5.2.2); no-store and no-cache mean the least."""
    low, high = LIFETIME_LIMITS
    control = ",".join(value for name, value in response.headers if name == "cache-control").lower()
    if "no-store" in control or "no-cache" in control:
        return low
    stated = _MAX_AGE.search(control)
    return min(max(int(stated.group(1)), low), high) if stated else LIFETIME
