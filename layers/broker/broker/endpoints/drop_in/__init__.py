"""The edge for applications that were written for a provider's guide: its dialect in, standard requests inside, its dialect out.

The path selects the dialect; only a client that was registered for it may speak it, and every other client is refused there.
What is decided behind this edge is decided by the same code as for everybody else.
"""

from typing import TYPE_CHECKING

from broker.gateway import Request
from broker.protocol.parameters import Parameters

if TYPE_CHECKING:
    from broker.upstream.serve import ServedDialect


def dialect_at(request: Request, standard: str) -> "ServedDialect | None":
    """The dialect that the request's path selects, None at the `standard` path of its endpoint."""
    if request.path == standard:
        return None
    from broker.upstream import serve  # reads the catalogue, which the standard path does not pay for

    found = serve.routes().get(request.path)
    return found[0] if found else None


def with_default(parameters: Parameters, name: str, value: str) -> Parameters:
    """The parameters with one that the dialect lets its applications leave out. An empty one is left out as well, but twice is
    twice (RFC 6749 section 3.1): that is for the standard endpoint to refuse.
    """
    pairs = list(parameters.pairs())
    if [sent for one, sent in pairs if one == name] not in ([], [""]):
        return parameters
    return Parameters([*((one, sent) for one, sent in pairs if one != name), (name, value)])
