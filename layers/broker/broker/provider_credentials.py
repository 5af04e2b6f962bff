"""What the broker is at each provider, with two slots for the secret, so that a provider's rotation of it fails no login.

The present secret is tried first. When the provider refuses it, the secret is read anew and the other one is tried, once;
what the provider then takes is tried first from now on. Must never show a secret, nor say more of one than its slot.
"""

from dataclasses import replace
from functools import partial

from broker import audit
from broker.store.secrets import CredentialStore, ProviderSecret, Slot
from broker.upstream.authorization import Credentials
from broker.upstream.signing import ClientKey


class ProviderCredentials:
    """The credentials at all providers. Errors of `at`: StoreUnavailable."""

    def __init__(self, store: CredentialStore) -> None:
        self._store = store
        self._accepted: dict[str, str] = {}

    def at(self, provider: str) -> Credentials:
        """The broker's credentials at a provider, and behind them what to try when it refuses them."""
        held = self._store.secret(provider)
        known = self._accepted.get(provider)
        slot = next((slot for slot in held.slots if slot.secret == known), held.slots[0])
        first = _credentials(held, slot)
        return replace(first, other=partial(self._other, provider, first))

    def _other(self, provider: str, refused: Credentials) -> Credentials | None:
        """What is in a slot and is not what was refused; another key counts as well."""
        held = self._store.newest(provider)
        slot = next((slot for slot in held.slots if _proof(_credentials(held, slot)) != _proof(refused)), None)
        if slot is None:
            return None
        return replace(_credentials(held, slot), accepted=partial(self._remember, provider, slot))

    def _remember(self, provider: str, slot: Slot) -> None:
        self._accepted[provider] = slot.secret
        audit.event("upstream.secret_fallback", provider=provider, slot=slot.name)

    def forget(self) -> None:
        """Drop what is remembered."""
        self._store.forget()
        self._accepted.clear()


def _proof(credentials: Credentials) -> tuple[str, ClientKey | None]:
    return credentials.client_secret, credentials.key


def _credentials(held: ProviderSecret, slot: Slot) -> Credentials:
    key = ClientKey(held.kid, held.private_key) if held.private_key else None
    return Credentials(held.client_id, slot.secret, key)
