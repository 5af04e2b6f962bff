"""A provider's HTTP answer read into a JSON object, as forgivingly as is safe.

Must never raise: an answer that is no object has no document. The content type is not asked; half of the providers
get it wrong.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl

from broker.upstream.transport import UpstreamResponse

_FORM = re.compile(r"[!-~]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Seconds since 1970 as a wait would be thirty years: such a number is a moment (X-RateLimit-Reset).
_A_MOMENT = 1_000_000_000


@dataclass(frozen=True)
class Answer:
    """document: the JSON object (or form) of the body, None when there is none; blank: nothing but white space came; limited: it
    says that there were too many requests, whatever its status is.
    """

    status: int
    document: Mapping[str, object] | None = field(repr=False)
    blank: bool
    retry_after: int | None
    received_at: float
    limited: bool = False


def read_answer(response: UpstreamResponse, retry_headers: tuple[str, ...]) -> Answer:
    """retry_headers: lower-case names that may say when to try again, first hit wins."""
    encoding = (response.header("content-encoding") or "identity").strip().lower()
    return Answer(
        status=response.status,
        # We asked for identity; unpacking what came instead would open the door to decompression bombs.
        document=read_document(response.body) if encoding in {"", "identity"} else None,
        blank=not response.body.strip(),
        retry_after=_retry_after(response, retry_headers),
        received_at=response.received_at,
        # GitHub says so with a 403 ("Rate limits for the REST API").
        limited=response.header("retry-after") is not None or response.header("x-ratelimit-remaining") == "0",
    )


def read_document(body: bytes) -> Mapping[str, object] | None:
    """The body as JSON object, else as form (RFC 6749 says JSON, some send a form), else None. A byte order mark is
    skipped.
    """
    text = body.decode("utf-8-sig", "replace").strip()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return _form(text)
    return _without_surrogates(document) if isinstance(document, dict) else None


def _form(text: str) -> Mapping[str, object] | None:
    if "=" not in text or not _FORM.fullmatch(text) or re.search(r'[<>{}"\[\]]', text):
        return None
    try:
        pairs = parse_qsl(text, strict_parsing=True, max_num_fields=100)
    except ValueError:
        return None
    # The first of a repeated name counts, as the first hit does everywhere.
    return dict(reversed(pairs))


def _without_surrogates(document: dict[str, object]) -> Mapping[str, object] | None:
    """JSON can spell half a surrogate pair, which no UTF-8 text can hold: it would break whoever writes it later."""
    try:
        text = json.dumps(document, ensure_ascii=False)
        if not _SURROGATE.search(text):
            return document
        cleaned = json.loads(_SURROGATE.sub("\ufffd", text))
    except (ValueError, RecursionError):
        return None
    return cleaned if isinstance(cleaned, dict) else None


def _retry_after(response: UpstreamResponse, names: tuple[str, ...]) -> int | None:
    """Seconds to wait: a number, an HTTP date (RFC 9110 section 10.2.3) or a moment in epoch seconds; None when none
    says so.
    """
    for name in names:
        value = response.header(name)
        wait = None if value is None else _wait(value.strip(), response.received_at)
        if wait is not None:
            return wait
    return None


def _wait(value: str, now: float) -> int | None:
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", value):
        seconds = float(value)
        return max(0, math.ceil(seconds - now if seconds >= _A_MOMENT else seconds))
    try:
        moment = parsedate_to_datetime(value)
        return max(0, math.ceil((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
