"""Which texts for people may be stored: names, titles and sentences that a page shows."""

_BESIDES = frozenset("\u200c\u200d\u00a0\u202f\u3000")
"""What str.isprintable has no place for and writing needs: the joiners of Persian, of Indian scripts and of emoji, the no-break
spaces of French, the wide space of Japanese. What turns a line around (U+202E) or ends it (U+2028) is not among them."""


def is_printable(one: str) -> bool:
    """Whether a character is of that kind, so that nothing but itself is to be seen of it."""
    return one.isprintable() or one in _BESIDES


def is_line(text: str, longest: int) -> bool:
    """Whether the text is one line of at most so many printable characters, with something to see in it."""
    return (
        len(text) <= longest
        and all(map(is_printable, text))
        and any(one not in _BESIDES and not one.isspace() for one in text)
    )
