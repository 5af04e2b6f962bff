"""Text that strangers chose, made harmless to show: names of clients and people, scopes, hosts.

A name may be anything: markup, a thousand characters, direction overrides that turn the sentence around it, invisible
characters that make two names look alike. What is shown is short, one line, visible, and isolated from its surroundings.
"""

import re
import unicodedata
from html import escape
from urllib.parse import urlsplit

MAX_NAME = 80
MAX_MARKS = 3
"""Combining marks in a row: more than any language needs piles up over the lines above and below."""

_ASCII_HOST = re.compile(r"[A-Za-z0-9.-]+")
_JOINERS = "\u200c\u200d"


def text(value: object, limit: int = MAX_NAME) -> str:
    """`value` as one short line of visible characters; "" when nothing visible is left. Not yet escaped.

    Control, format (direction overrides among them), private-use, unassigned and lone surrogate characters are dropped; the
    joiners that emoji and Persian need stay where they join something.
    """
    kept: list[str] = []
    marks = 0
    # Clamped first: a name of megabytes must not cost time, and normalising may multiply its length.
    for character in unicodedata.normalize("NFC", str(value)[: limit * 8]):
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category in ("Zl", "Zp", "Cc") or character.isspace():
            kept.append(" ")
        elif (category[0] != "C" and marks <= MAX_MARKS) or (
            character in _JOINERS and kept and ord(kept[-1][-1]) > 127
        ):
            kept.append(character)
    line = " ".join("".join(kept).split()).strip(_JOINERS)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def isolated(value: object, limit: int = MAX_NAME) -> str:
    """HTML of the text in an element that its direction cannot leave."""
    return f"<bdi>{escape(text(value, limit))}</bdi>"


def initial(value: object) -> str:
    """HTML of the letter that stands for a name: its first letter or digit, or a dot."""
    return escape(next((one.upper() for one in text(value) if one.isalnum()), "•")[:1])


def host(url: str) -> str:
    """The host of an http(s) URL as ASCII, so that letters of another alphabet cannot pass for it; "" for none."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https"):
        return ""
    if not _ASCII_HOST.fullmatch(name) and ":" not in name:
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return ""
    return f"{name}:{port}" if port else name
