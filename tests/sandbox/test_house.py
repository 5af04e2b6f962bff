"""What the sandbox must not do: share code with the broker, keep or show a secret, start without its settings."""

from __future__ import annotations

import ast
import base64
import sys
from pathlib import Path

import pytest

from sandbox_provider import store
from sandbox_provider.clients import CLIENTS, client_of
from sandbox_provider.dialects import DIALECTS
from sandbox_provider.people import PEOPLE, person
from sandbox_provider.settings import Settings, SettingsError

from .driver import ALL, OPENID, REDBOOTH, SECRET, Sandbox

SOURCES = sorted((Path(__file__).parents[2] / "functions" / "sandbox").rglob("*.py"))


def _imported(source: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(source.read_text())))
    whole = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parts = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in whole | parts}


def test_imports_nothing_but_itself_the_layers_packages_and_the_standard_library() -> None:
    assert len(SOURCES) > 20
    allowed = {"sandbox_provider", "boto3", "botocore", "jwt", "cryptography"} | set(sys.stdlib_module_names)
    assert {str(source): _imported(source) - allowed for source in SOURCES if _imported(source) - allowed} == {}


def test_every_client_has_a_dialect() -> None:
    assert set(CLIENTS) == set(DIALECTS)
    assert {at.provider: at.client_id for at in ALL} == dict(CLIENTS)


def test_people_can_be_told_apart() -> None:
    assert len({p.username for p in PEOPLE}) == len({p.user_id for p in PEOPLE}) == len(PEOPLE)
    assert person("johnsmith").user_id == 123
    with pytest.raises(KeyError):
        person("nobody")


def test_table_holds_no_usable_code_token_or_secret(sandbox: Sandbox) -> None:
    codes = [sandbox.code(REDBOOTH), sandbox.code(OPENID)]
    issued = [sandbox.redeem(REDBOOTH, codes[0]).json, sandbox.redeem(OPENID, codes[1]).json]
    secrets = [SECRET, *codes, *(t[name] for t in issued for name in ("access_token", "refresh_token"))]
    kept = str(store.dynamodb().scan(TableName="sandbox-test")["Items"])
    assert "grant#" in kept
    assert [secret for secret in secrets if secret in kept] == []


def test_forms_do_not_show_the_secret(sandbox: Sandbox) -> None:
    page = sandbox.get(OPENID, OPENID.authorize, OPENID.request())
    assert SECRET not in page.body
    assert SECRET.encode() not in base64.urlsafe_b64decode(page.form.hidden["request"])


def test_secret_has_no_repr() -> None:
    settings = Settings.from_environment(
        {"SANDBOX_TABLE": "t", "SANDBOX_CLIENT_SECRET": SECRET, "SANDBOX_BASE": "https://b.example/"}, ""
    )
    assert SECRET not in repr(settings) + repr(client_of("redbooth", settings))
    assert client_of("redbooth", settings).redirect_uris == ("https://b.example/callback/redbooth",)


@pytest.mark.parametrize("missing", ["SANDBOX_TABLE", "SANDBOX_CLIENT_SECRET", "SANDBOX_BASE"])
def test_missing_setting_is_named(missing: str) -> None:
    environ = {"SANDBOX_TABLE": "t", "SANDBOX_CLIENT_SECRET": "s", "SANDBOX_BASE": "https://b.example"}
    with pytest.raises(SettingsError, match=missing):
        Settings.from_environment({**environ, missing: ""}, "")
