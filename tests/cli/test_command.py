"""What holds for every command: options anywhere, one sentence for a failure, the keys, and no secret in any output."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest
from botocore.config import Config

from broker.store.aws import StoreUnavailable
from broker_cli import connection, main
from broker_cli.failures import ServiceFailure, aws_failures
from broker_cli.output import ago, printable, sheet, span, table
from broker_local import aws
from broker_local.template import REGION

from .conftest import Operator

COMMANDS = {
    "client": "add disable drop-secret enable list remove rotate-secret show update",
    "grant": "list revoke show",
    "keys": "init list rotate",
    "registration": "set show token",
    "provider": "add catalogue disable enable list remove set-secret show update",
}


@pytest.fixture
def fresh_clients() -> Iterator[None]:
    """AWS clients that know the environment as the test sets it."""
    connection._client.cache_clear()
    yield
    connection._client.cache_clear()


def test_options_stand_anywhere(operator: Operator) -> None:
    port = str(operator.port)
    for words in (
        ("--local", "--port", port, "--json", "client", "list"),
        ("client", "--local", "--port", port, "--json", "list"),
        ("client", "list", "--local", "--port", port, "--json"),
        ("--local", "client", "--port", port, "list", "--json"),
        ("--port=1", "--local", "client", "list", "--json", f"--port={port}"),
    ):
        outcome = operator.raw(*words)
        assert (outcome.status, outcome.out, outcome.err) == (0, "[]\n", "")


def test_every_command_has_help(operator: Operator) -> None:
    top = operator.raw("--help")
    assert top.status == 0
    assert len(top.out.splitlines()) <= 30  # a screen
    assert "broker --local client add --name" in top.out
    assert operator.raw().out == top.out
    for group, commands in COMMANDS.items():
        assert f"  {group} " in top.out
        listed = operator.raw(group, "--help").out
        for command in commands.split():
            assert f"  {command} " in listed
            shown = operator.raw(group, command, "--help")
            assert shown.status == 0
            assert shown.out.startswith(f"Usage: broker {group} {command} ")
            assert "see broker --help" in " ".join(shown.out.split())


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--frob", "No such option '--frob'; see 'broker --help'."),
        ("client list --frob", "No such option '--frob'; see 'broker client list --help'."),
        (
            "keys",
            "A command is missing: broker keys has init, list, rotate; see 'broker keys --help'.",
        ),
        (
            "keys frob",
            "There is no command 'frob': broker keys has init, list, rotate; see 'broker keys --help'.",
        ),
        (
            "frob",
            "There is no command 'frob': broker has brand, client, doctor, export, grant, import, keys, provider, registration;"
            " see 'broker --help'.",
        ),
        ("client show", "Missing argument 'ID'; see 'broker client show --help'."),
        (
            "client show a b",
            "Got unexpected extra argument (b); see 'broker client show --help'.",
        ),
        (
            "--port 0 client list",
            "Invalid value for '--port': 0 is not in the range 1<=x<=65534; see 'broker --help'.",
        ),
        (
            "--local --port 1 client list",
            "No local broker is running on port 1; start it with `make run`, or give the port of the one that runs with"
            " --port.",
        ),
        ("--local --stack x client list", "--local and --stack exclude each other; give one of them."),
        ("--port 3000 client list", "--port is the port of a local broker; give --local with it."),
    ],
)
def test_wrong_use_is_one_sentence(operator: Operator, line: str, sentence: str) -> None:
    assert operator.raw(*shlex.split(line)).refusal() == sentence
    as_json = operator.raw(*shlex.split(line), "--json")
    assert (as_json.status, as_json.out) == (2, "")
    assert json.loads(as_json.err) == {"error": sentence}


def test_main_ends_the_process_with_the_status(operator: Operator) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["keys"])
    assert ended.value.code == 2


def test_local_needs_no_aws_configuration(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, fresh_clients: None
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert operator.json("client", "list") == []


def test_no_secret_in_any_output_or_table(operator: Operator) -> None:
    operator.add_provider("github", "planted-provider-secret")
    secrets = [operator.add_client("--client-id", "app", "--confidential")["client_secret"]]
    secrets.append(operator.json("client", "rotate-secret", "app", "--yes")["client_secret"])
    operator.seen = ""
    for line in (
        "client list",
        "client show app",
        "client update app --name B",
        "client disable app --yes",
        "client enable app",
        "client drop-secret app --yes",
        "provider list",
        "provider show github",
        "provider update github --set authorize.pkce=off",
        "provider disable github --yes",
        "provider enable github",
        "provider catalogue",
        "grant list --client app",
        "grant list --subject github|1",
        "provider remove github --yes",
        "client remove app --yes",
    ):
        assert operator(*shlex.split(line)).status == 0, line
    dump = "".join(str(operator.aws("dynamodb").scan(TableName=name)) for name in _tables(operator))
    for planted in ("planted-provider-secret", *secrets):
        assert planted not in operator.seen
        assert planted not in dump


def _tables(operator: Operator) -> tuple[str, str]:
    return operator.environment["BROKER_REGISTRY_TABLE"], operator.environment["BROKER_GRANTS_TABLE"]


# -- a stack on AWS ------------------------------------------------------------------------------------------------


@pytest.fixture
def stack(operator: Operator, monkeypatch: pytest.MonkeyPatch, fresh_clients: None) -> Iterator[str]:
    """A deployed stack as its outputs describe it, over the same tables; the shell has ordinary AWS variables."""
    for name, value in aws.credentials(operator.environment["AWS_ENDPOINT_URL"]).items():
        monkeypatch.setenv(name, value)
    outputs = {
        "Issuer": "https://login.example",
        "RegistryTable": operator.environment["BROKER_REGISTRY_TABLE"],
        "GrantsTable": operator.environment["BROKER_GRANTS_TABLE"],
        "KeysSecret": operator.environment["BROKER_KEYS_SECRET"],
        "ProviderSecretPrefix": "token-broker/provider/",
    }
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    cloudformation = operator.aws("cloudformation")
    for name, body in (("token-broker", template), ("other", {"Resources": template["Resources"]})):
        cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(body))
    yield "token-broker"
    for name in ("token-broker", "other"):
        cloudformation.delete_stack(StackName=name)


def test_a_stack_is_found_by_its_outputs(operator: Operator, stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("provider", "add", "github", "--client-id", "x", "--client-secret-stdin", "--json")
    added = operator.raw(*words, stdin="planted").document
    assert added["redirect_uri"] == "https://login.example/callback/github"
    kept = operator.aws("secretsmanager").get_secret_value(SecretId="token-broker/provider/github")
    assert json.loads(kept["SecretString"]) == {"client_id": "x", "client_secret": "planted"}
    assert operator.raw("--stack", stack, "provider", "list", "--region", REGION, "--json").document == [
        {name: value for name, value in added.items() if name not in ("client_id", "credentials_problem")}
    ]
    monkeypatch.setenv("BROKER_STACK", "nowhere")
    assert (
        operator.raw("provider", "list").refusal()
        == f"There is no stack nowhere in {REGION}; name yours with --stack and --region."
    )
    not_one = operator.raw("--stack", "other", "provider", "list")
    assert not_one.status == 1
    assert not_one.err == (
        "broker: The stack other is not a token broker: it has no output Issuer. Name the right one with --stack.\n"
    )


def test_loopback_providers_are_for_local_mode(operator: Operator, stack: str) -> None:
    words = (
        "provider",
        "add",
        "phpapi",
        "--client-id",
        "x",
        "--client-secret-stdin",
        "--var",
        "base=http://localhost:1",
    )
    assert "must be https" in operator.raw(*words, stdin="planted").refusal()


def test_a_silent_aws_is_one_sentence(operator: Operator, stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(connection, "_CONFIG", Config(connect_timeout=1, retries={"total_max_attempts": 1}))
    outcome = operator.raw("client", "list")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        "broker: AWS could not be reached (EndpointConnectionError); check the network and your AWS configuration.\n"
    )


def test_missing_aws_configuration_is_named(operator: Operator, stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    outcome = operator.raw("client", "list")
    assert outcome.status == 1
    assert outcome.err == "broker: No AWS credentials were found; log in to AWS, or use --local.\n"
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    connection._client.cache_clear()
    assert "No AWS Region is set; give --region" in operator.raw("client", "list").refusal()
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    assert "The AWS profile of this shell does not exist" in operator.raw("client", "list").refusal()


def test_a_refusal_of_aws_names_operation_and_code(operator: Operator) -> None:
    with pytest.raises(ServiceFailure) as failure, aws_failures():
        operator.aws("dynamodb").get_item(TableName="nowhere", Key={"pk": {"S": "planted"}})
    assert failure.value.message == "AWS refused GetItem (ResourceNotFoundException); check your permissions."
    with pytest.raises(ServiceFailure) as failure, aws_failures():
        raise StoreUnavailable("get_item: ThrottlingException")
    assert (
        failure.value.message == "AWS refused or did not answer (get_item: ThrottlingException); nothing more was done."
    )


# -- what is shown -------------------------------------------------------------------------------------------------


def test_columns_align_and_drive_no_terminal() -> None:
    assert table(("A", "BB"), [("1", "2"), ("333", "")], empty="none") == "A    BB\n1    2\n333"
    assert table(("A",), [], empty="none") == "none"
    assert table(("A",), [("x\x1b[2J\n\u202e",)], empty="") == "A\nx\\x1b[2J\\n\\u202e"
    assert sheet([("a", "1\n2"), ("long", "3"), ("empty", "")]) == "a     1\n      2\nlong  3"
    assert printable("na\u00efve") == "na\u00efve"


def test_times_in_words(operator: Operator) -> None:
    now = operator.now
    assert [ago(now + seconds) for seconds in (0, 1, 119, 120, 7199, 7200, 47 * 3600, 48 * 3600)] == [
        "now", "in 1 s", "in 119 s", "in 2 min", "in 119 min", "in 2 h", "in 47 h", "in 2 days"
    ]  # fmt: skip
    assert ago(now - 7200) == "2 h ago"
    assert ago(0) == "-"
    assert span(0) == "0 s"
