"""Who a client id stands for: a client in the Registry, or one described by the document that its id points to.

What the operator registered counts first. A document is read when its last reading has expired. What is wrong with one is
never remembered; while its host cannot be reached, the last reading serves for a week, and where a limit keeps the broker from
asking, for an hour.
"""

from collections.abc import Callable
from dataclasses import replace

from broker import audit, clock, invocation
from broker.limiter import Limiter, Subject
from broker.protocol import client_id_urls
from broker.protocol.client_metadata import document_client
from broker.protocol.clients import Client
from broker.protocol.errors import OAuthError
from broker.protocol.json_documents import parse_object
from broker.protocol.limits import address_key
from broker.protocol.registration import InvalidRegistration
from broker.protocol.registration_policy import RegistrationPolicy
from broker.remembered import remember
from broker.settings import LIMITS
from broker.store.aws import StoreUnavailable
from broker.store.client_documents import ClientDocument, ClientDocuments
from broker.store.registrations import Registrations
from broker.store.registry import Registry
from broker.upstream.client_documents import MAX_BYTES, DocumentRefused, DocumentUnreachable, FetchedDocument, fetch
from broker.upstream.transport import Sender

RETRY_SECONDS = 60
"""While a host cannot be reached, an instance asks it no more often than this, if it has an earlier reading."""
GRACE_SECONDS = 3600
"""So long after its end a reading serves where a limit forbids a new one. No longer: by using up the limit, anybody could else
keep a client alive that its owner has taken down."""
REMEMBERED = 200
"""Documents that one instance keeps in memory."""


class ClientDocumentUnavailable(StoreUnavailable):
    """A client's document cannot be read now, and no earlier reading is there. The same request may succeed later."""

    event = None  # client_document.unreachable has said it, and it is no failure of the store


class ClientDirectory:
    """Looks clients up by their id."""

    def __init__(
        self,
        registry: Registry,
        registrations: Registrations,
        documents: ClientDocuments,
        http: Callable[[], Sender],
        limiter: Callable[[], Limiter],
        *,
        local: bool,
    ) -> None:
        self._registry = registry
        self._registrations = registrations
        self._documents = documents
        self._http = http
        self._limiter = limiter
        self._local = local
        self._remembered: dict[str, ClientDocument] = {}

    def client(self, client_id: str) -> Client | None:
        """The client, or None when nobody is known by that id.

        Errors: StoreUnavailable; OAuthError 429 when its document would have to be read, and too many were.
        """
        if client_id_urls.fault(client_id, local=self._local) is not None:
            return self._registry.client(client_id)
        policy = self._registrations.policy()
        registered = self._registry.client(client_id)
        if registered is not None or not policy.lets_read_documents_of(client_id_urls.host_of(client_id)):
            return registered
        return self._described(client_id, policy)

    def origin_is_listed(self, origin: str) -> bool:
        """Whether any client, registered or described, lists this browser origin. Errors: StoreUnavailable."""
        if self._registry.origin_is_listed(origin):
            return True
        return self._registrations.policy().documents and self._documents.origin_is_listed(origin)

    def forget(self) -> None:
        """Drop what is remembered."""
        self._remembered.clear()

    def _described(self, client_id: str, policy: RegistrationPolicy) -> Client | None:
        known = self._remembered.get(client_id)
        if known is None or clock.now() >= known.expires_at:
            known = self._documents.document(client_id)
        try:
            if known is None or clock.now() >= known.expires_at:
                return self._read(client_id, policy, known)
            self._remember(known)
            return self._client_of(known, policy)
        except (DocumentRefused, InvalidRegistration) as problem:
            audit.event("client_document.refused", client_id=client_id, reason=str(problem))
            return None

    def _read(self, client_id: str, policy: RegistrationPolicy, known: ClientDocument | None) -> Client:
        now = clock.now()
        try:
            fetched = self._fetched(client_id, is_known=known is not None)
        except OAuthError:
            if known is None or now >= known.expires_at + GRACE_SECONDS:
                raise
            return self._client_of(known, policy)
        except DocumentUnreachable as problem:
            audit.event("client_document.unreachable", client_id=client_id, reason=problem.reason)
            if known is None:
                raise ClientDocumentUnavailable(f"client document: {problem.reason}") from None
            self._remember(replace(known, expires_at=now + RETRY_SECONDS))
            return self._client_of(known, policy)
        client = document_client(client_id, fetched.members, policy, LIMITS)
        document = ClientDocument(client_id, fetched.text, now, now + fetched.lifetime)
        self._documents.keep(document, client.origins)
        self._remember(document)
        audit.event("client_document.read", client_id=client_id)
        return client

    def _fetched(self, client_id: str, *, is_known: bool) -> FetchedDocument:
        """Reads it, counted by who asks and by the host that is asked: anybody may name any URL, and what is wrong with one is
        not remembered, so the broker would call as often as a stranger likes. A client with a reading is counted apart from its
        host, or URLs that a stranger makes up would keep its document from being read. Errors: OAuthError 429, those of `fetch`.
        """
        limiter = self._limiter()
        subjects = (
            Subject("client_document.address", address_key(invocation.source_ip())),
            Subject("client_document.host", client_id if is_known else client_id_urls.host_of(client_id)),
        )
        limiter.check(subjects)
        count = limiter.count(subjects)
        try:
            return fetch(self._http(), client_id)
        finally:
            limiter.finish(count, failed=False)

    def _client_of(self, document: ClientDocument, policy: RegistrationPolicy) -> Client:
        """Checked anew, as the policy may have changed since. Errors: InvalidRegistration."""
        members = parse_object(document.text.encode(), max_bytes=MAX_BYTES)
        return document_client(document.client_id, members, policy, LIMITS)

    def _remember(self, document: ClientDocument) -> None:
        remember(self._remembered, document.client_id, document, REMEMBERED)
