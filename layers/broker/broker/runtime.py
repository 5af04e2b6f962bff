"""Wiring: what the endpoints work with, made once per function instance and only when first used.

Everything heavy is imported where it is made, so that a function which never talks to a provider does not pay for it.
"""

from __future__ import annotations

import os
from functools import cache, cached_property
from typing import TYPE_CHECKING

from broker.settings import Settings, from_environment

if TYPE_CHECKING:
    from broker.brand import Brand
    from broker.client_directory import ClientDirectory
    from broker.limiter import Limiter
    from broker.protocol.clients import Client
    from broker.provider_credentials import ProviderCredentials
    from broker.store.brands import Brands
    from broker.store.counters import Counters
    from broker.store.device_logins import DeviceLogins
    from broker.store.grants import Grants
    from broker.store.registrations import Registrations
    from broker.store.registry import ProviderEntry, Registry
    from broker.store.rescue import RescueQueue
    from broker.store.secrets import KeyStore
    from broker.store.self_registered import SelfRegistered
    from broker.upstream.authorization import Credentials
    from broker.upstream.client_keys import ClientKeys
    from broker.upstream.discovery import Discovery, Metadata
    from broker.upstream.http import BoundedHttp
    from broker.upstream.provider import Provider


class ProviderUnusable(Exception):
    """The provider is not registered, disabled, or its file cannot be used. `detail` is for the log."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ProviderUnreachable(ProviderUnusable):
    """The provider's discovery document cannot be had at present."""


class Runtime:
    """Settings and the things that do I/O."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._providers: dict[str, tuple[ProviderEntry, Metadata | None, Provider]] = {}

    @cached_property
    def registry(self) -> Registry:
        """Clients and providers."""
        from broker.store.aws import client
        from broker.store.registry import Registry

        return Registry(client("dynamodb"), self.settings.registry_table, self.settings.registry_cache)

    @cached_property
    def registrations(self) -> Registrations:
        """The policy for clients that nobody registered by hand."""
        from broker.store.aws import client
        from broker.store.registrations import Registrations

        return Registrations(client("dynamodb"), self.settings.registry_table, self.settings.registry_cache)

    @cached_property
    def self_registered(self) -> SelfRegistered:
        """The clients that register themselves, as they are at this moment, and their writes."""
        from broker.store.aws import client
        from broker.store.self_registered import SelfRegistered

        table = self.settings.registry_table
        return SelfRegistered(client("dynamodb"), table, lambda: client("dynamodb", attempts=1))

    @cached_property
    def directory(self) -> ClientDirectory:
        """Clients by their id, wherever they are described."""
        from broker.client_directory import ClientDirectory
        from broker.store.aws import client
        from broker.store.client_documents import ClientDocuments

        documents = ClientDocuments(client("dynamodb"), self.settings.grants_table)
        return ClientDirectory(
            self.registry,
            self.registrations,
            documents,
            lambda: self.document_http,
            lambda: self.limiter,
            local=self.settings.local,
        )

    def client(self, client_id: str) -> Client | None:
        """The client of that id, or None. Disabled clients are returned. Errors: as of ClientDirectory.client."""
        from broker.protocol.client_id_urls import looks_like_url

        return self.directory.client(client_id) if looks_like_url(client_id) else self.registry.client(client_id)

    @cached_property
    def _brands(self) -> Brands:
        from broker.store.aws import client
        from broker.store.brands import Brands

        return Brands(client("dynamodb"), self.settings.registry_table, self.settings.registry_cache)

    def brand(self) -> Brand:
        """How the pages look. Never fails; read by the functions that show pages, and only when they show one."""
        from broker.brand import DEFAULT

        return self._brands.current() if self.settings.registry_table else DEFAULT

    @cached_property
    def grants(self) -> Grants:
        """Logins."""
        from broker.store.aws import client
        from broker.store.grants import Grants

        return Grants(client("dynamodb"), self.settings.grants_table)

    @cached_property
    def rescue(self) -> RescueQueue:
        """Where refreshed tokens go that the table does not take. Its client is made when it is first needed, hardly ever."""
        from broker.store.aws import client
        from broker.store.rescue import RescueQueue

        # One attempt: messages whose answer was lost cannot be received again for a while, so a second would find nothing.
        return RescueQueue(lambda: client("sqs", timeout=2.0, attempts=1), self.settings.rescue_queue)

    @cached_property
    def limiter(self) -> Limiter:
        """The rate limits. With a setting that cannot be read the defaults hold: no slip of it is to stop all requests."""
        from broker import audit
        from broker.limiter import Limiter
        from broker.protocol.limits import DEFAULTS, parse_limits
        from broker.store.aws import client
        from broker.store.counters import Counters

        try:
            limits = parse_limits(self.settings.rate_limits)
        except ValueError as problem:
            audit.event("limit.unreadable", detail=str(problem))
            limits = DEFAULTS
        return Limiter(Counters(client("dynamodb"), self.settings.grants_table), limits)

    @cached_property
    def device_logins(self) -> DeviceLogins:
        """Logins, with the steps that only devices take."""
        from broker.store.aws import client
        from broker.store.device_logins import DeviceLogins

        return DeviceLogins(client("dynamodb"), self.settings.grants_table)

    @cached_property
    def counters(self) -> Counters:
        """Counters that all instances share."""
        from broker.store.aws import client
        from broker.store.counters import Counters

        return Counters(client("dynamodb"), self.settings.grants_table)

    @cached_property
    def keys(self) -> KeyStore:
        """The broker's keys."""
        from broker.store.aws import client
        from broker.store.secrets import KeyStore

        return KeyStore(client("secretsmanager"), self.settings.keys_secret)

    @cached_property
    def _credentials(self) -> ProviderCredentials:
        from broker.provider_credentials import ProviderCredentials
        from broker.store.aws import client
        from broker.store.secrets import CredentialStore

        return ProviderCredentials(CredentialStore(client("secretsmanager"), self.settings.provider_secret_prefix))

    @cached_property
    def http(self) -> BoundedHttp:
        """The bounded HTTP client for calls to providers."""
        from broker.measured_http import MeasuredHttp

        return MeasuredHttp(allow_loopback=self.settings.local)

    @cached_property
    def api_http(self) -> BoundedHttp:
        """The same for calls of their APIs, whose answers may be as large as a function's own."""
        from broker.measured_http import MeasuredHttp
        from broker.upstream.api import MAX_BODY

        return MeasuredHttp(allow_loopback=self.settings.local, max_body=MAX_BODY)

    @cached_property
    def client_keys(self) -> ClientKeys:
        """The public keys of clients that publish them at a URL."""
        from broker import clock
        from broker.upstream.client_keys import OF_CLIENTS, ClientKeys
        from broker.upstream.http import BoundedHttp

        http = BoundedHttp(allow_loopback=self.settings.local, max_body=OF_CLIENTS.max_bytes)
        return ClientKeys(http, clock.now, OF_CLIENTS)

    @cached_property
    def provider_keys(self) -> ClientKeys:
        """The public keys of OpenID providers, for their ID tokens."""
        from broker import clock
        from broker.upstream.client_keys import OF_PROVIDERS, ClientKeys
        from broker.upstream.http import BoundedHttp

        http = BoundedHttp(allow_loopback=self.settings.local, max_body=OF_PROVIDERS.max_bytes)
        return ClientKeys(http, clock.now, OF_PROVIDERS)

    @cached_property
    def _discovery(self) -> Discovery:
        from broker import clock
        from broker.upstream.discovery import MAX_DOCUMENT, Discovery
        from broker.upstream.http import BoundedHttp

        http = BoundedHttp(allow_loopback=self.settings.local, max_body=MAX_DOCUMENT)
        return Discovery(http, clock.now, local=self.settings.local)

    @cached_property
    def document_http(self) -> BoundedHttp:
        """The same for client id metadata documents, which are small."""
        from broker.upstream.client_documents import MAX_BYTES
        from broker.upstream.http import BoundedHttp

        return BoundedHttp(allow_loopback=self.settings.local, max_body=MAX_BYTES)

    def provider(self, name: str) -> Provider:
        """The provider's dialect, as registered, with what discovery adds to it.

        Errors: ProviderUnusable (ProviderUnreachable when it may pass), StoreUnavailable.
        """
        entry = self.registry.provider(name)
        if entry is None:
            # The name may be anything that somebody wrote into a URL, so it stays out of the log.
            raise ProviderUnusable("the provider is not registered")
        if entry.disabled:
            raise ProviderUnusable(f"provider {name} is disabled")
        known = self._providers.get(name)
        if known and known[0] == entry and (known[1] is None or known[1] is self._metadata(known[2])):
            return known[2]
        metadata, provider = self._parsed(entry)
        self._providers[name] = (entry, metadata, provider)
        return provider

    def _parsed(self, entry: ProviderEntry) -> tuple[Metadata | None, Provider]:
        from broker.upstream.reader import ProviderFileError
        from broker.upstream.registered import dialect_of

        try:
            provider = dialect_of(entry, local=self.settings.local)
            metadata = self._metadata(provider)
            if metadata is not None:
                provider = dialect_of(entry, local=self.settings.local, metadata=metadata)
        except (ProviderFileError, KeyError) as error:
            raise ProviderUnusable(f"provider {entry.name}: {error}") from None
        problem = provider.usable_problem()
        if problem:
            raise ProviderUnusable(f"provider {entry.name}: {problem}")
        return metadata, provider

    def _metadata(self, provider: Provider) -> Metadata | None:
        """What discovery says of a provider that needs it. Errors: ProviderUnreachable."""
        if provider.issuer is None or not provider.needs_discovery:
            return None
        from broker.upstream.discovery import DiscoveryFailed

        try:
            return self._discovery.metadata(provider.issuer)
        except DiscoveryFailed as failure:
            raise ProviderUnreachable(f"provider {provider.name}: {failure.detail}") from None

    def provider_credentials(self, name: str) -> Credentials:
        """The broker's client id and secret, or key, at a provider. Errors: StoreUnavailable."""
        return self._credentials.at(name)

    def warm_up(self, *, tokens: bool, providers: bool, proofs: bool, calls: bool) -> None:
        """Make the clients of AWS, which sends nothing yet, and import what requests need. Reads no key: a snapshot of the
        started function is to hold none."""
        import concurrent.futures.thread  # noqa: F401 - of the rate limits
        import encodings.idna  # noqa: F401 - of every connection

        from broker import log  # noqa: F401
        from broker.protocol import client_id_urls  # noqa: F401

        _ = self.registry, self.grants, self.keys
        if tokens:
            import jwt  # noqa: F401
        if tokens or proofs:
            from cryptography.hazmat.backends.openssl import backend  # noqa: F401
            from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: F401
        if providers:
            from broker.upstream import dialect, discovery, registered  # noqa: F401

            _ = self._credentials, self.http
        if calls:
            self.http.prepare()
        if start_type() == "snap-start":
            from snapshot_restore_py import register_after_restore  # type: ignore[import-not-found] # Lambda's runtime has it

            register_after_restore(_be_unlike_the_snapshot)

    def forget(self) -> None:
        """Drop everything remembered of the Registry and of secrets."""
        self.registry.forget()
        self.registrations.forget()
        self._brands.forget()
        self.directory.forget()
        self.keys.forget()
        self._credentials.forget()
        self.client_keys.forget()
        self.provider_keys.forget()
        self._discovery.forget()


def start_type() -> str | None:
    """How Lambda starts the functions (on-demand, provisioned-concurrency or snap-start), None where it is not Lambda that does.
    Its start of a function has a whole processor, and a request only a share of one."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE")


def _be_unlike_the_snapshot() -> None:
    """All instances that SnapStart restores begin with the snapshot's memory. Making TLS contexts has seeded OpenSSL's random
    generator by then, and two instances must not go on with the same random numbers (Lambda Developer Guide, "Handling
    uniqueness with Lambda SnapStart")."""
    import ssl

    ssl.RAND_add(os.urandom(48), 48)


@cache
def runtime() -> Runtime:
    """The runtime of this function instance."""
    return Runtime(from_environment())
