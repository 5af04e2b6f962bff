"""The options that every command takes, at the top and after the subcommand alike: where the broker is, and --json.

They are read into one value, `target()`; a later occurrence wins.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from broker.protocol.capabilities import GRANT_TYPES
from broker_cli.failures import WrongInput

_GRANT_TYPE_NAMES: Mapping[str, str] = {name.rpartition(":")[2]: name for name in GRANT_TYPES}
"""The grant types by the last part of their names, as a URN is hard to type."""
_KEY = "broker_cli.options"
DEFAULT_PORT = 3000
DEFAULT_STACK = "token-broker"
EPILOG = "Also takes --json, --local, --port, --stack and --region: see broker --help."


@dataclass(frozen=True)
class Target:
    """Which broker is meant, and how to answer.

    Attributes:
        local: the broker of `make run` on this machine, at `port`; else the CloudFormation stack named `stack`.
        region: AWS Region; None means what the AWS configuration says.
        json: print JSON instead of text.
    """

    local: bool = False
    port: int = DEFAULT_PORT
    stack: str = DEFAULT_STACK
    region: str | None = None
    json: bool = False


def target() -> Target:
    """The options of the running command. Errors: WrongInput when they contradict each other."""
    given: dict[str, Any] = click.get_current_context().meta.get(_KEY, {})
    if given.get("local"):
        for name in ("stack", "region"):
            if name in given:
                raise WrongInput(f"--local and --{name} exclude each other; give one of them.")
    elif "port" in given:
        raise WrongInput("--port is the port of a local broker; give --local with it.")
    stack = given.get("stack") or os.environ.get("BROKER_STACK") or DEFAULT_STACK
    return Target(**{"stack": stack, **given})


def _remember(context: click.Context, option: click.Parameter, value: object) -> None:
    if value is not None and value is not False and option.name is not None:
        context.meta.setdefault(_KEY, {})[option.name] = value


def _common(*, hidden: bool) -> list[click.Parameter]:
    def option(*names: str, **attributes: Any) -> click.Option:
        return click.Option(names, expose_value=False, hidden=hidden, callback=_remember, **attributes)

    return [
        option("--local", is_flag=True, help="The broker of `make run` on this machine."),
        option("--port", type=click.IntRange(1, 65534), metavar="P", help=f"Its port (default {DEFAULT_PORT})."),
        option(
            "--stack",
            metavar="NAME",
            help=f"The CloudFormation stack, when not --local (default: BROKER_STACK, else {DEFAULT_STACK}).",
        ),
        option("--region", metavar="REGION", help="The AWS Region (default: what AWS is configured with)."),
        option("--json", is_flag=True, help="Print JSON instead of text."),
    ]


class Command(click.Command):
    """A command with the common options, which its help only mentions."""

    def __init__(self, *positional: Any, **attributes: Any) -> None:
        attributes["params"] = [*(attributes.get("params") or []), *_common(hidden=True)]
        attributes.setdefault("epilog", EPILOG)
        super().__init__(*positional, **attributes)


class GrantType(click.ParamType[str]):
    """A grant type by its name or the last part of it: device_code is urn:ietf:params:oauth:grant-type:device_code."""

    name = "grant type"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        return f"[{'|'.join(_GRANT_TYPE_NAMES)}]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if text in GRANT_TYPES:
            return text
        known = _GRANT_TYPE_NAMES.get(text)
        return known or self.fail(f"{text!r} is not one of {', '.join(_GRANT_TYPE_NAMES)}", param, ctx)


class Group(click.Group):
    """A group of commands with the common options. Only the topmost shows them in its help."""

    command_class = Command

    def __init__(self, name: str, *, help: str, epilog: str = EPILOG, top: bool = False) -> None:  # noqa: A002
        super().__init__(
            name,
            help=help,
            epilog=epilog,
            params=_common(hidden=not top),
            callback=_show_help if top else _name_commands,
            invoke_without_command=True,
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but a wrong command is told which ones there are."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise click.UsageError(f"There is no command {args[0]!r}: {_commands(ctx)}.", ctx)
        return super().resolve_command(ctx, args)


def _show_help() -> None:
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _name_commands() -> None:
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        raise click.UsageError(f"A command is missing: {_commands(context)}.", context)


def _commands(context: click.Context) -> str:
    assert isinstance(context.command, Group)  # noqa: S101 - both callers belong to a group
    return f"{context.command_path} has {', '.join(context.command.list_commands(context))}"
