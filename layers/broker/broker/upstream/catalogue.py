"""The catalogue: one TOML file per well-known provider, in the folder beside this module.

Must never hold a credential; what a deployment adds (variables, overrides, client id and secret) lives in the
Registry and the secrets.
"""

import tomllib
from pathlib import Path

_FOLDER = Path(__file__).with_name("catalogue")


def names() -> tuple[str, ...]:
    """The catalogue's providers, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def document(name: str) -> dict[str, object]:
    """One provider's document, fresh, for `parse_provider`. Raises KeyError for a name that is not in the catalogue."""
    return {key: value for key, value in _file(name).items() if key != _SERVE}


def served(name: str) -> dict[str, object] | None:
    """What the file says of the dialect that the broker itself speaks, for `parse_served`; None if nothing. Raises KeyError."""
    table = _file(name).get(_SERVE)
    return table if isinstance(table, dict) else None


_SERVE = "serve"


def _file(name: str) -> dict[str, object]:
    if name not in names():
        raise KeyError(name)
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
