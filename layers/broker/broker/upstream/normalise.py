"""A provider's token answer made into `UpstreamTokens`, whatever shape its fields came in.

Must never raise anything but UpstreamFailure, and never let a value through that could break a header, a log line or
a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from broker.upstream.failures import FailureKind, UpstreamFailure
from broker.upstream.paths import first, lookup
from broker.upstream.tokens import UpstreamTokens

if TYPE_CHECKING:
    from broker.upstream.provider import Provider, TokenAnswerDialect, TokenDialect

YEAR = 365 * 24 * 3600
MAX_TOKEN = 64 * 1024
MAX_KEPT = 1024
MAX_SCOPES, MAX_SCOPE_TEXT = 200, 8192
"""So many scopes with so many characters are kept. They are sealed with the tokens, and an item that is too large for DynamoDB
would lose those."""
_VSCHAR = re.compile(r"[ -~]+")  # RFC 6749 appendix A: what every token is made of
_SCOPE_TOKEN = re.compile(r"[!#-\[\]-~]+")  # RFC 6749 section 3.3
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")
_MILLISECONDS = 100_000_000_000  # as seconds this is the year 5138


@dataclass(frozen=True)
class Received:
    """What is known besides the answer: the time (epoch seconds, ours), what was asked, and what was there before."""

    now: int
    asked_scope: tuple[str, ...]
    kept: Mapping[str, str]
    previous: UpstreamTokens | None = None


def read_tokens(
    provider: Provider, dialect: TokenDialect, document: Mapping[str, object], known: Received
) -> UpstreamTokens:
    """The tokens of a successful answer. Raises UpstreamFailure (row 15) when it holds no usable access token."""
    answer = dialect.response
    root, access_token = _access_token(answer.root, answer.access_token, document)
    before = known.previous
    # RFC 6749 section 6: an answer without a refresh token leaves the old one valid.
    refresh_token = _token(first(root, answer.refresh_token)) or (before.refresh_token if before else None)
    return UpstreamTokens(
        access_token=access_token,
        refresh_token=refresh_token,
        expires_at=_expires_at(dialect, root, known.now),
        scope=_bounded(_granted(provider, answer, root) or known.asked_scope, known.asked_scope) or None,
        kept=MappingProxyType({**known.kept, **_kept(provider, answer.keep, document, known)}),
        # One that comes with a refresh is about nobody new, and nobody checks it: the login's own stays.
        id_token=before.id_token if before else _token(lookup(root, "id_token")),
    )


def _access_token(
    roots: Sequence[str], paths: Sequence[str], document: Mapping[str, object]
) -> tuple[Mapping[str, object], str]:
    """The first root that holds an access token, and the token. Every other field is read from the same root: beside
    somebody else's access token stands somebody else's refresh token."""
    for path in roots:
        root = lookup(document, path)
        if isinstance(root, Mapping) and (token := _token(first(root, paths))) is not None:
            return root, token
    raise UpstreamFailure(FailureKind.UNUSABLE, row=15, status=200, detail="the answer holds no usable access token")


def _token(value: object) -> str | None:
    """A token as RFC 6749 appendix A.12 defines it, else None: a replaced byte or a line break is no token."""
    if isinstance(value, str) and len(value) <= MAX_TOKEN and _VSCHAR.fullmatch(value):
        return value
    return None


def _expires_at(dialect: TokenDialect, root: Mapping[str, object], now: int) -> int | None:
    """The end of the access token, at most a year away; None when neither the answer nor the file says one."""
    life = _number(first(root, dialect.response.expires_in))
    if life is None or life < 1:
        moment = _moment(first(root, dialect.response.expires_at))
        life = None if moment is None else moment - now
    if life is None or life < 1:
        life = dialect.default_expires_in
    return None if life is None else now + int(min(life, YEAR))


def _number(value: object) -> float | None:
    """A finite number, or a string of one."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return float(min(value, 10**18)) if value > 0 else 0.0
    return value if math.isfinite(value) else None


def _moment(value: object) -> float | None:
    """A moment in epoch seconds from seconds, milliseconds or ISO 8601 (without a zone: UTC)."""
    number = _number(value)
    if number is not None:
        return number / 1000 if number >= _MILLISECONDS else number
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _granted(provider: Provider, answer: TokenAnswerDialect, root: Mapping[str, object]) -> tuple[str, ...] | None:
    """The scopes that the answer names, by the names that they are asked for by."""
    named = _scope(first(root, answer.scope), provider.authorize.scope_separator) or ()
    return tuple(dict.fromkeys(answer.scope_names.get(scope, scope) for scope in named)) or None


def _bounded(scopes: tuple[str, ...], asked: tuple[str, ...]) -> tuple[str, ...]:
    """As many of the scopes as may be kept, those that were asked for first."""
    if len(scopes) <= MAX_SCOPES and sum(map(len, scopes)) <= MAX_SCOPE_TEXT:
        return scopes
    kept: list[str] = []
    wanted, room = set(asked), MAX_SCOPE_TEXT
    for scope in sorted(scopes, key=lambda scope: scope not in wanted):
        if len(kept) < MAX_SCOPES and len(scope) <= room:
            kept.append(scope)
            room -= len(scope)
    return tuple(kept)


def _scope(value: object, separator: str) -> tuple[str, ...] | None:
    """Scopes from a list, or a string with spaces, commas or the provider's own separator; what is no scope token is
    left out.
    """
    if isinstance(value, str):
        pieces: list[object] = [*re.split(rf"[\s,]+|{re.escape(separator)}" if separator else r"[\s,]+", value)]
    elif isinstance(value, list):
        pieces = value
    else:
        return None
    scopes = (piece.strip() for piece in pieces if isinstance(piece, str))
    return tuple(dict.fromkeys(scope for scope in scopes if _SCOPE_TOKEN.fullmatch(scope))) or None


def _kept(provider: Provider, paths: Sequence[str], document: Mapping[str, object], known: Received) -> dict[str, str]:
    """What is to be kept for later calls. In a refresh, a value that the file does not allow leaves the one before in place:
    the answer has the only tokens that the provider still takes, and is not thrown away for it.
    """
    kept: dict[str, str] = {}
    for path in paths:
        text = _kept_text(lookup(document, path))
        if text is None:
            continue
        try:
            kept[path] = keep_value(provider, path, text)
        except UpstreamFailure:
            if known.previous is None:
                raise
    return kept


def _kept_text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**30 else None
    return value if isinstance(value, str) and value else None


def keep_value(provider: Provider, name: str, value: str) -> str:
    """`value`, held against the pattern of its variable at once: nothing is stored that may not be used later (row
    15).
    """
    variable = provider.variables.get(name)
    if len(value) > MAX_KEPT or (variable is not None and not variable.matches(value)):
        raise UpstreamFailure(FailureKind.UNUSABLE, row=15, detail=f"the value of {name} is not one the file allows")
    return value
