"""Sign in with Apple as its documentation describes it, as a server of its own that forgives nothing.

It knows one Services ID of one team by the team's key. Nobody has to sign in: `answer` is what Apple lets the browser post,
and its authorization endpoint is a page that does so at once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from broker.runtime import runtime
from broker.store.aws import client
from broker.store.registry import ProviderEntry
from broker.store.secrets import ProviderSecret
from broker.upstream.signing import new_key

CLIENT_ID, TEAM_ID, KEY_ID = "com.example.web", "TEAM123456", "KEY1234567"
SUBJECT = "000000.00000000000000000000000000000000.0000"
_KID = "fh6Bs8C"


@dataclass
class FakeApple:
    """One team's registration, and what Apple has issued for it. `requests`: (path, form) of each call, `refused`: why."""

    url: str
    team_key: ec.EllipticCurvePrivateKey
    signing_key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    codes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    refresh_tokens: set[str] = field(default_factory=set)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def answer(self, authorize_url: str, *, first: bool) -> dict[str, str]:
        """The form that the browser posts to the redirect URI after the person has allowed it."""
        asked = dict(parse_qsl(urlsplit(authorize_url).query, strict_parsing=True))
        assert authorize_url.startswith(f"{self.url}/auth/authorize?")
        assert asked.keys() == {
            "client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce"
        }, asked.keys()  # fmt: skip
        assert (asked["client_id"], asked["response_type"]) == (CLIENT_ID, "code")
        assert asked["response_mode"] == "form_post", "Apple refuses a scope without it"
        code = f"c{secrets.token_hex(16)}.0.mwxx.{secrets.token_urlsafe(16)}"
        self.codes[code] = asked
        user = {"name": {"firstName": "Jane", "lastName": "Appleseed"}, "email": "jane@privaterelay.example"}
        return {"state": asked["state"], "code": code} | ({"user": json.dumps(user)} if first else {})

    def page(self, authorize_url: str) -> str:
        """Apple's page, as it is when the person has allowed it."""
        form = self.answer(authorize_url, first=True)
        (target,) = (value for name, value in parse_qsl(urlsplit(authorize_url).query) if name == "redirect_uri")
        fields = "".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in form.items())
        return (
            f'<!doctype html><title>Apple</title><form method="post" action="{escape(target)}">{fields}</form>'
            "<script>document.forms[0].submit()</script>"
        )

    def serve(self, method: str, path: str, form: dict[str, str]) -> tuple[int, object]:
        """Status and JSON document (None: no body) of one call."""
        if (method, path) == ("GET", "/.well-known/openid-configuration"):
            return 200, self._discovery()
        if (method, path) == ("GET", "/auth/keys"):
            jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self.signing_key.public_key(), as_dict=True)
            return 200, {"keys": [{**jwk, "kid": _KID, "use": "sig", "alg": "RS256"}]}
        self.requests.append((path, form))
        if problem := self._client_problem(form):
            self.refused.append(problem)
            return 400, {"error": "invalid_client"}
        if (method, path) == ("POST", "/auth/token"):
            return self._token(form)
        if (method, path) == ("POST", "/auth/revoke") and form.get("token_type_hint") == "refresh_token":
            self.refresh_tokens.discard(form["token"])
            return 200, None
        return 404, None

    def _discovery(self) -> Mapping[str, object]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth/authorize",
            "token_endpoint": f"{self.url}/auth/token",
            "revocation_endpoint": f"{self.url}/auth/revoke",
            "jwks_uri": f"{self.url}/auth/keys",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "name"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    def _client_problem(self, form: Mapping[str, str]) -> str:
        if form.get("client_id") != CLIENT_ID:
            return "client_id"
        try:
            header = jwt.get_unverified_header(form["client_secret"])
            claims = jwt.decode(
                form["client_secret"],
                self.team_key.public_key(),
                algorithms=["ES256"],
                audience="https://appleid.apple.com",
                options={"require": ["iss", "iat", "exp", "aud", "sub"], "verify_exp": False, "verify_iat": False},
            )
        except (KeyError, jwt.PyJWTError) as error:
            return type(error).__name__
        if header.get("kid") != KEY_ID or claims["iss"] != TEAM_ID or claims["sub"] != CLIENT_ID:
            return "kid, iss or sub"
        return "" if claims["exp"] - claims["iat"] <= 15_777_000 else "exp"

    def _token(self, form: Mapping[str, str]) -> tuple[int, object]:
        access_token = f"a{secrets.token_hex(16)}.0.mwxx.{secrets.token_urlsafe(16)}"
        granted: dict[str, object] = {"access_token": access_token, "token_type": "Bearer", "expires_in": 3600}
        if form.get("grant_type") == "refresh_token":
            if form.get("refresh_token") not in self.refresh_tokens:
                return 400, {"error": "invalid_grant"}
            return 200, granted | {"id_token": self._id_token({}, access_token)}
        asked = self.codes.pop(form.get("code", ""), None)
        if form.get("grant_type") != "authorization_code" or asked is None:
            return 400, {"error": "invalid_grant", "error_description": "The code has expired or has been revoked."}
        if form.get("redirect_uri") != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        refresh_token = f"r{secrets.token_hex(16)}.0.mwxx.{secrets.token_urlsafe(16)}"
        self.refresh_tokens.add(refresh_token)
        claims = {"nonce": asked["nonce"], "nonce_supported": True}
        return 200, granted | {"refresh_token": refresh_token, "id_token": self._id_token(claims, access_token)}

    def _id_token(self, more: Mapping[str, Any], access_token: str) -> str:
        now = int(time.time())
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "exp": now + 86400,
            "iat": now,
            "sub": SUBJECT,
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
            "email": "jane@privaterelay.example",
            "email_verified": "true",
            "is_private_email": "true",
            "auth_time": now,
        }
        return str(jwt.encode({**claims, **more}, self.signing_key, "RS256", headers={"kid": _KID}))


@contextmanager
def registered_apple() -> Iterator[FakeApple]:
    """An Apple at which the broker of this process is registered, under the name apple."""
    key = new_key("ES256")
    private_key = key.private_key
    assert isinstance(private_key, ec.EllipticCurvePrivateKey)
    secrets_manager, secret_id = client("secretsmanager"), runtime().settings.provider_secret_prefix + "apple"
    held = ProviderSecret(CLIENT_ID, private_key=key.private_pem, kid=KEY_ID)
    with running_apple(private_key) as apple:
        entry = ProviderEntry(
            "apple", catalogue="apple", overrides={"issuer": apple.url}, variables={"team_id": TEAM_ID}
        )
        secrets_manager.create_secret(Name=secret_id, SecretString=held.text())
        runtime().registry.add_provider(entry)
        runtime().forget()
        yield apple
        runtime().registry.remove_provider("apple")
        secrets_manager.delete_secret(SecretId=secret_id, ForceDeleteWithoutRecovery=True)


@contextmanager
def running_apple(team_key: ec.EllipticCurvePrivateKey) -> Iterator[FakeApple]:
    """An Apple of its own on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply("GET")

        def do_POST(self) -> None:
            self._reply("POST")

        def _reply(self, method: str) -> None:
            if urlsplit(self.path).path == "/auth/authorize":
                self._send(200, "text/html; charset=utf-8", apple.page(apple.url + self.path).encode())
                return
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, document = apple.serve(method, urlsplit(self.path).path, dict(parse_qsl(body.decode())))
            data = b"" if document is None else json.dumps(document).encode()
            self._send(status, "application/json;charset=ISO-8859-1", data)

        def _send(self, status: int, kind: str, data: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    apple = FakeApple(f"http://127.0.0.1:{server.server_address[1]}", team_key)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield apple
    finally:
        server.shutdown()
        server.server_close()
