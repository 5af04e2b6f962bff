"""`broker grant`: the logins, and in plain words why one of them ended.

Must never show what a login is made of: no hash, no sealed value, no state, nonce or challenge.
"""

import heapq
from collections.abc import Mapping, Sequence

import click

from broker import clock
from broker.crypto.handles import Kind
from broker.crypto.tokens import OPAQUE_PREFIX
from broker.protocol import client_id_urls
from broker.protocol.clients import Client
from broker.store.grants import KEEP_AFTER_END, Grant
from broker.store.links import Link
from broker_cli.connection import Connection, connect
from broker_cli.failures import ServiceFailure, WrongInput, aws_failures
from broker_cli.keys import ring_of
from broker_cli.options import Group
from broker_cli.output import Json, ago, confirm, emit, moment, sheet, span, table

grant = Group("grant", help="The logins: why was this user logged out?")

END_REASONS: Mapping[str, str] = {
    "denied": "Access was refused: by the person, at the provider or on the broker's page, or by the provider.",
    "login_failed": "The provider did not complete the login: its answer was an error or could not be used.",
    "code_replay": "The client's authorization or device code came a second time, so somebody else may know it: all was ended.",
    "reuse": "A replaced refresh token came again too late, so somebody else may hold a copy: all was ended.",
    "revoked": "The client revoked it, as it does when a person signs out.",
    "logout": "The person signed out, and the client sent him to the broker's sign-out page.",
    "upstream_revoked": "The provider no longer accepts the broker: the person withdrew access there, or it ran out.",
    "answer_lost": "The database's answer to the write that used up the code was lost, and with it what the code held.",
    "operator": "An operator revoked it with this command.",
}
"""Every end reason the broker writes, as a sentence."""

END_DETAILS: Mapping[tuple[str, str], str] = {
    (
        "upstream_revoked",
        "refused",
    ): "The provider refused the refresh token (invalid_grant) on {when}: the person withdrew"
    " access there, or it ran out.",
    (
        "upstream_revoked",
        "unknown_refusals",
    ): "The provider refused the refresh token for days, in a way that is not known; on {when} the broker gave up.",
    (
        "upstream_revoked",
        "expired",
    ): "The provider's access ran out or was withdrawn, and the provider had given nothing to"
    " refresh it with; noticed on {when}.",
    (
        "upstream_revoked",
        "unreadable",
    ): "The provider's tokens that the broker kept for it could not be opened; noticed on {when}.",
    ("upstream_revoked", "gone"): "The broker had no tokens of the provider for it any more; noticed on {when}.",
    (
        "denied",
        "other_account",
    ): "It was to take the place of another login, and the person signed in with another account on {when}.",
}
"""What an end reason leaves open, as a sentence; `{when}`: the date."""

_STEPS: Mapping[str, tuple[str, str]] = {
    "pushed": (
        "The client pushed its request and has not sent the person yet.",
        "The client never sent the person with the request that it had pushed.",
    ),
    "device": (
        "A device waits for a person to enter its code, or to try again.",
        "Nobody entered the device's code and logged in in time.",
    ),
    "device_ready": (
        "The person has approved, and the device has not fetched its tokens yet.",
        "The device did not fetch its tokens in time.",
    ),
    "login": ("The person is at the provider.", "The person did not come back from the provider in time."),
    "exchange": ("The provider's code is being exchanged.", "The exchange of the provider's code was never finished."),
    "consent": ("The person is being asked for consent.", "The person did not answer the broker's question in time."),
    "code": ("The client has its code and has not redeemed it yet.", "The client did not redeem its code in time."),
    "active": ("The person is logged in.", ""),
}
"""What each stage means while it lasts, and once its time is over."""

_ID_MAY_LOOK_LIKE_AN_OPTION = {"ignore_unknown_options": True}
"""One in 64 random ids begins with a hyphen."""

_ID_LENGTH = 22
"""Of a grant id, 128 bits: an id may begin like a token, and no token is that short."""
_TOKEN_PREFIXES = (*(kind.value[0] for kind in Kind), OPAQUE_PREFIX, "tbi_", "tbg_", "eyJ")
"""Handles and opaque access tokens, the two tokens of a registration (docs/registration.md), and every JWT."""


@grant.command("show", context_settings=_ID_MAY_LOOK_LIKE_AN_OPTION)
@click.argument("grant_id", metavar="ID")
def show(grant_id: str) -> None:
    """One login: its stage, its times, and why it ended."""
    broker = connect()
    found, link = _find(broker, grant_id)
    with aws_failures():
        client = broker.registry.client(found.client_id)
        problem = _client_problem(broker, found, client) or _key_problem(broker, found)
    emit(
        _document(found, client) | {"client_problem": problem, "upstream": _link_document(link) if link else None},
        _sheet(found, client, link, problem),
    )


@grant.command("list")
@click.option("--client", "client_id", metavar="ID", help="Only this client's.")
@click.option("--subject", help="Only this person's (the `sub` of their tokens).")
@click.option(
    "--reconnect", is_flag=True, help="Only those whose person has to reconnect at the provider, and has not."
)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many, newest first."
)
def list_grants(client_id: str | None, subject: str | None, reconnect: bool, limit: int) -> None:
    """The logins that were ever active of a client (--client), a person (--subject), or a person at one client (both).

    Reads the whole table of logins, whatever is asked: of a million logins one to two GB, for 2 or 3 cents at list prices. What
    was written within the last second may be missing.
    """
    if not client_id and not subject:
        raise WrongInput("Give --client, --subject or both, to say whose logins to list.")
    broker = connect()
    with aws_failures():
        every = broker.search_grants(client_id=client_id, subject=subject)
        chosen = (one for one in every if not reconnect or _needs_reconnect(one))
        found = heapq.nlargest(limit, chosen, key=lambda one: (one.created_at, one.grant_id))
        clients = {name: broker.registry.client(name) for name in {one.client_id for one in found}}
        # Only where no login was found: else it is known already.
        unknown = client_id and not (found or _is_document(broker, client_id) or broker.registry.client(client_id))
    if unknown:
        raise WrongInput(f"There is no client {client_id}; `broker client list` shows all.")
    emit([_document(one, clients[one.client_id]) for one in found], _table(found, is_one_client=client_id is not None))


@grant.command("revoke", context_settings=_ID_MAY_LOOK_LIKE_AN_OPTION)
@click.argument("grant_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(grant_id: str, yes: bool) -> None:
    """End a login at once. The provider's own token only expires: without the client nobody can open it."""
    broker = connect()
    found, _ = _find(broker, grant_id)
    confirm(f"End the login {grant_id} of {found.subject or 'a person unknown yet'} at {found.client_id}?", yes=yes)
    with aws_failures():
        ended_now = broker.grants.end(grant_id, "operator") is not None
    after, _ = _find(broker, grant_id)
    note = "The provider's own token is not revoked: it is sealed with what the client holds, and only expires."
    word = "Ended" if ended_now else f"It had ended already ({after.end_reason}):"
    emit(
        {"grant_id": grant_id, "revoked": ended_now, "end_reason": after.end_reason, "note": note},
        f"{word} {grant_id}.\n{note}",
    )


def _table(found: Sequence[Grant], *, is_one_client: bool) -> str:
    header = ["GRANT ID", "CLIENT", "SUBJECT", "PROVIDER", "STATE", "LOGGED IN", "REFRESHED", "ENDS"]
    rows = [
        [
            one.grant_id,
            one.client_id,
            one.subject,
            one.provider,
            _state(one),
            ago(one.created_at),
            ago(_last_refresh(one)),
            _until(one),
        ]
        for one in found
    ]
    if is_one_client:
        for line in (header, *rows):
            del line[1]
    return table(header, rows, empty="No login found.")


def _find(broker: Connection, grant_id: str) -> tuple[Grant, Link | None]:
    if grant_id.startswith(_TOKEN_PREFIXES) and len(grant_id) != _ID_LENGTH:
        raise WrongInput(
            "That is a token, not a grant id, and it does not belong on a command line; see `broker grant list`."
        )
    with aws_failures():
        found, link = broker.grants.read(grant_id)
    if found is None:
        kept = span(KEEP_AFTER_END)
        raise WrongInput(f"There is no login {grant_id}; one that ended is kept until {kept} after its last token.")
    return found, link


def _client_problem(broker: Connection, of: Grant, client: Client | None) -> str | None:
    """Why tokens of the login do not work although the login stands. `client`: as it is registered."""
    provider = broker.registry.provider(of.provider)
    if client is None and not _is_document(broker, of.client_id):
        return f"Its client {of.client_id} has been removed, so none of its tokens works."
    if client is None and not _is_let_in(broker, of.client_id):
        return (
            f"Its client {of.client_id} is described by a document, and the registration policy lets none of that host"
            " count, so none of its tokens works."
        )
    if client is not None and client.disabled:
        return f"Its client {of.client_id} is disabled, so none of its tokens works."
    if of.provider and (provider is None or provider.disabled):
        gone = "disabled" if provider else "no longer registered"
        return f"Its provider {of.provider} is {gone}, so nothing can be refreshed there."
    return _refresh_problem(broker, of, client) if client is not None and of.stage == "active" else None


def _refresh_problem(broker: Connection, of: Grant, client: Client) -> str | None:
    """What the operator has decided about the client since its tokens were made, so that it cannot refresh them."""
    life = client.access_token_lifetime or broker.settings.access_token_lifetime
    if not _refreshes(client) and (of.generation > 1 or of.expires_at - of.rotated_at > life):
        return f"Its client {client.client_id} may not use the grant type refresh_token any more, so every refresh is refused."
    if client.dpop_bound and client.is_public and of.refresh_jkt is None:
        return (
            f"Its client {client.client_id} has to bind its tokens to a key (DPoP) and has bound none of this login, so a"
            " refresh without a proof is refused."
        )
    return None


def _refreshes(client: Client | None) -> bool:
    """Whether the client is given refresh tokens, as far as is known here."""
    return client is None or "refresh_token" in client.grant_types


def _is_document(broker: Connection, client_id: str) -> bool:
    """Whether the id is the URL of a client id metadata document: such a client is in no table."""
    return client_id_urls.fault(client_id, local=broker.settings.local) is None


def _is_let_in(broker: Connection, client_id: str) -> bool:
    return broker.registrations.policy().lets_read_documents_of(client_id_urls.host_of(client_id))


def _key_problem(broker: Connection, of: Grant) -> str | None:
    """Why the login cannot be refreshed although it stands: a key is revoked for all its logins, and none of them is changed."""
    if of.stage != "active" or not of.handle_key or _expired(of):
        return None
    try:
        if ring_of(broker).handle_key_by_id(of.handle_key) is not None:
            return None
    except (ServiceFailure, WrongInput):
        return None  # whoever answers people's questions need not be allowed to read the keys
    key = f"handle:{of.handle_key}"
    return f"The key {key} that made its refresh token was revoked or has retired; the person has to log in again."


def _expired(of: Grant) -> str | None:
    """Which expiry has passed: "idle", "absolute", "step" (before a token was issued), or None."""
    now = clock.now()
    if of.stage == "ended":
        return None
    if of.stage == "active" and of.absolute_expires_at <= now:
        return "absolute"
    if of.expires_at <= now:
        return "idle" if of.stage == "active" else "step"
    return None


def _needs_reconnect(of: Grant) -> bool:
    """Whether its provider has ended it, and no other login has taken its place."""
    return of.stage == "ended" and of.end_reason == "upstream_revoked" and not of.recovered_by


def _end(of: Grant) -> str:
    """Why a login ended, and what the person has to do, or did, about it."""
    detailed = END_DETAILS.get((of.end_reason, of.end_detail))
    if detailed is not None:
        why = detailed.format(when=moment(of.ended_at))
    else:
        why = END_REASONS.get(of.end_reason, f"It ended; the reason noted is {of.end_reason or 'none'}.")
    if of.recovered_by:
        return f"{why} The person has reconnected: the login {of.recovered_by} took its place."
    return f"{why} The person has to reconnect." if _needs_reconnect(of) else why


def _explanation(of: Grant, client: Client | None) -> str:
    """Where the login stands, or why it ended, in plain words."""
    if of.stage == "ended":
        return _end(of)
    expired = _expired(of)
    if expired == "absolute":
        return (
            "It reached its absolute end: its longest life, or the end of the provider's access where that is shorter."
        )
    if expired == "idle" and not _refreshes(client):
        return "Its access token has expired, and its client is given no refresh tokens."
    if expired == "idle":
        return "It was not refreshed in time (idle expiry), so its refresh token no longer works."
    waiting, stopped = _STEPS.get(of.stage, (f"It is at the stage {of.stage}.", f"It stopped at the stage {of.stage}."))
    return stopped if expired else waiting


def _state(of: Grant) -> str:
    if of.stage == "ended":
        return f"ended: {of.end_reason}"
    return "expired" if _expired(of) else of.stage


def _last_refresh(of: Grant) -> int:
    """When it was last refreshed; 0 if never. The first generation is made by the code, not by a refresh."""
    return of.rotated_at if of.generation > 1 else 0


def _ends_at(of: Grant) -> int:
    """When it ends, or ended, if nothing more happens."""
    if of.stage == "ended":
        return of.ended_at
    return of.token_ends_at if of.stage == "active" else of.expires_at


def _until(of: Grant) -> str:
    return ago(_ends_at(of))


def _document(of: Grant, client: Client | None) -> dict[str, Json]:
    """A login as JSON. Times are epoch seconds, null where there is none."""
    active = of.stage == "active"
    return {
        "grant_id": of.grant_id,
        "client_id": of.client_id,
        "provider": of.provider,
        "subject": of.subject or None,
        "stage": of.stage,
        "expired": _expired(of),
        "explanation": _explanation(of, client),
        "end_reason": of.end_reason or None,
        "end_detail": of.end_detail or None,
        "reconnect_required": _needs_reconnect(of),
        "recovered_by": of.recovered_by or None,
        "reconnects": of.reconnects or None,
        "ended_at": of.ended_at or None,
        "created_at": of.created_at,
        "last_refresh_at": _last_refresh(of) or None,
        "refreshes": max(0, of.generation - 1),
        "idle_expires_at": of.expires_at if active else None,
        "absolute_expires_at": of.absolute_expires_at or None,
        "step_expires_at": of.expires_at if not active and of.stage != "ended" else None,
        "scope": list(of.granted_scope),
        "missing_scope": list(of.missing_scope),
        "resource": list(of.resource),
    }


def _link_document(link: Link) -> dict[str, Json]:
    return {
        "version": link.version,
        "due_at": link.due_at or None,
        "lease_until": link.lease_until // 1000 or None,
        "leased": link.lease_until > clock.now_ms(),
        "cool_until": link.cool_until or None,
        "cooling_down": link.cool_until > clock.now(),
        "refusals": link.refusals,
        "refused_since": link.refused_since or None,
    }


def _sheet(of: Grant, client: Client | None, link: Link | None, problem: str | None) -> str:
    fields = [
        ("grant", of.grant_id),
        ("client", of.client_id),
        ("provider", of.provider or "not chosen yet"),
        ("subject", of.subject or "not known yet"),
        ("stage", _state(of)),
        ("why", "\n".join(filter(None, (_explanation(of, client), problem)))),
        ("scope", " ".join(of.granted_scope)),
        ("not granted", " ".join(of.missing_scope)),
        ("in place of", of.reconnects),
        ("resource", "\n".join(of.resource)),
        ("began", moment(of.created_at)),
        ("last refresh", moment(_last_refresh(of)) if of.generation else ""),
        ("refreshes", str(of.generation - 1) if of.generation else ""),
        ("ended", moment(of.ended_at) if of.stage == "ended" else ""),
    ]
    if of.stage == "active":
        fields.append(("idle expiry", _passed(of.expires_at)))
    elif of.stage != "ended":
        fields.append(("step expiry", _passed(of.expires_at)))
    if of.absolute_expires_at:
        fields.append(("absolute expiry", _passed(of.absolute_expires_at)))
    return sheet([*fields, ("provider's tokens", _link_text(link))])


def _passed(epoch: int) -> str:
    return moment(epoch) + (", passed" if epoch <= clock.now() else "")


def _link_text(link: Link | None) -> str:
    if link is None:
        return "none are kept"
    lines = [f"sealed, version {link.version}"]
    if link.due_at:
        lines.append(f"to be renewed {moment(link.due_at)}")
    if link.lease_until > clock.now_ms():
        lines.append("being refreshed at this moment")
    if link.cool_until > clock.now():
        lines.append(f"a refresh failed; none is tried before {moment(link.cool_until)}")
    if link.refusals:
        lines.append(f"refused {link.refusals} times in a way that is not known, since {moment(link.refused_since)}")
    return "\n".join(lines)
