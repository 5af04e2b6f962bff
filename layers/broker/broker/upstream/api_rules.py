"""Which calls of a provider's API may go through the proxy, and how a path becomes part of a URL. Pure.

What is checked is what is sent: a path is taken apart once, held against the rules in that form, and put together again from
the same parts. Must never let a path mean one thing here and another at the provider (path traversal, RFC 3986 section 6.2.2.3).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urljoin, urlsplit

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
"""What a rule may name. HEAD goes with GET (RFC 9110 section 9.3.2); no other method is ever passed on."""
ONE, REST = "*", "**"

_RULE = re.compile(r"(?P<methods>[A-Z]+(?:,[A-Z]+)*) (?P<path>/\S+)")
_PLAIN = re.compile(r"[^\x00-\x20\x7f-\x9f%?#\\*]+")
# What a provider might decode once more than we did, and then see a slash, a dot or a control character.
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\\\\\ufffd\u2028\u2029\ud800-\udfff]")
_URL_TEXT = re.compile(r"[!#-;=?-\[\]-~]+")
_IN_SEGMENT = "!$&'()*+,;=:@~"
_IN_QUERY = _IN_SEGMENT + "/?%-._[]"


class BadCall(ValueError):
    """A call that cannot be passed on as it was meant. `str` says why, without quoting it."""


@dataclass(frozen=True)
class AllowRule:
    """Calls that are allowed. methods: without HEAD; segments: a literal, or "*" for any one; rest: and at least one more."""

    methods: frozenset[str]
    segments: tuple[str, ...]
    rest: bool

    @classmethod
    def parse(cls, text: str) -> "AllowRule":
        """A rule as a provider file has it: "GET,POST /tasks/*". Errors: ValueError with the rule that is broken."""
        rule = _RULE.fullmatch(text)
        if rule is None:
            raise ValueError('must be like "GET,POST /tasks/*"')
        methods = rule["methods"].split(",")
        if set(methods) - set(METHODS):
            raise ValueError(f"must name methods of {', '.join(METHODS)}")
        segments = tuple(rule["path"][1:].split("/"))
        rest = segments[-1] == REST
        segments = segments[:-1] if rest else segments
        for number, segment in enumerate(segments):
            is_end = number == len(segments) - 1 and not rest and number > 0 and not segment
            if not (is_end or segment == ONE or (_PLAIN.fullmatch(segment) and not _is_dots(segment))):
                raise ValueError('must have plain segments, "*" for one of any name, or "**" at the end for the rest')
        return cls(frozenset(methods), segments, rest)

    def covers(self, method: str, segments: Sequence[str]) -> bool:
        """Whether a call is one of these."""
        if ("GET" if method == "HEAD" else method) not in self.methods:
            return False
        if len(segments) < len(self.segments) + self.rest or (len(segments) > len(self.segments) and not self.rest):
            return False
        if self.rest and not segments[len(self.segments)]:
            return False
        pairs = zip(self.segments, segments, strict=False)
        return all(bool(given) if wanted == ONE else given == wanted for wanted, given in pairs)


def is_allowed(rules: Iterable[AllowRule], method: str, segments: Sequence[str]) -> bool:
    """Whether a rule covers the call. Without rules nothing is allowed."""
    return any(rule.covers(method, segments) for rule in rules)


def segments_of(path: str) -> tuple[str, ...]:
    """The segments of a path, which is decoded and has no slash in front. The last may be empty: a slash at the end.

    Errors: BadCall.
    """
    if _FORBIDDEN.search(path):
        raise BadCall("the path has a character that no path may have")
    if _ESCAPE.search(path):
        raise BadCall("the path is percent-encoded twice")
    segments = tuple(path.split("/"))
    if not all(segments[:-1]) or segments == ("",):
        raise BadCall("the path has an empty segment")
    if any(map(_is_dots, segments)):
        raise BadCall("the path has a dot segment")
    return segments


def url_of(base: str, segments: Sequence[str], query: str) -> str:
    """The URL of a call below `base`. `query`: as it was sent; what no URI may hold is encoded (RFC 3986 section 3.4).

    Errors: BadCall when the outcome is not below the base.
    """
    root = base.rstrip("/")
    url = "/".join((root, *(quote(segment, safe=_IN_SEGMENT) for segment in segments)))
    if not _is_below(root, url):
        raise BadCall("the path leads away from the provider's API")
    return f"{url}?{quote(query, safe=_IN_QUERY)}" if query else url


def remapped(base: str, called: str, reference: str) -> str | None:
    """Where a reference in the answer to the URL `called` leads, as path and query below `base`; None if elsewhere."""
    root = base.rstrip("/")
    try:
        target = urljoin(called, reference.strip()).partition("#")[0]
        path, _, query = target.partition("?")
        if not _is_below(root, path):
            return None
        below = path[len(root) + 1 :]
        segments_of(unquote(below))
    except ValueError:
        return None
    if "%2f" in below.lower() or not _URL_TEXT.fullmatch(target):
        return None
    return f"{below}?{query}" if query else below


def _is_below(root: str, url: str) -> bool:
    """Whether the URL, as the HTTP client will take it apart, has the root's origin and begins with its path."""
    ours, theirs = urlsplit(root), urlsplit(url)
    same_origin = (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)
    return same_origin and url.startswith(root + "/") and theirs.path.startswith(ours.path + "/")


def _is_dots(segment: str) -> bool:
    """Whether some server takes the segment for "." or "..": with parameters behind it (`..;x`), or blanks around it."""
    return segment.partition(";")[0].strip() in {".", ".."}
