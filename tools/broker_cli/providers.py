"""`broker provider`: the services that people log in at, each a file of the catalogue or of the operator's own.

A client secret or private key is read from standard input and goes to Secrets Manager. It must never be shown, logged or be
part of a command line.
"""

import json
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, time
from pathlib import Path
from typing import Any, TypeVar

import click

from broker import clock
from broker.store.registry import AlreadyExists, Changed, NotFound, ProviderEntry
from broker.store.secrets import ProviderSecret
from broker.upstream import catalogue
from broker.upstream.provider import Provider
from broker.upstream.reader import ProviderFileError
from broker.upstream.registered import dialect_of
from broker.upstream.signing import ALGORITHMS, Algorithm, BadClientKey, ClientKey, new_key
from broker_cli.client_rules import PROVIDER_LISTS
from broker_cli.connection import Connection, connect
from broker_cli.failures import ServiceFailure, WrongInput, aws_failures, changed_meanwhile
from broker_cli.options import Group
from broker_cli.output import Json, ago, confirm, emit, moment, sheet, table
from broker_cli.provider_secrets import lacks, remedy

Decorated = TypeVar("Decorated", bound=Callable[..., None])

provider = Group("provider", help="The services that people log in at.")

MAX_SECRET = 4096
MAX_KEY = 16384
_NOTICED = " Running functions notice within a minute."


@dataclass(frozen=True)
class _Pair:
    """`name=value` of the command line."""

    name: str
    value: str


class _PairType(click.ParamType[_Pair]):
    name = "name=value"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> _Pair:
        if isinstance(value, _Pair):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name:
            return self.fail(f"{str(value)!r} is not of the form name=value", param, ctx)
        return _Pair(name.strip(), text)


def _dialect_options(command: Decorated) -> Decorated:
    pair = _PairType()
    variables = click.option(
        "--var", "variables", multiple=True, type=pair, metavar="NAME=VALUE", help="A variable of the file; repeatable."
    )
    fields = click.option(
        "--set",
        "fields",
        multiple=True,
        type=pair,
        metavar="FIELD=VALUE",
        help="A field of the file to change, like authorize.url=https://...; TOML or plain text; repeatable.",
    )
    return fields(variables(command))


_SECRET = click.option(
    "--client-secret-stdin", "from_stdin", is_flag=True, help="Read the client secret from standard input."
)


def _key_options(command: Decorated) -> Decorated:
    """For providers that know the broker by a key (private_key_jwt), or want secrets made with one."""
    from_stdin = click.option(
        "--private-key-stdin", "key_from_stdin", is_flag=True, help="Read a private key (PEM) from standard input."
    )
    kid = click.option("--key-id", metavar="KID", help="The name of that key at the provider.")
    generate = click.option(
        "--generate-key",
        type=click.Choice(ALGORITHMS),
        help="Make a new key and print its public half; until that is registered there, the provider refuses the broker.",
    )
    return from_stdin(kid(generate(command)))


@provider.command("add")
@click.argument("name")
@click.option("--from", "source", metavar="CATALOGUE_NAME", help="The catalogue's file to start from (default: NAME).")
@click.option("--file", "path", type=click.Path(path_type=Path), metavar="F.toml", help="A file of your own instead.")
@click.option("--client-id", required=True, metavar="X", help="The broker's client id at the provider.")
@_SECRET
@_key_options
@_dialect_options
def add(
    name: str,
    source: str | None,
    path: Path | None,
    client_id: str,
    from_stdin: bool,
    key_from_stdin: bool,
    key_id: str | None,
    generate_key: Algorithm | None,
    fields: tuple[_Pair, ...],
    variables: tuple[_Pair, ...],
) -> None:
    """Register a provider, and say which redirect URI to register there.

    With a private key the broker authenticates by private_key_jwt, unless the file has another use for the key.
    """
    broker = connect()
    if from_stdin and key_from_stdin:
        raise WrongInput("--client-secret-stdin and --private-key-stdin exclude each other: standard input holds one.")
    entry = replace(
        _base(name, source, path),
        overrides={field.name: _toml(field.value) for field in fields},
        variables={variable.name: variable.value for variable in variables},
        created_at=clock.now(),
    )
    dialect = _usable(broker, entry)
    if (key_from_stdin or generate_key) and not dialect.needs_key:
        entry = replace(entry, overrides={"token.auth": "private_key_jwt", **entry.overrides})
        dialect = _usable(broker, entry)
    with aws_failures():
        if broker.registry.provider(name) is not None:
            raise _taken(name)
    key = _key(name, key_from_stdin, key_id, generate_key)
    if dialect.needs_key and key is None:
        raise _key_missing()
    secret = read_secret(name) if from_stdin else _no_secret(dialect)
    # The credentials first, so that no login meets a provider without them.
    held = _with_key(ProviderSecret(client_id, secret), key)
    broker.provider_secrets.put(name, held)
    with aws_failures():
        try:
            broker.registry.add_provider(entry)
        except AlreadyExists:
            raise _taken(name) from None
    _emit_provider(broker, entry, held, advice=True, key=key)


@provider.command("list")
def list_providers() -> None:
    """All registered providers."""
    broker = connect()
    with aws_failures():
        found = sorted(broker.registry.providers(), key=lambda entry: entry.name)
    rows = [
        (entry.name, origin(entry), _authorize_url(broker, entry), _state(broker, entry), ago(entry.created_at))
        for entry in found
    ]
    header = ("NAME", "FROM", "AUTHORIZE URL OR ISSUER", "STATE", "MADE")
    emit(
        [_document(broker, entry) for entry in found],
        table(header, rows, empty="No provider is registered; `broker provider add` registers one."),
    )


@provider.command("show")
@click.argument("name")
def show(name: str) -> None:
    """One provider and its dialect, without the secret."""
    broker = connect()
    entry = find_provider(broker, name)
    _emit_provider(broker, entry, broker.provider_secrets.read(name))


@provider.command("set-secret")
@click.argument("name")
@_SECRET
@click.option("--client-id", metavar="X", help="The client id, if it changes too.")
def set_secret(name: str, from_stdin: bool, client_id: str | None) -> None:
    """Replace the broker's client secret at a provider; the client id alone where there is no secret."""
    broker = connect()
    entry = find_provider(broker, name)
    if not from_stdin and (client_id is None or _is_confidential(broker, entry)):
        raise _secret_missing()
    known = client_id or broker.provider_secrets.client_id(name)
    if known is None:
        raise WrongInput(f"No client id is kept for {name}; give it with --client-id.")
    before = _held(broker, name, client_id) or ProviderSecret(known)
    secret = read_secret(name) if from_stdin else before.client_secret
    broker.provider_secrets.put(name, replace(before, client_id=known, client_secret=secret))
    what = f"The client secret of {name} (client id {known})" if from_stdin else f"The client id {known} of {name}"
    emit(
        {"name": name, "client_id": known, "secret_set": from_stdin},
        f"{what} is set. Running functions use it within five minutes.",
    )


@provider.command("set-key")
@click.argument("name")
@_key_options
@click.option("--client-id", metavar="X", help="The client id, if it changes too.")
def set_key(
    name: str, key_from_stdin: bool, key_id: str | None, generate_key: Algorithm | None, client_id: str | None
) -> None:
    """Replace the broker's private key at a provider. Register the new public key there before."""
    broker = connect()
    find_provider(broker, name)
    known = client_id or broker.provider_secrets.client_id(name)
    if known is None:
        raise WrongInput(f"No client id is kept for {name}; give it with --client-id.")
    key = _key(name, key_from_stdin, key_id, generate_key)
    if key is None:
        raise _key_missing()
    before = _held(broker, name, client_id) or ProviderSecret(known)
    broker.provider_secrets.put(name, _with_key(replace(before, client_id=known), key))
    emit(
        {"name": name, "client_id": known, "public_jwk": _shown_jwk(key)},
        f"The private key of {name} (client id {known}) is set. Running functions use it within five minutes."
        f"\n\n{_key_advice(key)}",
    )


@provider.command("update")
@click.argument("name")
@_dialect_options
@click.option(
    "--unset", multiple=True, metavar="FIELD", help="A field set earlier, to be as in the file again; repeatable."
)
def update(name: str, fields: tuple[_Pair, ...], variables: tuple[_Pair, ...], unset: tuple[str, ...]) -> None:
    """Change fields and variables of a provider."""
    broker = connect()
    before = find_provider(broker, name)
    if not (fields or variables or unset):
        raise WrongInput("Nothing was given to change; give --set, --unset or --var.")
    for field in unset:
        if field not in before.overrides:
            has = ", ".join(sorted(before.overrides)) or "no field"
            raise WrongInput(f"--unset: {field} is not set on {name}; it has {has} set.")
    kept = {field: value for field, value in before.overrides.items() if field not in unset}
    entry = replace(
        before,
        overrides=kept | {field.name: _toml(field.value) for field in fields},
        variables={**before.variables, **{variable.name: variable.value for variable in variables}},
    )
    _usable(broker, entry)
    held = broker.provider_secrets.read(name)
    _store(broker, entry, before)
    _emit_provider(broker, entry, held)


@provider.command("disable")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def disable(name: str, yes: bool) -> None:
    """Let nobody log in or refresh at a provider, until `enable`."""
    broker = connect()
    entry = find_provider(broker, name)
    confirm(f"Disable {name}? {_users(broker, name)}", yes=yes)
    _set_disabled(broker, entry, disabled=True)


@provider.command("enable")
@click.argument("name")
def enable(name: str) -> None:
    """Let a disabled provider work again."""
    broker = connect()
    _set_disabled(broker, find_provider(broker, name), disabled=False)


@provider.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Remove a provider and its credentials."""
    broker = connect()
    find_provider(broker, name)
    confirm(f"Remove {name} and its credentials? {_users(broker, name)}", yes=yes)
    # First its credentials: what is stopped in between can be done again, as long as the provider is there.
    broker.provider_secrets.remove(name)
    with aws_failures():
        try:
            broker.registry.remove_provider(name)
        except NotFound:
            raise _unknown(name) from None
    emit({"name": name, "removed": True}, f"Removed {name}.{_NOTICED}")


@provider.command("catalogue")
def show_catalogue() -> None:
    """The provider files that come with the broker."""
    documents = {name: catalogue.document(name) for name in catalogue.names()}
    shown = [
        (name, _text(document, "authorize", "url") or _text(document, "issuer"), _variables(document))
        for name, document in documents.items()
    ]
    rows = [(name, url, ", ".join(f"--var {variable}=..." for variable in variables)) for name, url, variables in shown]
    emit(
        [{"name": name, "authorize_url": url, "variables": list(variables)} for name, url, variables in shown],
        table(("NAME", "AUTHORIZE URL OR ISSUER", "NEEDS"), rows, empty="The catalogue is empty."),
    )


# -- what a provider is made of ------------------------------------------------------------------------------------


def _base(name: str, source: str | None, path: Path | None) -> ProviderEntry:
    """The entry with its file. Errors: WrongInput."""
    if path is not None:
        if source is not None:
            raise WrongInput("--from and --file exclude each other; give one of them.")
        return ProviderEntry(name, document=_read_file(path))
    wanted = source or name
    if wanted not in catalogue.names():
        listed = ", ".join(catalogue.names())
        raise WrongInput(
            f"The catalogue has no {wanted}; name one of {listed} with --from, or give your own file with --file."
        )
    return ProviderEntry(name, catalogue=wanted)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
        json.dumps(document)  # the Registry keeps it as JSON, which has no dates
    except OSError as error:
        raise WrongInput(f"--file: {path} cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongInput(f"--file: {path} is not TOML ({error}).") from None
    except TypeError:
        raise WrongInput(f"--file: {path} has a date, which no field takes; put it into quotes.") from None
    return document


def _toml(text: str) -> Any:
    """`text` as a TOML value when it is one, else as it stands: `authorize.pkce=off` needs no quotes.

    Dates stay text: no field takes one, but `api.headers.Notion-Version=2022-06-28` is meant as text.
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed["value"]
    return text if len(parsed) > 1 or isinstance(value, date | time) else value


def parsed(broker: Connection, entry: ProviderEntry) -> Provider:
    """The dialect in force, read as the functions read it. Errors: ProviderFileError, KeyError."""
    return dialect_of(entry, local=broker.settings.local, source=origin(entry))


def _usable(broker: Connection, entry: ProviderEntry) -> Provider:
    """Errors: WrongInput with the file's fault, or why this broker cannot run the provider."""
    try:
        dialect = parsed(broker, entry)
    except ProviderFileError as error:
        # For a variable the option is the cure; the message itself speaks of the file.
        needs_value = error.rule.startswith("needs a value")
        cure = f"; give it with --var {error.field.removeprefix('vars.')}=VALUE" if needs_value else ""
        raise WrongInput(f"{error}{cure}") from None
    problem = dialect.usable_problem()
    if problem:
        raise WrongInput(problem)
    return dialect


def file_problem(broker: Connection, entry: ProviderEntry) -> str | None:
    try:
        return parsed(broker, entry).usable_problem()
    except ProviderFileError as error:
        return str(error)
    except KeyError:
        return f"the catalogue has no {entry.catalogue} any more"


def read_secret(name: str) -> str:
    """One line from standard input, without an echo when it is a terminal. Errors: WrongInput."""
    if sys.stdin.isatty():
        text = str(click.prompt(f"Client secret of {name}", hide_input=True, err=True))
    else:
        try:
            text = sys.stdin.read(MAX_SECRET + 2)
        except UnicodeDecodeError:
            raise WrongInput("The client secret on standard input is not text; give it as one line of UTF-8.") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret or len(secret) > MAX_SECRET or not secret.isprintable():
        raise WrongInput(f"Standard input must hold the client secret as one line of 1 to {MAX_SECRET} characters.")
    return secret


def _is_confidential(broker: Connection, entry: ProviderEntry) -> bool:
    """Whether the provider wants a secret or a key of the broker, or its file cannot tell."""
    try:
        dialect = parsed(broker, entry)
    except (ProviderFileError, KeyError):
        return True
    return dialect.needs_secret or dialect.needs_key


def _no_secret(dialect: Provider) -> str:
    if dialect.needs_secret:
        raise _secret_missing()
    return ""


def _key(name: str, from_stdin: bool, key_id: str | None, generate: Algorithm | None) -> ClientKey | None:
    """The key that the options name, checked; None for none. Errors: WrongInput."""
    if from_stdin and generate:
        raise WrongInput("--private-key-stdin and --generate-key exclude each other; give one of them.")
    if key_id is not None and not from_stdin:
        raise WrongInput("--key-id names a key of your own; give --private-key-stdin with it.")
    if generate:
        return new_key(generate)
    if not from_stdin:
        return None
    if sys.stdin.isatty():
        raise WrongInput(f"The private key of {name} is a file; give it by `< key.pem`.")
    try:
        key = ClientKey(key_id or "", sys.stdin.read(MAX_KEY + 1))
        _ = key.private_key
    except UnicodeDecodeError:
        raise WrongInput(
            "The private key on standard input is not PEM; give the file as the provider gave it."
        ) from None
    except BadClientKey as problem:
        raise WrongInput(f"Standard input: {problem}.") from None
    return key


def _key_missing() -> WrongInput:
    return WrongInput(
        "The private key is missing; give --private-key-stdin and the key (PEM) on standard input, or --generate-key."
    )


def _held(broker: Connection, name: str, client_id: str | None) -> ProviderSecret | None:
    """What is kept; None when nothing is, or when it is broken and the operator gives all that is needed to write it anew."""
    try:
        return broker.provider_secrets.read(name)
    except ServiceFailure:
        if client_id is None:
            raise
        return None


def _with_key(secret: ProviderSecret, key: ClientKey | None) -> ProviderSecret:
    return secret if key is None else replace(secret, private_key=key.private_pem, kid=key.kid)


def _shown_jwk(key: ClientKey) -> dict[str, Json]:
    return dict(key.public_jwk)


def _key_advice(key: ClientKey) -> str:
    return f"The public key, to register at the provider:\n{json.dumps(_shown_jwk(key), indent=2)}"


def _secret_missing() -> WrongInput:
    return WrongInput("The client secret is missing; give --client-secret-stdin and the secret on standard input.")


# -- the Registry --------------------------------------------------------------------------------------------------


def find_provider(broker: Connection, name: str) -> ProviderEntry:
    with aws_failures():
        found = broker.registry.provider(name)
    if found is None:
        raise _unknown(name)
    return found


def _unknown(name: str) -> WrongInput:
    return WrongInput(f"There is no provider {name}; `broker provider list` shows all.")


def _taken(name: str) -> WrongInput:
    return WrongInput(
        f"There is a provider {name} already; change it with `broker provider update`, or choose another name."
    )


def _store(broker: Connection, entry: ProviderEntry, before: ProviderEntry) -> None:
    with aws_failures():
        try:
            broker.registry.update_provider(entry, before)
        except NotFound:
            raise _unknown(entry.name) from None
        except Changed:
            raise changed_meanwhile(entry.name) from None


def _set_disabled(broker: Connection, entry: ProviderEntry, *, disabled: bool) -> None:
    _store(broker, replace(entry, disabled=disabled), entry)
    word = "Disabled" if disabled else "Enabled"
    emit({"name": entry.name, "disabled": disabled}, f"{word} {entry.name}.{_NOTICED}")


def _users(broker: Connection, name: str) -> str:
    with aws_failures():
        users = sorted(
            client.name
            for client in broker.registry.clients()
            if any(name in getattr(client, field) for field in PROVIDER_LISTS)
        )
        if name in broker.registrations.policy().providers:
            users.append("clients that register themselves (`broker registration set --provider ...`)")
    return f"It is used by {', '.join(users)}." if users else "No client uses it."


# -- what is shown -------------------------------------------------------------------------------------------------


def origin(entry: ProviderEntry) -> str:
    return f"{entry.catalogue}.toml" if entry.document is None else "own file"


def _state(broker: Connection, entry: ProviderEntry) -> str:
    if entry.disabled:
        return "disabled"
    return "unusable" if file_problem(broker, entry) else "enabled"


def _authorize_url(broker: Connection, entry: ProviderEntry) -> str:
    try:
        dialect = parsed(broker, entry)
        return _filled(dialect.authorize.url, entry.variables) or dialect.issuer or "-"
    except (ProviderFileError, KeyError):
        return "-"


def _filled(url: str, variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        url = url.replace(f"{{{name}}}", value)
    return url


def redirect_uri(broker: Connection, name: str) -> str:
    return f"{broker.settings.issuer}/callback/{name}"


def _document(broker: Connection, entry: ProviderEntry) -> dict[str, Json]:
    """A provider as JSON. `dialect` is null, and `problem` says why, when its file cannot be used."""
    try:
        dialect: Json = dict(_dialect(parsed(broker, entry), entry.variables))
    except (ProviderFileError, KeyError):
        dialect = None
    return {
        "name": entry.name,
        "from": origin(entry),
        "disabled": entry.disabled,
        "created_at": entry.created_at,
        "redirect_uri": redirect_uri(broker, entry.name),
        "overrides": dict(entry.overrides),
        "variables": dict(entry.variables),
        "dialect": dialect,
        "problem": file_problem(broker, entry),
    }


def _dialect(dialect: Provider, variables: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """The dialect in short: what an operator compares with the provider's own documentation."""
    authorize, token, refresh = dialect.authorize, dialect.token, dialect.refresh
    yield "issuer", dialect.issuer or ""
    yield "authorize", _filled(authorize.url, variables)
    yield "scope", authorize.scope_separator.join(authorize.scope)
    yield "pkce", authorize.pkce
    yield "state", authorize.state
    yield "token", f"{token.method} {_filled(token.url, variables)}"
    yield "client_authentication", token.auth
    yield (
        "refresh",
        f"{refresh.method} {_filled(refresh.url, variables)} by {refresh.using}, where the provider gives one",
    )
    userinfo, revoke = dialect.userinfo, dialect.revoke
    yield "userinfo", f"{userinfo.method} {_filled(userinfo.url, variables)}" if userinfo else ""
    yield "subject", ", ".join(userinfo.claims.get("sub", ())) if userinfo else ""
    yield "revoke", f"{revoke.method} {_filled(revoke.url, variables)}" if revoke else ""


def _emit_provider(
    broker: Connection,
    entry: ProviderEntry,
    held: ProviderSecret | None,
    *,
    advice: bool = False,
    key: ClientKey | None = None,
) -> None:
    missing = ""
    try:
        provider = parsed(broker, entry)
        dialect = list(_dialect(provider, entry.variables))
        if missing := lacks(provider, held):
            missing = f"nobody can log in, as {missing} ({remedy(provider, held)})"
    except (ProviderFileError, KeyError):
        dialect = []
    state = "disabled" if entry.disabled else "enabled"
    text = sheet(
        [
            ("name", entry.name),
            ("from", origin(entry)),
            ("state", state),
            ("problem", file_problem(broker, entry) or missing),
            ("client id", held.client_id if held else "none is kept"),
            ("redirect URI", redirect_uri(broker, entry.name)),
            *((field.replace("_", " "), value) for field, value in dialect),
            ("set here", "\n".join(f"{name} = {json.dumps(value)}" for name, value in sorted(entry.overrides.items()))),
            ("variables", "\n".join(f"{name} = {value}" for name, value in sorted(entry.variables.items()))),
            ("made", moment(entry.created_at)),
        ]
    )
    document = _document(broker, entry) | {
        "client_id": held.client_id if held else None,
        "credentials_problem": missing or None,
    }
    if key is not None:
        document["public_jwk"] = _shown_jwk(key)
        text += f"\n\n{_key_advice(key)}"
    if advice:
        text += f"\n\nRegister this redirect URI at the provider: {redirect_uri(broker, entry.name)}"
    emit(document, text)


def _text(document: Mapping[str, object], *path: str) -> str:
    here: object = document
    for step in path:
        here = here.get(step) if isinstance(here, Mapping) else None
    return here if isinstance(here, str) else ""


def _variables(document: Mapping[str, object]) -> tuple[str, ...]:
    declared = document.get("vars")
    return tuple(declared) if isinstance(declared, Mapping) else ()
