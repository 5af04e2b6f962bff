"""Every provider of the catalogue against a strict fake of it: what is sent is exactly what the provider documents, and its
successes, errors and oddities are read rightly.

The shapes are data, one file per provider in the folder shapes/, each with the public pages that they are taken from. What a
file holds:

    sources              where the shapes come from; assumptions: what in them does not
    registration         client_id, client_secret ("" for a private key), variables, scope (what a client asks for besides)
    discovery            the OpenID discovery document, where the provider has one
    authorize            url and query of the authorization request; prompts: prompt of it, for that of a client;
                         login_hint: its name for whom the client expects to sign in
    callback             how the browser comes back: query, and what is made of it
    request.WHAT         the request that WHAT (exchange, refresh, userinfo, revoke) must make, in every respect
    call                 a call: do, name, status, headers and body of the answer; then: what is made of it; oddity: it is one
    id_token             claims of an ID token, and what is made of them
"""

import base64
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from broker import clock
from broker.store.registry import ProviderEntry
from broker.upstream import catalogue
from broker.upstream.authorization import (
    Credentials,
    authorization_url,
    callback_redirect_uri,
    read_callback,
)
from broker.upstream.client_keys import OF_PROVIDERS, ClientKeys
from broker.upstream.dialect import exchange_code, fetch_profile, refresh_tokens, revoke_tokens
from broker.upstream.discovery import PATH, Discovery
from broker.upstream.failures import UpstreamFailure
from broker.upstream.http import Deadline, UpstreamRequest, UpstreamResponse
from broker.upstream.id_token import Expected, check
from broker.upstream.provider import Provider
from broker.upstream.registered import dialect_of
from broker.upstream.signing import new_key
from broker.upstream.tokens import UpstreamTokens

from .scripted import NOW, answer, deadline, http_of, query_of

FOLDER = Path(__file__).with_name("shapes")
KEY = new_key("ES256")
SIGNING_KEY = rsa.generate_private_key(65537, 2048)
TIMES_SENT = ("exp", "iat", "nbf", "auth_time")


@dataclass(frozen=True)
class Shape:
    """One provider's file."""

    name: str
    file: Mapping[str, Any]

    @property
    def credentials(self) -> Credentials:
        own = self.file["registration"]
        secret = own["client_secret"]
        return Credentials(own["client_id"], secret, None if secret else KEY)

    @property
    def scope(self) -> Sequence[str]:
        scope: Sequence[str] = self.file["registration"].get("scope", ())
        return scope

    @property
    def provider(self) -> Provider:
        entry = ProviderEntry(self.name, variables=self.file["registration"].get("variables", {}))
        first = dialect_of(entry, local=False)
        if "discovery" not in self.file:
            assert not first.needs_discovery, "the file lacks the discovery document"
            return first
        assert first.issuer is not None
        http = http_of(answer(200, json.loads(self.file["discovery"])))
        metadata = Discovery(http, clock.now, local=False).metadata(first.issuer)
        assert http.only.url == first.issuer.removesuffix("/") + PATH
        return dialect_of(entry, local=False, metadata=metadata)

    @property
    def redirect_uri(self) -> str:
        return callback_redirect_uri(self.provider, f"https://broker.example/callback/{self.name}", "the-state")


def shape_of(name: str) -> Shape:
    return Shape(name, tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8")))


SHAPES = [shape_of(path.stem) for path in sorted(FOLDER.glob("*.toml"))]
CALLS = [
    pytest.param(shape, call, id=f"{shape.name}: {call['name']}") for shape in SHAPES for call in shape.file["call"]
]
CALLBACKS = [
    pytest.param(shape, back, id=f"{shape.name}: {back['query']}")
    for shape in SHAPES
    for back in shape.file["callback"]
]
ID_TOKENS = [pytest.param(shape, one, id=shape.name) for shape in SHAPES for one in shape.file.get("id_token", ())]


@dataclass
class StrictProvider:
    """Answers one request, and only if it is right in every respect: method, address, headers and body, nothing besides."""

    wanted: Mapping[str, Any]
    answers: UpstreamResponse
    sent: list[UpstreamRequest] = field(default_factory=list)

    def send(self, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:  # noqa: ARG002
        self.sent.append(request)
        url, _, query = request.url.partition("?")
        headers = {name.lower(): value for name, value in request.headers}
        body = request.body or b""
        seen: dict[str, Any] = {"method": request.method, "url": url}
        kind = headers.pop("content-type", "")
        if kind == "application/x-www-form-urlencoded":
            seen["form"] = once(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body)))
        elif kind == "application/json":
            seen["json"] = json.loads(body)
        else:
            assert not body, "a body that does not say what it is"
        if query:
            seen["query"] = once(parse_qsl(query, keep_blank_values=True, strict_parsing=True))
        if headers.get("authorization", "").startswith("Basic "):
            pair = base64.b64decode(headers.pop("authorization")[6:], validate=True).decode()
            seen["basic"] = pair.split(":", 1)
        if headers:
            seen["headers"] = headers
        assert without_made(seen) == self.wanted
        return self.answers


def once(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    found = dict(pairs)
    assert len(found) == len(pairs), "a parameter is there twice"
    return found


def without_made(seen: Mapping[str, Any]) -> dict[str, Any]:
    """A secret that is made for each call is judged elsewhere; here it only has to be there."""
    form = seen.get("form", {})
    made = {"client_secret": "made for this call"} if form.get("client_secret", "").count(".") == 2 else {}
    return {**seen, "form": {**form, **made}} if form else dict(seen)


def perform(shape: Shape, what: str, http: StrictProvider) -> object:
    provider, credentials = shape.provider, shape.credentials
    kept = shape.file.get("kept", {})
    tokens = UpstreamTokens("old-access", "old-refresh", scope=("old",), kept=kept)
    match what:
        case "exchange":
            return exchange_code(
                provider,
                credentials,
                http,
                code="the-code",
                redirect_uri=shape.redirect_uri,
                code_verifier="the-verifier",
                state="the-state",
                asked_scope=(*provider.authorize.scope, *shape.scope),
                kept={},
                now=NOW,
                deadline=deadline(),
                sleep=never,
            )
        case "refresh":
            return refresh_tokens(provider, credentials, http, tokens, now=NOW, deadline=deadline(), sleep=never)
        case "userinfo":
            return fetch_profile(provider, credentials, http, tokens, deadline=deadline(), sleep=never)
        case "revoke":
            return revoke_tokens(provider, credentials, http, tokens, deadline=deadline(), sleep=never)
    raise AssertionError(what)


def never(seconds: float) -> None:
    raise AssertionError(f"waits {seconds} s")


@pytest.mark.parametrize(("shape", "call"), CALLS)
def test_a_call(shape: Shape, call: Mapping[str, Any]) -> None:
    wanted = {**shape.file["request"][call["do"]], **call.get("request", {})}
    headers = {name.lower(): value for name, value in call.get("headers", {}).items()}
    http = StrictProvider(wanted, answer(call["status"], call["body"], headers))
    then: Mapping[str, Any] = call["then"]
    if "failure" in then:
        with pytest.raises(UpstreamFailure) as caught:
            perform(shape, call["do"], http)
        failure = caught.value
        seen = {"failure": failure.kind.name, "row": failure.row, "retry_after": failure.retry_after}
        assert {name: value for name, value in seen.items() if value is not None} == then
        assert "old-access" not in failure.detail
        assert "the-code" not in failure.detail
        return
    assert made_of(perform(shape, call["do"], http)) == then
    assert len(http.sent) == 1


def made_of(outcome: object) -> dict[str, Any]:
    """What the interpreter made of an answer, without what is not there."""
    if isinstance(outcome, bool):
        return {"revoked": outcome}
    if not isinstance(outcome, UpstreamTokens):
        subject: Any = outcome
        return {"subject": subject.subject, "claims": dict(subject.claims)}
    found: dict[str, Any] = {
        "access_token": outcome.access_token,
        "refresh_token": outcome.refresh_token,
        "expires_in": None if outcome.expires_at is None else outcome.expires_at - NOW,
        "scope": list(outcome.scope) if outcome.scope else None,
        "kept": dict(outcome.kept) or None,
        "id_token": outcome.id_token,
    }
    return {name: value for name, value in found.items() if value is not None}


def way_there(shape: Shape, prompts: tuple[str, ...] = (), login_hint: str = "") -> str:
    """Where the browser is sent for a login."""
    return authorization_url(
        shape.provider,
        shape.credentials,
        redirect_uri=shape.redirect_uri,
        state="the-state",
        scope=shape.scope,
        code_challenge="the-challenge",
        nonce="the-nonce",
        prompts=prompts,
        login_hint=login_hint,
    )


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_way_there(shape: Shape) -> None:
    address, _, query = way_there(shape).partition("?")
    wanted = shape.file["authorize"]
    assert (address, once(parse_qsl(query, strict_parsing=True))) == (wanted["url"], wanted["query"])


@pytest.mark.parametrize("prompts", [("login",), ("select_account",), ("login", "select_account")], ids=" ".join)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_what_the_person_is_to_be_asked(shape: Shape, prompts: tuple[str, ...]) -> None:
    query = query_of(way_there(shape, prompts))
    wanted = shape.file["authorize"]
    known: Mapping[str, str] = wanted.get("prompts", {})
    assert query.pop("prompt", None) == known.get(" ".join(prompts), wanted["query"].get("prompt"))
    assert query == {name: value for name, value in wanted["query"].items() if name != "prompt"}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_who_is_expected_to_sign_in(shape: Shape) -> None:
    """Under the provider's name for it, and not at all where it has none."""
    wanted = shape.file["authorize"]
    hint = {wanted["login_hint"]: "zoe@example.com"} if "login_hint" in wanted else {}
    assert query_of(way_there(shape, login_hint="zoe@example.com")) == wanted["query"] | hint


@pytest.mark.parametrize(("shape", "back"), CALLBACKS)
def test_the_way_back(shape: Shape, back: Mapping[str, Any]) -> None:
    found = read_callback(shape.provider, parse_qsl(back["query"], keep_blank_values=True, strict_parsing=True))
    seen = {"code": found.code, "error": found.error, "state": found.state, "claims": dict(found.claims) or None}
    assert {name: value for name, value in seen.items() if value is not None} == back["then"]


@pytest.mark.parametrize(("shape", "token"), ID_TOKENS)
def test_an_id_token(shape: Shape, token: Mapping[str, Any]) -> None:
    claims = json.loads(token["claims"])
    # Only the distances between the times are the provider's.
    shift = NOW - claims["iat"]
    claims |= {name: int(claims[name]) + shift for name in TIMES_SENT if name in claims}
    claims["nonce"] = "the-nonce"
    text = jwt.encode(claims, SIGNING_KEY, "RS256", headers={"kid": "one"})
    jwk = {**jwt.algorithms.RSAAlgorithm.to_jwk(SIGNING_KEY.public_key(), as_dict=True), "kid": "one", "use": "sig"}
    http = http_of(answer(200, {"keys": [jwk]}))
    tokens = UpstreamTokens("the-access-token", id_token=text)
    expected = Expected(shape.credentials.client_id, "the-nonce", None, NOW)
    identity = check(shape.provider, tokens, ClientKeys(http, lambda: NOW, OF_PROVIDERS), expected, deadline())
    assert http.only.url == token["jwks_uri"]
    assert {"subject": identity.subject, "claims": dict(identity.claims)} == token["then"]


# -- nothing is left out -------------------------------------------------------------------------------------------


def test_every_provider_of_the_catalogue_has_its_shapes() -> None:
    assert tuple(shape.name for shape in SHAPES) == catalogue.names()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_shapes_are_whole(shape: Shape) -> None:
    provider, file = shape.provider, shape.file
    assert file["sources"]
    # What no public page says is said to be an assumption.
    assert file.get("assumptions") or any("https://" in source for source in file["sources"])
    by_outcome = {(call["do"], "failure" in call["then"]) for call in file["call"]}
    wanted = {("exchange", False), ("exchange", True)}
    wanted |= {("userinfo", False), ("userinfo", True)} if provider.has_userinfo else set()
    wanted |= {("revoke", False)} if provider.has_revoke else set()
    wanted |= set() if file.get("refresh") == "none" else {("refresh", False), ("refresh", True)}
    assert wanted <= by_outcome, wanted - by_outcome
    assert any(call.get("oddity") for call in file["call"]), "no provider is without an oddity"
    assert any("error" in back["then"] for back in file["callback"])
    assert any("code" in back["then"] for back in file["callback"])
    assert ("openid" in provider.authorize.scope) == ("id_token" in file)
