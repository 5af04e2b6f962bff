"""Redirect URIs: which are accepted, and how an answer is added to one.

Comparison is of exact strings (RFC 9700 section 2.1): no parsing, so no difference between two parsers to exploit. The one
exception is the port of a loopback IP address, which a native app gets from the system at run time (RFC 8252 section 7.3).
"""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, urlsplit

_LOOPBACK = re.compile(r"(?P<host>http://(?:127\.0\.0\.1|\[::1\]))(?::(?P<port>[1-9][0-9]{0,4}))?(?P<path>/[^#\\\s]*)?")
_LAST_PORT = 65535
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")


def is_registered(requested: str, registered: Iterable[str]) -> bool:
    """Whether `requested` may be redirected to."""
    return any(requested == uri or _same_but_port(requested, uri) for uri in registered)


def _same_but_port(requested: str, uri: str) -> bool:
    wanted, known = _LOOPBACK.fullmatch(requested), _LOOPBACK.fullmatch(uri)
    if wanted is None or known is None or int(wanted["port"] or 0) > _LAST_PORT:
        return False
    return wanted["host"] == known["host"] and wanted["path"] == known["path"]


def is_on_device(redirect_uri: str) -> bool:
    """Whether the answer goes to a program on the person's device, which any other program there can be as well: a loopback
    address or a scheme of an app's (RFC 8252 section 8.6). Only a host on the net proves by https who it is."""
    parts = urlsplit(redirect_uri)
    return parts.scheme != "https" or parts.hostname in LOOPBACK_HOSTS


def origin_of(redirect_uri: str) -> str:
    """The site that the answer goes to: scheme, host and port as they stand there, but for the port of a loopback address, which
    may be any; "" without a redirect URI. Errors: ValueError."""
    if loopback := _LOOPBACK.fullmatch(redirect_uri):
        return loopback["host"]
    parts = urlsplit(redirect_uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if redirect_uri else ""


def mismatch(requested: str, registered: Iterable[str]) -> str:
    """How a URI that is not registered differs from those that are, for the log: its path and query may hold secrets."""
    try:
        site = origin_of(requested)
    except ValueError:
        return "no URI"
    if any(origin_of(uri) == site for uri in registered):
        return f"another path or query at {site}"
    return site[:200]


def with_parameters(redirect_uri: str, parameters: Sequence[tuple[str, str]]) -> str:
    """`redirect_uri` with the answer's parameters in its query; its own query stays (RFC 6749 section 3.1.2)."""
    answer = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters)
    separator = "" if redirect_uri.endswith(("?", "&")) else "&" if "?" in redirect_uri else "?"
    return f"{redirect_uri}{separator}{answer}"
