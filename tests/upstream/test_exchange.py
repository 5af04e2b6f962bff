"""The calls themselves: what exactly is sent, in each dialect, and what is made of a success."""

import base64
import json

import pytest

from broker.upstream.dialect import (
    Profile,
    exchange_code,
    fetch_profile,
    refresh_tokens,
    revoke_tokens,
)
from broker.upstream.failures import FailureKind, UpstreamFailure
from broker.upstream.http import Sender, UpstreamRequest
from broker.upstream.provider import Provider
from broker.upstream.renewal import can_refresh, refresh_due_at
from broker.upstream.tokens import UpstreamTokens

from .scripted import (
    CREDENTIALS,
    NOW,
    TOKENS,
    ScriptedHttp,
    answer,
    deadline,
    form_of,
    from_catalogue,
    http_of,
    plain,
    query_of,
)

REDIRECT = "https://broker.example/callback/plain?txn=s"
SECRET = CREDENTIALS.client_secret


def exchange(
    provider: Provider, http: Sender, *, kept: dict[str, str] | None = None, asked: tuple[str, ...] = ()
) -> UpstreamTokens:
    return exchange_code(
        provider,
        CREDENTIALS,
        http,
        code="c-1",
        redirect_uri=REDIRECT,
        code_verifier="v-1",
        state="s-1",
        asked_scope=asked,
        kept=kept or {},
        now=NOW,
        deadline=deadline(),
    )


def refresh(provider: Provider, http: Sender, tokens: UpstreamTokens = TOKENS) -> UpstreamTokens:
    return refresh_tokens(provider, CREDENTIALS, http, tokens, now=NOW, deadline=deadline())


def profile(provider: Provider, http: Sender, tokens: UpstreamTokens = TOKENS) -> Profile:
    return fetch_profile(provider, CREDENTIALS, http, tokens, deadline=deadline())


def granting(**more: object) -> ScriptedHttp:
    return http_of(answer(200, {"access_token": "a-1", **more}))


def sent_by_exchange(provider: Provider) -> UpstreamRequest:
    http = granting(ok=True, user_token="a-1", authed_user={"access_token": "a-1"})
    exchange(provider, http)
    return http.only


def basic_of(request: UpstreamRequest) -> str:
    scheme, _, value = dict(request.headers)["Authorization"].partition(" ")
    assert scheme == "Basic"
    return base64.b64decode(value, validate=True).decode()


CODE_FORM = {"grant_type": "authorization_code", "code": "c-1", "redirect_uri": REDIRECT}
PKCE = {"code_verifier": "v-1"}
OWN = {"client_id": "the-client", "client_secret": SECRET}
FORMS = {
    "infolobby": CODE_FORM | OWN,
    "lockitnetwork": CODE_FORM | PKCE,
    "phpapi": {"code": "c-1"} | OWN,
    "redbooth": CODE_FORM | OWN,
    "iternio": CODE_FORM | OWN,
    "github": CODE_FORM | PKCE | OWN,
    "slack": CODE_FORM | OWN,
    "discord": CODE_FORM | PKCE | OWN,
}


@pytest.mark.parametrize("name", FORMS)
def test_the_token_request_of_the_catalogues_providers(name: str) -> None:
    provider = from_catalogue(name)
    request = sent_by_exchange(provider)
    assert request.method == "POST"
    assert "?" not in request.url
    assert form_of(request) == FORMS[name]
    assert ("Authorization" in dict(request.headers)) == (name == "lockitnetwork")


def test_notion_sends_json_and_basic() -> None:
    request = sent_by_exchange(from_catalogue("notion"))
    assert json.loads(request.body or b"") == CODE_FORM | PKCE
    assert dict(request.headers)["Content-Type"] == "application/json"


def test_basic_is_form_encoded_or_raw() -> None:
    assert basic_of(sent_by_exchange(plain(token__auth="basic"))) == "the-client:planted-secret%2F%2B%C3%A9"
    assert basic_of(sent_by_exchange(plain(token__auth="basic", token__basic_encoding="raw"))) == f"the-client:{SECRET}"


def test_lockits_guide_to_the_byte() -> None:
    """`curl -u 'example-client:top-secret'` of the guide; the header printed beside it is of another secret."""
    http = granting()
    request = _exchange_as("example-client", "top-secret", from_catalogue("lockitnetwork"), http)
    assert basic_of(request) == "example-client:top-secret"


def _exchange_as(client_id: str, secret: str, provider: Provider, http: ScriptedHttp) -> UpstreamRequest:
    exchange_code(
        provider,
        type(CREDENTIALS)(client_id, secret),
        http,
        code="example-auth-code",
        redirect_uri="https://example-client.com/auth_code",
        code_verifier=None,
        state=None,
        asked_scope=(),
        kept={},
        now=NOW,
        deadline=deadline(),
    )
    assert http.only.body == (
        b"grant_type=authorization_code&code=example-auth-code"
        b"&redirect_uri=https%3A%2F%2Fexample-client.com%2Fauth_code"
    )
    return http.only


def test_get_with_a_query_as_the_live_iternio_clients_do() -> None:
    request = sent_by_exchange(plain(token__method="GET", authorize__pkce="off"))
    assert (request.method, request.body) == ("GET", None)
    assert query_of(request.url) == CODE_FORM | OWN


def test_no_authentication_parameters_names_and_headers() -> None:
    request = sent_by_exchange(
        plain(
            token__auth="none",
            token__url="https://provider.example/token?v=2",
            token__body="query",
            token__params={"grant_type": "", "audience": "{client_id}!", "st": "{state}", "key": "{client_secret}"},
            token__rename={"client_id": "client_key", "code": "auth"},
            token__headers={"X-Key": "k {client_id}", "accept": "text/plain"},
        )
    )
    assert (
        query_of(request.url)
        == {
            "v": "2",
            "auth": "c-1",
            "redirect_uri": REDIRECT,
            "client_key": "the-client",
            "audience": "the-client!",
            "st": "s-1",
            "key": SECRET,
        }
        | PKCE
    )
    assert dict(request.headers) == {"X-Key": "k the-client", "accept": "text/plain"}


def test_no_verifier_where_pkce_is_off() -> None:
    assert "code_verifier" not in form_of(sent_by_exchange(plain(authorize__pkce="off")))


def test_a_header_of_the_file_gives_way_to_our_authentication() -> None:
    request = sent_by_exchange(plain(token__auth="basic", token__headers={"authorization": "Basic x"}))
    assert [name for name, _ in request.headers if name.lower() == "authorization"] == ["Authorization"]


def test_a_refresh_in_the_rfcs_dialect() -> None:
    http = granting()
    tokens = refresh(plain(), http)
    assert form_of(http.only) == {"grant_type": "refresh_token", "refresh_token": "old-refresh"} | OWN
    assert tokens == UpstreamTokens("a-1", "old-refresh", scope=("read",))


def test_a_rotated_refresh_token_replaces_the_old() -> None:
    first = refresh(from_catalogue("redbooth"), granting(refresh_token="r-1", expires_in=7200))
    assert (first.refresh_token, first.expires_at) == ("r-1", NOW + 7200)
    http = granting(refresh_token="r-2")
    assert refresh(from_catalogue("redbooth"), http, first).refresh_token == "r-2"
    assert form_of(http.only)["refresh_token"] == "r-1"


def test_a_refresh_by_the_access_token() -> None:
    provider = plain(
        refresh__using="access_token",
        refresh__method="GET",
        refresh__params={"grant_type": "exchange_token"},
        refresh__rename={"access_token": "input_token"},
    )
    only_access = UpstreamTokens("old-access")
    assert can_refresh(provider, only_access)
    http = granting()
    refresh(provider, http, only_access)
    assert query_of(http.only.url) == {"grant_type": "exchange_token", "input_token": "old-access"} | OWN


def test_without_a_refresh_token_the_grant_is_over() -> None:
    http = http_of()
    assert not can_refresh(plain(), UpstreamTokens("a"))
    assert can_refresh(plain(), TOKENS)
    with pytest.raises(UpstreamFailure) as caught:
        refresh(plain(), http, UpstreamTokens("a"))
    assert (caught.value.kind, caught.value.sent, http.requests) == (FailureKind.GRANT_REFUSED, False, [])


@pytest.mark.parametrize(
    ("expires_at", "margin", "due"),
    [
        (NOW + 7200, None, NOW + 7080),
        (NOW + 600, None, NOW + 540),
        (NOW + 5, None, NOW + 5),
        (NOW - 5, None, NOW - 5),
        (NOW + 7200, 600, NOW + 6600),
        (NOW + 7200, 0, NOW + 7200),
        (None, None, None),
        (None, 600, None),
    ],
)
def test_when_a_refresh_is_due(expires_at: int | None, margin: int | None, due: int | None) -> None:
    provider = plain(**({} if margin is None else {"refresh__margin": margin}))
    assert refresh_due_at(provider, UpstreamTokens("a", "r", expires_at=expires_at), NOW) == due


PROFILES: dict[str, tuple[object, dict[str, object]]] = {
    "infolobby": (
        {"userId": 123, "username": "John Smith", "emailAddress": "", "timezone": "America/New_York", "locale": "en-US"},
        {"sub": "123", "name": "John Smith", "zoneinfo": "America/New_York", "locale": "en-US"},
    ),
    "phpapi": (
        {"username": "johndoe", "email": "john@example.com", "full_name": "John Doe"},
        {"sub": "johndoe", "preferred_username": "johndoe", "email": "john@example.com", "name": "John Doe"},
    ),
    "redbooth": (
        {"type": "User", "id": 42, "first_name": "Jo", "last_name": "Dö", "email": "jo@example.com", "username": "jo"},
        {"sub": "42", "given_name": "Jo", "family_name": "Dö", "email": "jo@example.com", "preferred_username": "jo"},
    ),
    "iternio": (
        {"status": "ok", "user_id": 9007199254740993, "full_name": "Jo", "email": "jo@example.com", "vehicle_x": 1},
        {"sub": "9007199254740993", "name": "Jo", "email": "jo@example.com"},
    ),
    "github": (
        {"id": 583231, "login": "octocat", "name": "Mona", "email": None, "avatar_url": "https://a.example/1"},
        {"sub": "583231", "preferred_username": "octocat", "name": "Mona", "picture": "https://a.example/1"},
    ),
    "slack": ({"ok": True, "user_id": "U1", "user": "jo"}, {"sub": "U1", "name": "jo"}),
    "notion": (
        {"object": "user", "id": "b-1", "name": "Bot", "bot": {"owner": {"user": {"id": "n-1", "name": "Jo"}}}},
        {"sub": "n-1", "name": "Jo"},
    ),
    "discord": (
        {"id": "80351110224678912", "username": "jo", "global_name": None, "email": "jo@example.com"},
        {"sub": "80351110224678912", "preferred_username": "jo", "name": "jo", "email": "jo@example.com"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROFILES)
def test_the_profiles_of_the_catalogues_providers(name: str) -> None:
    document, claims = PROFILES[name]
    http = http_of(answer(200, document))
    found = profile(from_catalogue(name), http)
    assert found.claims == claims
    assert found.subject == claims["sub"]
    assert found.document == document
    request = http.only
    if name == "iternio":
        assert query_of(request.url) == {"api_key": SECRET, "access_token": "old-access"}
        assert "Authorization" not in dict(request.headers)
    else:
        assert "?" not in request.url
        assert dict(request.headers)["Authorization"] == "Bearer old-access"
    assert request.method == ("POST" if name == "slack" else "GET")
    assert dict(request.headers).get("Notion-Version") == ("2022-06-28" if name == "notion" else None)


def test_two_people_of_one_slack_workspace_are_two_subjects() -> None:
    """Both answers hold the same bot, whose token stands where other providers have the person's."""
    slack, found = from_catalogue("slack"), {}
    for person in ("U1", "U2"):
        mine = {"id": person, "access_token": f"xoxp-{person}", "scope": "chat:write", "token_type": "user"}
        bot = {"access_token": "xoxb-1", "token_type": "bot", "bot_user_id": "UBOT", "team": {"id": "T1"}}
        http = http_of(answer(200, {"ok": True, **bot, "authed_user": mine}))
        tokens = exchange(slack, http)
        me = http_of(answer(200, {"ok": True, "user_id": "UBOT" if tokens.access_token == "xoxb-1" else person}))
        found[person] = profile(slack, me, tokens).subject
        assert dict(me.only.headers)["Authorization"] == f"Bearer xoxp-{person}"
    assert found == {"U1": "U1", "U2": "U2"}


@pytest.mark.parametrize(
    ("value", "subject"),
    [
        ("42", "42"),
        (42, "42"),
        (42.0, "42"),
        (0, "0"),
        (-1, "-1"),
        (2**70, str(2**70)),
        ("007", "007"),
        ("Jürgen", "Jürgen"),
        (" a ", " a "),
    ],
)
def test_subjects(value: object, subject: str) -> None:
    assert profile(plain(), http_of(answer(200, {"id": value}))).subject == subject


@pytest.mark.parametrize(
    "body",
    [
        '{"id": 1e22}',
        '{"id": 1e400}',
        '{"id": NaN}',
        '{"id": 9007199254740993.0}',
        '{"id": "a\\u0000b"}',
        '{"id": ["1"]}',
        '{"id": false}',
        '{"id": ' + "9" * 300 + "}",
        '{"sub": true, "id": "1"}',
    ],
)
def test_values_that_are_no_subject(body: str) -> None:
    with pytest.raises(UpstreamFailure) as caught:
        profile(plain(), http_of(answer(200, body)))
    assert caught.value.row in {7, 30}


def test_claims_by_paths_roots_and_marks() -> None:
    provider = plain(
        userinfo__root=["data", ""],
        userinfo__claims={
            "sub": "user.id",
            "email": ["emails.0.value", "mail"],
            "name": "",
            "email_verified": "verified",
            "groups": "https://a.example/groups",
        },
    )
    document = {
        "data": {
            "user": {"id": "u"},
            "emails": [{"value": "jo@example.com"}],
            "verified": False,
            "name": "Jo",
            "https://a.example/groups": ["x"],
        }
    }
    assert profile(provider, http_of(answer(200, document))).claims == {
        "sub": "u",
        "email": "jo@example.com",
        "email_verified": False,
        "groups": ["x"],
    }
    flat = profile(provider, http_of(answer(200, {"user": {"id": "u"}, "mail": "m", "verified": "z" * 5000})))
    assert flat.claims == {"sub": "u", "email": "m"}


def test_a_broken_surrogate_does_not_travel() -> None:
    found = profile(plain(), http_of(answer(200, '{"id": "1", "name": "a\\ud800b"}')))
    assert json.dumps(dict(found.claims), ensure_ascii=False).encode()
    assert found.claims["name"] == "a\ufffdb"


def test_a_provider_without_userinfo_is_not_asked() -> None:
    with pytest.raises(ValueError, match="lockitnetwork has no userinfo"):
        profile(from_catalogue("lockitnetwork"), http_of())


def test_the_places_of_the_access_token() -> None:
    header = plain(userinfo__token="header:X-Access-Token:{access_token}")
    http = http_of(answer(200, {"id": "1"}))
    profile(header, http)
    assert dict(http.only.headers)["X-Access-Token"] == "old-access"
    query = plain(userinfo__token="query:oauth_token", userinfo__method="POST")
    http = http_of(answer(200, {"id": "1"}))
    profile(query, http)
    assert query_of(http.only.url) == {"oauth_token": "old-access"}
    assert http.only.method == "POST"


def test_what_was_kept_fills_later_urls() -> None:
    provider = plain(
        callback__keep=["location"],
        token__response={"keep": ["team.id", "flag", "note"]},
        token__url="https://accounts.provider.example/{location}/token",
        userinfo__url="https://{location}.provider.example/{team.id}/me",
        vars={"location": {"pattern": "eu|us"}, "team.id": {"pattern": "T/?[0-9]+"}},
    )
    http = granting(team={"id": "T/1"}, flag=True, note=7)
    tokens = exchange(provider, http, kept={"location": "eu"})
    assert http.only.url == "https://accounts.provider.example/eu/token"
    assert tokens.kept == {"location": "eu", "team.id": "T/1", "note": "7"}
    http = http_of(answer(200, {"id": "1"}))
    profile(provider, http, tokens)
    assert http.only.url == "https://eu.provider.example/T%2F1/me"
    assert refresh(provider, granting(), UpstreamTokens("a", "r", kept=tokens.kept)).kept == tokens.kept


def test_a_kept_value_that_its_pattern_refuses_goes_nowhere() -> None:
    provider = plain(
        token__response={"keep": ["base"]},
        userinfo__url="{base}/me",
        vars={"base": {"pattern": r"https://[a-z]+\.provider\.example"}},
    )
    assert exchange(provider, granting(base="https://eu.provider.example")).kept["base"]
    with pytest.raises(UpstreamFailure) as caught:
        exchange(provider, granting(base="https://evil.example"))
    assert caught.value.row == 15
    for kept in ({"base": "https://evil.example"}, {}):
        http = http_of()
        with pytest.raises(UpstreamFailure) as caught:
            profile(provider, http, UpstreamTokens("a", kept=kept))
        assert (caught.value.sent, http.requests) == (False, [])
        assert "evil" not in str(caught.value)


def test_a_secret_that_no_header_can_hold_is_a_fault_of_ours() -> None:
    http = http_of()
    with pytest.raises(UpstreamFailure) as caught:
        exchange(plain(token__headers={"X-Key": "{client_secret}"}), http)
    assert (caught.value.kind, caught.value.alarm, http.requests) == (FailureKind.CLIENT_REFUSED, True, [])
    assert SECRET not in str(caught.value)


def revoke(provider: Provider, http: Sender, tokens: UpstreamTokens = TOKENS) -> bool:
    return revoke_tokens(provider, CREDENTIALS, http, tokens, deadline=deadline())


def test_revocation_by_the_rfc() -> None:
    http = http_of(answer(200))
    assert revoke(plain(), http)
    assert form_of(http.only) == {"token": "old-refresh", "token_type_hint": "refresh_token"} | OWN
    http = http_of(answer(204))
    assert revoke(plain(), http, UpstreamTokens("a"))
    assert form_of(http.only) == {"token": "a", "token_type_hint": "access_token"} | OWN
    assert revoke(plain(), http_of(answer(200, "OK")))


def test_revocation_as_github_does_it() -> None:
    http = http_of(answer(204))
    assert revoke(from_catalogue("github"), http)
    assert (http.only.method, http.only.url) == ("DELETE", "https://api.github.com/applications/the-client/token")
    assert json.loads(http.only.body or b"") == {"access_token": "old-access"}
    assert basic_of(http.only).startswith("the-client:")


def test_a_provider_that_cannot_revoke() -> None:
    assert not revoke(from_catalogue("phpapi"), http_of())


@pytest.mark.parametrize("name", ["discord", "google"])
def test_where_a_revocation_ends_all_logins_of_the_person_none_is_sent(name: str) -> None:
    """Unless the operator names its address himself."""
    assert not from_catalogue(name).has_revoke


def test_nothing_secret_shows() -> None:
    http = http_of(answer(200, {"id": "planted-id", "email": "planted-mail"}))
    found = profile(plain(), http)
    assert "planted" not in repr(found) + repr(http.only)
    tokens = UpstreamTokens("planted-a", "planted-r", id_token="planted-i", kept={"k": "planted-k"})
    assert "planted" not in repr(tokens)
