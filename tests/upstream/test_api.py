"""A call of a provider's API: what goes out, what comes back, what is sent twice, and what never goes back."""

import gzip
import hashlib
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

import pytest

from broker.upstream import api
from broker.upstream.api import MAX_BODY, ApiAnswer, ApiCall, call_api
from broker.upstream.api_rules import BadCall
from broker.upstream.failures import FailureKind, UpstreamFailure
from broker.upstream.http import BoundedHttp, Deadline, Sender, TransportError, TransportKind
from broker.upstream.provider import Provider
from broker.upstream.quoting import is_cut_out_of, quotes
from broker.upstream.reader import ProviderFileError
from broker.upstream.tokens import UpstreamTokens

from .scripted import (
    CREDENTIALS,
    TOKENS,
    ScriptedHttp,
    answer,
    dribbles,
    http_of,
    plain,
    says,
    serving,
    whole,
)

HERE = "https://broker.example/proxy/plain/"
TOKEN = "upstream-access-token-0123456789"
HELD = replace(TOKENS, access_token=TOKEN, refresh_token="upstream-refresh-token-0123456789")
BASE = "https://api.example/v1"


def called(
    http: Sender,
    call: ApiCall | None = None,
    provider: Provider | None = None,
    seconds: float = 30,
    held: UpstreamTokens = HELD,
) -> ApiAnswer:
    """The answer to GET tasks, or to another call."""
    return call_api(
        provider or plain(api__base=BASE),
        CREDENTIALS,
        http,
        held,
        call or ApiCall("GET", ("tasks",)),
        here=HERE,
        deadline=Deadline.after(seconds),
    )


def failure_of(http: Sender, call: ApiCall | None = None, provider: Provider | None = None) -> UpstreamFailure:
    with pytest.raises(UpstreamFailure) as caught:
        called(http, call, provider)
    return caught.value


# -- what goes out ---------------------------------------------------------------------------------------------------


def test_the_request_byte_by_byte() -> None:
    headers = {
        "content-type": "application/json",
        "if-match": '"1"',
        "authorization": "Bearer the-brokers-own",
        "dpop": "proof",
        "cookie": "__Host-tb-refresh=1",
        "host": "evil.example",
        "x-forwarded-for": "203.0.113.7",
        "forwarded": "for=203.0.113.7",
        "via": "1.1 evil",
        "origin": "https://app.example",
        "referer": "https://app.example/",
        "x-http-method-override": "DELETE",
        "x-original-url": "/admin",
        "connection": "close, if-match",
        "te": "trailers",
        "upgrade": "h2c",
        "expect": "100-continue",
        "user-agent": "a browser",
    }
    with serving(says(whole("201 Made", b"{}"))) as server:
        provider = plain_at(server.url("/v1"))
        call = ApiCall("POST", ("tasks", "ü"), "a=b&a=%20", headers, b'{"name": "x"}')
        assert called(BoundedHttp(allow_loopback=True), call, provider).status == 201
    assert server.requests == [
        b"POST /v1/tasks/%C3%BC?a=b&a=%20 HTTP/1.1\r\n"
        b"Host: 127.0.0.1:" + str(server.port).encode() + b"\r\n"
        b"User-Agent: token-broker\r\n"
        b"content-type: application/json\r\n"
        b'if-match: "1"\r\n'
        b"accept: */*\r\n"
        b"authorization: Bearer " + TOKEN.encode() + b"\r\n"
        b"via: 1.1 token-broker\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Connection: close\r\n"
        b"Content-Length: 13\r\n"
        b"\r\n"
        b'{"name": "x"}'
    ]


def plain_at(base: str, **overrides: object) -> Provider:
    """A provider whose API is at a loopback address."""
    provider = plain(**overrides)
    return replace(provider, local=True, api=replace(provider.api, base=base))


def test_headers_of_the_file_win_over_the_clients() -> None:
    provider = plain(
        api__base=BASE,
        api__headers={"Accept": "application/vnd.plain", "Client": "{client_id}"},
        api__forward=["X-Version"],
    )
    http = http_of(answer(200))
    called(
        http, ApiCall("GET", ("tasks",), headers={"accept": "text/html", "x-version": "2", "x-other": "3"}), provider
    )
    sent = dict(http.only.headers)
    assert (sent["accept"], sent["client"], sent["x-version"]) == ("application/vnd.plain", "the-client", "2")
    assert "x-other" not in sent


@pytest.mark.parametrize(
    ("token", "url", "headers"),
    [
        ("header:X-Token:{access_token}", f"{BASE}/tasks?a=b", {"x-token": TOKEN}),
        ("query:access_token", f"{BASE}/tasks?a=b&access_token={TOKEN}", {}),
        ("query:key", f"{BASE}/tasks?a=b&key={TOKEN}", {}),
    ],
)
def test_where_the_token_goes(token: str, url: str, headers: dict[str, str]) -> None:
    """A parameter of its name that the client sent does not: it may be the broker's own token."""
    http = http_of(answer(200))
    query = "access_token=x&a=b&Access%5fToken=y" + ("&key=z" if "key" in token else "")
    called(http, ApiCall("GET", ("tasks",), query), plain(api__base=BASE, api__token=token))
    assert http.only.url == url
    sent = dict(http.only.headers)
    assert headers.items() <= sent.items()
    assert "authorization" not in sent


@pytest.mark.parametrize("value", ["a\r\nb: c", "é", "a\0"])
def test_a_header_that_cannot_be_sent_is_refused_before_the_call(value: str) -> None:
    http = http_of()
    with pytest.raises(BadCall):
        called(http, ApiCall("PUT", ("tasks",), headers={"if-match": value}))
    assert http.requests == []


def test_without_an_address_nothing_is_called() -> None:
    http = http_of()
    assert failure_of(http, provider=plain()).sent is False
    assert http.requests == []


# -- what comes back -------------------------------------------------------------------------------------------------


def test_what_goes_back_and_what_does_not() -> None:
    """Hop by hop headers (RFC 9110 section 7.6.1), those that Connection names, and those that act on an origin stay here."""
    lines = (
        *("Content-Type: image/png", 'ETag: "1"', "X-Total-Count: 3", "X-Secret-Hop: 1", "X-Part: a", "x-part: b"),
        *("Connection: close, X-Secret-Hop", "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "Upgrade: h2c"),
        *("Trailer: x", "TE: trailers", "Set-Cookie: a=b", "Set-Cookie2: a=b", "X-Set-Cookie: a=b"),
        *("Access-Control-Allow-Origin: *", "Strict-Transport-Security: max-age=1", "Content-Security-Policy: x"),
        *("X-Frame-Options: ALLOWALL", "Clear-Site-Data: *", "Refresh: 0", "WWW-Authenticate: Basic", "Server: x"),
        *(
            "X-Request-Id: 1",
            "X-Powered-By: PHP",
            "DPoP-Nonce: n",
            "Cache-Control: public",
            "Via: 1.1 x",
            "Alt-Svc: h3",
        ),
        *("X-Control: \x01", "Service-Worker-Allowed: /", "Proxy-Status: x", "Access-Control-Expose-Headers: *"),
    )
    body = bytes(range(256))
    with serving(says(whole("200 OK", body, *lines))) as server:
        found = called(BoundedHttp(allow_loopback=True), provider=plain_at(server.url("/v1")))
    assert found.body == body
    assert dict(found.headers) == {
        "content-type": "image/png",
        "etag": '"1"',
        "x-total-count": "3",
        "x-part": "a, b",
    }


@pytest.mark.parametrize("status", [200, 202, 204, 304, 400, 403, 404, 409, 410, 418, 429, 500, 503])
def test_every_answer_of_the_provider_goes_back(status: int) -> None:
    """Rows 6, 7, 12, 13, 29 and 32 at the proxy, whatever the body is."""
    http = http_of(answer(status, "<h1>hello</h1>" if status not in (204, 304) else None, {"retry-after": "7"}))
    found = called(http)
    assert (found.status, found.headers["retry-after"]) == (status, "7")


@pytest.mark.parametrize("status", [101, 103, 407, 600, 999])
def test_an_answer_that_is_for_this_hop_alone_or_is_no_status_does_not(status: int) -> None:
    """RFC 9110 section 15: what is above 599 is no status, and goes into no answer of ours."""
    assert failure_of(http_of(answer(status))).row == 7


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (f"{BASE}/tasks/2", f"{HERE}tasks/2"),
        ("/v1/tasks/2?page=2", f"{HERE}tasks/2?page=2"),
        ("other", f"{HERE}other"),
        (f"{BASE}/tasks?access_token=x&page=2", f"{HERE}tasks?page=2"),
        ("https://evil.example/v1/tasks", None),
        ("https://api.example/v2/tasks", None),
        ("http://api.example/v1/tasks", None),
        ("https://api.example.evil.example/v1/tasks", None),
        ("/v1/../admin", None),
        (f"{BASE}/tasks?token={TOKEN}", None),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_leads_through_the_proxy_or_nowhere(status: int, location: str, expected: str | None) -> None:
    """Row 14: never followed here, never passed on to another host."""
    http = http_of(answer(status, headers={"location": location}))
    if expected is None:
        failure = failure_of(http)
        assert (failure.kind, failure.row) == (FailureKind.REDIRECT, 14)
    else:
        assert called(http).headers["location"] == expected
    assert len(http.requests) == 1


def test_a_location_that_is_no_redirect_is_left_out_where_it_leads_elsewhere() -> None:
    assert "location" not in called(http_of(answer(201, headers={"location": "https://evil.example/"}))).headers
    assert called(http_of(answer(201, headers={"location": "tasks/2"}))).headers["location"] == f"{HERE}tasks/2"


def test_links_into_the_api_lead_through_the_proxy() -> None:
    """A client that followed them with its own token would show the broker's token to the provider."""
    links = f'<{BASE}/tasks?page=2>; rel="next", </v1/tasks>; rel="first", <https://docs.example/>; rel="help"'
    found = called(http_of(answer(200, headers={"link": links})))
    assert found.headers["link"] == (
        f'<{HERE}tasks?page=2>; rel="next", <{HERE}tasks>; rel="first", <https://docs.example/>; rel="help"'
    )


@pytest.mark.parametrize("token", ["query:key", "header:X-Token:{access_token}"])
def test_a_relative_link_out_of_the_api_leads_to_the_provider(token: str) -> None:
    """It is relative to the URL that was called there (RFC 8288 section 3.2); here it would lead into the broker's own paths."""
    links = (
        '</v2/tasks?page=2>; rel="next", <../admin?x>; rel="up", <//cdn.example/a>; rel="icon", <http://[>; rel="bad"'
    )
    found = called(
        http_of(answer(200, headers={"link": links})),
        ApiCall("GET", ("tasks",), "a=b"),
        plain(api__base=BASE, api__token=token),
    )
    assert found.headers["link"] == (
        '<https://api.example/v2/tasks?page=2>; rel="next", <https://api.example/admin?x>; rel="up",'
        ' <https://cdn.example/a>; rel="icon", <http://[>; rel="bad"'
    )


@pytest.mark.parametrize("secret", [TOKEN, HELD.refresh_token])
def test_an_answer_that_quotes_a_token_does_not_go_back(secret: str) -> None:
    assert failure_of(http_of(answer(200, {"token": secret}))).kind is FailureKind.UNUSABLE
    assert "x-token" not in called(http_of(answer(200, headers={"x-token": secret}))).headers
    assert called(http_of(answer(200, hashlib.sha256(secret.encode()).hexdigest()))).status == 200


ODD = "1//0gab+def\\ghijkl/mn=="
WRITTEN = {
    "as it is": ODD,
    "in a URL": quote(ODD, safe=""),
    "in a URL, in small letters": quote(ODD, safe="").lower(),
    "in a URL, in part": ODD.replace("+", "%2b"),
    "in a URL, every character": "".join(f"%{ord(character):02x}" for character in ODD),
    "in a URL in a URL": quote(quote(ODD, safe=""), safe=""),
    "in JSON": json.dumps(ODD)[1:-1],
    "in JSON, as PHP does": json.dumps(ODD)[1:-1].replace("/", "\\/"),
    "in JSON, by numbers": "".join(f"\\u{ord(character):04x}" for character in ODD),
    "in JSON, by large numbers": json.dumps(ODD)[1:-1].replace("/", "\\u002F").replace("=", "\\u003D"),
    "in a URL in JSON": json.dumps(quote(ODD, safe="/"))[1:-1].replace("/", "\\u002f"),
    "in JSON in a URL": quote(json.dumps(ODD)[1:-1].replace("/", "\\/"), safe=""),
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_token_is_found_in_whatever_way_it_is_written(text: str) -> None:
    """RFC 8259 section 7, RFC 3986 section 2.1. JSON may write a slash with a backslash before it, and PHP's does."""
    held = replace(HELD, access_token=ODD)
    with pytest.raises(UpstreamFailure) as caught:
        called(http_of(answer(200, f'{{"token": "{text}"}}')), held=held)
    assert caught.value.kind is FailureKind.UNUSABLE
    assert "x-token" not in called(http_of(answer(200, headers={"x-token": text})), held=held).headers


def parts(body: bytes, size: int) -> Iterator[bytes]:
    """What of a body comes back in parts of so many bytes (RFC 9110 section 15.3.7)."""
    for start in range(0, len(body), size):
        part = body[start : start + size]
        part_headers = {"content-range": f"bytes {start}-{start + len(part) - 1}/{len(body)}"}
        try:
            yield called(http_of(answer(206, part, part_headers)), held=replace(HELD, access_token=ODD)).body
        except UpstreamFailure as failure:
            assert failure.kind is FailureKind.UNUSABLE
            yield b""


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 21, 34, 55])
@pytest.mark.parametrize("text", ["as it is", "in a URL", "in JSON, as PHP does", "in JSON, by large numbers"])
def test_parts_do_not_make_up_a_token(text: str, size: int) -> None:
    """However they are cut: at most three characters of either end come back, which nobody could tell from other text."""
    written = WRITTEN[text]
    for before in range(size):
        body = f'{{"{"." * before}": "{written}"}}'.encode()
        back = b"".join(parts(body, size))
        assert written[6:-9].encode() not in back
        assert len(back) < len(body)


def test_a_part_that_has_nothing_of_a_token_goes_back() -> None:
    for body in (b"harmless " * 100, b"P", b"%PDF", b"", b"a%2", b"1//"):
        found = called(http_of(answer(206, body, {"content-range": f"bytes 0-{len(body) - 1}/9000"})))
        assert found.body == body


def test_several_ranges_at_once_are_not_asked_for() -> None:
    """Each of the parts could hold a piece of a token; a range may be ignored (RFC 9110 section 14.2)."""
    for asked, sent in (("bytes=0-99", "bytes=0-99"), ("bytes=0-4,9-13", None)):
        http = http_of(answer(200, "ok"))
        called(http, ApiCall("GET", ("tasks",), headers={"range": asked}))
        assert dict(http.only.headers).get("range") == sent


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "deflate"])
def test_a_token_is_found_in_a_body_that_is_compressed_although_nobody_asked(coding: str) -> None:
    """Some APIs always do that."""
    compress = zlib.compress if coding == "deflate" else gzip.compress
    headers = {"content-encoding": coding}
    body = compress(b"harmless " * 1000)
    found = called(http_of(answer(200, body, headers)))
    assert (found.body, found.headers["content-encoding"]) == (body, coding)
    quoting = failure_of(http_of(answer(200, compress(b"harmless " * 1000 + TOKEN.encode()), headers)))
    assert quoting.kind is FailureKind.UNUSABLE
    assert called(http_of(answer(304, None, headers))).status == 304


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("br", b"anything"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x"))),
        ("gzip", b"not gzip at all"),
        ("gzip", gzip.compress(b"x" * 1000)[:-9]),
        ("gzip", gzip.compress(b"a") + gzip.compress(b"b")),
        ("gzip", gzip.compress(bytes(5 * MAX_BODY))),
    ],
    ids=["unknown", "twice", "not at all", "cut off", "more behind it", "a bomb"],
)
def test_a_body_that_cannot_be_searched_does_not_go_back(coding: str, body: bytes) -> None:
    failure = failure_of(http_of(answer(200, body, {"content-encoding": coding})))
    assert (failure.kind, failure.row) == (FailureKind.UNREADABLE, 7)


# -- when it fails ---------------------------------------------------------------------------------------------------


def trouble(kind: TransportKind, *, sent: bool = True) -> TransportError:
    return TransportError(kind, sent=sent)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_what_never_left_is_sent_again(method: str) -> None:
    """Row 4."""
    http = http_of(trouble(TransportKind.UNREACHABLE, sent=False), answer(200))
    assert called(http, ApiCall(method, ("tasks",))).status == 200
    twice = http_of(*[trouble(TransportKind.UNREACHABLE, sent=False)] * 2)
    assert failure_of(twice, ApiCall(method, ("tasks",))).row == 4


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_changes_nothing_is_sent_again_after_a_timeout(method: str) -> None:
    """Row 5. What the first one met matters more than that the second never left."""
    assert called(http_of(trouble(TransportKind.TIMEOUT), answer(200)), ApiCall(method, ("tasks",))).status == 200
    http = http_of(trouble(TransportKind.TIMEOUT), trouble(TransportKind.UNREACHABLE, sent=False))
    assert failure_of(http, ApiCall(method, ("tasks",))).row == 5


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("kind", [TransportKind.TIMEOUT, TransportKind.TRUNCATED, TransportKind.MALFORMED])
def test_what_may_have_changed_something_is_never_sent_again(method: str, kind: TransportKind) -> None:
    http = http_of(trouble(kind), answer(200))
    failure_of(http, ApiCall(method, ("tasks",)))
    assert len(http.requests) == 1


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (TransportKind.UNTRUSTED, 4),
        (TransportKind.ADDRESS_REFUSED, 4),
        (TransportKind.TRUNCATED, 7),
        (TransportKind.MALFORMED, 7),
        (TransportKind.TOO_LARGE, 23),
    ],
)
def test_what_would_fail_again_is_not_tried_again(kind: TransportKind, row: int) -> None:
    http: ScriptedHttp = http_of(trouble(kind))
    assert failure_of(http).row == row


def test_a_server_that_dribbles_is_cut_off() -> None:
    """Row 24, twice within the one deadline."""
    with serving(dribbles(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x")) as server:
        limit = Deadline.after(0.3)
        with pytest.raises(UpstreamFailure) as caught:
            call_api(
                plain_at(server.url("/v1")),
                CREDENTIALS,
                BoundedHttp(allow_loopback=True),
                HELD,
                ApiCall("GET", ("tasks",)),
                here=HERE,
                deadline=limit,
            )
    assert (caught.value.kind, caught.value.row) == (FailureKind.TIMEOUT, 24)
    assert len(server.requests) == 2


def test_the_largest_answer_fits_and_a_larger_one_does_not() -> None:
    http = BoundedHttp(allow_loopback=True, max_body=MAX_BODY)
    with serving(says(whole("200 OK", b"x" * MAX_BODY))) as server:
        assert len(called(http, provider=plain_at(server.url("/v1"))).body) == MAX_BODY
    with serving(says(whole("200 OK", b"x" * (MAX_BODY + 1)))) as server:
        assert failure_of(http, provider=plain_at(server.url("/v1"))).row == 23


def test_no_failure_shows_what_was_sent() -> None:
    provider = plain(api__base=BASE)
    for http in (http_of(*[trouble(TransportKind.TIMEOUT)] * 2), http_of(answer(200, {"token": TOKEN}))):
        failure = failure_of(http, ApiCall("GET", ("planted-path",), "planted=query"), provider)
        assert not any(text in f"{failure!r} {failure} {failure.detail}" for text in (TOKEN, "planted"))
    assert TOKEN not in repr(HELD)
    assert "planted" not in repr(ApiCall("GET", (), "planted", {"planted": ""}, b"planted"))


# -- what a file may say ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "rule"),
    [
        ({"api__allow": ["GET /tasks"]}, "api.allow: needs api.base, below which its paths are"),
        ({"api__base": f"{BASE}?x=1"}, "api.base: must not have a query"),
        (
            {"api__base": "http://api.example"},
            "api.base: must be https (plain http is for loopback in local mode only)",
        ),
        ({"api__base": BASE, "api__allow": ["tasks"]}, 'api.allow: "tasks" must be like "GET,POST /tasks/*"'),
        (
            {"api__base": BASE, "api__allow": ["FETCH /x"]},
            'api.allow: "FETCH /x" must name methods of GET, POST, PUT, PATCH, DELETE',
        ),
        ({"api__forward": ["Cookie"]}, 'api.forward: "cookie" is not a header that a client may choose'),
        ({"api__forward": ["X-HTTP-Method-Override"]}, "is not a header that a client may choose"),
        ({"api__forward": ["Accept-Encoding"]}, "is not a header that a client may choose"),
        ({"api__forward": ["a b"]}, "is not a header that a client may choose"),
    ],
)
def test_a_file_that_would_open_too_much_is_refused(overrides: dict[str, object], rule: str) -> None:
    with pytest.raises(ProviderFileError) as caught:
        plain(**overrides)
    assert rule in str(caught.value)


def test_nothing_is_forwarded_that_no_file_may_forward() -> None:
    for name in api.FORWARDED:
        assert plain(api__forward=[name]).api.forward == (name,)


TOKENS = UpstreamTokens(access_token="an-access/token+of=the.provider's", refresh_token=None)


@pytest.mark.parametrize("text", [b"%", b"%41", b'\\"', b"\\u0041", b"a"], ids=repr)
def test_a_search_takes_little_memory(text: bytes) -> None:
    """A function has 192 MB, and a body of a few KB may be one of 18 MB when it is opened."""
    body = text * (9_000_000 // len(text))
    tracemalloc.start()
    try:
        assert not quotes(body, TOKENS)
        assert not is_cut_out_of(body, TOKENS, at_start=False)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("start", [0, 65_530, 65_536, 200_000])
def test_a_token_is_found_wherever_a_body_is_cut_to_be_read(start: int) -> None:
    escaped = "".join(f"%{byte:02x}" for byte in TOKENS.access_token.encode()).encode()
    for shift in range(len(escaped) + 1):
        assert quotes(b" " * (start - shift) + escaped + b" " * 70_000, TOKENS)
