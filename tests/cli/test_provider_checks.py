"""`broker provider test` and `try` against the fake providers, right ones and wrong ones."""

from __future__ import annotations

import json
import re
import socket
import threading
import webbrowser
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from broker.settings import from_environment
from broker.upstream.client_keys import OF_PROVIDERS
from broker.upstream.discovery import MAX_DOCUMENT
from broker.upstream.failures import FailureKind, UpstreamFailure
from broker.upstream.signing import new_key
from broker_cli import connection, provider_network, provider_verdicts
from broker_cli.connection import Connection
from broker_local.seed import TRY_REDIRECT_URI
from broker_local.server import SANDBOX_CLIENT_SECRET, LocalBroker
from broker_testing.browser import Browser, forms
from broker_testing.sandbox import order_fault, register_key, wrong_secret_said_as

from .conftest import Operator, Outcome

MADE_UP = "broker-provider-test-"


@pytest.fixture
def running(
    local_broker: LocalBroker, base: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Operator]:
    """An operator beside the broker of this process; what he registers is gone afterwards."""
    there = Connection(from_environment(local_broker.environment), local_broker.aws_endpoint)
    monkeypatch.setattr(connection, "_local", lambda _: there)
    clients = {"secretsmanager": local_broker.aws_client("secretsmanager")}
    before = {entry.name for entry in there.registry.providers()}
    yield Operator(local_broker.port, dict(local_broker.environment), clients, monkeypatch, capsys)
    for entry in list(there.registry.providers()):
        if entry.name not in before:
            there.registry.remove_provider(entry.name)
            name = there.settings.provider_secret_prefix + entry.name
            clients["secretsmanager"].delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def home(operator: Operator) -> str:
    return f"http://localhost:{operator.port}"


def verdicts(outcome: Outcome) -> dict[str, str]:
    """Verdict by step; of several findings of a step the worst."""
    order = ("right", "cannot say", "wrong")
    found: dict[str, str] = {}
    for finding in outcome.document["findings"]:
        step, verdict = finding["step"], finding["verdict"]
        found[step] = max(found.get(step, "right"), verdict, key=order.index)
    return found


def told_of(outcome: Outcome, step: str) -> str:
    return " ".join(
        f"{one['explanation']} {one['remedy']}" for one in outcome.document["findings"] if one["step"] == step
    )


def copied(running: Operator, name: str, like: str, *words: str, secret: str = SANDBOX_CLIENT_SECRET) -> str:
    """Another registration of a fake provider, with something changed."""
    clients = {"redbooth": "sandbox-redbooth", "oidc": "sandbox-oidc"}
    site = f"{home(running)}/sandbox/{like}"
    paths = {
        "redbooth": {"authorize.url": "/oauth2/authorize", "token.url": "/oauth2/token", "userinfo.url": "/api/3/me"}
    }
    fields = [word for field, path in paths.get(like, {}).items() for word in ("--set", f"{field}={site}{path}")]
    variables = ["--var", f"issuer={site}"] if like == "oidc" else []
    added = running(
        "provider", "add", name, "--from", like, "--client-id", clients[like], "--client-secret-stdin", *fields, *variables,
        *words, stdin=secret,
    )  # fmt: skip
    assert added.status == 0, added
    return name


# -- test ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lockitnetwork", "phpapi", "iternio", "oidc"])
def test_every_fake_provider_is_right(running: Operator, name: str) -> None:
    outcome = running("provider", "test", name, "--json")
    found = verdicts(outcome)
    assert (outcome.status, outcome.document["ok"], outcome.document["name"]) == (0, True, name), outcome.out
    assert found["redirect URI"] == "cannot say"
    assert found["token"] == "right", outcome.out
    assert found["authorize"] == "cannot say"
    assert "whether it takes the client id and the redirect URI, its page shows" in told_of(outcome, "authorize")
    assert found.get("userinfo") == ("cannot say" if name == "lockitnetwork" else "right")
    assert SANDBOX_CLIENT_SECRET not in running.seen
    assert MADE_UP not in outcome.out


def test_the_text_is_for_people(running: Operator) -> None:
    outcome = running("provider", "test", "oidc")
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert lines[0] == "right       file            oidc.toml can be read."
    assert lines[1] == f"cannot say  redirect URI    It is {home(running)}/callback/oidc"
    assert lines[2] == f"{' ' * 28}-> Register it at the provider, to the letter."
    assert "right       secret          The client id sandbox-oidc is kept, with a client secret." in lines
    assert "right       keys            2 of its keys can sign ID tokens (ES256)." in lines
    assert "right       token           It refused a made-up code, as it should." in lines
    assert (
        "right       token           The client id and the secret or key are right: with others it complains about those."
        in lines
    )
    assert lines[-1] == "Nothing is wrong."


def test_a_wrong_secret(running: Operator) -> None:
    name = copied(running, "wrong-secret", "redbooth", secret="not-the-secret")
    outcome = running("provider", "test", name, "--json")
    assert (outcome.status, outcome.document["ok"], verdicts(outcome)["token"]) == (1, False, "wrong")
    assert "refuses the client id, the secret or key" in told_of(outcome, "token")
    assert "set-secret wrong-secret" in told_of(outcome, "token")
    assert "not-the-secret" not in running.seen.replace("not-the-secret\n", "")


def test_a_wrong_secret_as_keycloak_says_it(running: Operator) -> None:
    """By 401 unauthorized_client; so it is about the secret, and not about what the client may do."""
    name = copied(running, "keycloak", "redbooth", secret="not-the-secret")
    said = b'{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}'
    with wrong_secret_said_as(said):
        outcome = running("provider", "test", name, "--json")
        right = running("provider", "test", "redbooth")
    assert (outcome.status, verdicts(outcome)["token"]) == (1, "wrong")
    assert "refuses the client id, the secret or key" in told_of(outcome, "token")
    assert "set-secret keycloak" in told_of(outcome, "token")
    assert "The client id and the secret or key are right" in right.out


def test_the_next_secret_is_tried_too(running: Operator) -> None:
    name = copied(running, "two-secrets", "redbooth")
    words = ("provider", "secret", name, "--next", "--client-secret-stdin")
    assert running(*words, stdin="not-yet-the-secret").status == 0
    found = verdicts(running("provider", "test", name, "--json"))
    assert (found["token (current)"], found["token (next)"]) == ("right", "cannot say"), "its time is to come"


def test_the_other_secret_serves_where_the_provider_has_changed_over(running: Operator) -> None:
    """As it does in a login: what comes after the token endpoint is not judged by the secret that is over."""
    name = copied(
        running, "changed-over", "redbooth", "--set", f"revoke.url={home(running)}/sandbox/redbooth/oauth2/revoke",
        "--set", "revoke.auth=basic", "--set", 'revoke.params.token="{access_token}"', secret="over-since-today",
    )  # fmt: skip
    words = ("provider", "secret", name, "--next", "--client-secret-stdin")
    assert running(*words, stdin=SANDBOX_CLIENT_SECRET).status == 0
    outcome = running("provider", "test", name, "--json")
    found = verdicts(outcome)
    assert (found["token (current)"], found["token (next)"]) == ("wrong", "right")
    assert found["revoke"] != "wrong", found
    assert "takes the next one" in told_of(outcome, "token (current)")
    assert f"broker provider secret {name} --promote" in told_of(outcome, "token (current)")
    assert "set-secret" not in told_of(outcome, "token (current)")
    assert running("provider", "secret", name, "--promote").status == 0
    after = running("provider", "test", name, "--json")
    assert (verdicts(after)["token (current)"], verdicts(after)["token (old)"]) == ("right", "cannot say")


def test_the_provider_that_takes_the_old_secret_still(running: Operator) -> None:
    name = copied(running, "takes-the-old", "redbooth")
    words = ("provider", "secret", name, "--next", "--client-secret-stdin")
    assert running(*words, stdin="not-at-the-provider-yet").status == 0
    assert running("provider", "secret", name, "--promote").status == 0
    outcome = running("provider", "test", name, "--json")
    assert (verdicts(outcome)["token (current)"], verdicts(outcome)["token (old)"]) == ("wrong", "right")
    assert "takes the old one" in told_of(outcome, "token (current)")
    assert "Make the provider use the current one" in told_of(outcome, "token (current)")


def test_what_only_a_login_brings_is_not_judged(running: Operator) -> None:
    kept = (
        'token.response.keep=["token_type"]',
        "vars.token_type.pattern=[A-Za-z]+",
        "userinfo.headers.X-Kind={token_type}",
    )
    name = copied(running, "keeps", "redbooth", *(word for field in kept for word in ("--set", field)))
    outcome = running("provider", "test", name, "--json")
    assert verdicts(outcome)["userinfo"] == "cannot say"
    assert "It needs what only a login brings (" in told_of(outcome, "userinfo")


WRONG_FIELDS = {
    "no such token URL": ("token.url", "/nowhere", "token", "There is nothing (HTTP 404)", "Check token.url"),
    "scope that is none": ("authorize.scope", "everything", "authorize", "error invalid_scope", "see authorize.scope"),
}


@pytest.mark.parametrize(("field", "value", "step", "words", "remedy"), WRONG_FIELDS.values(), ids=WRONG_FIELDS)
def test_a_wrong_field(running: Operator, field: str, value: str, step: str, words: str, remedy: str) -> None:
    before = running.json("provider", "show", "redbooth")["overrides"].get(field, "")
    wanted = f"{home(running)}/sandbox/redbooth{value}" if value.startswith("/") else value
    running.json("provider", "update", "redbooth", "--set", f"{field}={wanted}")
    outcome = running("provider", "test", "redbooth", "--json")
    running.json("provider", "update", "redbooth", "--set", f"{field}={before}")
    assert (outcome.status, verdicts(outcome)[step]) == (1, "wrong"), outcome.out
    assert words in told_of(outcome, step)
    assert remedy in told_of(outcome, step)


def test_an_endpoint_in_trouble_is_not_wrong(running: Operator) -> None:
    order_fault(home(running), "redbooth", "token", "status", 503)
    outcome = running("provider", "test", "redbooth", "--json")
    assert (outcome.status, verdicts(outcome)["token"]) == (0, "cannot say"), outcome.out
    assert "in trouble at present" in told_of(outcome, "token")


def failed(kind: FailureKind, status: int | None = 400, *, sent: bool = True) -> UpstreamFailure:
    return UpstreamFailure(kind, row=0, status=status, sent=sent, detail="its words")


TOKEN = {
    "a page": (failed(FailureKind.UNREADABLE, 200), "wrong", "a page for people"),
    "moved": (failed(FailureKind.REDIRECT, 302), "wrong", "Set token.url to where it leads"),
    "in words of its own": (failed(FailureKind.UNKNOWN_REFUSAL), "cannot say", "say so in errors.map"),
    "not there": (failed(FailureKind.UNKNOWN_REFUSAL, 405), "wrong", "There is nothing (HTTP 405)"),
    "forbids the grant": (failed(FailureKind.REQUEST_REFUSED), "wrong", "Allow the authorization code grant"),
    "no key": (failed(FailureKind.CLIENT_REFUSED, sent=False), "wrong", "Nothing could be sent: its words"),
    "wrong secret": (failed(FailureKind.CLIENT_REFUSED, 401), "wrong", "set-secret acme"),
    "gives to anybody": (None, "wrong", "gave tokens for a made-up code"),
    "not reached": (failed(FailureKind.UNREACHABLE, None, sent=False), "wrong", "cannot be reached"),
    "not trusted": (failed(FailureKind.UNTRUSTED, None, sent=False), "wrong", "does not call it"),
    "busy": (failed(FailureKind.BUSY, 429), "cannot say", "in trouble at present"),
    "slow": (failed(FailureKind.TIMEOUT, None), "cannot say", "in trouble at present"),
    "as it should": (failed(FailureKind.GRANT_REFUSED), "right", "refused a made-up code"),
}


@pytest.mark.parametrize(("failure", "verdict", "words"), TOKEN.values(), ids=TOKEN)
def test_what_the_token_endpoint_says(failure: UpstreamFailure | None, verdict: str, words: str) -> None:
    found = provider_verdicts.of_token("token", failure, "acme")
    assert (found.step, found.verdict) == ("token", verdict)
    assert words in f"{found.explanation} {found.remedy}"


USERINFO = {
    "as it should": (failed(FailureKind.TOKEN_REFUSED, 401), "right"),
    "of the token or the secret": (failed(FailureKind.TOKEN_OR_CLIENT_REFUSED, 401), "cannot say"),
    "not by a 401": (failed(FailureKind.FORBIDDEN, 403), "cannot say"),
    "without a subject": (failed(FailureKind.NO_SUBJECT, 200), "cannot say"),
    "in words of its own": (failed(FailureKind.UNKNOWN_REFUSAL, 400), "cannot say"),
    "not there": (failed(FailureKind.UNKNOWN_REFUSAL, 404), "wrong"),
    "to anybody": (None, "wrong"),
}


@pytest.mark.parametrize(("failure", "verdict"), USERINFO.values(), ids=USERINFO)
def test_what_userinfo_says(failure: UpstreamFailure | None, verdict: str) -> None:
    assert provider_verdicts.of_userinfo(failure).verdict == verdict


REVOKE = {
    "as it should": (None, "right"),
    "refuses the broker": (failed(FailureKind.CLIENT_REFUSED, 401), "wrong"),
    "knows no such token": (failed(FailureKind.UNKNOWN_REFUSAL, 404), "cannot say"),
    "moved": (failed(FailureKind.REDIRECT, 301), "wrong"),
}


@pytest.mark.parametrize(("failure", "verdict"), REVOKE.values(), ids=REVOKE)
def test_what_revocation_says(failure: UpstreamFailure | None, verdict: str) -> None:
    assert provider_verdicts.of_revoke(failure, "acme").verdict == verdict


@pytest.mark.parametrize(
    ("status", "error", "location", "verdict"),
    [
        (200, None, "", "cannot say"),
        (303, None, "https://acme.example/login?client_id=error-log", "cannot say"),
        (302, None, "https://accounts.acme.example/signin/oauth/error?client_id=x", "wrong"),
        (302, None, "/signin?authError=CgZpbnZhbGlk", "wrong"),
        (302, None, "/app#/error", "wrong"),
        (302, "invalid_scope", "https://broker.example/callback/acme?error=invalid_scope", "wrong"),
        (404, None, "", "wrong"),
        (400, None, "", "wrong"),
        (403, None, "", "cannot say"),
        (429, None, "", "cannot say"),
        (503, None, "", "cannot say"),
    ],
)
def test_what_the_authorization_endpoint_says(status: int, error: str | None, location: str, verdict: str) -> None:
    assert provider_verdicts.of_authorize(status, error, location, "acme").verdict == verdict


def test_a_provider_that_looks_at_the_code_first(running: Operator) -> None:
    order_fault(home(running), "redbooth", "token", "invalid_grant", times=2)
    outcome = running("provider", "test", "redbooth", "--json")
    assert "the secret is not proven" in told_of(outcome, "token")
    assert (outcome.status, verdicts(outcome)["token"]) == (0, "cannot say")


def test_discovery_and_keys_that_fail(running: Operator) -> None:
    order_fault(home(running), "oidc", "discovery", "set", {"issuer": "https://attacker.example"})
    outcome = running("provider", "test", "oidc", "--json")
    assert (outcome.status, verdicts(outcome)["discovery"]) == (1, "wrong")
    site = f"{home(running)}/sandbox/oidc"
    assert told_of(outcome, "discovery") == (
        f'{site}/.well-known/openid-configuration is the document of another issuer ("https://attacker.example"), and not of'
        f" {site}. Check issuer: the document must name it to the letter."
    )
    assert verdicts(outcome)["secret"] == "right"
    order_fault(home(running), "oidc", "jwks", "set", {"keys": []})
    assert verdicts(running("provider", "test", "oidc", "--json"))["keys"] == "wrong"
    order_fault(home(running), "oidc", "jwks", "status", 404)
    assert "status 404" in told_of(running("provider", "test", "oidc", "--json"), "keys")


def test_a_key_set_that_is_too_large_for_the_functions(running: Operator) -> None:
    order_fault(home(running), "oidc", "jwks", "set", {"more": "x" * OF_PROVIDERS.max_bytes})
    assert "cannot be had (too large)" in told_of(running("provider", "test", "oidc", "--json"), "keys")
    order_fault(home(running), "oidc", "discovery", "set", {"more": "x" * MAX_DOCUMENT})
    assert "cannot be used (too large)" in told_of(running("provider", "test", "oidc", "--json"), "discovery")


def test_why_an_issuer_cannot_be_asked(running: Operator) -> None:
    name = copied(running, "elsewhere", "oidc")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refusing = f"https://127.0.0.1:{closed.getsockname()[1]}"
        no_tls = f"https://localhost:{running.port}"
        for issuer, words in (
            (refusing, "the connection is refused"),
            (no_tls, "what listens there does not speak TLS"),
            (f"{home(running)}/nowhere", "HTTP 404 without a document"),
        ):
            assert running("provider", "update", name, "--set", f"issuer={issuer}").status == 0
            outcome = running("provider", "test", name, "--json")
            assert verdicts(outcome)["discovery"] == "wrong"
            told = told_of(outcome, "discovery")
            assert f"{issuer}/.well-known/openid-configuration cannot be used (" in told
            assert words in told
            assert "to the letter" not in told
            assert words in told_of(outcome, "certificate") or "404" in words
    running.aws("secretsmanager").delete_secret(
        SecretId=running.environment["BROKER_PROVIDER_SECRET_PREFIX"] + name, ForceDeleteWithoutRecovery=True
    )
    assert verdicts(running("provider", "test", name, "--json"))["secret"] == "wrong"


def test_a_way_to_be_known_that_the_broker_does_not_have(running: Operator) -> None:
    methods = {"token_endpoint_auth_methods_supported": ["tls_client_auth", "client_secret_jwt"]}
    order_fault(home(running), "oidc", "discovery", "set", methods)
    outcome = running("provider", "test", "oidc", "--json")
    assert (outcome.status, verdicts(outcome)["discovery"]) == (1, "wrong")
    assert "knows clients by tls_client_auth, client_secret_jwt, of which the broker can do none" in told_of(
        outcome, "discovery"
    )
    name = copied(running, "by-file", "oidc", "--set", "token.auth=basic")
    order_fault(home(running), "oidc", "discovery", "set", methods)
    assert verdicts(running("provider", "test", name, "--json"))["discovery"] == "right", "the file says how"


def test_the_second_address_of_a_host_is_tried_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        asked.append(address[0])
        if len(asked) < 3:
            raise ConnectionRefusedError
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    provider_network._connected(["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"], 443).close()
    assert asked == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


def test_hosts_that_are_not_there_or_not_public(running: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    from broker.upstream import http
    from broker_cli import provider_network

    def resolve(host: str, port: int) -> list[str]:
        if host == "api.github.com":
            raise OSError
        return ["10.0.0.7"]

    monkeypatch.setattr(provider_network, "system_resolver", resolve)
    defaults = dict(http.BoundedHttp.__init__.__kwdefaults__ or {})
    monkeypatch.setattr(http.BoundedHttp.__init__, "__kwdefaults__", defaults | {"resolver": resolve})
    running.add_provider("github")
    outcome = running("provider", "test", "github", "--json")
    assert outcome.status == 1
    assert "github.com leads to 10.0.0.7, which is no public address" in told_of(outcome, "name")
    assert "api.github.com has no address" in told_of(outcome, "name")
    assert "no address that may be called" in told_of(outcome, "token")
    assert "certificate" not in verdicts(outcome)


def test_what_the_broker_itself_lacks(running: Operator) -> None:
    name = copied(running, "no-secret", "redbooth")
    prefix = running.environment["BROKER_PROVIDER_SECRET_PREFIX"]
    running.aws("secretsmanager").delete_secret(SecretId=prefix + name, ForceDeleteWithoutRecovery=True)
    assert running("provider", "disable", name, "--yes").status == 0
    outcome = running("provider", "test", name, "--json")
    assert outcome.status == 1
    assert told_of(outcome, "secret") == (
        "No credentials are kept. `broker provider set-secret no-secret --client-id ID --client-secret-stdin`."
    )
    assert "disabled" in told_of(outcome, "registration")
    assert "token" not in verdicts(outcome)
    assert (
        running("provider", "test", "nobody").refusal()
        == "There is no provider nobody; `broker provider list` shows all."
    )


def test_a_provider_that_knows_the_broker_by_a_key(running: Operator) -> None:
    issuer = f"{home(running)}/sandbox/oidc"
    words = ("--from", "oidc", "--client-id", "sandbox-oidc", "--var", f"issuer={issuer}", "--generate-key", "ES256")
    added = running.json("provider", "add", "by-key", *words)
    assert added["overrides"] == {"token.auth": "private_key_jwt"}
    outcome = running("provider", "test", "by-key", "--json")
    assert (outcome.status, verdicts(outcome)["token"]) == (1, "wrong"), "the provider does not know the key yet"
    register_key(home(running), "oidc", added["public_jwk"])
    outcome = running("provider", "test", "by-key", "--json")
    assert verdicts(outcome)["token"] == "right", outcome.out
    assert "Is the redirect URI registered" in told_of(outcome, "authorize"), "nobody has done that for this name"
    kid = added["public_jwk"]["kid"]
    assert f"with a private key ({kid})" in told_of(outcome, "secret")
    assert "PRIVATE" not in running.seen
    register_key(home(running), "oidc", None)


# -- try -----------------------------------------------------------------------------------------------------------


class Person:
    """Opens the address in a browser of his own, signs in at the fake provider and decides; `stray`: what else comes first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, decision: str = "allow", stray: str = "") -> None:
        self.decision, self.stray = decision, stray
        self.seen: list[str] = []
        self.page = ""
        monkeypatch.setattr(webbrowser, "open", self.open)

    def open(self, url: str) -> bool:
        self.seen.append(url)
        threading.Thread(target=self.visit, args=(url,), daemon=True).start()
        return True

    def visit(self, url: str) -> None:
        if self.stray:
            assert requests.get(self.stray, timeout=30).status_code == 404
        browser = Browser()
        page = browser.follow(browser.get(url), stop=(TRY_REDIRECT_URI,))
        while page.status_code == 200 and forms(page):
            asks_password = "password" in forms(page)[0].fields
            values = {"username": "johndoe", "password": "sandbox"} if asks_password else {"decision": self.decision}
            page = browser.follow(browser.submit(page, values), stop=(TRY_REDIRECT_URI,))
        self.end = page.headers["location"]
        if self.end.startswith(TRY_REDIRECT_URI):
            self.page = browser.get(self.end).text


def described(outcome: Outcome) -> Any:
    return {one["step"]: one["explanation"] for one in outcome.document["findings"]}


def test_a_whole_login(running: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    person = Person(monkeypatch)
    outcome = running("provider", "try", "oidc", "--json")
    assert outcome.status == 0, outcome
    told = described(outcome)
    assert told["redirect"] == "A code came back, with the parameters code, state, iss."
    assert told["token"] == (
        "The code became tokens. The answer had access_token (text), token_type (text), expires_in (number),"
        " refresh_token (text), scope (text), id_token (text)."
    )
    assert re.fullmatch(r"The access token ends in (4 min|5 min|29\d s)\.", told["expiry"])
    assert told["scope"] == "Granted: openid profile email."
    assert told["ID token"].startswith("It is right in every respect")
    assert "The claims are sub, email, name, given_name" in told["profile"]
    assert told["refresh"].startswith("New tokens came, and the refresh token is replaced.")
    assert told["revoke"] == "The provider was told to end what it gave."
    assert "close this page" in person.page
    for value in ("johndoe", "John", "@", SANDBOX_CLIENT_SECRET):
        assert value not in outcome.out


@pytest.mark.parametrize(
    ("name", "refresh", "revoke"),
    [
        ("phpapi", "cannot say", "cannot say"),
        ("redbooth", "right", "cannot say"),
        ("iternio", "cannot say", "cannot say"),
    ],
)
def test_every_dialect(
    running: Operator, monkeypatch: pytest.MonkeyPatch, name: str, refresh: str, revoke: str
) -> None:
    Person(monkeypatch)
    found = verdicts(outcome := running("provider", "try", name, "--json"))
    assert (outcome.status, found["redirect"], found["token"]) == (0, "right", "right"), outcome
    assert (found["refresh"], found["revoke"]) == (refresh, revoke)


def test_a_person_who_says_no(running: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    Person(monkeypatch, decision="deny")
    outcome = running("provider", "try", "redbooth", "--json")
    assert (outcome.status, verdicts(outcome)) == (1, {"redirect": "wrong"})
    assert "access_denied" in described(outcome)["redirect"]


def test_a_stranger_on_the_same_machine_does_not_end_it(running: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    Person(monkeypatch, stray=f"{TRY_REDIRECT_URI}?code=injected&state=guessed")
    assert running("provider", "try", "openid", "--json").status == 0


def test_a_token_endpoint_that_fails(running: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    Person(monkeypatch)
    order_fault(home(running), "openid", "token", "json", {"token": {"value": "planted"}, "ok": True})
    outcome = running("provider", "try", "openid", "--json")
    assert (outcome.status, verdicts(outcome)["token"]) == (1, "wrong")
    assert "The answer had token.value (text), ok (true or false)." in described(outcome)["token"]
    assert "planted" not in outcome.out


def test_less_scope_than_asked(running: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    Person(monkeypatch)
    outcome = running("provider", "try", "openid", "--scope", "calendar", "--json")
    assert verdicts(outcome)["scope"] == "cannot say"
    assert described(outcome)["scope"] == "Granted: openid profile email. Not granted: calendar."


def test_nobody_comes_back(running: Operator) -> None:
    outcome = running("provider", "try", "openid", "--no-browser", "--wait", "1")
    assert outcome.status == 1
    assert f"Open this in a browser:\n{home(running)}/sandbox/openid/authorize?" in outcome.err
    assert "Nobody came back within 1 s." in outcome.err
    assert f"register {TRY_REDIRECT_URI} there" in outcome.err


def test_the_brokers_own_redirect_uri(running: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    person = Person(monkeypatch)
    answers: list[str] = []

    def prompt(text: str, **_: object) -> str:
        shown = running.capsys.readouterr().err
        person.visit(next(word for word in shown.split() if word.startswith("http")))
        answers.append(text)
        return person.end

    monkeypatch.setattr("broker_cli.provider_try.click.prompt", prompt)
    own = f"{home(running)}/callback/openid"
    person_stop = Browser.follow
    monkeypatch.setattr(Browser, "follow", lambda self, page, stop=(): person_stop(self, page, stop=(own, *stop)))
    outcome = running("provider", "try", "openid", "--paste", "--json")
    assert (outcome.status, answers) == (0, ["Address"]), outcome
    assert person.end.startswith(f"{own}?code=")
    assert verdicts(outcome)["refresh"] == "right"


def test_a_pasted_address_of_another_login(running: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    for pasted, words in (
        ("https://x.example/?code=a&state=b", "belongs to another login"),
        ("what?", "no answer in it"),
    ):
        monkeypatch.setattr("broker_cli.provider_try.click.prompt", lambda *_, answer=pasted, **__: answer)
        outcome = running("provider", "try", "openid", "--paste")
        assert outcome.status == 2
        assert words in outcome.err


def test_what_cannot_be_tried(running: Operator) -> None:
    key = new_key("ES256").private_pem
    words = (
        "--client-id",
        "com.example.web",
        "--var",
        "team_id=TEAM123456",
        "--private-key-stdin",
        "--key-id",
        "KEY1234567",
    )
    assert running("provider", "add", "apple", *words, stdin=key).status == 0
    issuer = f"{home(running)}/sandbox/oidc"
    assert running("provider", "update", "apple", "--set", f"issuer={issuer}").status == 0
    assert "posts its answer to a registered https address" in running("provider", "try", "apple").refusal()
    assert json.loads(running("provider", "show", "apple", "--json").out)["problem"] is None
