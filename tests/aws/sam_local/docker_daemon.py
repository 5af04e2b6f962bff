"""A Docker daemon of one test run: its own socket, images and containers. Nothing of another daemon on the machine is touched."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException

STARTUP_SECONDS = 60


@contextmanager
def running_daemon(folder: Path) -> Iterator[str]:
    """dockerd with everything it writes in `folder`; its address. Ends with all containers gone."""
    socket = f"unix://{folder}/docker.sock"
    words = ["dockerd", "--host", socket, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    words += ["--pidfile", f"{folder}/pid", "--iptables=false", "--ip-masq=false"]
    with (folder / "dockerd.log").open("w") as log, subprocess.Popen(words, stdout=log, stderr=log) as daemon:
        try:
            _wait_until_it_answers(daemon, socket, folder / "dockerd.log")
            yield socket
            for container in docker.DockerClient(base_url=socket).containers.list(all=True):
                container.remove(force=True)
        finally:
            daemon.terminate()
            daemon.wait(timeout=60)
            shutil.rmtree(folder / "data", ignore_errors=True)


def _wait_until_it_answers(daemon: subprocess.Popen[bytes], socket: str, log: Path) -> None:
    until = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < until:
        assert daemon.poll() is None, f"dockerd ended with {daemon.returncode}\n{log.read_text()[-2000:]}"
        try:
            docker.DockerClient(base_url=socket).ping()
        except DockerException:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"dockerd does not answer after {STARTUP_SECONDS} s\n{log.read_text()[-2000:]}")


def make_image(socket: str, tag: str, file_system: Path, folder: Path, authority: Path, aws: str) -> None:
    """The image that functions run in: a file system from `runtime_image`, the test's certificate authority, and the URL of
    AWS's stand-in, which Lambda has no variable for.
    """
    client = docker.DockerClient(base_url=socket, timeout=300)
    client.api.import_image(str(file_system), repository="lambda-file-system", tag="made")
    folder.mkdir()
    (folder / "authority.pem").write_bytes(authority.read_bytes())
    (folder / "Dockerfile").write_text(
        f"""FROM lambda-file-system:made
COPY authority.pem /etc/ssl/authority.pem
ENV SSL_CERT_FILE=/etc/ssl/authority.pem AWS_ENDPOINT_URL={aws} LANG=C.UTF-8 \\
    LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime PATH=/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin
WORKDIR /var/task
"""
    )
    client.images.build(path=str(folder), tag=tag)
