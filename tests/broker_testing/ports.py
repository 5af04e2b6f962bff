"""Ports for programs that are told where to listen, or that are to find nobody there."""

from __future__ import annotations

import random

from broker_local.listening import PortTakenError, listen

_CHOICE = range(20000, 32000)
"""Below what systems give to sockets that name no port: one of those would be taken by somebody's connection before the program
that it was chosen for has started."""
_TRIES = 100


def free_port(count: int = 1) -> int:
    """A port on which nobody listens, nor on the `count` - 1 after it."""
    for _ in range(_TRIES):
        first = random.choice(_CHOICE)
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise AssertionError("no free port")


def _is_free(port: int) -> bool:
    try:
        sockets = listen(port)
    except PortTakenError:
        return False
    for one in sockets:
        one.close()
    return True
