"""`broker registration`, against real tables."""

from __future__ import annotations

import re

from broker.protocol.clients import hash_secret
from broker.protocol.registration_policy import RegistrationPolicy

from .conftest import Operator


def policy(operator: Operator) -> RegistrationPolicy:
    """What the functions read."""
    return operator.registrations.policy()


def test_all_is_off_at_first(operator: Operator) -> None:
    shown = operator.json("registration", "show")
    assert (shown["mode"], shown["documents"], shown["registered"]) == ("off", False, 0)
    assert "nobody may register" in operator("registration", "show").out


def test_set_takes_every_option(operator: Operator) -> None:
    operator.add_provider("github")
    operator.json(
        "registration", "set", "--mode", "open", "--provider", "github", "--scope", "openid repo", "--scope", "email",
        "--grant-type", "authorization_code", "--resource", "https://api.example", "--redirect-host", "app.example",
        "--redirect-host", "localhost", "--cimd", "--allow-host", "*.example.com", "--max-clients", "5",
        "--access-token-lifetime", "300", "--idle-lifetime", "3600", "--absolute-lifetime", "86400", "--retry-window", "0",
    )  # fmt: skip
    assert policy(operator) == RegistrationPolicy(
        mode="open",
        documents=True,
        document_hosts=("*.example.com",),
        providers=("github",),
        scope=("openid", "repo", "email"),
        grant_types=("authorization_code",),
        resources=("https://api.example",),
        redirect_hosts=("app.example", "localhost"),
        max_clients=5,
        access_token_lifetime=300,
        idle_lifetime=3600,
        absolute_lifetime=86400,
        retry_window=0,
    )
    operator.json("registration", "set", "--no-cimd", "--redirect-host", "", "--retry-window", "default")
    after = policy(operator)
    assert (after.documents, after.redirect_hosts, after.retry_window, after.mode) == (False, (), None, "open")


def test_set_refuses_what_cannot_be(operator: Operator) -> None:
    operator.add_provider("github")
    before = policy(operator)
    assert "--provider: must name at least one" in operator("registration", "set", "--mode", "open").refusal()
    words = ("registration", "set", "--mode", "open", "--provider")
    assert "unknown is not registered" in operator(*words, "unknown").refusal()
    assert "--redirect-host:" in operator(*words, "github", "--redirect-host", "https://x").refusal()
    assert "--retry-window: must be from 0 to 60" in operator(*words, "github", "--retry-window", "61").refusal()
    assert "Nothing was given" in operator("registration", "set").refusal()
    assert policy(operator) == before


def test_set_puts_the_count_right(operator: Operator) -> None:
    operator.registrations.set_registered(9)
    operator.add_provider("github")
    operator.add_client("--provider", "github")
    assert operator.json("registration", "set", "--max-clients", "7")["registered"] == 0


def test_a_token_is_shown_once(operator: Operator) -> None:
    made = operator.json("registration", "token", "create", "--name", "For\u00a0Ann", "--expires", "2h", "--uses", "3")
    token = made.pop("token")
    assert re.fullmatch(r"tbi_[A-Za-z0-9_-]{43}", token)
    assert made["expires_at"] == operator.now + 7200
    stored = operator.registrations.initial_token(hash_secret(token))
    assert stored is not None
    assert (stored.name, stored.uses_left, stored.is_usable()) == ("For\u00a0Ann", 3, True)
    assert operator.json("registration", "token", "list") == [made]
    text = operator("registration", "token", "list").out
    assert "For\u00a0Ann" in text
    assert token not in text
    table = operator.aws("dynamodb").scan(TableName=operator.environment["BROKER_REGISTRY_TABLE"])
    assert token not in str(table["Items"])


def test_a_token_expires_and_is_revoked(operator: Operator) -> None:
    first = operator.json("registration", "token", "create", "--expires", "1m")
    second = operator.json("registration", "token", "create")
    assert second["expires_at"] == operator.now + 7 * 86400
    operator.forward(61)
    text = operator("registration", "token", "list").out
    assert re.search(rf"{first['id']} .* spent", text)
    assert re.search(rf"{second['id']} .* usable", text)
    assert "give --yes" in operator("registration", "token", "revoke", second["id"]).refusal()
    assert operator("registration", "token", "revoke", second["id"], "--yes").status == 0
    assert operator.registrations.initial_token(hash_secret(second["token"])) is None
    assert "There is no initial access token" in operator("registration", "token", "revoke", "x", "--yes").refusal()


def test_a_token_has_sensible_limits(operator: Operator) -> None:
    for words in (
        ("--expires", "7"),
        ("--expires", "0d"),
        ("--uses", "0"),
        ("--name", "a\x1b[2J"),
        ("--name", "\u200d"),
    ):
        assert operator("registration", "token", "create", *words).status == 2
    assert operator.json("registration", "token", "list") == []
