"""A client's way through the broker: authorization request, login at the sandbox, code, tokens, profile."""

from __future__ import annotations

import base64
import hashlib
import itertools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests

from broker.protocol.clients import Client, ClientSecret, hash_secret, web_origin
from broker.runtime import runtime
from broker_testing.browser import Browser

CALLBACK = "https://app.example/callback"
PASSWORD = "sandbox"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class TestClient:
    """A registered client with the secret it was given, and the broker it talks to."""

    __test__ = False

    base: str
    registered: Client
    secret: str | None = None

    @property
    def client_id(self) -> str:
        """Its id."""
        return self.registered.client_id

    @property
    def redirect_uri(self) -> str:
        """Its first redirect URI."""
        return self.registered.redirect_uris[0]

    def credentials(self) -> dict[str, str]:
        """Its authentication in the form body."""
        secret = {"client_secret": self.secret} if self.secret is not None else {}
        return {"client_id": self.client_id} | secret


def register(base: str, **attributes: Any) -> TestClient:
    """Register a public client of all sandbox providers at the broker at `base`; `attributes` as in Client.

    `secret=True` makes it confidential.
    """
    secret = secrets.token_urlsafe(32) if attributes.pop("secret", False) else None
    values: dict[str, Any] = {
        "client_id": f"client-{next(_numbers)}-{secrets.token_hex(4)}",
        "name": "A test client",
        "redirect_uris": (CALLBACK,),
        "providers": ("infolobby",),
        "created_at": 1,
    }
    if secret is not None:
        values |= {
            "auth_methods": ("client_secret_basic", "client_secret_post"),
            "secrets": (ClientSecret(hash_secret(secret), 1),),
        }
    values |= attributes
    values.setdefault("origins", tuple({web_origin(uri) for uri in values["redirect_uris"]} - {None}))
    client = Client(**values)
    runtime().registry.add_client(client)
    return TestClient(base, client, secret)


def change(client: TestClient, **attributes: Any) -> TestClient:
    """Make a client what it was registered as but for these attributes, whatever it was changed to meanwhile."""
    changed = replace(client.registered, **attributes)
    registry = runtime().registry
    registry.forget()
    stored = registry.client(client.client_id)
    assert stored is not None
    registry.update_client(changed, stored)
    return replace(client, registered=changed)


def pkce_pair() -> tuple[str, str]:
    """(code_verifier, code_challenge) by RFC 7636, made here and not by the broker's code."""
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    return verifier, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass
class Login:
    """One authorization request of a client and what became of it.

    parameters: of the authorization request; None removes one.
    """

    client: TestClient
    provider: str | None = None
    browser: Browser = field(default_factory=Browser)
    verifier: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    answer: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.verifier, challenge = pkce_pair()
        self.parameters = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.client.redirect_uri,
            "scope": "openid profile email",
            "state": secrets.token_urlsafe(8),
            "nonce": secrets.token_urlsafe(8),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if self.provider is not None:
            self.parameters["provider"] = self.provider

    def authorize_url(self, **changes: str | None) -> str:
        """The authorization request, with parameters changed, or removed by None."""
        merged = {name: value for name, value in (self.parameters | changes).items() if value is not None}
        self.parameters = {name: value for name, value in merged.items() if value is not None}
        return f"{self.client.base}/authorize?{urlencode(self.parameters)}"

    def start(self, **changes: str | None) -> requests.Response:
        """Send the authorization request; the answer is the redirect to the provider, not yet followed."""
        return self.browser.get(self.authorize_url(**changes))

    def at_provider(self, response: requests.Response, *, username: str = "johndoe", decision: str = "allow") -> str:
        """Log in at the sandbox and decide. Returns the URL that the provider sends the browser back to."""
        page = self.browser.follow(response)
        assert page.status_code == 200, (page.status_code, page.text)
        consent = self.browser.follow(self.browser.submit(page, {"username": username, "password": PASSWORD}))
        assert consent.status_code == 200, (consent.status_code, consent.text)
        back = self.browser.submit(consent, {"decision": decision})
        assert back.status_code in (302, 303), (back.status_code, back.text)
        return back.headers["location"]

    def callback_url(self, *, username: str = "johndoe", decision: str = "allow", **changes: str | None) -> str:
        """Everything up to, and without, the broker's callback."""
        return self.at_provider(self.start(**changes), username=username, decision=decision)

    def run(self, *, username: str = "johndoe", decision: str = "allow", **changes: str | None) -> dict[str, str]:
        """The whole way: returns the parameters that the client gets at its redirect URI."""
        response = self.browser.get(self.callback_url(username=username, decision=decision, **changes))
        return self.read_answer(response)

    def read_answer(self, response: requests.Response) -> dict[str, str]:
        """The parameters of the redirect to the client."""
        assert response.status_code == 303, (response.status_code, response.text)
        location = response.headers["location"]
        expected = self.parameters.get("redirect_uri", self.client.redirect_uri)
        assert location.startswith(expected), location
        pairs = parse_qsl(urlsplit(location).query, keep_blank_values=True)
        self.answer = dict(pairs)
        assert len(self.answer) == len(pairs), "a parameter is there twice"
        return self.answer

    def code_form(self) -> dict[str, str]:
        """The token request for the code, without client authentication."""
        return {
            "grant_type": "authorization_code",
            "code": self.answer["code"],
            "redirect_uri": self.parameters.get("redirect_uri", self.client.redirect_uri),
            "code_verifier": self.verifier,
        }

    def redeem(self, **changes: str | None) -> requests.Response:
        """Exchange the code."""
        return post_form(f"{self.client.base}/token", self.code_form() | self.client.credentials(), changes)

    def tokens(self, *, username: str = "johndoe", **changes: str | None) -> dict[str, Any]:
        """Run and redeem; the token answer."""
        if "code" not in self.answer:
            self.run(username=username, decision="allow", **changes)
        response = self.redeem()
        assert response.status_code == 200, response.text
        document: dict[str, Any] = response.json()
        return document


def post_form(
    url: str, form: Mapping[str, str], changes: Mapping[str, str | None] | None = None, **arguments: Any
) -> requests.Response:
    """POST a form, with fields changed, or removed by None."""
    merged = {**form, **(changes or {})}
    data = {name: value for name, value in merged.items() if value is not None}
    return requests.post(url, data=data, timeout=30, allow_redirects=False, **arguments)


def send_exactly(
    method: str, url: str, headers: Mapping[str, str] | None = None, data: bytes | None = None
) -> requests.Response:
    """One request with the URL as it is written; `requests` would repair what is wrong with it."""
    with requests.Session() as session:
        prepared = session.prepare_request(
            requests.Request(method, url.partition("?")[0], headers=dict(headers or {}), data=data)
        )
        prepared.url = url
        # Proxies and authorities of the environment, which only `requests.get` adds by itself.
        around = session.merge_environment_settings(url, {}, None, None, None)
        return session.send(prepared, allow_redirects=False, timeout=30, **around)


def refresh(client: TestClient, refresh_token: str, **changes: str | None) -> requests.Response:
    """The refresh_token grant."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token} | client.credentials()
    return post_form(f"{client.base}/token", form, changes)


def userinfo(base: str, access_token: str) -> requests.Response:
    """GET /userinfo with a Bearer token."""
    return requests.get(f"{base}/userinfo", headers={"authorization": f"Bearer {access_token}"}, timeout=30)


def revoke(client: TestClient, token: str, **changes: str | None) -> requests.Response:
    """POST /revoke."""
    return post_form(f"{client.base}/revoke", {"token": token} | client.credentials(), changes)
