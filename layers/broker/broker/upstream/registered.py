"""A registered provider as the functions read it: its file, what the operator set over it, and what its issuer says.

The one place for it, so that the operator's command judges by the very dialect that a login meets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.upstream import catalogue
from broker.upstream.provider import Provider
from broker.upstream.schema import merge_overrides, parse_provider

if TYPE_CHECKING:
    from broker.store.registry import ProviderEntry
    from broker.upstream.discovery import Metadata


def dialect_of(
    entry: ProviderEntry, *, local: bool, metadata: Metadata | None = None, source: str | None = None
) -> Provider:
    """The dialect of an entry; where it `needs_discovery`, whole only with `metadata`. source: the file's name, for errors.

    Errors: ProviderFileError; KeyError when the catalogue does not have the file.
    """
    base = entry.document if entry.document is not None else catalogue.document(entry.catalogue or entry.name)
    document = merge_overrides(base, entry.overrides)
    return parse_provider(
        entry.name,
        document if metadata is None else metadata.complete(document),
        source=source or f"{entry.name}.toml",
        variables=entry.variables,
        local=local,
        discovered=None if metadata is None else metadata.discovered,
    )
