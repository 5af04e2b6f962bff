"""What a check of a provider found, step by step, and how it is told: right, wrong or cannot say, in plain words.

An explanation must never hold a secret, a token, or a provider's own text that was not scrubbed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import click

from broker_cli.options import target
from broker_cli.output import Json, emit, printable

Verdict = Literal["right", "wrong", "cannot say"]


@dataclass(frozen=True)
class Finding:
    """One step. step: its stable name; remedy: what to do about it, "" for nothing."""

    step: str
    verdict: Verdict
    explanation: str
    remedy: str = ""

    def document(self) -> dict[str, Json]:
        """As JSON."""
        return {"step": self.step, "verdict": self.verdict, "explanation": self.explanation, "remedy": self.remedy}


def right(step: str, explanation: str) -> Finding:
    return Finding(step, "right", explanation)


def wrong(step: str, explanation: str, remedy: str) -> Finding:
    return Finding(step, "wrong", explanation, remedy)


def cannot_say(step: str, explanation: str, remedy: str = "") -> Finding:
    return Finding(step, "cannot say", explanation, remedy)


class Told:
    """The findings of one run: each is shown as it is made, as some take seconds; with --json all at the end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._findings: list[Finding] = []

    def add(self, finding: Finding) -> Finding:
        """Keep it, and show it."""
        self._findings.append(finding)
        if not target().json:
            click.echo(_lines(finding))
        return finding

    def add_all(self, findings: Iterable[Finding]) -> bool:
        """Keep and show them. Whether none is wrong."""
        before = len(self._findings)
        for finding in findings:
            self.add(finding)
        return all(finding.verdict != "wrong" for finding in self._findings[before:])

    def end(self) -> None:
        """The summary, and exit status 1 when something is wrong."""
        amiss = [finding for finding in self._findings if finding.verdict == "wrong"]
        document: dict[str, Json] = {
            "name": self._name,
            "ok": not amiss,
            "findings": [finding.document() for finding in self._findings],
        }
        count = "1 step is wrong" if len(amiss) == 1 else f"{len(amiss)} steps are wrong"
        emit(document, f"\n{count}." if amiss else "\nNothing is wrong.")
        if amiss:
            click.get_current_context().exit(1)


def _lines(finding: Finding) -> str:
    indent = "\n" + " " * 28
    words = [finding.explanation, *([f"-> {finding.remedy}"] if finding.remedy else [])]
    text = indent.join(printable(line) for word in words for line in word.splitlines())
    return f"{finding.verdict:<12}{finding.step:<16}{text}"
