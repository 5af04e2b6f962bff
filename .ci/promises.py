"""What SAM must make of template.yaml, and what no linter knows: that an edit or a parameter reaches the running version of each
function, and which rights SAM adds by itself. Runs in the SAM CLI's virtual environment, without AWS.

promises.py FILE
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from transform import transformed

LOGS, TRACES = "service-role/AWSLambdaBasicExecutionRole", "AWSXrayWriteOnlyAccess"
DEPLOYMENTS = "service-role/AWSCodeDeployRoleForLambda"


def _of_type(document: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: one for name, one in document["Resources"].items() if one["Type"] == kind}


def _edited(path: Path, before: str, after: str) -> dict[str, Any]:
    """The transformed template as it would be after an edit of its text."""
    text = path.read_text("utf-8")
    if before not in text:
        raise SystemExit(f"{path} has no {before!r} to try an edit with")
    with tempfile.TemporaryDirectory() as folder:
        changed = Path(folder) / path.name
        changed.write_text(text.replace(before, after), "utf-8")
        return transformed(changed, {})


def _published(document: dict[str, Any]) -> dict[str, str]:
    """Function -> logical id and description of the version that its alias calls. A new one of either makes a new version."""
    versions = _of_type(document, "AWS::Lambda::Version")
    return {one["Properties"]["FunctionName"]["Ref"]: f"{name} {one['Properties']}" for name, one in versions.items()}


def an_edit_reaches_every_version(path: Path) -> Iterator[str]:
    """Whatever a version holds, and not its code alone."""
    before = _published(transformed(path, {}))
    memory = ("MemorySize: !Ref FunctionMemory", "MemorySize: 640")
    edits = (("Timeout: ", "Timeout: 1"), memory, ("Runtime: python", "Runtime: java"))
    for old, new in edits:
        after = _published(_edited(path, old, new))
        yield from (
            f"{name} stays as it was after {old!r} -> {new!r}" for name in before if before[name] == after.get(name)
        )


def what_no_version_holds_makes_none(path: Path) -> Iterator[str]:
    """Lambda publishes no version that is like the last, and the deployment fails then."""
    before = _published(transformed(path, {}))
    for name, value in (("ReservedConcurrency", "5"), ("LogRetentionDays", "7"), ("AlarmEmail", "ops@example.com")):
        if _published(transformed(path, {name: value})) != before:
            yield f"{name}={value} asks for versions that Lambda does not publish"


def sam_adds_the_rights_that_are_documented(path: Path) -> Iterator[str]:
    """docs/deploying.md, "Rights of the functions"."""
    for tracing, expected in (("Active", {LOGS, TRACES}), ("Disabled", {LOGS})):
        parameters = {"Tracing": tracing, "EnableSandbox": "true", "CanaryDeployments": "true"}
        for name, role in _of_type(transformed(path, parameters), "AWS::IAM::Role").items():
            allowed = {DEPLOYMENTS} if name == "CodeDeployServiceRole" else expected
            found = {arn.partition(":policy/")[2] for arn in role["Properties"]["ManagedPolicyArns"]}
            if found != allowed:
                yield f"{name} has {sorted(found)}, not {sorted(allowed)}"


def no_version_outlives_its_use(path: Path) -> Iterator[str]:
    """AWS charges for the snapshot of each version that is there, and docs/deploying.md says that old ones are deleted."""
    for name, version in _of_type(
        transformed(path, {"SnapStart": "PublishedVersions"}), "AWS::Lambda::Version"
    ).items():
        if version.get("DeletionPolicy") != "Delete":
            yield f"{name} is kept when another version has taken its place"


PROMISES: tuple[Callable[[Path], Iterator[str]], ...] = (
    an_edit_reaches_every_version,
    what_no_version_holds_makes_none,
    sam_adds_the_rights_that_are_documented,
    no_version_outlives_its_use,
)


def main(path: Path) -> int:
    """Print every promise that is not kept. Returns the exit status."""
    broken = [f"{promise.__name__}: {what}" for promise in PROMISES for what in promise(path)]
    for line in broken:
        print(line, file=sys.stderr)  # noqa: T201 - its output is its purpose
    return int(bool(broken))


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    sys.exit(main(Path(sys.argv[1])))
