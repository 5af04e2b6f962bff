"""LocalBroker: everything that template.yaml deploys, in one process. `make run` and the tests use this same class.

It sets the process's environment and imports the handlers, so there is one at a time. It must never answer for a
handler: a request either matches a route of the template and is invoked, or API Gateway's own 404 is the answer.
"""

from __future__ import annotations

import io
import json
import logging
import secrets
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from socket import socket
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from broker_local import api_gateway, aws, lambdas, privileges
from broker_local.api_gateway import BadAnswerError, HttpRequest, HttpResponse
from broker_local.listening import PortTakenError, Servers, listen
from broker_local.static import static_response
from broker_local.template import Function, Permission, Template, TemplateError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PROJECT = Path(__file__).resolve().parents[2]
STACK = "local"
SANDBOX_CLIENT_SECRET = "local-sandbox-client-secret"

__all__ = ["PROJECT", "SANDBOX_CLIENT_SECRET", "STACK", "LocalBroker", "PortTakenError", "local_environment"]


def local_template(port: int, *, project: Path = PROJECT, stack: str = STACK) -> Template:
    """template.yaml with the parameters that the local server gives it, for a broker on `port`."""
    overrides = {
        "Issuer": f"http://localhost:{port}",
        "EnableSandbox": "true",
        "SandboxClientSecret": SANDBOX_CLIENT_SECRET,
    }
    return Template.load(project / "template.yaml", stack=stack, overrides=overrides)


def local_environment(
    port: int, *, aws_endpoint: str | None = None, project: Path = PROJECT, stack: str = STACK
) -> dict[str, str]:
    """The environment of the functions of a broker on `port`; with it another process reaches the same tables.

    `aws_endpoint` defaults to moto on the next port, where `make run` starts it. Raises TemplateError.
    """
    environment: dict[str, str] = {}
    for function in local_template(port, project=project, stack=stack).functions():
        for name, value in function.environment.items():
            if environment.setdefault(name, value) != value:
                raise TemplateError(f"{function.name} wants another {name}; in one process there can be only one")
    environment["BROKER_LOCAL"] = "1"
    return environment | aws.credentials(aws_endpoint or f"http://127.0.0.1:{port + 1}")


_one_at_a_time = threading.Lock()


class LocalBroker:
    """The broker on http://localhost:`port` with moto on the next port; a context manager.

    port            0 = any two free ports
    aws_endpoint    use this DynamoDB and Secrets Manager instead of starting moto
    create          create the template's resources there; False joins a broker that has done so
    seed            register the sandbox's providers and the playground (broker_local.seed)
    environment     set besides, or instead of, what the template says
    log             takes what handlers print, tracebacks, and one line per request without its query; by default
                    a buffer in memory, read with `log_text`
    project         the folder of template.yaml, functions/ and layers/

    Raises PortTakenError and TemplateError, and RuntimeError while another one runs in this process.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        aws_endpoint: str | None = None,
        create: bool = True,
        seed: bool = True,
        environment: Mapping[str, str] | None = None,
        log: TextIO | None = None,
        project: Path = PROJECT,
        stack: str = STACK,
    ) -> None:
        self._wanted_port = port
        self._wanted_aws = aws_endpoint
        self._create = create
        self._seed = seed
        self._extra = dict(environment or {})
        self._project = project
        self._stack = stack
        self._log_lock = threading.Lock()
        self._cleanup = ExitStack()
        self._functions: tuple[lambdas.LoadedFunction, ...] = ()
        self.log: TextIO = log or io.StringIO()
        self.port = 0
        self.aws_endpoint = ""
        self.environment: Mapping[str, str] = {}

    @property
    def url(self) -> str:
        """The issuer, without a trailing slash."""
        return f"http://localhost:{self.port}"

    def aws_client(self, service: str) -> Any:
        """A boto3 client for this broker's tables ("dynamodb") or secrets ("secretsmanager")."""
        return aws.client(service, self.aws_endpoint)

    def invoke(self, function: str, event: dict[str, Any]) -> object:
        """Call a function that has no route, as the AWS service does that calls it. Lets its exceptions through."""
        return next(loaded for loaded in self._functions if loaded.function.name == function).invoke(event)

    def log_text(self) -> str:
        """All that was logged so far. Only for the default log."""
        if not isinstance(self.log, io.StringIO):
            raise TypeError("the log goes to a file")
        return self.log.getvalue()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start everything; returns when requests are served. Undoes what it did when it fails."""
        if not _one_at_a_time.acquire(blocking=False):
            raise RuntimeError(
                "a local broker runs in this process already; it shares the environment and moto's state"
            )
        self._cleanup.callback(_one_at_a_time.release)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop everything and put the environment back."""
        self._cleanup.close()

    def _start(self) -> None:
        own = self._held(listen(self._wanted_port))
        self.port = int(own[0].getsockname()[1])
        if self._wanted_aws:
            self.aws_endpoint = self._wanted_aws
        else:
            local_aws = aws.LocalAws(self._held(listen(self._wanted_port and self._wanted_port + 1)))
            self._cleanup.callback(local_aws.stop)
            self.aws_endpoint = local_aws.endpoint
        template = local_template(self.port, project=self._project, stack=self._stack)
        self._set_environment()
        if self._create:
            aws.create_resources(template, self.aws_endpoint)
        self._load(template)
        if self._seed:
            from broker_local.seed import seed

            seed(self.url, SANDBOX_CLIENT_SECRET)
        self._cleanup.enter_context(privileges.enforced())
        servers = Servers(self._application, own)
        self._cleanup.callback(servers.stop)

    def _held(self, sockets: list[socket]) -> list[socket]:
        for listening in sockets:
            self._cleanup.callback(listening.close)
        return sockets

    def _set_environment(self) -> None:
        base = local_environment(self.port, aws_endpoint=self.aws_endpoint, project=self._project, stack=self._stack)
        self.environment = base | {"SANDBOX_REDIRECT_URIS": _sandbox_redirect_uris()} | self._extra
        before = aws.with_environment(self.environment)
        self._cleanup.callback(aws.restore_environment, before)

    def _load(self, template: Template) -> None:
        lambdas.import_from([self._project / "layers" / "broker"])
        lambdas.start_cold()
        with redirect_stdout(self.log):  # a logger keeps the stream that it finds when it is made
            from broker import log  # noqa: F401 - a function would make it with its first line only

            for function in template.functions():
                permitted = self._with_test_switch(function)
                self._functions += (lambdas.load(permitted, self._project / "functions"),)
        self._cleanup.callback(lambdas.unload, self._functions)
        self._redirect_loggers()

    def _with_test_switch(self, function: Function) -> Function:
        """The sandbox's test switch, which is never deployed, looks through the sandbox's whole table."""
        table = self.environment.get("SANDBOX_TABLE", "")
        if self.environment.get("SANDBOX_FAULTS") != "1" or "SANDBOX_TABLE" not in function.environment:
            return function
        return replace(function, permissions=(*function.permissions, Permission("dynamodb:Scan", table)))

    def _redirect_loggers(self) -> None:
        """Loggers made before this broker started, by an import or an earlier broker, write to this one's log too."""
        names = {loaded.function.environment.get("POWERTOOLS_SERVICE_NAME") for loaded in self._functions}
        for name in {*names, "service_undefined"}:  # the latter is powertools' name before the environment was set
            for handler in logging.getLogger(name).handlers:
                if isinstance(handler, logging.StreamHandler):
                    handler.setStream(self.log)

    # ------------------------------------------------------------ serving

    def _application(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = time.monotonic()
        request = _read_request(environ, self.port)
        request_id = secrets.token_urlsafe(11) + "="
        response = self._respond(request, request_id)
        self._write_log(
            f"{request.method} {request.path[:200]!r} {response.status} {(time.monotonic() - started) * 1000:.0f} ms"
        )
        headers = [*response.headers, ("apigw-requestid", request_id)]
        if response.status not in {204, 304} and response.status >= 200:
            headers.append(("content-length", str(len(response.body))))
        start_response(f"{response.status} {api_gateway.reason(response.status)}", headers)
        return [] if request.method == "HEAD" or response.status in {204, 304} else [response.body]

    def _respond(self, request: HttpRequest, request_id: str) -> HttpResponse:
        if refused := api_gateway.refusal(request):
            return refused
        routes = {route: loaded for loaded in self._functions for route in loaded.function.routes}
        match = api_gateway.match_route(routes, request.method, request.encoded_path)
        if match is None:
            playground = self._project / "tools" / "broker_local" / "playground"
            static = static_response(playground, request.method, request.path)
            return static or api_gateway.message(404, "Not Found")
        event = api_gateway.to_event(request, match, request_id=request_id, now=datetime.now(UTC))
        try:
            return api_gateway.from_answer(routes[match.route].invoke(event))
        except BadAnswerError as error:
            self._write_log(f"{match.route.key}: {error}")
        except Exception:
            self._write_log(traceback.format_exc().rstrip())
        return api_gateway.message(500, "Internal Server Error")

    def _write_log(self, line: str) -> None:
        with self._log_lock:
            self.log.write(f"{line}\n")
            self.log.flush()


def _sandbox_redirect_uris() -> str:
    """Registered at every fake provider besides the broker's own: where `broker provider try` comes back to."""
    from broker_local.seed import PROVIDERS, TRY_REDIRECT_URI

    return json.dumps({provider.name: [TRY_REDIRECT_URI] for provider in PROVIDERS})


def _read_request(environ: WSGIEnvironment, port: int) -> HttpRequest:
    source = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):  # chunked: ends by itself
        body = source.read(api_gateway.MAX_BODY + 1)
    else:
        length = environ.get("CONTENT_LENGTH") or "0"
        body = source.read(min(int(length), api_gateway.MAX_BODY + 1)) if length.isdecimal() else b""
    return HttpRequest(
        method=environ["REQUEST_METHOD"],
        target=environ["broker.target"],
        protocol=environ["SERVER_PROTOCOL"],
        headers=environ["broker.headers"],
        body=body,
        source_ip=environ["REMOTE_ADDR"],
        port=port,
    )
