"""Whatever anybody sends to any endpoint, the answer is one that docs/openapi.yaml describes, and never a fault of ours."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker_local.api_gateway import HttpResponse
from broker_testing.journey import CALLBACK, Login, pkce_pair, register
from broker_testing.openapi import description, difference
from broker_testing.registration import OPEN, policy_is
from broker_testing.signing import DPoPKey

EXAMPLES = 400
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
FORM = "application/x-www-form-urlencoded"
NAMES = (
    *(
        "client_id",
        "client_secret",
        "redirect_uri",
        "response_type",
        "response_mode",
        "scope",
        "state",
        "nonce",
        "prompt",
    ),
    *(
        "code_challenge",
        "code_challenge_method",
        "max_age",
        "login_hint",
        "resource",
        "provider",
        "request_uri",
        "request",
        "dpop_jkt",
    ),
    *("grant_type", "code", "code_verifier", "refresh_token", "device_code", "user_code", "token", "token_type_hint"),
    *("access_token", "client_assertion", "client_assertion_type", "id_token_hint", "post_logout_redirect_uri"),
    *("subject_token", "subject_token_type", "requested_token_type", "actor_token", "audience"),
    *("login", "decision", "error", "error_description", "iss", "txn", "auth_code"),
    *("__proto__", "constructor", "scope[a]", "scope[]", "client_id[$ne]", "", "\0", "a.b", "é", "\ud7ff", "x" * 300),
)
RAW = (
    "%",
    "%zz",
    "%ff%fe",
    "%00",
    "%0d%0aset-cookie:a=b",
    "%c0%ae",
    "+",
    "%ed%a0%80",
    "a" * 2000,
    "=",
    ";",
    "[]",
    "null",
)
WORDS = (
    *(
        "code",
        "token",
        "S256",
        "plain",
        "query",
        "form_post",
        "fragment",
        "openid",
        "openid profile email",
        "none",
        "login",
    ),
    *(
        "authorization_code",
        "refresh_token",
        "password",
        "client_credentials",
        "consent",
        "allow",
        "deny",
        "-1",
        "0",
        "9" * 30,
    ),
    *(DEVICE_GRANT, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
    *("urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:token-type:access_token"),
    *(
        "urn:ietf:params:oauth:request_uri:tbp_x",
        "tbc_",
        "tbr_AQAB",
        "tbs_x",
        "tba_x",
        "a.b.c",
        "eyJhbGciOiJub25lIn0.e30.",
    ),
    *(
        "javascript:alert(1)",
        "https://evil.example/",
        "BCDF-GHJK",
        "openid.infolobby",
        "<script>",
        "\u202e",
        "😀",
        "'",
        '"',
    ),
)
TYPES = (
    FORM,
    f"{FORM};charset=utf-8",
    "application/json",
    "text/plain",
    "multipart/form-data",
    "",
    ";",
    "application/x",
)
METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH")


@dataclass(frozen=True)
class Sent:
    """One request."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"")


@dataclass(frozen=True)
class World:
    """A broker, and values that lead somewhere: a client's, and what it was issued.

    right: path -> (method, the parameters of a right request).
    """

    port: int
    right: Mapping[str, tuple[str, Mapping[str, str]]]
    known: tuple[str, ...]
    authorizations: tuple[str, ...]

    def answer(self, sent: Sent) -> HttpResponse:
        """The answer to a request, byte by byte as it is written."""
        connection = http.client.HTTPConnection("localhost", self.port, timeout=30)
        try:
            connection.putrequest(sent.method, sent.target, skip_accept_encoding=True)
            for name, value in sent.headers:
                connection.putheader(name, value.encode("utf-8"))
            connection.putheader("content-length", str(len(sent.body)))
            connection.endheaders(sent.body)
            response = connection.getresponse()
            return HttpResponse(response.status, tuple(response.getheaders()), response.read())
        finally:
            connection.close()


@pytest.fixture
def world(base: str) -> Iterator[World]:
    """Clients of three kinds with tokens of a login; registration is open."""
    dialect = register(base, secret=True, providers=("openid",), dialect="iternio", token_by_get=True)
    device = register(base, providers=("openid",), redirect_uris=(), grant_types=(DEVICE_GRANT, "refresh_token"))
    public, confidential = (register(base, secret=secret, providers=("openid",)) for secret in (False, True))
    login = Login(confidential)
    tokens = login.tokens()
    secret = str(confidential.secret)
    known = (
        *(public.client_id, confidential.client_id, secret, dialect.client_id, str(dialect.secret), CALLBACK, "openid"),
        *(tokens["access_token"], tokens["refresh_token"], tokens["id_token"], login.answer["code"], login.verifier),
        *pkce_pair(),
    )
    basic = base64.b64encode(f"{confidential.client_id}:{secret}".encode()).decode()
    proof = DPoPKey().proof("POST", f"{base}/token")
    authorizations = (
        *(
            f"Basic {basic}",
            f"Bearer {tokens['access_token']}",
            f"bearer  {tokens['refresh_token']}",
            "Bearer",
            "Bearer ,",
        ),
        *(
            "Basic !!!!",
            "Basic",
            "Basic " + base64.b64encode(b"\xff:\xfe").decode(),
            "DPoP x",
            f"DPoP {proof}",
            "Negotiate x",
            "",
        ),
    )
    mine = confidential.credentials()
    refreshing = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]} | mine
    asking = Login(public).parameters
    right = {
        "/authorize": ("GET", asking),
        "/par": ("POST", asking),
        "/token": ("POST", refreshing),
        "/refresh": ("POST", refreshing),
        "/revoke": ("POST", {"token": "unknown"} | mine),
        "/introspect": ("POST", {"token": tokens["access_token"]} | mine),
        "/userinfo": ("POST", {"access_token": tokens["access_token"]}),
        "/device_authorization": ("POST", {"scope": "openid"} | device.credentials()),
        "/logout": ("GET", {"id_token_hint": tokens["id_token"], "state": "x"}),
        "/oauth/auth": ("GET", {"client_id": dialect.client_id, "redirect_uri": CALLBACK, "state": "x"}),
        "/1/oauth/token": ("GET", {"grant_type": "authorization_code", "code": "tbc_x"} | dialect.credentials()),
    }
    with policy_is(OPEN):
        yield World(urlsplit(base).port or 80, right, known, authorizations)


def _text(known: tuple[str, ...]) -> st.SearchStrategy[str]:
    """The right side of a parameter, as it is on the wire."""
    escaped = st.one_of(st.sampled_from(known), st.sampled_from(WORDS), st.text(max_size=30))
    return st.one_of(
        escaped.map(lambda text: quote(text.encode("utf-8", "surrogatepass"), safe="")), st.sampled_from(RAW)
    )


@st.composite
def _nearly_right(draw: st.DrawFn, world: World) -> Sent:
    """A right request in which one parameter or none is wrong, there twice or missing."""
    path = draw(st.sampled_from(sorted(world.right)))
    method, parameters = world.right[path]
    pairs = [(name, quote(value, safe="")) for name, value in parameters.items()]
    place = draw(st.integers(0, len(pairs)))
    if place < len(pairs):
        name, value = pairs[place]
        wrong = (name, draw(_text(world.known)))
        pairs[place : place + 1] = draw(st.sampled_from(([], [wrong], [(name, value), wrong], [(name, "")])))
    text = "&".join("=".join(pair) for pair in pairs)
    if method == "GET":
        return Sent(method, f"{path}?{text}")
    return Sent(method, path, (("content-type", FORM),), text.encode())


@st.composite
def _anything(draw: st.DrawFn, world: World) -> Sent:
    path = draw(st.sampled_from(sorted(description()["paths"])))
    for name in ("provider", "path", "client_id"):
        filled = draw(st.sampled_from(("openid", "infolobby", "nobody", "%2e%2e", "a%2fb", "%ff", "x" * 200)))
        path = path.replace(f"{{{name}}}", filled)
    method = draw(st.sampled_from(("GET", "POST", "GET", "POST", *METHODS)))
    values = _text(world.known)
    names = st.sampled_from(NAMES).map(lambda name: quote(name, safe=""))
    pairs = st.lists(st.tuples(names, values).map("=".join), max_size=9)
    query = "&".join(draw(pairs)) if draw(st.booleans()) else ""
    body = draw(st.one_of(pairs.map("&".join).map(str.encode), st.binary(max_size=40), _JSON, st.just(b"a=b&" * 6000)))
    return Sent(method, f"{path}?{query}" if query else path, tuple(draw(_headers(world))), body)


_JSON = st.one_of(
    st.just(
        b'{"redirect_uris":["https://app.example/cb"],"token_endpoint_auth_method":"none","grant_types":["authorization_code"]}'
    ),
    st.just(b'{"redirect_uris":' + b"[" * 5000),
    st.just(b'{"redirect_uris":["javascript:alert(1)"],"jwks":{"keys":[{}]},"client_name":{}}'),
    st.just(b'{"client_id":1e999,"scope":null,"client_id":"\\ud800"}'),
)


def _headers(world: World) -> st.SearchStrategy[list[tuple[str, str]]]:
    choices = {
        "content-type": TYPES,
        "authorization": world.authorizations,
        "origin": ("https://app.example", "https://evil.example", "null", ""),
        "accept": ("application/json", "text/html", "application/token-introspection+jwt", "*/*;q=0"),
        "cookie": ("a=b", "=", "tb-device=x; tb-device=y", f"tb-login-x={'y' * 200}", "tb-logout=é"),
        "dpop": ("x", "a.b.c", "eyJ0eXAiOiJkcG9wK2p3dCJ9.e30.", "a.b.c, a.b.c"),
        "x-requested-with": ("fetch",),
    }
    likely = st.just(("content-type", FORM))
    some = [st.sampled_from(tuple(product((name,), values))) for name, values in choices.items()]
    return st.one_of(
        st.lists(st.one_of(some), max_size=4, unique_by=lambda header: header[0]),
        st.lists(st.one_of(some[1:]), max_size=3, unique_by=lambda header: header[0]).flatmap(
            lambda rest: likely.map(lambda first: [first, *rest])
        ),
    )


def test_every_answer_is_described(world: World) -> None:
    statuses: dict[int, int] = {}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(sent=st.one_of(_nearly_right(world), _anything(world)))
    def check(sent: Sent) -> None:
        response = world.answer(sent)
        statuses[response.status] = statuses.get(response.status, 0) + 1
        assert response.status < 500, (sent, response)
        assert difference(sent.method, sent.target, response) is None

    check()
    assert {200, 204, 303, 400, 401, 405} <= set(statuses), statuses


@pytest.mark.parametrize("path", sorted(description()["paths"]))
def test_methods_that_are_not_described_are_refused(world: World, path: str) -> None:
    target = path.replace("{provider}", "openid").replace("{client_id}", "nobody").replace("{path}", "other")
    for method in (*METHODS, "TRACE", "PROPFIND"):
        response = world.answer(Sent(method, target))
        assert response.status < 500
        assert difference(method, target, response) is None
