"""The command run in this process against moto in one of its own, as `broker --local` meets it behind `make run`."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from broker import clock
from broker.store.grants import Grants
from broker.store.registrations import Registrations
from broker.store.registry import Registry
from broker_cli import main
from broker_local import aws
from broker_local.listening import listen
from broker_local.server import local_environment, local_template
from broker_testing.ports import free_port


@dataclass(frozen=True)
class Outcome:
    """What one run of the command gave."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON that was printed."""
        return json.loads(self.out)

    def refusal(self) -> str:
        """The one sentence of wrong input."""
        assert self.status == 2, self
        assert self.out == ""
        assert self.err.startswith("broker: ")
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        return self.err.removeprefix("broker: ").rstrip("\n")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass
class Operator:
    """Somebody at a shell. `seen` is all that was ever printed."""

    port: int
    environment: dict[str, str] = field(repr=False)
    clients: Mapping[str, Any] = field(repr=False)
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    seen: str = ""
    now: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        """Time stands still, so that what is printed of it is exact."""
        self.monkeypatch.setattr(clock, "now", lambda: self.now)
        self.monkeypatch.setattr(clock, "now_ms", lambda: self.now * 1000)

    def __call__(self, *words: str, stdin: str = "", terminal: bool = False) -> Outcome:
        """`broker --local --port P` with these words."""
        return self.raw("--local", "--port", str(self.port), *words, stdin=stdin, terminal=terminal)

    def raw(self, *words: str, stdin: str = "", terminal: bool = False) -> Outcome:
        """`broker` with exactly these words."""
        self.monkeypatch.setattr(sys, "stdin", _Terminal(stdin) if terminal else io.StringIO(stdin))
        status = main.run(words)
        out, err = self.capsys.readouterr()
        self.seen += out + err
        return Outcome(status, out, err)

    def json(self, *words: str, stdin: str = "") -> Any:
        """What the command prints with --json, when all goes well."""
        outcome = self(*words, "--json", stdin=stdin)
        assert outcome.status == 0, outcome
        return outcome.document

    def aws(self, service: str) -> Any:
        """A client for what the broker keeps."""
        return self.clients[service]

    @property
    def registry(self) -> Registry:
        return Registry(self.aws("dynamodb"), self.environment["BROKER_REGISTRY_TABLE"], cache_seconds=0)

    @property
    def registrations(self) -> Registrations:
        table = self.environment["BROKER_REGISTRY_TABLE"]
        return Registrations(self.aws("dynamodb"), table, cache_seconds=0)

    @property
    def grants(self) -> Grants:
        return Grants(self.aws("dynamodb"), self.environment["BROKER_GRANTS_TABLE"])

    def add_provider(self, name: str = "github", secret: str = "provider-secret") -> None:
        words = ("provider", "add", name, "--client-id", f"{name}-client", "--client-secret-stdin")
        assert self(*words, stdin=f"{secret}\n").status == 0

    def add_client(self, *words: str) -> Any:
        return self.json("client", "add", "--name", "App", "--redirect-uri", "https://app.example/callback", *words)

    def forward(self, seconds: int) -> None:
        """Let time pass, for the command as well."""
        self.now += seconds


@pytest.fixture(scope="session")
def cli_port() -> Iterator[int]:
    """The port of something that listens like a broker, with moto on the next port.

    moto runs in a process of its own, because its state is module-global and other tests have a moto in this process.
    """
    port = free_port(2)
    own = listen(port)
    for listening in own:
        threading.Thread(target=_take_calls, args=(listening,), daemon=True).start()
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port + 1)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as moto:
        try:
            _wait_for(port + 1)
            yield port
        finally:
            moto.terminate()
            for listening in own:
                listening.close()


@pytest.fixture(scope="session")
def cli_environment(cli_port: int) -> dict[str, str]:
    """The names of that broker's tables and secrets."""
    return local_environment(cli_port)


@pytest.fixture(scope="session")
def aws_clients(cli_port: int, cli_environment: dict[str, str]) -> Mapping[str, Any]:
    """Clients for the local tables and secrets, which exist and are empty."""
    endpoint = cli_environment["AWS_ENDPOINT_URL"]
    aws.create_resources(local_template(cli_port), endpoint)
    return {service: aws.client(service, endpoint) for service in ("dynamodb", "secretsmanager", "cloudformation")}


@pytest.fixture
def operator(
    cli_port: int,
    cli_environment: dict[str, str],
    aws_clients: Mapping[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Operator:
    """An operator of a broker that holds nothing yet."""
    environment = cli_environment
    dynamodb, secrets = aws_clients["dynamodb"], aws_clients["secretsmanager"]
    for table, names in (("BROKER_REGISTRY_TABLE", ("pk",)), ("BROKER_GRANTS_TABLE", ("pk", "sk"))):
        for stored in dynamodb.scan(TableName=environment[table])["Items"]:
            dynamodb.delete_item(TableName=environment[table], Key={name: stored[name] for name in names})
    for secret in secrets.list_secrets(IncludePlannedDeletion=True)["SecretList"]:
        secrets.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)
    secrets.create_secret(Name=environment["BROKER_KEYS_SECRET"])
    return Operator(cli_port, environment, aws_clients, monkeypatch, capsys)


def _take_calls(listening: socket.socket) -> None:
    """Take every connection and end it: those that nobody takes would fill the backlog, and then nobody seems to listen."""
    while True:
        try:
            listening.accept()[0].close()
        except OSError:  # closed
            return


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("moto did not start")
