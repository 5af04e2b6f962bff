"""`broker doctor`: the posture of a broker, rule by rule, with what to do about what is not right."""

from collections.abc import Sequence

import click

from broker_cli.connection import connect
from broker_cli.doctor import rules_oauth, rules_registry, rules_stack
from broker_cli.doctor.gather import snapshot_of
from broker_cli.doctor.posture import Level, Result, Rule, judge
from broker_cli.failures import WrongInput
from broker_cli.options import Command, target
from broker_cli.output import Json, emit, printable

POSTURE: tuple[Rule, ...] = tuple(
    sorted((*rules_oauth.RULES, *rules_registry.RULES, *rules_stack.RULES), key=lambda rule: rule.id)
)
_LEVELS: tuple[Level, ...] = ("fail", "warn", "pass", "skip")


@click.command("doctor", cls=Command, short_help="Does this broker stand as it should?")
@click.option(
    "--only", multiple=True, metavar="RULE", help="Judge this rule alone (TB-KEY-001), or these (TB-KEY); repeatable."
)
@click.option("--rules", "list_rules", is_flag=True, help="List the rules, and look at nothing.")
@click.option("--strict", is_flag=True, help="Let a warning fail the command too.")
def doctor(only: tuple[str, ...], list_rules: bool, strict: bool) -> None:
    """Check how a broker stands: what it serves, its clients and providers, its keys, and its stack. Changes nothing.

    Exit status 1 when a rule fails, for pipelines. docs/doctor.md has the rules and the permissions that it needs.
    """
    chosen = _chosen(only)
    if list_rules:
        emit([_rule(rule) for rule in chosen], "\n".join(f"{rule.id}  {rule.title}" for rule in chosen))
        return
    wanted = target()
    snapshot = snapshot_of(connect(), None if wanted.local else wanted.stack)
    results = list(judge(chosen, snapshot))
    counts = {level: sum(result.level == level for result in results) for level in _LEVELS}
    emit(_document(results, counts), "\n".join([*map(_shown, results), "", _summary(counts)]))
    if counts["fail"] or (strict and counts["warn"]):
        click.get_current_context().exit(1)


def _chosen(only: Sequence[str]) -> tuple[Rule, ...]:
    chosen = tuple(rule for rule in POSTURE if not only or any(_is_of(rule, name) for name in only))
    unknown = [name for name in only if not any(_is_of(rule, name) for rule in POSTURE)]
    if unknown:
        raise WrongInput(f"There is no rule {unknown[0]}; `broker doctor --rules` lists them.")
    return chosen


def _is_of(rule: Rule, name: str) -> bool:
    return rule.id == name.upper() or rule.id.startswith(f"{name.upper()}-")


def _shown(result: Result) -> str:
    head = f"{result.level.upper():<4}  {result.rule.id:<15}  {result.rule.title}"
    if result.level == "pass":
        return head
    lines = [f"      {printable(text)}" for text in result.texts]
    if result.level != "skip":
        lines.append(f"      -> {result.rule.remedy}")
    return "\n".join([head, *lines])


def _summary(counts: dict[Level, int]) -> str:
    words = [f"{counts['pass']} passed", f"{counts['warn']} warned", f"{counts['fail']} failed"]
    return ", ".join(words) + (f", {counts['skip']} could not be judged" if counts["skip"] else "") + "."


def _rule(rule: Rule) -> dict[str, Json]:
    return {"id": rule.id, "title": rule.title, "reference": rule.reference, "remedy": rule.remedy}


def _document(results: Sequence[Result], counts: dict[Level, int]) -> dict[str, Json]:
    return {
        "ok": not counts["fail"],
        "counts": {level: counts[level] for level in _LEVELS},
        "results": [_rule(result.rule) | {"level": result.level, "texts": list(result.texts)} for result in results],
    }
