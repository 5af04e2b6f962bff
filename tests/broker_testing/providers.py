"""A provider as the operator changes it, for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from broker.runtime import runtime


@contextmanager
def provider_set(name: str, fields: Mapping[str, object]) -> Iterator[None]:
    """While this lasts, fields of the provider's file ("token.url") are these, as with `broker provider update --set`."""
    registry = runtime().registry
    runtime().forget()
    before = registry.provider(name)
    assert before is not None
    changed = replace(before, overrides={**before.overrides, **fields})
    registry.update_provider(changed, before)
    try:
        yield
    finally:
        registry.update_provider(before, changed)
        runtime().forget()
