"""`broker client`: the applications that may send people through the broker.

A client secret is made here, printed once, and kept as SHA-256. It never appears again.
"""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from broker import clock
from broker.protocol import token_exchange
from broker.protocol.capabilities import ID_TOKEN_ALGORITHMS
from broker.protocol.client_authentication import METHODS
from broker.protocol.clients import SECRET_METHODS, Client, ClientSecret, hash_secret
from broker.protocol.jws import BadKey, key_set
from broker.protocol.registration import (
    ACCESS_TOKEN_FORMATS,
    LIFETIMES,
    InvalidRegistration,
    default_origins,
)
from broker.settings import LIMITS
from broker.store.registry import AlreadyExists, Changed, NotFound
from broker_cli import client_rules
from broker_cli.connection import Connection, connect
from broker_cli.failures import WrongInput, aws_failures, changed_meanwhile
from broker_cli.options import GrantType, Group
from broker_cli.output import Json, ago, confirm, emit, moment, sheet, span, table

Decorated = TypeVar("Decorated", bound=Callable[..., None])

client = Group("client", help="The applications that may send people through the broker.")

_OPTIONS = {
    "name": "--name",
    "redirect_uris": "--redirect-uri",
    "origins": "--origin",
    "providers": "--provider",
    "scope": "--scope",
    "grant_types": "--grant-type",
    "resources": "--resource",
    "auth_methods": "--auth-method",
    "client_id": "--client-id",
    "dialect": "--dialect",
    "token_by_get": "--token-by-get",
    "require_pkce": "--no-pkce",
    "served_resources": "--serves",
    "post_logout_redirect_uris": "--post-logout-redirect-uri",
    "backchannel_logout_uri": "--backchannel-logout-uri",
    "token_exchange": "--token-exchange",
    "proxy": "--proxy",
    "jwks": "--jwks-file",
    "jwks_uri": "--jwks-uri",
    **{
        name: "--" + name.replace("_", "-")
        for name in (
            *LIFETIMES,
            *("refresh_cookie", "id_token_alg", "access_token_format", "access_token_alg", "require_par"),
        )
    },
}
_LISTS = frozenset(
    {
        *("redirect_uris", "origins", "providers", "scope", "grant_types", "resources", "auth_methods"),
        *("served_resources", "post_logout_redirect_uris", "token_exchange", "proxy"),
    }
)


class _Seconds(click.ParamType[int | str]):
    """A number of seconds, or "default"."""

    name = "seconds"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        text = str(value)
        if text == "default" or (text.isascii() and text.isdigit()):
            return text if text == "default" else int(text)
        return self.fail(f"{text!r} is not a whole number of seconds, nor 'default'", param, ctx)


class _KeyFile(click.ParamType[str]):
    """A file with a JWK Set; its text."""

    name = "file"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return Path(str(value)).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            return self.fail(f"{str(value)!r} cannot be read ({type(error).__name__})", param, ctx)


def _client_options(command: Decorated) -> Decorated:
    """What `add` and `update` share. An option left out is None or (), so that `update` can tell."""
    seconds = _Seconds()
    switches: list[Callable[[Any], Any]] = [
        click.option(
            "--redirect-uri",
            "redirect_uris",
            multiple=True,
            metavar="URI",
            help="Where a login returns to; repeatable.",
        ),
        click.option(
            "--provider", "providers", multiple=True, metavar="NAME", help="A provider it may use; repeatable."
        ),
        click.option("--scope", multiple=True, metavar="SCOPE", help="A scope it may ask for; repeatable."),
        click.option(
            "--origin",
            "origins",
            multiple=True,
            metavar="ORIGIN",
            help="A web origin that may call the broker; repeatable.",
        ),
        click.option("--confidential/--public", default=None, help="Whether it can keep a secret (default: public)."),
        click.option(
            "--auth-method",
            "auth_methods",
            multiple=True,
            type=click.Choice([method for method in METHODS if method != "none"]),
            help="How it sends its secret (default: by both), or private_key_jwt: it signs with a key of its own.",
        ),
        click.option(
            "--jwks-file",
            "jwks",
            type=_KeyFile(),
            metavar="FILE",
            help="Its public keys, a JWK Set, for private_key_jwt.",
        ),
        click.option("--jwks-uri", metavar="URL", help="Where it publishes its public keys, for private_key_jwt."),
        click.option(
            "--dpop/--no-dpop",
            "dpop_bound",
            default=None,
            help="Whether all its tokens must be bound to a key (RFC 9449); it may always use DPoP.",
        ),
        click.option(
            "--refresh-cookie/--no-refresh-cookie",
            default=None,
            help="Refresh tokens travel in an HttpOnly cookie only.",
        ),
        click.option("--access-token-lifetime", type=seconds, metavar="S", help=_limits("access_token_lifetime")),
        click.option("--idle-lifetime", type=seconds, metavar="S", help=_limits("idle_lifetime")),
        click.option("--absolute-lifetime", type=seconds, metavar="S", help=_limits("absolute_lifetime")),
        click.option("--retry-window", type=seconds, metavar="S", help=_limits("retry_window")),
        click.option("--id-token-alg", type=click.Choice(ID_TOKEN_ALGORITHMS), help="Signature of its ID tokens."),
        click.option(
            "--access-token-format", type=click.Choice(ACCESS_TOKEN_FORMATS), help="Format of its access tokens."
        ),
        click.option(
            "--access-token-alg", type=click.Choice(ID_TOKEN_ALGORITHMS), help="Signature of its JWT access tokens."
        ),
        click.option(
            "--first-party/--third-party",
            "first_party",
            default=None,
            help="Whether you run it yourself; people are asked for their consent before others get anything.",
        ),
        click.option(
            "--require-par/--no-require-par",
            "require_par",
            default=None,
            help="It must push its authorization requests (RFC 9126).",
        ),
        click.option(
            "--dialect",
            metavar="NAME",
            help="The provider whose guide it was written for: it may use that provider's paths here; '' for none.",
        ),
        click.option(
            "--token-by-get/--no-token-by-get",
            default=None,
            help="Whether it may, in its dialect, ask for tokens by GET; its secret is then in URLs, and in logs.",
        ),
        click.option(
            "--require-redirect-uri/--no-require-redirect-uri",
            default=None,
            help="Refuse a token request without redirect_uri.",
        ),
        click.option(
            "--pkce/--no-pkce",
            "require_pkce",
            default=None,
            help="Whether PKCE is required; only a confidential client may go without.",
        ),
        click.option(
            "--grant-type",
            "grant_types",
            multiple=True,
            type=GrantType(),
            help="A grant type it may use; repeatable (default: authorization_code and refresh_token).",
        ),
        click.option(
            "--resource",
            "resources",
            multiple=True,
            metavar="URI",
            help="A resource it may ask tokens for (RFC 8707); repeatable.",
        ),
        click.option(
            "--serves",
            "served_resources",
            multiple=True,
            metavar="URI",
            help="A resource it answers for: it may introspect tokens for it (RFC 7662); repeatable.",
        ),
        click.option(
            "--post-logout-redirect-uri",
            "post_logout_redirect_uris",
            multiple=True,
            metavar="URI",
            help="Where a sign-out returns to; repeatable.",
        ),
        click.option(
            "--backchannel-logout-uri",
            metavar="URL",
            help="Where its server is told that a login has ended; empty for nowhere.",
        ),
        click.option(
            "--token-exchange",
            "token_exchange",
            multiple=True,
            metavar="NAME",
            help="A provider whose access token it may be given (RFC 8693); repeatable. Adds the grant type.",
        ),
        click.option(
            "--proxy",
            multiple=True,
            metavar="NAME",
            help="A provider whose API it may call through the broker, as far as the provider's api.allow goes; repeatable.",
        ),
    ]
    for switch in reversed(switches):
        command = switch(command)
    return command


def _limits(name: str) -> str:
    low, high = LIMITS[name]
    return f"Seconds, {low} to {high}, or 'default'."


@client.command("add")
@click.option("--name", required=True, help="What people call it.")
@click.option("--client-id", metavar="ID", help="Its id (default: a random one).")
@_client_options
def add(client_id: str | None, confidential: bool | None, **given: Any) -> None:
    """Register a client. Prints its id and, once, the secret of a confidential one."""
    broker = connect()
    now = clock.now()
    changes = _changes(given)
    secret = new_secret() if confidential and not _signs(changes) else None
    with aws_failures():
        changes.setdefault(
            "providers", tuple(sorted(entry.name for entry in broker.registry.providers() if not entry.disabled))
        )
        changes.setdefault("auth_methods", SECRET_METHODS if secret else ("none",))
        changes["secrets"] = (ClientSecret(hash_secret(secret), now),) if secret else ()
        new = Client(**{"client_id": client_id or _new_id(), "redirect_uris": (), **changes}, created_at=now)
        new = _with_exchange(new, changes)
        if "origins" not in changes:
            new = replace(new, origins=_origins(new))
        _check(broker, new)
        try:
            broker.registry.add_client(new)
        except AlreadyExists:
            raise WrongInput(f"There is a client {new.client_id} already; choose another --client-id.") from None
    _emit_client(new, secret)


@client.command("list")
def list_clients() -> None:
    """All clients."""
    broker = connect()
    with aws_failures():
        found = sorted(broker.registry.clients(), key=lambda one: (one.name.casefold(), one.client_id))
    rows = [
        (one.client_id, one.name, _kind(one), ", ".join(one.providers), _state(one), ago(one.created_at))
        for one in found
    ]
    header = ("CLIENT ID", "NAME", "KIND", "PROVIDERS", "STATE", "MADE")
    emit(
        [_document(one) for one in found],
        table(header, rows, empty="No client is registered; `broker client add` makes one."),
    )


@client.command("show")
@click.argument("client_id", metavar="ID")
def show(client_id: str) -> None:
    """One client, without its secrets."""
    _emit_client(_find(connect(), client_id))


@client.command("update")
@click.argument("client_id", metavar="ID")
@click.option("--name", help="What people call it.")
@_client_options
def update(client_id: str, confidential: bool | None, **given: Any) -> None:
    """Change a client. A list is replaced by what is given; a single empty value empties it.

    Origins that follow from the redirect URIs go on following them.
    """
    broker = connect()
    before = _find(broker, client_id)
    changes = _changes(given)
    if confidential is None and not changes:
        raise WrongInput("Nothing was given to change; see 'broker client update --help' for what can be.")
    if confidential is False and "auth_methods" in changes:
        raise WrongInput("--public and --auth-method exclude each other; give one of them.")
    secret = new_secret() if _needs_secret(before, confidential, changes) else None
    if _signs(changes):
        changes = {**changes, "secrets": ()}
    if "jwks" in changes or "jwks_uri" in changes:
        changes = {"jwks": None, "jwks_uri": None, **changes}
    if secret:
        changes = {
            "auth_methods": SECRET_METHODS,
            **changes,
            "secrets": (ClientSecret(hash_secret(secret), clock.now()),),
        }
    elif confidential is False:
        changes = {**changes, "auth_methods": ("none",), "secrets": (), "jwks": None, "jwks_uri": None}
    after = _with_exchange(replace(before, **changes), changes)
    if "origins" not in changes and before.origins == _origins(before):
        after = replace(after, origins=_origins(after))
    with aws_failures():
        _check(broker, after)
        _store(broker, after, before)
    _emit_client(after, secret)


@client.command("rotate-secret")
@click.argument("client_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rotate_secret(client_id: str, yes: bool) -> None:
    """Make a new secret, printed once. The one before stays valid until drop-secret or the next rotation."""
    broker = connect()
    before = _find(broker, client_id)
    if before.is_public:
        raise WrongInput(
            f"{client_id} is a public client and has no secret; `client update --confidential` gives it one."
        )
    if not before.uses_secret:
        raise WrongInput(f"{client_id} signs with a key of its own and has no secret; see `client update --jwks-file`.")
    lost = " The oldest of its two secrets stops working at once." if len(before.secrets) > 1 else ""
    confirm(f"Make a new secret for {before.name} ({client_id})?{lost}", yes=yes)
    secret = new_secret()
    newest = sorted(before.secrets, key=lambda one: one.created_at)[-1:]
    after = replace(before, secrets=(*newest, ClientSecret(hash_secret(secret), clock.now())))
    with aws_failures():
        _store(broker, after, before)
    _emit_client(after, secret)


@client.command("drop-secret")
@click.argument("client_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop_secret(client_id: str, yes: bool) -> None:
    """Make the older of two secrets invalid, when the client uses the new one."""
    broker = connect()
    before = _find(broker, client_id)
    if len(before.secrets) < 2:
        raise WrongInput(f"{client_id} has no older secret to drop; `client rotate-secret` makes a new one beside it.")
    confirm(f"Make the older secret of {before.name} ({client_id}) invalid?", yes=yes)
    after = replace(before, secrets=before.secrets[-1:])
    with aws_failures():
        _store(broker, after, before)
    _emit_client(after)


@client.command("disable")
@click.argument("client_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
def disable(client_id: str, yes: bool) -> None:
    """Let no login, refresh or token of a client work, until `enable`."""
    broker = connect()
    before = _find(broker, client_id)
    confirm(f"Disable {before.name} ({client_id})? Nobody can log in or refresh there until it is enabled.", yes=yes)
    _set_disabled(broker, before, disabled=True)


@client.command("enable")
@click.argument("client_id", metavar="ID")
def enable(client_id: str) -> None:
    """Let a disabled client work again."""
    broker = connect()
    _set_disabled(broker, _find(broker, client_id), disabled=False)


@client.command("remove")
@click.argument("client_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(client_id: str, yes: bool) -> None:
    """Remove a client. No token of it works any more.

    Its logins are not deleted, they expire: a client that is added with the same id before that has them.
    """
    broker = connect()
    before = _find(broker, client_id)
    confirm(
        f"Remove {before.name} ({client_id})? Everybody is logged out there. Do not give another client its id: what is"
        " left of these logins would be that client's.",
        yes=yes,
    )
    with aws_failures():
        try:
            broker.registry.remove_client(client_id)
        except NotFound:
            raise _unknown(client_id) from None
        except Changed:
            raise changed_meanwhile(client_id) from None
    emit({"client_id": client_id, "removed": True}, f"Removed {before.name} ({client_id}).{_DELAY}")


_DELAY = " Running functions notice within a minute."


def _new_id() -> str:
    while (made := secrets.token_urlsafe(16)).startswith("-"):  # it would be read as an option
        continue
    return made


def new_secret() -> str:
    """A client secret: 256 random bits, and a beginning by which scanners of repositories know it."""
    return f"tbcs_{secrets.token_urlsafe(32)}"


def _changes(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as fields of Client."""
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if name in _LISTS and value:
            changes[name] = () if value == ("",) else _words(value) if name == "scope" else tuple(dict.fromkeys(value))
        elif name == "backchannel_logout_uri" and value == "":
            changes[name] = None
        elif name not in _LISTS and value is not None:
            emptied = (value == "default" and name in LIFETIMES) or (value == "" and name == "dialect")
            changes[name] = None if emptied else value
    return changes


def _with_exchange(of: Client, changes: dict[str, Any]) -> Client:
    """The grant type of token exchange comes and goes with the providers, unless the grant types were named."""
    if "token_exchange" not in changes or "grant_types" in changes:
        return of
    others = tuple(name for name in of.grant_types if name != token_exchange.GRANT_TYPE)
    return replace(of, grant_types=(*others, token_exchange.GRANT_TYPE) if of.token_exchange else others)


def _words(values: Iterable[str]) -> tuple[str, ...]:
    """`--scope "openid profile"` means two scopes, as on the wire."""
    return tuple(dict.fromkeys(word for value in values for word in value.split(" ") if word))


def _origins(of: Client) -> tuple[str, ...]:
    try:
        return default_origins(of)
    except ValueError:  # a redirect URI that the check is about to refuse
        return ()


def _check(broker: Connection, of: Client) -> None:
    """Errors: WrongInput naming the option."""
    if of.auth_methods != ("none",) and set(of.auth_methods) <= set(SECRET_METHODS) and not of.secrets:
        raise WrongInput("--auth-method is for a client that keeps a secret; add --confidential.")
    try:
        client_rules.check(of, {entry.name for entry in broker.registry.providers()})
    except InvalidRegistration as invalid:
        option = _OPTIONS.get(invalid.field, invalid.field)
        raise WrongInput(f"{option}: {invalid.rule}.") from None


def _find(broker: Connection, client_id: str) -> Client:
    with aws_failures():
        found = broker.registry.client(client_id)
    if found is None:
        raise _unknown(client_id)
    return found


def _unknown(client_id: str) -> WrongInput:
    return WrongInput(f"There is no client {client_id}; `broker client list` shows all.")


def _store(broker: Connection, after: Client, before: Client) -> None:
    try:
        broker.registry.update_client(after, before)
    except NotFound:
        raise _unknown(after.client_id) from None
    except Changed:
        raise changed_meanwhile(after.client_id) from None


def _set_disabled(broker: Connection, before: Client, *, disabled: bool) -> None:
    with aws_failures():
        _store(broker, replace(before, disabled=disabled), before)
    word = "Disabled" if disabled else "Enabled"
    emit({"client_id": before.client_id, "disabled": disabled}, f"{word} {before.name} ({before.client_id}).{_DELAY}")


def _kind(of: Client) -> str:
    kind = "public" if of.is_public else "confidential"
    return f"{kind}, registered itself" if of.dynamic else kind


def _state(of: Client) -> str:
    return "disabled" if of.disabled else "enabled"


_SHOWN = (
    "client_id",
    "name",
    "redirect_uris",
    "auth_methods",
    "origins",
    "providers",
    "scope",
    "grant_types",
    "resources",
    "served_resources",
    "post_logout_redirect_uris",
    "backchannel_logout_uri",
    "refresh_cookie",
    "require_redirect_uri",
    "require_pkce",
    "id_token_alg",
    "access_token_format",
    "access_token_alg",
    "first_party",
    "require_par",
    "jwks_uri",
    "dpop_bound",
    "dialect",
    "token_by_get",
    "token_exchange",
    "proxy",
    *LIFETIMES,
    "disabled",
    "created_at",
)
"""What may be shown of a client: a list of what is harmless, so that a field added later is not shown unasked."""


def _document(of: Client) -> dict[str, Json]:
    """A client as JSON; of its secrets, when they were made."""
    values = {name: getattr(of, name) for name in _SHOWN}
    shown = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    made: list[Json] = [{"created_at": secret.created_at} for secret in of.secrets]
    return shown | {"confidential": not of.is_public, "secrets": made}


def _emit_client(of: Client, secret: str | None = None) -> None:
    lifetimes = [(name.replace("_", " "), _lifetime(getattr(of, name))) for name in LIFETIMES]
    made = [moment(one.created_at) for one in of.secrets]
    text = sheet(
        [
            ("client_id", of.client_id),
            ("client_secret", secret or ""),
            ("name", of.name),
            ("kind", f"{_kind(of)}, {_state(of)}"),
            ("authenticates by", "" if of.is_public else "\n".join(of.auth_methods)),
            ("its public keys", _keys(of)),
            ("DPoP", "required" if of.dpop_bound else ""),
            ("secrets made", "\n".join(made)),
            ("redirect URIs", "\n".join(of.redirect_uris)),
            ("origins", "\n".join(of.origins) or "none (no browser page may call the broker)"),
            ("providers", ", ".join(of.providers) or "none (nobody can log in; see `client update --provider`)"),
            ("scope", " ".join(of.scope)),
            ("grant types", ", ".join(of.grant_types)),
            ("resources", "\n".join(of.resources)),
            ("serves", "\n".join(of.served_resources)),
            ("is given tokens of", ", ".join(of.token_exchange)),
            ("calls the API of", ", ".join(of.proxy)),
            ("returns after sign-out", "\n".join(of.post_logout_redirect_uris)),
            ("back-channel logout", of.backchannel_logout_uri or ""),
            ("PKCE", "required" if of.require_pkce else "not required"),
            ("dialect", _dialect(of)),
            ("redirect_uri at token", "required" if of.require_redirect_uri else ""),
            ("refresh token", "in a cookie only" if of.refresh_cookie else "in the answer's body"),
            ("ID token", of.id_token_alg),
            ("access token", of.access_token_format),
            ("consent", "" if of.first_party else "people are asked (it is not first-party)"),
            ("pushed requests", "required" if of.require_par else ""),
            *lifetimes,
            ("made", moment(of.created_at)),
        ]
    )
    if secret:
        text += "\n\nKeep the client_secret now: it is not stored and cannot be shown again."
    emit(_document(of) | ({"client_secret": secret} if secret else {}), text)


def _signs(changes: dict[str, Any]) -> bool:
    """Whether the client is to authenticate by a key of its own."""
    return "private_key_jwt" in changes.get("auth_methods", ())


def _needs_secret(before: Client, confidential: bool | None, changes: dict[str, Any]) -> bool:
    """Whether an update makes a client one that sends a secret, and it has none."""
    if before.is_public:
        return bool(confidential) and not _signs(changes)
    return not before.secrets and bool(set(changes.get("auth_methods", ())) & set(SECRET_METHODS))


def _keys(of: Client) -> str:
    if of.jwks is None:
        return of.jwks_uri or ""
    try:
        return "\n".join(key.kid or "a key without kid" for key in key_set(of.jwks))
    except BadKey as error:
        return str(error)


def _dialect(of: Client) -> str:
    return (of.dialect or "") + (", tokens also by GET" if of.token_by_get else "")


def _lifetime(seconds: int | None) -> str:
    if seconds is None:
        return "default"
    return f"{seconds} s" + (f" ({span(seconds)})" if seconds >= 120 else "")
