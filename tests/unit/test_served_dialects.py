"""The `[serve]` tables: what the catalogue serves where, and wrong tables get an error naming file, field and rule."""

from __future__ import annotations

from typing import Any

import pytest

from broker.protocol.claims import CLAIMS_BY_SCOPE
from broker.protocol.clients import Client
from broker.protocol.registration import InvalidRegistration, validate_client
from broker.settings import LIMITS
from broker.upstream import catalogue, serve
from broker.upstream.reader import ProviderFileError
from broker.upstream.schema import parse_provider

PATHS = {
    "/api/oauth/authorize": ("infolobby", "authorize"),
    "/api/oauth/token": ("infolobby", "token"),
    "/api/oauth/profile": ("infolobby", "profile"),
    "/oauth/authorize": ("lockitnetwork", "authorize"),
    "/oauth/access-token": ("lockitnetwork", "token"),
    "/api/authorize.php": ("phpapi", "authorize"),
    "/api/token.php": ("phpapi", "token"),
    "/api/userinfo.php": ("phpapi", "profile"),
    "/oauth2/authorize": ("redbooth", "authorize"),
    "/oauth2/token": ("redbooth", "token"),
    "/api/3/me": ("redbooth", "profile"),
    "/oauth/auth": ("iternio", "authorize"),
    "/1/oauth/token": ("iternio", "token"),
    "/oauth/token": ("iternio", "token"),
    "/1/oauth/me": ("iternio", "profile"),
}


def table(**changes: Any) -> dict[str, Any]:
    """A table that is right, with dotted fields (written with __) changed."""
    document: dict[str, Any] = {
        "authorize": {"paths": "/a"},
        "token": {"paths": "/t", "answer": {"access_token": "access_token"}},
        "profile": {"paths": "/p", "members": {"id": "subject"}},
    }
    for name, value in changes.items():
        here = document
        *steps, last = name.split("__")
        for step in steps:
            here = here.setdefault(step, {})
        here[last] = value
    return document


def test_the_path_alone_selects_the_dialect() -> None:
    assert {path: (dialect.name, endpoint) for path, (dialect, endpoint) in serve.routes().items()} == PATHS


def test_members_come_from_claims_that_exist() -> None:
    """A misspelt claim would be null for ever."""
    claims = {claim for named in CLAIMS_BY_SCOPE.values() for claim in named} | {serve.SUBJECT}
    for dialect in serve.dialects().values():
        sources = {
            source for named in (dialect.profile.members.values() if dialect.profile else ()) for source in named
        }
        assert sources <= claims, dialect.name


def test_the_smallest_table() -> None:
    dialect = serve.parse_served("small", table(), source="small.toml")
    assert dialect.paths() == {"/a": "authorize", "/t": "token", "/p": "profile"}
    assert (dialect.authorize.methods, dialect.authorize.response_type, dialect.authorize.redirect) == (
        ("GET",),
        "",
        "exact",
    )
    assert not dialect.authorize.raw_redirect_uri
    assert (dialect.token.methods, dialect.token.grant_type, dialect.token.redirect_uri) == (("POST",), "", "required")
    assert dialect.token.grant_types == ("authorization_code",)
    assert dialect.profile is not None
    assert (dialect.profile.token, dialect.profile.cors, dialect.profile.body) == (("header",), "listed", "oauth")


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"authorize__paths": ""}, "serve.authorize.paths", "is missing"),
        ({"authorize__paths": "token"}, "serve.authorize.paths", "must be paths like /api/token"),
        ({"token__paths": "/a/{x}"}, "serve.token.paths", "must be paths like /api/token"),
        ({"authorize__path": "/a"}, "serve.authorize.path", "did you mean serve.authorize.paths"),
        ({"authorize__methods": "PUT"}, "serve.authorize.methods", "must be of GET, POST"),
        ({"authorize__redirect": "any"}, "serve.authorize.redirect", 'must be "exact" or "free_query"'),
        ({"authorize__raw_redirect_uri": "yes"}, "serve.authorize.raw_redirect_uri", "must be true or false"),
        ({"authorize__response_type": "token"}, "serve.authorize.response_type", 'must be "code"'),
        ({"authorize__code": "a&b"}, "serve.authorize.code", "must be names of letters, digits and _"),
        ({"token__auth": "none"}, "serve.token.auth", "must be of client_secret_post, client_secret_basic"),
        ({"token__lifetime": 5}, "serve.token.lifetime", "at least 60"),
        (
            {"token__answer": {"token": "token_type"}},
            "serve.token.answer",
            "must have a member that is the access_token",
        ),
        ({"token__answer__x": "secret"}, "serve.token.answer", "must be of access_token, token_type"),
        ({"token__errors": {"invalid_grant": "a b"}}, "serve.token.errors", "must be names"),
        ({"profile__numbers": ["other"]}, "serve.profile.numbers", "must be of id"),
        ({"profile__faults": {"bad": "x"}}, "serve.profile.faults", "must be of missing, invalid, expired, revoked"),
        (
            {"profile__faults": {"expired": 'a "quote"'}},
            "serve.profile.faults.expired",
            "printable ASCII without quote",
        ),
        ({"profile__realm": "a\r\nb"}, "serve.profile.realm", "printable ASCII without quote"),
        ({"profile__members": {"x y": "name"}}, "serve.profile.members", "must be names"),
        ({"other": {}}, "serve.other", "is not a field"),
    ],
)
def test_a_wrong_table_is_told_what_is_wrong(changes: dict[str, Any], field: str, rule: str) -> None:
    with pytest.raises(ProviderFileError) as raised:
        serve.parse_served("wrong", table(**changes), source="wrong.toml")
    assert (raised.value.source, raised.value.field) == ("wrong.toml", field)
    assert rule in raised.value.rule


def test_an_operator_s_own_file_serves_nothing() -> None:
    document = catalogue.document("infolobby") | {"serve": table()}
    with pytest.raises(ProviderFileError, match=r"own\.toml: serve: is for the catalogue's own files"):
        parse_provider("infolobby", document, source="own.toml")


@pytest.mark.parametrize("field", ["refresh_cookie", "dpop_bound", "require_par"])
def test_a_client_of_a_dialect_cannot_be_asked_for_what_no_guide_knows(field: str) -> None:
    client = Client("c", "C", ("https://app.example/cb",), origins=("https://app.example",), dialect="redbooth")
    validate_client(client, LIMITS)
    with pytest.raises(InvalidRegistration, match=f"excludes {field}"):
        validate_client(Client(**{**vars(client), field: True}), LIMITS)


def test_tokens_by_get_need_a_dialect() -> None:
    with pytest.raises(InvalidRegistration, match="is for clients that speak a dialect"):
        validate_client(Client("c", "C", ("https://app.example/cb",), token_by_get=True), LIMITS)
