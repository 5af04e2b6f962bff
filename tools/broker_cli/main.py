"""The entry of the command `broker`: its groups, and the one place where a failure becomes a sentence and a status.

Exit status: 0 done, 1 AWS failed or the operator said no, 2 wrong input.
"""

import json
import sys
from collections.abc import Sequence

import click

from broker_cli.brand import brand
from broker_cli.clients import client
from broker_cli.doctor.command import doctor
from broker_cli.grants import grant
from broker_cli.keys import keys
from broker_cli.moving import export, import_
from broker_cli.options import Group
from broker_cli.output import printable
from broker_cli.provider_slots import secret
from broker_cli.provider_test import test
from broker_cli.provider_try import try_
from broker_cli.providers import provider
from broker_cli.registration import registration

_EPILOG = """\b
Example, against a broker started with `make run`:
  broker --local provider list
  broker --local client add --name "My app" --provider openid \\
      --redirect-uri https://app.example/callback
  broker --local client list --json
"""

broker = Group(
    "broker",
    top=True,
    help="Run a token broker: its clients, its providers, the logins it holds.",
    epilog=_EPILOG,
)
for group in (client, provider, grant, registration, brand, keys):
    broker.add_command(group)
for command in (test, try_):
    provider.add_command(command)
provider.add_command(secret)
for command in (doctor, export, import_):
    broker.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(words))


def run(words: Sequence[str]) -> int:
    """Run the command; the exit status."""
    try:
        # What a command returns, or the status that it asked for by `exit`.
        outcome = broker.main(args=list(words), prog_name="broker", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.Abort:
        _complain("Nothing was changed.", words)
        return 1
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "broker"
        _complain(f"{_sentence(error).removesuffix('.')}; see '{path} --help'.", words)
        return 2
    except click.ClickException as error:
        _complain(_sentence(error), words)
        return error.exit_code
    return outcome if isinstance(outcome, int) else 0


def _sentence(error: click.ClickException) -> str:
    text = " ".join(error.format_message().split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _complain(sentence: str, words: Sequence[str]) -> None:
    as_json = "--json" in words  # asked of the words themselves, as they may be what could not be parsed
    click.echo(json.dumps({"error": sentence}) if as_json else f"broker: {printable(sentence)}", err=True)
