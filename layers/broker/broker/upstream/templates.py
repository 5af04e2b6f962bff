"""Placeholders `{x}` in a provider's URLs, parameters and headers, and the rules a URL of ours must keep.

This is the only door through which a value from a browser or a provider can enter a URL that the broker itself calls,
so it must never let such a value choose scheme, credentials, host or path beyond what the provider file's own text
and pattern allow (server-side request forgery).
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, quote_plus, urlsplit

from broker.upstream.addresses import is_loopback, parse_address

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
# A host as it may stand in a URL of ours: ASCII labels (international names in their xn-- form) or a bracketed IPv6
# address.
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\.?")
_URL_TEXT = re.compile(r"[!-~]+")
_IN_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
# What would end the host, start credentials, or be read differently by two URL parsers.
_BREAKS_AUTHORITY = re.compile(r"[/@\\?#%\s\x00-\x1f\x7f]")
_GOES_ON = re.compile(r"[.-]?[A-Za-z0-9]|\{")
_BREAKS_PREFIX = re.compile(r"[@\\?#\s\x00-\x1f\x7f]")


class TemplateError(ValueError):
    """A template that cannot be filled, or a URL that breaks a rule. `name` is the variable at fault, "" when it is
    the URL itself.
    """

    def __init__(self, name: str, rule: str) -> None:
        super().__init__(f"{name}: {rule}" if name else rule)
        self.name = name
        self.rule = rule


def placeholders(text: str) -> tuple[str, ...]:
    """The names between braces, in order of appearance."""
    return tuple(match.group(1) for match in PLACEHOLDER.finditer(text))


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with every placeholder replaced by its value, unencoded: for parameters (encoded later) and header
    values (checked later).
    """

    def value(match: re.Match[str]) -> str:
        return _value(match.group(1), values)

    return PLACEHOLDER.sub(value, text)


def fill_url(text: str, values: Mapping[str, str], *, local: bool) -> str:
    """`text` with every placeholder replaced by what is safe at its place: whole in front, a bare host part, a path
    segment, a query value.

    The outcome keeps the rules of `check_url`. Raises TemplateError.
    """
    filled: list[str] = []
    end = 0
    for match in PLACEHOLDER.finditer(text):
        filled.append(text[end : match.start()])
        filled.append(_encode_at("".join(filled), match.group(1), _value(match.group(1), values)))
        end = match.end()
    url = "".join([*filled, text[end:]])
    check_url(url, local=local)
    return url


def host_is_open(text: str, name: str) -> bool:
    """Whether the value of `name` decides which registrable domain is called: it stands in front, or ends the host."""
    for match in PLACEHOLDER.finditer(text):
        if match.group(1) != name:
            continue
        before, after = PLACEHOLDER.sub("x", text[: match.start()]), text[match.end() :]
        if before == "" or (_IN_AUTHORITY.fullmatch(before) and not _GOES_ON.match(after)):
            return True
    return False


def check_url(url: str, *, local: bool) -> None:
    """Raise TemplateError unless `url` is an absolute https URL without credentials and fragment.

    local: http is allowed too, to this machine's own loopback only.
    """
    if not _URL_TEXT.fullmatch(url) or "\\" in url or "{" in url or "}" in url:
        raise TemplateError("", "must be a URL of printable ASCII without spaces, braces and backslashes")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise TemplateError("", "is not a valid URL") from None
    if "@" in parts.netloc:
        raise TemplateError("", "must not hold a user name or password")
    if "#" in url:
        raise TemplateError("", "must not have a fragment")
    if not host or not _is_host(host) or port == 0 or parts.netloc.endswith(":"):
        raise TemplateError("", "must name a valid host")
    if parts.scheme == "https":
        return
    if parts.scheme != "http":
        raise TemplateError("", "must start with https://")
    if not local or not is_loopback_name(host):
        raise TemplateError("", "must be https (plain http is for loopback in local mode only)")


def is_loopback_name(host: str) -> bool:
    """Whether a URL's host is written as this machine's loopback: `localhost`, 127.0.0.0/8 or ::1."""
    address = parse_address(host)
    return host == "localhost" or (address is not None and is_loopback(address))


def _is_host(host: str) -> bool:
    if ":" in host:
        return parse_address(host) is not None
    return len(host) <= 253 and _HOST.fullmatch(host) is not None


def _value(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        raise TemplateError(name, "has no value")
    return values[name]


def _encode_at(before: str, name: str, value: str) -> str:
    """`value` as it may follow `before`, the URL so far."""
    if value == "":
        raise TemplateError(name, "is empty")
    if before == "":
        if _BREAKS_PREFIX.search(value):
            raise TemplateError(name, "must be the start of a URL, without credentials, query and fragment")
        return value
    if _IN_AUTHORITY.fullmatch(before):
        if _BREAKS_AUTHORITY.search(value):
            raise TemplateError(name, "must be part of a host name")
        return value
    if "?" in before:
        return quote_plus(value)
    # "." and ".." are the two segments that percent-encoding does not make harmless.
    if value in {".", ".."}:
        raise TemplateError(name, "must not be a dot segment")
    return quote(value, safe="")
