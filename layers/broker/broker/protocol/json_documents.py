"""JSON objects that strangers send: one meaning, bounded, or refused.

Must never let through what two parsers would read differently: a member that is there twice, NaN, a number that is too large for
a float, text that is not UTF-8.
"""

import json
import math
from typing import Any


class MalformedDocument(ValueError):
    """The bytes are no JSON object, or not one with one meaning. `str` says why, without quoting them."""


def parse_object(raw: bytes, *, max_bytes: int) -> dict[str, Any]:
    """The members of a JSON object (RFC 8259). Errors: MalformedDocument."""
    if len(raw) > max_bytes:
        raise MalformedDocument(f"the document is longer than {max_bytes} bytes")
    try:
        document = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_members, parse_constant=_refuse_constant, parse_float=_finite
        )
    except MalformedDocument:
        raise
    except (ValueError, RecursionError):
        raise MalformedDocument("the document is not JSON in UTF-8") from None
    if not isinstance(document, dict):
        raise MalformedDocument("the document is not a JSON object")
    return document


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise MalformedDocument("the document has a member twice")
    return members


def _finite(text: str) -> float:
    """Python reads 1e999 as infinity, which it would write as no JSON (RFC 8259 section 6)."""
    number = float(text)
    if not math.isfinite(number):
        raise MalformedDocument("the document has a number that is too large")
    return number


def _refuse_constant(_name: str) -> object:
    raise MalformedDocument("the document has a number that JSON does not have")
