"""What a function imports before its first request, in a fresh process: nothing that only some requests need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
LATE = (
    *("boto3", "botocore.session", "jwt", "ssl", "http.client", "broker.upstream.http", "broker.upstream.schema"),
    *("aws_lambda_powertools", "broker.log", "concurrent.futures", "logging"),
)
"""Made or read by the first request that needs it, or by Lambda's start."""
BY_LAMBDA = {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}
"""By this a function knows that Lambda starts it."""


def printed(code: str, **environment: str) -> str:
    """What a fresh process prints."""
    surroundings = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1"} | environment
    return subprocess.run(
        [sys.executable, "-c", code], env=surroundings, capture_output=True, text=True, check=True
    ).stdout


def imported(names: tuple[str, ...], **environment: str) -> set[str]:
    """The modules there are after importing the app.py of these functions, one after the other."""
    code = (
        "import importlib.util, os, sys\n"
        f"for path in {[str(FUNCTIONS / name / 'app.py') for name in names]}:\n"
        "    sys.path.insert(0, os.path.dirname(path))\n"
        "    spec = importlib.util.spec_from_file_location('app', path)\n"
        "    spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
        "print(*sys.modules)"
    )
    return set(printed(code, **environment).split())


def authorities_read(name: str, **environment: str) -> tuple[int, int]:
    """How often, when the app.py of this function has been imported, and when its clients have then been made ready."""
    code = (
        "import ssl, sys\n"
        "made, make = [], ssl.create_default_context\n"
        "ssl.create_default_context = lambda: made.append(1) or make()\n"
        f"sys.path.insert(0, {str(FUNCTIONS / name)!r})\n"
        "import app\n"
        "at_start = len(made)\n"
        "from broker.upstream.http import BoundedHttp\n"
        "for _ in range(3):\n"
        "    BoundedHttp(allow_loopback=False).prepare()\n"
        "print(at_start, len(made))"
    )
    at_start, in_the_end = map(int, printed(code, **environment).split())
    return at_start, in_the_end


@pytest.mark.parametrize("late", [LATE])
def test_importing_a_function_reads_neither_the_aws_client_nor_jwts_nor_sockets_nor_the_log(
    late: tuple[str, ...],
) -> None:
    names = tuple(sorted(folder.parent.name for folder in FUNCTIONS.glob("*/app.py") if folder.parent.name != "rotate"))
    assert len(names) > 10
    assert imported(names).isdisjoint(late), imported(names) & set(late)
    assert imported(("rotate",)).isdisjoint({"jwt", "aws_lambda_powertools", "broker.log"})


def test_a_function_that_only_checks_handles_needs_no_cryptography() -> None:
    """Metadata and registration are what strangers ask for most."""
    found = imported(("metadata", "register"))
    assert "broker.runtime" in found
    assert not {name for name in found if name.partition(".")[0] == "cryptography"}


def test_a_pushed_request_needs_no_pages_and_no_provider() -> None:
    found = imported(("par",))
    assert not {name for name in found if name.startswith(("broker.pages", "broker.upstream", "cryptography"))}


@pytest.mark.parametrize("name", ["callback", "consent", "logout", "proxy", "userinfo"])
def test_where_no_client_authenticates_the_rules_for_that_are_not_read(name: str) -> None:
    """The metadata is made of all rules; it must not come along with one value that is in it."""
    found = imported((name,))
    assert found.isdisjoint({"broker.protocol.capabilities", "broker.protocol.client_authentication"})


def test_lambda_makes_at_the_start_what_requests_need() -> None:
    """No service is called, for there is none here."""
    found = imported(("userinfo",), **BY_LAMBDA)
    assert {"botocore.client", "jwt", "broker.upstream.dialect", "broker.upstream.http"} <= found
    assert {"broker.log", "concurrent.futures.thread"} <= found
    assert "cryptography.hazmat.primitives.asymmetric.rsa" in imported(("par",), **BY_LAMBDA)
    assert {"jwt", "broker.log"} <= imported(("rotate",), **BY_LAMBDA)


def test_instances_of_one_snapshot_have_random_numbers_of_their_own(tmp_path: Path) -> None:
    """What Lambda calls when it has restored one gives OpenSSL's generator, which is in the snapshot, what no other has."""
    (tmp_path / "snapshot_restore_py.py").write_text("hooks = []\nregister_after_restore = hooks.append\n")
    code = (
        "import snapshot_restore_py, ssl, sys\n"
        f"sys.path.insert(0, {str(FUNCTIONS / 'callback')!r})\n"
        "import app\n"
        "added = []\n"
        "ssl.RAND_add = lambda *arguments: added.append(arguments)\n"
        "for hook in 2 * snapshot_restore_py.hooks:\n"
        "    hook()\n"
        "print(len(added), len({text for text, _ in added}), *{(len(text), entropy) for text, entropy in added})"
    )
    snapshot = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start", "PYTHONPATH": str(tmp_path)}
    assert printed(code, **snapshot) == "2 2 (48, 48)\n"


@pytest.mark.parametrize(
    ("name", "made"), [("authorize", 1), ("callback", 1), ("userinfo", 1), ("proxy", 1), ("token", 0)]
)
def test_the_authorities_are_read_once_and_by_lambdas_start(name: str, made: int) -> None:
    """For all clients of a function that calls providers, which are three for an OpenID provider."""
    assert authorities_read(name, **BY_LAMBDA) == (made, 1)
    assert authorities_read(name) == (0, 1)
