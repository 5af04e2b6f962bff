"""API Gateway's place before the deployed functions: TLS under the API's own name, its routes, and Lambda's Invoke.

The emulator's own HTTP endpoint differs from API Gateway where a broker is touched: it joins cookies to the headers, answers
preflights by itself, refuses encodings that the real service passes on, and takes /logout and /oauth2/... for Cognito's. So
the translation is that of `broker_local.api_gateway`, which follows captures of the real service. Routes, and the function
behind each, are those of the deployed API. Browsers, clients and the broker's calls to the sandbox all come this way, and a
tap remembers what went through.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aws.authority import Certificates
from broker_local import api_gateway
from broker_local.api_gateway import HttpRequest, HttpResponse, Match
from broker_local.template import Route
from broker_testing.wire import Exchange, Tap

PORT = 443


@dataclass(frozen=True)
class Api:
    """A deployed HTTP API: its id, its own name, and the ARN of the function (or its alias) behind each route."""

    api_id: str = ""
    host: str = ""
    functions: Mapping[Route, str] = field(default_factory=dict)

    @classmethod
    def deployed(cls, apigateway: Any, host: str) -> Api:
        """What API Gateway knows of the API under this name."""
        api_id = host.partition(".")[0]
        integrations = {
            integration["IntegrationId"]: integration["IntegrationUri"]
            for integration in apigateway.get_integrations(ApiId=api_id)["Items"]
        }
        functions: dict[Route, str] = {}
        for route in apigateway.get_routes(ApiId=api_id)["Items"]:
            method, _, path = route["RouteKey"].partition(" ")
            uri = integrations[route["Target"].removeprefix("integrations/")]
            functions[Route(method, path)] = uri.partition("/functions/")[2].removesuffix("/invocations")
        return cls(api_id, host, functions)

    def event(self, request: HttpRequest, match: Match, request_id: str) -> dict[str, Any]:
        """The event for a request to this API."""
        event = api_gateway.to_event(request, match, request_id=request_id, now=datetime.now(UTC))
        event["headers"]["x-forwarded-proto"] = "https"
        own = {"apiId": self.api_id, "domainName": self.host, "domainPrefix": self.api_id}
        event["requestContext"] |= own
        return event


class Front(ThreadingHTTPServer):
    """Listens on `address`:443 for the API that `api` says, and invokes with the Lambda client `lambdas`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: str, lambdas: Any, certificates: Certificates) -> None:
        self.api = Api()
        self.tap = Tap()
        self._lambdas = lambdas
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.chain, certificates.key)
        super().__init__((address, PORT), _Handler)

    def respond(self, request: HttpRequest) -> HttpResponse:
        """API Gateway's answer."""
        if refused := api_gateway.refusal(request):
            return refused
        api = self.api
        match = api_gateway.match_route(api.functions, request.method, request.encoded_path)
        if match is None:
            return api_gateway.message(404, "Not Found")
        event = api.event(request, match, secrets.token_urlsafe(11) + "=")
        answer = self._lambdas.invoke(FunctionName=api.functions[match.route], Payload=json.dumps(event))
        if "FunctionError" in answer:
            return api_gateway.message(500, "Internal Server Error")
        return api_gateway.from_answer(json.load(answer["Payload"]))

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection whose handshake is left to its own thread, so that a slow one keeps nobody waiting."""
        plain, peer = self.socket.accept()
        return self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), peer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away needs no traceback."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Front

    def _pass_on(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        request = HttpRequest(
            method=self.command,
            target=self.path,
            protocol=self.request_version,
            headers=tuple(self.headers.items()),
            body=self.rfile.read(length),
            source_ip=str(self.client_address[0]),
            port=PORT,
        )
        response = self.server.respond(request)
        self.server.tap.exchanges.append(Exchange(request, response))
        self.send_response_only(response.status, api_gateway.reason(response.status))
        for name, value in response.headers:
            self.send_header(name, value)
        if response.status != 204:
            self.send_header("content-length", str(len(response.body)))
        self.end_headers()
        if request.method != "HEAD":
            self.wfile.write(response.body)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """The base class asks for do_GET, do_POST and so on: every method goes the same way."""
        if name.startswith("do_"):
            return self._pass_on
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Query strings hold codes; nothing is written anywhere."""


@contextmanager
def running_front(address: str, lambdas: Any, certificates: Certificates) -> Iterator[Front]:
    """The front, serving while this lasts."""
    with Front(address, lambdas, certificates) as front:
        thread = threading.Thread(target=front.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield front
        finally:
            front.shutdown()
            thread.join()
