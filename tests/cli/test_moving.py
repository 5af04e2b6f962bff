"""`broker export` and `broker import`: what moves between stages, what never does, and what is refused before a write."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from broker.protocol.clients import hash_secret

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
        ({"providers": ["nobody"]}, "its provider nobody is not there"),
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
