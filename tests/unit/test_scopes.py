"""Scopes (RFC 6749 section 3.3) and resource indicators (RFC 8707)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.protocol.errors import OAuthError
from broker.protocol.scopes import allowed_scope, check_resources, parse_scope, provider_scope

API = "https://api.example/v1"


def test_order_stays_and_repeats_go() -> None:
    assert parse_scope("b a  b c") == ("b", "a", "c")
    assert parse_scope(None) is None
    assert parse_scope(" ") == ()


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\tb", "a\nb", "é", "a\0", "a\x7f"])
def test_characters_that_no_scope_has_are_refused(text: str) -> None:
    with pytest.raises(OAuthError) as refused:
        parse_scope(text)
    assert refused.value.kind.code == "invalid_scope"


@given(
    st.lists(
        st.text(st.characters(codec="ascii", exclude_characters='"\\ ', exclude_categories=["Cc"]), min_size=1),
        max_size=50,
    )
)
def test_every_token_of_the_grammar_passes(tokens: list[str]) -> None:
    assert parse_scope(" ".join(tokens)) == tuple(dict.fromkeys(tokens))


def test_what_is_granted_is_what_was_asked_or_all() -> None:
    """RFC 6749 section 3.3: a default where nothing is asked for, and an error where too much is."""
    assert allowed_scope(None, ["openid", "email"]) == ("openid", "email")
    assert allowed_scope((), ["openid", "email"]) == ("openid", "email")
    assert allowed_scope(("email",), ["openid", "email"]) == ("email",)
    with pytest.raises(OAuthError) as refused:
        allowed_scope(("email", "admin"), ["openid", "email"])
    assert refused.value.kind.code == "invalid_scope"
    assert "'admin'" in refused.value.description


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("read:orders", "'read:orders'"),
        ("<script>alert(1)</script>", "'?script?alert(1)?/script?'"),
        ("x" * 101, f"'{'x' * 100}...'"),
        ('é"\\\n', "'?'??'"),
    ],
)
def test_a_refused_value_is_repeated_in_harmless_characters(sent: str, shown: str) -> None:
    """RFC 6749 section 4.1.2.1; and no markup, for a client that shows a description as it comes."""
    with pytest.raises(OAuthError) as scope:
        allowed_scope((sent,), ["openid"])
    with pytest.raises(OAuthError) as resource:
        check_resources([sent], [API])
    assert shown in scope.value.description
    assert shown in resource.value.description


def test_the_brokers_own_scopes_are_not_passed_on() -> None:
    assert provider_scope(("openid", "profile", "email", "offline_access", "repo", "user:read")) == (
        "repo",
        "user:read",
    )


def test_known_resources_pass_each_once() -> None:
    assert check_resources([API, API], [API]) == (API,)
    assert check_resources([], [API]) == ()


@pytest.mark.parametrize(
    "resource",
    [
        "https://other.example",
        API + "/",
        API + "#",
        API + "#f",
        "/v1",
        "api.example",
        "https:\\\\api.example",
        "http://[",
        "x" * 9000,
    ],
)
def test_other_resources_are_an_invalid_target(resource: str) -> None:
    """RFC 8707 section 2; never an internal error, whatever the text."""
    with pytest.raises(OAuthError) as refused:
        check_resources([API, resource], [API])
    assert refused.value.kind.code == "invalid_target"


@given(st.text())
def test_no_text_is_a_resource_or_raises_anything_else(text: str) -> None:
    with pytest.raises(OAuthError):
        check_resources([text], [API])
