"""The Model Context Protocol: both official SDKs against a protected server that trusts the broker, and the conformance tool."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from broker.protocol.registration_policy import RegistrationPolicy
from broker_testing.journey import CALLBACK, register
from broker_testing.ports import free_port
from broker_testing.registration import policy_is
from clients.conftest import HERE, MODULES, RunScript, script_environment
from clients.person import Person

STARTUP_SECONDS = 60
CONFORMANCE = MODULES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"


@pytest.fixture
def mcp_server(clients_python: str, base: str) -> Iterator[str]:
    """The URL of a protected MCP server, whose clients register themselves at the broker."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    server = register(base, secret=True, served_resources=(url,), providers=("openid",))
    settings = {"issuer": base, "person": "", "redirect_uri": "", "resource": url, "port": port}
    settings |= {"client_id": server.client_id, "client_secret": server.secret}
    words = [clients_python, str(HERE / "python" / "mcp_server.py")]
    policy = RegistrationPolicy(mode="open", providers=("openid",), resources=(url,))
    with policy_is(policy), server_process(words) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(settings))
        process.stdin.close()
        try:
            wait_until_it_listens(process, port)
            yield url
        finally:
            process.terminate()


@pytest.mark.parametrize("auth", ["none", "client_secret_post", "client_secret_basic"])
def test_python_sdk(run_python: RunScript, mcp_server: str, base: str, auth: str) -> None:
    report = run_python("mcp_client", resource=mcp_server, redirect_uri=CALLBACK, auth=auth)
    assert report["first"] == report["refreshed"] == report["again"]
    assert report["first"].endswith(f" at {mcp_server}")
    assert (report["logins"], report["rotated"], report["issuer"]) == (1, True, base)
    assert (report["revoked"], report["logins_after_revocation"]) == (200, 2)
    assert report["resources"] == [[mcp_server]] * 2


@pytest.mark.parametrize("auth", ["none", "client_secret_post", "client_secret_basic"])
def test_typescript_sdk(run_node: RunScript, mcp_server: str, auth: str) -> None:
    report = run_node("mcp_sdk", scenario="login", resource=mcp_server, redirect_uri=CALLBACK, auth=auth)
    assert report["results"] == ["AUTHORIZED", "AUTHORIZED"]
    assert report["first"] == report["refreshed"]
    assert report["first"].endswith(f" at {mcp_server}")
    assert report["rotated"] is True
    assert (report["revoked"], report["ended"]) == (200, True)
    assert report["resources"] == [[mcp_server]] * 2


def server_process(words: list[str]) -> subprocess.Popen[str]:
    """The server, waiting for its settings."""
    return subprocess.Popen(words, env=script_environment(), stdin=subprocess.PIPE, text=True)


@dataclass(frozen=True)
class Checks:
    """What the conformance tool found: check id -> status."""

    exit_status: int
    output: str
    by_id: dict[str, str]


@pytest.mark.parametrize("resource", [None, "https://mcp.example/mcp"])
def test_conformance_of_the_authorization_server(node: str, base: str, tmp_path: Path, resource: str | None) -> None:
    """Every authorization server scenario of the tool. It sends no scope, so what a client gets then has to work."""
    port = free_port()
    client = register(
        base,
        redirect_uris=(f"http://127.0.0.1:{port}/callback",),
        resources=("https://mcp.example/mcp",),
        providers=("openid",),
        origins=(),
    )
    policy = RegistrationPolicy(mode="open", documents=True, providers=("openid",))
    words = [node, str(CONFORMANCE), "authorization", "--url", base, "--client-id", client.client_id]
    words += ["--port", str(port), "-o", str(tmp_path), *(["--resource", resource] if resource else [])]
    with policy_is(policy):
        found = conformance(words, Person(base), tmp_path)
    assert found.exit_status == 0, found.output
    assert set(found.by_id.values()) <= {"SUCCESS", "INFO"}, found.output
    assert found.by_id["authorization-server-metadata"] == "SUCCESS"
    assert found.by_id["authorization-code-grant"] == "SUCCESS"


def conformance(words: list[str], person: Person, folder: Path) -> Checks:
    """Run the tool; open the one URL that it asks for."""
    output = []
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=script_environment() | {"NO_COLOR": "1"}
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            if re.match(r"http\S+/authorize\?", line):
                requests.get(person.follow(line.strip()), timeout=30)
    documents = [json.loads(path.read_text("utf-8")) for path in sorted(folder.rglob("checks.json"))]
    checks = {check["id"]: check["status"] for document in documents for check in document}
    return Checks(process.returncode, "".join(output), checks)


def wait_until_it_listens(process: subprocess.Popen[str], port: int) -> None:
    """Return as soon as somebody listens there."""
    until = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"the MCP server did not start (status {process.poll()})")
