"""`broker client` with clients that authenticate by a key of their own (private_key_jwt)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from .conftest import Operator

ADD = ("client", "add", "--name", "App", "--redirect-uri", "https://app.example/callback")
SIGNS = ("--auth-method", "private_key_jwt")


def key_file(folder: Path, *, private: bool = False) -> str:
    """A JWK Set in a file, made by a library that the broker does not use for this."""
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = ECAlgorithm.to_jwk(key if private else key.public_key(), as_dict=True)
    file = folder / "jwks.json"
    file.write_text(json.dumps({"keys": [jwk | {"kid": "one"}]}))
    return str(file)


def test_add_a_client_that_signs(operator: Operator, tmp_path: Path) -> None:
    file = key_file(tmp_path)
    added = operator.json(*ADD, "--client-id", "signer", *SIGNS, "--jwks-file", file, "--dpop")
    assert "client_secret" not in added
    assert (added["auth_methods"], added["confidential"], added["dpop_bound"]) == (["private_key_jwt"], True, True)
    stored = operator.registry.client("signer")
    assert stored is not None
    assert stored.jwks is not None
    assert (json.loads(stored.jwks), stored.secrets) == (json.loads(Path(file).read_text()), ())
    assert "one" in operator("client", "show", "signer").out
    assert "has no secret" in operator("client", "rotate-secret", "signer", "--yes").refusal()


def test_a_client_moves_from_a_secret_to_a_key_and_back(operator: Operator, tmp_path: Path) -> None:
    assert "client_secret" in operator.json(*ADD, "--client-id", "mover", "--confidential")
    url = "https://app.example/jwks.json"
    assert operator.json("client", "update", "mover", *SIGNS, "--jwks-uri", url)["jwks_uri"] == url
    assert operator.json("client", "update", "mover", "--jwks-file", key_file(tmp_path))["jwks_uri"] is None
    stored = operator.registry.client("mover")
    assert stored is not None
    assert (stored.auth_methods, stored.secrets, stored.jwks is not None) == (("private_key_jwt",), (), True)
    back = operator.json("client", "update", "mover", "--auth-method", "client_secret_basic")
    assert back["client_secret"].startswith("tbcs_")
    assert back["auth_methods"] == ["client_secret_basic"]


def test_private_keys_are_not_accepted(operator: Operator, tmp_path: Path) -> None:
    """Whoever hands in his private key is told so, and nothing of it is kept or shown."""
    file = key_file(tmp_path, private=True)
    refused = operator(*ADD, *SIGNS, "--jwks-file", file)
    assert "public keys" in refused.refusal()
    private = json.loads(Path(file).read_text())["keys"][0]["d"]
    assert private not in refused.out + refused.err
    assert list(operator.registry.clients()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (SIGNS, "--jwks-file: private_key_jwt needs the client's public keys"),
        ((*SIGNS, "--jwks-uri", "http://app.example/jwks"), "--jwks-uri: must be an https URL."),
        ((*SIGNS, "--jwks-file", "/nowhere.json"), "cannot be read"),
        ((*SIGNS, "--auth-method", "client_secret_post", "--jwks-uri", "https://a.example/k"), "private_key_jwt stands alone"),
    ],
)  # fmt: skip
def test_what_is_refused(operator: Operator, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in operator(*ADD, *words).refusal()
    assert list(operator.registry.clients()) == []
