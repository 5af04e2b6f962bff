"""`broker provider`, against real tables and secrets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from broker.store.aws import StoreUnavailable
from broker.store.registry import NotFound, Registry
from broker.upstream import catalogue
from broker.upstream.signing import ClientKey, new_key
from broker_cli import providers

from .conftest import Operator

SECRET = "s3cret-of-the-provider"
WITH_SECRET = ("--client-id", "abc", "--client-secret-stdin")


def _credentials(operator: Operator, name: str) -> Any:
    prefix = operator.environment["BROKER_PROVIDER_SECRET_PREFIX"]
    return json.loads(operator.aws("secretsmanager").get_secret_value(SecretId=prefix + name)["SecretString"])


@pytest.mark.parametrize(
    "words",
    [("google",), ("acme", "--from", "oidc", "--var", "issuer=https://id.acme.example")],
    ids=["google", "oidc"],
)
def test_add_a_provider_whose_addresses_are_discovered(operator: Operator, words: tuple[str, ...]) -> None:
    operator("provider", "add", *words, *WITH_SECRET, stdin=SECRET)
    assert operator.registry.provider(words[0]) is not None


def test_add_from_the_catalogue(operator: Operator) -> None:
    added = operator.json("provider", "add", "github", *WITH_SECRET, stdin=f"{SECRET}\n")
    redirect_uri = f"http://localhost:{operator.port}/callback/github"
    assert added["redirect_uri"] == redirect_uri
    assert (added["name"], added["from"], added["client_id"]) == ("github", "github.toml", "abc")
    assert added["dialect"]["authorize"] == "https://github.com/login/oauth/authorize"
    assert added["problem"] is None
    assert _credentials(operator, "github") == {"client_id": "abc", "client_secret": SECRET}
    entry = operator.registry.provider("github")
    assert entry is not None
    assert (entry.catalogue, entry.document) == ("github", None)
    text = operator("provider", "add", "hub", "--from", "github", *WITH_SECRET, stdin=SECRET).out
    assert text.endswith(
        f"\n\nRegister this redirect URI at the provider: http://localhost:{operator.port}/callback/hub\n"
    )
    assert operator.json("provider", "show", "github") == added
    assert SECRET not in operator.seen


def test_add_with_fields_and_variables(operator: Operator) -> None:
    base = f"http://localhost:{operator.port}/sandbox/phpapi"
    words = (
        "--set", "authorize.pkce=S256", "--set", 'authorize.scope=["a", "b"]', "--set", "token.default_expires_in=60",
        "--set", "api.headers.Version=2022-06-28", "--set", "token.params.client_id=", "--var", f"base={base}",
    )  # fmt: skip
    added = operator.json("provider", "add", "phpapi", *WITH_SECRET, *words, stdin=SECRET)
    assert added["overrides"] == {
        "authorize.pkce": "S256",
        "authorize.scope": ["a", "b"],
        "token.default_expires_in": 60,
        "api.headers.Version": "2022-06-28",
        "token.params.client_id": "",
    }
    assert added["variables"] == {"base": base}
    assert added["dialect"]["authorize"] == f"{base}/api/authorize.php"
    entry = operator.registry.provider("phpapi")
    assert entry is not None
    assert (entry.overrides, entry.variables) == (added["overrides"], added["variables"])


def test_add_a_file_of_ones_own(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'authorize.url = "https://id.example/authorize"\ntoken.url = "https://id.example/token"\ntoken.auth = "none"\n'
    )
    added = operator.json("provider", "add", "mine", "--file", str(file), "--client-id", "abc")
    assert (added["from"], added["dialect"]["token"]) == ("own file", "POST https://id.example/token")
    assert _credentials(operator, "mine") == {"client_id": "abc", "client_secret": ""}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("nope", *WITH_SECRET),
            f"The catalogue has no nope; name one of {', '.join(catalogue.names())} with --from,"
            " or give your own file with --file.",
        ),
        (
            ("github", "--client-id", "abc"),
            "The client secret is missing; give --client-secret-stdin and the secret on standard input.",
        ),
        (("github", "--client-secret-stdin"), "Missing option '--client-id'; see 'broker provider add --help'."),
        (
            ("github", *WITH_SECRET, "--set", "authorize.url=http://github.example/authorize"),
            "github.toml: authorize.url: must be https (plain http is for loopback in local mode only).",
        ),
        (
            ("github", *WITH_SECRET, "--set", "authorize.ulr=https://github.example/authorize"),
            "github.toml: authorize.ulr: is not a field; did you mean authorize.url?",
        ),
        (
            ("github", *WITH_SECRET, "--set", "authorize.url"),
            "Invalid value for '--set': 'authorize.url' is not of the form name=value; see 'broker provider add --help'.",
        ),
        (
            ("phpapi", *WITH_SECRET),
            "phpapi.toml: vars.base: needs a value: authorize.url uses it; give it with --var base=VALUE.",
        ),
        (
            ("oidc", *WITH_SECRET),
            "oidc.toml: vars.issuer: needs a value: issuer uses it; give it with --var issuer=VALUE.",
        ),
        (
            ("github", "--from", "github", "--file", "x.toml", *WITH_SECRET),
            "--from and --file exclude each other; give one of them.",
        ),
        (
            ("x", "--file", "/nowhere/x.toml", *WITH_SECRET),
            "--file: /nowhere/x.toml cannot be read (No such file or directory).",
        ),
    ],
)
def test_wrong_input_is_one_sentence(operator: Operator, words: tuple[str, ...], sentence: str) -> None:
    assert operator("provider", "add", *words, stdin=SECRET).refusal() == sentence
    assert list(operator.registry.providers()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("authorize = [", "is not TOML"),
        ("made = 2022-06-28", "has a date"),
        ('authorize.url = "https://id.example/a"', "token.url: is required"),
    ],
)
def test_a_wrong_file_is_one_sentence(operator: Operator, tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(content)
    assert words in operator("provider", "add", "mine", "--file", str(file), *WITH_SECRET, stdin=SECRET).refusal()


@pytest.mark.parametrize("name", ["Git Hub", "../x", "a/b", "-x", "a" * 65])
def test_a_name_is_part_of_a_path(operator: Operator, name: str) -> None:
    assert operator("provider", "add", "--from", "github", *WITH_SECRET, "--", name, stdin=SECRET).status == 2
    assert list(operator.registry.providers()) == []


@pytest.mark.parametrize("stdin", ["", "\n", "two\nlines\n", "bell\x07", "x" * 4097])
def test_the_secret_is_one_line(operator: Operator, stdin: str) -> None:
    assert (
        operator("provider", "add", "github", *WITH_SECRET, stdin=stdin).refusal()
        == "Standard input must hold the client secret as one line of 1 to 4096 characters."
    )


def test_a_name_is_taken_once(operator: Operator) -> None:
    operator.add_provider("github", SECRET)
    words = ("provider", "add", "github", "--client-id", "other", "--client-secret-stdin")
    assert operator(*words, stdin="other").refusal().startswith("There is a provider github already;")
    assert _credentials(operator, "github")["client_secret"] == SECRET


def test_list_and_show_without_secret(operator: Operator) -> None:
    assert operator("provider", "list").out == "No provider is registered; `broker provider add` registers one.\n"
    operator.add_provider("github", SECRET)
    operator.add_provider("discord", SECRET)
    assert operator("provider", "list").out.splitlines() == [
        "NAME     FROM          AUTHORIZE URL OR ISSUER                   STATE    MADE",
        "discord  discord.toml  https://discord.com/oauth2/authorize      enabled  now",
        "github   github.toml   https://github.com/login/oauth/authorize  enabled  now",
    ]
    assert [one["name"] for one in operator.json("provider", "list")] == ["discord", "github"]
    shown = operator("provider", "show", "github").out
    assert "client id              github-client\n" in shown
    assert "pkce                   S256\n" in shown
    assert SECRET not in operator.seen
    assert operator("provider", "show", "x").refusal() == "There is no provider x; `broker provider list` shows all."


def test_a_discovered_provider_is_listed_by_its_issuer(operator: Operator) -> None:
    operator.add_provider("google")
    assert "google  google.toml  https://accounts.google.com  enabled  now" in operator("provider", "list").out
    assert operator.json("provider", "show", "google")["dialect"]["issuer"] == "https://accounts.google.com"


OIDC = ("oidc", "--client-id", "abc", "--var", "issuer=https://id.example")


@pytest.mark.parametrize(("algorithm", "key_type"), [("ES256", "EC"), ("RS256", "RSA")])
def test_a_generated_key_shows_its_public_half_alone(operator: Operator, algorithm: str, key_type: str) -> None:
    added = operator.json("provider", "add", *OIDC, "--generate-key", algorithm)
    jwk = added["public_jwk"]
    assert (jwk["kty"], jwk["alg"], jwk["use"]) == (key_type, algorithm, "sig")
    assert "d" not in jwk
    assert added["overrides"] == {"token.auth": "private_key_jwt"}
    assert added["dialect"]["client_authentication"] == "private_key_jwt"
    kept = _credentials(operator, "oidc")
    assert (kept["client_id"], kept["client_secret"], kept["kid"]) == ("abc", "", jwk["kid"])
    assert ClientKey(kept["kid"], kept["private_key"]).public_jwk == jwk
    assert "PRIVATE" not in operator.seen


def test_a_key_of_ones_own(operator: Operator) -> None:
    key = new_key("ES256")
    words = ("--private-key-stdin", "--key-id", "KEY1234567")
    text = operator("provider", "add", *OIDC, *words, stdin=key.private_pem).out
    assert "The public key, to register at the provider:" in text
    assert '"kid": "KEY1234567"' in text
    assert _credentials(operator, "oidc")["private_key"] == key.private_pem
    replaced = operator.json("provider", "set-key", "oidc", "--generate-key", "RS256")
    assert replaced["public_jwk"]["kid"] == _credentials(operator, "oidc")["kid"] != "KEY1234567"
    operator.json("provider", "set-key", "oidc", "--private-key-stdin", "--client-id", "new", stdin=key.private_pem)
    assert (_credentials(operator, "oidc")["client_id"], "kid" in _credentials(operator, "oidc")) == ("new", False)
    assert "PRIVATE" not in operator.seen


def test_a_new_secret_leaves_the_key_alone(operator: Operator) -> None:
    jwk = operator.json("provider", "add", *OIDC, "--generate-key", "ES256")["public_jwk"]
    assert operator("provider", "set-secret", "oidc", "--client-secret-stdin", stdin=SECRET).status == 0
    kept = _credentials(operator, "oidc")
    assert (kept["client_secret"], kept["kid"]) == (SECRET, jwk["kid"])


def test_apple_wants_a_key_and_keeps_its_dialect(operator: Operator) -> None:
    apple = ("provider", "add", "apple", "--client-id", "com.example.web", "--var", "team_id=TEAM123456")
    assert operator(*apple).refusal().startswith("The private key is missing; give --private-key-stdin")
    added = operator.json(*apple, "--private-key-stdin", "--key-id", "K", stdin=new_key("ES256").private_pem)
    assert (added["overrides"], added["dialect"]["client_authentication"]) == ({}, "body")
    without_team = operator("provider", "add", "pear", "--from", "apple", "--client-id", "c", "--generate-key", "ES256")
    assert without_team.refusal().endswith(
        "vars.team_id: needs a value: the hook uses it; give it with --var team_id=VALUE."
    )


P384 = ec.generate_private_key(ec.SECP384R1()).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


@pytest.mark.parametrize(
    ("words", "stdin", "sentence"),
    [
        (("--private-key-stdin",), "nothing like it", "Standard input: the private key is not in PEM, or broken."),
        (("--private-key-stdin",), P384.decode(), "Standard input: the private key must be EC P-256 or RSA of 2048"),
        (
            ("--private-key-stdin", "--generate-key", "ES256"),
            "",
            "--private-key-stdin and --generate-key exclude each other",
        ),
        (("--key-id", "x"), "", "--key-id names a key of your own; give --private-key-stdin with it."),
        (("--private-key-stdin", "--client-secret-stdin"), "", "exclude each other: standard input holds one."),
        (("--set", "token.auth=private_key_jwt"), "", "The private key is missing;"),
    ],
)
def test_a_wrong_key_is_one_sentence(operator: Operator, words: tuple[str, ...], stdin: str, sentence: str) -> None:
    assert sentence in operator("provider", "add", *OIDC, *words, stdin=stdin).refusal()
    assert list(operator.registry.providers()) == []


def test_set_secret(operator: Operator) -> None:
    operator.add_provider("github", "old")
    done = operator.json("provider", "set-secret", "github", "--client-secret-stdin", stdin=SECRET)
    assert done == {"name": "github", "client_id": "github-client", "secret_set": True}
    assert _credentials(operator, "github") == {"client_id": "github-client", "client_secret": SECRET}
    words = ("provider", "set-secret", "github", "--client-secret-stdin", "--client-id", "new")
    operator.json(*words, stdin="s2")
    assert _credentials(operator, "github") == {"client_id": "new", "client_secret": "s2"}
    assert "The client secret is missing" in operator("provider", "set-secret", "github").refusal()
    assert SECRET not in operator.seen


def test_the_secret_is_asked_for_on_a_terminal(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.add_provider("github", "old")
    asked: list[str] = []

    def read(prompt: str, **_: object) -> str:
        asked.append(prompt)
        return SECRET

    monkeypatch.setattr("click.termui.hidden_prompt_func", read)
    outcome = operator("provider", "set-secret", "github", "--client-secret-stdin", terminal=True)
    assert outcome.status == 0
    assert len(asked) == 1
    assert _credentials(operator, "github")["client_secret"] == SECRET


def test_update(operator: Operator) -> None:
    operator.add_provider("github")
    after = operator.json("provider", "update", "github", "--set", "authorize.pkce=off", "--set", "revoke.method=POST")
    assert after["overrides"] == {"authorize.pkce": "off", "revoke.method": "POST"}
    after = operator.json("provider", "update", "github", "--unset", "revoke.method", "--set", "authorize.state=cookie")
    assert after["overrides"] == {"authorize.pkce": "off", "authorize.state": "cookie"}
    assert (after["dialect"]["pkce"], after["dialect"]["state"]) == ("off", "cookie")
    assert (
        operator("provider", "update", "github", "--unset", "token.url").refusal()
        == "--unset: token.url is not set on github; it has authorize.pkce, authorize.state set."
    )
    assert operator("provider", "update", "github", "--set", "token.url=http://x.example/").status == 2
    assert (
        operator("provider", "update", "github").refusal()
        == "Nothing was given to change; give --set, --unset or --var."
    )
    assert operator.json("provider", "show", "github") == after


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody disables a provider in an emergency, while another changes a field of it."""
    operator.add_provider("github")
    before = operator.registry.provider("github")
    assert before is not None
    disabled = replace(before, disabled=True)
    monkeypatch.setattr(providers, "_usable", lambda *_: operator.registry.update_provider(disabled, before))
    outcome = operator("provider", "update", "github", "--set", "label=X")
    assert (outcome.status, outcome.out) == (1, "")
    assert "somebody else changed github at the same moment; run the command again" in outcome.err
    assert operator.registry.provider("github") == disabled
    operator.registry.remove_provider("github")
    with pytest.raises(NotFound):
        operator.registry.update_provider(before, disabled)
    assert operator.registry.provider("github") is None


def test_a_removal_that_stopped_half_way_can_be_done_again(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.add_provider("github")
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "remove_provider", _unavailable)
        assert operator("provider", "remove", "github", "--yes").status == 1
    assert operator("provider", "remove", "github", "--yes").status == 0
    assert operator.registry.provider("github") is None


def _unavailable(*_: object) -> None:
    raise StoreUnavailable("delete_item: InternalServerError")


def test_disable_enable_remove_and_add_again(operator: Operator) -> None:
    operator.add_provider("github")
    operator.add_client("--provider", "github")
    assert operator("provider", "remove", "github").refusal().startswith("Nothing was changed,")
    asked = operator("provider", "disable", "github", stdin="n\n", terminal=True)
    assert asked.status == 1
    assert "Disable github? It is used by App. [y/N]" in asked.out + asked.err
    operator.json("registration", "set", "--provider", "github")
    asked = operator("provider", "remove", "github", stdin="n\n", terminal=True)
    assert (
        "It is used by App, clients that register themselves (`broker registration set --provider ...`)." in asked.err
    )
    operator.json("registration", "set", "--provider", "")
    assert operator.json("provider", "disable", "github", "--yes") == {"name": "github", "disabled": True}
    assert operator.json("provider", "show", "github")["disabled"] is True
    assert operator.json("provider", "enable", "github") == {"name": "github", "disabled": False}
    assert operator.json("provider", "remove", "github", "--yes") == {"name": "github", "removed": True}
    assert operator.registry.provider("github") is None
    operator.add_provider("github", SECRET)  # the old secret waits for its deletion meanwhile
    assert _credentials(operator, "github")["client_secret"] == SECRET


def test_catalogue(operator: Operator) -> None:
    listed = operator.json("provider", "catalogue")
    assert [one["name"] for one in listed] == list(catalogue.names())
    assert {"name": "phpapi", "authorize_url": "{base}/api/authorize.php", "variables": ["base"]} in listed
    assert "phpapi" in operator("provider", "catalogue").out
