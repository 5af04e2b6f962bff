"""Whether an API's answer quotes a token of the provider's, so that it must not go back to the client.

Must never say no only because a token is written another way, or because the answer is a part of what has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from broker.upstream.tokens import UpstreamTokens

_SHORTEST_TOKEN = 12
"""A shorter token would be found by chance in any text."""
_SHORTEST_PIECE = 4
"""So many characters of a token at the edge of a part are no chance any more."""
_LAYERS = 2
"""How often a text may be escaped: a URL in JSON in a URL."""
_LONGEST_ESCAPES = 36
"""Bytes that may stand for one then: JSON has six for each of JSON's six."""
_WINDOW = 64 * 1024
"""Bytes that are read at once. Each reading is a copy, and a body may be as large as a tenth of a function's memory."""
_URL_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_JSON_ESCAPE = re.compile(rb'\\(?:u00([0-7][0-9A-Fa-f])|(["\\/]))')
_CUT_ESCAPE = re.compile(rb"(?:%[0-9A-Fa-f]?|\\(?:u(?:0{0,2}|00[0-7])?)?)\Z")
_REST_OF_ESCAPE = 5
"""The most bytes of an escape that a cut leaves to the part behind it."""


def quotes(text: bytes, tokens: UpstreamTokens) -> bool:
    """Whether a token is in the text, as it is or as URLs (RFC 3986 section 2.1) and JSON (RFC 8259 section 7) may have it."""
    secrets = _secrets(tokens)
    return any(
        secret in reading for part in _windows(text, secrets) for reading in _readings(part) for secret in secrets
    )


def is_cut_out_of(part: bytes, tokens: UpstreamTokens, *, at_start: bool) -> bool:
    """Whether a part of a body (RFC 9110 section 15.3.7) ends or begins within a token, or lies within: several such parts make
    up the whole. at_start: nothing is before the part, so that a few characters of it tell nothing.
    """
    secrets, least = _secrets(tokens), _SHORTEST_PIECE if at_start else 1
    edge = _longest(secrets)
    first, last = (part, part) if len(part) <= 2 * edge else (part[:edge], part[-edge:])
    heads, tails = _pieces(first), _pieces(last)
    return any(
        any(_is_inside(piece, secret, least) or _begins_with_an_end(piece, secret) for piece in heads)
        or any(_ends_with_a_beginning(piece, secret) for piece in tails)
        for secret in secrets
    )


def _pieces(text: bytes) -> set[bytes]:
    """The text, what it may mean, and each without an escape that the cut went through."""
    return {piece for reading in _readings(text) for piece in (reading, _CUT_ESCAPE.sub(b"", reading))}


def _secrets(tokens: UpstreamTokens) -> list[bytes]:
    secrets = (tokens.access_token, tokens.refresh_token or "")
    return [secret.encode() for secret in secrets if len(secret) >= _SHORTEST_TOKEN]


def _longest(secrets: list[bytes]) -> int:
    """Bytes that one of them may take when it is escaped as often as is looked for."""
    return max(map(len, secrets), default=0) * _LONGEST_ESCAPES + 2 * _REST_OF_ESCAPE


def _windows(text: bytes, secrets: list[bytes]) -> Iterator[bytes]:
    """Parts of the text, each so far into the next that no secret lies across two."""
    over = _longest(secrets)
    step = max(_WINDOW, over)
    return (text[at : at + step + over] for at in range(0, len(text), step))


def _readings(text: bytes) -> Iterator[bytes]:
    """The text, and what it may mean."""
    yield text
    for _ in range(_LAYERS):
        text = _JSON_ESCAPE.sub(_meant, text)
        yield text
        text = _URL_ESCAPE.sub(_byte_meant, text)
        yield text


def _byte_meant(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape[1].decode())


def _meant(escape: re.Match[bytes]) -> bytes:
    return escape[2] or bytes.fromhex(escape[1].decode())


def _is_inside(piece: bytes, secret: bytes, least: int) -> bool:
    """Also behind what is left of an escape that the cut went through."""
    if len(piece) > len(secret) + _REST_OF_ESCAPE:
        return False
    behind = (piece[skipped:] for skipped in range(1, _REST_OF_ESCAPE + 1))
    return (len(piece) >= least and piece in secret) or any(
        len(rest) >= _SHORTEST_PIECE and rest in secret for rest in behind
    )


def _ends_with_a_beginning(piece: bytes, secret: bytes) -> bool:
    tail, beginning = piece[-len(secret) :], secret[:_SHORTEST_PIECE]
    at = tail.find(beginning)
    while at >= 0:
        if secret.startswith(tail[at:]):
            return True
        at = tail.find(beginning, at + 1)
    return False


def _begins_with_an_end(piece: bytes, secret: bytes) -> bool:
    """Also behind what is left of an escape that the cut went through."""
    head, end = piece[: len(secret) + _REST_OF_ESCAPE], secret[-_SHORTEST_PIECE:]
    at = head.find(end)
    while at >= 0:
        until = at + len(end)
        if any(secret.endswith(head[skipped:until]) for skipped in range(min(at, _REST_OF_ESCAPE) + 1)):
            return True
        at = head.find(end, at + 1)
    return False
