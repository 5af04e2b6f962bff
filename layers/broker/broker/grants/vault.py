"""The vault: the provider's tokens of a login, always fresh, refreshed by one instance at a time, never lost.

Refresh is single-flight across all function instances: a lease taken by a conditional write, a call to the provider with a
total deadline shorter than the lease, and a write fenced by the lease *before* the new token is used. Whoever does not get
the lease uses the token that is still valid, or waits a bounded time for the winner's.

An upstream that is down is never an end of the login: only a definite "this grant is dead" from the provider is.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from broker import audit, clock
from broker.crypto import sealing
from broker.protocol.errors import TEMPORARILY_UNAVAILABLE, OAuthError
from broker.runtime import ProviderUnusable, Runtime
from broker.store.aws import StoreUnavailable
from broker.store.grants import Grant, Link, LinkRefused
from broker.upstream.dialect import can_refresh, refresh_due_at, refresh_tokens, revoke_tokens
from broker.upstream.failures import UpstreamFailure, answer_in_refresh
from broker.upstream.http import Deadline
from broker.upstream.schema import Provider
from broker.upstream.tokens import UpstreamTokens

_PURPOSE = "token-broker upstream tokens"
COOL_DOWN = 5
"""Seconds without another try after a refresh failed, so that an outage is not made worse."""
POLL_SECONDS = 0.1
WRITE_TRIES = 4
"""A refreshed token that is not written is lost with the grant, so its write is repeated."""

sleep: Callable[[float], None] = time.sleep


class LinkDead(Exception):
    """The provider will give no more tokens for this login: the person has to log in again."""


class LinkUnavailable(Exception):
    """The provider's token is not fresh and cannot be made so now. `retry_after`: seconds."""

    def __init__(self, retry_after: int, failure: UpstreamFailure | None = None) -> None:
        super().__init__("the provider's token cannot be refreshed now")
        self.retry_after = retry_after
        self.failure = failure


@dataclass(frozen=True)
class Fresh:
    """The provider's tokens, and the link that they were read from."""

    link: Link
    tokens: UpstreamTokens


def temporarily_unavailable(detail: str, retry_after: int = 2) -> OAuthError:
    """The answer when nothing is lost and the same request may succeed later."""
    return OAuthError(
        TEMPORARILY_UNAVAILABLE, "please repeat the request later", detail=detail, retry_after=retry_after
    )


def with_tokens(link: Link, tokens: UpstreamTokens, grant_secret: bytes) -> Link:
    """`link` with `tokens` sealed for its grant, provider and version."""
    sealed = sealing.seal(grant_secret, _PURPOSE, tokens.to_json().encode(), _bound_to(link))
    return replace(link, sealed=sealed)


def tokens_of(link: Link, grant_secret: bytes) -> UpstreamTokens:
    """The tokens of a link. Errors: SealBroken."""
    return UpstreamTokens.from_json(sealing.unseal(grant_secret, _PURPOSE, link.sealed, _bound_to(link)))


def due_at(provider: Provider, tokens: UpstreamTokens, now: int) -> int:
    """When to refresh tokens received `now` (epoch seconds), 0 for never: they do not expire, or cannot be refreshed."""
    if not can_refresh(provider, tokens):
        return 0
    return refresh_due_at(provider, tokens, now) or 0


def renew_at_refresh(runtime: Runtime, grant: Grant, link: Link, grant_secret: bytes) -> int:
    """Make the provider's token fresh before a client's refresh is granted. Returns when it falls due next.

    Errors: LinkDead when the provider ended the access; OAuthError temporarily_unavailable when the token has expired and
    cannot be renewed now.
    """
    try:
        provider = runtime.provider(grant.provider)
        return fresh_tokens(runtime, provider, link, grant_secret).link.due_at
    except LinkUnavailable as unavailable:
        raise temporarily_unavailable("the provider's token cannot be renewed", unavailable.retry_after) from None
    except ProviderUnusable as error:
        raise temporarily_unavailable(error.detail, 60) from None


def fresh_tokens(
    runtime: Runtime, provider: Provider, link: Link, grant_secret: bytes, *, rejected_version: int | None = None
) -> Fresh:
    """The provider's tokens, refreshed if they are due, or if the provider rejected those of `rejected_version`.

    Errors: LinkDead, LinkUnavailable, StoreUnavailable.
    """
    tokens = tokens_of(link, grant_secret)
    rejected = link.version == rejected_version
    now = clock.now()
    if not rejected and not _is_due(provider, link, tokens, now):
        return Fresh(link, tokens)
    if not can_refresh(provider, tokens):
        if rejected or (tokens.expires_at is not None and tokens.expires_at <= now):
            raise LinkDead
        return Fresh(link, tokens)
    lease_id = secrets.token_urlsafe(9)
    try:
        runtime.grants.take_lease(link, lease_id, runtime.settings.lease)
    except LinkRefused as refused:
        return _without_lease(runtime, provider, link, tokens, grant_secret, refused.link, rejected)
    return _refresh(runtime, provider, link, tokens, grant_secret, lease_id, rejected)


def revoke_upstream(runtime: Runtime, grant_id: str, grant_secret: bytes) -> bool:
    """Tell the provider that its tokens of an ended login are no longer needed, and delete them here.

    Best effort: whatever fails changes nothing for the client. Returns whether the provider was told.
    """
    try:
        grant, link = runtime.grants.read(grant_id)
        if grant is None or link is None:
            return False
        told = _tell_provider(runtime, link, grant_secret)
        runtime.grants.drop_link(grant_id)
    except (StoreUnavailable, sealing.SealBroken) as error:
        audit.event("upstream.failed", grant_id=grant_id, phase="revoke", kind=type(error).__name__)
        return False
    return told


def _tell_provider(runtime: Runtime, link: Link, grant_secret: bytes) -> bool:
    deadline = Deadline.after(runtime.settings.upstream_deadline / 2)
    try:
        provider = runtime.provider(link.provider)
        credentials = runtime.provider_credentials(link.provider)
        return revoke_tokens(provider, credentials, runtime.http, tokens_of(link, grant_secret), deadline=deadline)
    except UpstreamFailure as failure:
        report(link.grant_id, link.provider, "revoke", failure)
    except ProviderUnusable as error:
        audit.event(
            "upstream.failed", grant_id=link.grant_id, provider=link.provider, phase="revoke", detail=error.detail
        )
    return False


def report(grant_id: str, provider: str, phase: str, failure: UpstreamFailure) -> None:
    """Put a provider's failure into the audit log; a fault of our own configuration under its own name, for an alarm."""
    name = "upstream.misconfigured" if failure.alarm else "upstream.failed"
    audit.event(
        name,
        grant_id=grant_id,
        provider=provider,
        phase=phase,
        kind=failure.kind.name,
        row=failure.row,
        status=failure.status,
        detail=failure.detail,
    )


def _bound_to(link: Link) -> bytes:
    return f"{link.grant_id}|{link.provider}|{link.version}".encode()


def _is_due(provider: Provider, link: Link, tokens: UpstreamTokens, now: int) -> bool:
    if tokens.expires_at is None:
        return False
    # The margin is a part of the lifetime at receipt; of what is left now it would never be used up before the end.
    return (link.due_at if can_refresh(provider, tokens) else tokens.expires_at) <= now


def _still_valid(tokens: UpstreamTokens) -> bool:
    return tokens.expires_at is None or tokens.expires_at > clock.now()


def _refresh(
    runtime: Runtime,
    provider: Provider,
    link: Link,
    tokens: UpstreamTokens,
    grant_secret: bytes,
    lease_id: str,
    rejected: bool,
) -> Fresh:
    """With the lease held: call the provider, write, then answer."""
    try:
        credentials = runtime.provider_credentials(provider.name)
        deadline = Deadline.after(runtime.settings.upstream_deadline)
        new = refresh_tokens(provider, credentials, runtime.http, tokens, now=clock.now(), deadline=deadline)
    except UpstreamFailure as failure:
        return _after_failure(runtime, link, tokens, grant_secret, lease_id, rejected, failure)
    except StoreUnavailable:
        runtime.grants.release_lease(link, lease_id, 0)
        raise
    due = due_at(provider, new, clock.now())
    successor = replace(link, version=link.version + 1, due_at=due, lease_id="", lease_until=0)
    written = with_tokens(successor, new, grant_secret)
    try:
        _write_surely(runtime, written, lease_id)
    except LinkRefused as refused:
        # Another instance took over after the lease ran out; what it wrote is newer.
        return _newer(refused.link, link, grant_secret)
    audit.event("upstream.refreshed", grant_id=link.grant_id, provider=link.provider, version=written.version)
    return Fresh(written, new)


def _write_surely(runtime: Runtime, link: Link, lease_id: str, tries: int = WRITE_TRIES) -> None:
    try:
        runtime.grants.write_link(link, lease_id)
    except StoreUnavailable:
        if tries == 1:
            raise
        sleep(POLL_SECONDS * 2 ** (WRITE_TRIES - tries))
        _write_surely(runtime, link, lease_id, tries - 1)
    except LinkRefused as refused:
        # A repeated write whose first answer was lost finds its own work.
        if refused.link is None or (refused.link.version, refused.link.sealed) != (link.version, link.sealed):
            raise


def _after_failure(
    runtime: Runtime,
    link: Link,
    tokens: UpstreamTokens,
    grant_secret: bytes,
    lease_id: str,
    rejected: bool,
    failure: UpstreamFailure,
) -> Fresh:
    report(link.grant_id, link.provider, "refresh", failure)
    answer = answer_in_refresh(failure)
    if answer.grant_is_dead:
        # A refresh that raced with this one may have used the token up: what is in the table decides.
        current = runtime.grants.read_link(link.grant_id)
        if current is not None and current.version != link.version:
            return Fresh(current, tokens_of(current, grant_secret))
        raise LinkDead
    retry_after = answer.retry_after or COOL_DOWN
    runtime.grants.release_lease(link, lease_id, clock.now() + min(retry_after, COOL_DOWN))
    if _still_valid(tokens) and not rejected:
        return Fresh(link, tokens)
    raise LinkUnavailable(retry_after, failure)


def _without_lease(
    runtime: Runtime,
    provider: Provider,
    link: Link,
    tokens: UpstreamTokens,
    grant_secret: bytes,
    current: Link | None,
    rejected: bool,
) -> Fresh:
    """Another instance is refreshing, has just done so, or a refresh has just failed."""
    waited_until = time.monotonic() + runtime.settings.upstream_deadline
    while True:
        if current is None:
            raise LinkDead
        if current.version != link.version:
            return Fresh(current, tokens_of(current, grant_secret))
        if _still_valid(tokens) and not rejected:
            return Fresh(link, tokens)
        if current.cool_until > clock.now():
            raise LinkUnavailable(max(1, current.cool_until - clock.now()))
        if current.lease_until <= clock.now_ms():
            return fresh_tokens(
                runtime, provider, current, grant_secret, rejected_version=current.version if rejected else None
            )
        if time.monotonic() >= waited_until:
            raise LinkUnavailable(2)
        sleep(POLL_SECONDS)
        current = runtime.grants.read_link(link.grant_id)


def _newer(current: Link | None, mine: Link, grant_secret: bytes) -> Fresh:
    if current is None:
        raise LinkDead
    if current.version == mine.version:
        raise LinkUnavailable(2)
    return Fresh(current, tokens_of(current, grant_secret))
