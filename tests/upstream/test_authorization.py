"""The browser's way: the exact authorization URL of every catalogue provider, and what is accepted at the callback."""

from dataclasses import replace

import pytest

from broker.upstream.authorization import CallbackAnswer, CallbackProblem
from broker.upstream.dialect import authorization_url, callback_redirect_uri, read_callback
from broker.upstream.provider import Provider
from broker.upstream.templates import TemplateError

from .scripted import CREDENTIALS, from_catalogue, plain, query_of

STATE = "st&te"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def url_of(provider: Provider, scope: tuple[str, ...] = (), nonce: str | None = None) -> str:
    redirect_uri = callback_redirect_uri(provider, f"https://broker.example/callback/{provider.name}", STATE)
    return authorization_url(
        provider,
        CREDENTIALS,
        redirect_uri=redirect_uri,
        state=STATE,
        scope=scope,
        code_challenge=CHALLENGE,
        nonce=nonce,
    )


BACK = "https%3A%2F%2Fbroker.example%2Fcallback%2F"
S256 = f"code_challenge={CHALLENGE}&code_challenge_method=S256"
GOLDEN = {
    "infolobby": "https://infolobby.com/api/oauth/authorize"
    f"?client_id=the-client&redirect_uri={BACK}infolobby&response_type=code&scope=a%20b&state=st%26te",
    "lockitnetwork": "https://api.lockitnetwork.com/oauth/authorize"
    f"?client_id=the-client&redirect_uri={BACK}lockitnetwork&response_type=code&scope=a%20b&state=st%26te&{S256}",
    "phpapi": "https://php.example/api/authorize.php"
    f"?client_id=the-client&redirect_uri={BACK}phpapi&response_type=code&scope=a%20b",
    "redbooth": "https://redbooth.com/oauth2/authorize"
    f"?client_id=the-client&redirect_uri={BACK}redbooth%3Ftxn%3Dst%2526te&response_type=code&scope=a%20b",
    "iternio": "https://abetterrouteplanner.com/oauth/auth"
    f"?client_id=the-client&redirect_uri={BACK}iternio&response_type=code&scope=a%2Cb&state=st%26te",
    "github": "https://github.com/login/oauth/authorize"
    f"?client_id=the-client&redirect_uri={BACK}github&response_type=code&scope=a%20b&state=st%26te&{S256}",
    "slack": "https://slack.com/oauth/v2/authorize"
    f"?client_id=the-client&redirect_uri={BACK}slack&response_type=code&user_scope=a%2Cb&state=st%26te",
    "notion": "https://api.notion.com/v1/oauth/authorize"
    f"?client_id=the-client&redirect_uri={BACK}notion&response_type=code&owner=user&scope=a%20b&state=st%26te&{S256}",
    "discord": "https://discord.com/oauth2/authorize"
    f"?client_id=the-client&redirect_uri={BACK}discord&response_type=code&scope=identify%20a%20b&state=st%26te&{S256}",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_authorization_url_to_the_byte(name: str) -> None:
    assert url_of(from_catalogue(name), ("a", "b")) == GOLDEN[name]


def test_google_once_its_urls_are_known() -> None:
    with pytest.raises(TemplateError):
        url_of(from_catalogue("google"))
    google = plain(
        issuer="https://accounts.google.com",
        authorize__params={"access_type": "offline", "prompt": "consent"},
        authorize__scope=["openid", "email", "profile"],
    )
    assert url_of(google, ("openid", "calendar"), nonce="n-1") == (
        f"https://provider.example/authorize?client_id=the-client&redirect_uri={BACK}plain&response_type=code"
        "&access_type=offline&prompt=consent&scope=openid%20email%20profile%20calendar&state=st%26te"
        f"&{S256}&nonce=n-1"
    )


def test_a_prompt_of_the_file_stays_beside_the_clients() -> None:
    provider = plain(authorize__params={"prompt": "consent login"}, authorize__prompts={"login": "login"})
    assert query_of(url_of(provider))["prompt"] == "consent login"
    for prompts, wanted in ((("login",), "login consent"), (("select_account",), "consent login")):
        url = authorization_url(
            provider, CREDENTIALS, redirect_uri="https://b.example", state=None, scope=(), code_challenge=None, nonce=None,
            prompts=prompts,
        )  # fmt: skip
        assert query_of(url)["prompt"] == wanted


def test_a_hint_of_the_file_stays_and_nothing_is_written_over() -> None:
    for name, params in (("user", {"user": "everybody"}), ("scope", {})):
        provider = plain(authorize__params=params, authorize__scope="a", authorize__scope_param="scope")
        provider = replace(provider, authorize=replace(provider.authorize, login_hint=name))
        url = authorization_url(
            provider, CREDENTIALS, redirect_uri="https://b.example", state=None, scope=(), code_challenge=None, nonce=None,
            login_hint="zoe",
        )  # fmt: skip
        assert "zoe" not in query_of(url).values()


def test_what_the_dialect_has_no_place_for_is_not_sent() -> None:
    assert set(query_of(url_of(from_catalogue("phpapi"), nonce="n"))) == {"client_id", "redirect_uri", "response_type"}
    assert "scope" not in query_of(url_of(plain()))


def test_parameters_are_removed_renamed_and_added() -> None:
    provider = plain(
        authorize__url="https://provider.example/authorize?tenant=1",
        authorize__params={"response_type": "", "key": "{client_id}"},
        authorize__rename={"client_id": "client_key", "scope": "scopes"},
        authorize__scope="read write",
    )
    assert url_of(provider).startswith(
        "https://provider.example/authorize?tenant=1&client_key=the-client&redirect_uri="
    )
    query = query_of(url_of(provider))
    assert (query["key"], query["scopes"]) == ("the-client", "read write")
    assert "response_type" not in query


@pytest.mark.parametrize("name", GOLDEN)
def test_no_secret_in_the_authorization_url(name: str) -> None:
    assert "planted" not in url_of(from_catalogue(name))


def test_the_state_in_the_redirect_uri() -> None:
    redbooth = from_catalogue("redbooth")
    base = "https://broker.example/callback/redbooth"
    assert callback_redirect_uri(redbooth, base, "a b&c") == f"{base}?txn=a%20b%26c"
    assert callback_redirect_uri(redbooth, f"{base}?x=1", "s") == f"{base}?x=1&txn=s"
    assert callback_redirect_uri(redbooth, base, None) == base
    assert callback_redirect_uri(plain(), base, "s") == base


def test_a_code_comes_back() -> None:
    pairs = [("code", "c-1"), ("state", STATE), ("session_state", "x"), ("session_state", "y"), ("iss", "https://any")]
    assert read_callback(plain(), pairs) == CallbackAnswer(STATE, code="c-1", iss="https://any")


@pytest.mark.parametrize(
    ("name", "pairs", "state", "code"),
    [
        ("redbooth", [("txn", "s"), ("state", "other"), ("code", "c")], "s", "c"),
        ("phpapi", [("state", "s"), ("code", "c")], None, "c"),
        ("iternio", [("auth_code", "a"), ("code", "c"), ("state", "s")], "s", "a"),
        ("iternio", [("code", "c"), ("state", "s")], "s", "c"),
        ("iternio", [("auth_code", ""), ("code", "c"), ("state", "")], None, "c"),
    ],
)
def test_where_state_and_code_stand(name: str, pairs: list[tuple[str, str]], state: str | None, code: str) -> None:
    found = read_callback(from_catalogue(name), pairs)
    assert (found.state, found.code) == (state, code)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("access_denied", "access_denied"),
        ("user_said_no", "access_denied"),
        ("invalid_scope", "invalid_scope"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("login_required", "login_required"),
        ("server_error", "server_error"),
        ("invalid_request", "server_error"),
        ("invalid_client", "server_error"),
        ('odd"<code>', "server_error"),
    ],
)
def test_a_refusal_comes_back(error: str, told: str) -> None:
    provider = plain(errors__map={"user_said_no": "access_denied"})
    pairs = [("error", error), ("error_description", "jo@example.com said\r\nno"), ("state", STATE)]
    found = read_callback(provider, pairs)
    assert (found.error, found.code, found.state) == (told, None, STATE)
    assert found.error_detail is not None
    assert "said no" in found.error_detail
    assert "jo@" not in found.error_detail


@pytest.mark.parametrize(
    ("pairs", "reason", "state"),
    [
        ([("state", "s")], "neither code nor error", "s"),
        ([("state", "s"), ("code", "")], "neither code nor error", "s"),
        ([("state", "s"), ("code", "c"), ("error", "e")], "both code and error", "s"),
        ([("state", "s"), ("code", "c"), ("code", "c")], "repeated: code", "s"),
        ([("state", "s"), ("code", "c"), ("code", "d")], "repeated: code", "s"),
        ([("state", "s"), ("state", "t"), ("code", "c")], "repeated: state", None),
        ([("error", "e"), ("error", "e"), ("state", "s")], "repeated: error", "s"),
        ([("state", "s"), ("code", "c\n")], "the code is not printable ASCII", "s"),
        ([("state", "s"), ("code", "ç")], "the code is not printable ASCII", "s"),
        ([], "neither code nor error", None),
    ],
)
def test_what_is_no_answer(pairs: list[tuple[str, str]], reason: str, state: str | None) -> None:
    with pytest.raises(CallbackProblem) as caught:
        read_callback(plain(), pairs)
    assert (caught.value.reason, caught.value.state) == (reason, state)


def test_the_issuer_of_the_answer() -> None:
    provider = plain(issuer="https://a.example")
    assert read_callback(provider, [("code", "c"), ("iss", "https://a.example")]).iss == "https://a.example"
    assert read_callback(provider, [("code", "c")]).iss is None
    for wrong in ("https://a.example/", "https://evil.example"):
        with pytest.raises(CallbackProblem, match="iss is another issuer's"):
            read_callback(provider, [("code", "c"), ("iss", wrong)])


def test_what_is_kept_is_held_against_its_pattern() -> None:
    provider = plain(callback__keep=["realmId", "location"], vars={"location": {"pattern": "eu|us"}})
    pairs = [("code", "c"), ("state", "s"), ("realmId", "42"), ("location", "eu"), ("other", "x")]
    assert read_callback(provider, pairs).kept == {"realmId": "42", "location": "eu"}
    assert read_callback(provider, [("code", "c")]).kept == {}
    for wrong in ("evil.example", "eu\n", "eu" * 1000):
        with pytest.raises(CallbackProblem, match="the value of location is not one the file allows") as caught:
            read_callback(provider, [("code", "c"), ("state", "s"), ("location", wrong)])
        assert caught.value.state == "s"


def test_nothing_secret_shows() -> None:
    found = read_callback(plain(), [("code", "planted-code"), ("state", "planted-state")])
    assert "planted" not in repr(found)
    assert "planted" not in repr(CREDENTIALS)
    assert CREDENTIALS.client_id in repr(CREDENTIALS)
