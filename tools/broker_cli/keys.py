"""`broker keys`: the first key document, and what it holds by id and date.

Must never overwrite a document: with it every login would end. Must never print a key.
"""

import hashlib

from botocore.exceptions import ClientError

from broker import clock
from broker.crypto.keys import KeyRing, SecretKey, SigningKey, new_document, parse
from broker_cli.connection import Connection, connect
from broker_cli.failures import ServiceFailure, WrongInput, aws_failures, error_code
from broker_cli.options import Group
from broker_cli.output import Json, ago, emit, table

keys = Group("keys", help="The broker's own keys.")

_EXISTS = "There are keys already, and they stay as they are; `broker keys show` lists them."


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
    _show(_ring(broker))


@keys.command("show")
def show() -> None:
    """The keys by id, algorithm and date."""
    _show(_ring(connect()))


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


def _ring(broker: Connection) -> KeyRing:
    text = _text(broker)
    if text is None:
        raise WrongInput("There are no keys yet; make them with `broker keys init`.")
    try:
        return parse(text)
    except ValueError:
        raise ServiceFailure("The key document is not in the form that this version reads.") from None


def _show(ring: KeyRing) -> None:
    every: list[tuple[str, SecretKey | SigningKey]] = [
        *(("handle", key) for key in ring.handle),
        *(("sealing", key) for key in ring.sealing),
        *(("signing", key) for key in ring.signing),
    ]
    rows = [
        (use, _id(key), _algorithm(use, key), _state(key), ago(key.active_from), ago(key.retires_at or 0))
        for use, key in every
    ]
    document: list[Json] = [
        {
            "use": use,
            "id": _id(key),
            "alg": _algorithm(use, key),
            "state": _state(key),
            "active_from": key.active_from,
            "retires_at": key.retires_at,
        }
        for use, key in every
    ]
    emit(
        document,
        table(("USE", "ID", "ALGORITHM", "STATE", "USED FROM", "RETIRES"), rows, empty="The document is empty."),
    )


def _id(key: SecretKey | SigningKey) -> str:
    return key.kid if isinstance(key, SigningKey) else str(key.id)


def _algorithm(use: str, key: SecretKey | SigningKey) -> str:
    if isinstance(key, SigningKey):
        return key.alg
    return "HMAC-SHA-256" if use == "handle" else "AES-256-GCM"


def _state(key: SecretKey | SigningKey) -> str:
    now = clock.now()
    if key.retires_at is not None and key.retires_at <= now:
        return "retired"
    return "in use" if key.active_from <= now else "published"
