"""Reading a client id metadata document, over real sockets: what a hostile host can do is bounded."""

from __future__ import annotations

import pytest

from broker.upstream import client_documents
from broker.upstream.client_documents import MAX_BYTES, DocumentRefused, DocumentUnreachable, fetch
from broker.upstream.http import BoundedHttp

from .scripted import Script, dribbles, floods, keeps_silent, says, serving, whole

JSON = "Content-Type: application/json"
HTTP = BoundedHttp(allow_loopback=True, max_body=MAX_BYTES)


def test_a_document_and_the_request_for_it() -> None:
    answer = whole("200 OK", b'{"client_id":"x"}', JSON, "Cache-Control: public", "Cache-Control: max-age=600")
    with serving(says(answer)) as server:
        document = fetch(HTTP, server.url("/client.json"))
    assert (document.text, document.members, document.lifetime) == ('{"client_id":"x"}', {"client_id": "x"}, 600)
    assert server.requests[0].startswith(b"GET /client.json HTTP/1.1\r\n")
    assert b"Accept: application/json\r\n" in server.requests[0]
    for name in (b"Authorization", b"Cookie", b"Referer"):
        assert name not in server.requests[0]


SLOW = {
    "silence": keeps_silent,
    "headers": dribbles(b"HTTP/1.1 200 OK\r\n", b"A: a\r\n"),
    "body": dribbles(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n", b"a"),
}


@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW.keys())
def test_a_host_that_dribbles_is_left(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these goes on for ever, so that the test ends at all is the proof."""
    monkeypatch.setattr(client_documents, "SECONDS", 0.3)
    with serving(script) as server, pytest.raises(DocumentUnreachable, match="timeout"):
        fetch(HTTP, server.url("/client.json"))


ENDLESS = {
    "headers": floods(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 4000 + b"\r\n"),
    "body": floods(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" " * 4096),
}


@pytest.mark.parametrize("script", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_host_that_floods_is_refused(script: Script) -> None:
    with serving(script) as server, pytest.raises(DocumentRefused, match="too large"):
        fetch(HTTP, server.url("/client.json"))


def test_a_redirect_is_not_followed() -> None:
    with serving(says(whole("302 Found", b"", "Location: /other"))) as server:
        with pytest.raises(DocumentRefused, match="status 302"):
            fetch(HTTP, server.url("/client.json"))
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["500 Oops", "503 Later", "429 Slowly"])
def test_a_passing_failure_is_told_apart(status: str) -> None:
    with serving(says(whole(status, b"", JSON))) as server, pytest.raises(DocumentUnreachable):
        fetch(HTTP, server.url("/client.json"))
