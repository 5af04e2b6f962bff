"""`broker client --dialect`: who may speak a provider's dialect to the broker."""

from __future__ import annotations

import pytest

from .conftest import Operator


def test_a_client_of_a_dialect(operator: Operator) -> None:
    added = operator.add_client("--client-id", "4711", "--confidential", "--dialect", "iternio", "--token-by-get")
    assert (added["client_id"], added["dialect"], added["token_by_get"]) == ("4711", "iternio", True)
    stored = operator.registry.client("4711")
    assert stored is not None
    assert (stored.dialect, stored.token_by_get) == ("iternio", True)
    assert "iternio, tokens also by GET" in operator("client", "show", "4711").out


def test_a_dialect_can_be_taken_back(operator: Operator) -> None:
    added = operator.add_client("--confidential", "--dialect", "redbooth")
    changed = operator.json("client", "update", added["client_id"], "--dialect", "")
    assert changed["dialect"] is None


def test_without_the_option_a_client_speaks_none(operator: Operator) -> None:
    added = operator.add_client()
    assert (added["dialect"], added["token_by_get"]) == (None, False)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--dialect", "github"), "--dialect: github is not served; served are infolobby, iternio"),
        (("--dialect", "phpapi", "--token-by-get"), "--token-by-get: phpapi has tokens by POST alone"),
        (("--token-by-get",), "--token-by-get: is for clients that speak a dialect"),
        (("--dialect", "redbooth", "--dpop"), "--dialect: excludes dpop_bound"),
        (
            ("--confidential", "--dialect", "lockitnetwork", "--auth-method", "client_secret_post"),
            "--auth-method: lockitnetwork knows only client_secret_basic",
        ),
    ],
)
def test_a_wrong_choice_is_told_how_to_fix_it(operator: Operator, options: tuple[str, ...], sentence: str) -> None:
    result = operator("client", "add", "--name", "App", "--redirect-uri", "https://app.example/cb", *options)
    assert result.status == 2
    assert sentence in result.err
