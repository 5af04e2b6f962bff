"""Dotted paths into a provider's JSON: `data.user.id`, `errors.0.errorType`; the empty path is the document itself.

Must never raise: whatever a provider answers, a path that does not fit is simply not there.
"""

from collections.abc import Iterable, Mapping


def lookup(document: object, path: str) -> object:
    """The value at `path`, or None. A key that holds dots itself (`https://example.com/claim`) wins over the split
    path.
    """
    if path == "":
        return document
    if isinstance(document, Mapping) and path in document:
        return document[path]
    here = document
    for step in path.split("."):
        if isinstance(here, Mapping):
            here = here.get(step)
        elif isinstance(here, list) and step.isascii() and step.isdigit() and len(step) < 6 and int(step) < len(here):
            here = here[int(step)]
        else:
            return None
    return here


def is_empty(value: object) -> bool:
    """Whether a value counts as not there: null, an empty string, list or object. Zero and false are values."""
    return value is None or (isinstance(value, str | list | Mapping) and len(value) == 0)


def first(document: object, paths: Iterable[str]) -> object:
    """The first non-empty value among `paths`, or None."""
    for path in paths:
        value = lookup(document, path)
        if not is_empty(value):
            return value
    return None
