"""Redirect URIs: the exact string, but for the port of a loopback IP address; and answers that do not break their query."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.protocol.redirects import is_registered, with_parameters

REGISTERED = "https://app.example/cb"


@pytest.mark.parametrize(
    "requested",
    [
        "https://app.example/cb/",
        "https://app.example/CB",
        "https://APP.example/cb",
        "https://app.example/cb?x=1",
        "https://app.example/cb?",
        "https://app.example/cb#",
        "https://app.example/cb/../cb",
        "https://app.example/%63b",
        "https://app.example/cb%2e%2e",
        "https://app.example:443/cb",
        "https://user@app.example/cb",
        "https://app.example@evil.example/cb",
        "https://app.example.evil.example/cb",
        "https://evil.example/https://app.example/cb",
        "https://app.example\\@evil.example/cb",
        "http://app.example/cb",
        "//app.example/cb",
        "/cb",
        " https://app.example/cb",
        "https://app.example/cb\n",
        "https://app.example/cb\0",
        "",
    ],
)
def test_no_other_string_is_registered(requested: str) -> None:
    """RFC 9700 sections 2.1 and 4.1.3."""
    assert not is_registered(requested, [REGISTERED])


def test_the_same_string_is_registered() -> None:
    assert is_registered(REGISTERED, ["https://other.example/", REGISTERED])
    assert not is_registered(REGISTERED, [])


@pytest.mark.parametrize(
    ("registered", "requested"),
    [
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"),
        ("http://127.0.0.1:1234/cb", "http://127.0.0.1/cb"),
        ("http://[::1]/cb", "http://[::1]:51004/cb"),
        ("http://127.0.0.1", "http://127.0.0.1:8080"),
        ("http://127.0.0.1/cb?x=1", "http://127.0.0.1:80/cb?x=1"),
    ],
)
def test_the_port_of_a_loopback_address_is_free(registered: str, requested: str) -> None:
    """RFC 8252 section 7.3."""
    assert is_registered(requested, [registered])


@pytest.mark.parametrize(
    ("registered", "requested"),
    [
        ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:80@evil.example/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:999999/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:80\\@evil.example/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:80/other"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:80/cb#f"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:80/cb\n"),
        ("http://127.0.0.1/cb", "https://127.0.0.1:80/cb"),
        ("http://127.0.0.1/cb", "http://[::1]:80/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.2:80/cb"),
        ("http://127.0.0.1/cb", "http://2130706433/cb"),
        ("http://127.0.0.1", "http://127.0.0.1:80evil.example/"),
        ("http://localhost/cb", "http://localhost:51004/cb"),
        ("https://app.example/cb", "https://app.example:51004/cb"),
    ],
)
def test_nothing_but_that_port_is_free(registered: str, requested: str) -> None:
    assert not is_registered(requested, [registered])


@given(
    st.sampled_from([REGISTERED, REGISTERED + "?x=1", REGISTERED + "?", REGISTERED + "?x=1&", "com.example.app:/cb"]),
    st.lists(st.tuples(st.sampled_from(["code", "state", "iss"]), st.text(st.characters(exclude_categories=["Cs"])))),
)
def test_every_answer_arrives_byte_for_byte(redirect_uri: str, answer: list[tuple[str, str]]) -> None:
    """RFC 6749 sections 3.1.2 and 4.1.2: the own query stays, whatever the state has in it stays one value."""
    location = with_parameters(redirect_uri, answer)
    assert location.startswith(redirect_uri)
    assert location.isascii()
    assert location.isprintable()
    assert " " not in location
    own = parse_qsl(urlsplit(redirect_uri).query)
    assert parse_qsl(urlsplit(location).query, keep_blank_values=True) == own + answer
    assert urlsplit(location).fragment == ""
