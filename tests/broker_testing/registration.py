"""Clients that nobody registered by hand: the policy for them, their registration over HTTP, and the documents they publish."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from broker.protocol.clients import Client
from broker.protocol.registration_policy import RegistrationPolicy
from broker.runtime import runtime
from broker_testing.journey import CALLBACK, Login, TestClient

OPEN = RegistrationPolicy(mode="open", providers=("openid",))
DOCUMENTS = RegistrationPolicy(documents=True, providers=("openid",))
TIMEOUT = 30


@contextmanager
def policy_is(policy: RegistrationPolicy) -> Iterator[None]:
    """The operator's policy, until the block ends."""
    runtime().registrations.set_policy(policy)
    runtime().registrations.set_registered(0)
    try:
        yield
    finally:
        runtime().registrations.set_policy(RegistrationPolicy())
        runtime().directory.forget()


def metadata(**changes: object) -> dict[str, object]:
    """What an ordinary public client says of itself; None removes a member."""
    members: dict[str, object] = {
        "client_name": "A visitor",
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
    return {name: value for name, value in (members | changes).items() if value is not None}


def ask_to_register(base: str, document: object, token: str | None = None) -> requests.Response:
    """POST /register."""
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    return requests.post(f"{base}/register", json=document, headers=headers, timeout=TIMEOUT)


def registered(base: str, **changes: object) -> dict[str, Any]:
    """The client information response of a client that registered with this metadata."""
    response = ask_to_register(base, metadata(**changes))
    assert response.status_code == 201, response.text
    document: dict[str, Any] = response.json()
    return document


def manage(information: Mapping[str, Any], method: str, document: object = None, **headers: str) -> requests.Response:
    """A request to the client's registration_client_uri, with its registration access token."""
    sent = {"authorization": f"Bearer {information['registration_access_token']}"} | headers
    return requests.request(
        method, information["registration_client_uri"], json=document, headers=sent, timeout=TIMEOUT
    )


def visitor(base: str, information: Mapping[str, Any]) -> TestClient:
    """The client of a client information response, for a journey."""
    known = Client(
        client_id=information["client_id"], name="A visitor", redirect_uris=tuple(information["redirect_uris"])
    )
    return TestClient(base, known, information.get("client_secret"))


def log_in(client: TestClient, **parameters: str | None) -> tuple[Login, str]:
    """A login of a client that is not first-party, up to its code: the person agrees. Returns the consent page too."""
    login = Login(client)
    arrived = login.browser.get(login.at_provider(login.start(**parameters)))
    page = login.browser.follow(arrived, stop=(client.redirect_uri,))
    assert page.status_code == 200, (page.status_code, page.text)
    login.read_answer(login.browser.submit(page, {"decision": "allow"}))
    assert "code" in login.answer, login.answer
    return login, page.text


@dataclass
class DocumentHost:
    """A web server on this machine. `answers`: path -> (status, headers, body); `asked`: the paths asked for, in order."""

    port: int
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def url(self, path: str = "/client.json") -> str:
        """The URL of a path."""
        return f"http://localhost:{self.port}{path}"

    def publish(
        self, path: str = "/client.json", *, headers: Mapping[str, str] | None = None, **changes: object
    ) -> str:
        """Publish a client's document, true to its URL unless `changes` say otherwise. Returns the URL."""
        members = metadata(**({"client_id": self.url(path)} | changes))
        self.put(path, json.dumps(members).encode(), headers=headers)
        return self.url(path)

    def put(self, path: str, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Answer these bytes."""
        self.answers[path] = (status, {"Content-Type": "application/json", **(headers or {})}, body)


@contextmanager
def document_host() -> Iterator[DocumentHost]:
    """A web server on a free port, with nothing on it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    host = DocumentHost(server.server_address[1])
    server.host = host  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        host: DocumentHost = self.server.host  # type: ignore[attr-defined]
        host.asked.append(self.path)
        status, headers, body = host.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""
