"""What a function instance keeps in memory by a name that strangers may choose: bounded, or they could fill it."""

from typing import TypeVar

Value = TypeVar("Value")


def remember(memory: dict[str, Value], name: str, value: Value, most: int) -> None:
    """Put `value` into `memory` as its newest entry; the oldest goes where there are `most` already."""
    memory.pop(name, None)
    while len(memory) >= most:
        memory.pop(next(iter(memory)), None)
    memory[name] = value
