"""The pure rules for clients that nobody registered by hand: their URLs, their JSON, the operator's policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.protocol import client_id_urls
from broker.protocol.client_metadata import described_client, document_client, document_of, new_client
from broker.protocol.json_documents import MalformedDocument, parse_object
from broker.protocol.registration import InvalidRegistration
from broker.protocol.registration_policy import RegistrationPolicy, validate_policy
from broker.settings import LIMITS

OPEN = RegistrationPolicy(mode="open", providers=("github",))
URL = "https://app.example/client.json"
DOCUMENT = {"client_id": URL, "redirect_uris": ["https://app.example/cb"]}


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://app.example:8443/a",
        "https://app.example:443/a",
        "https://a.b-c.example/%20/x//y/",
        "https://10.0.0.1/a",
    ],
)
def test_client_id_url_may_be_fetched(url: str) -> None:
    """What its host resolves to is for whoever connects."""
    assert client_id_urls.fault(url, local=False) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example/a",
        "http://localhost:3000/a",
        "ftp://app.example/a",
        "https:app.example/a",
        "https:/app.example/a",
        "https:///a",
        "HTTPS://app.example/a",
        "https://App.example/a",
        "https://app.example",
        "https://app.example/",
        "https://app.example./a",
        "https://app..example/a",
        "https://-app.example/a",
        "https://app_1.example/a",
        "https://[::1]/a",
        "https://[::1/a",
        "https://app.example:/a",
        "https://app.example:0/a",
        "https://app.example:22/a",
        "https://app.example:08443/a",
        "https://app.example:99999/a",
        "https://app.example:x/a",
        "https://user@app.example/a",
        "https://app.example@evil.example/a",
        "https://app.example/../a",
        "https://app.example/a/.",
        "https://app.example/a/%2E%2e/b",
        "https://app.example/a/.%2e",
        "https://app.example/a?",
        "https://app.example/a?b",
        "https://app.example/a#",
        "https://app.example/a#b",
        "https://app.example/a b",
        "https://app.example/a\n",
        "https://app.example\\@evil.example/a",
        "https://app.example/%zz",
        "https://app.example/é",
        "https://app.example/" + "a" * 500,
        "",
        "client",
    ],
)
def test_client_id_url_is_refused(url: str) -> None:
    assert client_id_urls.fault(url, local=False) is not None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_own_machine_in_local_mode_alone(host: str) -> None:
    for scheme in ("http", "https"):
        assert client_id_urls.fault(f"{scheme}://{host}:3000/a", local=True) is None
    assert client_id_urls.fault(f"http://{host}:3000/a", local=False) is not None
    assert client_id_urls.fault("http://app.example:3000/a", local=True) is not None


def test_json_has_one_meaning() -> None:
    assert parse_object(b'{"a": [1, {"b": null}]}', max_bytes=100) == {"a": [1, {"b": None}]}
    for raw in (b"", b"[]", b"1", b"{", b'{"a":1,"a":1}', b'{"a":{"b":1,"b":2}}', b'{"a":NaN}', b"\xff", b"[" * 90):
        with pytest.raises(MalformedDocument):
            parse_object(raw, max_bytes=100)
    with pytest.raises(MalformedDocument, match="longer than 3 bytes"):
        parse_object(b"{  }", max_bytes=3)


def test_document_client() -> None:
    client = document_client(URL, DOCUMENT, replace(OPEN, idle_lifetime=900), LIMITS)
    assert (client.name, client.client_id) == ("app.example", URL)
    assert (client.auth_methods, client.first_party, client.dynamic, client.secrets) == (("none",), False, True, ())
    assert (client.providers, client.idle_lifetime) == (("github",), 900)
    assert client.origins == ("https://app.example",)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"client_id": URL + "/"}, "client_id"),
        ({"client_id": None}, "client_id"),
        ({"client_secret": None}, "client_secret"),
        ({"client_secret_expires_at": 0}, "client_secret"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "auth_methods"),
        ({"redirect_uris": None}, "redirect_uris"),
    ],
)
def test_document_client_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRegistration) as refused:
        document_client(URL, DOCUMENT | changes, OPEN, LIMITS)
    assert refused.value.field == field


def test_what_is_written_is_read_again() -> None:
    """A client that sends back what it was told, changes nothing (RFC 7592 section 2.2)."""
    base = new_client("dyn_1", OPEN, created_at=7)
    members = {
        **DOCUMENT,
        "token_endpoint_auth_method": "none",
        "client_name": "A",
        "contacts": ["b"],
        "scope": "openid",
    }
    client = described_client(base, members, OPEN, LIMITS)
    assert described_client(client, document_of(client), OPEN, LIMITS) == client


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mode": "closed"}, "mode"),
        ({"providers": ()}, "providers"),
        ({"mode": "off", "documents": True, "providers": ()}, "providers"),
        ({"providers": ("a", "a")}, "providers"),
        ({"scope": ()}, "scope"),
        ({"scope": ('a"',)}, "scope"),
        ({"grant_types": ()}, "grant_types"),
        ({"grant_types": ("password",)}, "grant_types"),
        ({"resources": ("api",)}, "resources"),
        ({"redirect_hosts": ("https://app.example",)}, "redirect_hosts"),
        ({"redirect_hosts": ("*",)}, "redirect_hosts"),
        ({"redirect_hosts": ("javascript:",)}, "redirect_hosts"),
        ({"document_hosts": ("App.example",)}, "document_hosts"),
        ({"document_hosts": ("com.example.app:",)}, "document_hosts"),
        ({"max_clients": 0}, "max_clients"),
        ({"retry_window": 61}, "retry_window"),
    ],
)
def test_policy_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRegistration) as refused:
        validate_policy(replace(OPEN, **changes), LIMITS)
    assert refused.value.field == field


def test_policies_are_accepted() -> None:
    validate_policy(RegistrationPolicy(), LIMITS)
    hosts = ("app.example", "*.app.example", "localhost", "127.0.0.1", "::1", "com.example.app:")
    validate_policy(replace(OPEN, redirect_hosts=hosts, document_hosts=hosts[:2], documents=True), LIMITS)


def test_a_host_pattern_ends_at_a_dot() -> None:
    policy = replace(OPEN, documents=True, document_hosts=("*.app.example",), redirect_hosts=("*.app.example",))
    assert policy.lets_read_documents_of("a.app.example")
    for host in ("app.example", "evilapp.example", "a.app.example.evil.example"):
        assert not policy.lets_read_documents_of(host)
        assert not policy.lets_redirect_to(f"https://{host}/cb")
    assert not replace(policy, documents=False).lets_read_documents_of("a.app.example")
