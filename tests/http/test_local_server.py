"""The local server's imitation of API Gateway, and `make run` as a program.

The translation is tested as functions; the program in a process of its own, because one process holds one broker.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from broker_local.api_gateway import (
    MAX_BODY,
    MAX_HEAD,
    BadAnswerError,
    HttpRequest,
    HttpResponse,
    from_answer,
    match_route,
    refusal,
    to_event,
)
from broker_local.server import PROJECT, LocalBroker
from broker_local.static import static_response
from broker_local.template import Route
from broker_testing.ports import free_port

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
GET = HttpRequest("GET", "/callback/redbooth", "HTTP/1.1", (), b"", "203.0.113.7", 3000)
CALLBACK = Route("ANY", "/callback/{provider}")


def event_of(request: HttpRequest) -> dict[str, Any]:
    """The event for a request on a catch-all route."""
    match = match_route([Route("ANY", "/{proxy+}")], request.method, request.encoded_path)
    assert match is not None
    return to_event(request, match, request_id="id=", now=NOON)


# ---------------------------------------------------------------- request -> event


def test_event_of_a_plain_request() -> None:
    """Every member, as API Gateway sends it."""
    request = replace(GET, target="/callback/redbooth?code=a%20b&x=1", headers=[("Host", "h"), ("User-Agent", "curl")])
    match = match_route([CALLBACK], "GET", request.encoded_path)
    assert match is not None
    assert to_event(request, match, request_id="id=", now=NOON) == {
        "version": "2.0",
        "routeKey": "ANY /callback/{provider}",
        "rawPath": "/callback/redbooth",
        "rawQueryString": "code=a%20b&x=1",
        "headers": {
            "host": "h",
            "user-agent": "curl",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "3000",
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"code": "a b", "x": "1"},
        "pathParameters": {"provider": "redbooth"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": "localhost",
            "domainPrefix": "localhost",
            "http": {
                "method": "GET",
                "path": "/callback/redbooth",
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "curl",
            },
            "requestId": "id=",
            "routeKey": "ANY /callback/{provider}",
            "stage": "$default",
            "time": "21/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1795262400000,
        },
        "isBase64Encoded": False,
    }


def test_repeated_headers_are_joined_and_hop_by_hop_ones_dropped() -> None:
    """Two Authorization headers reach the handler as one with a comma, which it must refuse."""
    headers = [("Authorization", "Bearer a"), ("AUTHORIZATION", "Bearer b"), ("Connection", "close"), ("TE", "x")]
    event = event_of(replace(GET, headers=headers))
    assert event["headers"]["authorization"] == "Bearer a,Bearer b"
    assert not {"connection", "te"} & set(event["headers"])


def test_a_client_cannot_forge_where_it_came_from() -> None:
    """The address that API Gateway saw stands last and in sourceIp; port and scheme are its own."""
    headers = [("X-Forwarded-For", "9.9.9.9"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "1")]
    event = event_of(replace(GET, headers=headers))
    assert event["headers"]["x-forwarded-for"] == "9.9.9.9, 203.0.113.7"
    assert (event["headers"]["x-forwarded-proto"], event["headers"]["x-forwarded-port"]) == ("http", "3000")
    assert event["requestContext"]["http"]["sourceIp"] == "203.0.113.7"


def test_cookies_leave_the_headers() -> None:
    """Split at the semicolon, also over several headers; one without a name is dropped."""
    headers = [("Cookie", "a=1; b=x=y;c="), ("cookie", "d=2;  ; =nameless; word")]
    event = event_of(replace(GET, headers=headers))
    assert event["cookies"] == ["a=1", "b=x=y", "c=", "d=2"]
    assert "cookie" not in event["headers"]
    assert "cookies" not in event_of(GET)


def test_repeated_query_parameters() -> None:
    """The joined form hides a repeat; the raw query keeps it, byte for byte."""
    event = event_of(replace(GET, target="/x?scope=a&scope=b&empty&plus=1+2&bad=%zz"))
    assert event["rawQueryString"] == "scope=a&scope=b&empty&plus=1+2&bad=%zz"
    assert event["queryStringParameters"] == {"scope": "a,b", "empty": "", "plus": "1 2", "bad": "%zz"}
    assert "queryStringParameters" not in event_of(GET)


def test_the_path_is_told_decoded_and_ends_at_a_decoded_question_mark() -> None:
    """So does the real HTTP API; the path's parameters stay encoded."""
    request = replace(GET, target="/callback/a%2Fb%3Fc?x=1")
    match = match_route([CALLBACK], "GET", request.encoded_path)
    assert match is not None
    event = to_event(request, match, request_id="", now=NOON)
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == "/callback/a/b"
    assert event["rawQueryString"] == "x=1"
    assert event["pathParameters"] == {"provider": "a%2Fb%3Fc"}


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("Application/JSON", True),
        ("text/plain", True),
        ("application/xml", True),
        ("application/javascript", True),
        ("application/x-www-form-urlencoded", False),
        ("application/problem+json", False),
        ("application/octet-stream", False),
        ("", False),
    ],
)
def test_which_bodies_arrive_in_base64(content_type: str, text: bool) -> None:
    """Forms do, which surprises many; seen on the real service."""
    event = event_of(
        replace(GET, method="POST", headers=[("Content-Type", content_type)], body="grant_type=ü".encode())
    )
    assert event["isBase64Encoded"] is not text
    received = event["body"] if text else base64.b64decode(event["body"]).decode()
    assert received == "grant_type=ü"
    assert event["headers"]["content-length"] == "13"


def test_an_empty_body_is_left_out() -> None:
    """As with the real service, `body` is then absent."""
    event = event_of(replace(GET, method="POST", headers=[("Content-Length", "0")]))
    assert "body" not in event
    assert event["isBase64Encoded"] is False


# ---------------------------------------------------------------- routes


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("GET", "/callback/redbooth", "ANY /callback/{provider}", {"provider": "redbooth"}),
        ("GET", "/callback/own", "ANY /callback/own", {}),
        ("POST", "/callback/own", "POST /callback/own", {}),
        ("GET", "/sandbox/openid/a/b", "ANY /sandbox/{proxy+}", {"proxy": "openid/a/b"}),
        ("GET", "/sandbox/x", "ANY /sandbox/{proxy+}", {"proxy": "x"}),
        ("GET", "/sandbox/x/", "ANY /sandbox/{proxy+}", {"proxy": "x/"}),
        ("GET", "/%63allback/own", "ANY /callback/own", {}),
        ("GET", "/callback/", None, {}),
        ("GET", "/callback", None, {}),
        ("GET", "/callback/a/b", None, {}),
        ("GET", "/sandbox/", None, {}),
        ("GET", "/Callback/own", None, {}),
        ("GET", "/", None, {}),
    ],
)
def test_the_most_specific_route_wins(method: str, path: str, key: str | None, parameters: dict[str, str]) -> None:
    """Literal before variable before greedy, a method before ANY; a trailing slash is another path."""
    routes = [
        Route("ANY", "/sandbox/{proxy+}"),
        CALLBACK,
        Route("ANY", "/callback/own"),
        Route("POST", "/callback/own"),
    ]
    match = match_route(routes, method, path)
    assert (match.route.key if match else None) == key
    assert (dict(match.parameters) if match else {}) == parameters


# ---------------------------------------------------------------- limits


def test_what_api_gateway_refuses_by_itself() -> None:
    """At the limit it passes, one byte over it does not."""
    spare = MAX_HEAD - len("GET") - len("/") - len("HTTP/1.1") - 2
    assert refusal(replace(GET, target="/", headers=[("x", "y" * spare)])) is None
    too_long = refusal(replace(GET, target="/", headers=[("x", "y" * (spare + 1))]))
    assert too_long is not None
    assert (too_long.status, json.loads(too_long.body)) == (431, {"message": "Request Header Fields Too Large"})
    assert refusal(replace(GET, body=b"x" * MAX_BODY)) is None
    too_large = refusal(replace(GET, body=b"x" * (MAX_BODY + 1)))
    assert too_large is not None
    assert too_large.status == 413
    for target in ("/ü", "*", "http://evil.example/token"):
        refused = refusal(replace(GET, target=target))
        assert refused is not None
        assert refused.status == 400


# ---------------------------------------------------------------- answer -> response


def test_a_full_answer() -> None:
    """Each cookie is a header of its own, a header's value may be a number, the length is never the handler's."""
    response = from_answer(
        {
            "statusCode": "302",
            "headers": {"Location": "/x", "X-Count": 2, "X-Yes": True, "Content-Length": "99"},
            "cookies": ["a=1; Path=/", "b=2"],
        }
    )
    assert response == HttpResponse(
        302,
        (("location", "/x"), ("x-count", "2"), ("x-yes", "true"), ("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2")),
        b"",
    )


def test_bodies() -> None:
    """Text as UTF-8, base64 decoded; a body without a type is plain text."""
    assert from_answer({"statusCode": 200, "body": "ü"}).body == "ü".encode()
    assert from_answer({"statusCode": 200, "body": "AP8=", "isBase64Encoded": True}).body == b"\x00\xff"
    assert from_answer({"statusCode": 200, "body": "x"}).headers == (("content-type", "text/plain;charset=utf-8"),)


def test_an_answer_without_status_is_the_body() -> None:
    """Format 2.0 infers a JSON 200."""
    response = from_answer({"a": 1})
    assert (response.status, json.loads(response.body)) == (200, {"a": 1})
    assert response.headers == (("content-type", "application/json"),)


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": "abc"},
        {"statusCode": 99},
        {"statusCode": 600},
        {"statusCode": True},
        {"statusCode": None},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": "!", "isBase64Encoded": True},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"a": ["b"]}},
        {"statusCode": 200, "headers": {"a": "b\r\nset-cookie: c=d"}},
        {"statusCode": 200, "cookies": "a=1"},
        {"statusCode": 200, "body": b"bytes"},
        {"statusCode": 200, "body": "x" * (6 * 1024 * 1024)},
    ],
)
def test_answers_that_become_an_internal_server_error(answer: object) -> None:
    """What Lambda or API Gateway would refuse must not work on a laptop."""
    with pytest.raises(BadAnswerError):
        from_answer(answer)


# ---------------------------------------------------------------- the playground's files


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A playground folder beside a secret."""
    folder = tmp_path / "playground"
    (folder / "sub").mkdir(parents=True)
    (folder / "index.html").write_text("<p>ü", "utf-8")
    (folder / "sub" / "app.js").write_text("1", "utf-8")
    (folder / "notes.toml").write_text("x", "utf-8")
    (tmp_path / "secret.txt").write_text("secret", "utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


def test_playground_files(files: Path) -> None:
    """The page at /, its files below /playground/, never cached."""
    page = static_response(files, "GET", "/")
    assert page is not None
    assert page.body == "<p>ü".encode()
    assert ("content-type", "text/html; charset=utf-8") in page.headers
    assert ("cache-control", "no-store") in page.headers
    script = static_response(files, "GET", "/playground/sub/app.js")
    assert script is not None
    assert ("content-type", "text/javascript; charset=utf-8") in script.headers


@pytest.mark.parametrize(
    "path",
    [
        "/playground/../secret.txt",
        "/playground//etc/passwd.txt",
        "/playground/link.txt",
        "/playground/notes.toml",
        "/playground/sub",
        "/playground/",
        "/playground",
        "/index.html",
        "/playground/x\0.html",
    ],
)
def test_nothing_else_is_served(files: Path, path: str) -> None:
    """Neither by climbing, nor through a link, nor of an unknown type."""
    assert static_response(files, "GET", path) is None


def test_static_files_are_read_only(files: Path) -> None:
    """Only GET and HEAD."""
    assert static_response(files, "POST", "/") is None
    assert static_response(files, "HEAD", "/") is not None


# ---------------------------------------------------------------- over HTTP, with the real handlers


@dataclass(frozen=True)
class Answer:
    """A response with its headers in order."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        """All values of one header."""
        return [value for key, value in self.headers if key.lower() == name]


def ask(
    port: int, method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """One request, sent as it stands."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, target, body=body, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())


def test_unknown_routes_get_api_gateways_own_answer(local_broker: LocalBroker) -> None:
    """Not an OAuth answer, and not the playground."""
    for method, target in [("GET", "/nothing"), ("GET", "/token/"), ("POST", "/"), ("GET", "/callback/")]:
        answer = ask(local_broker.port, method, target)
        assert (answer.status, answer.body) == (404, b'{"message": "Not Found"}')
        assert answer.values("content-type") == ["application/json"]


def test_every_answer_has_a_request_id(local_broker: LocalBroker) -> None:
    """As with the real service, for support."""
    ids = [ask(local_broker.port, "GET", "/nothing").values("apigw-requestid") for _ in range(2)]
    assert all(len(found) == 1 and found[0] for found in ids)
    assert ids[0] != ids[1]


def test_too_long_a_request_never_reaches_a_handler(local_broker: LocalBroker) -> None:
    """10,240 bytes of request line and headers, 10 MB of body."""
    assert ask(local_broker.port, "GET", "/authorize?state=" + "x" * MAX_HEAD).status == 431
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert ask(local_broker.port, "POST", "/token", form, b"a=" + b"x" * MAX_BODY).status == 413


def test_the_log_names_requests_without_their_queries(local_broker: LocalBroker) -> None:
    """Queries carry codes and states."""
    ask(local_broker.port, "GET", "/authorize?state=planted-in-the-query&client_id=planted-client")
    assert "GET '/authorize' 400" in local_broker.log_text()
    assert "planted-in-the-query" not in local_broker.log_text()


def test_only_one_local_broker_per_process(local_broker: LocalBroker) -> None:
    """A second one would take the first one's environment and data away."""
    with pytest.raises(RuntimeError, match="already"):
        LocalBroker().start()
    assert ask(local_broker.port, "GET", "/.well-known/jwks.json").status == 200


# ---------------------------------------------------------------- as a program

ECHO = """
import json

def handler(event, context):
    if event["rawPath"] == "/callback/crash":
        raise RuntimeError("the reason, for the log only")
    if event["rawPath"] == "/callback/nonsense":
        return {"statusCode": 200, "body": 5}
    body = {"event": event, "function": context.function_name, "remaining": context.get_remaining_time_in_millis()}
    return {"statusCode": 200, "cookies": ["a=1", "b=2"], "body": json.dumps(body)}
"""

SERVE = """
import sys
from pathlib import Path
from broker_local.server import LocalBroker

with LocalBroker(project=Path(sys.argv[1]), seed=False, log=sys.stderr) as broker:
    print(broker.port, flush=True)
    sys.stdin.read()
"""

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(str(PROJECT / part) for part in ("layers/broker", "tools"))}


@pytest.fixture(scope="module")
def echo_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A local server of the real template whose handlers tell what they were given."""
    project = tmp_path_factory.mktemp("project")
    (project / "template.yaml").write_text((PROJECT / "template.yaml").read_text("utf-8"), "utf-8")
    for folder in (path.name for path in (PROJECT / "functions").iterdir() if path.is_dir()):
        (project / "functions" / folder).mkdir(parents=True)
        (project / "functions" / folder / "app.py").write_text(ECHO, "utf-8")
    command = [sys.executable, "-c", SERVE, str(project)]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()
    assert process.returncode == 0


def test_each_route_reaches_its_own_function(echo_port: int) -> None:
    """All the modules are called app, and yet they are ten."""
    expected = {
        "/authorize": ("AuthorizeFunction", 10_000),
        "/consent": ("ConsentFunction", 25_000),
        "/par": ("ParFunction", 10_000),
        "/token": ("TokenFunction", 25_000),
        "/refresh": ("RefreshFunction", 25_000),
        "/userinfo": ("UserinfoFunction", 25_000),
        "/revoke": ("RevokeFunction", 25_000),
        "/callback/redbooth": ("CallbackFunction", 25_000),
        "/.well-known/jwks.json": ("MetadataFunction", 10_000),
        "/sandbox/openid/token": ("SandboxFunction", 25_000),
    }
    for path, (function, timeout) in expected.items():
        told = json.loads(ask(echo_port, "PATCH", path).body)
        assert told["function"] == function
        assert 0 < told["remaining"] <= timeout


def test_a_request_as_the_handler_sees_it(echo_port: int) -> None:
    """Through the socket: method, headers, cookies, query and form."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": "c=1; d=2", "X-Odd": "Value"}
    answer = ask(echo_port, "POST", "/token?x=%20&x=2", headers, b"grant_type=x")
    event = json.loads(answer.body)["event"]
    assert event["requestContext"]["http"]["method"] == "POST"
    assert event["rawQueryString"] == "x=%20&x=2"
    assert event["cookies"] == ["c=1", "d=2"]
    assert event["headers"]["x-odd"] == "Value"
    assert base64.b64decode(event["body"]) == b"grant_type=x"
    assert answer.values("set-cookie") == ["a=1", "b=2"]


def test_head_has_the_headers_of_get_and_no_body(echo_port: int) -> None:
    """RFC 9110 section 9.3.2: a body that a handler gives is dropped, its length told."""
    answer = ask(echo_port, "HEAD", "/token")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.values("content-length")[0]) > 0


def test_a_chunked_body_is_complete(echo_port: int) -> None:
    """A client need not know the length beforehand."""
    with closing(http.client.HTTPConnection("127.0.0.1", echo_port, timeout=30)) as connection:
        connection.request("POST", "/token", body=iter([b"a=1", b"&b=2"]), encode_chunked=True, headers=CHUNKED)
        event = json.loads(connection.getresponse().read())["event"]
    assert base64.b64decode(event["body"]) == b"a=1&b=2"
    assert event["headers"]["content-length"] == "7"


CHUNKED = {"Transfer-Encoding": "chunked", "Content-Type": "application/x-www-form-urlencoded"}


def test_a_crash_says_nothing(echo_port: int) -> None:
    """A handler's exception or nonsense is API Gateway's 500 without any detail."""
    for path in ("/callback/crash", "/callback/nonsense"):
        answer = ask(echo_port, "GET", path)
        assert (answer.status, answer.body) == (500, b'{"message": "Internal Server Error"}')


@contextmanager
def make_run(port: int) -> Iterator[subprocess.Popen[str]]:
    """The program behind `make run`."""
    command = [sys.executable, "-m", "broker_local"]
    environment = ENVIRONMENT | {"PORT": str(port)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_make_run_serves_and_ends_cleanly(number: signal.Signals) -> None:
    """One line on standard output when it serves; Ctrl-C and SIGTERM end it without a traceback."""
    port = free_port(2)
    with make_run(port) as process:
        assert process.stdout is not None and process.stderr is not None
        ready = process.stdout.readline()
        assert ready == f"ready: http://localhost:{port}\n", process.stderr.read()
        metadata = json.loads(ask(port, "GET", "/.well-known/oauth-authorization-server").body)
        assert metadata["issuer"] == f"http://localhost:{port}"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert f"http://127.0.0.1:{port + 1}" in err


@pytest.mark.parametrize("offset", [0, 1])
def test_a_taken_port_gets_one_sentence(offset: int) -> None:
    """Whether the broker's own or moto's, and whichever of the two loopback addresses is taken."""
    port = free_port(2)
    with closing(socket.create_server(("127.0.0.1", port + offset))), make_run(port) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert err.splitlines() == [
        f"broker: port {port + offset} is taken by another program; end it, or choose another with PORT=,"
        f" for example: make run PORT={port + 10}"
    ]


@pytest.mark.parametrize("port", ["0", "65535", "http", "-1", "3000 "])
def test_a_wrong_port_gets_a_sentence(port: str) -> None:
    """65535 has no successor for moto."""
    command = [sys.executable, "-m", "broker_local", f"--port={port}"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert "a port is a number from 1 to 65534" in done.stderr
