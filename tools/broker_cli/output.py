"""What the operator sees: aligned tables, times in words, JSON on demand, the question before anything is destroyed.

Text from the tables is shown with its control characters escaped, so that a name cannot drive the terminal.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click

from broker import clock
from broker.printable import is_printable
from broker_cli.failures import WrongInput
from broker_cli.options import target

Json = str | int | float | bool | None | Sequence["Json"] | dict[str, "Json"]
Fields = Iterable[tuple[str, str]]


def emit(document: Json, text: str) -> None:
    """Print the answer: `document` with --json, else `text`."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=True) if target().json else text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> str:
    """Rows under their header, in columns as wide as needed; the sentence `empty` when there are none."""
    if not rows:
        return empty
    lines = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def sheet(fields: Fields) -> str:
    """One thing, a line per field with the values aligned; a value of several lines keeps its column."""
    shown = [(name, value) for name, value in fields if value]
    width = max((len(name) for name, _ in shown), default=0)
    indent = "\n" + " " * (width + 2)
    return "\n".join(
        f"{name.ljust(width)}  {indent.join(printable(line) for line in value.splitlines())}" for name, value in shown
    )


def printable(text: str) -> str:
    """`text` with what a terminal would act on escaped."""
    return "".join(one if is_printable(one) else one.encode("unicode_escape").decode("ascii") for one in text)


def moment(epoch: int) -> str:
    """A time as local ISO 8601 and in words; "-" for 0, which stands for never."""
    if not epoch:
        return "-"
    local = datetime.fromtimestamp(epoch, UTC).astimezone()
    return f"{local.isoformat(timespec='seconds')} ({ago(epoch)})"


def ago(epoch: int) -> str:
    """A time as seen from now: "in 13 days", "2 h ago", "now"; "-" for 0."""
    if not epoch:
        return "-"
    distance = epoch - clock.now()
    if not distance:
        return "now"
    return f"in {span(distance)}" if distance > 0 else f"{span(-distance)} ago"


def span(seconds: int) -> str:
    """A number of seconds in the largest unit that says enough."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone. Errors: WrongInput when nobody can answer; Abort on no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongInput("Nothing was changed, as there is no terminal to ask on; give --yes to go ahead.")
    click.confirm(printable(question), abort=True, err=True)
