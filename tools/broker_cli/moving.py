"""`broker export` and `broker import`: clients, providers, registration policy and brand, from one stage to another.

No secret travels. What is imported is checked whole before anything is written; a client's new secret is printed once, however
the import ends: once its hash is stored, nothing else knows the secret.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import click

from broker import clock
from broker.brand import BrandProblem
from broker.protocol.clients import ClientSecret, hash_secret
from broker.protocol.registration import InvalidRegistration
from broker.protocol.registration_policy import validate_policy
from broker.settings import LIMITS
from broker.store.registry import AlreadyExists, Changed, NotFound
from broker_cli import client_rules
from broker_cli.clients import new_secret
from broker_cli.connection import Connection, connect
from broker_cli.failures import ServiceFailure, WrongInput, aws_failures
from broker_cli.options import Command
from broker_cli.output import Json, confirm, emit, table
from broker_cli.provider_secrets import remedy
from broker_cli.providers import file_problem, parsed
from broker_cli.stage import Change, Stage, StageProblem, changes, merged, parse, text_of

_NOTICED = "Running functions notice within a minute."


@click.command("export", cls=Command, short_help="Write clients and providers down, without secrets.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it to a file (default: print it).")
@click.option(
    "--with-secret-hashes",
    is_flag=True,
    help="Take along the SHA-256 of client secrets, so that clients keep their secrets: to restore a stage, not to copy it.",
)
def export(out: Path | None, with_secret_hashes: bool) -> None:
    """Write down clients, providers, registration policy and brand, without any secret.

    Clients that registered themselves stay where they are. `broker import` reads the document into another stage.
    """
    broker = connect()
    there = _stage(broker)
    text = text_of(replace(there, with_hashes=with_secret_hashes))
    if out is None:
        click.echo(text)
        return
    try:
        out.write_text(text + "\n", "utf-8")
    except OSError as error:
        raise WrongInput(f"{out} cannot be written: {error.strerror}.") from None
    emit(
        {"file": str(out), "clients": len(there.clients), "providers": len(there.providers)},
        f"Wrote {_count(len(there.clients), 'client')} and {_count(len(there.providers), 'provider')} to {out}.",
    )


@click.command("import", cls=Command, short_help="Take clients and providers from another stage.")
@click.argument("source", type=click.File("r", encoding="utf-8"), metavar="FILE")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option(
    "--prune",
    is_flag=True,
    help="Remove clients, and providers with their credentials, that the document does not have.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def import_(source: TextIO, dry_run: bool, prune: bool, yes: bool) -> None:
    """Make this stage hold what FILE says ("-" for standard input). Everything is checked before anything is written.

    Providers' credentials do not travel: what is missing here is named at the end. A confidential client that is new here
    gets a new secret, printed once.
    """
    broker = connect()
    there = _stage(broker)
    wanted, made = _with_secrets(merged(there, _read(source), clock.now()), there)
    _check(broker, there, wanted, prune=prune)
    planned = changes(there, wanted, prune=prune)
    # Looked up before the writes: what can fail must not stand between a write and what is told of it.
    missing = _without_credentials(broker, wanted)
    if dry_run or not planned:
        shown = _shown(planned) if planned else "Nothing to change."
        emit(_document(_Import(planned), {}, missing), shown + _missing_text(missing))
        return
    click.echo(_shown(planned), err=True)
    confirm(f"Make {_count(len(planned), 'change')}?", yes=yes)
    run = _Import(planned)
    try:
        _apply(broker, there, wanted, run)
    finally:
        told = run.secrets_of(made)
        emit(_document(run, told, missing), _told(run, told) + _secrets_text(told) + _missing_text(missing))


@dataclass
class _Import:
    """How far an import came.

    unsure: the change that was being made when it stopped, if AWS did not say whether it was.
    """

    planned: list[Change]
    done: list[Change] = field(default_factory=list)
    unsure: Change | None = None

    def secrets_of(self, made: dict[str, str]) -> dict[str, str]:
        """Those of `made`, by client id, whose hash is stored, or may be."""
        written = [*self.done, *([self.unsure] if self.unsure else [])]
        return {one.name: made[one.name] for one in written if one.kind == "client" and one.name in made}


def _stage(broker: Connection) -> Stage:
    with aws_failures():
        clients = {client.client_id: client for client in broker.registry.clients() if not client.dynamic}
        providers = {entry.name: entry for entry in broker.registry.providers()}
        policy = broker.registrations.policy()
        try:
            brand = broker.brands.stored()
        except BrandProblem as problem:
            raise ServiceFailure(
                f"The stored brand cannot be read: {problem} `broker brand reset` removes it."
            ) from None
    return Stage(clients, providers, policy, brand)


def _read(source: TextIO) -> Stage:
    try:
        return parse(source.read())
    except UnicodeDecodeError:
        raise WrongInput("The document cannot be imported: it is not UTF-8.") from None
    except StageProblem as problem:
        raise WrongInput(f"The document cannot be imported: {problem}.") from None


def _with_secrets(wanted: Stage, there: Stage) -> tuple[Stage, dict[str, str]]:
    """(the stage with a new secret for each confidential client that has none here, those secrets by client id)."""
    made: dict[str, str] = {}
    clients = dict(wanted.clients)
    for client_id, client in wanted.clients.items():
        if client.uses_secret and not client.secrets:
            made[client_id] = new_secret()
            clients[client_id] = replace(client, secrets=(ClientSecret(hash_secret(made[client_id]), clock.now()),))
        elif client.is_public and client_id in there.clients:
            clients[client_id] = replace(client, secrets=())
    return replace(wanted, clients=clients), made


def _check(broker: Connection, there: Stage, wanted: Stage, *, prune: bool) -> None:
    """Errors: WrongInput for the first entry that this stage could not run."""
    for name, entry in wanted.providers.items():
        if problem := file_problem(broker, entry):
            raise WrongInput(f"Provider {name} cannot be imported: {problem.rstrip('.')}.")
    known = set(wanted.providers) | (set() if prune else set(there.providers))
    _check_ids(broker, there, wanted)
    for client_id, client in wanted.clients.items():
        try:
            client_rules.check(client, known)
        except InvalidRegistration as invalid:
            raise WrongInput(f"Client {client_id} cannot be imported: {invalid.field}: {invalid.rule}.") from None
    _check_policy(there, wanted, known)


def _check_policy(there: Stage, wanted: Stage, known: set[str]) -> None:
    """Errors: WrongInput, also for a policy that stays and whose provider goes."""
    if wanted.policy is not None:
        try:
            validate_policy(wanted.policy, LIMITS)
        except InvalidRegistration as invalid:
            raise WrongInput(f"The registration policy cannot be imported: {invalid.field}: {invalid.rule}.") from None
        for name in wanted.policy.providers:
            if name not in known:
                raise WrongInput(f"The registration policy cannot be imported: its provider {name} is not there.")
    for name in there.policy.providers if there.policy and wanted.policy is None else ():
        if name not in known:
            raise WrongInput(
                f"Provider {name} cannot be removed: the registration policy names it."
                " Give the document a registration, or run `broker registration set --provider ...` first."
            )


def _check_ids(broker: Connection, there: Stage, wanted: Stage) -> None:
    """Clients that registered themselves here are not part of `there`, and are nobody else's to replace. Errors: WrongInput."""
    for client_id in sorted(set(wanted.clients) - set(there.clients)):
        with aws_failures():
            taken = broker.registry.client(client_id)
        if taken is not None and taken.dynamic:
            raise WrongInput(
                f"Client {client_id} cannot be imported: a client that registered itself here has this id."
                f" Take it out of the document, or remove that client with `broker client remove {client_id}`."
            )


def _apply(broker: Connection, there: Stage, wanted: Stage, run: _Import) -> None:
    """Providers before the clients that use them, and removed after them, so that no login meets a half of it."""
    with aws_failures():
        for change in run.planned:
            run.unsure = change
            try:
                _write(broker, there, wanted, change)
            except (AlreadyExists, Changed, NotFound) as error:
                run.unsure = None
                raise ServiceFailure(
                    f"Somebody else changed {error} at the same moment; run the import again, it goes on from there."
                ) from None
            except KeyboardInterrupt:
                raise ServiceFailure("The import was stopped; run it again, it goes on from there.") from None
            run.unsure = None
            run.done.append(change)


def _write(broker: Connection, there: Stage, wanted: Stage, change: Change) -> None:
    registry, name = broker.registry, change.name
    match change.what, change.kind:
        case "add", "provider":
            registry.add_provider(wanted.providers[name])
        case "change", "provider":
            registry.update_provider(wanted.providers[name], there.providers[name])
        case "remove", "provider":
            # First its credentials: an import that stops in between still finds the provider when it is run again.
            broker.provider_secrets.remove(name)
            registry.remove_provider(name)
        case "add", "client":
            registry.add_client(wanted.clients[name])
        case "change", "client":
            registry.update_client(wanted.clients[name], there.clients[name])
        case "remove", "client":
            with suppress(NotFound):
                registry.remove_client(name)
        case _, "registration" if wanted.policy is not None:
            broker.registrations.set_policy(wanted.policy)
        case _, "brand" if wanted.brand is not None:
            broker.brands.put(wanted.brand)


def _without_credentials(broker: Connection, wanted: Stage) -> dict[str, str]:
    """The providers that lack them here, each with the command that gives them."""
    lacking = [name for name in sorted(wanted.providers) if broker.provider_secrets.client_id(name) is None]
    return {name: remedy(parsed(broker, wanted.providers[name]), None) for name in lacking}


def _shown(found: list[Change]) -> str:
    rows = [(change.what, change.kind, change.name, ", ".join(change.attributes)) for change in found]
    return table(("CHANGE", "KIND", "NAME", "ATTRIBUTES"), rows, empty="")


def _told(run: _Import, told: dict[str, str]) -> str:
    made, planned = len(run.done), len(run.planned)
    if made == planned:
        return f"Made {_count(made, 'change')}. {_NOTICED}"
    text = f"{made} of {_count(planned, 'change')} made."
    if run.unsure is not None:
        text += f" Whether {run.unsure.kind} {run.unsure.name} was written is not known."
        if run.unsure.kind == "client" and run.unsure.name in told:
            text += " A secret that the next import prints for it replaces the one printed here."
    return text


def _secrets_text(made: dict[str, str]) -> str:
    if not made:
        return ""
    rows = [(client_id, made[client_id]) for client_id in sorted(made)]
    return f"\n\nNew client secrets, shown this once:\n{table(('CLIENT', 'SECRET'), rows, empty='')}"


def _missing_text(missing: Mapping[str, str]) -> str:
    if not missing:
        return ""
    commands = "\n".join(f"  {command.strip('`')}" for command in missing.values())
    return f"\n\nThese providers have no credentials here yet, so nobody can log in with them:\n{commands}"


def _document(run: _Import, told: dict[str, str], missing: Mapping[str, str]) -> dict[str, Json]:
    return {
        "changes": [
            {"what": one.what, "kind": one.kind, "name": one.name, "attributes": list(one.attributes)}
            for one in run.planned
        ],
        "made": len(run.done),
        "applied": bool(run.planned) and len(run.done) == len(run.planned),
        "client_secrets": {name: told[name] for name in sorted(told)},
        "providers_without_credentials": list(missing),
    }


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
