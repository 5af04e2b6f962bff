"""`broker export` and `broker import`: what moves between stages, what never does, and what is refused before a write."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker.protocol.clients import Client, ClientSecret, hash_secret
from broker.store.aws import StoreUnavailable
from broker.store.registry import AlreadyExists, Registry
from broker.upstream.signing import new_key
from broker_cli import moving

from .conftest import Operator


def _stage_of(operator: Operator) -> Any:
    outcome = operator("export")
    assert outcome.status == 0, outcome
    return outcome.document


def _fill(operator: Operator) -> tuple[str, str]:
    """A provider, a public and a confidential client, a policy and a brand; (public id, confidential id)."""
    operator.add_provider("github", "the-provider-secret")
    public = operator.add_client("--provider", "github", "--origin", "https://app.example")
    confidential = operator.add_client("--provider", "github", "--confidential")
    assert operator("registration", "set", "--mode", "token", "--provider", "github").status == 0
    assert operator("brand", "set", "--name", "Example").status == 0
    return public["client_id"], confidential["client_id"]


def _empty(operator: Operator, stage: Any) -> None:
    assert operator("registration", "set", "--mode", "off", "--provider", "").status == 0
    for client in stage["clients"]:
        assert operator("client", "remove", client["client_id"], "--yes").status == 0
    for provider in stage["providers"]:
        assert operator("provider", "remove", provider["name"], "--yes").status == 0
    assert operator("brand", "reset", "--yes").status == 0


def _import(operator: Operator, document: Any, *words: str) -> Any:
    return operator.json("import", "-", "--yes", *words, stdin=json.dumps(document))


def test_what_is_exported_is_there_again_after_an_import_into_an_empty_stage(operator: Operator) -> None:
    public, confidential = _fill(operator)
    before = _stage_of(operator)
    assert {entry["client_id"] for entry in before["clients"]} == {public, confidential}
    assert [entry["name"] for entry in before["providers"]] == ["github"]
    assert (before["registration"]["mode"], before["brand"]) == ("token", {"name": "Example"})
    _empty(operator, before)
    answer = _import(operator, before)
    assert answer["applied"] is True
    assert answer["providers_without_credentials"] == ["github"]
    assert list(answer["client_secrets"]) == [confidential]
    assert _stage_of(operator) == before
    stored = operator.registry.client(confidential)
    assert stored is not None
    assert [secret.sha256 for secret in stored.secrets] == [hash_secret(answer["client_secrets"][confidential])]
    listed = operator.registry.origin_is_listed("https://app.example")
    assert listed


JWKS = (
    '{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",'
    '"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"k1"}]}'
)


def test_a_client_moves_from_a_secret_to_a_key(operator: Operator) -> None:
    """As with `client update`: a secret beside the key would be a weaker way in."""
    operator.add_provider("github")
    client_id = operator.add_client("--provider", "github", "--confidential")["client_id"]
    document = _stage_of(operator)
    document["clients"][0] |= {"auth_methods": ["private_key_jwt"], "jwks": JWKS}
    assert _import(operator, document)["applied"] is True
    stored = operator.registry.client(client_id)
    assert stored is not None
    assert (stored.auth_methods, stored.secrets) == (("private_key_jwt",), ())


def test_the_command_that_is_printed_gives_a_provider_its_credentials(operator: Operator, tmp_path: Path) -> None:
    """Of a provider with a key, with a secret, and with neither."""
    public = tmp_path / "open.toml"
    public.write_text(
        'title = "Open"\nauthorize.url = "https://p.example/a"\nauthorize.pkce = "S256"\n'
        'token.url = "https://p.example/t"\ntoken.auth = "none"\n'
        'userinfo.url = "https://p.example/u"\nuserinfo.claims.sub = "id"\n'
    )
    operator.add_provider("github")
    for words in (
        ("apple", "--var", "team_id=T123456789", "--private-key-stdin", "--key-id", "K1"),
        ("open", "--file", str(public)),
    ):
        added = operator("provider", "add", *words, "--client-id", "x", stdin=new_key("ES256").private_pem)
        assert added.status == 0, added
    stage = _stage_of(operator)
    _empty(operator, stage)
    text = operator("import", "-", "--yes", stdin=json.dumps(stage)).out
    printed = [line.strip() for line in text.splitlines() if line.startswith("  broker provider set-")]
    assert printed == [
        "broker provider set-key apple --client-id ID --private-key-stdin",
        "broker provider set-secret github --client-id ID --client-secret-stdin",
        "broker provider set-secret open --client-id ID",
    ]
    shown = operator("provider", "show", "open").out
    assert "nobody can log in, as no credentials are kept (`broker provider set-secret open --client-id ID`)" in shown
    given = {"apple": new_key("ES256").private_pem, "github": "a-secret", "open": ""}
    for line in printed:
        command = line.split()[1:]
        assert operator(*command, stdin=given[command[2]]).status == 0, line
    for name in given:
        assert "nobody can log in" not in operator("provider", "show", name).out
    refused = operator("provider", "set-secret", "github", "--client-id", "x").refusal()
    assert refused.startswith("The client secret is missing")


def test_no_secret_is_exported_and_hashes_only_when_asked_for(operator: Operator, tmp_path: Path) -> None:
    operator.add_provider("github", "the-provider-secret")
    secret = operator.add_client("--provider", "github", "--confidential")["client_secret"]
    plain = operator("export").out
    assert secret not in plain
    assert hash_secret(secret) not in plain
    assert "the-provider-secret" not in plain
    written = tmp_path / "stage.json"
    answer = operator.json("export", "--with-secret-hashes", "--out", str(written))
    assert answer == {"file": str(written), "clients": 1, "providers": 1}
    assert secret not in written.read_text()
    assert hash_secret(secret) in written.read_text()


def test_an_import_with_hashes_keeps_the_clients_secrets(operator: Operator) -> None:
    operator.add_provider()
    made = operator.add_client("--provider", "github", "--confidential")
    document = operator("export", "--with-secret-hashes").document
    assert operator("client", "remove", made["client_id"], "--yes").status == 0
    assert _import(operator, document)["client_secrets"] == {}
    stored = operator.registry.client(made["client_id"])
    assert stored is not None
    assert stored.knows_secret(made["client_secret"])


def test_importing_again_changes_nothing_and_leaves_secrets_alone(operator: Operator) -> None:
    _, confidential = _fill(operator)
    stored = operator.registry.client(confidential)
    document = _stage_of(operator)
    outcome = operator("import", "-", "--yes", stdin=json.dumps(document))
    assert (outcome.status, outcome.out) == (0, "Nothing to change.\n")
    assert operator.registry.client(confidential) == stored


def test_a_dry_run_shows_the_changes_and_makes_none(operator: Operator) -> None:
    public, _ = _fill(operator)
    document = _stage_of(operator)
    for client in document["clients"]:
        client["name"] = "Renamed"
    outcome = operator("import", "-", "--dry-run", stdin=json.dumps(document))
    assert outcome.status == 0
    lines = [line.split() for line in outcome.out.splitlines()]
    assert lines[0] == ["CHANGE", "KIND", "NAME", "ATTRIBUTES"]
    assert ["change", "client", public, "name"] in lines
    stored = operator.registry.client(public)
    assert stored is not None
    assert stored.name == "App"


def test_prune_removes_what_the_document_does_not_have_and_nothing_else_does(operator: Operator) -> None:
    public, confidential = _fill(operator)
    document = _stage_of(operator)
    document["clients"] = [client for client in document["clients"] if client["client_id"] == public]
    assert _import(operator, document)["changes"] == []
    answer = _import(operator, document, "--prune")
    assert answer["changes"] == [{"what": "remove", "kind": "client", "name": confidential, "attributes": []}]
    assert operator.registry.client(confidential) is None
    assert operator.registry.client(public) is not None


def test_prune_leaves_no_policy_without_its_provider(operator: Operator) -> None:
    """A document that says nothing of registration leaves the policy as it is, so its provider has to stay."""
    _fill(operator)
    document = _stage_of(operator)
    policy = document.pop("registration")
    document["clients"], document["providers"] = [], []
    words = ("import", "-", "--yes", "--prune")
    refused = operator(*words, stdin=json.dumps(document)).refusal()
    assert refused.startswith("Provider github cannot be removed: the registration policy names it.")
    assert operator.registry.provider("github") is not None
    assert (
        "its provider github is not there"
        in operator(*words, stdin=json.dumps(document | {"registration": policy})).refusal()
    )
    assert _import(operator, document | {"registration": {}}, "--prune")["applied"] is True
    assert operator.registry.provider("github") is None


def test_clients_that_registered_themselves_neither_move_nor_are_pruned(operator: Operator) -> None:
    operator.add_provider()
    made = operator.add_client("--provider", "github")
    stored = operator.registry.client(made["client_id"])
    assert stored is not None
    operator.registry.add_client(replace(stored, client_id="self-registered", dynamic=True))
    document = _stage_of(operator)
    assert [client["client_id"] for client in document["clients"]] == [made["client_id"]]
    assert _import(operator, document, "--prune")["changes"] == []
    assert operator.registry.client("self-registered") is not None


def test_nothing_is_written_when_one_entry_is_wrong(operator: Operator) -> None:
    _fill(operator)
    document = _stage_of(operator)
    for wrong, sentence in (
        ({"redirect_uris": ["https://app.example/*"]}, "redirect_uris"),
        ({"providers": ["nobody"]}, "providers: nobody is not registered; registered are github"),
        ({"dialect": "nobody"}, "dialect: nobody is not served; served are "),
        ({"dialect": "infolobby", "token_by_get": True}, "token_by_get: infolobby has tokens by POST alone"),
        ({"token_exchange": ["github"]}, "token_exchange: the client also needs the grant type"),
        ({"providers": [], "proxy": ["github"]}, "proxy: github is not one of the client's providers"),
        ({"shoe_size": 44}, "there is no attribute 'shoe_size'"),
        ({"require_par": "yes"}, "require_par is not of the kind"),
        ({"created_at": 1}, "there is no attribute 'created_at'"),
    ):
        changed = json.loads(json.dumps(document))
        changed["clients"][0]["name"] = "Renamed"
        changed["clients"][-1] |= wrong
        outcome = operator("import", "-", "--yes", stdin=json.dumps(changed))
        assert sentence in outcome.refusal()
        assert _stage_of(operator) == document


def test_a_document_of_another_kind_is_refused_in_one_sentence(operator: Operator) -> None:
    for text, sentence in (
        ("no json", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "it is not a document of `broker export`"),
        ('{"format": "token-broker stage", "version": 2}', "its version is 2"),
        ('{"format": "token-broker stage", "version": 1, "secrets": []}', "member 'secrets'"),
        ('{"format": "token-broker stage", "version": 1, "clients": {}}', "its clients must be a list"),
    ):
        assert sentence in operator("import", "-", "--yes", stdin=text).refusal()


def test_without_a_terminal_it_asks_for_yes(operator: Operator) -> None:
    operator.add_provider()
    document = _stage_of(operator)
    document["providers"][0]["disabled"] = True
    outcome = operator("import", "-", stdin=json.dumps(document))
    assert outcome.status == 2
    assert "give --yes" in outcome.err
    assert _stage_of(operator)["providers"] == [{"name": "github", "catalogue": "github"}]


# -- an import that stops half-way ---------------------------------------------------------------------------------


def _two_new_clients(operator: Operator) -> Any:
    """A document with the confidential clients one and two, which are not there."""
    for client_id in ("one", "two"):
        operator.add_client("--confidential", "--client-id", client_id)
    document = _stage_of(operator)
    for client_id in ("one", "two"):
        assert operator("client", "remove", client_id, "--yes").status == 0
    return document


def _fail_at(monkeypatch: pytest.MonkeyPatch, client_id: str, failure: BaseException) -> None:
    add = Registry.add_client

    def add_or_fail(registry: Registry, client: Client) -> None:
        if client.client_id == client_id:
            raise failure
        add(registry, client)

    monkeypatch.setattr(Registry, "add_client", add_or_fail)


def _knows(operator: Operator, client_id: str, secret: str) -> bool:
    stored = operator.registry.client(client_id)
    assert stored is not None
    return stored.knows_secret(secret)


def test_secrets_of_clients_that_were_written_are_told_when_a_later_write_fails(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the hash is stored: a secret that is not printed then is nobody's."""
    document = _two_new_clients(operator)
    with monkeypatch.context() as patch:
        _fail_at(patch, "two", AlreadyExists("two"))
        outcome = operator("import", "-", "--yes", "--json", stdin=json.dumps(document))
    assert outcome.status == 1
    assert "Somebody else changed two at the same moment" in outcome.err
    answer = outcome.document
    assert (answer["made"], answer["applied"], list(answer["client_secrets"])) == (1, False, ["one"])
    assert [change["name"] for change in answer["changes"]] == ["one", "two"]
    assert _knows(operator, "one", answer["client_secrets"]["one"])
    rest = _import(operator, document)
    assert (rest["made"], rest["applied"], list(rest["client_secrets"])) == (1, True, ["two"])
    assert _knows(operator, "two", rest["client_secrets"]["two"])


@pytest.mark.parametrize("failure", [StoreUnavailable("transact_write_items: ReadTimeoutError"), KeyboardInterrupt()])
def test_a_secret_that_may_have_been_written_is_told_and_said_to_be_unsure(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    """Nothing can be concluded of a write without an answer. In words here."""
    document = _two_new_clients(operator)
    _fail_at(monkeypatch, "two", failure)
    outcome = operator("import", "-", "--yes", stdin=json.dumps(document))
    assert outcome.status == 1
    assert "Nothing was changed" not in outcome.err
    assert "1 of 2 changes made. Whether client two was written is not known. A secret that the next" in outcome.out
    told = dict(re.findall(r"^(one|two) +(tbcs_\S{43})$", outcome.out, re.MULTILINE))
    assert set(told) == {"one", "two"}
    assert _knows(operator, "one", told["one"])


def test_what_is_missing_is_looked_up_before_anything_is_written(operator: Operator) -> None:
    """A secret that cannot be read would else stand between a new client and its secret."""
    document = _two_new_clients(operator) | {"providers": [{"name": "github", "catalogue": "github"}]}
    name = operator.environment["BROKER_PROVIDER_SECRET_PREFIX"] + "github"
    operator.aws("secretsmanager").create_secret(Name=name, SecretString="not of the broker")
    outcome = operator("import", "-", "--yes", stdin=json.dumps(document))
    assert (outcome.status, outcome.out) == (1, "")
    assert list(operator.registry.clients()) == []


def test_a_secret_that_was_made_meanwhile_is_not_overwritten(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_id = operator.add_client("--confidential")["client_id"]
    document = _stage_of(operator)
    document["clients"][0]["name"] = "Renamed"
    before = operator.registry.client(client_id)
    assert before is not None
    rotated = replace(before, secrets=(*before.secrets, ClientSecret("1" * 64, 1)))
    monkeypatch.setattr(moving, "confirm", lambda *_a, **_k: operator.registry.update_client(rotated, before))
    outcome = operator("import", "-", stdin=json.dumps(document))
    assert outcome.status == 1
    assert f"Somebody else changed {client_id} at the same moment" in outcome.err
    assert outcome.out == "0 of 1 change made.\n"
    assert operator.registry.client(client_id) == rotated


# -- what is in the way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secrets", "sentence"),
    [
        ([{"sha256": 5, "created_at": 1}], "sha256 of a secret must be 64 hexadecimal digits"),
        ([{"sha256": "F" * 64, "created_at": 1}], "sha256 of a secret must be 64 hexadecimal digits"),
        ([{"sha256": "0" * 64, "created_at": "x"}], "created_at of a secret must be a number of seconds"),
        ([{"sha256": "0" * 64, "created_at": True}], "created_at of a secret must be a number of seconds"),
        ([{"sha256": "0" * 64, "created_at": -1}], "created_at of a secret must be a number of seconds"),
        ([{"sha256": "0" * 64}], "secrets must be objects with sha256 and created_at"),
        (["0" * 64], "secrets must be objects with sha256 and created_at"),
        ([{"sha256": one * 64, "created_at": 1} for one in "012"], "secrets must be a list of at most 2"),
        ("0" * 64, "secrets must be a list of at most 2"),
    ],
)
def test_hashes_of_another_form_are_refused(operator: Operator, secrets: Any, sentence: str) -> None:
    """They would be stored, and end in an error where somebody compares with them or asks for their age."""
    client_id = operator.add_client("--confidential")["client_id"]
    document = operator("export", "--with-secret-hashes").document
    document["clients"][0]["secrets"] = secrets
    refusal = operator("import", "-", "--yes", stdin=json.dumps(document)).refusal()
    assert refusal.startswith(f"The document cannot be imported: client {client_id}: {sentence}")


def test_a_client_that_registered_itself_is_not_replaced(operator: Operator) -> None:
    made = operator.add_client()
    stored = operator.registry.client(made["client_id"])
    assert stored is not None
    operator.registry.add_client(replace(stored, client_id="self-registered", dynamic=True))
    document = _stage_of(operator)
    document["clients"].append(document["clients"][0] | {"client_id": "self-registered"})
    document["clients"][0]["name"] = "Renamed"
    for words in (("--yes",), ("--dry-run",)):
        refusal = operator("import", "-", *words, stdin=json.dumps(document)).refusal()
        assert "Client self-registered cannot be imported: a client that registered itself here has this id" in refusal
    assert operator.registry.client(made["client_id"]) == stored


def test_prune_removes_a_providers_credentials_as_provider_remove_does(operator: Operator) -> None:
    operator.add_provider("github", "the-provider-secret")
    operator.add_provider("discord")
    document = _stage_of(operator)
    document["providers"] = [one for one in document["providers"] if one["name"] == "discord"]
    _import(operator, document, "--prune")
    assert [entry.name for entry in operator.registry.providers()] == ["discord"]
    assert _has_credentials(operator, "discord")
    assert not _has_credentials(operator, "github")


def test_a_provider_whose_removal_failed_half_way_is_removed_by_the_next_import(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.add_provider("github", "the-provider-secret")
    document = _stage_of(operator) | {"providers": []}
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "remove_provider", _unavailable)
        assert operator("import", "-", "--yes", "--prune", stdin=json.dumps(document)).status == 1
    _import(operator, document, "--prune")
    assert list(operator.registry.providers()) == []
    assert not _has_credentials(operator, "github")


def _unavailable(*_arguments: object) -> None:
    raise StoreUnavailable("delete_item: ReadTimeoutError")


def _has_credentials(operator: Operator, provider: str) -> bool:
    name = operator.environment["BROKER_PROVIDER_SECRET_PREFIX"] + provider
    return "DeletedDate" not in operator.aws("secretsmanager").describe_secret(SecretId=name)
