"""The vault: the provider's tokens of a login, always fresh, refreshed by one instance at a time, never lost.

Refresh is single-flight across all function instances: a lease taken by a conditional write and kept while the provider is being
asked, and a write fenced by the version *before* the new token is used. Whoever does not get the lease uses the token that is
still valid, or waits a bounded time for the winner's. What cannot be written goes to the rescue queue (recovery.py).

An upstream that is down is never an end of the login: only a definite "this grant is dead" from the provider is, or days of
refusals that nobody can explain. docs/crash-points.md says what happens where.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from broker import audit, clock, invocation
from broker.crypto import sealing
from broker.grants import back_off, recovery
from broker.protocol.errors import TEMPORARILY_UNAVAILABLE, ErrorKind, OAuthError
from broker.runtime import ProviderUnusable, Runtime
from broker.store.aws import StoreUnavailable
from broker.store.grants import Grant
from broker.store.links import Link, LinkRefused
from broker.upstream.failures import FailureKind, UpstreamFailure, answer_in_refresh
from broker.upstream.renewal import can_refresh, refresh_due_at
from broker.upstream.tokens import UpstreamTokens
from broker.upstream.transport import Deadline

if TYPE_CHECKING:
    from broker.upstream.authorization import Credentials
    from broker.upstream.provider import Provider

_PURPOSE = "token-broker upstream tokens"
COOL_DOWN = 5
"""Seconds without another try after a refresh failed, so that an outage is not made worse; the provider may ask for others."""
REFUSALS, REFUSED_SECONDS = 5, 2 * 86400
"""So many unknown refusals over so long are the provider's last word."""
POLL_SECONDS = 0.1
WRITE_TRIES, WRITE_SECONDS = 4, 3.0
"""A refreshed token that is not written is lost with the grant, so its write is repeated."""
PROLONGATIONS = 3
"""How often a lease is prolonged within its own length: two may come too late, or not at all."""
LATE_LOOKS = 6
"""How often a table is looked into, over WRITE_SECONDS, for what an instance that lost its lease may still write."""
REVOKE_TURNS = 3
"""The most versions of a link that one request tells the provider of."""
SHORTEST_CALL = 1.0
NEW_SECONDS = 60

sleep: Callable[[float], None] = time.sleep


class LinkDead(Exception):
    """The provider will give no more tokens for this login: the person has to log in again.

    `reason`: "refused" (the provider says that the grant is over), "unknown_refusals" (it has refused for days in a way
    that no table explains), "expired" (there is nothing to refresh with), "gone" (the login has no tokens here), or "unreadable"
    (the seal of those that are here does not open).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


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


def held_tokens(link: Link, grant_secret: bytes) -> UpstreamTokens:
    """The tokens of the link of a login that stands. Errors: LinkDead, as nobody will ever open what its own secret does not."""
    try:
        return tokens_of(link, grant_secret)
    except sealing.SealBroken:
        raise LinkDead("unreadable") from None


def due_at(provider: Provider, tokens: UpstreamTokens, now: int) -> int:
    """When to refresh tokens received `now` (epoch seconds), 0 for never: they do not expire, or cannot be refreshed."""
    if not can_refresh(provider, tokens):
        return 0
    return refresh_due_at(provider, tokens, now) or 0


def renew_at_refresh(runtime: Runtime, grant: Grant, link: Link, grant_secret: bytes) -> Fresh:
    """Make the provider's token fresh before a client's refresh is granted.

    Errors: LinkDead when the provider ended the access; OAuthError temporarily_unavailable when the token has expired and
    cannot be renewed now.
    """
    try:
        provider = runtime.provider(grant.provider)
        return fresh_tokens(runtime, provider, link, grant_secret)
    except LinkUnavailable as unavailable:
        raise _refusal(unavailable) from None
    except ProviderUnusable as error:
        raise temporarily_unavailable(error.detail, 60) from None


@dataclass(frozen=True)
class _Need:
    """A caller who needs the tokens of a link. `rejected_version`: the version that the provider no longer takes."""

    runtime: Runtime
    provider: Provider
    grant_secret: bytes = field(repr=False)
    rejected_version: int | None
    patience: Deadline

    def read(self, link: Link) -> Fresh:
        return Fresh(link, held_tokens(link, self.grant_secret))

    def is_met_by(self, held: Fresh) -> bool:
        """Whether these tokens will do although they are due."""
        rejected = held.link.version == self.rejected_version
        expires_at = held.tokens.expires_at
        return not rejected and (expires_at is None or expires_at > clock.now())

    def is_due(self, held: Fresh) -> bool:
        if held.link.version == self.rejected_version:
            return True
        if held.tokens.expires_at is None:
            return False
        # The margin is a part of the lifetime at receipt; of what is left now it would never be used up before the end.
        return (held.link.due_at if can_refresh(self.provider, held.tokens) else held.tokens.expires_at) <= clock.now()


def _refusal(unavailable: LinkUnavailable) -> OAuthError:
    """What a client's refresh is answered. A code of the provider about the request is passed on (row 11)."""
    if unavailable.failure is not None:
        answer = answer_in_refresh(unavailable.failure)
        if answer.status == 400:
            return OAuthError(ErrorKind(answer.error), "the provider refuses to renew its token like this")
    return temporarily_unavailable("the provider's token cannot be renewed", unavailable.retry_after)


def fresh_tokens(
    runtime: Runtime, provider: Provider, link: Link, grant_secret: bytes, *, rejected_version: int | None = None
) -> Fresh:
    """The provider's tokens, refreshed if they are due, or if the provider rejected those of `rejected_version`.

    Errors: LinkDead, LinkUnavailable, StoreUnavailable.
    """
    patience = Deadline.after(runtime.settings.upstream_deadline)
    return _fresh(_Need(runtime, provider, grant_secret, rejected_version, patience), link)


def is_new(link: Link) -> bool:
    """Whether the tokens came so lately that, if they are refused, others would change nothing. A call that is always refused
    would else cost a refresh at the provider each time."""
    return clock.now() < link.written_at + NEW_SECONDS


def refresh_seconds(runtime: Runtime, *, recovering: bool = False) -> float:
    """What a refresh may take until its outcome is safe. One that would be cut off is not begun."""
    before = recovery.DRAIN_SECONDS if recovering else 0.0
    return before + runtime.settings.upstream_deadline + WRITE_SECONDS + recovery.SEND_SECONDS + 1


def call_deadline(runtime: Runtime, *, before_refresh: bool) -> Deadline:
    """For a call to a provider. `before_refresh`: if it rejects the token, there has to be time for a refresh."""
    room = invocation.seconds_left() - (refresh_seconds(runtime) if before_refresh else SHORTEST_CALL)
    return Deadline.after(min(runtime.settings.upstream_deadline, max(room, SHORTEST_CALL)))


def revoke_upstream(runtime: Runtime, grant_id: str, grant_secret: bytes) -> bool:
    """Tell the provider that its tokens of an ended login are no longer needed, and delete them here.

    Best effort: whatever fails changes nothing for the client. Returns whether the provider was told.
    """
    try:
        grant, link = runtime.grants.read(grant_id)
    except StoreUnavailable as failure:
        audit.unavailable(failure)
        return False
    return grant is not None and link is not None and _let_go(runtime, link, grant_secret)


def finish_revocation(runtime: Runtime, grant_id: str, grant_secret: bytes, client_id: str | None) -> None:
    """Do what was left undone by an instance that died after it had ended a login: the provider is told, the tokens deleted.

    `client_id`: only for a login of this client. Best effort.
    """
    try:
        grant, link = runtime.grants.read(grant_id)
    except StoreUnavailable as failure:
        audit.unavailable(failure)
        return
    if grant is None or link is None or grant.stage != "ended" or client_id not in (None, grant.client_id):
        return
    if grant.ended_at + runtime.settings.lease < clock.now():  # before that, whoever ended it may be at it
        _let_go(runtime, link, grant_secret)


def drop(runtime: Runtime, grant_id: str) -> None:
    """Delete the provider's tokens of an ended login. Best effort."""
    try:
        runtime.grants.links.drop(grant_id)
    except StoreUnavailable as failure:
        audit.unavailable(failure)


def _let_go(runtime: Runtime, link: Link, grant_secret: bytes) -> bool:
    """Tell the provider of the tokens of an ended login, then delete what it was told of; whether it was told.

    A refresh that was under way may write newer ones meanwhile: those are next. None is begun once the login has ended, so there
    are few.
    """
    told = False
    for _ in range(REVOKE_TURNS):
        try:
            told = _tell_provider(runtime, link, tokens_of(link, grant_secret)) or told
        except sealing.SealBroken:  # no failure of the provider: it cannot even be asked
            audit.event("link.unreadable", grant_id=link.grant_id, provider=link.provider)
        newer = _dropped(runtime, link)
        if newer is None:
            break
        link = newer
    return told


def _dropped(runtime: Runtime, link: Link) -> Link | None:
    """Delete a link, best effort; the newer one that stands in its place, if one does."""
    try:
        runtime.grants.links.drop(link.grant_id, link.version)
    except LinkRefused as refused:
        return refused.link
    except StoreUnavailable as failure:
        audit.unavailable(failure)
    return None


def _tell_provider(runtime: Runtime, link: Link, tokens: UpstreamTokens) -> bool:
    from broker.upstream.dialect import revoke_tokens

    deadline = Deadline.after(runtime.settings.upstream_deadline / 2)
    try:
        provider = runtime.provider(link.provider)
        credentials = runtime.provider_credentials(link.provider)
        return revoke_tokens(provider, credentials, runtime.http, tokens, deadline=deadline)
    except UpstreamFailure as failure:
        report(link.grant_id, link.provider, "revoke", failure)
    except StoreUnavailable as failure:
        audit.unavailable(failure)
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


def _fresh(need: _Need, link: Link) -> Fresh:
    held = need.read(link)
    if not need.is_due(held):
        return held
    if not can_refresh(need.provider, held.tokens):
        if need.is_met_by(held):
            return held
        raise LinkDead("expired")
    if _is_too_late(need, recovering=_was_left_behind(link)):
        return _held_or_unavailable(need, held, LinkUnavailable(1))
    lease_id = secrets.token_urlsafe(9)
    try:
        # The secret first: whoever cannot have it must not keep others waiting.
        credentials = need.runtime.provider_credentials(need.provider.name)
        need.runtime.grants.links.take_lease(link, lease_id, need.runtime.settings.lease)
    except LinkRefused as refused:
        return _without_lease(need, held, refused.link)
    except StoreUnavailable:
        if need.is_met_by(held):
            return held
        raise
    return _refresh(need, held, credentials, lease_id)


def _is_too_late(need: _Need, *, recovering: bool = False) -> bool:
    """Whether Lambda could end the function before the outcome of a refresh is safe."""
    return invocation.seconds_left() < refresh_seconds(need.runtime, recovering=recovering)


def _was_left_behind(link: Link) -> bool:
    """Whether a lease on this version was never given back, so that its tokens may be in the rescue queue."""
    return bool(link.lease_id) or link.recover


def _held_or_unavailable(need: _Need, held: Fresh, unavailable: LinkUnavailable) -> Fresh:
    if need.is_met_by(held):
        return held
    raise unavailable


@contextmanager
def _keeping(need: _Need, link: Link, lease_id: str) -> Iterator[None]:
    """The lease is kept while the provider takes its time. It is short, so that nobody waits long for one who has died."""
    lease, done = need.runtime.settings.lease, threading.Event()

    def keep() -> None:
        while not done.wait(lease / PROLONGATIONS):
            try:
                need.runtime.grants.links.renew_lease(link, lease_id, lease)
            except LinkRefused:
                return
            except StoreUnavailable:
                continue

    invocation.start_thread(keep)
    try:
        yield
    finally:
        done.set()


def _refresh(need: _Need, held: Fresh, credentials: Credentials, lease_id: str) -> Fresh:
    """With the lease held: call the provider, write, then answer.

    Each step before the call may have taken as long as the AWS clients repeat it, so there is a look at the time after each.
    """
    from broker.upstream.dialect import refresh_tokens

    link, runtime = held.link, need.runtime
    with _keeping(need, link, lease_id):
        if _is_too_late(need, recovering=_was_left_behind(link)):
            return _not_begun(need, held, lease_id)
        if _was_left_behind(link):
            recovered = _recovered(need, link, lease_id)
            if recovered is not None:
                return _fresh(need, recovered)
            if _is_too_late(need):
                return _not_begun(need, held, lease_id)
        try:
            deadline = Deadline.after(runtime.settings.upstream_deadline)
            new = refresh_tokens(
                need.provider, credentials, runtime.http, held.tokens, now=clock.now(), deadline=deadline
            )
        except UpstreamFailure as failure:
            return _after_failure(need, held, lease_id, failure)
        return _written(need, link, new)


def _not_begun(need: _Need, held: Fresh, lease_id: str) -> Fresh:
    """Nothing was asked of the provider and nothing has failed: the next one may try at once."""
    _give_back(need, held.link, lease_id, 0)
    return _held_or_unavailable(need, held, LinkUnavailable(1))


def _recovered(need: _Need, link: Link, lease_id: str) -> Link | None:
    """The link as it is when what the rescue queue has is written, None if that was nothing for it.

    Without this, the old refresh token would be used a second time, for which some providers end the grant.
    """
    try:
        is_certain = recovery.bring_back(need.runtime, link)
        current = need.runtime.grants.links.read(link.grant_id)
        if current is not None and current.version == link.version and not is_certain:
            raise StoreUnavailable("the rescue queue may have new tokens for this login that are not written yet")
    except StoreUnavailable:
        # What was received and not written is hidden in the queue for 5 s: who looked now would find nothing, and go on.
        _give_back(need, link, lease_id, clock.now() + COOL_DOWN + 1)
        raise
    if current is None:
        raise LinkDead("gone")
    return current if current.version != link.version else None


def _written(need: _Need, link: Link, new: UpstreamTokens) -> Fresh:
    """The new tokens, once they are where they cannot be lost."""
    successor = Link(link.grant_id, link.provider, b"", link.version + 1, due_at(need.provider, new, clock.now()))
    written = with_tokens(successor, new, need.grant_secret)
    try:
        invocation.within(WRITE_SECONDS, lambda: _write(need.runtime, written))
    except LinkRefused as refused:
        # Another instance took over after the lease ran out; what it wrote is newer.
        return _newer(need, refused.link, link, new)
    except StoreUnavailable as failure:
        recovery.keep(need.runtime, written, failure)
    else:
        audit.event("upstream.refreshed", grant_id=link.grant_id, provider=link.provider, version=written.version)
    return Fresh(written, new)


def _write(runtime: Runtime, link: Link) -> None:
    for attempt in range(WRITE_TRIES):
        try:
            return runtime.grants.links.write(link)
        except StoreUnavailable:
            if attempt == WRITE_TRIES - 1:
                raise
        sleep(POLL_SECONDS * 2**attempt)
    return None


def _after_failure(need: _Need, held: Fresh, lease_id: str, failure: UpstreamFailure) -> Fresh:
    link = held.link
    report(link.grant_id, link.provider, "refresh", failure)
    answer = answer_in_refresh(failure)
    if answer.grant_is_dead:
        return _last_word(need, held, lease_id, "refused")
    now = clock.now()
    refusals, since = None, 0
    if failure.kind is FailureKind.UNKNOWN_REFUSAL:
        # Row 12: a refusal that nobody can explain may be the provider's bad day, but not for days on end.
        refusals, since = link.refusals + 1, link.refused_since or now
        if refusals >= REFUSALS and now - since >= REFUSED_SECONDS:
            return _last_word(need, held, lease_id, "unknown_refusals")
    asked = answer.retry_after if failure.retry_after is not None else None
    retry_after = asked or _back_off(link)
    _give_back(need, link, lease_id, now + (asked or COOL_DOWN), refusals=refusals, refused_since=since)
    return _held_or_unavailable(need, held, LinkUnavailable(retry_after, failure))


def _back_off(link: Link) -> int:
    """Seconds that a client is asked to wait, whether it was he that failed or somebody just before him."""
    now = clock.now()
    return back_off.retry_after(now - (link.failing_since or now), secrets.randbelow)


def _last_word(need: _Need, held: Fresh, lease_id: str, reason: str) -> Fresh:
    """The provider gives nothing for this version any more. That is the end of the login, unless it has given it to another
    instance: who lost the lease waits for whoever has it now, and who took it over looks once more for what the one before him,
    if he lives, writes or puts into the queue within WRITE_SECONDS of his answer. Errors: LinkDead.
    """
    link = held.link
    for _ in range(LATE_LOOKS if _was_left_behind(link) else 1):
        current = need.runtime.grants.links.read(link.grant_id)
        if current is None or (current.version, current.lease_id) != (link.version, lease_id):
            return _without_lease(need, held, current)
        if _was_left_behind(link):
            sleep(WRITE_SECONDS / LATE_LOOKS)
    if _was_left_behind(link) and (recovered := _recovered(need, link, lease_id)) is not None:
        return need.read(recovered)
    raise LinkDead(reason)


def _give_back(
    need: _Need, link: Link, lease_id: str, cool_until: int, *, refusals: int | None = None, refused_since: int = 0
) -> None:
    """Best effort: what is not given back runs out."""
    try:
        need.runtime.grants.links.release_lease(
            link, lease_id, cool_until, refusals=refusals, refused_since=refused_since
        )
    except StoreUnavailable as failure:
        audit.unavailable(failure)


def _without_lease(need: _Need, held: Fresh, current: Link | None) -> Fresh:
    """Another instance is refreshing, has just done so, or a refresh has just failed."""
    while True:
        if current is None:
            raise LinkDead("gone")
        if current.version != held.link.version:
            return need.read(current)
        if need.is_met_by(held):
            return held
        if current.cool_until > clock.now():
            raise LinkUnavailable(max(current.cool_until - clock.now(), _back_off(current)))
        if current.lease_until < clock.now_ms():
            return _fresh(need, current)
        if not need.patience.remaining() or invocation.seconds_left() < 1:
            raise LinkUnavailable(2)
        sleep(POLL_SECONDS)
        current = need.runtime.grants.links.read(held.link.grant_id)


def _newer(need: _Need, current: Link | None, mine: Link, new: UpstreamTokens) -> Fresh:
    if current is None:
        # The login ended meanwhile, and its end could revoke only the tokens of before.
        _tell_provider(need.runtime, mine, new)
        raise LinkDead("gone")
    if current.version == mine.version:
        raise LinkUnavailable(2)
    return need.read(current)
