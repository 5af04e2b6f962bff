"""Token answers in every shape: what is accepted means one thing, what is not is an UpstreamFailure and nothing else."""

import json
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.upstream.answers import read_answer, read_document
from broker.upstream.authorization import CallbackProblem
from broker.upstream.dialect import exchange_code, fetch_profile, read_callback, refresh_tokens
from broker.upstream.failures import UpstreamFailure
from broker.upstream.http import UpstreamResponse
from broker.upstream.normalise import YEAR, Received, read_tokens
from broker.upstream.provider import Provider
from broker.upstream.tokens import UpstreamTokens

from .scripted import CREDENTIALS, NOW, TOKENS, answer, deadline, from_catalogue, http_of, plain

PLAIN = plain()


def normalised(
    document: object, provider: Provider = PLAIN, asked: tuple[str, ...] = (), previous: UpstreamTokens | None = None
) -> UpstreamTokens:
    """From the answer's bytes to the tokens."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    read = read_document(body)
    assert read is not None
    return read_tokens(provider, provider.token, read, Received(NOW, asked, {}, previous))


BEFORE = UpstreamTokens("old", "old-r", expires_at=NOW + 5)


def in_both_phases(document: object, provider: Provider = PLAIN, asked: tuple[str, ...] = ()) -> list[UpstreamTokens]:
    """The tokens of the answer to a code, and to a refresh, whose dialect is one of its own."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    read = read_document(body)
    assert read is not None
    first = read_tokens(provider, provider.token, read, Received(NOW, asked, {}))
    return [first, read_tokens(provider, provider.refresh, read, Received(NOW, asked, {}, BEFORE))]


def expiry(provider: Provider = PLAIN, **fields: object) -> int | None:
    """Seconds, the same in both phases."""
    (end,) = {tokens.expires_at for tokens in in_both_phases({"access_token": "a", **fields}, provider)}
    return None if end is None else end - NOW


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3600, 3600),
        ("3600", 3600),
        (" 3600 ", 3600),
        (3600.9, 3600),
        ("3600.0", 3600),
        ("3.6e3", 3600),
        (0, None),
        (-1, None),
        ("0", None),
        ("-3600", None),
        (0.5, None),
        (None, None),
        ("soon", None),
        ("", None),
        (True, None),
        ([], None),
        ([3600], None),
        ({"s": 3600}, None),
        (10**12, YEAR),
        (10**400, YEAR),
        ("1e300", YEAR),
        (3_600_000, 3_600_000),
        (YEAR + 1, YEAR),
    ],
)
def test_rows_17_to_19_expires_in(value: object, seconds: int | None) -> None:
    assert expiry(expires_in=value) == seconds


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(text: str) -> None:
    body = f'{{"access_token": "a", "expires_in": {text}}}'.encode()
    assert [tokens.expires_at for tokens in in_both_phases(body)] == [None, None]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (NOW + 60, 60),
        (str(NOW + 60), 60),
        ((NOW + 60) * 1000, 60),
        (f"{(NOW + 60) * 1000}", 60),
        ("2023-11-14T22:14:20Z", 60),
        ("2023-11-14T22:14:20", 60),
        ("2023-11-14T23:14:20.5+01:00", 60),
        ("20231114T221420Z", 60),
        (NOW - 60, None),
        (NOW, None),
        ("tomorrow", None),
        ("9999-12-31T23:59:59-23:59", YEAR),
        (10**30, YEAR),
        (-1, None),
        (True, None),
        ("2" * 5000, None),
    ],
)
def test_row_20_expires_at(value: object, seconds: int | None) -> None:
    assert expiry(expires_at=value) == seconds


def test_which_expiry_counts() -> None:
    assert expiry(expires_in=10, expires_at=NOW + 60) == 10
    assert expiry(expires_in=0, expires_at=NOW + 60) == 60
    provider = plain(token__default_expires_in=1800)
    for fields in ({}, {"expires_in": "soon"}, {"expires_in": 0, "expires_at": NOW - 1}):
        assert expiry(provider, **fields) == 1800
    assert expiry(provider, expires_in=5) == 5


def test_a_refresh_may_have_an_answer_of_its_own() -> None:
    """Its own fields and its own default; what it leaves out is as at the code."""
    provider = plain(
        token__default_expires_in=1800,
        refresh__default_expires_in=900,
        refresh__response__access_token=["renewed.token"],
        refresh__response__expires_in=["renewed.life"],
        refresh__response__scope=["renewed.may"],
    )
    document = {"access_token": "a", "expires_in": 60, "scope": "x", "refresh_token": "r"}
    renewed = {"token": "b", "life": "90", "may": ["y"]}
    code, refreshed = in_both_phases({**document, "renewed": renewed}, provider)
    assert (code.access_token, code.expires_at, code.scope) == ("a", NOW + 60, ("x",))
    assert (refreshed.access_token, refreshed.expires_at, refreshed.scope) == ("b", NOW + 90, ("y",))
    assert code.refresh_token == refreshed.refresh_token == "r"
    code, refreshed = in_both_phases({"access_token": "a", "renewed": {"token": "b", "life": 0}}, provider)
    assert (code.expires_at, refreshed.expires_at) == (NOW + 1800, NOW + 900)
    assert (code.refresh_token, refreshed.refresh_token) == (None, BEFORE.refresh_token)


@pytest.mark.parametrize("token_type", [None, "bearer", "mac", "User Access Token", 7, {}, "planted\r\n"])
def test_row_16_any_token_type_is_bearer(token_type: object) -> None:
    for document in ({"access_token": "a", "token_type": token_type}, {"access_token": "a"}):
        assert [tokens.token_type for tokens in in_both_phases(document)] == ["Bearer", "Bearer"]


@pytest.mark.parametrize(
    ("value", "scope"),
    [
        ("a b", ("a", "b")),
        ("a,b", ("a", "b")),
        ("a, b  c", ("a", "b", "c")),
        (["a", "b"], ("a", "b")),
        (["a", 1, None, "b", "a"], ("a", "b")),
        ('a "b" c\\d é', ("a",)),
        ("https://a.example/x:y", ("https://a.example/x:y",)),
        (None, ("asked",)),
        ("", ("asked",)),
        ([], ("asked",)),
        ({"a": 1}, ("asked",)),
        (7, ("asked",)),
    ],
)
def test_row_21_scope(value: object, scope: tuple[str, ...]) -> None:
    both = in_both_phases({"access_token": "a", "scope": value}, asked=("asked",))
    assert [tokens.scope for tokens in both] == [scope, scope]


def test_no_more_scopes_are_kept_than_fit_beside_the_tokens() -> None:
    """They are sealed with the tokens, in an item of DynamoDB's that must not be larger than 400 KB."""
    many = [f"scope-{number:05}" for number in range(60_000)]
    for found in in_both_phases({"access_token": "a", "scope": many}):
        assert found.scope == tuple(many[:200])
    for found in in_both_phases({"access_token": "a", "scope": " ".join(many)}, asked=("read", "write")):
        assert found.scope == tuple(many[:200])
    long = ["a" * 5000, "b" * 5000, "c" * 100]
    for found in in_both_phases({"access_token": "a", "scope": long}):
        assert found.scope == ("a" * 5000, "c" * 100)


def test_a_scope_that_was_asked_for_is_kept_wherever_it_stands() -> None:
    many = [f"scope-{number:05}" for number in range(300)]
    for found in in_both_phases({"access_token": "a", "scope": [*many, "read"]}, asked=("read",)):
        assert found.scope == ("read", *many[:199])
    for found in in_both_phases({"access_token": "a", "scope": ["mail", "read"]}, asked=("read",)):
        assert found.scope == ("mail", "read")


def test_scope_with_the_providers_own_separator() -> None:
    provider = plain(authorize__scope_separator="|")
    both = in_both_phases({"access_token": "a", "scope": "x|y"}, provider)
    assert [tokens.scope for tokens in both] == [("x", "y"), ("x", "y")]
    assert normalised({"access_token": "a"}).scope is None


def test_a_narrower_scope_is_seen() -> None:
    assert normalised({"access_token": "a", "scope": "b"}).missing_scope(("a", "b", "c")) == ("a", "c")
    assert UpstreamTokens("a").missing_scope(("a",)) == ("a",)


def test_rows_15_and_25_tokens() -> None:
    previous = UpstreamTokens("old", "old-r", id_token="old-i")
    for odd in ({}, {"refresh_token": None}, {"refresh_token": ""}, {"refresh_token": "a\nb"}, {"refresh_token": 5}):
        kept = normalised({"access_token": "a", **odd}, previous=previous)
        assert (kept.refresh_token, kept.id_token) == ("old-r", "old-i")
        assert normalised({"access_token": "a", **odd}).refresh_token is None
    new = normalised({"access_token": "a", "refresh_token": "r", "id_token": "i"}, previous=previous)
    assert (new.refresh_token, new.id_token) == ("r", "old-i"), "an ID token that nobody has checked is not kept"


@pytest.mark.parametrize("odd", ["https://evil.example", "a" * 2000])
def test_row_15_a_kept_value_that_the_file_does_not_allow(odd: str) -> None:
    """There is no login yet that it could cost. In a refresh the answer has the only tokens that the provider still takes: the
    value of before stays."""
    provider = plain(vars={"host": {"pattern": "[a-z]+[.]example"}}, token__response__keep=["host"])
    document = {"access_token": "a", "refresh_token": "r", "host": odd}
    with pytest.raises(UpstreamFailure) as caught:
        normalised(document, provider)
    assert caught.value.row == 15
    for before in ({"host": "eu.example"}, {}):
        http = http_of(answer(200, document))
        tokens = refresh_tokens(
            provider, CREDENTIALS, http, replace(TOKENS, kept=before), now=NOW, deadline=deadline(), sleep=http.sleep
        )
        assert (tokens.access_token, tokens.refresh_token, tokens.kept) == ("a", "r", before)


@pytest.mark.parametrize("value", [None, "", " \x7f", "a\u00e9", "a\ttab", 5, True, [], ["a"], {"t": "a"}, "a" * 65537])
def test_row_15_what_is_no_access_token(value: object) -> None:
    for dialect, before in ((PLAIN.token, None), (PLAIN.refresh, BEFORE)):
        with pytest.raises(UpstreamFailure) as caught:
            read_tokens(PLAIN, dialect, {"access_token": value}, Received(NOW, (), {}, before))
        assert caught.value.row == 15


@pytest.mark.parametrize(
    "body",
    [
        b'{"access_token":"a b","expires_in":60}',
        b'\xef\xbb\xbf{"access_token":"a b","expires_in":60}',
        b'  {"access_token":"a b","expires_in":60,"note":"\xff"}\r\n',
        b"access_token=a+b&expires_in=60",
        b"access_token=a%20b&expires_in=60&access_token=later",
        b"\xef\xbb\xbfexpires_in=60&access_token=a%20b\n",
    ],
)
def test_row_22_json_then_form_whatever_the_content_type(body: bytes) -> None:
    for tokens in in_both_phases(body):
        assert (tokens.access_token, tokens.expires_at) == ("a b", NOW + 60)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"null",
        b"true",
        b"1",
        b'"access_token=a"',
        b'["a"]',
        b"<html>a=b</html>",
        b"<!doctype html><a href='?a=b'>",
        b'{"access_token": "a"',
        b"access_token",
        b"Error: a = b",
        b"&".join(b"a=b" for _ in range(200)),
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"a":' + b"9" * 5000 + b"}",
        b"\x00\x01\x02",
    ],
)
def test_row_7_what_is_no_document(body: bytes) -> None:
    assert read_document(body) is None


def test_the_first_root_with_an_access_token_counts_for_everything() -> None:
    provider = plain(token__response={"root": ["", "inner"], "keep": ["team.id"]})
    user = {"inner": {"access_token": "u", "refresh_token": "ur"}, "team": {"id": "T1"}, "refresh_token": "br"}
    tokens = normalised(user, provider)
    assert (tokens.access_token, tokens.refresh_token, tokens.kept) == ("u", "ur", {"team.id": "T1"})
    both = normalised({**user, "access_token": "b"}, provider)
    assert (both.access_token, both.refresh_token) == ("b", "br")


def test_iternio_as_the_guide_says_and_as_it_lives() -> None:
    iternio = from_catalogue("iternio")
    for document in (
        {"user_token": "t", "token_type": "Bearer", "state": "s"},
        {"access_token": "t", "token_type": "Bearer"},
        {"user_token": "t", "access_token": "t"},
        {"user_token": None, "access_token": "t"},
    ):
        assert normalised(document, iternio) == UpstreamTokens("t")


def test_the_json_form_round_trips() -> None:
    for tokens in (
        UpstreamTokens("a"),
        UpstreamTokens("a", "r", expires_at=NOW, scope=("x", "y"), kept={"team.id": "T"}, id_token="i"),
        UpstreamTokens("a", scope=(), token_type="DPoP"),
    ):
        assert UpstreamTokens.from_json(tokens.to_json()) == tokens
        assert UpstreamTokens.from_json(tokens.to_json().encode()) == tokens
    assert UpstreamTokens("a").to_json() == '{"a":"a"}'


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"a":1}', '{"a":"planted","s":7}', '{"a":"planted","k":[]}', "\ud800"]
)
def test_what_is_no_json_form(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not the JSON form of upstream tokens$"):
        UpstreamTokens.from_json(text)


# What breaks things: separators, quotes, controls, half a surrogate, digits of other scripts.
TEXT = st.text(
    st.sampled_from("aZ09 .,:;&=%+-/\"'\\<{[\r\n\t\x00\x7f\u00e9\u0663\u2028\ufeff\ud800\udc00"), max_size=12
)
ASCII = st.text(st.sampled_from("aZ09 .,:;&=%+-/\"'\\<{[\r\n\t\x00\x7f"), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from(["a", "3600", "error", "ok"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["access_token", "refresh_token", "expires_in", "expires_at", "scope", "error", "error_description", "ok", "authed_user",
     "team", "id_token", "sub", "id", "email", "team.id", "errors", "message"]
)  # fmt: skip
DOCUMENTS = st.dictionaries(FIELDS, JSON, max_size=6)
BODIES = st.one_of(
    st.binary(max_size=200),
    DOCUMENTS.map(lambda document: json.dumps(document).encode()),
    st.dictionaries(FIELDS, ASCII).map(lambda form: urlencode(form).encode()),
)
RESPONSES = st.builds(
    lambda status, header, value, body: UpstreamResponse(status, ((header, value),), body, NOW),
    st.sampled_from([200, 200, 200, 201, 202, 204, 302, 400, 401, 403, 404, 429, 500, 503]) | st.integers(100, 999),
    st.sampled_from(["retry-after", "content-encoding", "content-type"]),
    ASCII,
    BODIES,
)
PROVIDERS = st.sampled_from([plain(token__default_expires_in=60), from_catalogue("slack"), from_catalogue("github")])


@settings(max_examples=150, deadline=None)
@given(PROVIDERS, RESPONSES)
def test_any_answer_is_tokens_or_a_failure(provider: Provider, response: UpstreamResponse) -> None:
    http = http_of(response, response)
    try:
        tokens = exchange_code(
            provider,
            CREDENTIALS,
            http,
            code="c",
            redirect_uri="https://broker.example/cb",
            code_verifier="v",
            state="s",
            asked_scope=("read",),
            kept={},
            now=NOW,
            deadline=deadline(),
            sleep=http.sleep,
        )
    except UpstreamFailure as failure:
        assert str(failure).isascii()
        return
    assert 200 <= response.status < 300
    assert tokens.access_token.isascii()
    assert tokens.access_token.isprintable()
    assert tokens.expires_at is None or NOW < tokens.expires_at <= NOW + YEAR
    assert UpstreamTokens.from_json(tokens.to_json()) == tokens


@settings(max_examples=150, deadline=None)
@given(PROVIDERS, RESPONSES)
def test_any_answer_to_a_refresh_is_tokens_or_a_failure(provider: Provider, response: UpstreamResponse) -> None:
    http = http_of(response, response)
    try:
        tokens = refresh_tokens(provider, CREDENTIALS, http, TOKENS, now=NOW, deadline=deadline(), sleep=http.sleep)
    except UpstreamFailure as failure:
        assert str(failure).isascii()
        return
    assert tokens.refresh_token
    assert tokens.refresh_token.isprintable()


@settings(max_examples=150, deadline=None)
@given(PROVIDERS, RESPONSES)
def test_any_profile_has_a_subject_or_is_a_failure(provider: Provider, response: UpstreamResponse) -> None:
    http = http_of(response, response)
    try:
        found = fetch_profile(provider, CREDENTIALS, http, TOKENS, deadline=deadline(), sleep=http.sleep)
    except UpstreamFailure as failure:
        assert str(failure).isascii()
        return
    assert 0 < len(found.subject) <= 255
    assert json.dumps(dict(found.claims), ensure_ascii=False).encode()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["code", "state", "error", "iss", "x"]), TEXT), max_size=6))
def test_any_callback_is_an_answer_or_none(pairs: list[tuple[str, str]]) -> None:
    try:
        found = read_callback(PLAIN, pairs)
    except CallbackProblem as problem:
        assert problem.reason
        return
    assert (found.code is None) != (found.error is None)


def test_an_answer_remembers_what_came() -> None:
    read = read_answer(answer(429, b" \n", {"retry-after": "7"}), ("retry-after",))
    assert (read.status, read.document, read.blank, read.retry_after, read.received_at) == (429, None, True, 7, NOW)
    assert "planted" not in repr(read_answer(answer(200, {"a": "planted"}), ()))


@pytest.mark.parametrize("status", [100, 101, 199])
def test_an_interim_answer_is_no_answer(status: int) -> None:
    """RFC 9110 section 15.2: whatever comes with it."""
    response = UpstreamResponse(status, (), b'{"access_token": "a"}', NOW)
    with pytest.raises(UpstreamFailure) as refused:
        exchange_code(
            PLAIN,
            CREDENTIALS,
            http_of(response, response),
            code="c",
            redirect_uri="https://broker.example/cb",
            code_verifier="v",
            state="s",
            asked_scope=(),
            kept={},
            now=NOW,
            deadline=deadline(),
        )
    assert refused.value.row == 7
