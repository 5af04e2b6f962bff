"""A stack on a fresh emulator, deployed and operated as the documentation says: `sam deploy`, the command `broker`, `sam delete`.

Nothing here knows the template's resources: what there is, is asked of CloudFormation.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config

from aws.authority import Certificates, make_certificates
from aws.front import Api, Front, running_front
from broker.protocol.clients import Client
from broker_local.seed import PROVIDERS, SandboxProvider
from broker_testing.journey import CALLBACK, TestClient
from broker_testing.ports import free_port

PROJECT = Path(__file__).resolve().parents[2]
STACK = "token-broker"
REGION = "us-east-1"
STARTUP_SECONDS = 30
ADDRESS_LIMITS = (
    "token.authorization_code",
    "token.refresh_token",
    "device_authorization",
    "register",
    "revoke",
    "par",
)


@dataclass(frozen=True)
class Machine:
    """Where the tests run: the network's public address, its hosts file, the programs, a folder for everything written."""

    address: str
    hosts: Path
    emulator_python: Path
    sam: Path
    folder: Path

    @classmethod
    def from_environment(cls, folder: Path) -> Machine:
        """As `make test-aws` says. Raises KeyError when something else started the tests."""
        return cls(
            address=os.environ["PUBLIC_ADDRESS"],
            hosts=Path(os.environ["PRIVATE_HOSTS"]),
            emulator_python=Path(os.environ["EMULATOR_PYTHON"]),
            sam=Path(os.environ["SAM"]),
            folder=folder,
        )


@dataclass
class Deployment:
    """The stack, and the account that it is in."""

    machine: Machine
    port: int
    certificates: Certificates
    front: Front
    secret: str = field(repr=False)
    """The operator's secret access key."""
    sandbox_secret: str = field(repr=False)
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The issuer, an https URL that this machine resolves."""
        return self.outputs["Issuer"]

    @property
    def environment(self) -> dict[str, str]:
        """Of the operator's tools. Nothing of the developer's own AWS configuration is in it."""
        folder = self.machine.folder
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join(str(PROJECT / part) for part in ("layers/broker", "tools")),
            "SSL_CERT_FILE": str(self.certificates.authority),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "operator",
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": REGION,
            "SAM_CLI_TELEMETRY": "0",
        }

    def client(self, service: str, credentials: Mapping[str, str] | None = None) -> Any:
        """A boto3 client for the account: as its operator, or with the credentials that AssumeRole gave."""
        own = {"AccessKeyId": "operator", "SecretAccessKey": self.secret}
        return client(service, self.port, credentials or own)

    # -- what the operator does

    def deploy(self, build: Path, **parameters: str) -> None:
        """`sam deploy` of what `sam build` left in the folder `build`. Raises AssertionError with what it printed."""
        given = {
            "Architecture": "x86_64",
            "EnableSandbox": "true",
            "SandboxClientSecret": self.sandbox_secret,
            "RateLimits": ",".join(f"{name}.address=6000/60" for name in ADDRESS_LIMITS),  # all come from one address
            "CodeLifetime": "600",  # codes are kept waiting while a deployment goes on
        } | parameters
        overrides = [f"{name}={value}" for name, value in given.items()]
        try:
            self.sam("deploy", "--no-confirm-changeset", "--parameter-overrides", *overrides, folder=build)
        except AssertionError as failure:
            raise AssertionError(f"{self._why_the_stack_failed()}\n{failure}") from None
        found = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]["Outputs"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in found}
        self._serve_the_api()

    def _why_the_stack_failed(self) -> str:
        pages = self.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=STACK)
        events = [event for page in pages for event in page["StackEvents"]]
        failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
        return "\n".join(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in failed)

    def delete(self) -> None:
        """`sam delete`."""
        self.sam("delete", "--no-prompts", "--stack-name", STACK, "--region", REGION, folder=self.machine.folder)

    def sam(self, *words: str, folder: Path) -> str:
        """Run the SAM CLI in a folder; what it printed."""
        return self._run([str(self.machine.sam), *words], folder)

    def broker(self, *words: str, given: str = "") -> Any:
        """Run the command `broker` with `given` on its standard input; its JSON answer."""
        command = [sys.executable, "-m", "broker_cli", "--json", "--stack", STACK, *words]
        return json.loads(self._run(command, self.machine.folder, given))

    def _run(self, words: list[str], folder: Path, given: str = "") -> str:
        done = subprocess.run(
            words, cwd=folder, env=self.environment, input=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(words[:4])} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def add_provider(self, provider: SandboxProvider) -> None:
        """`broker provider add` of one of the sandbox's providers."""
        home = f"{self.base}/sandbox/{provider.name}"
        source = ["--file", str(PROJECT / "tools" / "broker_local" / provider.file)] if provider.file else []
        source += ["--from", provider.catalogue] if provider.catalogue else []
        addresses = [word for name, path in provider.paths.items() for word in ("--set", f"{name}={home}{path}")]
        addresses += ["--var", f"{provider.variable}={home}"] if provider.variable else []
        credentials = ["--client-id", provider.client_id, "--client-secret-stdin"]
        added = self.broker(
            "provider", "add", provider.name, *source, *addresses, *credentials, given=self.sandbox_secret
        )
        assert added["name"] == provider.name

    def add_client(self, name: str, *options: str) -> TestClient:
        """`broker client add`, of a client of all providers unless the options say other."""
        words = ("client", "add", "--name", name, "--redirect-uri", CALLBACK, *options)
        added = self.broker(*words)
        client = Client(added["client_id"], name, (CALLBACK,))
        return TestClient(self.base, client, added.get("client_secret"))

    def first_steps(self) -> None:
        """What docs/operating.md has the operator do after a deployment."""
        self.broker("keys", "init")
        for provider in PROVIDERS:
            self.add_provider(provider)

    def rotate_keys(self) -> None:
        """What Secrets Manager does with a rotation: a version that waits for its value, and the function's four steps."""
        secret, version = self.outputs["KeysSecret"], str(uuid4())
        self.client("secretsmanager").rotate_secret(SecretId=secret, ClientRequestToken=version)
        described = self.client("secretsmanager").describe_secret(SecretId=secret)
        for step in ("createSecret", "setSecret", "testSecret", "finishSecret"):
            event = {"Step": step, "SecretId": secret, "ClientRequestToken": version}
            answer = self.client("lambda").invoke(
                FunctionName=described["RotationLambdaARN"], Payload=json.dumps(event)
            )
            assert "FunctionError" not in answer, (step, answer["Payload"].read())

    def let_the_sandbox_fail(self) -> None:
        """Faults can be ordered from now on. The template has no such switch, for it must never be deployed."""
        lambdas = self.client("lambda")
        (deployed,) = {arn for route, arn in self.front.api.functions.items() if route.path == "/sandbox/{proxy+}"}
        configuration = lambdas.get_function_configuration(FunctionName=deployed)
        variables = configuration["Environment"]["Variables"] | {"SANDBOX_FAULTS": "1"}
        name = configuration["FunctionName"]
        lambdas.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
        _, _, alias = deployed.partition(f":{name}:")
        if alias:
            version = lambdas.publish_version(FunctionName=name)["Version"]
            lambdas.update_alias(FunctionName=name, Name=alias, FunctionVersion=version)

    # -- what stands around the stack

    def own_view(self) -> dict[str, str]:
        """The environment in which this process's `runtime()` reaches the stack's tables and secrets, as the operator."""
        reached = {name: value for name, value in self.environment.items() if name.startswith("AWS_")}
        return reached | {
            "BROKER_ISSUER": self.outputs["Issuer"],
            "BROKER_REGISTRY_TABLE": self.outputs["RegistryTable"],
            "BROKER_GRANTS_TABLE": self.outputs["GrantsTable"],
            "BROKER_KEYS_SECRET": self.outputs["KeysSecret"],
            "BROKER_PROVIDER_SECRET_PREFIX": self.outputs["ProviderSecretPrefix"],
        }

    def _serve_the_api(self) -> None:
        """What AWS's DNS and API Gateway do: the API's own name leads to it, and its routes to their functions."""
        host = self.outputs["ApiUrl"].removeprefix("https://")
        self.front.api = Api.deployed(self.client("apigatewayv2"), host)
        line = f"{self.machine.address} {host}\n"
        if line not in self.machine.hosts.read_text():
            with self.machine.hosts.open("a") as hosts:
                hosts.write(line)

    def resources(self, kind: str) -> dict[str, str]:
        """The stack's resources of one type: physical names by the names in the template."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for page in pages
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == kind
        }

    def all_secrets(self) -> set[str]:
        """The value of every secret in the account, and each text within it; and the operator's own key."""
        secretsmanager = self.client("secretsmanager")
        names = [one["ARN"] for one in secretsmanager.list_secrets(MaxResults=100)["SecretList"]]
        found = {self.secret, self.sandbox_secret}
        for name in names:
            text = secretsmanager.get_secret_value(SecretId=name)["SecretString"]
            found |= {text, *_long_texts(json.loads(text) if text.startswith("{") else text)}
        return found

    def log_texts(self) -> dict[str, str]:
        """Everything in the account's logs, by the name of the log group."""
        logs = self.client("logs")
        groups = [
            group["logGroupName"]
            for page in logs.get_paginator("describe_log_groups").paginate()
            for group in page["logGroups"]
        ]
        return {group: "\n".join(_events(logs, group)) for group in groups}


def client(service: str, port: int, credentials: Mapping[str, str]) -> Any:
    """A boto3 client for the emulator on that port; `credentials` as AssumeRole answers them."""
    session = boto3.Session(
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials.get("SessionToken"),
        region_name=REGION,
    )
    # One attempt: what is refused or lost must be seen.
    config = Config(proxies={}, read_timeout=60, max_pool_connections=50, retries={"total_max_attempts": 1})
    endpoint = f"http://127.0.0.1:{port}"
    return session.client(service, endpoint_url=endpoint, config=config)  # type: ignore[call-overload]


def _long_texts(document: Any) -> Iterator[str]:
    """Texts that are too long to be a name. The ids of keys are public: every token has one in its header."""
    if isinstance(document, str) and len(document) >= 24:
        yield document
    elif isinstance(document, dict):
        for name, part in document.items():
            yield from _long_texts(part) if name != "kid" else ()
    elif isinstance(document, list):
        for part in document:
            yield from _long_texts(part)


def _events(logs: Any, group: str) -> Iterator[str]:
    for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group):
        for event in page["events"]:
            yield event["message"]


def copy_of_the_build(folder: Path) -> Path:
    """A folder to deploy from: what `sam build` left, and the settings of the SAM CLI, apart from the project's."""
    built = PROJECT / ".aws-sam" / "build"
    assert (built / "template.yaml").is_file(), "nothing is built; `make build` does that"
    shutil.copytree(built, folder / ".aws-sam" / "build")
    shutil.copy(PROJECT / "samconfig.toml", folder)
    return folder


@contextmanager
def fresh_account(machine: Machine) -> Iterator[Deployment]:
    """An empty account on an emulator of its own, and the way to the API that will be in it."""
    certificates = make_certificates(machine.folder, f"*.execute-api.{REGION}.amazonaws.com")
    port = free_port()
    secret = secrets.token_urlsafe(30)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(machine.folder),
        "TMPDIR": str(machine.folder),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "LOG_LEVEL": "WARNING",
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": "operator",
        "AWS_SECRET_ACCESS_KEY": secret,
        "MINISTACK_ACCOUNT_ID": "123456789012",
        "MINISTACK_HOST": f"{REGION}.amazonaws.com",  # so that the API's name is <id>.execute-api.us-east-1.amazonaws.com
        "S3_DATA_DIR": str(machine.folder / "s3"),
        "STATE_DIR": str(machine.folder / "state"),
        "SFTP_ENABLED": "0",
        "SSL_CERT_FILE": str(certificates.authority),
    }
    words = [machine.emulator_python, Path(__file__).parent / "emulator.py"]
    with (
        (machine.folder / "emulator.log").open("w") as log,
        subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as emulator,
    ):
        try:
            _wait_until_it_listens(emulator, port, machine.folder / "emulator.log")
            lambdas = client("lambda", port, {"AccessKeyId": "operator", "SecretAccessKey": secret})
            with running_front(machine.address, lambdas, certificates) as front:
                yield Deployment(machine, port, certificates, front, secret, secrets.token_urlsafe(30))
        finally:
            emulator.terminate()
            emulator.wait(timeout=30)
            for unpacked in (*machine.folder.glob("ministack-lambda-*"), *machine.folder.glob("layer-*")):
                shutil.rmtree(unpacked, ignore_errors=True)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, f"the emulator ended with {process.returncode}\n{log.read_text()[-2000:]}"
        time.sleep(0.05)
    raise AssertionError(f"the emulator does not listen after {STARTUP_SECONDS} s\n{log.read_text()[-2000:]}")
