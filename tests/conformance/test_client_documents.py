"""Client ids that are URLs of client id metadata documents (draft-ietf-oauth-client-id-metadata-document)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import requests

from broker import clock
from broker.limiter import Limiter
from broker.protocol.clients import Client
from broker.protocol.limits import Limit
from broker.protocol.registration_policy import RegistrationPolicy
from broker.runtime import runtime
from broker.store.aws import client
from broker.store.counters import Counters
from broker.upstream.client_documents import MAX_BYTES
from broker.upstream.http import BoundedHttp
from broker_testing.journey import CALLBACK, Login, TestClient, post_form, refresh, userinfo
from broker_testing.registration import (
    DOCUMENTS,
    DocumentHost,
    document_host,
    log_in,
    metadata,
    policy_is,
    visitor,
)
from broker_testing.trouble import pass_time
from conformance.wire import assert_error, assert_tokens

pytestmark = pytest.mark.local_only
SPEC = "CIMD draft 4"


@pytest.fixture
def documents(base: str) -> Iterator[DocumentHost]:
    """A web server for documents, and a broker that reads them."""
    with policy_is(DOCUMENTS), document_host() as host:
        yield host


def client_at(base: str, url: str) -> TestClient:
    """A client that calls itself by this URL."""
    return visitor(base, {"client_id": url, "redirect_uris": [CALLBACK]})


def assert_refused(base: str, client_id: str, status: int = 400) -> None:
    """A page, and nothing that leads anywhere."""
    response = Login(client_at(base, client_id)).start()
    assert response.status_code == status, (response.status_code, response.text)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "location" not in response.headers
    assert not response.cookies


@pytest.mark.spec("REG-130", SPEC)
def test_a_client_is_known_by_its_document(base: str, documents: DocumentHost) -> None:
    url = documents.publish(client_name="Grown wild")
    client = client_at(base, url)
    login, page = log_in(client, scope="openid profile")
    assert "Grown wild" in page
    assert f">localhost:{documents.port}<" in page, "the host that answers for it"
    tokens = assert_tokens(login.redeem())
    assert userinfo(base, tokens["access_token"]).status_code == 200
    again = assert_tokens(refresh(client, tokens["refresh_token"]))
    revoked = post_form(f"{base}/revoke", {"token": again["refresh_token"], "client_id": url})
    assert revoked.status_code == 200
    assert documents.asked == ["/client.json"], "read once for all of this"


@pytest.mark.spec("REG-130", SPEC)
def test_it_may_push_its_requests(base: str, documents: DocumentHost) -> None:
    url = documents.publish()
    client = client_at(base, url)
    login = Login(client)
    pushed = post_form(f"{base}/par", login.parameters)
    assert pushed.status_code == 201, pushed.text


@pytest.mark.spec("META-13")
def test_metadata_says_so_only_where_it_is_so(base: str, documents: DocumentHost) -> None:
    def supported() -> object:
        document = requests.get(f"{base}/.well-known/oauth-authorization-server", timeout=30).json()
        return document.get("client_id_metadata_document_supported")

    assert supported() is True
    with policy_is(RegistrationPolicy()):
        assert supported() is None


@pytest.mark.spec("REG-130", SPEC)
def test_nothing_is_read_unless_the_operator_lets_it_be(base: str, documents: DocumentHost) -> None:
    url = documents.publish()
    with policy_is(RegistrationPolicy()):
        assert_refused(base, url)
    with policy_is(replace(DOCUMENTS, document_hosts=("app.example", "*.localhost"))):
        assert_refused(base, url)
    assert documents.asked == []
    with policy_is(replace(DOCUMENTS, document_hosts=("localhost",))):
        assert Login(client_at(base, url)).start().status_code == 303


@pytest.mark.spec("REG-130", SPEC)
@pytest.mark.parametrize(
    "suffix",
    [
        *(
            "",
            "/",
            "/a/../client.json",
            "/./client.json",
            "/%2e%2e/client.json",
            "/%2E/client.json",
            "/client.json#part",
        ),
        *("/client.json?x=1", "/client.json#", "/client.json?", "/a\\client.json", "/a b", "/\u00e9", "/" + "a" * 600),
    ],
)
def test_a_url_that_breaks_the_rules_is_not_read(base: str, documents: DocumentHost, suffix: str) -> None:
    assert_refused(base, documents.url(suffix))
    assert documents.asked == []


@pytest.mark.spec("REG-130", SPEC)
@pytest.mark.parametrize(
    "authority", ["user@localhost:{port}", "localhost:0{port}", "LOCALHOST:{port}", "x.localhost@localhost:{port}"]
)
def test_a_host_that_is_written_oddly_is_not_read(base: str, documents: DocumentHost, authority: str) -> None:
    documents.publish()
    assert_refused(base, f"http://{authority.format(port=documents.port)}/client.json")
    assert documents.asked == []


WRONG: dict[str, dict[str, Any]] = {
    "another client_id": {"client_id": "https://app.example/client.json"},
    "no client_id": {"client_id": None},
    "a secret": {"client_secret": "x"},
    "an expiry of a secret": {"client_secret_expires_at": 0},
    "basic": {"token_endpoint_auth_method": "client_secret_basic"},
    "post": {"token_endpoint_auth_method": "client_secret_post"},
    "private_key_jwt without keys": {"token_endpoint_auth_method": "private_key_jwt"},
    "no redirect URIs": {"redirect_uris": None},
    "a redirect URI with a fragment": {"redirect_uris": [CALLBACK, "https://app.example/#x"]},
    "implicit": {"grant_types": ["implicit"]},
    "a spoofed name": {"client_name": "Bank\u202e"},
    "keys at a port of another protocol": {"jwks_uri": "https://app.example:25/jwks"},
    "a logout at a port of another protocol": {"backchannel_logout_uri": "https://app.example:25/logout"},
}


@pytest.mark.spec("REG-130", SPEC)
@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_document_is_refused(base: str, documents: DocumentHost, changes: dict[str, Any]) -> None:
    assert_refused(base, documents.publish(**changes))


@pytest.mark.spec("REG-130", SPEC)
def test_a_document_of_another_url_is_refused(base: str, documents: DocumentHost) -> None:
    """One byte makes another client: the slash at the end, the escape of a letter."""
    documents.publish("/client.json")
    documents.answers["/client.json/"] = documents.answers["/client.json"]
    documents.answers["/%63lient.json"] = documents.answers["/client.json"]
    assert_refused(base, documents.url("/client.json/"))
    assert_refused(base, documents.url("/%63lient.json"))


@pytest.mark.spec("REG-130", SPEC)
@pytest.mark.parametrize(
    "answer",
    [
        {"status": 404},
        {"status": 201},
        {"status": 301, "headers": {"Location": "/other.json"}},
        {"status": 302, "headers": {"Location": "/other.json"}},
        {"status": 308, "headers": {"Location": "/other.json"}},
        {"headers": {"Content-Type": "text/html"}},
        {"headers": {"Content-Type": "text/json"}},
        {"headers": {"Content-Type": ""}},
        {"body": b"not JSON"},
        {"body": b"[]"},
        {"body": b"\xff"},
        {"body": b"[" * MAX_BYTES},
    ],
    ids=str,
)
def test_a_wrong_answer_is_refused(base: str, documents: DocumentHost, answer: dict[str, Any]) -> None:
    url = documents.publish()
    documents.publish("/other.json", client_id=url)
    right = documents.answers["/client.json"][2]
    documents.put("/client.json", **({"body": right} | answer))
    assert_refused(base, url)
    assert documents.asked == ["/client.json"], "a redirect is not followed"


@pytest.mark.spec("REG-130", SPEC)
def test_a_document_may_be_just_so_big(base: str, documents: DocumentHost) -> None:
    document = json.dumps(metadata(client_id=documents.url())).encode()
    documents.put("/client.json", document.ljust(MAX_BYTES + 1))
    assert_refused(base, documents.url())
    documents.put("/client.json", document.ljust(MAX_BYTES), headers={"Content-Type": "application/client+json"})
    assert Login(client_at(base, documents.url())).start().status_code == 303


@pytest.mark.spec("REG-130", SPEC)
def test_what_is_wrong_is_not_remembered(base: str, documents: DocumentHost) -> None:
    url = documents.publish(client_id="https://other.example/x")
    assert_refused(base, url)
    documents.publish()
    assert Login(client_at(base, url)).start().status_code == 303


@pytest.mark.spec("REG-130", SPEC)
@pytest.mark.parametrize(
    ("control", "seconds"),
    [
        *(("max-age=1", 300), ("no-store, max-age=9000", 300), ("public, max-age=7200", 7200)),
        *(("max-age=999999", 86400), ("", 3600), ("max-age=x", 3600)),
    ],
)
def test_how_long_a_document_serves(base: str, documents: DocumentHost, control: str, seconds: int) -> None:
    url = documents.publish(headers={"Cache-Control": control})
    client = client_at(base, url)
    assert Login(client).start().status_code == 303
    pass_time(seconds - 30)
    runtime().directory.forget()  # as another instance would: the table remembers
    assert Login(client).start().status_code == 303
    assert len(documents.asked) == 1
    pass_time(60)
    assert Login(client).start().status_code == 303
    assert len(documents.asked) == 2


@pytest.mark.spec("REG-130", SPEC)
def test_a_host_that_is_down_leaves_its_client_as_it_was_for_a_week(base: str, documents: DocumentHost) -> None:
    url = documents.publish()
    client = client_at(base, url)
    login, _ = log_in(client)
    tokens = assert_tokens(login.redeem())
    documents.put("/client.json", b"", status=503)
    pass_time(2 * 3600)
    tokens = assert_tokens(refresh(client, tokens["refresh_token"]))
    assert_tokens(refresh(client, tokens["refresh_token"]))
    assert len(documents.asked) == 2, "and it is not asked again at every request"
    pass_time(8 * 86400)
    runtime().directory.forget()
    assert_refused(base, url, status=503)


@pytest.mark.spec("REG-130", SPEC)
def test_a_document_that_was_taken_down_ends_its_client(base: str, documents: DocumentHost) -> None:
    url = documents.publish()
    client = client_at(base, url)
    login, _ = log_in(client)
    tokens = assert_tokens(login.redeem())
    documents.put("/client.json", b"", status=404)
    pass_time(2 * 3600)
    assert_error(refresh(client, tokens["refresh_token"]), 401, "invalid_client")


@pytest.mark.spec("REG-130", SPEC)
def test_a_host_that_is_down_is_not_a_wrong_client(
    base: str, documents: DocumentHost, caplog: pytest.LogCaptureFixture
) -> None:
    """503 and not invalid_client: at that a client would throw its registration away. The broker's own store is well."""
    documents.put("/client.json", b"", status=500)
    form = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": documents.url()}
    assert_error(post_form(f"{base}/token", form), 503, "temporarily_unavailable")
    assert_refused(base, documents.url(), status=503)
    assert "client_document.unreachable" in caplog.messages
    assert "store.unavailable" not in caplog.messages


@pytest.mark.spec("REG-130", "CIMD draft 6")
def test_nobody_makes_the_broker_call_as_often_as_he_likes(
    base: str, documents: DocumentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with a document is never remembered, so without a limit each request would be a request of the broker's."""
    url = documents.publish()
    counters = Counters(client("dynamodb"), runtime().settings.grants_table)
    limited = {name: Limit(3, 3600) for name in ("client_document.address", "client_document.host")}
    monkeypatch.setitem(runtime().__dict__, "limiter", Limiter(counters, limited))
    pass_time(3600)
    assert Login(client_at(base, url)).start().status_code == 303
    for number in range(2):
        assert_refused(base, documents.url(f"/{number}.json"))
    assert_refused(base, documents.url("/3.json"), status=429)
    form = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": documents.url("/4.json")}
    assert_error(post_form(f"{base}/token", form), 429, "temporarily_unavailable")
    out = requests.get(f"{base}/logout", params={"client_id": documents.url("/5.json")}, timeout=30)
    assert (out.status_code, out.headers["content-type"]) == (429, "text/html; charset=utf-8")
    assert len(documents.asked) == 3
    runtime().directory.forget()
    assert Login(client_at(base, url)).start().status_code == 303, "what was read serves on"


_hours = itertools.count(2)


def few_readings(monkeypatch: pytest.MonkeyPatch, **quotas: int) -> None:
    """Limits of client_document, in an hour that nobody has counted in: hosts have no port there, so all tests have the same."""
    counters = Counters(client("dynamodb"), runtime().settings.grants_table)
    limited = {f"client_document.{by}": Limit(quota, 3600) for by, quota in quotas.items()}
    monkeypatch.setitem(runtime().__dict__, "limiter", Limiter(counters, limited))
    pass_time(3600 * next(_hours) - clock.now() % 3600)


@pytest.mark.spec("REG-130", "CIMD draft 6")
def test_strangers_do_not_use_up_the_readings_of_a_client(
    base: str, documents: DocumentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may name any URL of its host; a client that is known has its own count there."""
    url = documents.publish()
    login, _ = log_in(client_at(base, url))
    token = assert_tokens(login.redeem())["refresh_token"]
    pass_time(2 * 86400)
    few_readings(monkeypatch, host=3)
    for number in range(3):
        assert_refused(base, documents.url(f"/{number}.json"))
    assert_refused(base, documents.url("/3.json"), status=429)
    documents.asked.clear()
    assert_tokens(refresh(login.client, token))
    assert documents.asked == ["/client.json"]


@pytest.mark.spec("REG-130", "CIMD draft 6")
@pytest.mark.parametrize("by", ["host", "address"])
def test_strangers_do_not_revive_a_client_that_was_taken_down(
    base: str, documents: DocumentHost, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Whatever they name, the URL itself too: after an hour of grace no reading serves because of a limit."""
    url = documents.publish()
    assert Login(client_at(base, url)).start().status_code == 303
    documents.put("/client.json", b"", status=404)
    pass_time(2 * 86400)
    few_readings(monkeypatch, **{by: 2})
    for _ in range(2):
        assert_refused(base, url)
    for number in range(3):
        assert_refused(base, documents.url(f"/{number}.json"), status=400 if by == "host" and number < 2 else 429)
    assert_refused(base, url, status=429)
    runtime().directory.forget()
    assert_refused(base, url, status=429)


@pytest.mark.spec("REG-130", "CIMD draft 6")
def test_a_reading_outlives_its_end_a_little_where_a_limit_forbids_another(
    base: str, documents: DocumentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = documents.publish(headers={"Cache-Control": "max-age=300"})
    few_readings(monkeypatch, address=1)
    assert Login(client_at(base, url)).start().status_code == 303
    pass_time(400)
    assert Login(client_at(base, url)).start().status_code == 303
    assert len(documents.asked) == 1


@pytest.mark.spec("REG-130", SPEC)
def test_what_the_operator_registered_under_that_id_counts_first(base: str, documents: DocumentHost) -> None:
    url = documents.publish()
    assert Login(client_at(base, url)).start().status_code == 303
    own = Client(url, "Blocked", (CALLBACK,), providers=("openid",), disabled=True, created_at=1)
    runtime().registry.add_client(own)
    try:
        assert_refused(base, url)
    finally:
        runtime().registry.remove_client(url)


@pytest.mark.spec("REG-130")
def test_its_pages_may_call_the_broker(base: str, documents: DocumentHost) -> None:
    origin = "https://wild.example"
    url = documents.publish(redirect_uris=[f"{origin}/cb"])
    client = visitor(base, {"client_id": url, "redirect_uris": [f"{origin}/cb"]})
    headers = {"origin": origin, "access-control-request-method": "GET"}
    before = requests.options(f"{base}/userinfo", headers=headers, timeout=30)
    assert "access-control-allow-origin" not in before.headers
    assert Login(client).start().status_code == 303
    after = requests.options(f"{base}/userinfo", headers=headers, timeout=30)
    assert after.headers["access-control-allow-origin"] == origin


ADDRESSES = {
    "loopback": ["127.0.0.1"],
    "another loopback": ["127.8.9.10"],
    "private 10": ["10.0.0.7"],
    "private 172": ["172.16.3.4"],
    "private 192": ["192.168.1.1"],
    "cloud metadata": ["169.254.169.254"],
    "this network": ["0.0.0.0"],
    "shared": ["100.64.1.1"],
    "IPv6 loopback": ["::1"],
    "unique local": ["fc00::1", "fd12:3456::1"],
    "link local": ["fe80::1"],
    "mapped loopback": ["::ffff:127.0.0.1"],
    "mapped private": ["::ffff:10.0.0.7"],
    "NAT64": ["64:ff9b::a00:7"],
    "6to4": ["2002:7f00:1::"],
    "many": ["127.0.0.1", "10.0.0.7", "::1"],
}


@pytest.mark.spec("REG-130", SPEC, "RFC 9700 4.17")
@pytest.mark.parametrize("addresses", ADDRESSES.values(), ids=ADDRESSES.keys())
def test_a_name_of_an_inner_address_is_refused(
    base: str, documents: DocumentHost, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    """Whatever the name: the address decides, before anything is sent."""
    asked: list[str] = []
    called: list[str] = []

    def resolver(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return addresses

    def connect(address: object, *_: object) -> None:
        called.append(str(address))
        raise OSError

    monkeypatch.setattr("broker.upstream.http._connect", connect)
    http = BoundedHttp(allow_loopback=False, resolver=resolver, max_body=MAX_BYTES)
    monkeypatch.setitem(runtime().__dict__, "document_http", http)
    assert_refused(base, "https://inside.example/client.json")
    assert asked == ["inside.example"]
    assert called == []


@pytest.mark.spec("REG-130", SPEC, "RFC 9700 4.17")
@pytest.mark.parametrize(
    "literal", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "0.0.0.0", "[::1]", "2130706433", "0x7f.1"]
)
def test_a_url_of_an_inner_address_is_refused(
    base: str, documents: DocumentHost, monkeypatch: pytest.MonkeyPatch, literal: str
) -> None:
    called: list[str] = []

    def connect(address: object, *_: object) -> None:
        called.append(str(address))
        raise OSError

    monkeypatch.setattr("broker.upstream.http._connect", connect)
    http = BoundedHttp(allow_loopback=False, resolver=lambda *_: ["127.0.0.1"], max_body=MAX_BYTES)
    monkeypatch.setitem(runtime().__dict__, "document_http", http)
    assert_refused(base, f"https://{literal}/client.json")
    assert called == []


@pytest.mark.spec("REG-130", SPEC, "RFC 9700 4.17")
def test_a_name_that_changes_its_mind_is_asked_once(
    base: str, documents: DocumentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is checked, inner when it is called. What was checked is what is called."""
    answers = iter([["93.184.216.34", "127.0.0.1"], ["127.0.0.1"], ["127.0.0.1"]])
    asked: list[str] = []
    called: list[str] = []

    def resolver(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return next(answers)

    def connect(address: object, *_: object) -> None:
        called.append(str(address))
        raise OSError

    monkeypatch.setattr("broker.upstream.http._connect", connect)
    http = BoundedHttp(allow_loopback=False, resolver=resolver, max_body=MAX_BYTES)
    monkeypatch.setitem(runtime().__dict__, "document_http", http)
    assert_refused(base, "https://rebinding.example/client.json", status=503)
    assert called == ["93.184.216.34"]
    assert asked == ["rebinding.example"]
    assert_refused(base, "https://rebinding.example/client.json")
    assert called == ["93.184.216.34"]
