"""Provider files: the catalogue reads, a wrong file says where and why, and no variable opens a door to a foreign host."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.upstream import catalogue
from broker.upstream.oauth_codes import OAUTH_CODES
from broker.upstream.provider import OkTest, Provider, TokenPlacement
from broker.upstream.reader import ProviderFileError
from broker.upstream.schema import merge_overrides, parse_provider
from broker.upstream.templates import TemplateError, check_url, fill, fill_url, host_is_open, placeholders

from .scripted import PLAIN, from_catalogue, plain

ALL = (
    "apple", "discord", "github", "google", "infolobby", "iternio", "lockitnetwork", "notion", "oidc", "phpapi", "redbooth",
    "slack",
)  # fmt: skip


def test_the_catalogue_holds_them_all() -> None:
    assert catalogue.names() == ALL


@pytest.mark.parametrize("name", ALL)
def test_every_catalogue_file_reads(name: str) -> None:
    provider = from_catalogue(name)
    assert provider.name == name
    assert provider.usable_problem() is None
    assert set(provider.errors.map.values()) <= OAUTH_CODES


def test_documents_are_fresh() -> None:
    catalogue.document("slack").clear()
    assert catalogue.document("slack")


@pytest.mark.parametrize("name", ["nobody", "../catalogue/slack", "slack.toml", ""])
def test_a_name_that_is_not_in_the_catalogue(name: str) -> None:
    with pytest.raises(KeyError):
        catalogue.document(name)


def test_the_defaults_are_the_rfcs() -> None:
    document = {"authorize": {"url": "https://a.example/auth"}, "token": {"url": "https://a.example/token"}}
    provider = parse_provider("a", document, source="a.toml")
    assert provider.authorize.params == {"response_type": "code"}
    assert (provider.authorize.scope, provider.authorize.scope_separator, provider.authorize.scope_param) == (
        (),
        " ",
        "scope",
    )
    assert (provider.authorize.pkce, provider.authorize.state, provider.uses_pkce) == ("S256", "echo", True)
    assert (provider.callback.code, provider.callback.error, provider.callback.keep) == (("code",), ("error",), ())
    token = provider.token
    assert (token.method, token.auth, token.basic_encoding, token.body) == ("POST", "body", "form", "form")
    assert (token.params, token.rename, token.headers, token.ok, token.default_expires_in) == ({}, {}, {}, None, None)
    assert (token.response.root, token.response.access_token) == (("",), ("access_token",))
    assert (provider.refresh.url, provider.refresh.using, provider.refresh.margin) == (token.url, "refresh_token", None)
    assert provider.errors.code == ("error.code", "error", "errors.0.errorType")
    assert provider.errors.detail == ("error_description", "error.message", "message")
    assert provider.api.retry == ("retry-after",)
    assert provider.api.token == TokenPlacement("header", "Authorization", "Bearer {access_token}")
    assert (provider.has_userinfo, provider.has_revoke, provider.issuer, provider.hook) == (False, False, None, None)


def test_the_facts_of_the_guides() -> None:
    iternio = from_catalogue("iternio")
    assert iternio.callback.code == ("auth_code", "code")
    assert iternio.token.response.access_token == ("user_token", "access_token")
    assert iternio.userinfo is not None
    assert iternio.userinfo.token == TokenPlacement("query", "access_token")
    assert iternio.userinfo.ok == OkTest("status", "ok")
    assert from_catalogue("lockitnetwork").token.auth == "basic"
    assert not from_catalogue("lockitnetwork").has_userinfo
    assert from_catalogue("phpapi").authorize.state == "cookie"
    assert from_catalogue("redbooth").authorize.state == "redirect_query"
    infolobby = from_catalogue("infolobby").userinfo
    assert infolobby is not None
    assert infolobby.claims["zoneinfo"] == ("timezone",)


def test_google_and_oidc_need_discovery() -> None:
    google, oidc = from_catalogue("google"), from_catalogue("oidc")
    assert (google.issuer, google.needs_discovery) == ("https://accounts.google.com", True)
    assert (oidc.issuer, oidc.needs_discovery) == ("https://id.example", True)
    assert not from_catalogue("github").needs_discovery


def test_an_issuer_for_the_redirect_alone_needs_no_discovery() -> None:
    assert not plain(issuer="https://a.example").needs_discovery
    assert plain(issuer="https://a.example", authorize__scope=["openid"]).needs_discovery


@pytest.mark.parametrize(
    "issuer", ["http://id.example", "https://u@id.example", "https://id.example/?x", "//id.example"]
)
def test_an_issuer_that_must_not_be_called(issuer: str) -> None:
    with pytest.raises(ProviderFileError):
        parse_provider("oidc", catalogue.document("oidc"), source="oidc.toml", variables={"issuer": issuer})


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ({"hook": "second_hop"}, 'plain needs the Python hook "second_hop", which this broker does not have.'),
    ],
)
def test_what_is_parsed_but_cannot_be_run(overrides: Mapping[str, object], problem: str) -> None:
    said = plain(**overrides).usable_problem()
    assert said is not None
    assert said.startswith(problem)


def error_of(overrides: Mapping[str, object], **options: object) -> str:
    document = merge_overrides(PLAIN, overrides)
    with pytest.raises(ProviderFileError) as caught:
        parse_provider("plain", document, source="plain.toml", **options)  # type: ignore[arg-type]
    assert str(caught.value) == f"{caught.value.source}: {caught.value.field}: {caught.value.rule}"
    assert caught.value.source == "plain.toml"
    return str(caught.value).removeprefix("plain.toml: ")


A_URL = "must be a URL of printable ASCII without spaces, braces and backslashes"
WRONG: list[tuple[Mapping[str, object], str]] = [
    ({"authorize.pkce": "S265"}, 'authorize.pkce: must be "S256" or "off", not "S265"'),
    ({"id_token.require": {"hd": "example.com"}}, "id_token.require: needs an issuer, and openid in authorize.scope"),
    ({"id_token.require": {"email_verified": True}}, "id_token.require.email_verified: must be a string, not true"),
    ({"authorize.prompts": {"consent": "consent"}},
        "authorize.prompts.consent: is none of what a client may ask for: login, select_account"),
    ({"authorize.prompts": {"login": "login consent"}}, "authorize.prompts.login: must be one word"),
    ({"authorize.login_hint": "redirect_uri"}, 'authorize.login_hint: "redirect_uri" is set by the broker itself'),
    ({"authorize.login_hint": 1}, "authorize.login_hint: must be a string, not 1"),
    ({"authorize.pcke": "off"}, "authorize.pcke: is not a field; did you mean authorize.pkce?"),
    ({"authorise": {"url": "x"}}, "authorise: is not a field; did you mean authorize?"),
    ({"token.response.acces_token": "a"},
        "token.response.acces_token: is not a field; did you mean token.response.access_token?"),
    ({"callback.zzz": 1}, "callback.zzz: is not a field; the fields here are code, error, error_description, keep"),
    ({"authorize.state": "nonce"}, 'authorize.state: must be "echo" or "redirect_query" or "cookie", not "nonce"'),
    ({"authorize.url": ""}, "authorize.url: is required"),
    ({"token.url": ""}, "token.url: is required"),
    ({"token.url": 7}, "token.url: must be a string, not 7"),
    ({"token.url": ["a"]}, "token.url: must be a string, not a list"),
    ({"token": "https://a.example"}, 'token: must be a table, not "https://a.example"'),
    ({"token.method": "PUT"}, 'token.method: must be "POST" or "GET", not "PUT"'),
    ({"token.auth": "Basic"}, 'token.auth: must be "body" or "basic" or "none" or "private_key_jwt", not "Basic"'),
    ({"token.method": "GET", "token.body": "form"}, 'token.body: must be "query" when the method is GET, not "form"'),
    ({"token.params": {"a": 1}}, "token.params.a: must be a string, not 1"),
    ({"token.params": "a=1"}, 'token.params: must be a table of strings, not "a=1"'),
    ({"token.headers": {"X Y": "1"}}, "token.headers.X Y: is not a header name"),
    ({"token.headers": {"X": "a\r\nY: b"}}, "token.headers.X: must be printable ASCII"),
    ({"token.headers": {"HOST": "a"}}, "token.headers.HOST: is set by the broker itself"),
    ({"token.ok": {"equals": True}}, "token.ok.path: is required"),
    ({"token.ok": {"path": "ok"}}, "token.ok.equals: must be a string, a number, true or false"),
    ({"token.ok": {"path": "ok", "equals": 1, "is": 2}},
        "token.ok.is: is not a field; the fields here are equals, path"),
    ({"token.response.root": [1]}, "token.response.root: must be a string or a list of strings, not a list"),
    ({"token.default_expires_in": "3600"},
        'token.default_expires_in: must be a whole number of seconds, at least 1, not "3600"'),
    ({"token.default_expires_in": True},
        "token.default_expires_in: must be a whole number of seconds, at least 1, not true"),
    ({"refresh.margin": -1}, "refresh.margin: must be a whole number of seconds, at least 0, not -1"),
    ({"refresh.using": "id_token"}, 'refresh.using: must be "refresh_token" or "access_token", not "id_token"'),
    ({"authorize.params": {"state": ""}},
        "authorize.params.state: is set by the broker itself; see authorize.state, .pkce, .scope and .rename"),
    ({"authorize.params": {"code_challenge": "x"}},
        "authorize.params.code_challenge: is set by the broker itself; see authorize.state, .pkce, .scope and .rename"),
    ({"authorize.scope": [1]}, "authorize.scope: must be a list of strings, not a list"),
    ({"callback.keep": ["client_secret"]}, 'callback.keep: "client_secret" is not a name a variable can have'),
    ({"callback.keep": ["a b"]}, 'callback.keep: "a b" is not a name a variable can have'),
    ({"userinfo.claims": {"sub": ""}}, "userinfo.claims.sub: cannot be removed: a login has a subject"),
    ({"userinfo.claims": {"aud": "id"}}, "userinfo.claims.aud: is the broker's own to say in its ID tokens"),
    ({"userinfo.claims": {"nonce": "id"}}, "userinfo.claims.nonce: is the broker's own to say in its ID tokens"),
    ({"userinfo.claims": "id"}, 'userinfo.claims: must be a table, not "id"'),
    ({"userinfo.token": "bearer"},
        'userinfo.token: must be "header:NAME:TEXT with {access_token}" or "query:NAME", not "bearer"'),
    ({"errors.map": {"bad": "invalid_code"}}, 'errors.map.bad: must be an OAuth error code, not "invalid_code"'),
    ({"issuer": "https://a.example/?x"}, "issuer: must not have a query (RFC 8414 section 2)"),
    ({"issuer": "http://a.example"}, "issuer: must be https (plain http is for loopback in local mode only)"),
    ({"vars": {"a": {}}}, "vars.a.pattern: is required: it decides which values may enter a URL"),
    ({"vars": {"a": {"pattern": "("}}},
        "vars.a.pattern: is not a regular expression (missing ), unterminated subpattern at position 0)"),
    ({"vars": {"a": "x"}}, 'vars.a: must be a table, not "x"'),
    ({"vars": {"client_id": {"pattern": "x"}}}, "vars.client_id: is not a name a variable can have"),
    ({"token.url": "http://a.example/t"}, "token.url: must be https (plain http is for loopback in local mode only)"),
    ({"token.url": "http://localhost/t"}, "token.url: must be https (plain http is for loopback in local mode only)"),
    ({"token.url": "ftp://a.example/t"}, "token.url: must start with https://"),
    ({"token.url": "/t"}, "token.url: must name a valid host"),
    ({"token.url": "https:///t"}, "token.url: must name a valid host"),
    ({"token.url": "https://a.example:0/t"}, "token.url: must name a valid host"),
    ({"token.url": "https://a.example:99999/t"}, "token.url: is not a valid URL"),
    ({"token.url": "https://[::1/t"}, "token.url: is not a valid URL"),
    ({"token.url": "https://a..example/t"}, "token.url: must name a valid host"),
    ({"token.url": "https://me:pw@a.example/t"}, "token.url: must not hold a user name or password"),
    ({"token.url": "https://a.example/t#f"}, "token.url: must not have a fragment"),
    ({"token.url": "https://a.example\\@b.example/t"}, f"token.url: {A_URL}"),
    ({"token.url": "https://a.example/t\r\nX: 1"}, f"token.url: {A_URL}"),
    ({"token.url": "https://ä.example/t"}, f"token.url: {A_URL}"),
    ({"token.url": "https://a.example/{}"}, f"token.url: {A_URL}"),
    ({"token.url": "https://{host}/t"}, "token.url: {host} is not declared: add vars.host.pattern"),
    ({"token.url": "https://a.example/{client_secret}"}, "token.url: {client_secret} must not stand here"),
    ({"userinfo.url": "https://a.example/{access_token}"}, "userinfo.url: {access_token} must not stand here"),
    ({"authorize.params": {"x": "{client_secret}"}}, "authorize.params.x: {client_secret} must not stand here"),
    ({"token.params": {"x": "{access_token}"}}, "token.params.x: {access_token} must not stand here"),
    ({"callback.keep": ["realm"], "token.url": "https://a.example/{realm}"},
        "token.url: {realm} needs vars.realm.pattern, which says what its value may be"),
    ({"callback.keep": ["realm"], "vars": {"realm": {"pattern": "[0-9]+"}},
      "authorize.url": "https://a.example/{realm}"},
        "authorize.url: {realm} is not known yet at this step"),
    ({"token.response.keep": ["team.id"], "vars": {"team.id": {"pattern": "T[0-9]+"}},
      "token.url": "https://a.example/{team.id}"},
        "token.url: {team.id} is not known yet at this step"),
    ({"vars": {"host": {"pattern": "[a-z]+"}}, "token.url": "https://{host}/t"},
        "vars.host: needs a value: token.url uses it"),
    ({"callback.keep": ["host"], "vars": {"host": {"pattern": "[a-z.]+"}}, "token.url": "https://{host}/t"},
        "vars.host.pattern: matches every host, and token.url would call it"),
    ({"callback.keep": ["host"], "vars": {"host": {"pattern": ".*"}}, "token.url": "https://api.{host}:443/t"},
        "vars.host.pattern: matches every host, and token.url would call it"),
    ({"token.response.keep": ["base"], "vars": {"base": {"pattern": "https://.*"}}, "userinfo.url": "{base}/me"},
        "vars.base.pattern: matches every host, and userinfo.url would call it"),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_a_wrong_file_says_where_and_why(overrides: Mapping[str, object], message: str) -> None:
    assert error_of(overrides) == message


def test_a_title_of_any_language() -> None:
    assert plain(title="فهرست\u200cما").title == "فهرست\u200cما"
    for title in ("\u200d", "turned \u202e", "two\u2028lines"):
        assert error_of({"title": title}) == "title: must be 1 to 60 printable characters"


@pytest.mark.parametrize("name", ["", "Plain", "a b", "a/b", "-a", "a-", "a" * 65, "a.b", "ä"])
def test_a_name_that_is_no_path_segment(name: str) -> None:
    with pytest.raises(ProviderFileError, match="a provider's name is"):
        parse_provider(name, PLAIN, source="plain.toml")


def test_a_file_without_anything() -> None:
    with pytest.raises(ProviderFileError, match=r"^a\.toml: token\.url: is required$"):
        parse_provider("a", {}, source="a.toml")


BASE = {"vars": {"base": {"pattern": r"https?://[a-z.]+(:[0-9]+)?(/[a-z]+)*"}}, "token.url": "{base}/token"}


def test_the_operators_variables_are_matched_whole() -> None:
    provider = parse_provider(
        "plain", merge_overrides(PLAIN, BASE), source="plain.toml", variables={"base": "https://a.example/x"}
    )
    assert provider.variables["base"].value == "https://a.example/x"
    assert error_of(BASE, variables={"base": "https://a.example/x\n"}).startswith("vars.base: ")
    assert error_of(BASE, variables={"base": "https://a.example/X"}) == (
        r'vars.base: "https://a.example/X" does not match the pattern https?://[a-z.]+(:[0-9]+)?(/[a-z]+)*'
    )
    assert error_of(BASE, variables={"bass": "x"}) == "vars.bass: is not a variable; the file declares base"
    assert error_of({}, variables={"base": "x"}) == "vars.base: is not a variable; the file declares none"
    assert error_of(BASE) == "vars.base: needs a value: token.url uses it"
    assert error_of(BASE, variables={"base": "http://a.example"}) == (
        "token.url: must be https (plain http is for loopback in local mode only)"
    )
    kept = {**BASE, "callback.keep": ["base"]}
    assert error_of(kept, variables={"base": "https://a.example"}) == (
        "vars.base: is kept from the provider's answers and takes no value"
    )


@pytest.mark.parametrize(
    "base", ["http://localhost:3000/sandbox/x", "http://127.0.0.1", "http://[::1]:80", "https://a.example"]
)
def test_plain_http_to_loopback_in_local_mode(base: str) -> None:
    urls = {"authorize": {"url": f"{base}/authorize"}, "token": {"url": f"{base}/token"}}
    assert parse_provider("a", urls, source="a.toml", local=True).local


@pytest.mark.parametrize(
    "base",
    [
        "http://a.example",
        "http://10.0.0.1",
        "http://localhost.evil.example",
        "http://127.0.0.1.nip.io",
        "http://[::ffff:127.0.0.1]",
    ],
)
def test_plain_http_elsewhere_is_refused_in_local_mode_too(base: str) -> None:
    urls = {"authorize": {"url": f"{base}/authorize"}, "token": {"url": f"{base}/token"}}
    with pytest.raises(ProviderFileError, match="plain http is for loopback"):
        parse_provider("a", urls, source="a.toml", local=True)


def test_the_catalogues_base_in_local_mode() -> None:
    base = "http://localhost:3000/sandbox/phpapi"
    provider = parse_provider(
        "phpapi", catalogue.document("phpapi"), source="phpapi.toml", variables={"base": base}, local=True
    )
    assert provider.variables["base"].value == base


@pytest.mark.parametrize(
    "base",
    [
        "https://a.example@evil.example",
        "https://a.example#",
        "https://a.example?x=",
        "https://a.example\\",
        "a.example",
    ],
)
def test_the_catalogues_base_is_a_start_of_a_url(base: str) -> None:
    with pytest.raises(ProviderFileError, match=r"^phpapi\.toml: vars\.base: "):
        parse_provider("phpapi", catalogue.document("phpapi"), source="phpapi.toml", variables={"base": base})


def test_overrides_are_dotted_and_merged() -> None:
    document = {"token": {"url": "https://a.example/t", "params": {"a": "1", "b": "2"}}, "issuer": "https://a.example"}
    merged = merge_overrides(
        document,
        {"token.url": "https://b.example/t", "token.params": {"b": "3"}, "refresh.margin": 60, "issuer": ""},
    )
    assert merged == {
        "token": {"url": "https://b.example/t", "params": {"a": "1", "b": "3"}},
        "refresh": {"margin": 60},
        "issuer": "",
    }
    assert document["token"] == {"url": "https://a.example/t", "params": {"a": "1", "b": "2"}}


@pytest.mark.parametrize("key", ["issuer.url", ".url", "token..url", "token.", ""])
def test_an_override_that_leads_nowhere(key: str) -> None:
    with pytest.raises(ProviderFileError, match=r"^override: "):
        merge_overrides({"issuer": "https://a.example"}, {key: "x"})


def test_an_empty_string_takes_a_value_back() -> None:
    provider = plain(userinfo__url="", revoke__url="", authorize__pkce="", token__default_expires_in="", token__ok="")
    assert (provider.has_userinfo, provider.has_revoke, provider.authorize.pkce) == (False, False, "S256")
    assert provider.token.default_expires_in is None


def test_refresh_inherits_from_token() -> None:
    provider = plain(
        token__auth="basic",
        token__body="json",
        token__params={"grant_type": "x", "redirect_uri": "", "audience": "api"},
        token__headers={"X-Version": "1", "X-Other": "2"},
        token__rename={"client_id": "client_key"},
        token__response={"access_token": "t"},
        token__default_expires_in=60,
        refresh__url="https://provider.example/refresh",
        refresh__headers={"x-version": "3"},
        refresh__response={"refresh_token": "r"},
    )
    refresh = provider.refresh
    assert (refresh.url, refresh.auth, refresh.body) == ("https://provider.example/refresh", "basic", "json")
    assert refresh.params == {"audience": "api"}
    assert refresh.headers == {"X-Other": "2", "x-version": "3"}
    assert (refresh.rename, refresh.default_expires_in) == ({"client_id": "client_key"}, 60)
    assert (refresh.response.access_token, refresh.response.refresh_token) == (("t",), ("r",))


def test_userinfo_inherits_from_api() -> None:
    notion = from_catalogue("notion").userinfo
    assert notion is not None
    assert notion.headers == {"Notion-Version": "2022-06-28"}
    shop = plain(api__token="header:X-Shop-Token:{access_token}").userinfo
    assert shop is not None
    assert shop.token == TokenPlacement("header", "X-Shop-Token", "{access_token}")


VALUES = {
    "host": "eu",
    "base": "https://a.example",
    "tenant": "a/b c",
    "dots": "..",
    "evil": "x@evil.example",
    "nothing": "",
}


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("{base}/x", "https://a.example/x"),
        ("https://{host}.a.example/x", "https://eu.a.example/x"),
        ("https://a.example/{tenant}/x", "https://a.example/a%2Fb%20c/x"),
        ("https://a.example/x?t={tenant}", "https://a.example/x?t=a%2Fb+c"),
        ("https://a.example/{evil}", "https://a.example/x%40evil.example"),
    ],
)
def test_a_value_is_made_safe_for_its_place(text: str, url: str) -> None:
    assert fill_url(text, VALUES, local=False) == url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://{evil}/x", "evil: must be part of a host name"),
        ("https://{tenant}.a.example/x", "tenant: must be part of a host name"),
        ("{evil}/x", "evil: must be the start of a URL, without credentials, query and fragment"),
        ("https://a.example/{dots}/x", "dots: must not be a dot segment"),
        ("https://a.example/{nothing}", "nothing: is empty"),
        ("https://a.example/{absent}", "absent: has no value"),
        ("{host}/x", "must name a valid host"),
    ],
)
def test_a_value_that_cannot_be_made_safe(text: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        fill_url(text, VALUES, local=False)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("{h}/x", True),
        ("https://{h}/x", True),
        ("https://api.{h}/x", True),
        ("https://{h}:8443/x", True),
        ("https://{h}./x", True),
        ("https://{h}.a.example/x", False),
        ("https://{h}-a.example/x", False),
        ("https://a.example/{h}", False),
        ("https://a.example/?u=https://{h}/", False),
    ],
)
def test_which_variables_choose_the_host(text: str, is_open: bool) -> None:
    assert host_is_open(text, "h") is is_open


def test_templates() -> None:
    assert placeholders("{a}/{b.c}/{a}{ not }{1}") == ("a", "b.c", "a")
    assert fill("{a}-{b}", {"a": "{b}", "b": "x"}) == "{b}-x"
    check_url("https://xn--bcher-kva.example:8443/a?b=c", local=False)


FIELDS = [
    "issuer", "hook", "vars", "vars.x", "vars.x.pattern", "authorize", "authorize.url", "authorize.params", "authorize.scope",
    "authorize.pkce", "authorize.prompts", "authorize.login_hint", "id_token.issuers", "id_token.require", "callback.code",
    "callback.keep",
    "token.url", "token.method", "token.body", "token.params",
    "token.headers",
    "token.ok", "token.ok.path", "token.ok.equals", "token.response", "token.response.root", "token.response.keep",
    "token.default_expires_in", "refresh.margin", "refresh.using", "userinfo.url", "userinfo.claims", "userinfo.token",
    "errors.map", "errors.code", "revoke.url", "revoke.params", "api.base", "api.retry", "api.token",
]  # fmt: skip
TEXT = st.text(st.sampled_from("ax0{}[]/:@?#%.\\ \n\u00e9"), max_size=12) | st.sampled_from(
    ["{x}/a", "https://{x}/a", "https://a.example/{x}", "header:X:{access_token}", "query:a", "x", "(a+", "POST", "GET"]
)
ENTRIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(FIELDS), ENTRIES, max_size=4), st.dictionaries(st.just("x"), TEXT), st.booleans()
)
def test_any_document_is_a_provider_or_a_clear_error(
    overrides: dict[str, object], variables: dict[str, str], local: bool
) -> None:
    try:
        document = merge_overrides(PLAIN, overrides)
        provider = parse_provider("plain", document, source="plain.toml", variables=variables, local=local)
    except ProviderFileError as problem:
        assert problem.rule
        return
    assert provider.name == "plain"


def test_providers_are_values() -> None:
    assert from_catalogue("slack") == from_catalogue("slack")
    provider: Provider = from_catalogue("github")
    with pytest.raises(AttributeError):
        provider.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        provider.errors.map["x"] = "y"  # type: ignore[index]
