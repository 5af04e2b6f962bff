"""From process start to first answer: every function under Lambda's runtime interface emulator, which the SAM CLI brings.

    make bench-cold

Three builds of the same functions, in turn: what is deployed; the same code as a plain `sam build` would ship it (no byte code,
botocore unpruned); and an empty handler, which is what nobody can go below. The emulator and Lambda's own runtime client run
here directly, without a container, with PYTHONPATH in the place of /opt/python; the tables are moto's, in this process.
Must never keep byte code that a run compiled, as Lambda cannot either.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import imports
from broker_local.server import LocalBroker
from broker_testing.ports import free_port

PROJECT = Path(__file__).resolve().parents[1]
BUILD = PROJECT / "build" / "bench"
MACHINE = {"x86_64": "X8664", "aarch64": "Arm64"}[platform.machine()]
EMPTY, PLAIN, SHIPPED = "empty", "plain", "shipped"
_EMPTY_APP = 'def handler(event, context):\n    return {"statusCode": 200}\n'
REGION = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
"""As Lambda tells it."""
ROTATE = "rotate"
"""What Secrets Manager calls. There is no rotation of the local keys, so it answers by refusing the step."""
REFUSED = "RotationFailed"
_INVOKE = "/2015-03-31/functions/function/invocations"
ATTEMPTS = 3000
"""Of reaching the emulator, a hundredth of a second apart."""


@dataclass(frozen=True)
class Build:
    """One way to ship the functions. layers: the folders that Lambda would have at /opt/python; functions: of the app.py's."""

    layers: tuple[Path, ...]
    functions: Path


@dataclass
class Start:
    """One cold start: milliseconds by the clock and of the processor in the function's own process, and its peak memory in MB."""

    wall: float
    cpu: float
    memory: float


@dataclass
class Starts:
    """One function's, of one build."""

    runs: list[Start] = field(default_factory=list)

    def median(self, of: Callable[[Start], float]) -> float:
        """The middle of one figure."""
        return median(map(of, self.runs))


def builds() -> dict[str, Build]:
    """All of them, made anew from the work tree."""
    shutil.rmtree(BUILD, ignore_errors=True)
    names = sorted(path.parent.name for path in (PROJECT / "functions").glob("*/app.py"))
    for name in names:
        shutil.copytree(
            PROJECT / "functions" / name, BUILD / "functions" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
        (BUILD / EMPTY / name).mkdir(parents=True)
        (BUILD / EMPTY / name / "app.py").write_text(_EMPTY_APP)
    for target in (f"DependenciesLayer{MACHINE}", "BrokerLayer"):
        artifacts = BUILD / SHIPPED / target
        subprocess.run(
            [
                "make",
                "-C",
                PROJECT / "layers",
                f"build-{target}",
                f"ARTIFACTS_DIR={artifacts}",
                f"PYTHON={sys.executable}",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    _plain(BUILD / PLAIN)
    shipped = (BUILD / SHIPPED / "BrokerLayer" / "python", BUILD / SHIPPED / f"DependenciesLayer{MACHINE}" / "python")
    return {
        EMPTY: Build((), BUILD / EMPTY),
        SHIPPED: Build(shipped, BUILD / "functions"),
        PLAIN: Build((BUILD / PLAIN,), BUILD / "functions"),
    }


def _plain(folder: Path) -> None:
    requirements = PROJECT / "layers" / "dependencies" / "requirements.txt"
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "-qq",
        "install",
        "--no-compile",
    ]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.13", "--platform"]
    command += [f"manylinux2014_{platform.machine()}", "--platform", f"manylinux_2_28_{platform.machine()}"]
    subprocess.run([*command, "--target", folder, "--requirement", requirements], check=True, stderr=subprocess.DEVNULL)
    shutil.copytree(
        PROJECT / "layers" / "broker" / "broker", folder / "broker", ignore=shutil.ignore_patterns("__pycache__")
    )


def start(emulator: Path, python: Path, build: Build, function: str, environment: Mapping[str, str]) -> Start:
    """Start a function, until its first answer."""
    event = _event(function, environment)
    port = free_port()
    began = time.monotonic()
    with _running(emulator, python, build, function, port, environment) as process:
        answer = _invoke(port, event)
        wall = (time.monotonic() - began) * 1000
        children = _children(process.pid)
        found = Start(wall, sum(map(_cpu_milliseconds, children)), sum(map(_peak_megabytes, children)))
    if function == ROTATE and answer.get("errorType") == REFUSED:
        return found
    if "errorType" in answer or answer.get("statusCode", 500) in range(500, 600):
        raise RuntimeError(f"{function} failed to answer: {answer.get('errorType', answer.get('statusCode'))}")
    return found


def _event(function: str, environment: Mapping[str, str]) -> bytes:
    event = json.loads((PROJECT / "events" / f"{function}.json").read_text("utf-8"))
    if function == ROTATE:
        event["SecretId"] = environment["BROKER_KEYS_SECRET"]
    return json.dumps(event).encode()


@contextmanager
def _running(
    emulator: Path, python: Path, build: Build, function: str, port: int, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    folder = build.functions / function
    surroundings = {
        **environment,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(map(str, build.layers)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LAMBDA_TASK_ROOT": str(folder),
        "AWS_LAMBDA_FUNCTION_NAME": function,
    }
    address = f"127.0.0.1:{port}"
    process = subprocess.Popen(
        [emulator, "--runtime-interface-emulator-address", address, python, "-m", "awslambdaric", "app.handler"],
        env=surroundings,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        children = _children(process.pid)
        process.terminate()
        process.wait()
        for child in children:
            _end(child)


def _end(process_id: int) -> None:
    try:
        os.kill(process_id, 9)
    except ProcessLookupError:
        return


def _invoke(port: int, event: bytes) -> dict[str, object]:
    for _ in range(ATTEMPTS):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("POST", _INVOKE, event)
            answer = json.loads(connection.getresponse().read())
        except ConnectionRefusedError:
            time.sleep(0.01)
            continue
        finally:
            connection.close()
        return answer if isinstance(answer, dict) else {}
    raise RuntimeError("the emulator does not answer")


def _children(process_id: int) -> list[int]:
    found: list[int] = []
    for tasks in Path(f"/proc/{process_id}/task").glob("*/children"):
        found += map(int, tasks.read_text().split())
    return found


def _cpu_milliseconds(process_id: int) -> float:
    """User and system time of all threads of a running process."""
    scheduled = Path(f"/proc/{process_id}/task").glob("*/schedstat")
    return sum(int(entry.read_text().split()[0]) for entry in scheduled) / 1e6


def _peak_megabytes(process_id: int) -> float:
    """The most that a running process has had in memory at once, as the kernel counts it (proc(5), VmHWM)."""
    (kilobytes,) = re.findall(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{process_id}/status").read_text(), re.MULTILINE)
    return int(kilobytes) / 1024


def measure(emulator: Path, python: Path, made: Mapping[str, Build], rounds: int) -> dict[str, dict[str, Starts]]:
    """Cold starts by function and build, in turn."""
    names = [path.parent.name for path in sorted((BUILD / "functions").glob("*/app.py"))]
    found = {name: {build: Starts() for build in made} for name in names}
    with LocalBroker(seed=True, environment={"BROKER_RATE_LIMITS": "off"}) as broker:
        for turn in range(rounds + 1):
            for name in names:
                for build, starts in found[name].items():
                    run = start(emulator, python, made[build], name, broker.environment)
                    if turn:  # the first fills the file system's cache
                        starts.runs.append(run)
    return found


def _say_imports(measured: imports.Measured) -> None:
    say, bare = sys.stdout.write, measured.bare
    say("app.py: CPU time, in multiples of a bare start of Python (median and least of the runs)\n\n")
    say(f"{'bare Python':14}{bare.median:8.1f} ms\n\n")
    say(f"{'':14}{'import':>16}{'as Lambda starts it: AWS clients made':>40}\n")
    for name, starts in measured.functions.items():
        say(f"{name:14}{starts.imported.median / bare.median:8.1f}{starts.imported.least / bare.least:8.1f}")
        say(f"{starts.started.median / bare.median:32.1f}{starts.started.least / bare.least:8.1f}\n")


def main() -> None:
    """Build, measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emulator", type=Path, required=True, help="the runtime interface emulator")
    parser.add_argument("--python", type=Path, required=True, help="a Python 3.13 that has awslambdaric")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    made = builds()
    say = sys.stdout.write
    folders = {path.parent.name: path.parent for path in sorted((BUILD / "functions").glob("*/app.py"))}
    python, emulator = arguments.python.absolute(), arguments.emulator.absolute()
    _say_imports(imports.measure(python, made[SHIPPED].layers, folders, rounds=arguments.rounds, environment=REGION))
    say("\nProcess start to first answer: medians in ms by the clock (CPU of the function), and shipped : plain\n\n")
    say(f"{'':14}{'empty':>16}{'shipped':>16}{'plain':>16}{'ratio':>8}{'of CPU':>8}{'peak MB':>9}\n")
    for name, by_build in measure(emulator, python, made, arguments.rounds).items():
        wall = {build: starts.median(lambda run: run.wall) for build, starts in by_build.items()}
        cpu = {build: starts.median(lambda run: run.cpu) for build, starts in by_build.items()}
        memory = by_build[SHIPPED].median(lambda run: run.memory)
        cells = "".join(f"{f'{wall[build]:.0f} ({cpu[build]:.0f})':>16}" for build in (EMPTY, SHIPPED, PLAIN))
        say(f"{name:14}{cells}{wall[SHIPPED] / wall[PLAIN]:8.2f}{cpu[SHIPPED] / cpu[PLAIN]:8.2f}{memory:9.0f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
