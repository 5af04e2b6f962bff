"""Python values <-> DynamoDB attribute values, for the few types that the broker's items use."""

from collections.abc import Mapping
from typing import Any

type_names = {str: "S", bytes: "B"}

Item = dict[str, Any]
"""An item as the low-level DynamoDB client takes and gives it: {"name": {"S": "..."}}."""


def attribute(value: object) -> dict[str, Any]:
    """One value as a DynamoDB attribute value. str, bytes, bool, int, frozenset of str, list/tuple, dict.

    Errors: TypeError for any other type (a float would lose precision silently).
    """
    match value:
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case str() | bytes():
            return {type_names[type(value)]: value}
        case frozenset():
            return {"SS": sorted(value)}
        case list() | tuple():
            return {"L": [attribute(entry) for entry in value]}
        case dict():
            return {"M": {name: attribute(entry) for name, entry in value.items()}}
    raise TypeError(f"no DynamoDB attribute for a {type(value).__name__}")


def item(values: Mapping[str, object]) -> Item:
    """A whole item; a value of None, or an empty set, is left out (DynamoDB has no empty sets)."""
    return {name: attribute(value) for name, value in values.items() if value is not None and value != frozenset()}


def plain(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `item`: lists stay lists, sets become frozensets, numbers become int."""
    return {name: _value(value) for name, value in stored.items()}


def _value(stored: Mapping[str, Any]) -> Any:
    ((kind, value),) = stored.items()
    match kind:
        case "N":
            return int(value)
        case "L":
            return [_value(entry) for entry in value]
        case "M":
            return plain(value)
        case "SS":
            return frozenset(value)
    return value
