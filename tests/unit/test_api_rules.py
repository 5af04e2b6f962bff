"""Which calls of an API go through, and that no path becomes another one on its way out."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.upstream.api_rules import AllowRule, BadCall, is_allowed, remapped, segments_of, url_of

BASE = "https://api.example/v1"


@pytest.mark.parametrize(
    ("rule", "call", "covered"),
    [
        ("GET /tasks", "GET tasks", True),
        ("GET /tasks", "HEAD tasks", True),
        ("GET /tasks", "POST tasks", False),
        ("POST /tasks", "HEAD tasks", False),
        ("GET,POST /tasks", "POST tasks", True),
        ("GET /tasks", "GET Tasks", False),
        ("GET /tasks", "GET tasks/", False),
        ("GET /tasks/", "GET tasks/", True),
        ("GET /tasks/", "GET tasks", False),
        ("GET /tasks", "GET tasks/1", False),
        ("GET /tasks/*", "GET tasks/1", True),
        ("GET /tasks/*", "GET tasks", False),
        ("GET /tasks/*", "GET tasks/", False),
        ("GET /tasks/*", "GET tasks/1/notes", False),
        ("GET /*/notes", "GET 1/notes", True),
        ("GET /*/*", "GET a/b", True),
        ("GET /tasks/**", "GET tasks/1/notes", True),
        ("GET /tasks/**", "GET tasks/1/", True),
        ("GET /tasks/**", "GET tasks", False),
        ("GET /tasks/**", "GET tasks/", False),
        ("GET /**", "GET anything/at/all", True),
        ("GET /users/@me", "GET users/@me", True),
    ],
)
def test_what_a_rule_covers(rule: str, call: str, covered: bool) -> None:
    method, _, path = call.partition(" ")
    assert is_allowed([AllowRule.parse(rule)], method, segments_of(path)) is covered


def test_nothing_is_allowed_without_a_rule() -> None:
    assert not is_allowed([], "GET", ("tasks",))


@pytest.mark.parametrize(
    "rule",
    [
        *(
            "",
            "/tasks",
            "GET",
            "GET tasks",
            "GET  /tasks",
            "get /tasks",
            "GET, POST /tasks",
            "GET,,POST /tasks",
            "GET /",
        ),
        *("HEAD /tasks", "OPTIONS /tasks", "TRACE /tasks", "* /tasks", "GET /tasks?x=1", "GET /tasks#x", "GET /a//b"),
        *("GET /tasks/*x", "GET /**/tasks", "GET /***", "GET /./tasks", "GET /a/../b", "GET /a/..;x/b", "GET /%74asks"),
        *("GET /a\\b", "GET /tasks\n", "GET /tasks extra"),
    ],
)
def test_a_rule_that_says_nothing_clear_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="must"):
        AllowRule.parse(rule)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "/",
            "a//b",
            "//b",
            "a//",
            "..",
            ".",
            "../b",
            "a/..",
            "a/../b",
            "a/./b",
            "..;/b",
            "a/..;x=1/b",
            "a/.. /b",
        ),
        *(
            "a/%2e%2e/b",
            "a/%2E./b",
            "a%2fb",
            "a%5cb",
            "a%00",
            "a%41b",
            "a\\b",
            "..\\b",
            "a\x00b",
            "a\nb",
            "a\x7f",
            "a\x85b",
        ),
        *("a/\ufffd", "a\u2028b", "\ud800"),
    ],
)
def test_a_path_that_could_be_read_in_two_ways_is_refused(path: str) -> None:
    with pytest.raises(BadCall):
        segments_of(path)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("tasks", "/v1/tasks"),
        ("tasks/", "/v1/tasks/"),
        ("ünï cødé", "/v1/%C3%BCn%C3%AF%20c%C3%B8d%C3%A9"),
        ("a;b=c,d&e=f+g@h:i", "/v1/a;b=c,d&e=f+g@h:i"),
        ("100%", "/v1/100%25"),
        ("a?b#c", "/v1/a%3Fb%23c"),
        ("...", "/v1/..."),
        ("@evil.example", "/v1/@evil.example"),
        ("https:", "/v1/https:"),
    ],
)
def test_a_path_goes_out_as_it_was_checked(path: str, sent: str) -> None:
    assert url_of(BASE, segments_of(path), "") == f"https://api.example{sent}"
    assert url_of(f"{BASE}/", segments_of(path), "") == f"https://api.example{sent}"


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("", ""),
        ("a=b&a=c", "?a=b&a=c"),
        ("q=%C3%BC+x", "?q=%C3%BC+x"),
        ('f={"a":[1]}', "?f=%7B%22a%22:[1]%7D"),
        ("#", "?%23"),
    ],
)
def test_a_query_goes_out_as_it_came(query: str, sent: str) -> None:
    assert url_of(BASE, ("tasks",), query) == f"https://api.example/v1/tasks{sent}"


@given(st.text(max_size=40), st.text(alphabet="ab=&%?#/{} é\n", max_size=20))
def test_no_path_leads_out_of_the_api(path: str, query: str) -> None:
    try:
        segments = segments_of(path)
    except BadCall:
        return
    parts = urlsplit(url_of(BASE, segments, query))
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "api.example", "")
    assert parts.path.startswith("/v1/")
    assert unquote(parts.path) == f"/v1/{path}"
    assert parts.path.isascii()
    assert not {".", ".."} & set(parts.path.split("/"))


@pytest.mark.parametrize(
    ("reference", "below"),
    [
        ("https://api.example/v1/tasks/2", "tasks/2"),
        ("/v1/tasks/2?page=2", "tasks/2?page=2"),
        ("3", "tasks/3"),
        ("../projects/1", "projects/1"),
        ("?page=2", "tasks/1?page=2"),
        ("https://api.example/v1/tasks/2#x", "tasks/2"),
        ("/v1/t%20t", "t%20t"),
        ("https://api.example/v2/tasks", None),
        ("https://api.example/v1", None),
        ("https://api.example/v1x/tasks", None),
        ("https://api.example:8443/v1/tasks", None),
        ("https://user@api.example/v1/tasks", None),
        ("http://api.example/v1/tasks", None),
        ("https://evil.example/v1/tasks", None),
        ("//evil.example/v1/tasks", None),
        ("/v1/../v2/tasks", None),
        ("/v1/%2e%2e/v2", None),
        ("/v1/a%2fb", None),
        ("/v1/a\\b", None),
        ("/v1/a b", None),
        ('/v1/a"b', None),
        ("https://[/v1/", None),
        ("javascript:alert(1)", None),
    ],
)
def test_where_a_reference_leads(reference: str, below: str | None) -> None:
    assert remapped(BASE, f"{BASE}/tasks/1", reference) == below
