"""Secrets Manager: the key document and the providers' credentials, kept in memory for a few minutes.

What is known stays in use while Secrets Manager is down. Nothing read here may be logged or put into an error.
"""

import json
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

from broker import audit, clock
from broker.crypto.keys import KeyRing, parse
from broker.store.aws import StoreUnavailable, call

CACHE_SECONDS = 300
"""How long a secret may be used without asking whether it is still the same."""
REREAD_SECONDS = 10
"""The least time between two reads of a secret before its cache has run out, so that nobody can make the broker read at will."""


class _SecretReader:
    def __init__(self, secretsmanager: Any, cache_seconds: int) -> None:
        self._secretsmanager = secretsmanager
        self._cache_seconds = cache_seconds
        self._cache: dict[str, tuple[str, int]] = {}
        self._reread_at: dict[str, int] = {}

    def read(self, secret_id: str) -> str:
        """The current text of a secret. Errors: StoreUnavailable when it cannot be read and none is known."""
        now = clock.now()
        text, until = self._cache.get(secret_id, ("", 0))
        if until <= now:
            try:
                text = self._fetched(secret_id)
            except StoreUnavailable:
                if not text:
                    raise
            self._cache[secret_id] = (text, now + self._cache_seconds)
        return text

    def reread(self, secret_id: str) -> str | None:
        """The text as it is at this moment; None when it was asked for only just now. Errors: StoreUnavailable."""
        now = clock.now()
        if abs(now - self._reread_at.get(secret_id, -REREAD_SECONDS)) < REREAD_SECONDS:
            return None
        self._reread_at[secret_id] = now
        text = self._fetched(secret_id)
        self._cache[secret_id] = (text, now + self._cache_seconds)
        return text

    def _fetched(self, secret_id: str) -> str:
        # The stage is named because a reader without it may be given a version that is no longer current.
        answer = call(self._secretsmanager.get_secret_value, SecretId=secret_id, VersionStage="AWSCURRENT")
        return str(answer["SecretString"])

    def forget(self) -> None:
        self._cache.clear()
        self._reread_at.clear()


class KeyNotYetKnown(StoreUnavailable):
    """Something names a key that may have been made since the keys were read, only just now. Repeated later, it is decided.

    No failure of the store: whoever makes up a handle with the next key's id brings it about.
    """

    event = "keys.not_known"


class KeyStore:
    """The broker's keys."""

    def __init__(self, secretsmanager: Any, secret_id: str, cache_seconds: int = CACHE_SECONDS) -> None:
        self._reader = _SecretReader(secretsmanager, cache_seconds)
        self._secret_id = secret_id
        self._text = ""
        self._ring: KeyRing | None = None

    def ring(self) -> KeyRing:
        """The present keys. Errors: StoreUnavailable when they cannot be had or are not in a form that is understood.

        A key that the ring does not know, but that may have been made since it was read, lets it look once more.
        """
        text = self._reader.read(self._secret_id)
        if self._ring is None or text != self._text:
            self._ring, self._text = replace(_parsed(text), newer=partial(self._newer, text)), text
            audit.event("keys.read", age_days=_age_in_days(self._ring))
        return self._ring

    def _newer(self, known: str, surely: bool) -> KeyRing | None:
        """The keys as they are at this moment. `known`: the text that has not the wanted key. `surely`: see KeyRing.newer."""
        text = self._reader.reread(self._secret_id)
        if text is None:
            text = self._reader.read(self._secret_id)
            if text == known and surely:
                # To refuse now might end a login whose token is good: a key can be made and used at the same moment.
                raise KeyNotYetKnown("the key may be new, and the keys were read only just now")
        return _parsed(text) if text != known else None

    def forget(self) -> None:
        """Drop what is remembered."""
        self._reader.forget()


def _age_in_days(ring: KeyRing) -> int:
    """For how long the youngest signing key has been in use: with keys that rotate, never much longer than a period."""
    now = clock.now()
    return (now - max((key.active_from for key in ring.signing if key.active_from <= now), default=now)) // 86400


def _parsed(text: str) -> KeyRing:
    try:
        return parse(text)
    except ValueError as error:
        raise StoreUnavailable(str(error)) from None


@dataclass(frozen=True)
class Slot:
    """One of the places for a client secret: "current", "next" or "old"."""

    name: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class ProviderSecret:
    """What the broker is at a provider.

    Attributes:
        client_secret: "" where the provider gave none.
        client_secret_next: the one that the provider will take, or takes already, in place of client_secret; "" without.
        client_secret_old: the one that client_secret has followed, while the provider may still want it; "" without.
        private_key, kid: PEM of the key that signs in the place of a secret, and its name at the provider; "" without.
    """

    client_id: str
    client_secret: str = field(default="", repr=False)
    client_secret_next: str = field(default="", repr=False)
    client_secret_old: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    kid: str = ""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The secrets in the order in which they are to be tried."""
        others = (Slot("next", self.client_secret_next), Slot("old", self.client_secret_old))
        return (Slot("current", self.client_secret), *(slot for slot in others if slot.secret))

    def text(self) -> str:
        """The JSON form that Secrets Manager holds. It goes nowhere else."""
        members = {f.name: getattr(self, f.name) for f in fields(self)}
        needed = {"client_id", "client_secret"}
        return json.dumps({name: value for name, value in members.items() if value or name in needed})

    @classmethod
    def of_text(cls, text: str) -> "ProviderSecret":
        """The inverse of `text`. Members that are not known are left out. Errors: ValueError that quotes nothing."""
        try:
            document = json.loads(text)
            found = {f.name: document[f.name] for f in fields(cls) if f.name in document}
            if "client_secret" not in found and "private_key" not in found:
                raise KeyError
            if not all(isinstance(value, str) for value in found.values()):
                raise TypeError  # null is no secret, least of all "None"
            return cls(**found)
        except (KeyError, TypeError, ValueError):
            raise ValueError("not a JSON object with the texts client_id and client_secret, or private_key") from None


class CredentialStore:
    """The broker's registrations at the providers, one secret per provider (ProviderSecret)."""

    def __init__(self, secretsmanager: Any, prefix: str, cache_seconds: int = CACHE_SECONDS) -> None:
        self._reader = _SecretReader(secretsmanager, cache_seconds)
        self._prefix = prefix

    def secret(self, provider: str) -> ProviderSecret:
        """What the broker is at that provider. Errors: StoreUnavailable."""
        return self._parsed(provider, self._reader.read(self._prefix + provider))

    def newest(self, provider: str) -> ProviderSecret:
        """The same, read anew unless that was done only just now. Errors: StoreUnavailable, if nothing is known either."""
        try:
            text = self._reader.reread(self._prefix + provider)
        except StoreUnavailable:
            text = None
        return self._parsed(provider, text) if text is not None else self.secret(provider)

    def _parsed(self, provider: str, text: str) -> ProviderSecret:
        try:
            return ProviderSecret.of_text(text)
        except ValueError as error:
            raise StoreUnavailable(f"the secret of provider {provider} is {error}") from None

    def forget(self) -> None:
        """Drop what is remembered."""
        self._reader.forget()
