"""What it costs to import each function's app.py, in multiples of a bare start of the same Python.

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

BARE = "bare"


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


def measure(
    python: Path, layers: Sequence[Path], functions: Mapping[str, Path], *, rounds: int, environment: Mapping[str, str]
) -> dict[str, Costs]:
    """Costs of `import app` for each function (name -> folder with app.py), and under BARE of an interpreter that does nothing.

    `layers`: the folders that Lambda would have at /opt/python.
    """
    commands = {BARE: [str(python), "-c", "pass"]}
    for name, folder in functions.items():
        commands[name] = [str(python), "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); import app"]
    path = os.pathsep.join(map(str, layers))
    surroundings = {**environment, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]}
    costs = {name: Costs() for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            spent = cpu_milliseconds(command, surroundings)
            if turn:  # the first fills the file system's cache
                costs[name].milliseconds.append(spent)
    return costs


def cpu_milliseconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """User and system time of one run. Errors: CalledProcessError."""
    process = subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return (usage.ru_utime + usage.ru_stime) * 1000
