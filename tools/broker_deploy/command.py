"""The commands behind `make deploy` and `make delete`.

The SAM CLI does the work; this asks what a first deployment needs to know, and says what comes next. It asks before anything
is deleted, and never deletes what cannot be made again: clients and providers, keys, the providers' credentials.
"""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from broker_deploy import settings_file
from broker_deploy.settings_file import Deployment
from broker_deploy.stack import Aws, AwsProblem, Stack

PROJECT = Path(__file__).resolve().parents[2]
_STACK = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,39}")  # CloudFormation takes 128; names made of it have to fit elsewhere
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]")  # such as eusc-de-east-1
_EMAIL = re.compile(r"([^@\s]+@[^@\s]+\.[^@\s]+)?")
_DOMAIN = re.compile(r"(([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63})?")
_CERTIFICATE = re.compile(r"arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+")


@click.group()
def commands() -> None:
    """Deploy the broker into an AWS account, or take it down."""


@commands.command()
@click.option("--guide-all", is_flag=True, help="Ask for every parameter of the template (sam deploy --guided).")
@click.pass_obj
def deploy(project: Path, guide_all: bool) -> None:
    """Build and deploy. The first time it asks where to, and remembers it in samconfig.local.toml."""
    known = _known(project)
    account = Aws(known.region if known else None).account()
    if known is None:
        click.echo(
            f"First deployment, into the AWS account {account.number}. What you say is kept in {settings_file.NAME}.\n"
        )
        known = _asked(account.region)
        before = Aws(known.region).stack(known.stack)
        settings_file.write(project, known)  # not before somebody answers in that Region
    else:
        before = Aws(known.region).stack(known.stack)
    _sam(project, "build")
    _sam(project, "deploy", *(["--guided"] if guide_all else []))
    asked, known = known, _known(project) or known  # the guide may have changed it
    aws = Aws(known.region)
    stack = aws.stack(known.stack)
    if stack is None or not stack.outputs:
        raise click.ClickException(f"There is no stack {known.stack} in {known.region}: nothing was deployed.")
    is_same = (known.stack, known.region) == (asked.stack, asked.region)
    changed = _is_changed(before if is_same else None, stack)
    click.echo(next_steps(known, stack.outputs, has_keys=aws.has_keys(stack.outputs["KeysSecret"]), changed=changed))


def _is_changed(before: Stack | None, after: Stack) -> bool:
    """SAM ends well too when its question is answered no, and when there is nothing to change."""
    return before is None or before.changed_at != after.changed_at


@commands.command()
@click.option("--confirm", metavar="STACK", default="", help="The stack's name, instead of being asked for it.")
@click.pass_obj
def delete(project: Path, confirm: str) -> None:
    """Take the stack down."""
    known = _known(project)
    if known is None:
        raise click.ClickException(f"There is no {settings_file.NAME}, so nothing was deployed from here.")
    aws = Aws(known.region)
    account = aws.account()
    stack = aws.stack(known.stack)
    if stack is None:
        raise click.ClickException(
            f"There is no stack {known.stack} in {known.region} of the account {account.number}."
        )
    click.echo(
        f"The stack {known.stack} in {known.region} of the account {account.number} goes: API, functions, logs, alarms."
    )
    click.echo("Nobody can log in any more. Its tables and its keys stay; you are told how to delete them.\n")
    typed = confirm or click.prompt("To go on, type the stack's name")
    if typed != known.stack:
        raise click.ClickException("That is not the stack's name. Nothing was deleted.")
    _sam(project, "delete", "--no-prompts", "--stack-name", known.stack, "--region", known.region)
    outputs = dict(stack.outputs)
    # Logins are of people; without the stack nobody can use them, and nothing deletes them by time for long.
    delete_logins = "GrantsTable" in outputs and not confirm
    if delete_logins and click.confirm("\nDelete the table of logins too? Nobody could use them again"):
        aws.delete_table(outputs.pop("GrantsTable"))
    # A first deployment that failed leaves its tables, which are protected, and names them nowhere.
    nameless = [] if stack.outputs else aws.tables_named_after(known.stack)
    click.echo(what_stays(known, outputs, nameless))


def next_steps(deployed: Deployment, outputs: Mapping[str, str], *, has_keys: bool, changed: bool) -> str:
    """What to do after a deployment, as commands that can be copied."""
    broker = f".venv/bin/broker --stack {deployed.stack} --region {deployed.region}"
    keys = [] if has_keys else ["The keys, once:", f"    {broker} keys init", ""]
    lines = [
        "",
        f"{'Deployed' if changed else 'Nothing was changed'}. The issuer is {outputs['Issuer']}",
        *([f"Dashboard: {outputs['Dashboard']}"] if "Dashboard" in outputs else []),
        "",
        *_outside(deployed, outputs),
        *keys,
        "A provider: register the broker there with the redirect URI",
        f"    {outputs['Issuer']}/callback/github",
        "then",
        f"    {broker} provider add github --client-id ID --client-secret-stdin",
        f"    {broker} provider test github",
        "",
        "A client:",
        f'    {broker} client add --name "My app" --redirect-uri https://app.example.com/callback --provider github',
        "",
        "Whether all is as it should be:",
        f"    {broker} doctor",
        f"    curl {outputs['Issuer']}/.well-known/openid-configuration",
    ]
    return "\n".join(lines)


def _outside(deployed: Deployment, outputs: Mapping[str, str]) -> list[str]:
    """What has to be done at the domain's DNS and in a mailbox, without which nobody reaches the broker or hears of alarms."""
    lines = []
    if "DomainTarget" in outputs:
        domain = outputs["ApiUrl"].removeprefix("https://")
        lines += [
            f"The domain: a CNAME record of {domain}, where its DNS is kept, to",
            f"    {outputs['DomainTarget']}",
            "",
        ]
    email = deployed.parameters.get("AlarmEmail")
    if email and not deployed.parameters.get("AlarmTopicArn"):
        lines += [
            f"Alarms reach {email} once the link in AWS's mail to it (Subscription Confirmation) was followed.",
            "",
        ]
    return lines


def what_stays(deployed: Deployment, outputs: Mapping[str, str], nameless: Sequence[str] = ()) -> str:
    """What a deleted stack leaves, and how to delete it. nameless: tables that may be its own, where it has no outputs."""
    aws = f"aws --region {deployed.region}"
    tables = [outputs[name] for name in ("RegistryTable", "GrantsTable") if name in outputs]
    lines = ["", "The stack is gone. These stay until you delete them:"]
    for table in (*tables, *nameless):
        lines += [
            f"    {aws} dynamodb update-table --table-name {table} --no-deletion-protection-enabled",
            f"    {aws} dynamodb delete-table --table-name {table}",
        ]
    if nameless:
        lines.append(
            "(Known by their names: look into them first, as an earlier stack of this name may have left them.)"
        )
    if "KeysSecret" in outputs:
        lines.append(f"    {aws} secretsmanager delete-secret --secret-id {outputs['KeysSecret']}")
    prefix = outputs.get("ProviderSecretPrefix", f"{deployed.stack}/provider/")
    lines += [
        f"{'and ' if len(lines) > 2 else ''}the providers' credentials, if any, the secrets whose names begin with {prefix}:",
        f"    {aws} secretsmanager list-secrets --filters Key=name,Values={prefix}",
    ]
    return "\n".join(lines)


def _known(project: Path) -> Deployment | None:
    try:
        return settings_file.read(project)
    except ValueError as error:
        raise click.ClickException(f"{settings_file.NAME} cannot be used: {error}") from None


def _asked(region: str) -> Deployment:
    """What a first deployment needs to know. All else has a default, and can be changed later."""
    stack = _ask("Name of the stack", _STACK, "token-broker")
    region = _ask("AWS Region", _REGION, region or "us-east-1")
    email = _ask("E-mail address that hears of alarms (empty for none)", _EMAIL, "")
    domain = _ask("Domain of your own, such as login.example.com (empty for the API's own address)", _DOMAIN, "")
    parameters = {"AlarmEmail": email, "DomainName": domain}
    if domain:
        parameters["CertificateArn"] = _ask(f"ARN of the certificate for {domain}, in {region}", _CERTIFICATE, None)
    return Deployment(stack, region, {name: value for name, value in parameters.items() if value})


def _ask(question: str, pattern: re.Pattern[str], default: str | None) -> str:
    while True:
        answer = str(click.prompt(question, default=default, show_default=bool(default))).strip()
        if pattern.fullmatch(answer):
            return answer
        click.echo("  That is not one.")


def _sam(project: Path, *arguments: str) -> None:
    """Run the SAM CLI on the terminal. Errors: ClickException when it fails; it has said why."""
    config = [] if arguments[0] == "delete" else ["--config-file", str(project / settings_file.NAME)]
    status = subprocess.run(["sam", *arguments, *config], cwd=project, check=False).returncode
    if status:
        raise click.ClickException(f"`sam {arguments[0]}` failed.")


def main() -> None:
    """The entry."""
    try:
        commands.main(obj=PROJECT, standalone_mode=False)
    except (click.ClickException, AwsProblem) as error:
        sys.exit(error.format_message() if isinstance(error, click.ClickException) else str(error))
    except click.Abort:
        sys.exit("Stopped; nothing more was done.")
