"""Servers in processes of their own, and the providers that they are to the broker: started, registered, logged in at.

They end with the process that started them, however that ends.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests

from broker.runtime import runtime
from broker.store.registry import ProviderEntry
from broker_local import aws
from broker_local.seed import put_secret
from broker_local.server import PROJECT
from broker_testing.browser import REDIRECTS, Browser, forms
from broker_testing.journey import PASSWORD, Login, TestClient

HERE = Path(__file__).parent
TIMEOUT = 30
CLIENT_ID = "the-broker"
CLIENT_SECRET = "the-broker's+secret/at=the~server"
"""With characters that form encoding, Basic and URLs treat differently."""
MAX_PAGES = 6


@dataclass(frozen=True)
class Call:
    """A call of the server's token or revocation endpoint as it saw it: the grant type, or "revoke"; and the error, if any.

    "revoked" is no call, but the end of a grant with all its tokens.
    """

    what: str
    error: str


@dataclass(frozen=True)
class Process:
    """A running server, and where it takes orders."""

    url: str
    control: str

    def order(self, method: str, path: str, content: object = None) -> Any:
        """Send an order; its answer."""
        body = None if content is None else json.dumps(content)
        response = requests.request(method, f"{self.control}{path}", data=body, timeout=TIMEOUT)
        assert response.status_code == 200, response.text
        return response.json()

    def set_clock(self, offset: float) -> None:
        """Let its clock show this many seconds more than the machine's."""
        self.order("POST", "/clock", offset)


@contextmanager
def running(words: Sequence[str | Path], settings: Mapping[str, object]) -> Iterator[Process]:
    """Start a server with `settings` as the first line of its standard input."""
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True, env=_environment()
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(settings) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                complaints.seek(0)
                raise RuntimeError(f"{words[-1]} did not start:\n{complaints.read()}")
            yield Process(**json.loads(line))
        finally:
            process.kill()


def _environment() -> dict[str, str]:
    """Nothing of the broker's own, and what the tests can import."""
    seen = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BROKER_", "SANDBOX_"))}
    folders = [PROJECT / "tests", PROJECT / "functions" / "sandbox", PROJECT / "layers" / "broker", PROJECT / "tools"]
    return seen | {"PYTHONPATH": os.pathsep.join(map(str, folders))}


@dataclass(frozen=True)
class Upstream:
    """A provider that others wrote: the server, and how it is registered at the broker.

    Attributes:
        lifetime: seconds that its access tokens live.
    """

    name: str
    process: Process
    entry: ProviderEntry
    lifetime: int

    def register(self) -> None:
        """Make it known to the broker of this process, with its credentials, as the operator's command does."""
        secrets = aws.client("secretsmanager", os.environ["AWS_ENDPOINT_URL"])
        credentials = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        put_secret(secrets, runtime().settings.provider_secret_prefix + self.name, json.dumps(credentials))
        runtime().registry.add_provider(self.entry)

    def calls(self) -> list[Call]:
        """What it was asked since the last `forget_calls`, in order."""
        return [Call(**call) for call in self.process.order("GET", "/calls")]

    def forget_calls(self) -> None:
        """Begin a new record."""
        self.process.order("DELETE", "/calls")

    def order_fault(self, endpoint: str, fault: Mapping[str, object], *, times: int = 1) -> None:
        """The next calls of oauth2-mock-server's "token", "userinfo" or "revoke" meet this (node/mock_server.js has the list)."""
        self.process.order("POST", "/faults", {"endpoint": endpoint, "fault": fault, "times": times})

    def forget_faults(self) -> None:
        """Orders that no call has met are called off."""
        self.process.order("DELETE", "/faults")

    def refreshes(self) -> list[str]:
        """The errors of its refreshes since then, "" for those that succeeded."""
        return [call.error for call in self.calls() if call.what == "refresh_token"]

    def sign_in(
        self, browser: Browser, response: requests.Response, *, username: str = "johndoe", allow: bool = True
    ) -> str:
        """Do what its pages ask for, from the redirect there; the URL that it sends the browser back to."""
        for _ in range(MAX_PAGES):
            while response.status_code in REDIRECTS:
                target = urljoin(response.url, response.headers["location"])
                if not target.startswith(self.process.url) and response.url.startswith(self.process.url):
                    return target
                response = browser.get(target)
            assert response.status_code == 200, (response.status_code, response.url, response.text)
            (form,) = forms(response)
            if "password" in form.fields:
                names = dict.fromkeys({"login", "username"} & form.fields.keys(), username)
                response = browser.submit(response, names | {"password": PASSWORD})
            else:
                response = _decide(browser, response, allow=allow)
        raise AssertionError(f"too many pages at {self.name}")

    def log_in(self, client: TestClient, *, username: str = "johndoe", allow: bool = True) -> Login:
        """A whole login, up to the answer at the client."""
        login = Login(client, self.name)
        back = self.sign_in(login.browser, login.start(), username=username, allow=allow)
        login.read_answer(login.browser.get(back))
        return login


def _decide(browser: Browser, page: requests.Response, *, allow: bool) -> requests.Response:
    """Consent, or do not: by the link out of the page where there is one, by the button without a name where not."""
    if allow:
        return browser.submit(page, {"allow": "Authorize"})
    link = re.search(r'href="([^"]+/abort)"', page.text)
    return browser.get(urljoin(page.url, link.group(1))) if link else browser.submit(page, {})


@contextmanager
def oidc_provider(node: str, callback: str, lifetime: int = 300) -> Iterator[Upstream]:
    """panva's oidc-provider, as a provider of the catalogue's kind `oidc`. `callback`: the broker's callback, without a name."""
    name = "strict-oidc"
    settings = _application(f"{callback}/{name}", lifetime)
    with running([node, HERE / "node" / "oidc_provider.js"], settings) as process:
        entry = ProviderEntry(
            name=name,
            catalogue="oidc",
            # A refresh token comes only to whoever asks for offline_access, and only with consent (OpenID Connect Core
            # section 11).
            overrides={
                "authorize.scope": ["openid", "profile", "email", "offline_access"],
                "authorize.params": {"response_type": "code", "prompt": "consent"},
            },
            variables={"issuer": process.url},
            created_at=1,
        )
        yield Upstream(name, process, entry, lifetime)


@contextmanager
def django_provider(python: str, folder: Path, callback: str, lifetime: int = 300) -> Iterator[Upstream]:
    """django-oauth-toolkit, as a provider with a file of the operator's own. `folder`: for its database."""
    name = "strict-django"
    settings = _application(f"{callback}/{name}", lifetime) | {"database": str(folder / "django.sqlite3")}
    with running([python, HERE / "python" / "django_provider.py"], settings) as process:
        document: dict[str, Any] = {
            "title": "Django OAuth Toolkit",
            "vars": {"base": {"pattern": "https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?"}},
            "authorize": {"url": "{base}/o/authorize/", "scope": ["read"]},
            "token": {"url": "{base}/o/token/", "auth": "basic"},
            "userinfo": {
                "url": "{base}/me",
                "claims": {"sub": "id", "preferred_username": "username", "email": "email"},
            },
            "revoke": {"url": "{base}/o/revoke_token/", "auth": "basic"},
        }
        entry = ProviderEntry(name=name, document=document, variables={"base": process.url}, created_at=1)
        yield Upstream(name, process, entry, lifetime)


@contextmanager
def mock_provider(node: str) -> Iterator[Upstream]:
    """oauth2-mock-server, as a provider of the catalogue's kind `oidc`."""
    name = "mock"
    with running([node, HERE / "node" / "mock_server.js"], {}) as process:
        entry = ProviderEntry(name=name, catalogue="oidc", variables={"issuer": process.url}, created_at=1)
        yield Upstream(name, process, entry, lifetime=3600)


def _application(redirect_uri: str, lifetime: int) -> dict[str, object]:
    """The broker's registration at a server."""
    return {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": [redirect_uri],
        "access_lifetime": lifetime,
    }
