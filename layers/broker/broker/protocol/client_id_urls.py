"""Client ids that are URLs of client id metadata documents (draft-ietf-oauth-client-id-metadata-document section 3).

Pure. These rules come before any look-up or fetch, and they are about the very text of the id: it is compared byte by byte
everywhere, so that no two parsers have to agree about it.
"""

import re
from urllib.parse import urlsplit

MAX_LENGTH = 512
LOWEST_PORT = 1024
"""Ports below, but for 443, carry other protocols: no URL that a stranger names may make the broker knock at them."""

_TEXT = re.compile(r"(?:[A-Za-z0-9\-._~:/\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_DOT_SEGMENT = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def looks_like_url(client_id: str) -> bool:
    """Whether the id can only be meant as a URL."""
    return client_id.lower().startswith(("https:", "http:"))


def fault(client_id: str, *, local: bool) -> str | None:
    """What is wrong with a client id URL, as a clause; None when its document may be fetched.

    `local`: local mode, where this machine's loopback may be named too, with plain http.
    """
    if len(client_id) > MAX_LENGTH or not _TEXT.fullmatch(client_id):
        return "is too long, or has a query, a fragment or characters that no path may have"
    try:
        parts = urlsplit(client_id)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "has a host or port that cannot be read"
    if not client_id.startswith(f"{parts.scheme}://") or parts.scheme not in ("https", "http"):
        return "is not an https URL"
    is_own = local and host in _LOOPBACK
    if parts.scheme != "https" and not is_own:
        return "is not an https URL"
    if "@" in parts.netloc:
        return "has a user name or password"
    if not host or not (is_own or _HOST.fullmatch(host)) or host != _written_host(parts.netloc):
        return "names no host in its usual spelling"
    if not is_callable_port(port):
        return "names a port that is not for documents"
    return _path_fault(parts.path)


def is_callable_port(port: int | None) -> bool:
    """Whether the broker may call this port (None: the usual one) because a stranger's URL names it."""
    return port is None or port == 443 or port >= LOWEST_PORT


def host_of(client_id: str) -> str:
    """The host of a client id URL without fault, for policies and for people."""
    return urlsplit(client_id).hostname or ""


def _path_fault(path: str) -> str | None:
    if path in ("", "/"):
        return "has no path"
    if any(_DOT_SEGMENT.fullmatch(segment) for segment in path.split("/")):
        return "has dot segments"
    return None


def _written_host(netloc: str) -> str:
    """The host as it stands in the URL; `hostname` alone would hide capitals, and an empty port."""
    bare = re.sub(r":[1-9][0-9]{0,4}$", "", netloc)
    return bare[1:-1] if bare.startswith("[") and bare.endswith("]") else bare
