"""The last resort for a provider's new tokens that the table does not take, and the way back from there.

The provider takes its old refresh token no more, so what is not written somewhere is lost with the login. Only who is about to
refresh a link whose last lease was never given back looks into the queue; whatever he finds there, he writes for everybody.
"""

from broker import audit
from broker.invocation import within
from broker.runtime import Runtime
from broker.store.aws import StoreUnavailable
from broker.store.links import Link, LinkRefused
from broker.store.rescue import Message

SEND_SECONDS = 3.0
DRAIN_SECONDS = 3.0


def keep(runtime: Runtime, link: Link, failure: StoreUnavailable) -> None:
    """Put a link that could not be written into the queue; it then counts as written.

    Errors: StoreUnavailable when that fails too.
    """
    try:
        if not runtime.rescue.exists:
            raise failure
        within(SEND_SECONDS, lambda: _send(runtime, link))
    except StoreUnavailable as last:
        audit.event(
            "upstream.lost", grant_id=link.grant_id, provider=link.provider, version=link.version, detail=last.detail
        )
        raise
    audit.event(
        "upstream.rescued", grant_id=link.grant_id, provider=link.provider, version=link.version, detail=failure.detail
    )


def _send(runtime: Runtime, link: Link) -> None:
    try:
        runtime.rescue.send(link)
    except StoreUnavailable:
        runtime.rescue.send(link)  # that it may be there twice does no harm


def bring_back(runtime: Runtime, wanted: Link) -> bool:
    """Write what the queue has into the table, until it is empty or the successor of `wanted` has been found.

    Returns whether the queue has nothing for `wanted` any more. As long as it may, what the table has of it decides, and
    the provider must not be asked for that again. Errors: StoreUnavailable, for which the same holds.
    """
    return not runtime.rescue.exists or within(DRAIN_SECONDS, lambda: _drain(runtime, wanted))


def _drain(runtime: Runtime, wanted: Link) -> bool:
    for batch in runtime.rescue.receive():
        # All of them: nobody else can receive them now, not even those whom they are for.
        settled = [_settle(runtime, message) for message in batch]
        own = [done for message, done in zip(batch, settled, strict=True) if _is_for(message, wanted)]
        if own:
            return all(own)
    return not runtime.rescue.is_being_read()


def _is_for(message: Message, wanted: Link) -> bool:
    """Whether it is what `wanted` was renewed to. An older message of the same login says nothing of that: it is there once more
    because SQS delivers at least once, or because the table took a write whose answer came too late."""
    link = message.link
    return link is not None and link.grant_id == wanted.grant_id and link.version > wanted.version


def _settle(runtime: Runtime, message: Message) -> bool:
    """Write a message's link, if it still is the next version. False: the table does not take it now; it stays in the queue."""
    link = message.link
    try:
        if link is None:
            audit.event("upstream.lost", detail="a message of the rescue queue cannot be read")
        else:
            runtime.grants.links.write(link)
            audit.event("upstream.recovered", grant_id=link.grant_id, provider=link.provider, version=link.version)
    except LinkRefused:
        pass  # the login has ended, or has newer tokens
    except StoreUnavailable as failure:
        audit.unavailable(failure)
        return False
    try:
        runtime.rescue.delete(message)
    except StoreUnavailable as failure:  # it comes again, and is then older than what is written
        audit.unavailable(failure)
    return True
