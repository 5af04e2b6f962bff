"""openid-client and oauth4webapi under Node.js: discovery, login, refresh, userinfo and revocation in every way they offer."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import requests

from broker_local.server import PROJECT
from broker_testing.journey import CALLBACK, Login, TestClient, register
from broker_testing.ports import free_port
from broker_testing.registration import OPEN, policy_is
from broker_testing.signing import jwk_of, jwk_set, new_key
from clients.conftest import HERE, TIMEOUT, Report, RunScript, script_environment

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
ENDED = {"refresh": "invalid_grant", "userinfo": 401}


def settings(client: TestClient, **more: object) -> dict[str, object]:
    """What a script has to know of its client."""
    secret = {"client_secret": client.secret} if client.secret else {}
    auth = "client_secret_basic" if client.secret else "none"
    return {"client_id": client.client_id, "redirect_uri": CALLBACK, "auth": auth} | secret | more


def registered(base: str, auth: str, **attributes: Any) -> dict[str, object]:
    """Register a client that authenticates in this way; its settings."""
    values: dict[str, Any] = {"providers": ("openid",)} | attributes
    if auth == "private_key_jwt":
        key = new_key()
        public = jwk_set(jwk_of(key) | {"kid": "one", "alg": "ES256"})
        client = register(base, auth_methods=(auth,), jwks=public, **values)
        return settings(client, auth=auth, jwk=jwk_of(key, private=True) | {"kid": "one"})
    if auth == "none":
        return settings(register(base, **values))
    return settings(register(base, secret=True, auth_methods=(auth,), **values), auth=auth)


def assert_lived(report: Report, token_type: str = "bearer") -> None:
    """The whole life of a login went well: its claims, a rotation, and its end."""
    assert report["sub"]
    assert (report["name"], report["email"]) == ("John Doe", "john@example.com")
    assert report["rotated"] is True
    assert report["token_type"] == token_type
    assert report["after_revocation"] == ENDED


def assert_reconnects(report: Report, base: str) -> None:
    """The library got at the address of the reconnect, in each answer that has one."""
    assert report.keys() == {"userinfo", "refresh"}
    for url in report.values():
        assert url.startswith(f"{base}/authorize?client_id=")
        assert "&provider=openid&reconnect=tbn_" in url


@pytest.mark.parametrize("library", ["openid_client", "oauth4webapi"])
class TestLibraries:
    """What both offer, by the same names."""

    @pytest.mark.parametrize("auth", ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"])
    def test_login(self, run_node: RunScript, base: str, library: str, auth: str) -> None:
        report = run_node(library, scenario="login", **registered(base, auth))
        assert_lived(report)
        assert report["nonce"] is True
        if auth != "none":
            assert report["introspected"]["active"] is True
            assert report["introspected"]["sub"] == report["sub"]

    def test_es256_id_token(self, run_node: RunScript, base: str, library: str) -> None:
        client = registered(base, "none", id_token_alg="ES256")
        assert_lived(run_node(library, scenario="login", id_token_alg="ES256", **client))

    def test_discovery_by_rfc_8414(self, run_node: RunScript, base: str, library: str) -> None:
        assert_lived(run_node(library, scenario="login", algorithm="oauth2", **registered(base, "none")))

    @pytest.mark.parametrize("auth", ["none", "client_secret_basic"])
    def test_pushed_request(self, run_node: RunScript, base: str, library: str, auth: str) -> None:
        assert_lived(run_node(library, scenario="pushed", **registered(base, auth, require_par=True)))

    @pytest.mark.parametrize("auth", ["none", "private_key_jwt"])
    def test_dpop(self, run_node: RunScript, base: str, library: str, auth: str) -> None:
        assert_lived(run_node(library, scenario="dpop", **registered(base, auth, dpop_bound=True)), "dpop")

    def test_device(self, run_node: RunScript, base: str, library: str) -> None:
        grants = {"grant_types": (DEVICE_GRANT, "refresh_token"), "redirect_uris": ()}
        assert_lived(run_node(library, scenario="device", **registered(base, "none", **grants)))

    def test_refusal(self, run_node: RunScript, base: str, library: str) -> None:
        assert run_node(library, scenario="refused", **registered(base, "none")) == {"error": "login_required"}

    def test_reconnect(self, run_node: RunScript, base: str, library: str) -> None:
        assert_reconnects(run_node(library, scenario="reconnect", **registered(base, "none")), base)


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_introspection_as_a_signed_jwt(run_node: RunScript, base: str, alg: str) -> None:
    """RFC 9701, the signature verified by oauth4webapi."""
    client = registered(base, "client_secret_basic", id_token_alg=alg)
    report = run_node("oauth4webapi", scenario="login", id_token_alg=alg, introspection_alg=alg, **client)
    assert_lived(report)
    assert report["introspected"]["media_type"].startswith("application/token-introspection+jwt")
    assert (report["introspected"]["active"], report["introspected"]["sub"]) == (True, report["sub"])


def test_protected_resource_metadata(run_node: RunScript, base: str) -> None:
    """RFC 9728, checked by oauth4webapi."""
    document = run_node("oauth4webapi", scenario="resource", **registered(base, "none"))
    assert (document["resource"], document["authorization_servers"]) == (base, [base])


@pytest.mark.parametrize("auth", ["none", "client_secret_basic", "client_secret_post"])
def test_openid_client_registers_itself(run_node: RunScript, base: str, auth: str) -> None:
    with policy_is(OPEN):
        report = run_node("openid_client", scenario="registered", redirect_uri=CALLBACK, auth=auth)
    assert_lived(report)


def test_openid_client_logs_out(run_node: RunScript, base: str) -> None:
    """RP-initiated logout: back at the client, and the refresh token is worth nothing."""
    bye = "https://app.example/bye"
    client = registered(base, "none", post_logout_redirect_uris=(bye,))
    report = run_node("openid_client", scenario="logout", post_logout_redirect_uri=bye, **client)
    assert report == {"arrived": f"{bye}?state=bye", "refresh": "invalid_grant"}


def backend_of_the_docs(changes: dict[str, str]) -> str:
    """The sample of docs/frontend.md for a backend, with its placeholders filled in."""
    text = (PROJECT / "docs" / "frontend.md").read_text("utf-8")
    (code,) = re.findall(r"```js\n(import http .*?)```", text, re.DOTALL)
    for placeholder, value in changes.items():
        assert placeholder in code, placeholder
        code = code.replace(placeholder, value)
    return str(code)


def test_the_backend_of_the_docs(node: str, base: str, person: str) -> None:
    port = free_port()
    app = f"http://localhost:{port}"
    client = register(base, redirect_uris=(f"{app}/callback",), secret=True, providers=("openid",))
    plain_http = ", undefined, { execute: [oidc.allowInsecureRequests] })"
    code = backend_of_the_docs(
        {
            "https://app.example.com": app,
            "https://login.example.com": base,
            "your-client-id": client.client_id,
            '"your-client-secret")': f'"{client.secret}"{plain_http}',
            "3001": str(port),
        }
    )
    words = [node, "--input-type=module", "--eval", code]
    with subprocess.Popen(words, cwd=HERE, env=script_environment()) as backend:
        try:
            started = first_answer(f"{app}/login")
            arrived = requests.post(person, data=started.headers["location"], timeout=TIMEOUT).json()["url"]
            assert urlsplit(arrived).port == port
            assert raw_answer(port, b"GET // HTTP/1.1").startswith(b"HTTP/1.1 400 ")
            assert get(arrived, "session=another").status_code == 401
            back = get(arrived, session_of(started))
            assert (back.status_code, back.headers["location"]) == (303, "/")
            profile = get(f"{app}/me", session_of(back)).json()
            assert (profile["name"], profile["email"]) == ("John Doe", "john@example.com")
            assert get(f"{app}/me", session_of(started)).status_code == 401
        finally:
            backend.terminate()


def verified_by_the_docs(node: str, issuer: str, resource: str, token: str) -> Any:
    """What `answer` of docs/verify-tokens.md says of a token, under Node.js."""
    text = (PROJECT / "docs" / "verify-tokens.md").read_text("utf-8")
    (code,) = re.findall(r"```js\n(.*?)```", text, re.DOTALL)
    code = code.replace("https://login.example.com", issuer).replace("https://api.example/v1", resource)
    ask = "console.log(JSON.stringify(await answer(process.argv[1])));"
    words = [node, "--input-type=module", "--eval", code + ask, token]
    done = subprocess.run(words, cwd=HERE, env=script_environment(), capture_output=True, timeout=TIMEOUT, check=True)
    return json.loads(done.stdout)


def test_the_verification_of_the_docs(node: str, base: str) -> None:
    resource = "https://api.example/v1"
    login = Login(register(base, resources=(resource,)))
    login.parameters["resource"] = resource
    answer = login.tokens()
    status, claims = verified_by_the_docs(node, base, resource, answer["access_token"])
    assert (status, claims["aud"]) == (200, resource)
    kids = {
        key["kty"]: key["kid"] for key in requests.get(f"{base}/.well-known/jwks.json", timeout=TIMEOUT).json()["keys"]
    }
    confused = jwt.encode(claims, new_key("ES256"), algorithm="ES256", headers={"typ": "at+jwt", "kid": kids["RSA"]})
    for bad in (answer["id_token"], confused, "x"):
        assert verified_by_the_docs(node, base, resource, bad) == [401, {"error": "invalid_token"}]
    for place in (f"http://127.0.0.1:{free_port()}", f"{base}/nowhere"):
        unknown = verified_by_the_docs(node, place, resource, answer["access_token"])
        assert unknown == [503, {"error": "temporarily_unavailable"}]


def get(url: str, cookie: str = "") -> requests.Response:
    return requests.get(url, headers={"cookie": cookie}, allow_redirects=False, timeout=TIMEOUT)


def raw_answer(port: int, request_line: bytes) -> bytes:
    """To a target that no library sends."""
    with socket.create_connection(("localhost", port), timeout=TIMEOUT) as connection:
        connection.sendall(request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return connection.makefile("rb").read()


def session_of(response: requests.Response) -> str:
    """The session cookie as a browser sends it back."""
    cookie = response.headers["set-cookie"]
    assert cookie.endswith("; Path=/; HttpOnly; Secure; SameSite=Lax")
    return cookie.partition(";")[0]


def first_answer(url: str) -> requests.Response:
    """As soon as the server listens."""
    for _ in range(200):
        try:
            return get(url)
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError(f"nothing listens at {url}")
