"""The layers are built with byte code by the Python that one names, on a machine that has no other of the runtime's version."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from broker_local.server import PROJECT

MAKE = shutil.which("make") or "make"


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """Something that passes for Python 3.13 and notes what it is asked to do."""
    script = tmp_path / "python-of-mine"
    script.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    script.chmod(0o755)
    return script


def surroundings(tmp_path: Path) -> dict[str, str]:
    """No Python 3.13 on PATH or of pyenv."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "mkdir", "cp", "find", "rm", "du", "cut"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    return {"PATH": str(tools), "PYENV_ROOT": str(tmp_path)}


def build(tmp_path: Path, environment: dict[str, str], *arguments: str) -> str:
    """What `make build-BrokerLayer` says, as `sam build` calls it."""
    words = [MAKE, "-C", str(PROJECT / "layers"), "build-BrokerLayer", f"ARTIFACTS_DIR={tmp_path}/layer", *arguments]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_the_runtimes_python_the_layer_says_that_it_has_no_byte_code(tmp_path: Path) -> None:
    said = build(tmp_path, surroundings(tmp_path))
    assert "WARNING: no Python 3.13 found" in said
    assert "KB without byte code" in said


@pytest.mark.parametrize("given", ["environment", "command line"])
def test_the_python_that_one_names_compiles(tmp_path: Path, named: Path, given: str) -> None:
    environment = surroundings(tmp_path)
    if given == "environment":
        said = build(tmp_path, environment | {"RUNTIME_PYTHON": str(named)})
    else:
        said = build(tmp_path, environment, f"RUNTIME_PYTHON={named}")
    assert "KB with byte code" in said
    assert "-m compileall -q --invalidation-mode unchecked-hash" in (tmp_path / "asked").read_text()


def test_a_named_python_of_another_version_does_not_compile(tmp_path: Path) -> None:
    """Byte code of another version is not read: it would only make the layer larger."""
    wrong = tmp_path / "python-of-another-version"
    wrong.write_text("#!/bin/sh\nexit 1\n")
    wrong.chmod(0o755)
    assert "KB without byte code" in build(tmp_path, surroundings(tmp_path), f"RUNTIME_PYTHON={wrong}")


def dry_run(target: str, runtime_python: str) -> str:
    """The commands that make would run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    words = [MAKE, "--dry-run", "--no-print-directory", target, f"RUNTIME_PYTHON={runtime_python}"]
    done = subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("target", ["build", "deploy"])
def test_make_passes_the_named_python_on(target: str) -> None:
    """`sam build` gets none of make's own variables and works elsewhere: through the environment, and not as a relative path."""
    assert " RUNTIME_PYTHON='/opt/mine/python' " in dry_run(target, "/opt/mine/python")
    assert f" RUNTIME_PYTHON='{PROJECT}/mine/python' " in dry_run(target, "mine/python")
    assert " RUNTIME_PYTHON='python3.13' " in dry_run(target, "python3.13")
