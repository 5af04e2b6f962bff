"""The issuer anywhere: the API's own address, a custom domain, a path of a domain. Events as API Gateway sends them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from broker import runtime as wiring
from broker_testing.journey import TestClient, pkce_pair, register

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"


def event(
    path: str, *, query: str = "", api_id: str = "abc123", headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """A GET as payload 2.0."""
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "attacker.example", "x-forwarded-host": "attacker.example"} | (headers or {}),
        "requestContext": {
            "apiId": api_id,
            "domainName": "attacker.example",
            "requestId": "r1",
            "http": {"method": "GET", "path": path, "sourceIp": "192.0.2.1"},
        },
        "isBase64Encoded": False,
    }


def function(name: str) -> Callable[[dict[str, Any], object], dict[str, Any]]:
    spec = importlib.util.spec_from_file_location(f"issuer_test_{name}", FUNCTIONS / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Callable[[dict[str, Any], object], dict[str, Any]] = module.handler
    return handler


@dataclass(frozen=True)
class Place:
    """Where an issuer lives: the setting, the issuer that results, and what API Gateway puts before each path."""

    setting: str
    issuer: str
    mapping: str
    url_suffix: str = "amazonaws.com"


PLACES = {
    "default": Place("", "https://abc123.execute-api.eu-central-1.amazonaws.com", ""),
    "china": Place("", "https://abc123.execute-api.eu-central-1.amazonaws.com.cn", "", "amazonaws.com.cn"),
    "domain": Place("https://login.example.com", "https://login.example.com", ""),
    "path": Place("https://example.com/auth", "https://example.com/auth", "/auth"),
}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, base: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The running broker's tables and keys under another issuer."""
    wanted = PLACES[str(request.param)]
    own = wiring.runtime()
    moved = wiring.Runtime(
        replace(own.settings, issuer=wanted.setting, region="eu-central-1", url_suffix=wanted.url_suffix)
    )
    monkeypatch.setattr("broker.endpoints.entry.runtime", lambda: moved)
    yield wanted


def test_metadata_names_the_issuer_and_its_endpoints(place: Place) -> None:
    """META-1: the issuer is identical to where the client looked, and every address hangs on it."""
    answer = function("metadata")(event(f"{place.mapping}/.well-known/openid-configuration"), None)
    assert answer["statusCode"] == 200
    document = json.loads(answer["body"])
    assert document["issuer"] == place.issuer
    addresses = {name: value for name, value in document.items() if name.endswith(("_endpoint", "_uri"))}
    assert len(addresses) > 5
    assert all(value.startswith(f"{place.issuer}/") for value in addresses.values()), addresses


def test_metadata_beside_a_path(place: Place) -> None:
    """META-2: RFC 8414 section 3.1; both documents agree. Another issuer's path is not served."""
    beside = "/.well-known/oauth-authorization-server" + urlsplit(place.issuer).path
    metadata = function("metadata")
    answer = metadata(event(beside), None)
    below = metadata(event(f"{place.mapping}/.well-known/openid-configuration"), None)
    assert json.loads(answer["body"]) == json.loads(below["body"])
    assert metadata(event("/.well-known/oauth-authorization-server/other"), None)["statusCode"] == 404


def test_keys_are_served(place: Place) -> None:
    answer = function("metadata")(event(f"{place.mapping}/.well-known/jwks.json"), None)
    assert {key["alg"] for key in json.loads(answer["body"])["keys"]} == {"ES256", "RS256"}


def test_a_login_goes_to_the_issuers_callback_with_a_cookie_of_its_host(place: Place, base: str) -> None:
    """The redirect URI at the provider hangs on the issuer; the cookie is Secure, of this host alone (GEN-138)."""
    client: TestClient = register(base)
    _, challenge = pkce_pair()
    query = urlencode(
        {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": client.redirect_uri,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
    )
    answer = function("authorize")(event(f"{place.mapping}/authorize", query=query), None)
    assert answer["statusCode"] == 303, answer
    sent = parse_qs(urlsplit(answer["headers"]["location"]).query)
    assert sent["redirect_uri"] == [f"{place.issuer}/callback/infolobby"]
    (cookie,) = answer["cookies"]
    assert cookie.startswith("__Host-tb-login-")
    assert cookie.endswith("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure")
    assert "attacker.example" not in json.dumps(answer)


def test_errors_carry_the_issuer(place: Place, base: str) -> None:
    """AUTHZ-36: iss in the error redirect is the issuer of the metadata."""
    client = register(base)
    query = f"client_id={client.client_id}&redirect_uri={quote(client.redirect_uri)}&response_type=token"
    answer = function("authorize")(event(f"{place.mapping}/authorize", query=query), None)
    sent = parse_qs(urlsplit(answer["headers"]["location"]).query)
    assert sent["iss"] == [place.issuer]
    assert sent["error"] == ["unsupported_response_type"]
