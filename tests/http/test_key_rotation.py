"""Keys rotate and nobody notices: whatever was made before still works until its own end, as clients and backends see it.

Time stands still between steps, so that "just before" and "just after" are exact. Rotations are the deployed function's own
four steps.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
import requests

from broker import clock, key_rotation
from broker.crypto.keys import new_document, parse
from broker.encoding import b64url, from_b64url
from broker.key_lives import LEAD, MOST_DELAY, SLACK, lives
from broker.key_rotation import RotationFailed
from broker.runtime import runtime
from broker.store.aws import client as aws_client
from broker.store.key_versions import KeyVersions
from broker.store.secrets import CACHE_SECONDS, REREAD_SECONDS
from broker_local.server import LocalBroker
from broker_testing import key_rotation as secrets_manager
from broker_testing.device import Device, Person
from broker_testing.journey import Login, TestClient, post_form, refresh, register, userinfo
from broker_testing.signing import DPoPKey
from sandbox_provider import clock as sandbox_clock

DAY = 86400
TIMEOUT = 30


@dataclass
class Broker:
    """The local broker at a moment that passes only when it is told to, with its keys in Secrets Manager."""

    local: LocalBroker
    now: int = field(default_factory=lambda: int(time.time()))
    read: int = 0

    @property
    def base(self) -> str:
        return self.local.url

    def forward(self, seconds: int) -> None:
        self.now += seconds

    def rotate(self) -> int:
        """A scheduled rotation, noticed by all functions. Returns when its keys are used first."""
        secrets_manager.rotate(self.local)
        used_from = self.now + LEAD
        self.forward(CACHE_SECONDS)
        return used_from

    def just_before(self, moment: int) -> None:
        assert moment > self.now
        self.now = moment - 1

    def operator_rotates(self, *revoked: str, at_once: bool = True) -> None:
        """`broker keys rotate --now --revoke ...`; functions go on with what they remember."""
        versions = KeyVersions(
            secrets_manager.operators_client(self.local.aws_endpoint), secrets_manager.secret_id(self.local)
        )
        key_rotation.rotate(versions, at_once=at_once, without=revoked)

    def jwks(self) -> dict[str, dict[str, Any]]:
        """The published keys by kid, as a backend gets them."""
        response = requests.get(f"{self.base}/.well-known/jwks.json", timeout=TIMEOUT)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "public, max-age=300"
        found = {key["kid"]: key for key in response.json()["keys"]}
        assert len(found) == len(response.json()["keys"])
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & {member for key in found.values() for member in key}
        return found

    def verifies(self, token: str, audience: str) -> bool:
        """Whether a backend finds the token's key published and its signature right."""
        key = self.jwks().get(kid_of(token))
        if key is None:
            return False
        options: Any = {"verify_exp": False, "verify_iat": False}
        jwt.decode(token, jwt.PyJWK(key).key, [key["alg"]], options, audience=audience, issuer=self.base)
        return True


@pytest.fixture
def broker(local_broker: LocalBroker, base: str, quick_keys: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """A broker of its own time, whose keys are put back afterwards."""
    with secrets_manager.kept_apart(local_broker):
        running = Broker(local_broker)
        monkeypatch.setattr(clock, "now", lambda: running.now)
        monkeypatch.setattr(clock, "now_ms", lambda: running.now * 1000)
        monkeypatch.setattr(sandbox_clock, "now", lambda: running.now)
        events = aws_client("secretsmanager").meta.events

        def count(**_: object) -> None:
            running.read += 1

        events.register("before-send.secrets-manager.GetSecretValue", count)
        yield running
        events.unregister("before-send.secrets-manager.GetSecretValue", count)


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def key_id_of(handle: str) -> int:
    """The id of the key that made a handle or an opaque access token."""
    raw = from_b64url(handle[4:])
    return int.from_bytes(raw[:2] if handle.startswith("tba_") else raw[1:3], "big")


def good(response: requests.Response) -> dict[str, Any]:
    assert response.status_code == 200, (response.status_code, response.text)
    document: dict[str, Any] = response.json()
    return document


def refused(response: requests.Response, status: int, error: str) -> None:
    assert (response.status_code, response.json()["error"]) == (status, error), response.text


# -- published before, kept until ----------------------------------------------------------------------------------


def test_a_signing_key_is_published_before_its_first_use_and_until_its_last_token_is_dead(broker: Broker) -> None:
    """META-11. A backend that looks at the JWK Set once a day never meets a token whose key it does not know."""
    client = register(broker.base, access_token_lifetime=DAY)
    first = broker.jwks()
    used_from = broker.rotate()
    published = broker.jwks()
    assert set(first) < set(published)
    assert sorted(key["alg"] for kid, key in published.items() if kid not in first) == ["ES256", "RS256"]

    broker.just_before(used_from)
    last = Login(client).tokens()
    assert {kid_of(last["access_token"]), kid_of(last["id_token"])} <= set(first)
    broker.forward(1)
    newer = Login(client).tokens()
    assert not {kid_of(newer["access_token"]), kid_of(newer["id_token"])} & set(first)
    assert {kid_of(newer["access_token"]), kid_of(newer["id_token"])} <= set(published)

    broker.now = used_from - 1 + DAY - 1  # the last second of the last token
    assert broker.verifies(last["access_token"], broker.base)
    assert broker.verifies(last["id_token"], client.client_id)
    assert good(userinfo(broker.base, last["access_token"]))["sub"]
    broker.now = used_from + lives().signing
    assert set(broker.jwks()) == set(published) - set(first)


def test_without_a_rotation_a_key_is_used_for_ever(broker: Broker) -> None:
    """A schedule that is switched off or fails must not end anything."""
    first = broker.jwks()
    broker.forward(5 * 365 * DAY)
    assert broker.jwks() == first
    assert kid_of(Login(register(broker.base)).tokens()["access_token"]) in first


def test_new_keys_at_once_just_before_the_next_ones_end_nothing(broker: Broker) -> None:
    """A function that has not read the document anew begins with the next keys, which the operator's have overtaken."""
    client = register(broker.base)
    tokens = Login(client).tokens()
    broker.just_before(broker.rotate())
    remembered = secrets_manager.document(broker.local)
    broker.operator_rotates()
    broker.forward(1)
    remembering(remembered, broker)
    of_the_next = good(refresh(client, tokens["refresh_token"]))
    assert key_id_of(of_the_next["refresh_token"]) == key_id_of(tokens["refresh_token"]) + 1
    remembering(secrets_manager.document(broker.local), broker)
    assert broker.verifies(of_the_next["access_token"], broker.base)
    assert good(userinfo(broker.base, of_the_next["access_token"]))["sub"]
    of_the_operator = good(refresh(client, of_the_next["refresh_token"]))
    assert key_id_of(of_the_operator["refresh_token"]) == key_id_of(tokens["refresh_token"]) + 2


def test_a_first_document_by_a_clock_that_is_ahead(broker: Broker) -> None:
    ahead = new_document(broker.now + 240)
    operator = secrets_manager.operators_client(broker.local.aws_endpoint)
    operator.put_secret_value(SecretId=secrets_manager.secret_id(broker.local), SecretString=ahead)
    runtime().forget()
    client = register(broker.base)
    tokens = Login(client).tokens()
    assert broker.verifies(tokens["access_token"], broker.base)
    broker.forward(240)
    assert good(refresh(client, tokens["refresh_token"]))["refresh_token"]


# -- what is under way when the new keys come into use -------------------------------------------------------------


def test_logins_under_way_go_on(broker: Broker) -> None:
    """A pushed request, a state at the provider, a code, a device code: each is made with the old key and used with the new."""
    client = register(broker.base)
    television = register(broker.base, grant_types=("urn:ietf:params:oauth:grant-type:device_code", "refresh_token"))
    broker.just_before(broker.rotate())

    pushed, begun, coded = Login(client), Login(client), Login(client)
    pushed.authorize_url()
    answer = post_form(f"{broker.base}/par", pushed.parameters | client.credentials())
    assert answer.status_code == 201
    back = begun.callback_url()
    coded.run()
    device = Device(television).begin()
    assert key_id_of(coded.answer["code"]) == key_id_of(device.answer["device_code"])

    broker.forward(1)
    asked = {"client_id": client.client_id, "request_uri": answer.json()["request_uri"]}
    started = pushed.browser.get(f"{broker.base}/authorize?{urlencode(asked)}")
    pushed.read_answer(pushed.browser.get(pushed.at_provider(started)))
    begun.read_answer(begun.browser.get(back))
    assert key_id_of(begun.answer["code"]) == key_id_of(coded.answer["code"]) + 1
    for login in (pushed, begun, coded):
        tokens = good(login.redeem())
        assert good(userinfo(broker.base, tokens["access_token"]))["sub"]
        assert good(refresh(client, tokens["refresh_token"]))["refresh_token"]
    refused(device.poll(), 400, "authorization_pending")
    broker.forward(6)
    assert Person(broker.base).approve(device.user_code).status_code == 200
    broker.forward(6)
    good(userinfo(broker.base, good(device.poll())["access_token"]))


def test_a_third_partys_question_and_a_dpop_nonce_outlive_the_change(broker: Broker) -> None:
    client = register(broker.base, first_party=False)
    key = DPoPKey()
    broker.just_before(broker.rotate())
    login = Login(client)
    page = login.browser.follow(login.browser.get(login.callback_url()))
    assert page.status_code == 200
    key.learn_nonce(broker.base)
    nonce = key.nonce
    broker.forward(1)
    login.read_answer(login.browser.submit(page, {"decision": "allow"}))
    form = login.code_form() | client.credentials()
    url = f"{broker.base}/token"
    tokens = good(key.post(url, form, key.proof("POST", url, iat=broker.now)))
    assert tokens["token_type"] == "DPoP"
    assert key.nonce != nonce
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]} | client.credentials()
    key.nonce = nonce
    good(key.post(url, form, key.proof("POST", url, iat=broker.now)))


def test_a_retried_refresh_gets_the_same_successor_across_the_change(broker: Broker) -> None:
    """REF-95: the answer was lost just before the new key came into use."""
    client = register(broker.base)
    token = Login(client).tokens()["refresh_token"]
    broker.just_before(broker.rotate())
    token = good(refresh(client, token))["refresh_token"]
    first = good(refresh(client, token))["refresh_token"]
    broker.forward(20)
    again = good(refresh(client, token))["refresh_token"]
    assert again == first
    following = good(refresh(client, again))["refresh_token"]
    assert key_id_of(following) == key_id_of(first) + 1
    refused(refresh(client, token), 400, "invalid_grant")


# -- what lives long -----------------------------------------------------------------------------------------------


def test_refresh_tokens_live_through_two_rotations_until_their_idle_end(broker: Broker) -> None:
    """And a used one is still known for what it is: its reuse ends the login, however many keys have come since."""
    client = register(broker.base, idle_lifetime=40 * DAY, absolute_lifetime=400 * DAY)
    dead, login = Login(client).tokens()["refresh_token"], Login(client)
    broker.just_before(broker.rotate())
    first = good(refresh(client, login.tokens()["refresh_token"]))["refresh_token"]
    made_at = broker.now
    broker.forward(30 * DAY)
    broker.rotate()
    broker.now = made_at + 40 * DAY - 1
    second = good(refresh(client, first))
    assert key_id_of(second["refresh_token"]) == key_id_of(first) + 2
    assert good(userinfo(broker.base, second["access_token"]))["sub"]
    refused(refresh(client, dead), 400, "invalid_grant")
    broker.forward(39 * DAY)
    latest = good(refresh(client, second["refresh_token"]))["refresh_token"]
    refused(refresh(client, first), 400, "invalid_grant")
    refused(refresh(client, latest), 400, "invalid_grant")


@pytest.mark.parametrize(
    ("dialect", "lifetime"),
    [("lockitnetwork", 7 * DAY), ("iternio", 90 * DAY)],
)
def test_the_long_tokens_of_dialects_work_until_their_own_end(broker: Broker, dialect: str, lifetime: int) -> None:
    """A signed token for 7 days, and a sealed one for as long as the login."""
    client = register(broker.base, secret=True, providers=(dialect,), dialect=dialect)
    broker.just_before(broker.rotate())
    token = token_of_dialect(client, dialect)
    made_at = broker.now
    for _ in range(2):
        broker.forward((lifetime - DAY) // 3)
        broker.rotate()
    broker.now = made_at + lifetime - 1
    assert is_active(client, token)
    if dialect == "iternio":
        good(requests.get(f"{broker.base}/1/oauth/me", params={"access_token": token}, timeout=TIMEOUT))
    else:
        assert broker.verifies(token, broker.base)
    broker.forward(1)
    assert not is_active(client, token)


def token_of_dialect(client: TestClient, dialect: str) -> str:
    """The access token of a login by the guide's own paths."""
    paths = {"lockitnetwork": ("/oauth/authorize", "/oauth/access-token"), "iternio": ("/oauth/auth", "/1/oauth/token")}
    authorize, token = paths[dialect]
    login = Login(client)
    asked = {"response_type": "code", "client_id": client.client_id, "redirect_uri": client.redirect_uri}
    back = login.at_provider(login.browser.get(f"{client.base}{authorize}?{urlencode(asked)}"))
    login.read_answer(login.browser.get(back))
    form = {"grant_type": "authorization_code", "redirect_uri": client.redirect_uri}
    form |= {"code": login.answer.get("code") or login.answer["auth_code"]}
    if dialect == "lockitnetwork":
        answer = post_form(f"{client.base}{token}", form, auth=(client.client_id, str(client.secret)))
    else:
        answer = post_form(f"{client.base}{token}", form | client.credentials())
    return str(good(answer)["access_token"])


def is_active(client: TestClient, token: str) -> bool:
    return bool(good(post_form(f"{client.base}/introspect", {"token": token} | client.credentials()))["active"])


@pytest.mark.parametrize("form", ["jwt", "opaque"])
def test_access_tokens_of_a_day_and_the_providers_tokens_work_until_their_end(broker: Broker, form: str) -> None:
    """The provider's tokens are sealed under what the client holds, so no rotation touches them."""
    client = register(broker.base, access_token_lifetime=DAY, access_token_format=form)
    broker.just_before(broker.rotate())
    tokens = Login(client).tokens()
    broker.forward(DAY // 2)
    broker.rotate()
    broker.forward(DAY // 2 - CACHE_SECONDS - 1)
    assert good(userinfo(broker.base, tokens["access_token"]))["email"]
    broker.forward(1)
    refused(userinfo(broker.base, tokens["access_token"]), 401, "invalid_token")
    assert good(refresh(client, tokens["refresh_token"]))["access_token"]


def test_an_id_token_from_before_still_says_which_login_is_to_end(broker: Broker) -> None:
    """OpenID Connect RP-Initiated Logout section 2: it may have expired, and its key has retired."""
    client = register(broker.base, idle_lifetime=400 * DAY, absolute_lifetime=400 * DAY)
    login = Login(client)
    tokens = login.tokens()
    kid = kid_of(tokens["id_token"])
    used_from = broker.rotate()
    broker.now = used_from + lives().signing
    assert kid not in broker.jwks()
    for _ in range(2):  # the key is still in the document, and then only its public half
        kept = Login(client).tokens()
        refresh_token, hint = tokens["refresh_token"], tokens["id_token"]
        good(refresh(client, refresh_token))
        answer = requests.get(
            f"{broker.base}/logout", params={"id_token_hint": hint}, allow_redirects=False, timeout=TIMEOUT
        )
        assert answer.status_code == 200
        refused(refresh(client, refresh_token), 400, "invalid_grant")
        tokens = kept
        broker.forward(30 * DAY)
        broker.rotate()
        broker.forward(LEAD + lives().signing)
        broker.rotate()
    document = parse(secrets_manager.document(broker.local))
    assert kid in {key.kid for key in document.past}
    assert kid not in {key.kid for key in document.signing}


# -- functions that remember the old keys --------------------------------------------------------------------------


def remembering(text: str, broker: Broker) -> None:
    """The function has read this document just now, and goes on with it."""
    reader = runtime().keys._reader
    reader.forget()
    reader._cache[secrets_manager.secret_id(broker.local)] = (text, broker.now + CACHE_SECONDS)
    broker.read = 0


def test_no_function_makes_what_another_does_not_know(broker: Broker) -> None:
    """During the lead time every function reads the keys again; so one that read them just before a rotation never meets
    a key of it that it does not know."""
    old = secrets_manager.document(broker.local)
    secrets_manager.rotate(broker.local)
    published_at = broker.now
    remembering(old, broker)
    token = Login(register(broker.base)).tokens()["refresh_token"]
    assert broker.read == 1  # the provider's secret
    broker.forward(CACHE_SECONDS)
    broker.jwks()
    assert broker.now < published_at + LEAD - CACHE_SECONDS
    assert runtime().keys._reader.read(secrets_manager.secret_id(broker.local)) != old
    assert key_id_of(token) == runtime().keys.ring().handle_key().id


@pytest.mark.parametrize("form", ["jwt", "opaque"])
def test_a_function_that_meets_a_key_of_an_emergency_looks_once_more(broker: Broker, form: str) -> None:
    """`keys rotate --now`: used at once, while others remember the old keys for minutes."""
    client = register(broker.base, access_token_format=form)
    runtime().client(client.client_id)
    old = secrets_manager.document(broker.local)
    broker.operator_rotates()
    runtime().forget()
    tokens = Login(client).tokens()
    uses: list[Callable[[], requests.Response]] = [
        lambda: userinfo(broker.base, tokens["access_token"]),
        lambda: refresh(client, tokens["refresh_token"]),
    ]
    for use in uses:
        remembering(old, broker)
        good(use())
        assert broker.read == 1
        good(use())
        assert broker.read == 1


def test_a_key_that_may_be_new_is_never_refused_without_a_look(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody's made-up token used the look up; the next, genuine one is asked to come back, and its login lives."""
    client = register(broker.base)
    token = Login(client).tokens()["refresh_token"]
    old = secrets_manager.document(broker.local)
    remembering(old, broker)
    raw = from_b64url(token[4:])
    made_up = raw[:1] + (key_id_of(token) + 1).to_bytes(2, "big") + raw[3:]
    refused(refresh(client, f"tbr_{b64url(made_up)}"), 400, "invalid_grant")
    assert broker.read == 1

    broker.operator_rotates()
    remembering(secrets_manager.document(broker.local), broker)  # another function, that has read the new keys
    genuine = good(refresh(client, token))["refresh_token"]
    assert key_id_of(genuine) == key_id_of(token) + 1
    remembering(old, broker)
    runtime().keys._reader._reread_at[secrets_manager.secret_id(broker.local)] = broker.now
    waiting = refresh(client, genuine)
    refused(waiting, 503, "temporarily_unavailable")
    assert waiting.headers["retry-after"] == "2"
    assert broker.read == 0
    assert "keys.not_known" in caplog.messages
    assert "store.unavailable" not in caplog.messages, "a stranger could roll a deployment back"
    broker.forward(REREAD_SECONDS)
    good(refresh(client, genuine))
    assert broker.read == 1


def test_secrets_manager_being_down_is_no_reason_to_refuse(broker: Broker) -> None:
    """What is known stays in use; for a key that may be new the client is asked to come back."""
    client = register(broker.base)
    token = Login(client).tokens()["refresh_token"]
    old = secrets_manager.document(broker.local)
    broker.operator_rotates()
    remembering(secrets_manager.document(broker.local), broker)
    genuine = good(refresh(client, token))["refresh_token"]
    remembering(old, broker)
    with secrets_manager.down():
        refused(refresh(client, genuine), 503, "temporarily_unavailable")
        broker.forward(2 * CACHE_SECONDS)
        good(userinfo(broker.base, Login(client).tokens()["access_token"]))
    good(refresh(client, genuine))


def test_made_up_kids_cannot_make_the_broker_read_at_will(broker: Broker) -> None:
    """One look in REREAD_SECONDS, however many come."""
    client = register(broker.base)
    token = Login(client).tokens()["access_token"]
    header = {"typ": "at+jwt"}
    claims = jwt.decode(token, options={"verify_signature": False})
    broker.read = 0
    for number in range(5):
        foreign = jwt.encode(claims, DPoPKey().key, "ES256", headers=header | {"kid": f"{number:043}"})
        refused(userinfo(broker.base, foreign), 401, "invalid_token")
    assert broker.read == 1
    good(userinfo(broker.base, token))


def test_a_revoked_key_is_good_for_nothing(broker: Broker) -> None:
    """What it made is refused, what other keys made lives on, and new logins work at once."""
    client = register(broker.base)
    tokens, other = Login(client).tokens(), Login(client, "infolobby").tokens()
    broker.operator_rotates(kid_of(tokens["access_token"]))
    runtime().forget()
    refused(userinfo(broker.base, tokens["access_token"]), 401, "invalid_token")
    renewed = good(refresh(client, tokens["refresh_token"]))
    good(userinfo(broker.base, renewed["access_token"]))
    broker.operator_rotates(f"handle:{key_id_of(other['refresh_token'])}")
    runtime().forget()
    refused(refresh(client, other["refresh_token"]), 400, "invalid_grant")
    good(refresh(client, renewed["refresh_token"]))
    good(refresh(client, Login(client).tokens()["refresh_token"]))


# -- the four steps ------------------------------------------------------------------------------------------------


def test_the_four_steps(broker: Broker) -> None:
    """Nothing counts before the last; each may come twice; the log names keys and shows none."""
    before = secrets_manager.document(broker.local)
    token = secrets_manager.begin(broker.local)
    logged = len(broker.local.log_text())
    for step in secrets_manager.STEPS[:3]:
        assert secrets_manager.call(broker.local, step, token) is None
        pending = secrets_manager.document(broker.local, "AWSPENDING")
        assert secrets_manager.call(broker.local, step, token) is None
        assert secrets_manager.document(broker.local, "AWSPENDING") == pending != before
        assert secrets_manager.document(broker.local) == before
    secrets_manager.call(broker.local, "finishSecret", token)
    secrets_manager.call(broker.local, "finishSecret", token)
    assert secrets_manager.document(broker.local) == pending
    log = broker.local.log_text()[logged:]
    entries = [json.loads(line) for line in log.splitlines() if "keys.rotated" in line]
    assert [entry["step"] for entry in entries] == ["createSecret", "finishSecret"]
    new = parse(pending)
    assert entries[1]["added"].split() == [
        f"handle:{new.handle[-1].id}",
        f"sealing:{new.sealing[-1].id}",
        *(new.signing[index].kid for index in (1, 3)),
    ]
    for part in (*json.loads(pending)["handle"], *json.loads(pending)["sealing"]):
        assert part["secret"] not in log
    assert "PRIVATE KEY" not in log


def failing(broker: Broker, step: str, token: str, because: str) -> None:
    """The step fails for this reason, which is logged, and the present keys stay."""
    before, logged = secrets_manager.document(broker.local), len(broker.local.log_text())
    with pytest.raises(RotationFailed) as failed:
        secrets_manager.call(broker.local, step, token)
    assert str(failed.value) == f"{step}: {because}"
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__
    (entry,) = [json.loads(line) for line in broker.local.log_text()[logged:].splitlines() if "keys.rot" in line]
    assert (entry["audit"], entry["detail"]) == ("keys.rotation_failed", because)
    assert secrets_manager.document(broker.local) == before


def test_a_step_that_does_not_fit_is_refused(broker: Broker) -> None:
    """As AWS's own templates do: only for a version that waits, of this secret, with rotation switched on."""
    token = secrets_manager.begin(broker.local)
    failing(broker, "createSecret", "0" * 36, "the secret has no such version")
    failing(broker, "finishSecret", token, "the new version has no value")
    event = {"Step": "createSecret", "SecretId": "another", "ClientRequestToken": token}
    with pytest.raises(RotationFailed, match=r"^createSecret: this function rotates another secret$"):
        broker.local.invoke("RotateFunction", event)
    with pytest.raises(RotationFailed, match=r"^rotation: there is no such step$"):
        broker.local.invoke(
            "RotateFunction", event | {"Step": "x", "SecretId": secrets_manager.secret_id(broker.local)}
        )
    previous = secrets_manager.rotate(broker.local)
    secrets_manager.rotate(broker.local)
    failing(broker, "testSecret", previous, "the version is not one that waits for its rotation")
    with secrets_manager.switched_off(broker.local):
        failing(broker, "createSecret", token, "rotation is not switched on for this secret")


def test_a_document_that_lost_a_key_does_not_become_the_present_one(broker: Broker) -> None:
    token = secrets_manager.begin(broker.local)
    secrets_manager.call(broker.local, "createSecret", token)
    broken = json.loads(secrets_manager.document(broker.local, "AWSPENDING"))
    name = f"handle:{broken['handle'][0]['id']}"
    broken["handle"] = [broken["handle"][-1] | {"active_from": 0}]
    secrets_manager.overwrite(broker.local, token, json.dumps(broken))
    failing(broker, "testSecret", token, f"keys that are still needed are missing or changed: {name}")
    assert not secrets_manager.is_pending(broker.local)
    secrets_manager.rotate(broker.local)


@pytest.mark.parametrize("step", ["createSecret", "testSecret", "finishSecret"])
def test_a_document_that_cannot_be_read_does_not_wait_for_ever(broker: Broker, step: str) -> None:
    """RotateSecret begins nothing while AWSPENDING is on another version than AWSCURRENT."""
    token = secrets_manager.begin(broker.local)
    secrets_manager.call(broker.local, "createSecret", token)
    secrets_manager.overwrite(broker.local, token, '{"planted": "secret"}')
    failing(broker, step, token, "the key document is not in the form this version reads")
    assert not secrets_manager.is_pending(broker.local)
    secrets_manager.rotate(broker.local)


LATE = (
    r": the rotation took too long: (?=.*handle:\d+, )(?=.*sealing:\d+).* would be used too soon after they are published;"
    " the next rotation makes others$"
)


@pytest.mark.parametrize("late", secrets_manager.STEPS[:1] + secrets_manager.STEPS[2:])
@pytest.mark.parametrize("delay", [MOST_DELAY + 1, 2 * DAY, 7 * DAY + 3 * 3600])
def test_keys_that_waited_too_long_are_never_published(broker: Broker, late: str, delay: int) -> None:
    """META-11. A step that failed is repeated a day later: what is used at once has been published to nobody, and a token
    of the key before would end with it."""
    client = register(broker.base, access_token_lifetime=DAY)
    token = secrets_manager.begin(broker.local)
    steps = secrets_manager.STEPS
    for step in steps[: max(1, steps.index(late))]:
        secrets_manager.call(broker.local, step, token)
    broker.forward(delay)
    before, published = secrets_manager.document(broker.local), broker.jwks()
    last = Login(client).tokens()
    with pytest.raises(RotationFailed, match=f"^{late}{LATE}"):
        secrets_manager.call(broker.local, late, token)
    assert not secrets_manager.is_pending(broker.local)
    assert secrets_manager.document(broker.local) == before
    assert broker.jwks() == published
    broker.forward(DAY - CACHE_SECONDS - 1)
    broker.rotate()
    assert good(userinfo(broker.base, last["access_token"]))["sub"]
    assert kid_of(Login(client).tokens()["access_token"]) in published


def test_a_step_may_come_an_hour_late(broker: Broker) -> None:
    """As Secrets Manager repeats a step that failed. Nobody meets a key that was not published for most of a day."""
    token = secrets_manager.begin(broker.local)
    for step in secrets_manager.STEPS[:3]:
        secrets_manager.call(broker.local, step, token)
    used_from = broker.now + LEAD
    broker.forward(MOST_DELAY)
    for step in secrets_manager.STEPS:
        secrets_manager.call(broker.local, step, token)
    broker.forward(CACHE_SECONDS)
    published = broker.jwks()
    broker.now = used_from
    assert kid_of(Login(register(broker.base)).tokens()["access_token"]) in published


def test_an_answer_that_is_lost_makes_no_failed_rotation(broker: Broker) -> None:
    """The last step's write is repeated by the AWS client, and finds that it has been done."""
    token = secrets_manager.begin(broker.local)
    for step in secrets_manager.STEPS[:3]:
        secrets_manager.call(broker.local, step, token)
    logged = len(broker.local.log_text())
    with secrets_manager.answer_lost("UpdateSecretVersionStage") as lost:
        secrets_manager.call(broker.local, "finishSecret", token)
    assert lost == ["UpdateSecretVersionStage"]
    assert secrets_manager.current(broker.local) == token
    assert not secrets_manager.is_pending(broker.local)
    assert "keys.rotation_failed" not in broker.local.log_text()[logged:]
    secrets_manager.rotate(broker.local)


def test_keys_that_changed_meanwhile_are_not_overwritten(broker: Broker) -> None:
    """An operator's emergency in the middle of a scheduled rotation: his keys stay, and the schedule goes on afterwards."""
    token = secrets_manager.begin(broker.local)
    secrets_manager.call(broker.local, "createSecret", token)
    broker.operator_rotates()
    failing(broker, "finishSecret", token, "the version is not one that waits for its rotation")
    secrets_manager.rotate(broker.local)


@pytest.mark.parametrize("step", ["createSecret", "testSecret", "finishSecret"])
def test_keys_that_do_not_follow_the_present_ones_are_given_up(broker: Broker, step: str) -> None:
    """Whichever step sees it: the version does not stay, and the next rotation can begin."""
    token = secrets_manager.begin(broker.local)
    secrets_manager.call(broker.local, "createSecret", token)
    secrets_manager.overwrite(broker.local, secrets_manager.current(broker.local), new_document(broker.now))
    with pytest.raises(
        RotationFailed,
        match=rf"^{step}: keys that are still needed are missing or changed: (?=.*handle:1,).*sealing:1",
    ):
        secrets_manager.call(broker.local, step, token)
    assert not secrets_manager.is_pending(broker.local)
    secrets_manager.rotate(broker.local)


def test_before_there_are_keys(broker: Broker) -> None:
    """Switching the rotation on tests the function, which must not fail; a rotation then waits for `keys init`."""
    with secrets_manager.without_keys(broker.local):
        token = secrets_manager.begin(broker.local)
        assert secrets_manager.call(broker.local, "testSecret", token) is None
        with pytest.raises(
            RotationFailed, match=r"^createSecret: there are no keys yet; `broker keys init` makes them$"
        ):
            secrets_manager.call(broker.local, "createSecret", token)
        assert not secrets_manager.is_pending(broker.local)
        keys = new_document(broker.now)
        secrets_manager.operators_client(broker.local.aws_endpoint).put_secret_value(
            SecretId=secrets_manager.secret_id(broker.local), SecretString=keys
        )
        secrets_manager.rotate(broker.local)
        assert len(parse(secrets_manager.document(broker.local)).handle) == 2


def test_who_writes_the_keys(broker: Broker) -> None:
    """No function that answers requests could, even if it wanted to."""
    assert {loaded.function.name for loaded in broker.local._functions if may_write(loaded.function)} == {
        "RotateFunction"
    }
    assert SLACK > CACHE_SECONDS


def may_write(function: Any) -> bool:
    return any(permission.action == "secretsmanager:PutSecretValue" for permission in function.permissions)
