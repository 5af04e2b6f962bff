"""What clients that nobody registered by hand may be: self-registered ones (RFC 7591) and those described by a document.

The operator's rules as one value, and what follows from them for a client. Pure: must never look anything up.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from broker.protocol import token_exchange
from broker.protocol.capabilities import GRANT_TYPES
from broker.protocol.clients import OIDC_SCOPES
from broker.protocol.registration import LIFETIMES, InvalidRegistration, is_resource, is_scope_token

MODES = ("off", "token", "open")
"""Nobody may register; holders of an initial access token may; everybody may."""
MAX_CLIENTS = (1, 1_000_000)

_HOST = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|::1")
_APP_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+:")
_LISTS = ("providers", "scope", "grant_types", "resources", "redirect_hosts", "document_hosts")


@dataclass(frozen=True)
class RegistrationPolicy:
    """The operator's rules. Durations are seconds; None means the deployment's default.

    Attributes:
        mode: one of MODES.
        documents: client ids may be URLs of client id metadata documents.
        document_hosts: hosts that such a URL may name; empty = every public host. `*.example.com` is every host below.
        providers: the providers that these clients may use.
        scope: what they may ask for; all of it when they register no scope.
        grant_types: what they may register for.
        resources: resource indicators that they may ask for, beside the broker itself (RFC 8707).
        redirect_hosts: hosts, or schemes of apps like `com.example.app:`, that their redirect URIs may have; empty = all.
        max_clients: how many registered clients there may be at a time.
    """

    mode: str = "off"
    documents: bool = False
    document_hosts: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    scope: tuple[str, ...] = OIDC_SCOPES
    grant_types: tuple[str, ...] = ("authorization_code", "refresh_token")
    resources: tuple[str, ...] = ()
    redirect_hosts: tuple[str, ...] = ()
    max_clients: int = 10_000
    access_token_lifetime: int | None = None
    idle_lifetime: int | None = None
    absolute_lifetime: int | None = None
    retry_window: int | None = None

    def lets_register(self) -> bool:
        """Whether the registration endpoint is there for anybody."""
        return self.mode != "off"

    def lets_redirect_to(self, redirect_uri: str) -> bool:
        """Whether a redirect URI, valid in itself, is at a host or of a scheme that the operator lets in."""
        if not self.redirect_hosts:
            return True
        parts = urlsplit(redirect_uri)
        if parts.scheme in ("http", "https"):
            return _is_listed(parts.hostname or "", self.redirect_hosts)
        return f"{parts.scheme}:" in self.redirect_hosts

    def lets_read_documents_of(self, host: str) -> bool:
        """Whether client ids that point to this host (lower case) count."""
        return self.documents and (not self.document_hosts or _is_listed(host, self.document_hosts))


def validate_policy(policy: RegistrationPolicy, limits: Mapping[str, tuple[int, int]]) -> None:
    """Check everything about a policy that needs no look-up. `limits`: as for `validate_client`.

    Errors: InvalidRegistration naming the field of RegistrationPolicy.
    """
    for field, rule in _faults(policy):
        raise InvalidRegistration(field, rule)
    for field in LIFETIMES:
        value, (low, high) = getattr(policy, field), limits[field]
        if value is not None and not low <= value <= high:
            raise InvalidRegistration(field, f"must be from {low} to {high} seconds, not {value}")


def _faults(policy: RegistrationPolicy) -> Iterator[tuple[str, str]]:
    if policy.mode not in MODES:
        yield "mode", f"must be {', '.join(MODES)}"
    for field in _LISTS:
        if len(set(getattr(policy, field))) < len(getattr(policy, field)):
            yield field, "has the same entry twice"
    if (policy.lets_register() or policy.documents) and not policy.providers:
        yield "providers", "must name at least one, or nobody could log in at such a client"
    if not policy.scope or not all(is_scope_token(token) for token in policy.scope):
        yield "scope", "must be scopes of printable ASCII without space, quote and backslash (RFC 6749 section 3.3)"
    if not policy.grant_types or set(policy.grant_types) - set(GRANT_TYPES):
        yield "grant_types", f"must be of {', '.join(GRANT_TYPES)}"
    if token_exchange.GRANT_TYPE in policy.grant_types:
        yield "grant_types", "must not have token-exchange: who gets a provider's token is decided client by client"
    if not all(is_resource(resource) for resource in policy.resources):
        yield "resources", "must be absolute URIs without a fragment (RFC 8707 section 2)"
    if not all(_HOST.fullmatch(host) or _APP_SCHEME.fullmatch(host) for host in policy.redirect_hosts):
        yield (
            "redirect_hosts",
            "must be host names in lower case, *.example.com, or an app's scheme like com.example.app:",
        )
    if not all(_HOST.fullmatch(host) for host in policy.document_hosts):
        yield "document_hosts", "must be host names in lower case, or *.example.com for all hosts below one"
    if not MAX_CLIENTS[0] <= policy.max_clients <= MAX_CLIENTS[1]:
        yield "max_clients", f"must be from {MAX_CLIENTS[0]} to {MAX_CLIENTS[1]}"


def _is_listed(host: str, patterns: tuple[str, ...]) -> bool:
    """`*.example.com` lets in every host below example.com, and not example.com itself."""
    return any(host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern for pattern in patterns)
