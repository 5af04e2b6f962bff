"""Request parameters as RFC 6749 section 3 wants them: no repeats, empty means absent, unknown ones ignored.

Reads the raw query or form text itself, because a parsed mapping hides a repeated parameter.
"""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_to_bytes

from broker.protocol.errors import INVALID_REQUEST, OAuthError

MAX_BYTES = 16_384
MAX_VALUE = 8_192
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

REPEATABLE = frozenset({"resource", "audience"})
"""RFC 8707 section 2 and RFC 8693 section 2.1 let these come more than once."""


class MalformedParameters(ValueError):
    """The text is no application/x-www-form-urlencoded UTF-8, or too long. `str` says why, without quoting it."""


class Parameters:
    """The parameters of one request, by name."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def get(self, name: str) -> str | None:
        """The value; None when absent or empty (RFC 6749 section 3.1). The first one that is not empty when repeated."""
        return next(iter(self.all(name)), None)

    def require(self, name: str) -> str:
        """The value. Errors: OAuthError invalid_request when absent or empty."""
        value = self.get(name)
        if value is None:
            raise OAuthError(INVALID_REQUEST, f"the parameter {name} is missing")
        return value

    def all(self, name: str) -> tuple[str, ...]:
        """All values that are not empty."""
        return tuple(value for value in self._values.get(name, ()) if value)

    def repeated(self) -> str | None:
        """The name of a parameter that may not repeat and does, or None."""
        return next((name for name, values in self._values.items() if len(values) > 1 and name not in REPEATABLE), None)

    def reject_repeated(self) -> None:
        """Errors: OAuthError invalid_request naming the parameter (only if its name is plain)."""
        name = self.repeated()
        if name is not None:
            shown = name if re.fullmatch(r"[a-z_]{1,40}", name) else "of the request"
            raise OAuthError(INVALID_REQUEST, f"the parameter {shown} is there more than once")

    def pairs(self) -> Iterator[tuple[str, str]]:
        """All (name, value) pairs."""
        return ((name, value) for name, values in self._values.items() for value in values)

    def __contains__(self, name: str) -> bool:
        """Whether the parameter is there at all, even empty."""
        return name in self._values


def parse(text: str) -> Parameters:
    """Parameters from a raw query string or form body. Errors: MalformedParameters."""
    if len(text) > MAX_BYTES:
        raise MalformedParameters(f"the parameters are longer than {MAX_BYTES} bytes")
    return Parameters(_pair(part) for part in text.split("&") if part)


def _pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return _decode(name), _decode(value)


def _decode(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise MalformedParameters("a percent sign is not followed by two hexadecimal digits")
    try:
        value = unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedParameters("a parameter is not UTF-8") from None
    if len(value) > MAX_VALUE:
        raise MalformedParameters(f"a parameter is longer than {MAX_VALUE} characters")
    return value
