"""The published documents: RFC 8414, OpenID Connect Discovery, and the JWK Set."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from broker.runtime import runtime
from broker_local.server import LocalBroker
from broker_testing.conformance import Clients
from broker_testing.journey import Login, post_form, userinfo
from broker_testing.trouble import pass_time
from conformance.front_channel import assert_refused, query_of

OAUTH = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
KEYS = "/.well-known/jwks.json"
DOCUMENTS = (OAUTH, OPENID, KEYS)
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
KNOWN_GRANT_TYPES = (
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "password",
    "implicit",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "urn:openid:params:grant-type:ciba",
)


def get(base: str, path: str, **headers: str) -> requests.Response:
    """GET one of the documents."""
    return requests.get(base + path, headers=headers, timeout=30, allow_redirects=False)


def metadata(base: str, path: str = OAUTH) -> dict[str, Any]:
    """The document, checked to be one."""
    response = get(base, path)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    document: dict[str, Any] = response.json()
    return document


@pytest.mark.spec("META-1", "META-3", "RFC 8414 3.3", "RFC 8414 2")
@pytest.mark.parametrize("path", [OAUTH, OPENID])
def test_the_issuer_is_the_url_of_the_broker(clients: Clients, path: str) -> None:
    issuer = metadata(clients.base, path)["issuer"]
    assert issuer == clients.base
    parts = urlsplit(issuer)
    assert (parts.query, parts.fragment, parts.username) == ("", "", None)
    assert "?" not in issuer
    assert "#" not in issuer
    # Only a broker on the developer's own machine does without TLS.
    assert parts.scheme == "https" or parts.hostname == "localhost"


@pytest.mark.spec("META-4", "OpenID Discovery 3", "OAuth 2.1 1.8")
@pytest.mark.parametrize("path", [OAUTH, OPENID])
def test_the_required_members_are_there_and_code_is_the_only_response_type(clients: Clients, path: str) -> None:
    document = metadata(clients.base, path)
    assert document["response_types_supported"] == ["code"]
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "revocation_endpoint"):
        assert document[name].startswith(f"{clients.base}/"), name
    assert document["subject_types_supported"] == ["public"]
    # OpenID Connect Discovery section 3: RS256 must be among them.
    assert "RS256" in document["id_token_signing_alg_values_supported"]
    assert "openid" in document["scopes_supported"]


@pytest.mark.spec("META-4", "RFC 8414 2")
def test_both_documents_say_the_same(clients: Clients) -> None:
    assert metadata(clients.base, OAUTH) == metadata(clients.base, OPENID)


@pytest.mark.spec("META-5", "META-6", "RFC 9700 2.1.1", "RFC 9207 3")
def test_pkce_with_s256_alone_and_the_issuer_parameter(clients: Clients) -> None:
    document = metadata(clients.base)
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True


@pytest.mark.spec("META-7", "META-8", "RFC 8414 2")
def test_nothing_is_empty_and_no_algorithm_is_none(clients: Clients) -> None:
    document = metadata(clients.base)
    empty = [name for name, value in document.items() if value in ([], "", None, {})]
    assert empty == []
    algorithms = {name: value for name, value in document.items() if "_alg_values_" in name or "_alg_" in name}
    assert algorithms
    assert not [name for name, value in algorithms.items() if "none" in value]
    for endpoint in ("token", "revocation"):
        methods = document[f"{endpoint}_endpoint_auth_methods_supported"]
        assert {"client_secret_basic", "client_secret_post", "none"} <= set(methods)
        signs = {"private_key_jwt", "client_secret_jwt"} & set(methods)
        assert bool(signs) == (f"{endpoint}_endpoint_auth_signing_alg_values_supported" in document)


@pytest.mark.spec("META-9", "RFC 8414 2")
def test_every_endpoint_that_is_announced_answers(clients: Clients) -> None:
    document = metadata(clients.base)
    endpoints = {name: url for name, url in document.items() if name.endswith(("_endpoint", "_uri"))}
    assert len(endpoints) >= 5
    for name, url in endpoints.items():
        for method in ("GET", "POST"):
            response = requests.request(method, url, timeout=30, allow_redirects=False)
            assert response.status_code != 404, name
            assert response.status_code < 500, (name, method, response.text)


@pytest.mark.spec("META-9", "RFC 6749 5.2")
@pytest.mark.parametrize("grant_type", KNOWN_GRANT_TYPES)
def test_a_grant_type_that_is_not_announced_is_refused(clients: Clients, grant_type: str) -> None:
    response = post_form(f"{clients.base}/token", {"grant_type": grant_type} | clients.confidential.credentials())
    assert response.status_code == 400
    if grant_type in metadata(clients.base)["grant_types_supported"]:
        assert response.json()["error"] in ("invalid_request", "unauthorized_client")
    else:
        assert response.json()["error"] == "unsupported_grant_type"


@pytest.mark.spec("META-10", "RFC 9700 2.6")
@pytest.mark.parametrize("path", DOCUMENTS)
def test_any_origin_may_read(clients: Clients, path: str) -> None:
    response = get(clients.base, path, origin="https://anybody.example")
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in response.headers
    preflight = requests.options(
        clients.base + path,
        headers={"origin": "https://anybody.example", "access-control-request-method": "GET"},
        timeout=30,
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "GET" in preflight.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in preflight.headers


@pytest.mark.spec("META-11", "RFC 7517 5")
def test_keys_are_public_halves_with_ids_of_their_own(clients: Clients) -> None:
    response = get(clients.base, KEYS)
    keys = response.json()["keys"]
    assert not [key["kid"] for key in keys if PRIVATE_MEMBERS & set(key)]
    assert len({key["kid"] for key in keys}) == len(keys)
    assert {key["alg"] for key in keys} == {"RS256", "ES256"}
    assert {key["use"] for key in keys} == {"sig"}
    # Every key can be read by a library that is not ours.
    assert len(jwt.PyJWKSet.from_dict(response.json()).keys) == len(keys)


@pytest.mark.spec("META-11", "RFC 9111 5.2.2")
@pytest.mark.parametrize("path", DOCUMENTS)
def test_the_documents_may_be_cached(clients: Clients, path: str) -> None:
    directives = get(clients.base, path).headers["cache-control"].split(", ")
    assert directives[0] == "public"
    assert 60 <= int(directives[1].removeprefix("max-age=")) <= 3600
    assert "pragma" not in get(clients.base, path).headers


@pytest.fixture
def next_key(clients: Clients, local_broker: LocalBroker) -> Iterator[tuple[str, int]]:
    """A signing key that is due in 1000 seconds: (kid, seconds)."""
    secrets = local_broker.aws_client("secretsmanager")
    name = local_broker.environment["BROKER_KEYS_SECRET"]
    before = secrets.get_secret_value(SecretId=name)["SecretString"]
    document = json.loads(before)
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = {"kid": "next", "alg": "ES256", "private_pem": pem.decode(), "active_from": int(time.time()) + 1000}
    document["signing"].append(key)
    secrets.put_secret_value(SecretId=name, SecretString=json.dumps(document))
    runtime().forget()
    yield "next", 1000
    secrets.put_secret_value(SecretId=name, SecretString=before)
    runtime().forget()


@pytest.mark.local_only
@pytest.mark.spec("META-11", "OpenID Core 10.1.1")
def test_the_next_key_is_published_before_it_is_used(clients: Clients, next_key: tuple[str, int]) -> None:
    kid, seconds = next_key
    published = {key["kid"] for key in get(clients.base, KEYS).json()["keys"]}
    assert kid in published
    before = Login(clients.public).tokens()["access_token"]
    used = jwt.get_unverified_header(before)["kid"]
    assert used in published - {kid}
    pass_time(seconds + 1)
    after = Login(clients.public).tokens()["access_token"]
    assert jwt.get_unverified_header(after)["kid"] == kid
    assert userinfo(clients.base, after).status_code == 200
    assert used in {key["kid"] for key in get(clients.base, KEYS).json()["keys"]}


@pytest.mark.spec("META-13", "CIMD draft 5")
def test_a_client_id_that_is_a_url_is_known_only_where_that_is_announced(clients: Clients) -> None:
    announced = metadata(clients.base).get("client_id_metadata_document_supported")
    if announced is not None:
        assert announced is True
        return
    login = Login(clients.public)
    assert_refused(login.start(client_id="https://client.example/metadata.json"))


@pytest.mark.spec("META-14", "RFC 9110 9.3.2", "RFC 9110 15.5.6")
@pytest.mark.parametrize("path", DOCUMENTS)
def test_head_is_get_without_a_body_and_nothing_else_is_allowed(clients: Clients, path: str) -> None:
    whole, head = get(clients.base, path), requests.head(clients.base + path, timeout=30)
    assert (head.status_code, head.text) == (200, "")
    for name in ("content-type", "cache-control", "access-control-allow-origin"):
        assert head.headers[name] == whole.headers[name]
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        response = requests.request(method, clients.base + path, timeout=30)
        assert response.status_code == 405, method
        assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}
        assert response.headers["cache-control"] == "no-store"


@pytest.mark.spec("META-1", "RFC 8414 3")
def test_a_client_finds_its_way_by_the_metadata_alone(clients: Clients) -> None:
    document = metadata(clients.base)
    login = Login(clients.public)
    started = login.browser.get(
        login.authorize_url().replace(f"{clients.base}/authorize", document["authorization_endpoint"])
    )
    login.read_answer(login.browser.get(login.at_provider(started)))
    form = {
        "grant_type": "authorization_code",
        "code": login.answer["code"],
        "redirect_uri": login.client.redirect_uri,
        "code_verifier": login.verifier,
        "client_id": login.client.client_id,
    }
    tokens = post_form(document["token_endpoint"], form).json()
    bearer = {"authorization": f"Bearer {tokens['access_token']}"}
    assert requests.get(document["userinfo_endpoint"], headers=bearer, timeout=30).status_code == 200
    ended = post_form(
        document["revocation_endpoint"], {"token": tokens["refresh_token"], "client_id": login.client.client_id}
    )
    assert ended.status_code == 200
    assert requests.get(document["userinfo_endpoint"], headers=bearer, timeout=30).status_code == 401
    assert query_of(started.headers["location"])["response_type"] == "code"
