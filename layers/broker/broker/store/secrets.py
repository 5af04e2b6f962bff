"""Secrets Manager: the key document and the providers' credentials, kept in memory for a few minutes.

What is known stays in use while Secrets Manager is down. Nothing read here may be logged or put into an error.
"""

import json
from typing import Any

from broker import clock
from broker.crypto.keys import KeyRing, parse
from broker.store.aws import StoreUnavailable, call


class _SecretReader:
    def __init__(self, secretsmanager: Any, cache_seconds: int) -> None:
        self._secretsmanager = secretsmanager
        self._cache_seconds = cache_seconds
        self._cache: dict[str, tuple[str, int]] = {}

    def read(self, secret_id: str) -> str:
        """The current text of a secret. Errors: StoreUnavailable when it cannot be read and none is known."""
        now = clock.now()
        text, until = self._cache.get(secret_id, ("", 0))
        if until <= now:
            try:
                # The stage is named because a reader without it may be given a version that is no longer current.
                answer = call(self._secretsmanager.get_secret_value, SecretId=secret_id, VersionStage="AWSCURRENT")
                text = answer["SecretString"]
            except StoreUnavailable:
                if not text:
                    raise
            self._cache[secret_id] = (text, now + self._cache_seconds)
        return text

    def forget(self) -> None:
        self._cache.clear()


class KeyStore:
    """The broker's keys."""

    def __init__(self, secretsmanager: Any, secret_id: str, cache_seconds: int = 300) -> None:
        self._reader = _SecretReader(secretsmanager, cache_seconds)
        self._secret_id = secret_id
        self._text = ""
        self._ring: KeyRing | None = None

    def ring(self) -> KeyRing:
        """The present keys. Errors: StoreUnavailable when they cannot be had or are not in a form that is understood."""
        text = self._reader.read(self._secret_id)
        if self._ring is None or text != self._text:
            try:
                self._ring, self._text = parse(text), text
            except ValueError as error:
                raise StoreUnavailable(str(error)) from None
        return self._ring

    def forget(self) -> None:
        """Drop what is remembered."""
        self._reader.forget()


class CredentialStore:
    """The providers' client credentials: a JSON object with client_id and client_secret per provider."""

    def __init__(self, secretsmanager: Any, prefix: str, cache_seconds: int = 300) -> None:
        self._reader = _SecretReader(secretsmanager, cache_seconds)
        self._prefix = prefix

    def credentials(self, provider: str) -> tuple[str, str]:
        """(client_id, client_secret) at that provider. Errors: StoreUnavailable."""
        text = self._reader.read(self._prefix + provider)
        try:
            document = json.loads(text)
            return str(document["client_id"]), str(document["client_secret"])
        except (KeyError, TypeError, ValueError):
            raise StoreUnavailable(
                f"the secret of provider {provider} is not a JSON object with client_id and client_secret"
            ) from None

    def forget(self) -> None:
        """Drop what is remembered."""
        self._reader.forget()
