"""`broker keys`: made once, rotated by hand, shown without a secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.crypto.keys import KeyRing, parse
from broker.key_lives import LEAD, lives
from broker.store import key_versions
from broker.store.aws import StoreUnavailable

from .conftest import Operator

DAY = 86400


def document(operator: Operator) -> str:
    secret_id = operator.environment["BROKER_KEYS_SECRET"]
    secrets = operator.aws("secretsmanager")
    return str(secrets.get_secret_value(SecretId=secret_id, VersionStage="AWSCURRENT")["SecretString"])


def ring(operator: Operator) -> KeyRing:
    return parse(document(operator))


def is_pending(operator: Operator) -> bool:
    """Whether a version waits beside the present one, which would keep the schedule from rotating."""
    described = operator.aws("secretsmanager").describe_secret(SecretId=operator.environment["BROKER_KEYS_SECRET"])
    labels = described["VersionIdsToStages"].values()
    return any("AWSPENDING" in found and "AWSCURRENT" not in found for found in labels)


def states(shown: Any) -> list[tuple[str, str]]:
    return [(key["alg"], key["state"]) for key in shown["keys"]]


pytestmark = pytest.mark.usefixtures("quick_keys")


@pytest.fixture
def secretive(operator: Operator) -> Operator:
    """An operator with keys, of which nothing secret is ever printed."""
    operator.json("keys", "init")
    return operator


def assert_no_secret_was_seen(operator: Operator, *documents: str) -> None:
    for text in documents:
        for key in (*json.loads(text)["handle"], *json.loads(text)["sealing"]):
            assert key["secret"] not in operator.seen
        for key in json.loads(text)["signing"]:
            assert key["private_pem"].splitlines()[1] not in operator.seen
    assert "PRIVATE KEY" not in operator.seen


def test_keys_are_made_once_and_shown_without_secrets(operator: Operator) -> None:
    missing = "There are no keys yet; make them with `broker keys init`."
    assert operator("keys", "list").refusal() == operator("keys", "rotate").refusal() == missing
    shown = operator.json("keys", "init")
    before = document(operator)
    assert states(shown) == [
        ("HMAC-SHA-256", "active"),
        ("AES-256-GCM", "active"),
        ("ES256", "active"),
        ("RS256", "active"),
    ]
    assert [key["name"] for key in shown["keys"]] == [
        "handle:1",
        "sealing:1",
        *(key.kid for key in ring(operator).signing),
    ]
    assert shown["problems"] == []
    assert shown == operator.json("keys", "list")
    sentence = "There are keys already, and they stay as they are; `broker keys list` lists them."
    assert operator("keys", "init").refusal() == sentence
    assert document(operator) == before
    operator("keys", "list")
    assert_no_secret_was_seen(operator, before)


def test_a_broken_key_document_is_neither_shown_nor_replaced(operator: Operator) -> None:
    secret_id = operator.environment["BROKER_KEYS_SECRET"]
    operator.aws("secretsmanager").put_secret_value(SecretId=secret_id, SecretString='{"planted": 1}')
    for command in ("list", "rotate"):
        shown = operator("keys", command)
        assert (shown.status, shown.out) == (1, "")
        assert shown.err == "broker: The key document is not in the form that this version reads.\n"
    assert operator("keys", "init").status == 2
    assert document(operator) == '{"planted": 1}'


def test_rotate_makes_the_next_keys_and_goes_on_with_the_present_ones(secretive: Operator) -> None:
    before = document(secretive)
    shown = secretive.json("keys", "rotate")
    assert states(shown) == [
        (alg, state) for alg in ("HMAC-SHA-256", "AES-256-GCM", "ES256", "RS256") for state in ("active", "next")
    ]
    assert {key["active_from"] for key in shown["keys"] if key["state"] == "next"} == {secretive.now + LEAD}
    retiring = {key["use"]: key["retires_at"] for key in shown["keys"] if key["state"] == "active"}
    longest = lives()
    assert retiring == {
        "handle": secretive.now + LEAD + longest.handle,
        "sealing": secretive.now + LEAD + longest.sealing,
        "signing": secretive.now + LEAD + longest.signing,
    }
    assert secretive.json("keys", "rotate") == shown == secretive.json("keys", "list")
    secretive.forward(LEAD)
    lines = secretive("keys", "list").out.splitlines()
    assert lines[0].split() == ["USE", "KEY", "ALGORITHM", "STATE", "USED", "FROM", "RETIRES"]
    assert lines[1].split(maxsplit=4)[:4] == ["handle", "handle:1", "HMAC-SHA-256", "retiring"]
    assert lines[2].split(maxsplit=4)[:4] == ["handle", "handle:2", "HMAC-SHA-256", "active"]
    assert lines[1].endswith("in 400 days")
    assert_no_secret_was_seen(secretive, before, document(secretive))


def test_an_emergency(secretive: Operator) -> None:
    """New keys at once; a key that got out is good for nothing; all of them, if need be."""
    before, first = document(secretive), ring(secretive)
    secretive.json("keys", "rotate")
    secretive.forward(60)
    asked = "Nothing was changed, as there is no terminal to ask on; give --yes to go ahead."
    assert secretive("keys", "rotate", "--now").refusal() == asked
    assert secretive("keys", "rotate", "--revoke", "handle:1").refusal() == (
        "--revoke is for emergencies, and needs --now."
    )
    refused = secretive("keys", "rotate", "--now", "--revoke", "handle:9", "--yes").refusal()
    assert refused == "Nothing was changed: there is no key handle:9."
    kid = first.signing_key("ES256").kid
    shown = secretive.json("keys", "rotate", "--now", "--revoke", "handle:1", "--revoke", kid, "--yes")
    names = [key["name"] for key in shown["keys"]]
    assert names[:5] == ["handle:2", "handle:3", "sealing:1", "sealing:2", "sealing:3"]
    assert kid not in names
    assert first.signing_key("RS256").kid in names
    assert ring(secretive).handle_key().id == 3
    secretive.json("keys", "rotate", "--now", "--revoke", "all", "--yes")
    assert [key.id for key in ring(secretive).handle] == [4]
    assert_no_secret_was_seen(secretive, before, document(secretive))
    declined = secretive("keys", "rotate", "--now", stdin="n\n", terminal=True)
    assert (declined.status, declined.out) == (1, "")
    assert "Use new keys at once? Backends may refuse new tokens for up to ten minutes." in declined.err


def test_two_operators_at_once(secretive: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower one overwrites nothing."""
    original = key_versions.KeyVersions.put_pending
    faster: list[str] = []

    def put_pending(self: key_versions.KeyVersions, version: str, text: str) -> None:
        if not faster:
            faster.append(version)
            secretive.json("keys", "rotate", "--now", "--yes")
        original(self, version, text)

    monkeypatch.setattr(key_versions.KeyVersions, "put_pending", put_pending)
    outcome = secretive("keys", "rotate")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == "broker: Nothing was changed: the keys were rotated by somebody else just now.\n"
    assert [key.id for key in ring(secretive).handle] == [1, 2]
    assert all(key.active_from <= secretive.now for key in ring(secretive).handle)
    assert not is_pending(secretive)
    secretive.json("keys", "rotate")


@pytest.mark.parametrize("step", ["put_pending", "promote"])
def test_a_rotation_that_breaks_off_leaves_nothing_behind(
    secretive: Operator, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Secrets Manager begins no rotation of its own while a version waits, so the schedule would stand still."""
    original = getattr(key_versions.KeyVersions, step)

    def broken(self: key_versions.KeyVersions, version: str, *arguments: str) -> None:
        if step == "put_pending":
            original(self, version, *arguments)
        raise StoreUnavailable(f"{step}: ReadTimeoutError")

    before = document(secretive)
    with monkeypatch.context() as patch:
        patch.setattr(key_versions.KeyVersions, step, broken)
        outcome = secretive("keys", "rotate")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"broker: AWS refused or did not answer ({step}: ReadTimeoutError); nothing more was done.\n"
    assert document(secretive) == before
    assert not is_pending(secretive)
    secretive.json("keys", "rotate")


def test_a_revocation_whose_answer_was_lost_is_told_as_done(
    secretive: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The AWS client repeats the call, and the second finds that the label has moved."""
    original = key_versions.KeyVersions.promote

    def promote(self: key_versions.KeyVersions, version: str, before: str) -> None:
        original(self, version, before)
        original(self, version, before)

    monkeypatch.setattr(key_versions.KeyVersions, "promote", promote)
    shown = secretive.json("keys", "rotate", "--now", "--revoke", "handle:1", "--yes")
    assert "handle:1" not in [key["name"] for key in shown["keys"]]
    assert shown == secretive.json("keys", "list")
    assert not is_pending(secretive)


def test_problems_are_shown(secretive: Operator) -> None:
    """A document that somebody has edited."""
    changed = json.loads(document(secretive))
    first = changed["handle"][0]
    changed["handle"] = [
        first | {"retires_at": secretive.now + 11},
        first | {"id": 2, "active_from": secretive.now + 10},
    ]
    secretive.aws("secretsmanager").put_secret_value(
        SecretId=secretive.environment["BROKER_KEYS_SECRET"], SecretString=json.dumps(changed)
    )
    sentence = "the handle key 1 retires while tokens that it made may still live"
    assert secretive.json("keys", "list")["problems"] == [sentence]
    assert secretive("keys", "list").out.endswith(f"\nProblem: {sentence}.\n")
