"""The bounded HTTP client against real sockets: nothing a server does takes longer, or more bytes, than it may."""

import datetime
import socket
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broker.upstream.addresses import may_be_called, parse_address
from broker.upstream.http import (
    BoundedHttp,
    Deadline,
    TransportError,
    TransportKind,
    UpstreamRequest,
    UpstreamResponse,
)
from broker_testing.ports import free_port

from .scripted import Script, ScriptedServer, dribbles, floods, keeps_silent, says, serving, whole

OK = whole("200 OK", b'{"ok":true}', "Content-Type: application/json")
SECRET = "planted-secret"


def client(**options: object) -> BoundedHttp:
    return BoundedHttp(allow_loopback=True, clock=lambda: 1234.5, **options)  # type: ignore[arg-type]


def get(server: ScriptedServer, http: BoundedHttp | None = None, *, seconds: float = 5.0) -> UpstreamResponse:
    request = UpstreamRequest("GET", server.url("/me?x=1"))
    return (http or client()).send(request, Deadline.after(seconds))


def problem_of(script: Script, *, seconds: float = 5.0, max_body: int = 1000) -> TransportError:
    with serving(script) as server, pytest.raises(TransportError) as caught:
        get(server, client(max_body=max_body), seconds=seconds)
    return caught.value


def test_a_request_and_its_answer_byte_by_byte() -> None:
    headers = (("Authorization", "Bearer x"), ("Content-Type", "application/x-www-form-urlencoded"))
    with serving(says(whole("201 Made", b"hello", "X-Two: a", "x-two: b"))) as server:
        response = client().send(
            UpstreamRequest("POST", server.url("/token?a=b%20c"), headers, b"code=1"), Deadline.after(5)
        )
    assert response.status == 201
    assert response.body == b"hello"
    assert response.headers == (("content-length", "5"), ("x-two", "a"), ("x-two", "b"))
    assert response.header("x-two") == "a"
    assert response.header("absent") is None
    assert response.received_at == 1234.5
    assert server.requests == [
        b"POST /token?a=b%20c HTTP/1.1\r\n"
        b"Host: 127.0.0.1:" + str(server.port).encode() + b"\r\n"
        b"Accept: application/json\r\n"
        b"User-Agent: token-broker\r\n"
        b"Authorization: Bearer x\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Connection: close\r\n"
        b"Content-Length: 6\r\n\r\n"
        b"code=1"
    ]


def test_answers_that_announce_another_are_skipped() -> None:
    """RFC 9110 section 15.2: any number of them, with fields of their own."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    with serving(says(early + OK)) as server:
        response = get(server)
    assert (response.status, response.body) == (200, b'{"ok":true}')
    assert response.header("link") is None
    assert problem_of(floods(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n")).kind in (
        TransportKind.TOO_LARGE,
        TransportKind.MALFORMED,
    )


def test_a_post_without_a_body_says_so() -> None:
    with serving(says(OK)) as server:
        client().send(UpstreamRequest("POST", server.url()), Deadline.after(5))
    assert b"Content-Length: 0\r\n" in server.requests[0]


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with serving(says(whole("302 Found", b"", "Location: /elsewhere"))) as server:
        response = get(server)
    assert (response.status, response.header("location")) == (302, "/elsewhere")
    assert len(server.requests) == 1


def test_chunked_and_close_delimited_bodies_are_read() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nT: 1\r\n\r\n"
    )
    with serving(says(chunked)) as server:
        assert get(server).body == b"hello world"
    with serving(says(b"HTTP/1.0 200 OK\r\n\r\nold style")) as server:
        assert get(server).body == b"old style"


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(says(OK)) as server:
        assert get(server).status == 200


# Each of these servers goes on for ever, so that the test ends at all is the proof.
SLOW = {
    "silence": keeps_silent,
    "status line": dribbles(b"HTTP/1.1 2", b"0"),
    "header": dribbles(b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
    "headers": dribbles(b"HTTP/1.1 200 OK\r\n", b"A: a\r\n"),
    "continue": dribbles(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": dribbles(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"a"),
    "body without a length": dribbles(b"HTTP/1.1 200 OK\r\n\r\n", b"a"),
    "chunks": dribbles(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "chunk size": dribbles(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers": dribbles(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A: a\r\n"),
}


@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW.keys())
def test_a_server_that_dribbles_is_left_at_the_deadline(script: Script) -> None:
    problem = problem_of(script, seconds=0.3)
    assert problem.kind is TransportKind.TIMEOUT
    assert problem.sent


ENDLESS = {
    "header": floods(b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 4096),
    "headers": floods(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 4000 + b"\r\n"),
    "continues": floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "body": floods(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 4096),
    "chunks": floods(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 1000),
    "trailers": floods(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A: a\r\n" * 1000),
}


@pytest.mark.parametrize("script", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_server_that_never_ends_is_left_at_the_limit(script: Script) -> None:
    problem = problem_of(script)
    assert problem.kind in {TransportKind.TOO_LARGE, TransportKind.MALFORMED}
    assert problem.sent


def test_the_size_limit_to_the_byte() -> None:
    with serving(says(whole("200 OK", b"a" * 1000))) as server:
        assert len(get(server, client(max_body=1000)).body) == 1000
    assert problem_of(says(whole("200 OK", b"a" * 1001))).kind is TransportKind.TOO_LARGE
    assert problem_of(says(b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 1001)).kind is TransportKind.TOO_LARGE


BROKEN = {
    "nothing": (b"", TransportKind.TRUNCATED, None),
    "half a status line": (b"HTTP/1.1 2", TransportKind.MALFORMED, None),
    "no HTTP": (b"SSH-2.0-OpenSSH_9\r\n\r\n", TransportKind.MALFORMED, None),
    "short body": (whole("200 OK", b"hello")[:-2], TransportKind.TRUNCATED, 200),
    "short 503": (whole("503 No", b"hello")[:-2], TransportKind.TRUNCATED, 503),
    "short chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        TransportKind.TRUNCATED,
        200,
    ),
    "odd chunk size": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello",
        TransportKind.TRUNCATED,
        200,
    ),
    "101 headers": (b"HTTP/1.1 200 OK\r\n" + b"A: a\r\n" * 101 + b"\r\n", TransportKind.MALFORMED, None),
}


@pytest.mark.parametrize(("data", "kind", "status"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_answers(data: bytes, kind: TransportKind, status: int | None) -> None:
    problem = problem_of(says(data))
    assert (problem.kind, problem.status, problem.sent) == (kind, status, True)


def test_a_refused_connection_sent_nothing() -> None:
    with pytest.raises(TransportError) as caught:
        client().send(UpstreamRequest("GET", f"http://127.0.0.1:{free_port()}/"), Deadline.after(5))
    assert (caught.value.kind, caught.value.sent) == (TransportKind.UNREACHABLE, False)


def test_an_expired_deadline_sends_nothing() -> None:
    with serving(says(OK)) as server, pytest.raises(TransportError) as caught:
        get(server, seconds=0)
    assert (caught.value.kind, caught.value.sent) == (TransportKind.UNREACHABLE, False)
    assert server.requests == []


def resolving(*addresses: str) -> BoundedHttp:
    def resolver(host: str, port: int) -> Sequence[str]:
        assert host in {"localhost", "provider.example"}
        return addresses

    return client(resolver=resolver)


def loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def test_the_checked_address_is_the_one_called() -> None:
    with serving(says(OK)) as server:
        url = server.url("/", host="localhost")
        assert resolving("127.0.0.1").send(UpstreamRequest("GET", url), Deadline.after(5)).status == 200
    assert f"Host: localhost:{server.port}\r\n".encode() in server.requests[0]


def test_the_next_address_is_tried() -> None:
    with serving(says(OK)) as server:
        url = server.url("/", host="localhost")
        assert resolving("127.0.0.2", "127.0.0.1").send(UpstreamRequest("GET", url), Deadline.after(5)).status == 200


@pytest.mark.parametrize("found", [("10.0.0.1",), ("169.254.169.254", "::1%lo"), ("nonsense",), ("8.8.8.8",)])
def test_a_name_that_leads_to_a_refused_address(found: tuple[str, ...]) -> None:
    # 8.8.8.8 is public, but plain http is for loopback only.
    with pytest.raises(TransportError) as caught:
        resolving(*found).send(UpstreamRequest("GET", "http://localhost:1/"), _soon())
    assert (caught.value.kind, caught.value.sent) == (TransportKind.ADDRESS_REFUSED, False)


def _soon() -> Deadline:
    return Deadline.after(5)


def test_loopback_is_refused_outside_local_mode() -> None:
    with serving(says(OK)) as server, pytest.raises(TransportError) as caught:
        BoundedHttp(allow_loopback=False).send(UpstreamRequest("GET", server.url()), _soon())
    assert caught.value.kind is TransportKind.ADDRESS_REFUSED
    assert server.requests == []


def test_a_lookup_that_hangs_is_left() -> None:
    over = threading.Event()

    def resolver(host: str, port: int) -> Sequence[str]:
        over.wait()
        return ["127.0.0.1"]

    request = UpstreamRequest("GET", "https://provider.example/")
    with pytest.raises(TransportError) as caught:
        client(resolver=resolver).send(request, Deadline.after(0.2))
    over.set()
    assert (caught.value.kind, caught.value.sent) == (TransportKind.UNREACHABLE, False)


@pytest.mark.parametrize("problem", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")])
def test_a_lookup_that_fails(problem: Exception) -> None:
    def resolver(host: str, port: int) -> Sequence[str]:
        raise problem

    with pytest.raises(TransportError) as caught:
        client(resolver=resolver).send(UpstreamRequest("GET", "https://provider.example/"), _soon())
    assert caught.value.kind is TransportKind.UNREACHABLE


PUBLIC = ["8.8.8.8", "140.82.121.3", "2606:4700::1111", "2a00:1450:4001:81b::200e"]
REFUSED = [
    "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8",
    "192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255",
    "::", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1", "100::1",
    "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::8.8.8.8",
    "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:808:808::1", "2001:0:1::1",
    "3fff::1",
]  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_may_be_called(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert may_be_called(address, scheme="https", allow_loopback=False)
    assert not may_be_called(address, scheme="http", allow_loopback=True)


@pytest.mark.parametrize("text", REFUSED)
def test_other_addresses_may_never_be_called(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    for scheme in ("http", "https"):
        assert not may_be_called(address, scheme=scheme, allow_loopback=True)


@pytest.mark.parametrize("text", ["127.0.0.1", "127.255.0.1", "::1"])
def test_loopback_may_be_called_in_local_mode_only(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert may_be_called(address, scheme="http", allow_loopback=True)
    assert not may_be_called(address, scheme="https", allow_loopback=False)


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        ("GET /", "https://a.example/", ()),
        ("get", "https://a.example/", ()),
        ("GET", f"https://a.example/\r\nX: {SECRET}", ()),
        ("GET", f"https://a.example/ {SECRET}", ()),
        ("GET", f"https://{SECRET}@a.example/", ()),
        ("GET", f"ftp://a.example/{SECRET}", ()),
        ("GET", "https://a.example/", (("X", f"{SECRET}\r\nY: 1"),)),
        ("GET", "https://a.example/", (("X", f"{SECRET}\x00"),)),
        ("GET", "https://a.example/", (("X: Y", SECRET),)),
        ("GET", "https://a.example/", (("X", f"{SECRET}é"),)),
    ],
)
def test_a_request_that_could_split_is_never_made(method: str, url: str, headers: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        UpstreamRequest(method, url, headers)
    assert SECRET not in str(caught.value)


def test_nothing_secret_shows() -> None:
    request = UpstreamRequest("GET", f"https://a.example/?k={SECRET}", (("A", SECRET),), SECRET.encode())
    response = UpstreamResponse(200, (("set-cookie", SECRET),), SECRET.encode(), 0)
    assert SECRET not in repr(request) + repr(response)


class Authority:
    """A certificate authority of our own and one server certificate, for the name provider.example."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider.example")])
        start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=36500))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("provider.example")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        chain = folder / "server.pem"
        chain.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + self.pem.encode()
        )
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(chain)

    def wrap(self, plain: socket.socket) -> socket.socket:
        return self.server.wrap_socket(plain, server_side=True)

    def client(self) -> BoundedHttp:
        return client(resolver=loopback, tls_context=ssl.create_default_context(cadata=self.pem))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def secure(server: ScriptedServer, host: str = "provider.example") -> UpstreamRequest:
    return UpstreamRequest("POST", server.url("/token", scheme="https", host=host), (), b"a=b")


def test_tls_with_a_trusted_certificate(authority: Authority) -> None:
    with serving(says(OK), authority.wrap) as server:
        response = authority.client().send(secure(server), _soon())
    assert (response.status, response.body) == (200, b'{"ok":true}')
    assert server.requests[0].endswith(b"\r\n\r\na=b")


def test_tls_with_a_certificate_for_another_name(authority: Authority) -> None:
    with serving(says(OK), authority.wrap) as server, pytest.raises(TransportError) as caught:
        authority.client().send(secure(server, "other.example"), _soon())
    assert (caught.value.kind, caught.value.sent) == (TransportKind.UNTRUSTED, False)
    assert server.requests == []


def test_tls_with_an_unknown_authority(authority: Authority) -> None:
    http = client(resolver=loopback)
    with serving(says(OK), authority.wrap) as server, pytest.raises(TransportError) as caught:
        http.send(secure(server), _soon())
    assert caught.value.kind is TransportKind.UNTRUSTED


@pytest.mark.parametrize(
    "script",
    [
        dribbles(b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
        dribbles(b"HTTP/1.1 200 OK\r\n\r\n", b"a"),
        keeps_silent,
    ],
)
def test_tls_dribble_is_left_at_the_deadline(authority: Authority, script: Script) -> None:
    with serving(script, authority.wrap) as server, pytest.raises(TransportError) as caught:
        authority.client().send(secure(server), Deadline.after(0.4))
    assert caught.value.kind is TransportKind.TIMEOUT


def test_tls_size_limit(authority: Authority) -> None:
    endless = floods(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 65536)
    with serving(endless, authority.wrap) as server, pytest.raises(TransportError) as caught:
        authority.client().send(secure(server), _soon())
    assert caught.value.kind is TransportKind.TOO_LARGE


def test_a_handshake_that_hangs_sent_nothing(authority: Authority) -> None:
    over = threading.Event()

    def hang(plain: socket.socket) -> socket.socket:
        over.wait()
        return plain

    with serving(says(OK), hang) as server, pytest.raises(TransportError) as caught:
        authority.client().send(secure(server), Deadline.after(0.3))
    over.set()
    assert (caught.value.kind, caught.value.sent) == (TransportKind.UNREACHABLE, False)


def test_no_tls_behind_https_is_unreachable() -> None:
    """The server answers in clear text as soon as there is a connection: it has no use for a ClientHello."""

    def in_clear_text(connection: socket.socket) -> socket.socket:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return connection

    http = client(resolver=loopback)
    with serving(keeps_silent, in_clear_text) as server, pytest.raises(TransportError) as caught:
        http.send(UpstreamRequest("GET", server.url(scheme="https", host="provider.example")), Deadline.after(30))
    assert (caught.value.kind, caught.value.sent) == (TransportKind.UNREACHABLE, False)


def test_an_ipv6_literal_keeps_its_brackets() -> None:
    with pytest.raises(TransportError) as caught:
        BoundedHttp(allow_loopback=False).send(UpstreamRequest("GET", "https://[::1]:444/"), _soon())
    assert caught.value.kind is TransportKind.ADDRESS_REFUSED
