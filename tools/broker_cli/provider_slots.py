"""`broker provider secret`: the two slots of a provider's client secret, so that the provider can rotate it at any moment.

A new secret waits beside the present one; functions try the other one when the provider refuses theirs. Secrets go in on
standard input and never come out.
"""

from dataclasses import replace

import click

from broker.store.secrets import ProviderSecret
from broker_cli.connection import connect
from broker_cli.failures import WrongInput
from broker_cli.options import Command
from broker_cli.output import confirm, emit, sheet
from broker_cli.providers import find_provider, read_secret

_MEANING = {
    "current": "tried first",
    "next": "tried when the provider refuses the current one",
    "old": "tried when the provider refuses the current one",
}


@click.command("secret", cls=Command)
@click.argument("name")
@click.option(
    "--next",
    "following",
    is_flag=True,
    help="Put a new secret beside the present one; give it with --client-secret-stdin.",
)
@click.option("--client-secret-stdin", "from_stdin", is_flag=True, help="Read the new secret from standard input.")
@click.option(
    "--promote", is_flag=True, help="Let the next secret be the current one; the one before stays as the old one."
)
@click.option("--drop-next", is_flag=True, help="Forget the next secret.")
@click.option("--drop-old", is_flag=True, help="Forget the old secret.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def secret(
    name: str, following: bool, from_stdin: bool, promote: bool, drop_next: bool, drop_old: bool, yes: bool
) -> None:
    """The slots of a provider's client secret, and how a new one takes the place of the old one without a failed login."""
    if following + promote + drop_next + drop_old > 1:
        raise WrongInput("Give one of --next, --promote, --drop-next and --drop-old at a time.")
    if following != from_stdin:
        raise WrongInput(
            "--next and --client-secret-stdin belong together: the next secret is read from standard input."
        )
    broker = connect()
    find_provider(broker, name)
    held = broker.provider_secrets.read(name)
    if held is None:
        raise WrongInput(f"No credentials are kept for {name}; give them with `broker provider set-secret`.")
    after = held
    if following:
        after = _with_next(held, name)
    elif promote:
        after = _promoted(held, name)
    elif drop_next:
        _having(held, "next", name)
        confirm(f"Forget the next client secret of {name}? Do so when the provider takes the current one.", yes=yes)
        after = replace(held, client_secret_next="")
    elif drop_old:
        _having(held, "old", name)
        confirm(f"Forget the old client secret of {name}? Do so when the provider takes the current one.", yes=yes)
        after = replace(held, client_secret_old="")
    if after != held:
        broker.provider_secrets.put(name, after)
    _show(name, after, changed=after != held)


def _with_next(held: ProviderSecret, name: str) -> ProviderSecret:
    if held.client_secret_old:
        raise WrongInput(f"{name} has an old secret still; forget it first with --drop-old.")
    new = read_secret(name)
    if new == held.client_secret:
        raise WrongInput("That is the current secret already.")
    if held.client_secret_next not in ("", new):
        raise WrongInput(
            f"{name} has a next secret already, which may be the one that the provider takes by now: let it be the current"
            " one with --promote, or forget it with --drop-next."
        )
    return replace(held, client_secret_next=new)


def _promoted(held: ProviderSecret, name: str) -> ProviderSecret:
    _having(held, "next", name)
    return replace(
        held, client_secret=held.client_secret_next, client_secret_next="", client_secret_old=held.client_secret
    )


def _having(held: ProviderSecret, slot: str, name: str) -> ProviderSecret:
    if slot not in {there.name for there in held.slots}:
        raise WrongInput(f"{name} has no {slot} secret.")
    return held


def _show(name: str, held: ProviderSecret, *, changed: bool) -> None:
    slots = [slot.name for slot in held.slots if slot.secret]
    notice = "\nRunning functions use it within five minutes, or at the provider's first refusal." if changed else ""
    rows = [*((slot, _MEANING[slot]) for slot in slots), ("private key", "set" if held.private_key else "")]
    emit(
        {"name": name, "client_id": held.client_id, "slots": slots, "private_key": bool(held.private_key)},
        sheet([("client id", held.client_id), *rows]) + notice,
    )
