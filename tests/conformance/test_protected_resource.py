"""Protected resource metadata (RFC 9728): userinfo describes itself, and its challenge says where."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from broker.gateway import Request
from broker.protocol.protected_resource import protected_resource_metadata_url
from broker.runtime import runtime
from broker_testing.conformance import Clients
from broker_testing.journey import Login, userinfo
from conformance.wire import challenge_of

PATH = "/.well-known/oauth-protected-resource"


def described(clients: Clients) -> dict[str, Any]:
    """The document."""
    response = requests.get(f"{clients.base}{PATH}", headers={"origin": "https://anybody.example"}, timeout=30)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["cache-control"].startswith("public, max-age=")
    document: dict[str, Any] = response.json()
    return document


@pytest.mark.spec("META-12", "RFC 9728 3.2")
def test_the_document(clients: Clients) -> None:
    document = described(clients)
    assert document["resource"] == clients.base
    assert document["authorization_servers"] == [clients.base]
    assert document["bearer_methods_supported"] == ["header", "body"]
    assert set(document["scopes_supported"]) == {"openid", "profile", "email"}
    server = requests.get(f"{clients.base}/.well-known/oauth-authorization-server", timeout=30).json()
    assert server["protected_resources"] == [document["resource"]]
    assert document["dpop_signing_alg_values_supported"] == server["dpop_signing_alg_values_supported"]


@pytest.mark.spec("META-12", "RFC 9728 3.3", "RFC 8707 2")
def test_its_resource_id_may_be_asked_for_and_gets_a_token_for_userinfo(clients: Clients) -> None:
    login = Login(clients.public)
    login.parameters["resource"] = described(clients)["resource"]
    assert userinfo(clients.base, login.tokens()["access_token"]).status_code == 200


@pytest.mark.spec("META-12", "RFC 9728 5.1")
def test_the_challenge_points_to_it(clients: Clients) -> None:
    url = f"{urlsplit(clients.base).scheme}://{urlsplit(clients.base).netloc}{PATH}{urlsplit(clients.base).path}"
    without = requests.get(f"{clients.base}/userinfo", timeout=30)
    assert without.status_code == 401
    assert challenge_of(without)["resource_metadata"] == url
    assert challenge_of(userinfo(clients.base, "x"))["resource_metadata"] == url
    by_dpop = requests.get(f"{clients.base}/userinfo", headers={"authorization": "DPoP x"}, timeout=30)
    assert f'resource_metadata="{url}"' in by_dpop.headers["www-authenticate"]
    assert requests.get(url, timeout=30).json()["resource"] == clients.base


@pytest.mark.spec("META-12", "RFC 9728 3.1")
def test_there_is_no_other_resource(clients: Clients) -> None:
    response = requests.get(f"{clients.base}{PATH}/somebody/else", timeout=30)
    assert response.status_code == 404
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.local_only
@pytest.mark.spec("META-12", "RFC 9728 3.1")
def test_an_issuer_with_a_path(clients: Clients) -> None:
    """Its document is where its path follows the well-known one, and below the issuer too."""
    from broker.endpoints import metadata

    issuer = "https://login.example/auth"
    assert protected_resource_metadata_url(issuer) == f"https://login.example{PATH}/auth"
    for path, status in ((f"{PATH}/auth", 200), (PATH, 200), (f"{PATH}/other", 404), (f"{PATH}/", 404)):
        response = metadata.respond(Request("GET", path, issuer), runtime())
        assert response.status == status, path
        if status == 200:
            assert f'"resource": "{issuer}"' in response.body


@pytest.mark.spec("META-12", "META-14", "RFC 9110 9.3.2")
def test_only_get_and_head(clients: Clients) -> None:
    assert requests.head(f"{clients.base}{PATH}", timeout=30).status_code == 200
    refused = requests.post(f"{clients.base}{PATH}", timeout=30)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    preflight = requests.options(f"{clients.base}{PATH}", headers={"origin": "https://a.example"}, timeout=30)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "*")
