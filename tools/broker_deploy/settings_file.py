"""samconfig.local.toml: what the first deployment was told, for all later ones. It is not part of the repository.

Holds names and parameters of the template, never a secret: SandboxClientSecret and the like are given by hand each time.
"""

import json
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "samconfig.local.toml"


@dataclass(frozen=True)
class Deployment:
    """Which stack, and with which parameters of the template besides their defaults."""

    stack: str
    region: str
    parameters: Mapping[str, str]


def read(project: Path) -> Deployment | None:
    """What was written, or None. Errors: ValueError when the file names no stack or Region, or is no TOML."""
    path = project / NAME
    if not path.exists():
        return None
    default = tomllib.loads(path.read_text("utf-8")).get("default", {})
    common = default.get("global", {}).get("parameters", {})
    own = common | default.get("deploy", {}).get("parameters", {})
    if not own.get("stack_name") or not own.get("region"):
        raise ValueError(f"{NAME} names no stack_name or no region")
    return Deployment(own["stack_name"], own["region"], _parameters(own.get("parameter_overrides", [])))


def _parameters(overrides: object) -> dict[str, str]:
    """Of the forms that SAM takes, those that `write` and `sam deploy --guided` have: a list of NAME=VALUE, or a text of them.

    A value may have quotes, and without them there can be none that is empty.
    """
    entries = overrides if isinstance(overrides, list) else [overrides]
    pairs = [pair for entry in entries for pair in shlex.split(str(entry))]
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def write(project: Path, deployment: Deployment) -> Path:
    """The settings of samconfig.toml with this deployment's own. Errors: OSError."""
    shared = (project / "samconfig.toml").read_text("utf-8")
    lines: list[str] = ["# Written by the first `make deploy`, and yours to change.", ""]
    for line in shared.splitlines():
        if line.startswith("stack_name"):
            lines += [f"stack_name = {_quoted(deployment.stack)}", f"region = {_quoted(deployment.region)}"]
        elif not line.startswith("#"):
            lines.append(line)
        if line == "[default.deploy.parameters]":
            pairs = [_quoted(f"{name}={value}") for name, value in deployment.parameters.items()]
            lines.append(f"parameter_overrides = [{', '.join(pairs)}]")
    text = "\n".join(lines).strip() + "\n"
    tomllib.loads(text)
    path = project / NAME
    path.write_text(text, "utf-8")
    return path


def _quoted(text: str) -> str:
    """A TOML string: JSON's are, but for characters that no name or parameter here has."""
    return json.dumps(text)
