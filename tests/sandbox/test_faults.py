"""What only tests may use: ordered faults, the record of calls, early expiry. And that it is off otherwise."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from sandbox_provider import clock

from .driver import INFOLOBBY, ITERNIO, LOCKIT, OPENID, PHPAPI, REDBOOTH, SECRET, Sandbox, bearer


def order(sandbox: Sandbox, kind: str, **more: Any) -> None:
    ordered = {"provider": "infolobby", "endpoint": "token", "kind": kind, **more}
    answer = sandbox.control("POST", "_faults", ordered)
    assert answer.status == 200, answer.body


def test_off_unless_switched_on(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_FAULTS", "1")
    order(sandbox, "status", value=503)
    monkeypatch.delenv("SANDBOX_FAULTS")
    for method, name in (("POST", "_faults"), ("GET", "_calls"), ("DELETE", "_calls"), ("POST", "_expire")):
        assert sandbox.control(method, name, {}).status == 404
    assert sandbox.redeem(INFOLOBBY, "invented").status == 400
    monkeypatch.setenv("SANDBOX_FAULTS", "1")
    assert sandbox.control("GET", "_calls").json["count"] == 0


@pytest.mark.parametrize(
    ("kind", "value", "status", "content_type", "start"),
    [
        ("status", 503, 503, "application/json", '{"error": "server_error"'),
        ("html", None, 200, "text/html; charset=utf-8", "<!doctype html>"),
        ("html", 502, 502, "text/html; charset=utf-8", "<!doctype html>"),
        ("empty", None, 200, None, ""),
        ("json", ["a"], 200, "application/json", '["a"]'),
        ("json", None, 200, "application/json", "null"),
        ("error", "invalid_client", 401, "application/json", '{"error": "invalid_client"'),
        ("error", "temporarily_unavailable", 400, "application/json", '{"error": "temporarily_unavailable"'),
        ("invalid_grant", None, 400, "application/json", '{"error": "invalid_grant"'),
        ("redirect", "https://elsewhere.example/", 302, None, ""),
    ],
)
def test_faults_that_process_nothing(
    sandbox: Sandbox, faults: None, kind: str, value: object, status: int, content_type: str | None, start: str
) -> None:
    code = sandbox.code(INFOLOBBY)
    order(sandbox, kind, **({} if value is None and kind != "json" else {"value": value}))
    spoiled = sandbox.redeem(INFOLOBBY, code)
    assert (spoiled.status, spoiled.headers.get("content-type")) == (status, content_type)
    assert spoiled.body.startswith(start)
    assert sandbox.redeem(INFOLOBBY, code).status == 200


def test_big_answer(sandbox: Sandbox, faults: None) -> None:
    order(sandbox, "big", value=5000)
    assert len(sandbox.redeem(INFOLOBBY, "x").json["filler"]) == 5000


def test_rate_limit_fault(sandbox: Sandbox, faults: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: 1_800_000_000)
    order(sandbox, "rate_limit", value=7)
    limited = sandbox.redeem(INFOLOBBY, "x")
    assert (limited.status, limited.headers["retry-after"]) == (429, "7")
    assert limited.headers["x-ratelimit-reset"] == "1800000007"


def test_faults_that_spoil_the_answer(sandbox: Sandbox, faults: None) -> None:
    token = sandbox.tokens(INFOLOBBY)["refresh_token"]
    order(sandbox, "expires_in", value="3600")
    order(sandbox, "expires_in", value=None)
    order(sandbox, "expires_in")
    order(sandbox, "drop", value=["refresh_token", "token_type"])
    order(sandbox, "set", value={"token_type": "mac", "scope": None})
    answers = [sandbox.refresh(INFOLOBBY, token).json for _ in range(6)]
    assert answers[0]["expires_in"] == "3600"
    assert answers[1]["expires_in"] is None
    assert "expires_in" not in answers[2]
    assert set(answers[3]) == {"access_token", "expires_in"}
    assert (answers[4]["token_type"], answers[4]["scope"]) == ("mac", None)
    assert answers[5]["expires_in"] == 3600
    assert sandbox.userinfo(INFOLOBBY, answers[0]["access_token"]).status == 200


def test_truncated_answer(sandbox: Sandbox, faults: None) -> None:
    order(sandbox, "truncated")
    cut = sandbox.redeem(INFOLOBBY, sandbox.code(INFOLOBBY))
    assert cut.status == 200
    with pytest.raises(json.JSONDecodeError):
        cut.json  # noqa: B018


def test_lost_answer_has_been_processed(sandbox: Sandbox, faults: None) -> None:
    tokens = sandbox.tokens(REDBOOTH)
    order(sandbox, "lost_answer", provider="redbooth")
    assert sandbox.refresh(REDBOOTH, tokens["refresh_token"]).status == 504
    again = sandbox.refresh(REDBOOTH, tokens["refresh_token"])
    assert (again.status, again.json["error"]) == (400, "invalid_grant")


def test_slow_answer(sandbox: Sandbox, faults: None, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(clock, "wait", waited.append)
    order(sandbox, "slow", value=2.5)
    order(sandbox, "slow")
    assert sandbox.redeem(INFOLOBBY, sandbox.code(INFOLOBBY)).status == 200
    assert sandbox.redeem(INFOLOBBY, "x").status == 400
    assert waited == [2.5, 1.0]


def test_error_at_authorize_comes_back_by_redirect(sandbox: Sandbox, faults: None) -> None:
    order(sandbox, "error", endpoint="authorize", value="temporarily_unavailable")
    back = sandbox.get(INFOLOBBY, INFOLOBBY.authorize, INFOLOBBY.request())
    assert back.status == 302
    assert (back.returned["error"], back.returned["state"]) == ("temporarily_unavailable", "st&te é")
    order(sandbox, "error", endpoint="authorize", value="server_error")
    assert sandbox.get(INFOLOBBY, INFOLOBBY.authorize, INFOLOBBY.request(client_id="x")).status == 400


def test_faults_are_met_in_order_by_their_endpoint_alone(sandbox: Sandbox, faults: None) -> None:
    order(sandbox, "status", value=500, times=2)
    order(sandbox, "status", value=502)
    order(sandbox, "status", value=503, endpoint="userinfo")
    assert sandbox.redeem(REDBOOTH, "x").status == 400
    assert [sandbox.redeem(INFOLOBBY, "x").status for _ in range(4)] == [500, 500, 502, 400]
    assert [sandbox.userinfo(INFOLOBBY, "x").status for _ in range(2)] == [503, 401]
    order(sandbox, "status", value=500)
    order(sandbox, "status", value=500, provider="redbooth")
    assert sandbox.control("DELETE", "_faults", query="provider=infolobby").status == 200
    assert sandbox.redeem(INFOLOBBY, "x").status == 400
    assert sandbox.redeem(REDBOOTH, "x").status == 500


@pytest.mark.parametrize(
    ("ordered", "text"),
    [
        ([], "JSON object"),
        ({"provider": "nobody"}, "provider has to be one of infolobby"),
        ({"provider": "infolobby", "endpoint": "x"}, "endpoint has to be one of authorize"),
        ({"provider": "infolobby", "endpoint": "token", "kind": "x"}, "kind has to be one of"),
        ({"provider": "infolobby", "endpoint": "token", "kind": "status"}, "needs a value"),
        ({"provider": "infolobby", "endpoint": "token", "kind": "status", "value": "x"}, "JSON int"),
        ({"provider": "infolobby", "endpoint": "token", "kind": "empty", "times": 0}, "times has to be"),
    ],
)
def test_wrong_orders_are_explained(sandbox: Sandbox, faults: None, ordered: object, text: str) -> None:
    answer = sandbox.control("POST", "_faults", ordered)
    assert answer.status == 400
    assert text in answer.json["error_description"]


def test_control_refuses_what_is_not_json(sandbox: Sandbox, faults: None) -> None:
    assert sandbox.send("POST", "/sandbox/_expire", body="{").status == 400
    assert sandbox.control("GET", "_calls", query="provider=x").status == 400
    assert sandbox.control("GET", "_calls", query="provider=%ff").status == 400
    assert sandbox.control("GET", "_other").status == 404


def test_record_of_calls(sandbox: Sandbox, faults: None) -> None:
    code = sandbox.code(LOCKIT)
    tokens = sandbox.redeem(LOCKIT, code).json
    sandbox.refresh(LOCKIT, tokens["refresh_token"])
    sandbox.get(LOCKIT, "/locks", headers=bearer(tokens["access_token"]))
    recorded = sandbox.control("GET", "_calls", query="provider=lockitnetwork").json
    assert recorded["count"] == 6
    assert recorded["counts"] == {
        "authorize": 1,
        "login": 1,
        "consent": 1,
        "token:authorization_code": 1,
        "token:refresh_token": 1,
        "api": 1,
    }
    exchange, renewal, locks = recorded["calls"][3:]
    assert exchange["parameters"] == ["code", "grant_type", "redirect_uri"]
    assert (exchange["auth"], exchange["status"], exchange["method"]) == ("basic", 200, "POST")
    assert exchange["code_sha256"] == hashlib.sha256(code.encode()).hexdigest()
    assert renewal["refresh_token_sha256"] == hashlib.sha256(tokens["refresh_token"].encode()).hexdigest()
    assert (locks["auth"], locks["status"]) == ("bearer", 200)
    assert locks["access_token_sha256"] == hashlib.sha256(tokens["access_token"].encode()).hexdigest()


def test_record_tells_styles_and_faults_and_holds_no_secret(sandbox: Sandbox, faults: None) -> None:
    code = sandbox.code(ITERNIO)
    query = {"code": code, "client_id": "4711", "client_secret": SECRET, "redirect_uri": ITERNIO.redirect_uri}
    token = sandbox.get(ITERNIO, ITERNIO.token, query).json["user_token"]
    sandbox.userinfo(ITERNIO, token)
    order(sandbox, "status", provider="iternio", value=503)
    sandbox.redeem(ITERNIO, "x")
    answer = sandbox.control("GET", "_calls")
    assert [(c["endpoint"], c["auth"], c["fault"]) for c in answer.json["calls"][3:]] == [
        ("token", "query", ""),
        ("userinfo", "query", ""),
        ("token", "body", "status"),
    ]
    assert not any(secret in answer.body for secret in (code, token, SECRET))
    sandbox.post(OPENID, OPENID.token, "code=%ff")
    malformed = sandbox.control("GET", "_calls", query="provider=openid").json["calls"]
    assert [(c["status"], c["parameters"]) for c in malformed] == [(400, [])]


def test_record_can_be_begun_anew(sandbox: Sandbox, faults: None) -> None:
    sandbox.redeem(INFOLOBBY, "x")
    sandbox.redeem(PHPAPI, "x")
    assert sandbox.control("GET", "_calls").json["count"] == 2
    sandbox.control("DELETE", "_calls", query="provider=phpapi")
    assert sandbox.control("GET", "_calls").json["count"] == 1
    sandbox.control("DELETE", "_calls")
    assert sandbox.control("GET", "_calls").json == {"count": 0, "counts": {}, "calls": []}
    sandbox.redeem(INFOLOBBY, "x")
    assert sandbox.control("GET", "_calls").json["count"] == 1


def test_early_expiry(sandbox: Sandbox, faults: None) -> None:
    john, zoe = sandbox.tokens(REDBOOTH), sandbox.tokens(REDBOOTH, "zoe")
    other = sandbox.tokens(INFOLOBBY)

    def expire(what: str, **more: str) -> int:
        changed: int = sandbox.control("POST", "_expire", {"provider": "redbooth", "what": what, **more}).json[
            "changed"
        ]
        return changed

    assert expire("access", username="johndoe") == 1
    assert "The access token expired" in sandbox.userinfo(REDBOOTH, john["access_token"]).body
    assert sandbox.userinfo(REDBOOTH, zoe["access_token"]).status == 200
    renewed = sandbox.refresh(REDBOOTH, john["refresh_token"]).json
    assert sandbox.userinfo(REDBOOTH, renewed["access_token"]).status == 200
    assert expire("refresh", username="zoe") == 1
    assert sandbox.refresh(REDBOOTH, zoe["refresh_token"]).json["error"] == "invalid_grant"
    assert sandbox.userinfo(REDBOOTH, zoe["access_token"]).status == 200
    assert expire("grant") == 2
    assert "The access token was revoked" in sandbox.userinfo(REDBOOTH, zoe["access_token"]).body
    assert sandbox.refresh(REDBOOTH, renewed["refresh_token"]).json["error"] == "invalid_grant"
    assert sandbox.userinfo(INFOLOBBY, other["access_token"]).status == 200


def test_token_without_an_end_can_be_ended(sandbox: Sandbox, faults: None) -> None:
    token = sandbox.tokens(ITERNIO)["user_token"]
    assert sandbox.control("POST", "_expire", {"provider": "iternio", "what": "access"}).json == {"changed": 1}
    assert sandbox.userinfo(ITERNIO, token).status == 401
