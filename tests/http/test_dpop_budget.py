"""What a proof costs: one write more than without it, and nothing at all for a client that sends none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import requests

from broker.store.aws import client
from broker_testing.journey import Login, refresh, register, userinfo
from broker_testing.signing import DPoPKey, b64, signed_by_hand

MARK, ROTATE, READ = "PutItem", "UpdateItem", "Query"


@pytest.fixture
def sent(base: str) -> Iterator[list[str]]:
    """The operations that the broker sent to DynamoDB."""
    operations: list[str] = []

    def record(event_name: str, **_: Any) -> None:
        operations.append(event_name.rpartition(".")[2])

    events = client("dynamodb").meta.events
    events.register("before-send.dynamodb", record)
    yield operations
    events.unregister("before-send.dynamodb", record)


def cost(sent: list[str], act: Callable[[], requests.Response], status: int = 200) -> list[str]:
    sent.clear()
    response = act()
    assert response.status_code == status, response.text
    return list(sent)


def test_a_proof_costs_one_write(base: str, sent: list[str]) -> None:
    plain = Login(register(base))
    bearer = plain.tokens()
    assert cost(sent, lambda: userinfo(base, bearer["access_token"])) == [READ]
    assert cost(sent, lambda: refresh(plain.client, bearer["refresh_token"])) == [ROTATE]
    key, url = DPoPKey(), f"{base}/token"
    login = Login(plain.client)
    login.run()
    form = login.code_form() | login.client.credentials()
    assert cost(sent, lambda: key.post(url, form), 400) == [], "asking for a nonce is free"
    sent.clear()
    tokens = key.post(url, form).json()
    assert sent == [MARK, ROTATE]
    assert cost(sent, lambda: key.userinfo(base, tokens["access_token"])) == [MARK, READ]
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]} | login.client.credentials()
    assert cost(sent, lambda: key.post(url, form)) == [MARK, ROTATE]


def test_a_forged_proof_or_nonce_costs_nothing(base: str, sent: list[str]) -> None:
    login, key, url = Login(register(base)), DPoPKey(), f"{base}/token"
    key.learn_nonce(base)
    login.run()
    form = login.code_form() | login.client.credentials()
    right = key.claims("POST", url)
    head, _, signature = signed_by_hand(key.header(), right, key.key).split(".")
    body = b64(json.dumps(right | {"jti": "another"}).encode())
    for forged in (f"{head}.{body}.{signature}", "x", key.proof("POST", url, nonce="x")):
        assert cost(sent, partial(key.post, url, form, forged), 400) == []
    assert key.post(url, form).status_code == 200
