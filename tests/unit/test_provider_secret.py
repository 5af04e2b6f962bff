"""What is kept of the broker at a provider: read as it was written, in the order of its slots, and never shown."""

from __future__ import annotations

import json

import pytest

from broker.provider_credentials import ProviderCredentials
from broker.store.aws import StoreUnavailable
from broker.store.secrets import CredentialStore, ProviderSecret

PLANTED = "planted-client-secret"


class Secrets:
    """Secrets Manager with one text for every name; None: it is down."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def get_secret_value(self, **_: str) -> dict[str, str]:
        if self.text is None:
            raise StoreUnavailable("down")
        return {"SecretString": self.text}


@pytest.mark.parametrize(
    ("secret", "slots"),
    [
        (ProviderSecret("c", "a"), ["current"]),
        (ProviderSecret("c", ""), ["current"]),
        (ProviderSecret("c", "a", client_secret_next="b"), ["current", "next"]),
        (ProviderSecret("c", "a", client_secret_old="b"), ["current", "old"]),
        (ProviderSecret("c", private_key="pem", kid="k"), ["current"]),
    ],
)
def test_what_was_written_is_read(secret: ProviderSecret, slots: list[str]) -> None:
    assert ProviderSecret.of_text(secret.text()) == secret
    assert [slot.name for slot in secret.slots] == slots


def test_a_secret_from_before_there_were_slots_is_read() -> None:
    text = json.dumps({"client_id": "c", "client_secret": "a", "note": "written by hand"})
    assert ProviderSecret.of_text(text) == ProviderSecret("c", "a")


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{}", f'"{PLANTED}"', f'{{"client_secret": "{PLANTED}"}}', '{"client_id": "c"}', PLANTED),
        f'{{"client_id": 1, "client_secret": "{PLANTED}"}}',
        '{"client_id": "c", "client_secret": null}',
        f'{{"client_id": "c", "client_secret": ["{PLANTED}"]}}',
    ],
)
def test_what_is_no_secret_is_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="not a JSON object") as raised:
        ProviderSecret.of_text(text)
    assert PLANTED not in str(raised.value)
    assert raised.value.__suppress_context__
    with pytest.raises(StoreUnavailable, match="the secret of provider p is not a JSON object") as unavailable:
        ProviderCredentials(CredentialStore(Secrets(text), "x/")).at("p")
    assert PLANTED not in unavailable.value.detail


def test_nothing_is_shown() -> None:
    secret = ProviderSecret("c", PLANTED, client_secret_next=PLANTED, client_secret_old=PLANTED, private_key=PLANTED)
    credentials = ProviderCredentials(CredentialStore(Secrets(secret.text()), "x/")).at("p")
    assert PLANTED not in repr((secret, secret.slots, credentials))


def test_what_is_known_is_used_while_secrets_manager_is_down() -> None:
    """Also for the second try."""
    secrets = Secrets(ProviderSecret("c", "a", client_secret_next="b").text())
    credentials = ProviderCredentials(CredentialStore(secrets, "x/"))
    first = credentials.at("p")
    secrets.text = None
    assert first.other is not None
    second = first.other()
    assert second is not None
    assert (first.client_secret, second.client_secret) == ("a", "b")
    with pytest.raises(StoreUnavailable):
        ProviderCredentials(CredentialStore(secrets, "x/")).at("p")
