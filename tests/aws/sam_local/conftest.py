"""`sam local` over what `sam build` made: every function in a container with AWS's runtime interface client and emulator.

`make test-sam-local` runs these, in a network of their own (private_network) and with a Docker daemon of their own. AWS is moto
here: what the emulator with IAM proves is in the folder above.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aws.authority import Certificates, make_certificates
from aws.deployment import PROJECT, REGION
from aws.sam_local.docker_daemon import make_image, running_daemon
from broker_local import aws
from broker_local.seed import seed
from broker_local.template import Template

API_ID = "1234567890"
"""What `sam local` writes into every event."""
HOST = f"{API_ID}.execute-api.{REGION}.amazonaws.com"
STARTUP_SECONDS = 60


@dataclass(frozen=True)
class SamLocal:
    """The SAM CLI over the build, with what its commands have in common."""

    sam: Path
    build: Path
    image: str
    variables: Path
    environment: dict[str, str] = field(repr=False)
    sandbox_secret: str = field(repr=False)
    address: str
    certificates: Certificates

    @property
    def base(self) -> str:
        """The issuer, an https URL that this machine and the containers resolve."""
        return f"https://{HOST}"

    def words(self, *command: str) -> list[str]:
        """A command line of `sam local`."""
        return [
            *(str(self.sam), "local", *command, "--skip-pull-image", "--invoke-image", self.image),
            *("--env-vars", str(self.variables), "--add-host", f"{HOST}:{self.address}", "--region", REGION),
            *("--parameter-overrides", "Architecture=x86_64", "EnableSandbox=true"),
            f"SandboxClientSecret={self.sandbox_secret}",
        ]


@pytest.fixture(scope="session")
def sam_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamLocal]:
    """Docker, its image and AWS's stand-in with everything registered."""
    try:
        address, hosts = os.environ["PUBLIC_ADDRESS"], Path(os.environ["PRIVATE_HOSTS"])
        file_system, sam = Path(os.environ["RUNTIME_IMAGE"]), Path(os.environ["SAM"])
    except KeyError:
        pytest.skip("needs a network of its own and a runtime image; `make test-sam-local` makes them")
    folder = tmp_path_factory.mktemp("docker")
    certificates = make_certificates(folder, HOST)
    sandbox_secret = secrets.token_urlsafe(30)
    overrides = {"EnableSandbox": "true", "SandboxClientSecret": sandbox_secret}
    template = Template.load(PROJECT / "template.yaml", stack="local", overrides=overrides)
    with (
        pytest.MonkeyPatch.context() as patch,
        running_daemon(folder) as docker,
        socket.create_server(("0.0.0.0", 0)) as listening,
    ):
        port = int(listening.getsockname()[1])
        stand_in = aws.LocalAws([listening])
        aws.create_resources(template, stand_in.endpoint)
        variables = {function.name: dict(function.environment) for function in template.functions()}
        (folder / "variables.json").write_text(json.dumps(variables))
        with hosts.open("a") as known:
            known.write(f"{address} {HOST}\n")
        own = aws.credentials(stand_in.endpoint) | variables["TokenFunction"]
        for name, value in own.items():
            patch.setenv(name, value)
        patch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
        seed(f"https://{HOST}", sandbox_secret)
        image = "broker-runtime:made"
        make_image(docker, image, file_system, folder / "image", certificates.authority, f"http://172.17.0.1:{port}")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "DOCKER_HOST": docker,
            "SAM_CLI_TELEMETRY": "0",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }
        yield SamLocal(
            sam, PROJECT, image, folder / "variables.json", environment, sandbox_secret, address, certificates
        )
        stand_in.stop()


@pytest.fixture(scope="session")
def base(sam_local: SamLocal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`sam local start-api`, reached under the API's own name; the issuer."""
    folder = tmp_path_factory.mktemp("start-api")
    shown = ("--ssl-cert-file", str(sam_local.certificates.chain), "--ssl-key-file", str(sam_local.certificates.key))
    words = sam_local.words("start-api", "--host", sam_local.address, "--port", "443", *shown)
    # A suite that is started in the background hands down that interrupts are ignored.
    words = ["env", "--default-signal=INT", *words, "--warm-containers", "LAZY", "--no-watch"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(words, cwd=sam_local.build, env=sam_local.environment, stdout=log, stderr=log) as api,
    ):
        try:
            _wait_until_it_listens(api, sam_local.address, folder / "log")
            yield sam_local.base
        finally:
            _end(api)


def _end(api: subprocess.Popen[bytes]) -> None:
    api.send_signal(signal.SIGINT)  # on which it removes its containers
    try:
        api.wait(timeout=60)
    except subprocess.TimeoutExpired:
        api.kill()
        raise


def _wait_until_it_listens(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < until:
        with closing(socket.socket()) as probe:
            if probe.connect_ex((address, 443)) == 0:
                return
        assert process.poll() is None, f"sam ended with {process.returncode}\n{log.read_text()[-3000:]}"
        time.sleep(0.1)
    raise AssertionError(f"sam does not listen after {STARTUP_SECONDS} s\n{log.read_text()[-3000:]}")
