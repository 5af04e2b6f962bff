"""The posture list: rules with stable ids, what they judge, and what to do about it. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from broker_cli.doctor.snapshot import Snapshot

Level = Literal["pass", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Verdict:
    """What a rule says of one thing. A sentence that names things, and never a secret."""

    level: Level
    text: str


@dataclass(frozen=True)
class Rule:
    """One rule of the posture.

    Attributes:
        id: stable; what pipelines and waivers name.
        reference: where it comes from.
        remedy: what to do when it warns or fails.
        check: the verdicts that are not "pass"; none at all means that everything is right.
        sees: the parts of the snapshot without which it cannot judge ("endpoint", "stack.tables", ...).
    """

    id: str
    title: str
    reference: str
    remedy: str
    check: Callable[[Snapshot], Iterable[Verdict]]
    sees: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """One rule judged. level: the worst of its verdicts."""

    rule: Rule
    level: Level
    texts: tuple[str, ...] = ()


def warn(text: str) -> Verdict:
    return Verdict("warn", text)


def fail(text: str) -> Verdict:
    return Verdict("fail", text)


def judge(rules: Iterable[Rule], snapshot: Snapshot) -> Iterator[Result]:
    """Every rule's result, in order."""
    for rule in rules:
        reason = next((why for part in rule.sees if (why := _unseen(snapshot, part))), None)
        if reason is not None:
            yield Result(rule, "skip", (reason,))
            continue
        verdicts = _verdicts(rule, snapshot)
        levels: set[Level] = {verdict.level for verdict in verdicts}
        worst: Level = "fail" if "fail" in levels else "warn" if "warn" in levels else "pass"
        yield Result(rule, worst, tuple(verdict.text for verdict in verdicts if verdict.level == worst))


def _verdicts(rule: Rule, snapshot: Snapshot) -> list[Verdict]:
    try:
        return list(rule.check(snapshot))
    except Exception as error:
        return [fail(f"what is stored is in no form that the broker writes ({type(error).__name__})")]


def _unseen(snapshot: Snapshot, part: str) -> str | None:
    """Why a part cannot be judged, None when it is there."""
    if part.startswith("stack") and snapshot.stack is None:
        return "a local broker has no stack"
    found: object = snapshot
    for name in part.split("."):
        found = getattr(found, name)
    return snapshot.unseen.get(part, "it could not be read") if found is None else None
