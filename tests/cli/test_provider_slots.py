"""`broker provider secret`: two slots, whose contents go in and never come out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Operator

FIRST, SECOND, THIRD = "planted-first-secret", "planted-second-secret", "planted-third-secret"


def held(operator: Operator) -> Any:
    name = operator.environment["BROKER_PROVIDER_SECRET_PREFIX"] + "github"
    secrets = operator.aws("secretsmanager")
    return json.loads(secrets.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["SecretString"])


def slots(operator: Operator, *words: str, stdin: str = "") -> list[str]:
    """The slots that the command says are filled."""
    shown = operator.json("provider", "secret", "github", *words, stdin=stdin)
    assert (shown["name"], shown["client_id"], shown["private_key"]) == ("github", "github-client", False)
    found: list[str] = shown["slots"]
    return found


@pytest.fixture
def keeper(operator: Operator) -> Operator:
    operator.add_provider("github", FIRST)
    return operator


def test_a_secret_changes_in_three_steps(keeper: Operator) -> None:
    """Add the next one, let it be the current one, forget the old one; at no moment is there none that works."""
    assert slots(keeper) == ["current"]
    assert slots(keeper, "--next", "--client-secret-stdin", stdin=f"{SECOND}\n") == ["current", "next"]
    assert held(keeper) == {"client_id": "github-client", "client_secret": FIRST, "client_secret_next": SECOND}
    assert slots(keeper, "--promote") == ["current", "old"]
    assert held(keeper) == {"client_id": "github-client", "client_secret": SECOND, "client_secret_old": FIRST}
    asked = "Nothing was changed, as there is no terminal to ask on; give --yes to go ahead."
    assert keeper("provider", "secret", "github", "--drop-old").refusal() == asked
    assert slots(keeper, "--drop-old", "--yes") == ["current"]
    assert held(keeper) == {"client_id": "github-client", "client_secret": SECOND}
    assert not {FIRST, SECOND} & set(keeper.seen.replace('"', " ").split())


def test_what_is_shown(keeper: Operator) -> None:
    assert keeper("provider", "secret", "github").out == "client id  github-client\ncurrent    tried first\n"
    shown = keeper("provider", "secret", "github", "--next", "--client-secret-stdin", stdin=SECOND).out
    assert shown.splitlines() == [
        "client id  github-client",
        "current    tried first",
        "next       tried when the provider refuses the current one",
        "Running functions use it within five minutes, or at the provider's first refusal.",
    ]


def test_a_next_secret_is_not_lost_unasked(keeper: Operator) -> None:
    """It may be the only one that works by now."""
    for _ in range(2):
        assert slots(keeper, "--next", "--client-secret-stdin", stdin=SECOND) == ["current", "next"]
    refused = keeper("provider", "secret", "github", "--next", "--client-secret-stdin", stdin=THIRD).refusal()
    assert refused.startswith("github has a next secret already, which may be the one that the provider takes by now")
    asked = "Nothing was changed, as there is no terminal to ask on; give --yes to go ahead."
    assert keeper("provider", "secret", "github", "--drop-next").refusal() == asked
    assert held(keeper)["client_secret_next"] == SECOND
    assert slots(keeper, "--drop-next", "--yes") == ["current"]
    assert held(keeper) == {"client_id": "github-client", "client_secret": FIRST}
    assert slots(keeper, "--next", "--client-secret-stdin", stdin=THIRD) == ["current", "next"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--promote",), "github has no next secret."),
        (("--drop-next",), "github has no next secret."),
        (("--drop-old", "--yes"), "github has no old secret."),
        (("--next",), "--next and --client-secret-stdin belong together: the next secret is read from standard input."),
        (
            ("--client-secret-stdin",),
            "--next and --client-secret-stdin belong together: the next secret is read from standard input.",
        ),
        (("--promote", "--drop-old"), "Give one of --next, --promote, --drop-next and --drop-old at a time."),
        (("--next", "--client-secret-stdin"), "That is the current secret already."),
    ],
)
def test_wrong_input_changes_nothing(keeper: Operator, words: tuple[str, ...], sentence: str) -> None:
    before = held(keeper)
    assert keeper("provider", "secret", "github", *words, stdin=FIRST).refusal() == sentence
    assert held(keeper) == before


def test_an_old_secret_has_to_go_before_a_next_one_comes(keeper: Operator) -> None:
    slots(keeper, "--next", "--client-secret-stdin", stdin=SECOND)
    slots(keeper, "--promote")
    refused = keeper("provider", "secret", "github", "--next", "--client-secret-stdin", stdin=THIRD).refusal()
    assert refused == "github has an old secret still; forget it first with --drop-old."


def test_a_provider_that_is_not_there(operator: Operator) -> None:
    assert "nope" in operator("provider", "secret", "nope").refusal()
