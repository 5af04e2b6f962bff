"""Nothing secret is in any log of the account after all that went before, nor after logins that fail in every way."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest
import requests

from aws.deployment import STACK, Deployment
from broker_testing.journey import Login, TestClient, pkce_pair, post_form, refresh, register, revoke, userinfo
from broker_testing.sandbox import forget_faults, order_fault
from broker_testing.wire import SHORTEST, disguises
from sandbox_provider.people import PEOPLE

PROVIDERS = ("infolobby", "lockitnetwork", "phpapi", "redbooth", "iternio", "openid", "oidc")
WITHOUT_USERINFO = "lockitnetwork"
"""Who has no endpoint for it: the profile comes with the tokens."""
PLANTED = "planted-secret-5d1e80"
NOT_THE_BROKERS = {"ApiLogGroup", "SandboxLogGroup"}
"""The API's is empty here, as the front is not API Gateway; the sandbox's has lines of its own form."""
FAULTS: tuple[tuple[str, object], ...] = (
    ("status", 500),
    ("html", 200),
    ("truncated", None),
    ("error", "invalid_client"),
    ("invalid_grant", None),
    ("json", {"error": f"{PLANTED}-error", "error_description": f"{PLANTED}@provider.example"}),
    ("lost_answer", None),
)


@pytest.fixture(scope="module")
def texts(deployment: Deployment) -> dict[str, str]:
    """All logs, after the logins that fail."""
    deployment.let_the_sandbox_fail()
    for provider, (kind, value) in zip(PROVIDERS, FAULTS, strict=True):
        _logins_that_fail(deployment.base, provider, kind, value)
    _requests_that_are_wrong(deployment.base)
    return deployment.log_texts()


def _logins_that_fail(base: str, provider: str, kind: str, value: object) -> None:
    """Denied by the person; refused by the provider in this manner, at login and at userinfo; and a quoting error."""
    client = register(base, providers=(provider,))
    assert _login(client, provider).run(decision="deny")["error"] == "access_denied"
    order_fault(base, provider, "token", kind, value)
    assert "error" in _login(client, provider).run(), kind
    forget_faults(base, provider)
    tokens = _login(client, provider).tokens()
    for status in (500, 401) if provider != WITHOUT_USERINFO else ():
        order_fault(base, provider, "userinfo", "status", status, times=3)
        assert userinfo(base, tokens["access_token"]).status_code >= 400
        forget_faults(base, provider)
    _quoting_error(_login(client, provider))


def _quoting_error(login: Login) -> None:
    """The provider sends the browser back with an error that says what it should not."""
    parts = urlsplit(login.callback_url())
    kept = {name: value for name, value in parse_qsl(parts.query) if name not in ("code", "auth_code")}
    said = {"error": "server_error", "error_description": f"{PLANTED}@provider.example said {PLANTED}"}
    back = urlunsplit(parts._replace(query=urlencode(kept | said)))
    assert login.read_answer(login.browser.get(back))["error"] == "server_error"
    assert login.browser.get(back).status_code == 400


def _requests_that_are_wrong(base: str) -> None:
    """Secrets in the wrong places, malformed, repeated, foreign; a stolen refresh token; a password that is not right."""
    client, confidential = register(base, retry_window=0), register(base, secret=True)
    login = _login(client, "infolobby")
    page = login.browser.follow(login.start())
    assert login.browser.submit(page, {"username": "johndoe", "password": f"{PLANTED}-password"}).status_code < 500
    held = login.tokens()
    login.run()
    token, url = held["refresh_token"], f"{base}/token"
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": confidential.client_id}
    answers = [
        post_form(url, form | {"client_secret": f"{PLANTED}-client-secret"}),
        post_form(url, form, headers={"authorization": f"Basic {PLANTED}!"}),
        post_form(url, form, headers={"authorization": f"Bearer {held['access_token']}"}),
        requests.post(f"{url}?{urlencode(form)}", timeout=30),
        requests.post(url, json=form | {"client_secret": f"{PLANTED}-client-secret"}, timeout=30),
        requests.post(url, data=[*form.items(), ("refresh_token", token)], timeout=30),
        login.redeem(code=login.answer["code"] + "x"),
        login.redeem(code_verifier=pkce_pair()[0]),
        login.redeem(redirect_uri=f"https://app.example/{PLANTED}"),
        refresh(client, token, scope=f"openid {PLANTED}-scope"),
        userinfo(base, token),
        requests.get(f"{base}/userinfo?access_token={held['access_token']}", timeout=30),
        requests.get(f"{base}/callback/infolobby?code={PLANTED}-code&state={PLANTED}-state", timeout=30),
        requests.get(f"{base}/proxy/infolobby/{PLANTED}", headers={"authorization": f"Bearer {token}"}, timeout=30),
        requests.get(f"{base}/register/{client.client_id}", headers={"authorization": f"Bearer {PLANTED}"}, timeout=30),
        _login(client, "infolobby").start(redirect_uri=f"https://evil.example/{PLANTED}"),
    ]
    assert {answer.status_code for answer in answers} <= {400, 401}
    assert [refresh(client, token).status_code for _ in range(2)] == [200, 400]
    assert revoke(confidential, token).status_code == 200


def _login(client: TestClient, provider: str) -> Login:
    login = Login(client, provider)
    login.parameters |= {"state": f"{PLANTED}-state-{provider}", "nonce": f"{PLANTED}-nonce-{provider}"}
    return login


def test_every_function_has_logged(deployment: Deployment, texts: dict[str, str]) -> None:
    """Else the search that follows would be through nothing. The files before this one have called some of them."""
    groups = deployment.resources("AWS::Logs::LogGroup")
    assert len(groups) > 15
    for name in groups.keys() - NOT_THE_BROKERS:
        records = [line for line in texts[groups[name]].splitlines() if line.startswith("{")]
        assert any(json.loads(record)["service"] == STACK for record in records), name


def test_no_log_has_a_secret_in_it(deployment: Deployment, texts: dict[str, str]) -> None:
    """No code, token, client secret, verifier, cookie, state, key or e-mail address that the run has seen, in no disguise."""
    seen = deployment.front.tap.secrets() | deployment.all_secrets() | {person.email for person in PEOPLE}
    assert len(seen) > 500
    wanted = {form for value in seen if len(value) >= SHORTEST for form in disguises(value)} | {PLANTED}
    found = {
        group: sorted({form for form in wanted if form in text})[:5]
        for group, text in texts.items()
        if _any_in(wanted, text)
    }
    assert found == {}


def _any_in(wanted: set[str], text: str) -> bool:
    return any(form in text for form in wanted)


def test_no_log_says_that_the_program_failed(texts: dict[str, str]) -> None:
    """No traceback, no refused permission: everything that went wrong was meant to, and was understood."""
    for group, text in texts.items():
        for sign in ("Traceback", "AccessDenied", "Task timed out", "Runtime.", "ImportError"):
            assert sign not in text, (group, text[max(0, text.index(sign) - 300) : text.index(sign) + 1500])
