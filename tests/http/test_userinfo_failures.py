"""The failure table at userinfo, as it reaches the wire: from the provider's bytes to status, error and header fields."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest

from broker.encoding import from_b64url
from broker.runtime import Runtime
from broker.upstream.dialect import fetch_profile
from broker.upstream.failures import FailureKind
from broker.upstream.http import BoundedHttp, Deadline, TransportError, UpstreamRequest, UpstreamResponse
from broker_testing.journey import Login, register, userinfo
from upstream.scripted import answer, plain
from upstream.test_failures import AT_USERINFO, Row, name_of

PROVIDER = "redbooth"
ERRORS = {
    401: "invalid_token",
    403: "insufficient_scope",
    429: "temporarily_unavailable",
    502: "temporarily_unavailable",
    503: "temporarily_unavailable",
    504: "temporarily_unavailable",
}
RENEWED = answer(200, {"access_token": "new-access", "refresh_token": "new-refresh", "expires_in": 3600, "ok": True})


@dataclass
class Failing:
    """A provider whose userinfo always ends like this. `asked`: the paths of its endpoints, in order."""

    outcome: UpstreamResponse | TransportError
    asked: list[str] = field(default_factory=list)

    def send(self, request: UpstreamRequest, _deadline: Deadline) -> UpstreamResponse:
        self.asked.append(request.url.rpartition("/")[2])
        if self.asked[-1] == "token":
            return RENEWED
        if isinstance(self.outcome, TransportError):
            raise self.outcome
        return self.outcome


@pytest.fixture
def access_token(base: str) -> str:
    """Of a login at a provider on which all is well."""
    return str(Login(register(base, providers=(PROVIDER,)), PROVIDER).tokens()["access_token"])


@pytest.fixture
def failing(access_token: str, row: Row, monkeypatch: pytest.MonkeyPatch) -> Failing:
    """The provider of the row in place of that one, from now on."""
    assert access_token
    provider = replace(plain(**row.overrides), name=PROVIDER)
    script = Failing(row.outcome)
    monkeypatch.setattr(Runtime, "provider", lambda _runtime, _name: provider)
    monkeypatch.setattr(BoundedHttp, "send", lambda _http, request, deadline: script.send(request, deadline))
    monkeypatch.setitem(fetch_profile.__kwdefaults__ or {}, "sleep", lambda _seconds: None)
    return script


@pytest.mark.parametrize("row", AT_USERINFO, ids=name_of)
def test_what_the_client_is_told(base: str, access_token: str, failing: Failing, row: Row) -> None:
    response = userinfo(base, access_token)
    assert row.ui is not None
    status, renews = row.ui
    assert (response.status_code, response.json()["error"]) == (status, ERRORS[status])
    assert response.headers["cache-control"] == "no-store"
    assert ("retry-after" in response.headers) == (status in (429, 503))
    assert ('error="invalid_token"' in response.headers.get("www-authenticate", "")) == (status == 401)
    unclear = row.kind is FailureKind.TOKEN_OR_CLIENT_REFUSED
    assert ("reconnect_url" in response.json()) == (status in (401, 403) or unclear)
    assert failing.asked.count("token") == (1 if renews else 0)
    assert "in words" not in response.text  # what the provider says is for the log


NO_CLAIMS = {
    "not a number": b"NaN",
    "infinite": b"1e999",
    "infinite inside": b'{"of": [-Infinity]}',
    "deep": b"[" * 900 + b"]" * 900,
    "long": b'"' + b"a" * 4097 + b'"',
}


@pytest.mark.parametrize("value", NO_CLAIMS.values(), ids=NO_CLAIMS)
def test_what_the_broker_could_not_pass_on_is_no_claim(
    base: str, value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's reader takes NaN and Infinity, which are no JSON (RFC 8259 section 6), and what is nested too deep."""
    send = BoundedHttp.send
    profile = b'{"id": 1001, "email": "john@example.com", "first_name": ' + value + b"}"

    def odd(http: BoundedHttp, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
        found = send(http, request, deadline)
        return replace(found, body=profile) if request.phase == "userinfo" else found

    monkeypatch.setattr(BoundedHttp, "send", odd)
    tokens = Login(register(base, providers=(PROVIDER,)), PROVIDER).tokens()
    told = userinfo(base, tokens["access_token"])
    assert told.status_code == 200
    payload = from_b64url(tokens["id_token"].split(".")[1]).decode()
    for text in (told.text, payload):
        claims = json.loads(text, parse_constant=pytest.fail)
        assert (claims["email"], "given_name" in claims) == ("john@example.com", False)
