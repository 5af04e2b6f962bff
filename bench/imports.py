"""What it costs to start each function's app.py, in multiples of a bare start of the same Python: the import alone, and what
Lambda does, where the import also makes the AWS clients and imports what requests need (broker.endpoints.entry).

CPU time of fresh processes as the operating system counts it (wait4), all commands in turn, so that a machine that is busy or
changes its speed touches all of them alike. Must never be run with byte code other than the one that is shipped: the layers
come from a build, and the processes write none.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

AS_LAMBDA = {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}
"""By this a function knows that Lambda starts it."""


@dataclass
class Costs:
    """CPU milliseconds of one command's runs."""

    milliseconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle run."""
        return median(self.milliseconds)

    @property
    def least(self) -> float:
        """The run that was disturbed least."""
        return min(self.milliseconds)


@dataclass
class Starts:
    """One function's: imported as by anybody, and started as by Lambda."""

    imported: Costs = field(default_factory=Costs)
    started: Costs = field(default_factory=Costs)


@dataclass
class Measured:
    """All functions by name, and an interpreter that does nothing."""

    functions: Mapping[str, Starts]
    bare: Costs = field(default_factory=Costs)


def measure(
    python: Path, layers: Sequence[Path], functions: Mapping[str, Path], *, rounds: int, environment: Mapping[str, str]
) -> Measured:
    """The costs of each function (name -> folder with app.py). layers: the folders that Lambda would have at /opt/python."""
    path = os.pathsep.join(map(str, layers))
    plain = {**environment, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]}
    measured = Measured({name: Starts() for name in functions})
    commands = [(measured.bare, "pass", plain)]
    for name, starts in measured.functions.items():
        code = f"import sys; sys.path.insert(0, {str(functions[name])!r}); import app"
        commands += [(starts.imported, code, plain), (starts.started, code, plain | AS_LAMBDA)]
    for turn in range(rounds + 1):
        for costs, code, surroundings in commands:
            spent = cpu_milliseconds([str(python), "-c", code], surroundings)
            if turn:  # the first fills the file system's cache
                costs.milliseconds.append(spent)
    return measured


def cpu_milliseconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """User and system time of one run. Errors: CalledProcessError."""
    process = subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return (usage.ru_utime + usage.ru_stime) * 1000
