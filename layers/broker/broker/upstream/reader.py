"""Reading a provider file's tables with types, and errors that say which file, which field and which rule.

Must never guess: an unknown key or a value of the wrong type is an error, not something to skip.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

Choice = TypeVar("Choice", bound=str)


class ProviderFileError(ValueError):
    """A provider file is wrong. `source` names the file, `field` is dotted, `rule` is the sentence about it."""

    def __init__(self, source: str, field: str, rule: str) -> None:
        super().__init__(f"{source}: {field}: {rule}" if field else f"{source}: {rule}")
        self.source = source
        self.field = field
        self.rule = rule


def shown(value: object) -> str:
    """A value of a provider file as an error may show it: short, on one line."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float | bool) else f"a {_kind(value)}"
    return text if len(text) <= 80 else text[:77] + "..."


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "table"
    return "list" if isinstance(value, Sequence) else type(value).__name__


class Table:
    """One table of a provider file. Every read marks its key as known; `done` refuses what was never read.

    An empty string counts as a value left out, so that an operator's override can take a value of the catalogue back.
    """

    def __init__(self, source: str, path: str, entries: Mapping[str, object]) -> None:
        self.source = source
        self.path = path
        self._entries = entries
        self._known: list[str] = []

    def name_of(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def error(self, key: str, rule: str) -> ProviderFileError:
        return ProviderFileError(self.source, self.name_of(key), rule)

    def has(self, key: str) -> bool:
        return self._entries.get(key, "") != ""

    def removes(self, key: str) -> bool:
        """Whether the file has an empty string here, which takes the default away."""
        return self._entries.get(key) == ""

    def _take(self, key: str) -> object | None:
        self._known.append(key)
        return self._entries[key] if self.has(key) else None

    def text(self, key: str) -> str | None:
        value = self._take(key)
        if value is None or isinstance(value, str):
            return value
        raise self.error(key, f"must be a string, not {shown(value)}")

    def choice(self, key: str, choices: tuple[Choice, ...], default: Choice) -> Choice:
        value = self._take(key)
        if value is None:
            return default
        for one in choices:
            if value == one:
                return one
        listed = " or ".join(f'"{one}"' for one in choices)
        raise self.error(key, f"must be {listed}, not {shown(value)}")

    def seconds(self, key: str, *, least: int) -> int | None:
        value = self._take(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(key, f"must be a whole number of seconds, at least {least}, not {shown(value)}")
        return value

    def strings(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A string, or a list of strings of at least one."""
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list | tuple) and value and all(isinstance(one, str) for one in value):
            return tuple(value)
        raise self.error(key, f"must be a string or a list of strings, not {shown(value)}")

    def words(self, key: str) -> tuple[str, ...]:
        """A list of strings, or one string with spaces between them; may be empty."""
        value = self._take(key)
        if value is None:
            return ()
        if isinstance(value, str):
            return tuple(value.split())
        if isinstance(value, list | tuple) and all(isinstance(one, str) and one for one in value):
            return tuple(value)
        raise self.error(key, f"must be a list of strings, not {shown(value)}")

    def strings_by_name(self, key: str) -> Mapping[str, str]:
        """A table of strings; empty strings stay, they remove a default."""
        value = self._take(key)
        if value is None:
            return MappingProxyType({})
        if not isinstance(value, Mapping):
            raise self.error(key, f"must be a table of strings, not {shown(value)}")
        for name, entry in value.items():
            if not isinstance(entry, str):
                raise self.error(f"{key}.{name}", f"must be a string, not {shown(entry)}")
        return MappingProxyType(dict(value))

    def table(self, key: str) -> "Table":
        value = self._take(key)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise self.error(key, f"must be a table, not {shown(value)}")
        return Table(self.source, self.name_of(key), value)

    def tables(self) -> "Mapping[str, Table]":
        """Every entry as a table of its own: for tables whose keys are names."""
        return {name: self.table(name) for name in self._entries}

    def names(self) -> tuple[str, ...]:
        """The keys that are there: for tables whose keys are names."""
        return tuple(self._entries)

    def value(self, key: str) -> object | None:
        return self._take(key)

    def done(self) -> None:
        """Refuse keys that nothing has read, naming the nearest that exists."""
        for key in self._entries:
            if key not in self._known:
                raise self.error(key, f"is not a field{self._suggestion(key)}")

    def _suggestion(self, key: str) -> str:
        import difflib  # only a wrong file pays for it

        near = difflib.get_close_matches(key, self._known, n=1, cutoff=0.5)
        if near:
            return f"; did you mean {self.name_of(near[0])}?"
        return f"; the fields here are {', '.join(sorted(self._known))}"
