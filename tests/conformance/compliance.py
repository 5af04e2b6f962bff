"""docs/compliance.md: every requirement of requirements.toml with the tests that prove it and how they ended.

    python tests/conformance/compliance.py            run the suite and write the document
    python tests/conformance/compliance.py --check    run the suite; exit status 1 if the document is stale
    ... --results FILE                                use the results of `pytest --compliance-results=FILE` instead

Nothing in the document depends on the time, the machine or the order of the run.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.toml"
PROJECT = HERE.parents[1]
DOCUMENT = PROJECT / "docs" / "compliance.md"
PROPERTY = "spec"

_ID = re.compile(r"[A-Z]+-[0-9]+")
_LEVELS = {"M": "must", "S": "should", "H": "hardening"}
_GROUPS = {
    "META": "Metadata and keys",
    "AUTHZ": "Authorization endpoint",
    "CB": "Callback from the provider",
    "TOK": "Token endpoint",
    "REF": "Refresh",
    "UI": "Userinfo",
    "REV": "Revocation",
    "INT": "Introspection",
    "REG": "Registration and client id metadata documents",
    "BFF": "Tokens in browsers",
    "GEN": "Across endpoints",
    "PAGE": "Pages that people see",
    "LINK": "Links to providers",
}


@dataclass(frozen=True)
class Requirement:
    """One line of requirements.toml.

    Attributes:
        level: M (must), S (should) or H (hardening).
        condition: what the requirement depends on, such as "DPoP"; empty for none.
        not_offered: why the broker does without what this is about; empty where it does not.
        proof: tests outside this folder that prove it, as paths; they run with `.ci/run`, some of them not with `make test`.
    """

    id: str
    level: str
    spec: str
    text: str
    condition: str = ""
    not_offered: str = ""
    proof: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The part of the id that names the endpoint."""
        return self.id.partition("-")[0]


@dataclass
class TestResult:
    """How all the cases of one test function ended."""

    __test__ = False

    name: str
    outcomes: list[str] = field(default_factory=list)
    requirements: set[str] = field(default_factory=set)
    sections: set[str] = field(default_factory=set)

    @property
    def outcome(self) -> str:
        """The worst of its cases; skipped only when all were."""
        if "failed" in self.outcomes:
            return "failed"
        return "passed" if "passed" in self.outcomes else "skipped"


@cache
def requirements() -> Mapping[str, Requirement]:
    """All requirements by id, in the order of the file. Raises ValueError for proof that does not exist."""
    document = tomllib.loads(REQUIREMENTS.read_text("utf-8"))
    known = {
        name: Requirement(id=name, **{**entry, "proof": tuple(entry.get("proof", ()))})
        for name, entry in document.items()
    }
    missing = [path for requirement in known.values() for path in requirement.proof if not (PROJECT / path).exists()]
    if missing:
        raise ValueError(f"{REQUIREMENTS.name} names tests that are not there: {', '.join(missing)}")
    homeless = [name for name, requirement in known.items() if requirement.group not in _GROUPS]
    if homeless:
        raise ValueError(f"{REQUIREMENTS.name} has requirements of no known group: {', '.join(homeless)}")
    return known


# -- in the run ----------------------------------------------------------------------------------------------------


def proved_by(item: pytest.Item) -> list[str]:
    """What the markers `spec` of a test name: requirement ids and sections. Raises UsageError for none or unknown ones."""
    named = [str(argument) for marker in item.iter_markers("spec") for argument in marker.args]
    ids = [name for name in named if _ID.fullmatch(name)]
    unknown = [name for name in ids if name not in requirements()]
    if not ids or unknown:
        raise pytest.UsageError(
            f"{item.nodeid}: spec() must name requirements of {REQUIREMENTS.name}; unknown: {unknown}"
        )
    return named


class Recorder:
    """Collects how every test of the suite ended and writes it down at the end of the run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results: dict[str, TestResult] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the outcome of the call, or of the set-up where it came to no call."""
        named = dict(report.user_properties).get(PROPERTY)
        if not isinstance(named, list) or not (report.when == "call" or report.outcome != "passed"):
            return
        path, _, rest = report.nodeid.partition("::")
        name = f"{Path(path).name}::{rest.partition('[')[0]}"
        result = self._results.setdefault(name, TestResult(name))
        result.outcomes.append(report.outcome)
        result.requirements |= {entry for entry in named if _ID.fullmatch(entry)}
        result.sections |= {entry for entry in named if not _ID.fullmatch(entry)}

    def pytest_sessionfinish(self) -> None:
        """Write the results."""
        rows = [
            {
                "name": result.name,
                "outcomes": sorted(result.outcomes),
                "requirements": sorted(result.requirements),
                "sections": sorted(result.sections),
            }
            for _, result in sorted(self._results.items())
        ]
        self._path.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


# -- the document --------------------------------------------------------------------------------------------------


def document(results: Sequence[TestResult]) -> str:
    """The whole document."""
    known = requirements().values()
    states = [_state(requirement, _tests_of(requirement, results)) for requirement in known]
    counts = {state: states.count(state) for state in ("passed", "failed", "in `.ci/run`", "not yet", "not offered")}
    lines = [
        "# Compliance",
        "",
        "What the specifications ask of the broker, requirement by requirement, and the tests that prove it. Written by",
        "`make compliance` from a run of `tests/conformance`; not edited by hand. A number after a test counts its cases.",
        "",
        f"{len(states)} requirements: "
        + ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        + ".",
    ]
    for group, title in _GROUPS.items():
        lines += [
            "",
            f"## {title}",
            "",
            "| id | level | requirement | specification | tests | result |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_row(requirement, results) for requirement in known if requirement.group == group]
    return "\n".join(lines) + "\n"


def _row(requirement: Requirement, results: Sequence[TestResult]) -> str:
    tests = _tests_of(requirement, results)
    sections = {requirement.spec: None} | dict.fromkeys(sorted(section for test in tests for section in test.sections))
    level = _LEVELS[requirement.level] + (f", if {requirement.condition}" if requirement.condition else "")
    state = _state(requirement, tests)
    cells = (
        requirement.id,
        level,
        requirement.text,
        "; ".join(sections),
        "<br>".join([*(_shown(test) for test in tests), *(f"`{path}`" for path in requirement.proof)]),
        f"not offered: {requirement.not_offered}" if state == "not offered" else state,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(test: TestResult) -> str:
    cases = f" ({len(test.outcomes)})" if len(test.outcomes) > 1 else ""
    return f"`{test.name}`{cases}"


def _tests_of(requirement: Requirement, results: Sequence[TestResult]) -> list[TestResult]:
    return [result for result in results if requirement.id in result.requirements and result.outcome != "skipped"]


def _state(requirement: Requirement, tests: Iterable[TestResult]) -> str:
    outcomes = {test.outcome for test in tests}
    if "failed" in outcomes:
        return "failed"
    if outcomes:
        return "passed"
    if requirement.proof:
        return "in `.ci/run`"
    return "not offered" if requirement.not_offered else "not yet"


def _read(path: Path) -> list[TestResult]:
    return [
        TestResult(row["name"], row["outcomes"], set(row["requirements"]), set(row["sections"]))
        for row in json.loads(path.read_text("utf-8"))
    ]


def _run() -> list[TestResult]:
    """Run the suite against the local broker. Raises SystemExit when it cannot run at all; failures are results."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        command = [sys.executable, "-m", "pytest", str(HERE), "-n", "auto", "--dist", "loadfile"]
        ended = subprocess.run([*command, f"--compliance-results={path}"], cwd=PROJECT, check=False)
        if ended.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not path.exists():
            raise SystemExit(f"the suite could not run (status {ended.returncode})")
        return _read(path)


def main() -> int:
    """Write the document, or check it."""
    parser = argparse.ArgumentParser(description="Write docs/compliance.md from a run of the conformance tests.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if the document is stale")
    parser.add_argument("--results", type=Path, help="results of an earlier run instead of a new one")
    arguments = parser.parse_args()
    text = document(_read(arguments.results) if arguments.results else _run())
    if not arguments.check:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(text, "utf-8")
        return 0
    if not DOCUMENT.exists() or DOCUMENT.read_text("utf-8") != text:
        sys.stderr.write("docs/compliance.md is stale: run `make compliance` and commit what it writes.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
