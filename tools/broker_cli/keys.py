"""`broker keys`: the first key document, what it holds by id and date, and its rotation by hand.

Must never lose a key that something still needs: with it logins would end. Must never print a key.
"""

import hashlib
from dataclasses import asdict

import click
from botocore.exceptions import ClientError

from broker import clock, key_rotation
from broker.crypto import rotation
from broker.crypto.keys import KeyRing, new_document, parse
from broker.crypto.rotation import RotationRefused
from broker.key_lives import lives
from broker.store.key_versions import KeyVersions, VersionsChanged
from broker_cli.connection import Connection, connect
from broker_cli.failures import ServiceFailure, WrongInput, aws_failures, error_code
from broker_cli.options import Group
from broker_cli.output import Json, ago, confirm, emit, table

keys = Group("keys", help="The broker's own keys.")

_EXISTS = "There are keys already, and they stay as they are; `broker keys list` lists them."


@keys.command("init")
def init() -> None:
    """Make the first keys, once after the first deployment. Keys that are there are never overwritten."""
    broker = connect()
    if _text(broker) is not None:
        raise WrongInput(_EXISTS)
    with aws_failures():
        try:
            broker.aws("secretsmanager").put_secret_value(
                SecretId=broker.settings.keys_secret,
                SecretString=new_document(clock.now()),
                # Always the same for a secret, so that of two `init` at once the second is refused, not obeyed.
                ClientRequestToken=hashlib.sha256(broker.settings.keys_secret.encode()).hexdigest()[:32],
            )
        except ClientError as error:
            if error_code(error) == "ResourceExistsException":
                raise WrongInput(_EXISTS) from None
            if error_code(error) == "ResourceNotFoundException":
                raise ServiceFailure(
                    f"The secret {broker.settings.keys_secret} does not exist; deploy the stack anew."
                ) from None
            raise
    _show(ring_of(broker))


@keys.command("list")
def list_keys() -> None:
    """The keys by id, algorithm, state and date, and what is wrong with them."""
    _show(ring_of(connect()))


@keys.command("rotate")
@click.option("--now", "at_once", is_flag=True, help="Use the new keys at once, not from tomorrow. For emergencies.")
@click.option(
    "--revoke",
    "names",
    multiple=True,
    metavar="KEY",
    help="With --now: a key to be good for nothing from now on, by its name in `keys list`, or all; repeatable.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def rotate(at_once: bool, names: tuple[str, ...], yes: bool) -> None:
    """Make the next keys, which are used from tomorrow on. The stack does that by itself every KeyRotationDays days."""
    if names and not at_once:
        raise WrongInput("--revoke is for emergencies, and needs --now.")
    broker = connect()
    ring_of(broker)
    if names:
        confirm(f"Revoke {', '.join(names)}? Logins and tokens that they made end, and people log in again.", yes=yes)
    elif at_once:
        confirm("Use new keys at once? Backends may refuse new tokens for up to ten minutes.", yes=yes)
    versions = KeyVersions(broker.aws("secretsmanager"), broker.settings.keys_secret)
    try:
        with aws_failures():
            ring = key_rotation.rotate(versions, at_once=at_once, without=names)
    except RotationRefused as refused:
        raise WrongInput(f"Nothing was changed: {refused}.") from None
    except VersionsChanged:
        raise ServiceFailure("Nothing was changed: the keys were rotated by somebody else just now.") from None
    _show(ring)


def ring_of(broker: Connection) -> KeyRing:
    """The present keys. Errors: WrongInput when there are none yet, ServiceFailure."""
    text = _text(broker)
    if text is None:
        raise WrongInput("There are no keys yet; make them with `broker keys init`.")
    try:
        return parse(text)
    except ValueError:
        raise ServiceFailure("The key document is not in the form that this version reads.") from None


def _text(broker: Connection) -> str | None:
    """The key document; None when the secret has no value yet."""
    with aws_failures():
        try:
            answer = broker.aws("secretsmanager").get_secret_value(
                SecretId=broker.settings.keys_secret, VersionStage="AWSCURRENT"
            )
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return None
            raise
    return str(answer["SecretString"])


def _show(ring: KeyRing) -> None:
    now = clock.now()
    reports, problems = rotation.reports(ring, now), rotation.problems(ring, now, lives(), oldest=0)
    rows = [(key.use, key.name, key.alg, key.state, ago(key.active_from), ago(key.retires_at or 0)) for key in reports]
    document: list[Json] = [asdict(key) for key in reports]
    text = table(("USE", "KEY", "ALGORITHM", "STATE", "USED FROM", "RETIRES"), rows, empty="The document is empty.")
    emit(
        {"keys": document, "problems": list(problems)},
        "\n".join([text, *(f"Problem: {problem}." for problem in problems)]),
    )
