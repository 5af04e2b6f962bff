"""`broker client`, against real tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from broker.protocol.clients import OIDC_SCOPES, SECRET_METHODS, Client, ClientSecret, hash_secret
from broker.store import registry
from broker.store.registry import Changed, NotFound, client_item, is_still
from broker_cli import clients

from .conftest import Operator

CALLBACK = "https://app.example/callback"
ADD = ("client", "add", "--name", "App", "--redirect-uri", CALLBACK)


def test_add_a_public_client(operator: Operator) -> None:
    operator.add_provider("github")
    operator.add_provider("discord")
    added = operator.add_client("--provider", "github")
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", added["client_id"])
    assert "client_secret" not in added
    stored = operator.registry.client(added["client_id"])
    assert stored is not None
    assert (stored.name, stored.redirect_uris, stored.auth_methods) == ("App", (CALLBACK,), ("none",))
    assert stored.origins == ("https://app.example",)
    assert stored.providers == ("github",)
    assert stored.scope == OIDC_SCOPES
    assert operator.registry.origin_is_listed("https://app.example")


def test_add_a_confidential_client_keeps_only_the_hash_of_its_secret(operator: Operator) -> None:
    added = operator.add_client("--confidential")
    secret = added["client_secret"]
    assert re.fullmatch(r"tbcs_[A-Za-z0-9_-]{43}", secret)
    stored = operator.registry.client(added["client_id"])
    assert stored is not None
    assert [one.sha256 for one in stored.secrets] == [hash_secret(secret)]
    assert stored.auth_methods == SECRET_METHODS
    assert stored.origins == ()
    table = operator.aws("dynamodb").scan(TableName=operator.environment["BROKER_REGISTRY_TABLE"])
    assert secret not in str(table["Items"])
    for words in (("client", "show", added["client_id"]), ("client", "list")):
        for shown in (operator(*words), operator(*words, "--json")):
            assert shown.status == 0
            assert secret not in shown.out
            assert stored.secrets[0].sha256 not in shown.out


def test_a_client_that_is_given_a_providers_token(operator: Operator) -> None:
    """The grant type comes and goes with the providers, unless the operator names the grant types."""
    operator.add_provider("github")
    exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
    added = operator.add_client("--provider", "github", "--token-exchange", "github")
    assert (added["token_exchange"], added["grant_types"][-1]) == (["github"], exchange)
    shown = operator("client", "show", added["client_id"]).out
    assert re.search(r"is given tokens of +github\n", shown)
    emptied = operator.json("client", "update", added["client_id"], "--token-exchange", "")
    assert (emptied["token_exchange"], emptied["grant_types"]) == ([], ["authorization_code", "refresh_token"])
    backend = operator.json(
        *("client", "add", "--name", "Backend", "--confidential", "--serves", "https://api.example"),
        *("--grant-type", "token-exchange", "--token-exchange", "github"),
    )
    assert (backend["grant_types"], backend["redirect_uris"]) == ([exchange], [])
    stored = operator.registry.client(backend["client_id"])
    assert stored is not None
    assert stored.token_exchange == ("github",)


def test_a_client_that_calls_an_api(operator: Operator) -> None:
    operator.add_provider("github")
    added = operator.add_client("--provider", "github", "--proxy", "github")
    assert added["proxy"] == ["github"]
    assert re.search(r"calls the API of +github\n", operator("client", "show", added["client_id"]).out)
    assert operator.json("client", "update", added["client_id"], "--proxy", "")["proxy"] == []


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("--token-exchange", "gitlab"), "--token-exchange: gitlab is not registered; registered are discord, github"),
        (("--proxy", "gitlab"), "--proxy: gitlab is not registered"),
        (
            ("--provider", "github", "--proxy", "discord"),
            "--proxy: discord is not one of the client's providers (--provider).",
        ),
        (
            ("--grant-type", "authorization_code", "--token-exchange", "github"),
            "--token-exchange: the client also needs the grant type token-exchange (--grant-type).",
        ),
        (
            ("--token-exchange", "github", "--grant-type", "refresh_token", "--grant-type", "token-exchange"),
            "--grant-type:",
        ),
    ],
)
def test_what_no_client_can_have_of_a_provider(operator: Operator, words: tuple[str, ...], rule: str) -> None:
    for name in ("github", "discord"):
        operator.add_provider(name)
    assert operator(*ADD, *words).refusal().startswith(rule)


def test_add_takes_every_option(operator: Operator) -> None:
    operator.add_provider("github")
    added = operator.json(
        "client", "add", "--name", "All", "--client-id", "all", "--redirect-uri", CALLBACK,
        "--redirect-uri", "com.example.app:/cb", "--confidential", "--auth-method", "client_secret_post",
        "--provider", "github", "--scope", "openid repo", "--scope", "email", "--origin", "https://x.example",
        "--access-token-lifetime", "300", "--idle-lifetime", "3600", "--absolute-lifetime", "86400",
        "--retry-window", "0", "--id-token-alg", "ES256", "--access-token-format", "opaque",
        "--require-redirect-uri", "--no-pkce", "--grant-type", "authorization_code", "--resource", "https://api.example",
        "--serves", "https://api.example", "--post-logout-redirect-uri", "https://app.example/bye",
        "--backchannel-logout-uri", "https://app.example/ended",
        "--access-token-alg", "RS256", "--third-party", "--require-par", "--grant-type", "token-exchange",
        "--token-exchange", "github", "--proxy", "github",
    )  # fmt: skip
    secret = added.pop("client_secret")
    created = added.pop("created_at")
    assert hash_secret(secret)
    assert added == {
        "client_id": "all",
        "name": "All",
        "confidential": True,
        "redirect_uris": [CALLBACK, "com.example.app:/cb"],
        "auth_methods": ["client_secret_post"],
        "secrets": [{"created_at": created}],
        "origins": ["https://x.example"],
        "providers": ["github"],
        "scope": ["openid", "repo", "email"],
        "grant_types": ["authorization_code", "urn:ietf:params:oauth:grant-type:token-exchange"],
        "resources": ["https://api.example"],
        "served_resources": ["https://api.example"],
        "post_logout_redirect_uris": ["https://app.example/bye"],
        "backchannel_logout_uri": "https://app.example/ended",
        "refresh_cookie": False,
        "require_redirect_uri": True,
        "require_pkce": False,
        "id_token_alg": "ES256",
        "access_token_format": "opaque",
        "access_token_alg": "RS256",
        "first_party": False,
        "require_par": True,
        "jwks_uri": None,
        "dpop_bound": False,
        "dialect": None,
        "token_by_get": False,
        "token_exchange": ["github"],
        "proxy": ["github"],
        "access_token_lifetime": 300,
        "idle_lifetime": 3600,
        "absolute_lifetime": 86400,
        "retry_window": 0,
        "disabled": False,
    }
    assert operator.json("client", "show", "all") == added | {"created_at": created}


def test_a_client_without_provider_gets_all_that_are_enabled(operator: Operator) -> None:
    operator.add_provider("github")
    operator.add_provider("discord")
    operator.add_provider("slack")
    assert operator("provider", "disable", "slack", "--yes").status == 0
    assert operator.add_client()["providers"] == ["discord", "github"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("client", "add", "--name", "App", "--redirect-uri", "http://app.example/cb"),
            '--redirect-uri: "http://app.example/cb" must use https; plain http is for 127.0.0.1, [::1] and localhost alone.',
        ),
        (
            ("client", "add", "--name", "App"),
            "--redirect-uri: must have at least one, as the grant type authorization_code returns to it.",
        ),
        (
            (*ADD, "--provider", "gitlab"),
            "--provider: gitlab is not registered; registered are none yet (see `broker provider add`).",
        ),
        ((*ADD, "--auth-method", "client_secret_post"), "--auth-method is for a client that keeps a secret; add --confidential."),
        ((*ADD, "--no-pkce"), "--no-pkce: only a confidential client may go without PKCE (RFC 9700 section 2.1.1)."),
        (
            (*ADD, "--scope", 'a"b'),
            "--scope: must be scopes of printable ASCII without space, quote and backslash (RFC 6749 section 3.3).",
        ),
        ((*ADD, "--access-token-lifetime", "59"), "--access-token-lifetime: must be from 60 to 86400 seconds, not 59."),
        (
            (*ADD, "--retry-window", "1m"),
            "Invalid value for '--retry-window': '1m' is not a whole number of seconds, nor 'default';"
            " see 'broker client add --help'.",
        ),
        (("client", "add", "--redirect-uri", CALLBACK), "Missing option '--name'; see 'broker client add --help'."),
        (("client", "show", "nobody"), "There is no client nobody; `broker client list` shows all."),
        (("client", "update", "nobody", "--name", "X"), "There is no client nobody; `broker client list` shows all."),
        (("client", "remove", "nobody", "--yes"), "There is no client nobody; `broker client list` shows all."),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence(operator: Operator, words: tuple[str, ...], sentence: str) -> None:
    assert operator(*words).refusal() == sentence
    as_json = operator(*words, "--json")
    assert (as_json.status, as_json.out) == (2, "")
    assert as_json.err.startswith('{"error": "')
    assert list(operator.registry.clients()) == []


def test_an_id_is_taken_once(operator: Operator) -> None:
    assert operator(*ADD, "--client-id", "mine").status == 0
    assert (
        operator(*ADD, "--client-id", "mine").refusal() == "There is a client mine already; choose another --client-id."
    )


def test_list_is_a_table(operator: Operator) -> None:
    assert operator("client", "list").out == "No client is registered; `broker client add` makes one.\n"
    operator.add_provider("github")
    assert operator(*ADD, "--client-id", "one").status == 0
    assert (
        operator(
            "client", "add", "--name", "B", "--redirect-uri", CALLBACK, "--client-id", "b2", "--confidential"
        ).status
        == 0
    )
    operator.forward(3 * 86400)
    assert operator("client", "disable", "b2", "--yes").status == 0
    assert operator("client", "list").out.splitlines() == [
        "CLIENT ID  NAME  KIND          PROVIDERS  STATE     MADE",
        "one        App   public        github     enabled   3 days ago",
        "b2         B     confidential  github     disabled  3 days ago",
    ]
    assert [one["client_id"] for one in operator.json("client", "list")] == ["one", "b2"]


def test_update_replaces_lists_and_leaves_the_rest(operator: Operator) -> None:
    client_id = operator.add_client("--access-token-lifetime", "300")["client_id"]
    before = operator.json("client", "show", client_id)
    words = ("--redirect-uri", "https://b.example/x", "--redirect-uri", "https://c.example/x")
    after = operator.json("client", "update", client_id, *words)
    assert after == before | {
        "redirect_uris": ["https://b.example/x", "https://c.example/x"],
        "origins": ["https://b.example", "https://c.example"],
    }
    assert not operator.registry.origin_is_listed("https://app.example")
    assert operator.registry.origin_is_listed("https://c.example")
    after = operator.json(
        "client", "update", client_id, "--origin", "", "--access-token-lifetime", "default", "--name", "N"
    )
    assert (after["origins"], after["access_token_lifetime"], after["name"]) == ([], None, "N")
    # Origins that were set by hand no longer follow the redirect URIs.
    assert operator.json("client", "update", client_id, "--redirect-uri", CALLBACK)["origins"] == []
    assert operator("client", "update", client_id).refusal().startswith("Nothing was given to change;")
    assert operator("client", "update", client_id, "--redirect-uri", "x:y").status == 2
    assert operator.json("client", "show", client_id)["redirect_uris"] == [CALLBACK]


def test_a_client_becomes_confidential_and_public_again(operator: Operator) -> None:
    client_id = operator.add_client()["client_id"]
    after = operator.json("client", "update", client_id, "--confidential")
    stored = operator.registry.client(client_id)
    assert stored is not None
    assert stored.knows_secret(after["client_secret"])
    assert "client_secret" not in operator.json("client", "update", client_id, "--confidential", "--name", "X")
    operator.json("client", "update", client_id, "--public")
    stored = operator.registry.client(client_id)
    assert stored is not None
    assert (stored.auth_methods, stored.secrets) == (("none",), ())


def test_rotation_keeps_the_secret_before_until_it_is_dropped(operator: Operator) -> None:
    added = operator.add_client("--confidential")
    client_id, secrets = added["client_id"], [added["client_secret"]]

    def valid() -> list[bool]:
        stored = operator.registry.client(client_id)
        assert stored is not None
        return [stored.knows_secret(secret) for secret in secrets]

    secrets.append(operator.json("client", "rotate-secret", client_id, "--yes")["client_secret"])
    assert valid() == [True, True]
    secrets.append(operator.json("client", "rotate-secret", client_id, "--yes")["client_secret"])
    assert valid() == [False, True, True]
    assert "client_secret" not in operator.json("client", "drop-secret", client_id, "--yes")
    assert valid() == [False, False, True]
    assert "has no older secret to drop" in operator("client", "drop-secret", client_id, "--yes").refusal()
    public = operator.add_client()["client_id"]
    assert "is a public client" in operator("client", "rotate-secret", public, "--yes").refusal()


def test_disable_enable_remove(operator: Operator) -> None:
    client_id = operator.add_client()["client_id"]
    assert operator.json("client", "disable", client_id, "--yes") == {"client_id": client_id, "disabled": True}
    assert operator.json("client", "show", client_id)["disabled"] is True
    assert operator.json("client", "enable", client_id) == {"client_id": client_id, "disabled": False}
    assert operator.json("client", "show", client_id)["disabled"] is False
    assert operator.json("client", "remove", client_id, "--yes") == {"client_id": client_id, "removed": True}
    assert operator.registry.client(client_id) is None
    assert not operator.registry.origin_is_listed("https://app.example")


@pytest.mark.parametrize("command", ["rotate-secret", "drop-secret", "disable", "remove"])
def test_destruction_asks(operator: Operator, command: str) -> None:
    client_id = operator.add_client("--confidential")["client_id"]
    operator.json("client", "rotate-secret", client_id, "--yes")
    before = operator.registry.client(client_id)
    assert (
        operator("client", command, client_id).refusal()
        == "Nothing was changed, as there is no terminal to ask on; give --yes to go ahead."
    )
    refused = operator("client", command, client_id, stdin="n\n", terminal=True)
    assert refused.status == 1
    assert "Nothing was changed." in refused.err
    assert operator.registry.client(client_id) == before
    assert operator("client", command, client_id, stdin="y\n", terminal=True).status == 0
    assert operator.registry.client(client_id) != before


def test_all_of_the_most_origins_can_be_replaced_at_once(operator: Operator) -> None:
    """That are more writes than DynamoDB takes in one transaction."""

    def uris(name: str) -> list[str]:
        return [word for number in range(50) for word in ("--redirect-uri", f"https://{name}{number}.example/cb")]

    operator.json("client", "add", "--name", "Many", "--client-id", "many", *uris("a"))
    operator.json("client", "update", "many", *uris("b"))
    listed = [
        operator.registry.origin_is_listed(f"https://{name}{number}.example") for name in "ba" for number in range(50)
    ]
    assert listed == [True] * 50 + [False] * 50


def test_the_question_says_what_becomes_of_the_logins(operator: Operator) -> None:
    operator.json("client", "add", "--name", "App", "--client-id", "app-1", "--redirect-uri", "https://app.example/cb")
    asked = operator("client", "remove", "app-1", stdin="n\n", terminal=True)
    assert "Everybody is logged out there. Do not give another client its id" in asked.err


def test_the_secret_comes_with_a_warning(operator: Operator) -> None:
    shown = operator(*ADD, "--confidential")
    assert re.search(r"^client_secret +tbcs_\S{43}$", shown.out, re.MULTILINE)
    assert shown.out.endswith("Keep the client_secret now: it is not stored and cannot be shown again.\n")


# -- two at the same moment ----------------------------------------------------------------------------------------

NEWER = ClientSecret("1" * 64, 1)


def stored_client(operator: Operator, client_id: str) -> Client:
    found = operator.registry.client(client_id)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda client: replace(client, secrets=(*client.secrets, NEWER)),
        lambda client: replace(client, disabled=True),
        lambda client: replace(client, retry_window=0),
        lambda client: replace(client, name="Renamed"),
    ],
)
def test_what_somebody_else_changed_meanwhile_is_not_overwritten(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[Client], Client]
) -> None:
    """A secret that was just made, above all: who got it could not authenticate."""
    client_id = operator.add_client("--confidential")["client_id"]
    before = stored_client(operator, client_id)
    monkeypatch.setattr(
        clients, "confirm", lambda *_a, **_k: operator.registry.update_client(meanwhile(before), before)
    )
    outcome = operator("client", "rotate-secret", client_id)
    assert (outcome.status, outcome.out) == (1, "")
    assert f"somebody else changed {client_id} at the same moment; run the command again" in outcome.err
    assert stored_client(operator, client_id) == meanwhile(before)


def test_a_client_that_was_removed_meanwhile_does_not_come_back(operator: Operator) -> None:
    before = stored_client(operator, operator.add_client()["client_id"])
    operator.registry.remove_client(before.client_id)
    with pytest.raises(NotFound):
        operator.registry.update_client(replace(before, name="X"), before)
    assert operator.registry.client(before.client_id) is None
    assert not operator.registry.origin_is_listed("https://app.example")


def test_a_client_that_was_changed_meanwhile_is_not_removed(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a client that registered itself may change at any time; its origins would stay listed for nobody."""
    client_id = operator.add_client()["client_id"]
    before = stored_client(operator, client_id)
    after = replace(before, origins=("https://other.example",))
    monkeypatch.setattr(registry, "is_still", _after(lambda: operator.registry.update_client(after, before), is_still))
    outcome = operator("client", "remove", client_id, "--yes")
    assert (outcome.status, outcome.out) == (1, "")
    assert f"somebody else changed {client_id} at the same moment; run the command again" in outcome.err
    assert stored_client(operator, client_id) == after


def _after(
    action: Callable[[], None], function: Callable[[Client], dict[str, Any]]
) -> Callable[[Client], dict[str, Any]]:
    """`function`, before whose first call somebody does `action`."""
    waiting = [action]

    def call(client: Client) -> dict[str, Any]:
        if waiting:
            waiting.pop()()
        return function(client)

    return call


def test_an_entry_from_before_there_was_some_attribute_can_be_changed(operator: Operator) -> None:
    """It counts as the default; what is set is not taken for it."""
    before = stored_client(operator, operator.add_client()["client_id"])
    table = operator.environment["BROKER_REGISTRY_TABLE"]
    old = {name: value for name, value in client_item(before).items() if name not in ("dpop_bound", "token_exchange")}
    operator.aws("dynamodb").put_item(TableName=table, Item=old)
    renamed = replace(before, name="Renamed")
    operator.registry.update_client(renamed, before)
    assert stored_client(operator, before.client_id) == renamed
    operator.aws("dynamodb").put_item(TableName=table, Item=old | {"dpop_bound": {"BOOL": True}})
    with pytest.raises(Changed):
        operator.registry.update_client(renamed, before)


def test_the_condition_is_within_dynamodbs_limits() -> None:
    """4 KB for an expression, 300 operators in it (Constraints in Amazon DynamoDB)."""
    condition = is_still(Client("c", "C", (CALLBACK,)))["ConditionExpression"]
    assert len(condition) < 4096
    assert sum(condition.count(one) for one in ("=", " AND ", " OR ", "attribute_not_exists")) < 300
