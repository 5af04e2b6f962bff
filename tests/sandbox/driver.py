"""What a browser and an application do at the sandbox, by events alone."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

BASE = "http://localhost:3000"
SECRET = "s3cret+with/odd chars%41"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

_APP = Path(__file__).parents[2] / "functions" / "sandbox" / "app.py"


def _handler() -> Callable[[dict[str, Any], object], dict[str, Any]]:
    spec = importlib.util.spec_from_file_location("sandbox_app", _APP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Callable[[dict[str, Any], object], dict[str, Any]] = module.handler
    return handler


HANDLER = _handler()


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def location(self) -> str:
        return self.headers["location"]

    @property
    def returned(self) -> dict[str, str]:
        """The parameters of a redirect."""
        return dict(parse_qsl(urlsplit(self.location).query))

    @property
    def form(self) -> Form:
        """The one form of a page."""
        reader = _FormReader()
        reader.feed(self.body)
        assert reader.method == "post"
        return Form(reader.action, reader.hidden, tuple(reader.names), tuple(reader.buttons))


@dataclass(frozen=True)
class Form:
    action: str
    hidden: Mapping[str, str]
    names: tuple[str, ...]
    buttons: tuple[tuple[str, str], ...]


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.method = ""
        self.hidden: dict[str, str] = {}
        self.names: list[str] = []
        self.buttons: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action, self.method = given["action"], given["method"]
        elif tag == "input" and given.get("type") == "hidden":
            self.hidden[given["name"]] = given["value"]
        elif tag == "input":
            self.names.append(given["name"])
        elif tag == "button" and "name" in given:
            self.buttons.append((given["name"], given["value"]))


@dataclass(frozen=True)
class Registration:
    """How an application reaches one provider."""

    provider: str
    client_id: str
    authorize: str
    token: str
    userinfo: str = ""

    @property
    def redirect_uri(self) -> str:
        return f"{BASE}/callback/{self.provider}"

    def request(self, **changes: str | None) -> dict[str, str]:
        """The parameters of a plain authorization request, changed or (None) left out."""
        plain: dict[str, str | None] = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "state": "st&te é",
        }
        if self.provider in ("openid", "oidc"):
            plain |= {
                "scope": "openid profile email",
                "code_challenge": CHALLENGE,
                "code_challenge_method": "S256",
            }
        return {name: value for name, value in (plain | changes).items() if value is not None}


INFOLOBBY = Registration(
    "infolobby", "sandbox-infolobby", "/api/oauth/authorize", "/api/oauth/token", "/api/oauth/profile"
)
LOCKIT = Registration("lockitnetwork", "sandbox-lockitnetwork", "/oauth/authorize", "/oauth/access-token", "/locks")
PHPAPI = Registration("phpapi", "sandbox-phpapi", "/api/authorize.php", "/api/token.php", "/api/userinfo.php")
REDBOOTH = Registration("redbooth", "sandbox-redbooth", "/oauth2/authorize", "/oauth2/token", "/api/3/me")
ITERNIO = Registration("iternio", "4711", "/oauth/auth", "/1/oauth/token", "/1/oauth/me")
ITERNIO_LIVE = Registration("iternio-live", "4712", "/oauth/auth", "/1/oauth/token", "/1/oauth/me")
OPENID = Registration("openid", "sandbox-openid", "/authorize", "/token", "/userinfo")
OIDC = Registration("oidc", "sandbox-oidc", "/authorize", "/token", "/userinfo")

ALL = (INFOLOBBY, LOCKIT, PHPAPI, REDBOOTH, ITERNIO, ITERNIO_LIVE, OPENID, OIDC)


def basic(client_id: str, secret: str = SECRET) -> dict[str, str]:
    """An Authorization header as curl -u sends it."""
    return {"authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def bearer(access_token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {access_token}"}


class Sandbox:
    """The handler, and the walks through it that tests share."""

    def send(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
        encoded: bool = False,
    ) -> Answer:
        """One request; `path` from the root of the API."""
        event = {
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": query,
            "headers": {"host": "localhost:3000", **(headers or {})},
            "requestContext": {"apiId": "api123", "http": {"method": method, "path": path}},
            "isBase64Encoded": encoded,
        }
        if body is not None:
            event["body"] = base64.b64encode(body.encode()).decode() if encoded else body
        answer = HANDLER(event, None)
        return Answer(
            answer["statusCode"], {name.lower(): value for name, value in answer["headers"].items()}, answer["body"]
        )

    def get(
        self,
        at: Registration,
        path: str,
        parameters: Mapping[str, str] | str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        query = parameters if isinstance(parameters, str) else urlencode(parameters)
        return self.send("GET", f"/sandbox/{at.provider}{path}", query, headers)

    def post(
        self,
        at: Registration,
        path: str,
        parameters: Mapping[str, str] | str,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        body = parameters if isinstance(parameters, str) else urlencode(parameters)
        declared = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
        return self.send("POST", f"/sandbox/{at.provider}{path}", "", declared, body)

    def submit(self, page: Answer, **fields: str) -> Answer:
        """Fill in a page's form and send it."""
        form = page.form
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return self.send("POST", form.action, "", headers, urlencode({**form.hidden, **fields}), encoded=True)

    def decide(
        self, at: Registration, decision: str = "allow", username: str = "johndoe", **changes: str | None
    ) -> Answer:
        """From the authorization request to the redirect back."""
        page = self.get(at, at.authorize, at.request(**changes))
        assert page.status == 200, page.body
        asked = self.submit(page, username=username, password="sandbox")
        assert asked.status == 200
        return self.submit(asked, decision=decision)

    def code(self, at: Registration, username: str = "johndoe", **changes: str | None) -> str:
        """A fresh code."""
        back = self.decide(at, "allow", username, **changes)
        assert back.status == 302
        return back.returned["auth_code" if at.provider == "iternio" else "code"]

    def redeem(self, at: Registration, code: str, **changes: str | None) -> Answer:
        """The token request that the provider's guide describes, changed or (None) parameters left out."""
        plain: dict[str, str | None] = {"code": code}
        if at is not LOCKIT:
            plain |= {"client_id": at.client_id, "client_secret": SECRET}
        if at is not PHPAPI:
            plain |= {"grant_type": "authorization_code", "redirect_uri": at.redirect_uri}
        if at in (OPENID, OIDC):
            plain |= {"code_verifier": VERIFIER}
        sent = {name: value for name, value in (plain | changes).items() if value is not None}
        return self.post(at, at.token, sent, basic(at.client_id) if at is LOCKIT else None)

    def refresh(self, at: Registration, refresh_token: str, **changes: str | None) -> Answer:
        plain: dict[str, str | None] = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        if at is not LOCKIT:
            plain |= {"client_id": at.client_id, "client_secret": SECRET}
        sent = {name: value for name, value in (plain | changes).items() if value is not None}
        return self.post(at, at.token, sent, basic(at.client_id) if at is LOCKIT else None)

    def tokens(self, at: Registration, username: str = "johndoe", **changes: str | None) -> dict[str, Any]:
        """The answer of a whole sign-in."""
        answer = self.redeem(at, self.code(at, username, **changes))
        assert answer.status == 200, answer.body
        tokens: dict[str, Any] = answer.json
        return tokens

    def userinfo(self, at: Registration, access_token: str) -> Answer:
        if at in (ITERNIO, ITERNIO_LIVE):
            return self.get(at, at.userinfo, {"api_key": SECRET, "access_token": access_token})
        return self.get(at, at.userinfo, headers=bearer(access_token))

    def control(self, method: str, name: str, ordered: object = None, query: str = "") -> Answer:
        """The test switch."""
        body = None if ordered is None else json.dumps(ordered)
        return self.send(method, f"/sandbox/{name}", query, {"content-type": "application/json"}, body)
