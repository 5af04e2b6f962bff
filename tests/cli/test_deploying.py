"""`make deploy` and `make delete`: what they ask, what they run, what they say afterwards, and what they never delete."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import click
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from click.testing import CliRunner, Result

from broker_cli.main import broker
from broker_deploy import command, settings_file
from broker_deploy.settings_file import Deployment
from broker_deploy.stack import SIGN_IN, Account, Aws, AwsProblem, Stack
from broker_local.server import PROJECT
from broker_local.template import Template

OUTPUTS = {
    "Issuer": "https://login.example.com",
    "RegistryTable": "mine-RegistryTable-1",
    "GrantsTable": "mine-GrantsTable-1",
    "KeysSecret": "arn:aws:secretsmanager:eu-west-1:1:secret:KeysSecret-1",
    "ProviderSecretPrefix": "mine/provider/",
    "Dashboard": "https://eu-west-1.console.aws.amazon.com/cloudwatch/home",
}
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ANSWERS = "mine\neu-west-1\nops@example.com\n\n"


class FakeAws:
    """An account with one stack, that is deployed to whenever `sam` was called with `deploy`."""

    before: Mapping[str, str] | None = OUTPUTS
    after: Mapping[str, str] | None = OUTPUTS
    declined = False
    tables: Sequence[str] = ()
    keys = False
    deleted: list[str]
    folder: Path

    def __init__(self, region: str | None = None) -> None:
        self.region = region

    def account(self) -> Account:
        return Account("123456789012", self.region or "eu-west-1")

    def stack(self, name: str) -> Stack | None:
        deployments = sum(call.startswith("deploy") for call in calls(self.folder))
        outputs = self.after if deployments else self.before
        if outputs is None or name != "mine":
            return None
        return Stack(outputs, EPOCH + timedelta(hours=0 if self.declined else deployments))

    def tables_named_after(self, stack: str) -> list[str]:
        assert stack == "mine"
        return list(self.tables)

    def has_keys(self, secret: str) -> bool:
        assert secret == OUTPUTS["KeysSecret"]
        return type(self).keys

    def delete_table(self, table: str) -> None:
        type(self).deleted.append(table)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder with a `sam` that writes down how it was called, and fails where the file `fail` says so."""
    shutil.copy(PROJECT / "samconfig.toml", tmp_path)
    sam = tmp_path / "bin" / "sam"
    sam.parent.mkdir()
    sam.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ "$1" != "$(cat {tmp_path}/fail 2>/dev/null)" ]\n')
    sam.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sam.parent}:/usr/bin:/bin")
    monkeypatch.setattr(command, "Aws", FakeAws)
    for name, value in (("before", OUTPUTS), ("after", OUTPUTS), ("declined", False), ("tables", ()), ("keys", False)):
        monkeypatch.setattr(FakeAws, name, value)
    FakeAws.deleted, FakeAws.folder = [], tmp_path
    yield tmp_path


def run(project: Path, *arguments: str, answers: str = "") -> Result:
    return CliRunner().invoke(command.commands, list(arguments), obj=project, input=answers)


def calls(project: Path) -> list[str]:
    """How `sam` was called."""
    written = project / "calls"
    return written.read_text("utf-8").splitlines() if written.exists() else []


def test_a_first_deployment_asks_little_and_remembers_it(project: Path) -> None:
    done = run(project, "deploy", answers=ANSWERS)
    assert done.exit_code == 0, done.output
    config = f"--config-file {project}/samconfig.local.toml"
    assert calls(project) == [f"build {config}", f"deploy {config}"]
    written = tomllib.loads((project / "samconfig.local.toml").read_text("utf-8"))["default"]
    assert written["global"]["parameters"] == {"stack_name": "mine", "region": "eu-west-1"}
    assert written["deploy"]["parameters"]["parameter_overrides"] == ["AlarmEmail=ops@example.com"]
    shared = tomllib.loads((PROJECT / "samconfig.toml").read_text("utf-8"))["default"]
    assert {k: v for k, v in written["deploy"]["parameters"].items() if k != "parameter_overrides"} == shared["deploy"][
        "parameters"
    ]
    assert "the AWS account 123456789012" in done.output


def test_a_later_deployment_asks_nothing(project: Path) -> None:
    settings_file.write(project, Deployment("mine", "eu-west-1", {}))
    before = (project / "samconfig.local.toml").read_bytes()
    done = run(project, "deploy")
    assert done.exit_code == 0, done.output
    assert [call.split()[0] for call in calls(project)] == ["build", "deploy"]
    assert (project / "samconfig.local.toml").read_bytes() == before


def test_a_domain_needs_its_certificate(project: Path) -> None:
    """And what is not one is asked for again."""
    arn = "arn:aws:acm:eu-west-1:123456789012:certificate/12-ab"
    done = run(project, "deploy", answers=f"mine\nnowhere\neu-west-1\n\nlogin.example.com\nnone\n{arn}\n")
    assert done.exit_code == 0, done.output
    assert done.output.count("That is not one.") == 2
    written = tomllib.loads((project / "samconfig.local.toml").read_text("utf-8"))
    assert written["default"]["deploy"]["parameters"]["parameter_overrides"] == [
        "DomainName=login.example.com",
        f"CertificateArn={arn}",
    ]


def test_what_is_asked_are_parameters_of_the_template_with_its_own_patterns() -> None:
    parameters = Template.load(PROJECT / "template.yaml", stack="x", overrides={})._document["Parameters"]
    for name, pattern in (("AlarmEmail", command._EMAIL), ("DomainName", command._DOMAIN)):
        assert f"^{pattern.pattern}$" == parameters[name]["AllowedPattern"]
    assert f"^({command._CERTIFICATE.pattern})?$" == parameters["CertificateArn"]["AllowedPattern"]


@pytest.mark.parametrize("keys", [False, True])
def test_it_ends_with_commands_that_exist(project: Path, keys: bool) -> None:
    """Real ones: each is parsed by the command `broker` itself. Keys are made only where there are none."""
    FakeAws.keys = keys
    done = run(project, "deploy", answers=ANSWERS)
    found = re.findall(r"^    \.venv/bin/broker (--stack mine --region eu-west-1 .+)$", done.output, re.MULTILINE)
    assert len(found) == (4 if keys else 5)
    assert ("keys init" in done.output) is not keys
    for line in found:
        words = line.split()[4:]
        reached: click.Command = broker
        while isinstance(reached, click.Group):
            reached = reached.commands[words.pop(0)]
        options = {option for parameter in reached.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options
    assert "https://login.example.com/callback/github" in done.output
    assert OUTPUTS["Dashboard"] in done.output


def test_every_parameter_can_be_asked_for(project: Path) -> None:
    settings_file.write(project, Deployment("mine", "eu-west-1", {}))
    assert run(project, "deploy", "--guide-all").exit_code == 0
    assert calls(project)[1].startswith("deploy --guided --config-file ")


@pytest.mark.parametrize("step", ["build", "deploy"])
def test_it_stops_where_sam_fails(project: Path, step: str) -> None:
    (project / "fail").write_text(step)
    done = run(project, "deploy", answers=ANSWERS)
    assert done.exit_code == 1
    assert f"`sam {step}` failed." in done.output
    assert "Deployed" not in done.output
    assert calls(project)[-1].startswith(step)


def test_a_first_deployment_that_was_declined_is_not_called_one(project: Path) -> None:
    """SAM's own question about the change set can be answered no, and SAM ends well then."""
    FakeAws.before = FakeAws.after = None
    done = run(project, "deploy", answers=ANSWERS)
    assert done.exit_code == 1
    assert "nothing was deployed" in done.output


def test_a_later_deployment_that_was_declined_or_had_nothing_to_change_is_not_called_one(project: Path) -> None:
    FakeAws.declined = True
    done = run(project, "deploy", answers=ANSWERS)
    assert done.exit_code == 0, done.output
    assert "Nothing was changed. The issuer is https://login.example.com" in done.output
    assert "Deployed" not in done.output


def test_a_stack_of_another_name_than_before_was_deployed_whenever_it_is_there(project: Path) -> None:
    """The guide may have been told another name: what the stack before was like says nothing of it."""
    settings_file.write(project, Deployment("other", "eu-west-1", {}))
    (project / "bin" / "sam").write_text(
        f'#!/bin/sh\necho "$@" >> {project}/calls\nsed -i s/other/mine/ {project}/samconfig.local.toml\n'
    )
    done = run(project, "deploy", "--guide-all")
    assert "Deployed. The issuer is https://login.example.com" in done.output


def test_a_domain_without_its_zone_and_an_address_for_alarms_are_what_comes_first(project: Path) -> None:
    """Without the record nobody reaches the issuer, and `provider test` and `doctor` fail."""
    FakeAws.after = OUTPUTS | {"ApiUrl": "https://login.example.com", "DomainTarget": "d-1.execute-api.example.aws"}
    done = run(project, "deploy", answers=ANSWERS)
    assert done.exit_code == 0, done.output
    after = done.output.partition("Dashboard: ")[2].splitlines()[1:]
    assert after[1:6] == [
        "The domain: a CNAME record of login.example.com, where its DNS is kept, to",
        "    d-1.execute-api.example.aws",
        "",
        "Alarms reach ops@example.com once the link in AWS's mail to it (Subscription Confirmation) was followed.",
        "",
    ]
    assert after[6] == "The keys, once:"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ('["AlarmEmail=ops@example.com"]', True),
        ('"LogLevel=\\"INFO\\" AlarmEmail=\\"ops@example.com\\""', True),  # as the guide writes it
        ('["AlarmEmail=ops@example.com", "AlarmTopicArn=arn:aws:sns:eu-west-1:1:ours"]', False),
        ('["AlarmEmail="]', False),
        ("[]", False),
    ],
)
def test_the_mail_to_confirm_is_recalled_where_one_was_sent(project: Path, overrides: str, told: bool) -> None:
    path = settings_file.write(project, Deployment("mine", "eu-west-1", {}))
    path.write_text(path.read_text("utf-8").replace("parameter_overrides = []", f"parameter_overrides = {overrides}"))
    done = run(project, "deploy")
    assert done.exit_code == 0, done.output
    assert ("Alarms reach ops@example.com" in done.output) is told
    assert "CNAME" not in done.output


@pytest.mark.parametrize(
    "region", ["us-east-1", "ap-southeast-7", "us-gov-west-1", "us-iso-east-1", "cn-north-1", "eusc-de-east-1"]
)
def test_every_region_is_taken(project: Path, region: str) -> None:
    assert run(project, "deploy", answers=f"mine\n{region}\n\n\n").exit_code == 0
    written = tomllib.loads((project / "samconfig.local.toml").read_text("utf-8"))
    assert written["default"]["global"]["parameters"]["region"] == region


def test_without_answers_nothing_happens(project: Path) -> None:
    assert run(project, "deploy", answers="").exit_code == 1
    assert calls(project) == []
    assert not (project / "samconfig.local.toml").exists()


def test_delete_asks_for_the_name_and_says_what_stays(project: Path) -> None:
    settings_file.write(project, Deployment("mine", "eu-west-1", {}))
    done = run(project, "delete", answers="mine\nn\n")
    assert done.exit_code == 0, done.output
    assert calls(project) == ["delete --no-prompts --stack-name mine --region eu-west-1"]
    assert FakeAws.deleted == []
    for kept in ("mine-RegistryTable-1", "mine-GrantsTable-1", OUTPUTS["KeysSecret"], "mine/provider/"):
        assert kept in done.output


def test_delete_takes_the_logins_along_when_told_to(project: Path) -> None:
    settings_file.write(project, Deployment("mine", "eu-west-1", {}))
    done = run(project, "delete", answers="mine\ny\n")
    assert FakeAws.deleted == ["mine-GrantsTable-1"]
    after = done.output.partition("These stay")[2]
    assert "mine-GrantsTable-1" not in after
    assert "mine-RegistryTable-1" in after


def test_delete_after_a_first_deployment_that_failed_names_the_tables_that_it_left(project: Path) -> None:
    """CloudFormation took the rest back, and has no outputs."""
    settings_file.write(project, Deployment("mine", "eu-west-1", {}))
    FakeAws.before, FakeAws.tables = {}, ("mine-GrantsTable-1", "mine-RegistryTable-1")
    done = run(project, "delete", answers="mine\n")
    assert done.exit_code == 0, done.output
    assert calls(project) == ["delete --no-prompts --stack-name mine --region eu-west-1"]
    assert FakeAws.deleted == []
    stays = done.output.partition("These stay")[2]
    for table in FakeAws.tables:
        assert f"delete-table --table-name {table}" in stays
    assert "look into them first" in stays
    assert "mine/provider/" in stays
    assert "Key" not in stays.replace("Key=name", "")


@pytest.mark.parametrize(("arguments", "answers"), [((), "other\n"), (("--confirm", "other"), ""), ((), "")])
def test_delete_does_nothing_without_the_name(project: Path, arguments: tuple[str, ...], answers: str) -> None:
    settings_file.write(project, Deployment("mine", "eu-west-1", {}))
    assert run(project, "delete", *arguments, answers=answers).exit_code == 1
    assert calls(project) == []


def test_delete_with_the_name_given_asks_nothing_and_keeps_the_logins(project: Path) -> None:
    settings_file.write(project, Deployment("mine", "eu-west-1", {}))
    assert run(project, "delete", "--confirm", "mine").exit_code == 0
    assert FakeAws.deleted == []


def test_there_is_nothing_to_delete(project: Path) -> None:
    assert "nothing was deployed" in run(project, "delete").output
    settings_file.write(project, Deployment("another", "eu-west-1", {}))
    assert "There is no stack another" in run(project, "delete").output
    (project / "samconfig.local.toml").write_text("version = 0.1\n")
    assert "names no stack_name or no region" in run(project, "delete").output


# ---------------------------------------------------------------- AWS


def test_missing_credentials_are_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AwsProblem) as problem:
        Aws("eu-west-1").account()
    assert str(problem.value) == SIGN_IN


class _Client:
    """Stands for every AWS client: says what it was given, or raises it."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers
        self.called: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.called.append((operation, arguments))
            answer = self._answers.get(operation, {})
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def get_waiter(self, _name: str) -> Any:
        return _Client()


def _refused(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


def _aws(monkeypatch: pytest.MonkeyPatch, client: _Client) -> Aws:
    monkeypatch.setattr(botocore.session.Session, "create_client", lambda *_a, **_k: client)
    return Aws("eu-west-1")


def _described(status: str, **more: Any) -> dict[str, Any]:
    return {"Stacks": [{"StackName": "mine", "StackStatus": status, "CreationTime": EPOCH, **more}]}


def test_a_stack_that_is_not_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = _refused("ValidationError", "Stack with id mine does not exist")
    assert _aws(monkeypatch, _Client(describe_stacks=gone)).stack("mine") is None
    with pytest.raises(AwsProblem, match="AccessDenied, not for you"):
        _aws(monkeypatch, _Client(describe_stacks=_refused("AccessDenied", "not for you."))).stack("mine")


def test_a_stack_is_what_was_deployed_and_when(monkeypatch: pytest.MonkeyPatch) -> None:
    later, outputs = EPOCH + timedelta(days=1), [{"OutputKey": "Issuer", "OutputValue": "https://i"}]
    made = _described("CREATE_COMPLETE", Outputs=outputs)
    assert _aws(monkeypatch, _Client(describe_stacks=made)).stack("mine") == Stack({"Issuer": "https://i"}, EPOCH)
    updated = _described("UPDATE_COMPLETE", Outputs=outputs, LastUpdatedTime=later)
    assert _aws(monkeypatch, _Client(describe_stacks=updated)).stack("mine") == Stack({"Issuer": "https://i"}, later)
    failed = _described("ROLLBACK_COMPLETE")
    assert _aws(monkeypatch, _Client(describe_stacks=failed)).stack("mine") == Stack({}, EPOCH)
    never = _described("REVIEW_IN_PROGRESS")
    assert _aws(monkeypatch, _Client(describe_stacks=never)).stack("mine") is None


def test_tables_of_a_name_are_not_those_of_a_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ["mine-GrantsTable-1A2B3C", "mine-RegistryTable-4D5E6F"]
    others = ["mine-test-GrantsTable-1A2B3C", "mine-SandboxTable-1", "mine-GrantsTable", "minexGrantsTable-1", "yours"]
    pages = _Client(paginate=[{"TableNames": others}, {"TableNames": own}])
    monkeypatch.setattr(_Client, "get_paginator", lambda *_a: pages, raising=False)
    assert _aws(monkeypatch, _Client()).tables_named_after("mine") == own


def test_expired_credentials_are_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AwsProblem, match=r"does not take your credentials \(ExpiredToken\)"):
        _aws(monkeypatch, _Client(get_caller_identity=_refused("ExpiredToken", "x"))).account()


def test_a_region_where_nobody_answers_is_said_in_a_sentence_and_not_remembered(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = EndpointConnectionError(endpoint_url="https://cloudformation.us-est-1.amazonaws.com/")
    operations = ("get_caller_identity", "describe_stacks", "paginate", "describe_secret", "describe_table")
    silent = _Client(**dict.fromkeys(operations, silence))
    monkeypatch.setattr(_Client, "get_paginator", lambda self, *_a: self, raising=False)
    aws = _aws(monkeypatch, silent)
    for ask, *name in (
        (aws.account,),
        (aws.stack, "x"),
        (aws.tables_named_after, "x"),
        (aws.has_keys, "x"),
        (aws.delete_table, "x"),
    ):
        with pytest.raises(AwsProblem, match=r"nothing answers in the Region 'eu-west-1'. Is it written rightly"):
            ask(*name)
    monkeypatch.setattr(FakeAws, "stack", lambda _self, name: aws.stack(name))
    assert isinstance(run(project, "deploy", answers=ANSWERS).exception, AwsProblem)
    assert not (project / "samconfig.local.toml").exists()
    assert calls(project) == []


@pytest.mark.parametrize(
    ("overrides", "read"),
    [
        ("""["AlarmEmail=a@b.example", 'EventBusName=""']""", {"AlarmEmail": "a@b.example", "EventBusName": ""}),
        ("""'AlarmEmail="" RateLimits="off"'""", {"AlarmEmail": "", "RateLimits": "off"}),
    ],
)
def test_a_parameter_that_is_emptied_is_empty(project: Path, overrides: str, read: dict[str, str]) -> None:
    """In the quotes that SAM wants for it, which are no address to write to."""
    settings_file.write(project, Deployment("mine", "eu-west-1", {"AlarmEmail": "x@y.example"}))
    path = project / "samconfig.local.toml"
    text = path.read_text("utf-8").replace('["AlarmEmail=x@y.example"]', overrides)
    path.write_text(text, "utf-8")
    known = settings_file.read(project)
    assert known is not None
    assert known.parameters == read
    assert 'Alarms reach ""' not in run(project, "deploy").output


def test_a_secret_without_a_current_version_has_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _aws(monkeypatch, _Client(describe_secret={"Name": "k"})).has_keys("k")
    pending = {"VersionIdsToStages": {"v": ["AWSPENDING"]}}
    assert not _aws(monkeypatch, _Client(describe_secret=pending)).has_keys("k")
    current = {"VersionIdsToStages": {"v": ["AWSPENDING"], "w": ["AWSPREVIOUS"], "x": ["AWSCURRENT"]}}
    assert _aws(monkeypatch, _Client(describe_secret=current)).has_keys("k")


@pytest.mark.parametrize("protected", [True, False])
def test_a_protected_table_is_deleted_in_two_steps(monkeypatch: pytest.MonkeyPatch, protected: bool) -> None:
    client = _Client(describe_table={"Table": {"DeletionProtectionEnabled": protected}})
    _aws(monkeypatch, client).delete_table("t")
    unprotect = [("update_table", {"TableName": "t", "DeletionProtectionEnabled": False})] if protected else []
    assert client.called == [
        ("describe_table", {"TableName": "t"}),
        *unprotect,
        ("delete_table", {"TableName": "t"}),
    ]
