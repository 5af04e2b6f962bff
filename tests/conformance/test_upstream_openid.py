"""OpenID providers: discovery, the ID token in every respect, keys that rotate, and `iss` in the redirect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from broker import clock
from broker.runtime import runtime
from broker.upstream.client_keys import OF_PROVIDERS
from broker_testing.conformance import Clients
from broker_testing.journey import Login, TestClient, post_form, register, userinfo
from broker_testing.providers import provider_set
from broker_testing.sandbox import counted, forget_faults, order_fault, start_counting
from broker_testing.trouble import pass_time
from conformance.front_channel import assert_error_redirect, query_of
from sandbox_provider.dialects.oidc import ROTATION

pytestmark = pytest.mark.local_only
PROVIDER = "oidc"


@pytest.fixture
def client(clients: Clients) -> Iterator[TestClient]:
    """A client of the OpenID provider alone; nothing is remembered of the provider."""
    runtime().forget()
    yield register(clients.base, providers=(PROVIDER,))
    forget_faults(clients.base, PROVIDER)
    runtime().forget()


def assert_nothing_issued(login: Login, back: str, code: str = "server_error") -> Mapping[str, str]:
    """The client gets an error, and the same browser cannot come back."""
    answer = assert_error_redirect(login, login.browser.get(back), code)
    assert "code" not in answer
    assert login.browser.get(back).status_code == 400
    return answer


@pytest.mark.spec("CB-54", "OpenID Core 3.1.3.7", "OpenID Discovery 4")
def test_a_good_id_token_logs_in(client: TestClient) -> None:
    start_counting(client.base, PROVIDER)
    login = Login(client)
    tokens = login.tokens()
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert claims["nonce"] == login.parameters["nonce"]
    assert userinfo(client.base, tokens["access_token"]).json()["sub"] == claims["sub"]
    calls = counted(client.base, PROVIDER)
    assert (calls["discovery"], calls["jwks"], calls["token:authorization_code"]) == (1, 1, 1)


@pytest.mark.spec("CB-54", "OpenID Discovery 4")
def test_discovery_and_keys_are_remembered(client: TestClient) -> None:
    Login(client).tokens()
    start_counting(client.base, PROVIDER)
    Login(client).tokens()
    assert not {"discovery", "jwks"} & set(counted(client.base, PROVIDER))


@pytest.mark.spec("CB-54", "OpenID Core 10.1.1")
def test_a_new_key_is_fetched_once(client: TestClient) -> None:
    to_change = 3600 - clock.now() % 3600
    pass_time(to_change + 3600 - 100)
    Login(client).tokens()
    pass_time(101)
    start_counting(client.base, PROVIDER)
    Login(client).tokens()
    assert counted(client.base, PROVIDER)["jwks"] == 1
    Login(client).tokens()
    assert counted(client.base, PROVIDER)["jwks"] == 1


FAULTS: Mapping[str, Mapping[str, Any]] = {
    "signature": {"signature": "bad"},
    "none": {"alg": "none"},
    "HS256": {"alg": "HS256"},
    "unannounced algorithm": {"alg": "RS256"},
    "unknown key": {"key": 7},
    "unknown key under a known name": {"key": 7, "kid": None},
    "iss": {"set": {"iss": "https://attacker.example"}},
    "no iss": {"drop": ["iss"]},
    "aud": {"set": {"aud": "another-client"}},
    "no aud": {"drop": ["aud"]},
    "several aud, no azp": {"set": {"aud": ["sandbox-oidc", "another-client"]}},
    "azp": {"set": {"azp": "another-client"}},
    "nonce": {"set": {"nonce": "of-another-login"}},
    "no nonce": {"drop": ["nonce"]},
    "expired": {"set": {"exp": 1_000_000_000}},
    "no exp": {"drop": ["exp"]},
    "exp no number": {"set": {"exp": "soon"}},
    "old": {"set": {"iat": 1_000_000_000}},
    "from the future": {"set": {"iat": 9_000_000_000}},
    "no iat": {"drop": ["iat"]},
    "nbf": {"set": {"nbf": 9_000_000_000}},
    "at_hash": {"set": {"at_hash": "of-another-token"}},
    "no sub": {"drop": ["sub"]},
    "empty sub": {"set": {"sub": ""}},
    "sub no text": {"set": {"sub": 1001}},
    "another sub than userinfo": {"set": {"sub": "666"}},
    "auth_time in the future": {"set": {"auth_time": 9_000_000_000}},
}


@pytest.mark.spec("CB-54", "CB-57", "OpenID Core 3.1.3.7")
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")  # the sandbox signs so badly when told to
def test_a_wrong_id_token_lets_nobody_in(client: TestClient, fault: Mapping[str, Any]) -> None:
    login = Login(client)
    back = login.callback_url()
    order_fault(client.base, PROVIDER, "token", "id_token", dict(fault))
    start_counting(client.base, PROVIDER)
    assert_nothing_issued(login, back)
    assert counted(client.base, PROVIDER)["token:authorization_code"] == 1
    assert "code" in Login(client).run(), "the next login is none the worse"


@pytest.mark.spec("CB-54", "OpenID Core 3.1.3.7")
@pytest.mark.parametrize(
    "harmless", [{"set": {"aud": ["sandbox-oidc"]}}, {"drop": ["at_hash"]}, {"set": {"azp": "sandbox-oidc"}}]
)
def test_what_may_differ(client: TestClient, harmless: dict[str, Any]) -> None:
    order_fault(client.base, PROVIDER, "token", "id_token", harmless)
    assert "id_token" in Login(client).tokens()


@pytest.mark.spec("CB-54", "OpenID Core 3.1.3.3")
@pytest.mark.parametrize(("kind", "value"), [("drop", ["id_token"]), ("set", {"id_token": "no.jwt"})])
def test_no_id_token(client: TestClient, kind: str, value: object) -> None:
    login = Login(client)
    back = login.callback_url()
    order_fault(client.base, PROVIDER, "token", kind, value)
    assert_nothing_issued(login, back)


@pytest.mark.spec("CB-57", "OpenID Core 5.3.2")
def test_userinfo_of_another_subject(client: TestClient) -> None:
    login = Login(client)
    back = login.callback_url()
    order_fault(client.base, PROVIDER, "userinfo", "set", {"sub": "666"})
    assert_nothing_issued(login, back)


@pytest.mark.spec("CB-54", "OpenID Core 3.1.2.1")
def test_a_fresh_sign_in_is_asked_for_and_checked(client: TestClient) -> None:
    plain = query_of(Login(client).start().headers["location"])
    assert not {"max_age", "prompt"} & set(plain)
    login = Login(client)
    started = login.start(max_age="60", prompt="login")
    asked = query_of(started.headers["location"])
    assert (asked["max_age"], asked["prompt"]) == ("60", "login")
    back = login.at_provider(started)
    order_fault(client.base, PROVIDER, "token", "id_token", {"set": {"auth_time": clock.now() - 1000}})
    assert_nothing_issued(login, back)
    order_fault(client.base, PROVIDER, "token", "id_token", {"drop": ["auth_time"]})
    assert_nothing_issued(again := Login(client), again.callback_url(max_age="60"))


@pytest.mark.spec("CB-54", "OpenID Core 3.1.2.1")
@pytest.mark.parametrize("prompt", ["login", "select_account", "login select_account", "select_account consent"])
def test_what_the_client_wants_the_person_asked_goes_on(client: TestClient, prompt: str) -> None:
    asked = query_of(Login(client).start(prompt=prompt).headers["location"])
    assert asked["prompt"] == prompt.removesuffix(" consent"), "consent is the broker's own page"


@pytest.mark.spec("CB-54", "OpenID Core 3.1.2.1")
@pytest.mark.parametrize("hint", ["zoë@example.com", "+1 555 0100", "a&prompt=none#b"])
def test_who_is_expected_to_sign_in_goes_on(client: TestClient, hint: str) -> None:
    assert "login_hint" not in query_of(Login(client).start().headers["location"])
    login = Login(client)
    started = login.start(login_hint=hint)
    assert query_of(started.headers["location"])["login_hint"] == hint
    login.read_answer(login.browser.get(login.at_provider(started)))
    assert login.redeem().status_code == 200


@pytest.mark.spec("CB-54", "OpenID Core 3.1.2.1")
@pytest.mark.parametrize(
    ("hint", "is_taken"), [("x" * 256, True), ("x" * 257, False), ("a\r\nb", False), ("\x00", False)]
)
def test_a_hint_that_is_none(client: TestClient, hint: str, is_taken: bool) -> None:
    login = Login(client)
    started = login.start(login_hint=hint)
    if is_taken:
        assert query_of(started.headers["location"])["login_hint"] == hint
    else:
        assert "login_hint" not in query_of(started.headers["location"])
    pushed = post_form(f"{client.base}/par", Login(client).parameters | {"login_hint": hint})
    assert pushed.status_code == 201


@pytest.mark.spec("CB-54", "OpenID Core 3.1.2.1")
def test_a_provider_hears_of_a_hint_only_if_it_has_a_name_for_it(client: TestClient) -> None:
    with provider_set(PROVIDER, {"authorize.login_hint": "login"}):
        asked = query_of(Login(client).start(login_hint="zoe").headers["location"])
        assert asked["login"] == "zoe"
        assert "login_hint" not in asked
    with provider_set(PROVIDER, {"authorize.login_hint": ""}):
        assert "zoe" not in query_of(Login(client).start(login_hint="zoe").headers["location"]).values()


@pytest.mark.spec("CB-54", "RFC 9126 4")
def test_a_pushed_hint_goes_on(client: TestClient) -> None:
    login, hint = Login(client), "zoe@example.com"
    pushed = post_form(f"{client.base}/par", login.parameters | {"login_hint": hint}).json()["request_uri"]
    query = urlencode({"client_id": client.client_id, "request_uri": pushed})
    asked = query_of(login.browser.get(f"{client.base}/authorize?{query}").headers["location"])
    assert asked["login_hint"] == hint


@pytest.mark.spec("CB-54")
def test_an_id_token_is_not_kept_where_userinfo_can_be_asked(client: TestClient) -> None:
    """It may have several KB, and each of them would be paid for at every renewal."""
    order_fault(client.base, PROVIDER, "token", "id_token", {"set": {"groups": "g" * 3000}})
    tokens = Login(client).tokens()
    grant_id = str(jwt.decode(tokens["access_token"], options={"verify_signature": False})["sid"])
    _, link = runtime().grants.read(grant_id)
    assert link is not None
    assert len(link.sealed) < 1000
    assert userinfo(client.base, tokens["access_token"]).json()["sub"].startswith(f"{PROVIDER}|")


@pytest.mark.spec("CB-54", "OpenID Core 3.1.3.7")
def test_who_is_none_of_those_that_the_operator_lets_in(client: TestClient) -> None:
    with provider_set(PROVIDER, {"id_token.require": {"hd": "acme.example"}}):
        login = Login(client)
        answer = assert_nothing_issued(login, login.callback_url(), "access_denied")
        assert answer["error_description"] == "this account may not sign in here"
        order_fault(client.base, PROVIDER, "token", "id_token", {"set": {"hd": "acme.example"}})
        assert "id_token" in Login(client).tokens()


@pytest.mark.spec("CB-54", "RFC 9126 4")
def test_a_pushed_request_asks_for_a_fresh_sign_in_too(client: TestClient) -> None:
    login = Login(client)
    form = login.parameters | {"max_age": "60", "prompt": "select_account login"}
    pushed = post_form(f"{client.base}/par", form).json()["request_uri"]
    query = urlencode({"client_id": client.client_id, "request_uri": pushed})
    asked = query_of(login.browser.get(f"{client.base}/authorize?{query}").headers["location"])
    assert (asked["max_age"], asked["prompt"]) == ("60", "login select_account")


@pytest.mark.spec("CB-54", "OpenID Core 2")
def test_the_time_of_the_sign_in_is_the_providers(client: TestClient) -> None:
    moment = clock.now() - 1000
    order_fault(client.base, PROVIDER, "token", "id_token", {"set": {"auth_time": moment}})
    tokens = Login(client).tokens()
    assert jwt.decode(tokens["id_token"], options={"verify_signature": False})["auth_time"] == moment


@pytest.mark.spec("CB-52", "RFC 9207 2.4")
@pytest.mark.parametrize("iss", [None, "https://attacker.example", "/"])
@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_iss_in_the_redirect(client: TestClient, iss: str | None, decision: str) -> None:
    login = Login(client)
    back = login.callback_url(decision=decision)
    own = query_of(back)["iss"]
    assert own == f"{client.base}/sandbox/oidc"
    changed = re.sub(r"[?&]iss=[^&]*", "", back)
    if iss is not None:
        changed += "&" + urlencode({"iss": own + iss if iss == "/" else iss})
    start_counting(client.base, PROVIDER)
    assert_nothing_issued(login, changed)
    assert counted(client.base, PROVIDER) == {}, "no code goes to a provider that did not issue it"


@pytest.mark.spec("CB-54", "OpenID Discovery 4.3")
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("status", 503),
        ("html", None),
        ("set", {"issuer": "https://attacker.example"}),
        ("set", {"token_endpoint": "http://attacker.example/token"}),
        ("set", {"authorization_endpoint": "https://{client_id}.attacker.example/"}),
        ("drop", ["jwks_uri"]),
    ],
)
def test_discovery_that_fails(client: TestClient, kind: str, value: object) -> None:
    order_fault(client.base, PROVIDER, "discovery", kind, value)
    login = Login(client)
    assert_error_redirect(login, login.start(), "temporarily_unavailable")
    pass_time(6)
    assert "code" in Login(client).run(), "a failure is remembered for seconds alone"


@pytest.mark.spec("CB-54", "OpenID Discovery 4")
def test_discovery_that_fails_at_the_callback_uses_nothing_up(client: TestClient) -> None:
    login = Login(client)
    back = login.callback_url()
    runtime().forget()
    order_fault(client.base, PROVIDER, "discovery", "status", 503)
    assert login.browser.get(back).status_code == 503
    pass_time(6)
    login.read_answer(login.browser.get(back))
    assert login.redeem().status_code == 200


@pytest.mark.spec("CB-54", "OpenID Core 10.1")
@pytest.mark.parametrize(("kind", "value"), [("status", 503), ("status", 404), ("html", None), ("set", {"keys": []})])
def test_keys_that_cannot_be_had(client: TestClient, kind: str, value: object) -> None:
    order_fault(client.base, PROVIDER, "jwks", kind, value)
    login = Login(client)
    assert_nothing_issued(login, login.callback_url(), "temporarily_unavailable")


@pytest.mark.spec("CB-54", "OpenID Core 10.1")
def test_keys_that_are_known_outlive_what_is_no_key_set(client: TestClient) -> None:
    # The sandbox has another key every hour, and the hour may end in what follows.
    order_fault(client.base, PROVIDER, "token", "id_token", {"key": clock.now() // ROTATION}, times=2)
    Login(client).tokens()
    pass_time(OF_PROVIDERS.cache_seconds)
    order_fault(client.base, PROVIDER, "jwks", "status", 404)
    assert "id_token" in Login(client).tokens()
