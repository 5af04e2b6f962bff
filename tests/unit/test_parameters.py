"""Parameters as RFC 6749 section 3 wants them: nothing hidden, nothing repeated, empty is absent."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.protocol.errors import OAuthError
from broker.protocol.parameters import MAX_BYTES, MAX_VALUE, MalformedParameters, parse

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


@given(st.lists(st.tuples(TEXT.filter(bool), TEXT)))
def test_every_form_is_read_as_it_was_meant(pairs: list[tuple[str, str]]) -> None:
    """Whatever the characters, and whether or not a name comes twice."""
    parameters = parse(urlencode(pairs))
    assert sorted(parameters.pairs()) == sorted(pairs)
    for name, _ in pairs:
        assert name in parameters
        assert parameters.all(name) == tuple(value for known, value in pairs if known == name and value)


@given(st.text(max_size=300))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        parameters = parse(text)
    except MalformedParameters as refusal:
        assert not text or text not in str(refusal) or len(text) < 3
        return
    assert len(list(parameters.pairs())) <= text.count("&") + 1


def test_empty_means_absent_but_there() -> None:
    parameters = parse("state=&scope=openid&&flag")
    assert (parameters.get("state"), parameters.get("flag"), parameters.get("none")) == (None, None, None)
    assert ("state" in parameters, "none" in parameters) == (True, False)
    assert parameters.get("scope") == "openid"
    with pytest.raises(OAuthError) as refused:
        parameters.require("state")
    assert (refused.value.kind.code, refused.value.description) == ("invalid_request", "the parameter state is missing")


@pytest.mark.parametrize("text", ["a=1&a=2", "a=1&a=", "a=&a=", "a&a", "%61=1&a=2", "a=1&b=2&a=1"])
def test_a_repeated_parameter_is_refused(text: str) -> None:
    """RFC 6749 section 3.1: also when one is empty, equal, or spelled otherwise."""
    with pytest.raises(OAuthError) as refused:
        parse(text).reject_repeated()
    assert refused.value.kind.code == "invalid_request"
    assert refused.value.description == "the parameter a is there more than once"


def test_resource_and_audience_may_repeat() -> None:
    """RFC 8707 section 2, RFC 8693 section 2.1."""
    parameters = parse("resource=https%3A%2F%2Fa&resource=https%3A%2F%2Fb&audience=x&audience=y")
    parameters.reject_repeated()
    assert parameters.all("resource") == ("https://a", "https://b")


def test_a_strange_name_is_not_repeated_in_the_error() -> None:
    """It might be markup, or a secret in the wrong place."""
    with pytest.raises(OAuthError) as refused:
        parse("<script>=1&<script>=2").reject_repeated()
    assert refused.value.description == "the parameter of the request is there more than once"


@pytest.mark.parametrize("text", ["a=%", "a=%2", "a=%zz", "%=a", "a=%ff", "a=%c3%28", "a=%ed%a0%80", "a=" + "%C0%AF"])
def test_what_is_no_utf8_or_no_escape_is_malformed(text: str) -> None:
    with pytest.raises(MalformedParameters):
        parse(text)


def test_lengths_are_bounded() -> None:
    assert parse("a=" + "x" * MAX_VALUE).get("a") == "x" * MAX_VALUE
    for too_long in ("a=" + "x" * (MAX_VALUE + 1), "x" * (MAX_VALUE + 1) + "=1", "&".join(["a=b"] * MAX_BYTES)):
        with pytest.raises(MalformedParameters):
            parse(too_long)
