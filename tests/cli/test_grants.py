"""`broker grant`: why was this user logged out? Logins are put into the table as each step leaves them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from broker.grants.reconnect_request import OTHER_ACCOUNT
from broker.store.attributes import item
from broker.store.grants import Grant, new_grant_id
from broker_cli import connection
from broker_cli.grants import END_DETAILS, END_REASONS
from broker_local.server import PROJECT
from broker_local.template import REGION
from broker_testing.event_bus import documented

from .conftest import Operator

BROKER_TOKENS = ("tbc_", "tbr_", "tba_", "tbs_", "tbp_", "tbd_", "tbn_", "tbi_", "tbg_")
PLANTED = ("planted", "PLANTED", "UExBTlRF")
DAY = 86400


def _login(operator: Operator, stage: str = "login") -> Grant:
    """A login at one of the stages before the first token, with everything in it that must not be shown."""
    login = Grant(
        grant_id=new_grant_id(),
        stage=stage,
        client_id="app",
        provider="github",
        created_at=operator.now,
        expires_at=operator.now + 60,
        redirect_uri="https://app.example/callback?planted",
        scope=("openid", "email"),
        state="planted-state",
        code_challenge="planted-challenge",
        nonce="planted-nonce",
        browser_hash=b"PLANTED-BROWSER",
        code_hash=b"PLANTED-CODE",
        secret_hash=b"PLANTED-SECRET",
        code_sealed=b"PLANTED-SEALED",
    )
    operator.grants.begin(login)
    return login


def _active(
    operator: Operator,
    subject: str = "octocat",
    refreshes: int = 0,
    handle_key: int = 1,
    client_id: str = "app",
    idle: int = 14 * DAY,
) -> Grant:
    """A login that is active since now, last refreshed now, with the provider's tokens beside it."""
    active = Grant(
        grant_id=new_grant_id(),
        stage="active",
        client_id=client_id,
        provider="github",
        created_at=operator.now,
        expires_at=operator.now + idle,
        scope=("openid", "email"),
        subject=subject,
        secret_hash=b"PLANTED-SECRET",
        generation=1 + refreshes,
        handle_key=handle_key,
        rotated_at=operator.now,
        absolute_expires_at=operator.now + 90 * DAY,
    )
    operator.grants.begin(active)
    table = operator.environment["BROKER_GRANTS_TABLE"]
    link = {"provider": "github", "sealed": b"PLANTED-TOKENS", "version": 1, "lease_until": 0, "cool_until": 0}
    operator.aws("dynamodb").put_item(TableName=table, Item=item({"pk": active.grant_id, "sk": "upstream", **link}))
    return active


@pytest.fixture
def registered(operator: Operator) -> Operator:
    """With the client and the provider that the logins name."""
    operator.add_provider("github")
    operator.add_client("--client-id", "app")
    return operator


def test_show_an_active_login(registered: Operator) -> None:
    began = registered.now - 7200
    grant = replace(_active(registered, refreshes=1), created_at=began)
    registered.aws("dynamodb").update_item(
        TableName=registered.environment["BROKER_GRANTS_TABLE"],
        Key=item({"pk": grant.grant_id, "sk": "grant"}),
        UpdateExpression="SET created_at = :began, absolute_expires_at = :absolute",
        ExpressionAttributeValues=item({":began": began, ":absolute": began + 90 * DAY}),
    )
    registered.forward(60)
    assert registered.json("grant", "show", grant.grant_id) == {
        "grant_id": grant.grant_id,
        "client_id": "app",
        "provider": "github",
        "subject": "octocat",
        "stage": "active",
        "expired": None,
        "explanation": "The person is logged in.",
        "client_problem": None,
        "end_reason": None,
        "end_detail": None,
        "reconnect_required": False,
        "recovered_by": None,
        "reconnects": None,
        "ended_at": None,
        "created_at": began,
        "last_refresh_at": began + 7200,
        "refreshes": 1,
        "idle_expires_at": began + 7200 + 14 * DAY,
        "absolute_expires_at": began + 90 * DAY,
        "step_expires_at": None,
        "scope": ["openid", "email"],
        "missing_scope": [],
        "resource": [],
        "upstream": {
            "version": 1,
            "due_at": None,
            "lease_until": None,
            "leased": False,
            "cool_until": None,
            "cooling_down": False,
            "refusals": 0,
            "refused_since": None,
        },
    }
    text = registered("grant", "show", grant.grant_id).out
    assert "why                The person is logged in.\n" in text
    assert "(2 h ago)\nlast refresh " in text
    assert "(60 s ago)\nrefreshes          1\n" in text
    assert "(in 13 days)\nabsolute expiry " in text
    assert text.endswith("(in 89 days)\nprovider's tokens  sealed, version 1\n")
    assert "passed" not in text


@pytest.mark.parametrize(
    ("stage", "waiting", "stopped"),
    [
        ("pushed", "The client pushed its request and has", "The client never sent the person"),
        ("login", "The person is at the provider.", "The person did not come back from the provider in time."),
        (
            "exchange",
            "The provider's code is being exchanged.",
            "The exchange of the provider's code was never finished.",
        ),
        (
            "consent",
            "The person is being asked for consent.",
            "The person did not answer the broker's question in time.",
        ),
        ("code", "The client has its code and has not redeemed it yet.", "The client did not redeem its code in time."),
        ("new", "It is at the stage new.", "It stopped at the stage new."),
    ],
)
def test_each_step_is_explained(registered: Operator, stage: str, waiting: str, stopped: str) -> None:
    grant = _login(registered, stage)
    document = registered.json("grant", "show", grant.grant_id)
    assert (document["stage"], document["expired"], document["subject"]) == (stage, None, None)
    assert document["explanation"].startswith(waiting)
    assert document["step_expires_at"] == registered.now + 60
    assert ", passed" not in registered("grant", "show", grant.grant_id).out
    registered.forward(60)
    document = registered.json("grant", "show", grant.grant_id)
    assert (document["stage"], document["expired"]) == (stage, "step")
    assert document["explanation"].startswith(stopped)
    assert ", passed" in registered("grant", "show", grant.grant_id).out


def test_expiry_is_explained(registered: Operator) -> None:
    grant = _active(registered)
    registered.forward(14 * DAY - 1)
    assert registered.json("grant", "show", grant.grant_id)["expired"] is None
    registered.forward(1)
    document = registered.json("grant", "show", grant.grant_id)
    assert document["expired"] == "idle"
    assert "not refreshed in time (idle expiry)" in document["explanation"]
    assert "(now), passed" in registered("grant", "show", grant.grant_id).out
    registered.forward(76 * DAY)
    document = registered.json("grant", "show", grant.grant_id)
    assert document["expired"] == "absolute"
    assert "absolute end" in document["explanation"]


def test_every_reason_that_the_broker_writes_has_a_sentence() -> None:
    written: set[str] = set()
    for source in (PROJECT / "layers" / "broker" / "broker").rglob("*.py"):
        for arguments in re.findall(r"\b(?:grants|ending)\.end\(((?:[^()]|\([^()]*\))*)\)", source.read_text("utf-8")):
            written |= set(re.findall(r'"([a-z_]+)"', arguments))
    assert written >= {"reuse", "revoked", "code_replay", "upstream_revoked", "logout", "denied", "login_failed"}
    assert written | {"operator"} == set(END_REASONS)
    documented = re.findall(r"^\| `([a-z_]+)` \|", (PROJECT / "docs" / "operating.md").read_text("utf-8"), re.MULTILINE)
    assert set(documented) == set(END_REASONS)


@pytest.mark.parametrize("reason", END_REASONS)
def test_each_end_is_explained(registered: Operator, reason: str) -> None:
    grant = _active(registered)
    registered.forward(30)
    assert registered.grants.end(grant.grant_id, reason)
    document = registered.json("grant", "show", grant.grant_id)
    to_do = " The person has to reconnect." if reason == "upstream_revoked" else ""
    assert document["explanation"] == END_REASONS[reason] + to_do
    assert (document["stage"], document["end_reason"]) == ("ended", reason)
    assert document["ended_at"] == registered.now
    text = registered("grant", "show", grant.grant_id).out
    assert f"stage              ended: {reason}\n" in text
    assert END_REASONS[reason] in text


@pytest.mark.parametrize(("reason", "detail"), END_DETAILS)
def test_what_a_reason_leaves_open_is_explained(registered: Operator, reason: str, detail: str) -> None:
    grant = _active(registered)
    assert registered.grants.end(grant.grant_id, reason, detail=detail)
    document = registered.json("grant", "show", grant.grant_id)
    before, after = END_DETAILS[reason, detail].split("{when}")
    assert document["explanation"].startswith(before)
    assert f" (now){after}" in document["explanation"]
    assert (document["end_reason"], document["end_detail"]) == (reason, detail)
    assert document["reconnect_required"] is (reason == "upstream_revoked")
    assert before in registered("grant", "show", grant.grant_id).out


def test_every_detail_that_the_broker_writes_has_a_sentence() -> None:
    """The codes of the vault and of a reconnect with another account."""
    vault = (PROJECT / "layers" / "broker" / "broker" / "grants" / "vault.py").read_text("utf-8")
    reasons = {*re.findall(r'(?:LinkDead\(|_last_word\(.*, )"([a-z_]+)"\)', vault), "gone"}
    written = {("upstream_revoked", reason) for reason in reasons} | {("denied", OTHER_ACCOUNT)}
    assert written == set(END_DETAILS)
    assert {reason for _, reason in written} - {OTHER_ACCOUNT} == {
        *documented("Schema")["properties"]["reason"]["enum"]
    }


def test_who_has_to_reconnect(registered: Operator) -> None:
    """Until another login of the same person has taken the place."""
    dead, other, alive = (_active(registered) for _ in range(3))
    for grant, reason in ((dead, "upstream_revoked"), (other, "logout")):
        assert registered.grants.end(grant.grant_id, reason, detail="refused" if grant is dead else "")
    waiting = registered.json("grant", "list", "--client", "app", "--reconnect")
    assert [one["grant_id"] for one in waiting] == [dead.grant_id]
    ended = registered.grants.read_grant(dead.grant_id)
    assert ended is not None
    assert registered.grants.mark_recovered(dead.grant_id, by=alive)
    assert registered.json("grant", "list", "--client", "app", "--reconnect") == []
    document = registered.json("grant", "show", dead.grant_id)
    assert (document["recovered_by"], document["reconnect_required"]) == (alive.grant_id, False)
    assert f"the login {alive.grant_id} took its place" in registered("grant", "show", dead.grant_id).out


def test_only_the_same_persons_login_takes_anothers_place(registered: Operator) -> None:
    dead = _active(registered)
    assert registered.grants.mark_recovered(dead.grant_id, by=_active(registered)) is None, "it has not ended"
    registered.grants.end(dead.grant_id, "upstream_revoked")
    assert registered.grants.mark_recovered(dead.grant_id, by=_active(registered, "somebody-else")) is None
    elsewhere = replace(_active(registered), provider="google")
    assert registered.grants.mark_recovered(dead.grant_id, by=elsewhere) is None
    another_clients = replace(_active(registered), client_id="other")
    assert registered.grants.mark_recovered(dead.grant_id, by=another_clients) is None
    first, second = _active(registered), _active(registered)
    assert registered.grants.mark_recovered(dead.grant_id, by=first)
    assert registered.grants.mark_recovered(dead.grant_id, by=second) is None


def test_what_the_provider_did_not_grant_is_shown(registered: Operator) -> None:
    grant = _active(registered)
    assert registered.grants.note_missing_scope(grant, ("email",))
    assert not registered.grants.note_missing_scope(grant, ("email",)), "it is noted already"
    document = registered.json("grant", "show", grant.grant_id)
    assert (document["scope"], document["missing_scope"]) == (["openid"], ["email"])
    assert "\nnot granted        email\n" in registered("grant", "show", grant.grant_id).out


def test_an_unknown_reason_is_shown_as_it_is(registered: Operator) -> None:
    grant = _active(registered)
    registered.grants.end(grant.grant_id, "something_new")
    text = registered("grant", "show", grant.grant_id).out
    assert "It ended; the reason noted is something_new." in text


def test_a_disabled_client_is_named_as_the_cause(registered: Operator) -> None:
    grant = _active(registered)
    registered.json("client", "disable", "app", "--yes")
    assert "Its client app is disabled, so none of its tokens works." in registered("grant", "show", grant.grant_id).out
    registered.json("client", "remove", "app", "--yes")
    problem = registered.json("grant", "show", grant.grant_id)["client_problem"]
    assert problem == "Its client app has been removed, so none of its tokens works."


def test_a_client_with_a_document_is_not_taken_for_one_that_was_removed(registered: Operator) -> None:
    client_id = "https://app.example/client.json"
    assert registered("grant", "list", "--client", client_id).out == "No login found.\n"
    grant = _active(registered, client_id=client_id)

    def problem() -> str | None:
        found: str | None = registered.json("grant", "show", grant.grant_id)["client_problem"]
        return found

    def policy(*words: str) -> None:
        registered.json("registration", "set", "--provider", "github", *words)

    refused = "is described by a document, and the registration policy lets none of that host count"
    assert refused in (problem() or ""), "documents are off by default"
    policy("--cimd")
    assert problem() is None
    assert "why                The person is logged in.\n" in registered("grant", "show", grant.grant_id).out
    policy("--allow-host", "other.example")
    assert refused in (problem() or "")
    policy("--allow-host", "app.example")
    assert problem() is None
    registered.json("provider", "disable", "github", "--yes")
    assert problem() == "Its provider github is disabled, so nothing can be refreshed there."
    registered.add_client("--client-id", client_id)
    registered.json("client", "disable", client_id, "--yes")
    assert problem() == f"Its client {client_id} is disabled, so none of its tokens works."


def test_what_the_operator_changed_at_the_client_is_named_as_the_cause(registered: Operator) -> None:
    grant = _active(registered)

    def problem() -> str | None:
        found: str | None = registered.json("grant", "show", grant.grant_id)["client_problem"]
        return found

    registered.json("client", "update", "app", "--dpop")
    assert "has to bind its tokens to a key (DPoP) and has bound none of this login" in (problem() or "")
    registered.json("client", "update", "app", "--no-dpop", "--grant-type", "authorization_code")
    assert problem() == "Its client app may not use the grant type refresh_token any more, so every refresh is refused."
    registered.forward(14 * DAY)
    explanation = registered.json("grant", "show", grant.grant_id)["explanation"]
    assert explanation == "Its access token has expired, and its client is given no refresh tokens."
    (listed,) = registered.json("grant", "list", "--client", "app")
    assert listed["explanation"] == explanation


def test_a_login_of_a_client_without_refresh_tokens_has_no_problem(registered: Operator) -> None:
    registered.json("client", "update", "app", "--grant-type", "authorization_code")
    grant = _active(registered, idle=600)
    assert registered.json("grant", "show", grant.grant_id)["client_problem"] is None


@pytest.mark.usefixtures("quick_keys")
def test_a_revoked_key_is_named_as_the_cause(registered: Operator) -> None:
    """Its refresh is refused, and nothing in the table or the log of the login says so."""
    registered.json("keys", "init")
    grant, other, ended = _active(registered), _active(registered, handle_key=2), _active(registered)
    registered.grants.end(ended.grant_id, "logout")
    assert registered.json("grant", "show", grant.grant_id)["client_problem"] is None
    registered.json("keys", "rotate", "--now", "--revoke", "handle:1", "--yes")
    problem = registered.json("grant", "show", grant.grant_id)["client_problem"]
    assert problem == (
        "The key handle:1 that made its refresh token was revoked or has retired; the person has to log in again."
    )
    assert problem in registered("grant", "show", grant.grant_id).out
    for unharmed in (other, ended):
        assert registered.json("grant", "show", unharmed.grant_id)["client_problem"] is None
    registered.forward(14 * DAY)
    document = registered.json("grant", "show", grant.grant_id)
    assert (document["expired"], document["client_problem"]) == ("idle", None)


@pytest.mark.parametrize("text", ["", '{"planted": 1}'])
def test_keys_that_cannot_be_read_keep_nothing_from_being_shown(registered: Operator, text: str) -> None:
    """Whoever looks at logins need not be allowed to read the keys."""
    if text:
        registered.aws("secretsmanager").put_secret_value(
            SecretId=registered.environment["BROKER_KEYS_SECRET"], SecretString=text
        )
    document = registered.json("grant", "show", _active(registered).grant_id)
    assert (document["explanation"], document["client_problem"]) == ("The person is logged in.", None)


def test_the_lease_and_the_cool_down_are_shown(registered: Operator) -> None:
    grant = _active(registered)
    _, link = registered.grants.read(grant.grant_id)
    assert link is not None
    registered.grants.links.take_lease(link, "planted-lease", 15)
    upstream = registered.json("grant", "show", grant.grant_id)["upstream"]
    assert (upstream["leased"], upstream["lease_until"]) == (True, registered.now + 15)
    assert "being refreshed at this moment" in registered("grant", "show", grant.grant_id).out
    registered.grants.links.release_lease(link, "planted-lease", registered.now + 300)
    upstream = registered.json("grant", "show", grant.grant_id)["upstream"]
    assert (upstream["leased"], upstream["cooling_down"], upstream["cool_until"]) == (False, True, registered.now + 300)
    assert "a refresh failed; none is tried before" in registered("grant", "show", grant.grant_id).out


def test_list_newest_first(registered: Operator) -> None:
    assert registered("grant", "list", "--client", "app").out == "No login found.\n"
    grants = []
    for number in range(5):
        grants.append(_active(registered, f"person-{number % 2}"))
        registered.forward(3600)
    _login(registered)  # never active: not in the list
    registered.grants.end(grants[0].grant_id, "revoked")
    ids = [grant.grant_id for grant in reversed(grants)]
    assert [one["grant_id"] for one in registered.json("grant", "list", "--client", "app")] == ids
    limited = registered.json("grant", "list", "--client", "app", "--limit", "2")
    assert [one["grant_id"] for one in limited] == ids[:2]
    of_one = registered.json("grant", "list", "--client", "app", "--subject", "person-1")
    assert [one["grant_id"] for one in of_one] == [grants[3].grant_id, grants[1].grant_id]
    lines = registered("grant", "list", "--client", "app").out.splitlines()
    assert lines[0].split("  ")[0] == "GRANT ID"
    assert lines[1].split() == [ids[0], "person-0", "github", "active", "60", "min", "ago", "-", "in", "13", "days"]
    assert lines[5].split()[3:5] == ["ended:", "revoked"]
    assert (
        registered("grant", "list", "--client", "x").refusal()
        == "There is no client x; `broker client list` shows all."
    )


def test_list_the_logins_of_a_person_at_all_clients(registered: Operator) -> None:
    """Each with its client, also one that was removed."""
    grants = []
    for client_id in ("app", "gone", "app"):
        grants.append(_active(registered, "person-1", client_id=client_id))
        _active(registered, "person-2", client_id=client_id)
        registered.forward(3600)
    found = registered.json("grant", "list", "--subject", "person-1")
    assert [(one["grant_id"], one["client_id"]) for one in found] == [
        (grant.grant_id, grant.client_id) for grant in reversed(grants)
    ]
    header, *lines = registered("grant", "list", "--subject", "person-1").out.splitlines()
    assert header.split()[:4] == ["GRANT", "ID", "CLIENT", "SUBJECT"]
    assert [line.split()[:4] for line in lines] == [
        [grant.grant_id, grant.client_id, "person-1", "github"] for grant in reversed(grants)
    ]
    assert [
        one["grant_id"] for one in registered.json("grant", "list", "--client", "gone", "--subject", "person-1")
    ] == [grants[1].grant_id]
    assert registered("grant", "list", "--subject", "nobody").out == "No login found.\n"


def test_of_logins_of_the_same_second_the_list_has_the_same_ones_each_time(registered: Operator) -> None:
    ids = sorted((_active(registered).grant_id for _ in range(9)), reverse=True)
    for _ in range(3):
        limited = registered.json("grant", "list", "--client", "app", "--limit", "4")
        assert [one["grant_id"] for one in limited] == ids[:4]


@pytest.mark.parametrize(
    "words", [(), ("--reconnect",), ("--client", ""), ("--subject", ""), ("--client", "", "--subject", "")]
)
def test_a_list_is_of_a_client_or_a_person(registered: Operator, words: tuple[str, ...]) -> None:
    refusal = registered("grant", "list", *words).refusal()
    assert refusal == "Give --client, --subject or both, to say whose logins to list."


@pytest.fixture
def refusals(registered: Operator, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The errors with which the store answers the next reads of one part of the table, one each."""
    pending: list[str] = []
    dynamodb = connection._client("dynamodb", REGION, registered.environment["AWS_ENDPOINT_URL"], True)

    def refuse(request: Any, **_: object) -> AWSResponse | None:
        if not pending or json.loads(request.body)["Segment"] != 1:
            return None
        body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{pending.pop(0)}"}).encode()
        return AWSResponse(request.url, 400, HTTPHeaders(), SimpleNamespace(stream=lambda: [body]))

    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _seconds: None))
    dynamodb.meta.events.register("before-send.dynamodb.Scan", refuse)
    yield pending
    dynamodb.meta.events.unregister("before-send.dynamodb.Scan", refuse)


def test_a_page_that_is_throttled_is_asked_for_again(registered: Operator, refusals: list[str]) -> None:
    ids = {_active(registered).grant_id for _ in range(8)}
    refusals += ["ProvisionedThroughputExceededException"] * 5
    assert {one["grant_id"] for one in registered.json("grant", "list", "--client", "app")} == ids
    assert refusals == []


@pytest.mark.parametrize(
    ("code", "times"), [("ProvisionedThroughputExceededException", 6), ("AccessDeniedException", 1)]
)
def test_a_list_that_cannot_be_read_to_its_end_is_not_shown(
    registered: Operator, refusals: list[str], code: str, times: int
) -> None:
    _active(registered)
    refusals += [code] * times
    outcome = registered("grant", "list", "--client", "app")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"broker: AWS refused or did not answer (scan: {code}); nothing more was done.\n"
    assert refusals == []


def test_revoke(registered: Operator) -> None:
    grant = _active(registered)
    assert registered("grant", "revoke", grant.grant_id).refusal().startswith("Nothing was changed,")
    assert registered("grant", "revoke", grant.grant_id, stdin="n\n", terminal=True).status == 1
    assert registered.json("grant", "show", grant.grant_id)["stage"] == "active"
    done = registered("grant", "revoke", grant.grant_id, "--yes")
    assert done.out == (
        f"Ended {grant.grant_id}.\n"
        "The provider's own token is not revoked: it is sealed with what the client holds, and only expires.\n"
    )
    stored, _ = registered.grants.read(grant.grant_id)
    assert stored is not None
    assert (stored.stage, stored.end_reason) == ("ended", "operator")
    again = registered.json("grant", "revoke", grant.grant_id, "--yes")
    assert (again["revoked"], again["end_reason"]) == (False, "operator")


def test_a_token_is_no_grant_id(registered: Operator) -> None:
    for token in (*(f"{prefix}abc" for prefix in BROKER_TOKENS), "eyJhbGciOi.x.y"):
        sentence = registered("grant", "show", token).refusal()
        assert sentence.startswith("That is a token, not a grant id")
        assert token not in sentence
    sentence = registered("grant", "revoke", new_grant_id(), "--yes").refusal()
    assert sentence.startswith("There is no login ")


@pytest.mark.parametrize(
    "grant_id", ["-dZb5OlKxm0wY_wsMGxIYg", "--Zb5OlKxm0wY_wsMGxIYg", "-jZb5OlKxm0wY_wsMGxIYg", "eyJb5OlKxm0wY_wsMGxIYg"]
)
def test_an_id_may_begin_like_an_option_or_a_token(registered: Operator, grant_id: str) -> None:
    registered.grants.begin(replace(_login(registered), grant_id=grant_id))
    assert registered.json("grant", "show", grant_id)["grant_id"] == grant_id
    assert registered.json("grant", "revoke", grant_id, "--yes")["revoked"] is True


def test_nothing_that_a_login_is_made_of_is_shown(registered: Operator) -> None:
    stages = ("pushed", "login", "exchange", "consent", "code")
    grants = [_active(registered), *(_login(registered, stage) for stage in stages)]
    for grant in grants:
        for words in (("grant", "show", grant.grant_id), ("grant", "revoke", grant.grant_id, "--yes")):
            registered(*words)
            registered(*words, "--json")
    registered("grant", "list", "--client", "app")
    registered("grant", "list", "--client", "app", "--json")
    for planted in PLANTED:
        assert planted not in registered.seen
