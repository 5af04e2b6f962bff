"""Wiring: what the endpoints work with, made once per function instance and only when first used.

Everything heavy is imported where it is made, so that a function which never talks to a provider does not pay for it.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING

from broker.settings import Settings, from_environment

if TYPE_CHECKING:
    from broker.store.grants import Grants
    from broker.store.registry import ProviderEntry, Registry
    from broker.store.secrets import CredentialStore, KeyStore
    from broker.upstream.authorization import Credentials
    from broker.upstream.http import BoundedHttp
    from broker.upstream.schema import Provider


class ProviderUnusable(Exception):
    """The provider is not registered, disabled, or its file cannot be used. `detail` is for the log."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Runtime:
    """Settings and the things that do I/O."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._providers: dict[str, tuple[ProviderEntry, Provider]] = {}

    @cached_property
    def registry(self) -> Registry:
        """Clients and providers."""
        from broker.store.aws import client
        from broker.store.registry import Registry

        return Registry(client("dynamodb"), self.settings.registry_table, self.settings.registry_cache)

    @cached_property
    def grants(self) -> Grants:
        """Logins."""
        from broker.store.aws import client
        from broker.store.grants import Grants

        return Grants(client("dynamodb"), self.settings.grants_table)

    @cached_property
    def keys(self) -> KeyStore:
        """The broker's keys."""
        from broker.store.aws import client
        from broker.store.secrets import KeyStore

        return KeyStore(client("secretsmanager"), self.settings.keys_secret)

    @cached_property
    def _credentials(self) -> CredentialStore:
        from broker.store.aws import client
        from broker.store.secrets import CredentialStore

        return CredentialStore(client("secretsmanager"), self.settings.provider_secret_prefix)

    @cached_property
    def http(self) -> BoundedHttp:
        """The bounded HTTP client for calls to providers."""
        from broker.upstream.http import BoundedHttp

        return BoundedHttp(allow_loopback=self.settings.local)

    def provider(self, name: str) -> Provider:
        """The provider's dialect, as registered. Errors: ProviderUnusable, StoreUnavailable."""
        from broker.upstream import catalogue, schema

        entry = self.registry.provider(name)
        if entry is None or entry.disabled:
            raise ProviderUnusable(f"provider {name} is {'disabled' if entry else 'not registered'}")
        known = self._providers.get(name)
        if known and known[0] == entry:
            return known[1]
        try:
            base = entry.document if entry.document is not None else catalogue.document(entry.catalogue or name)
            document = schema.merge_overrides(base, entry.overrides)
            provider = schema.parse_provider(
                name, document, source=f"{name}.toml", variables=entry.variables, local=self.settings.local
            )
        except (schema.ProviderFileError, KeyError) as error:
            raise ProviderUnusable(f"provider {name}: {error}") from None
        problem = provider.usable_problem()
        if problem:
            raise ProviderUnusable(f"provider {name}: {problem}")
        self._providers[name] = (entry, provider)
        return provider

    def provider_credentials(self, name: str) -> Credentials:
        """The broker's client id and secret at a provider. Errors: StoreUnavailable."""
        from broker.upstream.authorization import Credentials

        return Credentials(*self._credentials.credentials(name))

    def forget(self) -> None:
        """Drop everything remembered of the Registry and of secrets."""
        self.registry.forget()
        self.keys.forget()
        self._credentials.forget()


@cache
def runtime() -> Runtime:
    """The runtime of this function instance."""
    return Runtime(from_environment())
