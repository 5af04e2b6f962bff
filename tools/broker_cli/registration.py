"""`broker registration`: whether, and as what, clients may register themselves, and the initial access tokens for it.

An initial access token is made here, printed once, and kept as SHA-256. It never appears again.
"""

import re
import secrets
from dataclasses import asdict, replace
from typing import Any

import click

from broker import clock
from broker.printable import is_line
from broker.protocol.clients import hash_secret
from broker.protocol.registration import LIFETIMES, InvalidRegistration
from broker.protocol.registration_policy import MAX_CLIENTS, MODES, RegistrationPolicy, validate_policy
from broker.settings import LIMITS
from broker.store.registrations import InitialToken
from broker_cli.connection import Connection, connect
from broker_cli.failures import WrongInput, aws_failures
from broker_cli.options import GrantType, Group
from broker_cli.output import Json, ago, confirm, emit, moment, sheet, span, table

registration = Group("registration", help="Clients that nobody registers by hand.")
token = Group("token", help="Initial access tokens, for the mode `token`.")
registration.add_command(token)

_OPTIONS = {
    "mode": "--mode",
    "providers": "--provider",
    "scope": "--scope",
    "grant_types": "--grant-type",
    "resources": "--resource",
    "redirect_hosts": "--redirect-host",
    "document_hosts": "--allow-host",
    "max_clients": "--max-clients",
    **{name: "--" + name.replace("_", "-") for name in LIFETIMES},
}
_LISTS = ("providers", "scope", "grant_types", "resources", "redirect_hosts", "document_hosts")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DELAY = " Running functions notice within a minute."


class _Lifetime(click.ParamType[int | str]):
    """A number of seconds, or "default"."""

    name = "seconds"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        text = str(value)
        if text == "default":
            return text
        return int(text) if text.isascii() and text.isdigit() else self.fail(f"{text!r} is no number", param, ctx)


class _Span(click.ParamType[int]):
    """A span like 7d, 12h, 30m or 90s, as seconds."""

    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", str(value))
        if not match:
            return self.fail(f"{value!r} is not a span like 7d, 12h or 30m", param, ctx)
        return int(match.group(1)) * _UNITS[match.group(2)]


@registration.command("show")
def show() -> None:
    """The policy, and how many clients have registered."""
    broker = connect()
    with aws_failures():
        _emit_policy(broker.registrations.policy(), broker.registrations.registered())


@registration.command("set")
@click.option("--mode", type=click.Choice(MODES), help="Who may register: nobody, holders of a token, everybody.")
@click.option("--provider", "providers", multiple=True, metavar="NAME", help="A provider they may use; repeatable.")
@click.option("--scope", multiple=True, metavar="SCOPE", help="A scope they may ask for; repeatable.")
@click.option("--grant-type", "grant_types", multiple=True, type=GrantType(), help="Repeatable.")
@click.option("--resource", "resources", multiple=True, metavar="URI", help="A resource (RFC 8707); repeatable.")
@click.option(
    "--redirect-host",
    "redirect_hosts",
    multiple=True,
    metavar="HOST",
    help="A host, *.host or app scheme: that redirect URIs may have, after a sign-out too; repeatable (default: any).",
)
@click.option("--cimd/--no-cimd", "documents", default=None, help="Whether client ids may be URLs of documents.")
@click.option(
    "--allow-host",
    "document_hosts",
    multiple=True,
    metavar="HOST",
    help="A host or *.host that such a URL may name; repeatable (default: any).",
)
@click.option(
    "--max-clients", type=int, metavar="N", help=f"How many may register, {MAX_CLIENTS[0]} to {MAX_CLIENTS[1]}."
)
@click.option("--access-token-lifetime", type=_Lifetime(), metavar="S", help="Seconds, or 'default'.")
@click.option("--idle-lifetime", type=_Lifetime(), metavar="S", help="Seconds, or 'default'.")
@click.option("--absolute-lifetime", type=_Lifetime(), metavar="S", help="Seconds, or 'default'.")
@click.option("--retry-window", type=_Lifetime(), metavar="S", help="Seconds, or 'default'.")
def set_policy(**given: Any) -> None:
    """Change the policy. A list is replaced by what is given; a single empty value empties it.

    Clients that are registered already keep what they have; those described by a document follow at once.
    """
    broker = connect()
    changes = _changes(given)
    if not changes:
        raise WrongInput("Nothing was given to change; see 'broker registration set --help' for what can be.")
    with aws_failures():
        after = replace(broker.registrations.policy(), **changes)
        _check(broker, after)
        count = sum(one.dynamic for one in broker.registry.clients())
        broker.registrations.set_registered(count)
        broker.registrations.set_policy(after)
        _emit_policy(after, count, _DELAY.strip())


@token.command("create")
@click.option("--name", default="", help="What it is for, for you to know it by.")
@click.option("--expires", type=_Span(), default="7d", show_default=True, help="How long it can be used.")
@click.option("--uses", type=click.IntRange(1, 100_000), default=1, show_default=True, help="Clients it can register.")
def create(name: str, expires: int, uses: int) -> None:
    """Make an initial access token. It is printed once."""
    broker = connect()
    if name and not is_line(name, 100):
        raise WrongInput("--name: must be at most 100 printable characters.")
    now = clock.now()
    secret = f"tbi_{secrets.token_urlsafe(32)}"
    made = InitialToken(hash_secret(secret), name, uses, now + expires, now)
    with aws_failures():
        broker.registrations.add_initial_token(made)
        mode = broker.registrations.policy().mode
    fields = [
        ("id", made.id),
        ("token", secret),
        ("name", name),
        ("uses", str(uses)),
        ("expires", moment(now + expires)),
    ]
    text = sheet(fields) + "\n\nKeep the token now: it is not stored and cannot be shown again."
    if mode != "token":
        text += f"\nIt is not asked for in the present mode, {mode}; see `broker registration set --mode token`."
    emit(_token_document(made) | {"token": secret}, text)


@token.command("list")
def list_tokens() -> None:
    """All initial access tokens, without the tokens themselves."""
    broker = connect()
    with aws_failures():
        found = sorted(broker.registrations.initial_tokens(), key=lambda one: (one.created_at, one.id))
    rows = [
        (one.id, one.name or "-", str(one.uses_left), "usable" if one.is_usable() else "spent", ago(one.expires_at))
        for one in found
    ]
    header = ("ID", "NAME", "USES LEFT", "STATE", "EXPIRES")
    empty = "There is no initial access token; `broker registration token create` makes one."
    emit([_token_document(one) for one in found], table(header, rows, empty=empty))


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(token_id: str, yes: bool) -> None:
    """Let an initial access token register no more clients. Those that it registered stay."""
    broker = connect()
    with aws_failures():
        found = next((one for one in broker.registrations.initial_tokens() if one.id == token_id), None)
    if found is None:
        raise WrongInput(f"There is no initial access token {token_id}; `broker registration token list` shows all.")
    confirm(f"Revoke the initial access token {token_id}?", yes=yes)
    with aws_failures():
        broker.registrations.remove_initial_token(found.sha256)
    emit({"id": token_id, "revoked": True}, f"Revoked {token_id}.")


def _changes(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as fields of RegistrationPolicy."""
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if name in _LISTS and value:
            words = [word for entry in value for word in (entry.split(" ") if name == "scope" else [entry]) if word]
            changes[name] = tuple(dict.fromkeys(words))
        elif name not in _LISTS and value is not None:
            changes[name] = None if value == "default" else value
    return changes


def _check(broker: Connection, policy: RegistrationPolicy) -> None:
    """Errors: WrongInput naming the option."""
    try:
        validate_policy(policy, LIMITS)
    except InvalidRegistration as invalid:
        raise WrongInput(f"{_OPTIONS.get(invalid.field, invalid.field)}: {invalid.rule}.") from None
    for name in policy.providers:
        if broker.registry.provider(name) is None:
            raise WrongInput(f"--provider: {name} is not registered; see `broker provider list`.")


def _token_document(one: InitialToken) -> dict[str, Json]:
    return {
        "id": one.id,
        "name": one.name,
        "uses_left": one.uses_left,
        "expires_at": one.expires_at,
        "created_at": one.created_at,
    }


_MEANING = {"off": "nobody", "token": "holders of an initial access token", "open": "everybody"}


def _emit_policy(policy: RegistrationPolicy, registered: int, closing: str = "") -> None:
    lifetimes = [(name.replace("_", " "), _lifetime(getattr(policy, name))) for name in LIFETIMES]
    text = sheet(
        [
            ("mode", f"{policy.mode} ({_MEANING[policy.mode]} may register)"),
            ("registered clients", f"{registered} of at most {policy.max_clients}"),
            ("documents (CIMD)", "client ids may be URLs" if policy.documents else "no"),
            ("document hosts", "\n".join(policy.document_hosts) or "any"),
            ("providers", ", ".join(policy.providers) or "none"),
            ("scope", " ".join(policy.scope)),
            ("grant types", ", ".join(policy.grant_types)),
            ("resources", "\n".join(policy.resources) or "the broker itself alone"),
            ("redirect hosts", "\n".join(policy.redirect_hosts) or "any"),
            *lifetimes,
        ]
    )
    document = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(policy).items()}
    emit(document | {"registered": registered}, f"{text}\n\n{closing}" if closing else text)


def _lifetime(seconds: int | None) -> str:
    if seconds is None:
        return "default"
    return f"{seconds} s" + (f" ({span(seconds)})" if seconds >= 120 else "")
