"""What an intruder gets: from the logs nothing, from a copy of the tables and of all secrets nothing that can be used.

One run over every provider, with everything going wrong that can, while a tap on the wire collects every token, code,
cookie, verifier, secret and e-mail address that went over it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest
import requests
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker import clock
from broker.crypto import handles, sealing, tokens
from broker.crypto.handles import Handle, Kind
from broker.crypto.keys import KeyRing, parse
from broker.encoding import b64url, from_b64url
from broker.grants import authorization_code, vault
from broker.runtime import runtime
from broker.store.aws import StoreUnavailable
from broker.store.grants import Grant, Grants
from broker.store.links import Link
from broker_local.server import SANDBOX_CLIENT_SECRET, LocalBroker
from broker_testing.journey import Login, TestClient, pkce_pair, post_form, refresh, register, revoke, userinfo
from broker_testing.sandbox import forget_faults, order_fault
from broker_testing.wire import Tap, disguises, tapped
from sandbox_provider import clock as sandbox_clock

pytestmark = pytest.mark.xdist_group("one run for all")

PROVIDERS = ("infolobby", "lockitnetwork", "phpapi", "redbooth", "iternio", "iternio-live", "openid", "oidc")
SHORT_LIVED = ("redbooth", "openid", "oidc")
"""Providers whose access tokens end within two hours, and can be refreshed."""
BAD_DAYS: tuple[tuple[str, object], ...] = (("status", 503), ("slow", 0.3), ("error", "invalid_client"), ("html", 200))
PLANTED = "planted-secret-7f3a9c"
"""Part of every value that the run makes up."""

FAULTS: tuple[tuple[str, object], ...] = (
    ("status", 500),
    ("html", 200),
    ("truncated", None),
    ("error", "invalid_client"),
    ("invalid_grant", None),
    ("json", {"error": f"{PLANTED}-error", "error_description": f"{PLANTED}@provider.example"}),
    ("lost_answer", None),
)
"""What a provider's token endpoint may do instead of giving tokens."""


@dataclass
class Run:
    """What the run left behind."""

    tap: Tap
    log: str = ""
    items: list[dict[str, Any]] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    active: dict[str, tuple[Login, dict[str, Any]]] = field(default_factory=dict)
    unredeemed: list[Login] = field(default_factory=list)


@pytest.fixture(scope="module")
def run(local_broker: LocalBroker) -> Iterator[Run]:
    """The run, and the copies of everything after it."""
    base, before = local_broker.url, len(local_broker.log_text())
    runtime().forget()
    with tapped(local_broker) as tap:
        done = Run(tap)
        for number, provider in enumerate(PROVIDERS):
            _good_logins(base, provider, done, secret=number % 2 == 0)
            _logins_that_fail(base, provider, *FAULTS[number % len(FAULTS)])
        _refreshes_that_fail(base)
        _requests_that_are_wrong(base)
        _faults_of_our_own(base)
        _wrong_provider_secret(base, local_broker)
    done.log = local_broker.log_text()[before:]
    done.items, done.secrets = _copy_tables(local_broker), _copy_secrets(local_broker)
    yield done
    runtime().forget()


# -- the run -------------------------------------------------------------------------------------------------------


def _login(base: str, provider: str, **attributes: Any) -> Login:
    login = Login(register(base, providers=(provider,), **attributes), provider)
    login.parameters |= {"state": f"{PLANTED}-state-{provider}", "nonce": f"{PLANTED}-nonce-{provider}"}
    login.parameters["login_hint"] = f"{PLANTED}-hint@{provider}.example"
    return login


def _good_logins(base: str, provider: str, done: Run, *, secret: bool) -> None:
    """Log in, use, refresh, retry and reuse; sign out; and leave a login open, a code unredeemed and a request only pushed."""
    login = _login(base, provider, secret=secret)
    held = login.tokens()
    assert userinfo(base, held["access_token"]).status_code == 200
    first, again = (refresh(login.client, held["refresh_token"]) for _ in range(2))
    assert first.json()["refresh_token"] == again.json()["refresh_token"]
    done.active[provider] = (login, first.json())
    stolen = _login(base, provider, retry_window=0, access_token_format="opaque")
    held = stolen.tokens(username="zoe")
    assert userinfo(base, held["access_token"]).status_code == 200
    assert [refresh(stolen.client, held["refresh_token"]).status_code for _ in range(2)] == [200, 400]
    left = _login(base, provider)
    assert revoke(left.client, left.tokens()["refresh_token"]).status_code == 200
    waiting = _login(base, provider)
    waiting.run()
    done.unredeemed.append(waiting)
    pushed = _login(base, provider)
    assert post_form(f"{base}/par", pushed.parameters).status_code == 201


def _logins_that_fail(base: str, provider: str, kind: str, value: object) -> None:
    """Denied by the person, refused by the provider in this manner, and an answer that quotes what it should not."""
    assert _login(base, provider).run(decision="deny")["error"] == "access_denied"
    order_fault(base, provider, "token", kind, value)
    assert "error" in _login(base, provider).run(), kind
    login = _login(base, provider)
    parts = urlsplit(login.callback_url())
    query = dict(parse_qsl(parts.query)) | {
        "error": "server_error",
        "error_description": f"{PLANTED}@provider.example said {PLANTED}",
    }
    quoting = urlunsplit(
        parts._replace(query=urlencode({k: v for k, v in query.items() if k not in ("code", "auth_code")}))
    )
    assert login.read_answer(login.browser.get(quoting))["error"] == "server_error"
    assert login.browser.get(quoting).status_code == 400
    forget_faults(base, provider)


def _refreshes_that_fail(base: str) -> None:
    """The provider is down, slow, misconfigured, or has ended the grant: at userinfo, and when its token is due."""
    for provider in SHORT_LIVED:
        login = _login(base, provider, access_token_lifetime=86400)
        held = login.tokens(username="johnsmith")
        for kind, value in BAD_DAYS:
            assert (
                _on_a_bad_day(base, provider, "userinfo", kind, value, partial(userinfo, base, held["access_token"]))
                >= 400
            )
        clock.offset = sandbox_clock.offset = 7201
        try:
            for kind, value in BAD_DAYS:
                again = partial(refresh, login.client, held["refresh_token"])
                assert _on_a_bad_day(base, provider, "token", kind, value, again) == 503
                clock.offset += 6  # past the pause after a failure
                assert _on_a_bad_day(
                    base, provider, "token", kind, value, partial(userinfo, base, held["access_token"])
                ) in (502, 503, 504)
                clock.offset += 6
            order_fault(base, provider, "token", "invalid_grant")
            assert refresh(login.client, held["refresh_token"]).status_code == 400
        finally:
            clock.offset = sandbox_clock.offset = 0


def _on_a_bad_day(
    base: str, provider: str, endpoint: str, kind: str, value: object, act: Callable[[], requests.Response]
) -> int:
    """The status of the broker's answer while the provider's endpoint has that fault."""
    settings = runtime().settings
    order_fault(base, provider, endpoint, kind, value, times=2)
    try:
        if kind == "slow":
            runtime().settings = replace(settings, upstream_deadline=0.1)
        return act().status_code
    finally:
        runtime().settings = settings
        forget_faults(base, provider)


def _requests_that_are_wrong(base: str) -> None:
    """Secrets in the wrong places, malformed, repeated, foreign; passwords that are not right."""
    login, confidential = _login(base, "infolobby"), register(base, secret=True)
    page = login.browser.follow(login.start())
    assert login.browser.submit(page, {"username": "johndoe", "password": f"{PLANTED}-password"}).status_code < 500
    held = login.tokens()
    login.run()
    secret, code, token = f"{PLANTED}-client-secret", login.answer["code"], held["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": confidential.client_id}
    basic = base64.b64encode(f"{confidential.client_id}:{secret}".encode()).decode()
    url = f"{base}/token"
    answers = [
        post_form(url, form | {"client_secret": secret}),
        post_form(url, form, headers={"authorization": f"Basic {basic}"}),
        post_form(url, form | {"client_secret": secret}, headers={"authorization": f"Basic {basic}"}),
        post_form(url, form, headers={"authorization": f"Basic {PLANTED}!"}),
        post_form(url, form, headers={"authorization": f"Bearer {held['access_token']}"}),
        requests.post(url, json=form | {"client_secret": secret}, timeout=30),
        requests.post(f"{url}?{urlencode(form)}", timeout=30),
        requests.post(url, data=[*form.items(), ("refresh_token", token)], timeout=30),
        requests.post(url, data=f"refresh_token={token}&code=%zz&client_secret={secret}".encode(), timeout=30),
        post_form(url, form | {"client_id": f"{PLANTED}-client"}),
        login.redeem(code=code + "x"),
        login.redeem(code_verifier=pkce_pair()[0]),
        login.redeem(code_verifier=f"{PLANTED}-short"),
        login.redeem(redirect_uri=f"https://app.example/{PLANTED}"),
        login.redeem(grant_type=f"{PLANTED}-grant"),
        refresh(login.client, token, scope=f"openid {PLANTED}-scope"),
        refresh(confidential, token),
        userinfo(base, token),
        userinfo(base, held["access_token"] + "x"),
        requests.get(f"{base}/userinfo?access_token={held['access_token']}", timeout=30),
        requests.post(f"{base}/userinfo", data={"access_token": held["access_token"] + "x"}, timeout=30),
        _login(base, "infolobby").start(redirect_uri=f"https://evil.example/{PLANTED}"),
        _login(base, "infolobby").start(client_id=f"{PLANTED}-client"),
        requests.get(f"{base}/callback/infolobby?code={PLANTED}-code&state={PLANTED}-state", timeout=30),
        requests.get(f"{base}/callback/unknown?code={PLANTED}-code&state={PLANTED}-state", timeout=30),
    ]
    assert {answer.status_code for answer in answers} <= {400, 401}
    assert login.redeem().status_code == 200
    assert login.redeem().status_code == 400
    assert revoke(confidential, token).status_code == 200


def _faults_of_our_own(base: str) -> None:
    """A bug, and a store that is down, whose messages quote what was at hand."""
    login = _login(base, "infolobby")
    held = login.tokens()
    for error, status in (
        (RuntimeError(f"{held['access_token']} {PLANTED}@example.com {PLANTED}"), 500),
        (StoreUnavailable("update_item: ThrottlingException"), 503),
    ):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        with pytest.MonkeyPatch.context() as patch:
            for step in ("begin", "rotate", "read", "redeem"):
                patch.setattr(Grants, step, fail)
            assert refresh(login.client, held["refresh_token"]).status_code == status
            assert userinfo(base, held["access_token"]).status_code == status
            assert _login(base, "infolobby").start().status_code in (status, 303)
            assert login.redeem().status_code == status
    assert refresh(login.client, held["refresh_token"]).status_code == 200


def _wrong_provider_secret(base: str, local_broker: LocalBroker) -> None:
    """The operator mistyped it: the provider refuses the broker itself."""
    secrets = local_broker.aws_client("secretsmanager")
    name = f"{runtime().settings.provider_secret_prefix}lockitnetwork"
    right = secrets.get_secret_value(SecretId=name)["SecretString"]
    wrong = json.dumps(json.loads(right) | {"client_secret": f"{PLANTED}-provider-secret"})
    secrets.put_secret_value(SecretId=name, SecretString=wrong)
    runtime().forget()
    try:
        assert _login(base, "lockitnetwork").run()["error"] == "server_error"
    finally:
        secrets.put_secret_value(SecretId=name, SecretString=right)
        runtime().forget()


# -- the copies ----------------------------------------------------------------------------------------------------


def _copy_tables(local_broker: LocalBroker) -> list[dict[str, Any]]:
    settings, dynamodb = runtime().settings, local_broker.aws_client("dynamodb")
    pages = [
        page
        for table in (settings.registry_table, settings.grants_table)
        for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    ]
    return [item for page in pages for item in page["Items"]]


def _copy_secrets(local_broker: LocalBroker) -> dict[str, str]:
    secrets = local_broker.aws_client("secretsmanager")
    pages = secrets.get_paginator("list_secrets").paginate()
    names = [entry["Name"] for page in pages for entry in page["SecretList"]]
    return {name: secrets.get_secret_value(SecretId=name)["SecretString"] for name in names}


def _leaves(value: object) -> Iterator[str | bytes]:
    """Every string and byte string of an item, names among them."""
    if isinstance(value, str | bytes):
        yield value
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            yield name
            yield from _leaves(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _leaves(entry)


def _as_text(items: list[dict[str, Any]]) -> str:
    """The items in one text; bytes as they are, in hex and in base64."""
    texts: list[str] = []
    for leaf in _leaves(items):
        if isinstance(leaf, str):
            texts.append(leaf)
        else:
            texts += [leaf.decode("latin-1"), leaf.hex(), base64.b64encode(leaf).decode(), b64url(leaf)]
    return "\n".join(texts)


def _found(values: set[str], text: str) -> list[str]:
    """Which of the values are in the text, in whatever disguise."""
    return sorted(value for value in values if any(form in text for form in disguises(value)))


def _secret_of(handle: str) -> bytes:
    """What a code or refresh token has of a secret: 32 bytes before the tag of 16."""
    return from_b64url(handle[4:])[-48:-16]


# -- what must not be found ----------------------------------------------------------------------------------------


def test_the_run_saw_what_it_is_to_look_for(run: Run) -> None:
    """Without this the other tests could pass for want of anything to find."""
    seen = run.tap.secrets()
    assert {login.answer["code"] for login in run.unredeemed} <= seen
    assert {held["refresh_token"] for _, held in run.active.values()} <= seen
    assert {"john@example.com", "zoë@example.com", SANDBOX_CLIENT_SECRET} <= seen
    assert {f"{PLANTED}-hint@{provider}.example" for provider in PROVIDERS} <= seen
    assert {f"{PLANTED}-password", f"{PLANTED}-client-secret", f"{PLANTED}-provider-secret"} <= seen
    upstream = run.tap.upstream_secrets()
    assert SANDBOX_CLIENT_SECRET in upstream
    for provider in PROVIDERS:
        of_provider = {
            value
            for exchange in run.tap.exchanges
            if exchange.is_upstream_call and exchange.request.path.startswith(f"/sandbox/{provider}/")
            for value in exchange.secrets()
        }
        assert len(of_provider & upstream) >= 9, provider  # four logins with a code and a token each, and the secret
    for event in ("code.issued", "refresh.reused", "upstream.failed", "upstream.misconfigured", "request.failed"):
        assert f'"{event}"' in run.log, event


def test_the_logs_have_nothing_that_went_over_the_wire(run: Run) -> None:
    """No token, code, verifier, secret, cookie, password or e-mail address, nor one of them encoded."""
    assert _found(run.tap.secrets(), run.log) == []
    assert PLANTED not in run.log
    assert "@" not in run.log


def test_no_answer_of_the_broker_shows_what_is_between_it_and_a_provider(run: Run) -> None:
    """Neither header, redirect nor body has an upstream token, code or verifier, or a provider's client secret."""
    upstream = run.tap.upstream_secrets()
    answers = [exchange.answer_text() for exchange in run.tap.exchanges if not exchange.is_sandbox]
    assert len(answers) > 100
    assert _found(upstream, "\n".join(answers)) == []


def test_the_providers_secret_is_in_no_url(run: Run) -> None:
    """RFC 6749 section 2.3.1; the one exception is a provider whose API takes its key nowhere else."""
    targets = "\n".join(
        exchange.request.target for exchange in run.tap.exchanges if "/1/oauth/" not in exchange.request.path
    )
    assert _found({SANDBOX_CLIENT_SECRET, f"{PLANTED}-provider-secret"}, targets) == []


def test_the_tables_hold_no_token_and_no_secret(run: Run) -> None:
    """Only the client's own state and nonce wait there for the login to come back; they open nothing."""
    text = _as_text(run.items)
    waiting = {value for value in run.tap.secrets() if value.startswith((f"{PLANTED}-state", f"{PLANTED}-nonce"))}
    short_states = {login.parameters[name] for login, _ in run.active.values() for name in ("state", "nonce")}
    assert _found(run.tap.secrets() - waiting - short_states, text) == []
    for login, held in run.active.values():
        for secret in (_secret_of(held["refresh_token"]), _secret_of(login.answer["code"])):
            assert not {secret.decode("latin-1"), secret.hex(), b64url(secret)} & set(text.split("\n"))
            assert secret.decode("latin-1") not in text


def test_the_secrets_hold_keys_and_the_providers_credentials_alone(run: Run) -> None:
    """Nothing of any login is kept there."""
    settings = runtime().settings
    providers = {f"{settings.provider_secret_prefix}{name}" for name in PROVIDERS}
    for name, text in run.secrets.items():
        if name in providers:
            assert json.loads(text)["client_secret"] == SANDBOX_CLIENT_SECRET
        else:
            assert name == settings.keys_secret
            assert _found(run.tap.secrets(), text) == []


# -- what a copy of everything opens -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loot:
    """The copy of the tables and of all secrets, as whoever stole it would use it."""

    ring: KeyRing
    logins: tuple[tuple[Grant, Link | None], ...]
    candidates: frozenset[bytes]

    def sized_as_keys(self) -> frozenset[bytes]:
        """The candidates that have the size of a key or of a handle's secret."""
        return frozenset(candidate for candidate in self.candidates if len(candidate) == handles.SECRET_BYTES)


@pytest.fixture(scope="module")
def loot(run: Run) -> Loot:
    """Every value of 32 bytes and more in the copy, and what can be made of it with the broker's own methods."""
    ring = parse(run.secrets[runtime().settings.keys_secret])
    ours = {login.client.client_id for login, _ in run.active.values()} | {
        login.client.client_id for login in run.unredeemed
    }
    stolen = [item for item in run.items if item.get("client_id", {}).get("S") in ours]
    ids = {item["pk"]["S"] for item in stolen}
    values = {leaf for item in run.items if item["pk"]["S"] in ids for leaf in _leaves(item)}
    values |= set(run.secrets.values()) | {key.secret for key in (*ring.handle, *ring.sealing)}
    values |= {
        sealing.derive(key.secret, f"{purpose} {grant_id}")
        for key in ring.handle
        for grant_id in ids
        for purpose in ("upstream code_verifier", "upstream nonce")
    }
    values |= {
        key.private_key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
        for key in ring.signing
        if key.alg == "ES256"
    }
    logins = [runtime().grants.read(grant_id) for grant_id in sorted(ids)]
    return Loot(
        ring,
        tuple((grant, link) for grant, link in logins if grant is not None),
        frozenset(candidate for value in values for candidate in _spellings(value) if len(candidate) >= 32),
    )


def _spellings(value: str | bytes) -> Iterator[bytes]:
    raw = value.encode() if isinstance(value, str) else value
    yield raw
    yield raw[:32]
    yield raw[-32:]
    if isinstance(value, str):
        for decode in (bytes.fromhex, from_b64url):
            try:
                yield decode(value)
            except ValueError:
                continue


def _opens(candidate: bytes, grant: Grant, link: Link | None) -> list[str]:
    """What of a login a candidate opens, by the broker's own methods or as the bare key."""
    opened = []
    if link is not None:
        try:
            vault.tokens_of(link, candidate)
            opened.append("upstream tokens")
        except sealing.SealBroken:
            pass
        opened += ["upstream tokens"] if _opens_as_key(candidate, link.sealed) else []
    if grant.code_sealed:
        try:
            sealing.unseal(candidate, authorization_code._CODE_PURPOSE, grant.code_sealed, grant.grant_id.encode())
            opened.append("grant secret")
        except sealing.SealBroken:
            pass
        opened += ["grant secret"] if _opens_as_key(candidate, grant.code_sealed) else []
    return opened


def _opens_as_key(candidate: bytes, sealed: bytes) -> bool:
    if len(candidate) != 32:
        return False
    try:
        AESGCM(candidate).decrypt(sealed[: sealing.NONCE_BYTES], sealed[sealing.NONCE_BYTES :], None)
    except InvalidTag:
        return False
    return True


def test_a_copy_of_tables_and_secrets_opens_no_sealed_value(run: Run, loot: Loot) -> None:
    """Not one value of it, nor what the keys derive, is the key of an upstream token or of a grant secret."""
    assert len(loot.candidates) > 100
    assert sum(link is not None for _, link in loot.logins) >= len(PROVIDERS)
    assert sum(bool(grant.code_sealed) for grant, _ in loot.logins) >= len(PROVIDERS)
    assert not [
        (grant.grant_id, opened)
        for grant, link in loot.logins
        for candidate in loot.candidates
        if (opened := _opens(candidate, grant, link))
    ]
    # The method is sound: with what the clients hold, the same values open.
    by_id = {grant.grant_id: (grant, link) for grant, link in loot.logins}
    for _, held in run.active.values():
        handle = handles.read(Kind.REFRESH, held["refresh_token"], loot.ring)
        assert handle is not None
        assert _opens(handle.secret, *by_id[handle.grant_id]) == ["upstream tokens"]
    for login in run.unredeemed:
        handle = handles.read(Kind.CODE, login.answer["code"], loot.ring)
        assert handle is not None
        assert _opens(handle.secret, *by_id[handle.grant_id]) == ["grant secret"]


def test_a_copy_of_tables_and_secrets_mints_no_refresh_or_access_token(base: str, run: Run, loot: Loot) -> None:
    """With the stolen handle, sealing and signing keys a handle can be made, but not its secret."""
    login, held = run.active["lockitnetwork"]
    assert login.client.secret is None
    real = handles.read(Kind.REFRESH, held["refresh_token"], loot.ring)
    assert real is not None
    grant = next(grant for grant, _ in loot.logins if grant.grant_id == real.grant_id)
    for candidate in _keys_near(loot, grant):
        for generation in (grant.generation, grant.generation + 1):
            answer = refresh(login.client, _minted(replace(real, generation=generation, secret=candidate), loot.ring))
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        forged = userinfo(base, _minted_access_token(base, login.client, grant, candidate, loot.ring))
        assert (forged.status_code, forged.json()["error"]) == (401, "invalid_token")
    # Nothing of that ended the login, and with the real secret both methods work.
    assert userinfo(base, _minted_access_token(base, login.client, grant, real.secret, loot.ring)).status_code == 200
    assert refresh(login.client, _minted(real, loot.ring)).status_code == 200


def test_a_copy_of_tables_and_secrets_mints_no_code(run: Run, loot: Loot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for whoever has the verifier as well."""
    login = run.unredeemed[1]
    real = handles.read(Kind.CODE, login.answer["code"], loot.ring)
    assert real is not None
    grant = next(grant for grant, _ in loot.logins if grant.grant_id == real.grant_id)
    # The code has grown old while the module ran; it is to be refused for what it is, and not for its age.
    monkeypatch.setattr(clock, "offset", clock.offset + grant.expires_at - 50 - clock.now())
    for candidate in _keys_near(loot, grant):
        answer = login.redeem(code=_minted(replace(real, secret=candidate), loot.ring))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert login.redeem(code=_minted(real, loot.ring)).status_code == 200


def _keys_near(loot: Loot, grant: Grant) -> list[bytes]:
    """The values that could be this login's secret: its own, and all keys."""
    own = {grant.code_hash, grant.secret_hash, *_spellings(grant.code_sealed)}
    own |= {
        candidate
        for _, link in loot.logins
        if link and link.grant_id == grant.grant_id
        for candidate in _spellings(link.sealed)
    }
    keys = {key.secret for key in (*loot.ring.handle, *loot.ring.sealing)}
    return sorted(key for key in loot.sized_as_keys() if key in own | keys)


def _minted(handle: Handle, ring: KeyRing) -> str:
    key = ring.handle_key()
    return handles.make(replace(handle, key_id=key.id), key)


def _minted_access_token(base: str, client: TestClient, grant: Grant, secret: bytes, ring: KeyRing) -> str:
    now = clock.now()
    content = tokens.AccessToken(
        issuer=base,
        client_id=client.client_id,
        subject=grant.subject,
        audience=(base,),
        scope=grant.scope,
        grant_id=grant.grant_id,
        grant_secret=secret,
        issued_at=now,
        expires_at=now + 600,
        auth_time=grant.auth_time,
    )
    return tokens.mint_access_token(content, ring)
