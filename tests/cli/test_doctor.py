"""`broker doctor`: every rule passes on a sound broker and speaks up on one that is not; what is seen is really read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from broker.crypto import keys
from broker.protocol.capabilities import metadata
from broker.protocol.clients import Client, ClientSecret
from broker.protocol.registration_policy import RegistrationPolicy
from broker.settings import Settings
from broker.upstream import catalogue
from broker.upstream.schema import parse_provider
from broker_cli.doctor import gather_stack
from broker_cli.doctor.command import POSTURE
from broker_cli.doctor.gather_stack import StackReader
from broker_cli.doctor.posture import Result, judge
from broker_cli.doctor.snapshot import (
    MISSING,
    Alarm,
    Attached,
    Endpoint,
    FunctionFacts,
    ProviderFacts,
    Snapshot,
    Stack,
    Statement,
    Table,
)
from broker_cli.failures import ServiceFailure

from .conftest import Operator

NOW = 1_800_000_000
DAY = 86400
ISSUER = "https://login.example.com"
DOCS = Path(__file__).resolve().parents[2] / "docs"
RING = keys.parse(keys.new_document(NOW - DAY))

APP = Client("app", "App", ("https://app.example/callback",), origins=("https://app.example",), providers=("openid",))
SERVER = replace(
    APP,
    client_id="server",
    auth_methods=("client_secret_basic",),
    secrets=(ClientSecret("0" * 64, NOW - DAY),),
)
GITHUB = parse_provider("openid", catalogue.document("github"), source="github.toml")
PROVIDER = ProviderFacts("openid", False, GITHUB, "", "secret", ("current",))
STACK_ALARMS = (Alarm("RequestsFailedAlarm", True, "OK"),)
AWS_POLICY = "arn:aws:iam::aws:policy"
STACK = Stack(
    functions=(FunctionFacts("TokenFunction", {"POWERTOOLS_LOG_LEVEL": "INFO"}, 25, 30),),
    statements=(
        Statement("TokenFunction", "dynamodb:GetItem", "arn:aws:dynamodb:eu-west-1:1:table/Grants"),
        Statement(
            "TokenFunction",
            "secretsmanager:GetSecretValue",
            "arn:aws:secretsmanager:eu-west-1:1:secret:broker/provider/*",
        ),
    ),
    attached=(
        Attached("TokenFunctionRole", f"{AWS_POLICY}/service-role/AWSLambdaBasicExecutionRole"),
        Attached("TokenFunctionRole", f"{AWS_POLICY}/AWSXrayWriteOnlyAccess"),
        Attached("ChinaFunctionRole", "arn:aws-cn:iam::aws:policy/AWSXRayDaemonWriteAccess"),
        Attached("CodeDeployServiceRole", f"{AWS_POLICY}/service-role/AWSCodeDeployRoleForLambda"),
    ),
    tables=(Table("RegistryTable", "", True, True), Table("GrantsTable", "delete_at", False, True)),
    alarms=STACK_ALARMS,
    throttled=True,
    rescued=0,
    rotation_days=30,
    has_sandbox=False,
)


@pytest.fixture(autouse=True)
def _time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.clock.now", lambda: NOW)


def sound() -> Snapshot:
    """A deployed broker with nothing to complain of."""
    return Snapshot(
        now=NOW,
        local=False,
        settings=Settings(issuer=ISSUER, provider_secret_prefix="broker/provider/"),
        clients=(APP, SERVER),
        providers=(PROVIDER,),
        policy=RegistrationPolicy(),
        keys=RING,
        endpoint=Endpoint(200, metadata(ISSUER), RING.jwks(), 0.0),
        stack=STACK,
    )


def results(snapshot: Snapshot) -> dict[str, Result]:
    return {result.rule.id: result for result in judge(POSTURE, snapshot)}


def _client(**changes: Any) -> Callable[[Snapshot], Snapshot]:
    return lambda snapshot: replace(snapshot, clients=(replace(APP, **changes),))


def _server(*secrets: ClientSecret) -> Callable[[Snapshot], Snapshot]:
    return lambda snapshot: replace(snapshot, clients=(replace(SERVER, secrets=secrets),))


def _provider(**changes: Any) -> Callable[[Snapshot], Snapshot]:
    return lambda snapshot: replace(snapshot, providers=(replace(PROVIDER, **changes),))


def _settings(**changes: Any) -> Callable[[Snapshot], Snapshot]:
    return lambda snapshot: replace(snapshot, settings=replace(snapshot.settings, **changes))


def _endpoint(**changes: Any) -> Callable[[Snapshot], Snapshot]:
    def change(snapshot: Snapshot) -> Snapshot:
        assert snapshot.endpoint is not None
        return replace(snapshot, endpoint=replace(snapshot.endpoint, **changes))

    return change


def _stack(**changes: Any) -> Callable[[Snapshot], Snapshot]:
    return lambda snapshot: replace(snapshot, stack=replace(STACK, **changes))


def _function(**changes: Any) -> Callable[[Snapshot], Snapshot]:
    assert STACK.functions is not None
    return _stack(functions=(replace(STACK.functions[0], **changes),))


def _may(resource: str) -> Callable[[Snapshot], Snapshot]:
    return _stack(statements=(Statement("TokenFunction", "secretsmanager:GetSecretValue", resource),))


def _attached(role: str, policy: str) -> Callable[[Snapshot], Snapshot]:
    return _stack(attached=(Attached(role, policy),))


def _old_keys(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, keys=keys.parse(keys.new_document(NOW - 200 * DAY)))


AMISS: tuple[tuple[str, str, Callable[[Snapshot], Snapshot]], ...] = (
    ("TB-OAUTH-001", "fail", _settings(issuer="http://login.example.com")),
    ("TB-OAUTH-002", "fail", _endpoint(status=404, metadata=None)),
    ("TB-OAUTH-002", "fail", _endpoint(metadata=metadata("https://other.example.com"))),
    ("TB-OAUTH-002", "warn", _endpoint(metadata=metadata(ISSUER) | {"grant_types_supported": ["implicit"]})),
    ("TB-OAUTH-003", "fail", _endpoint(jwks={"keys": RING.jwks()["keys"][:1]})),
    ("TB-OAUTH-003", "fail", _endpoint(jwks=None)),
    ("TB-OAUTH-004", "warn", _endpoint(skew=-60.0)),
    ("TB-9700-001", "fail", _settings(code_lifetime=601)),
    ("TB-9700-001", "warn", _settings(code_lifetime=300)),
    ("TB-9700-002", "fail", _client(retry_window=61)),
    ("TB-9700-003", "warn", _settings(access_token_lifetime=7200)),
    ("TB-9700-003", "warn", _client(access_token_lifetime=7200)),
    ("TB-9449-001", "warn", _settings(dpop_nonce_required=False)),
    ("TB-OPS-001", "warn", _settings(rate_limits="off")),
    ("TB-OPS-001", "fail", _settings(rate_limits="register.adress=10/3600")),
    ("TB-OPS-001", "fail", _settings(rate_limits="par.client=60000/60")),
    ("TB-9700-004", "fail", _client(require_pkce=False)),
    ("TB-9700-004", "warn", lambda found: replace(found, clients=(replace(SERVER, require_pkce=False),))),
    ("TB-9700-005", "fail", _client(redirect_uris=("http://app.example/callback",))),
    ("TB-9700-005", "warn", _client(redirect_uris=("myapp:/callback",))),
    ("TB-9700-006", "warn", _client(dialect="phpapi")),
    ("TB-9700-006", "warn", _client(dialect="iternio", token_by_get=True)),
    ("TB-9700-007", "warn", _server(ClientSecret("0" * 64, NOW - 400 * DAY))),
    ("TB-9700-007", "warn", _server(ClientSecret("0" * 64, NOW - 90 * DAY), ClientSecret("1" * 64, NOW - 40 * DAY))),
    ("TB-CLIENT-001", "fail", _server()),
    ("TB-CLIENT-002", "fail", _client(providers=("openid", "nobody"))),
    ("TB-CLIENT-002", "fail", _client(token_exchange=("nobody",))),
    ("TB-CLIENT-002", "warn", _client(providers=())),
    (
        "TB-CLIENT-002",
        "fail",
        lambda found: replace(found, policy=RegistrationPolicy(mode="token", providers=("openid", "nobody"))),
    ),
    ("TB-CLIENT-003", "fail", _client(refresh_cookie=True, origins=())),
    ("TB-CLIENT-003", "fail", _client(origins=("http://app.example",))),
    ("TB-CLIENT-004", "warn", _client(token_exchange=("openid",))),
    ("TB-CLIENT-005", "warn", lambda found: replace(found, policy=RegistrationPolicy(mode="open"))),
    ("TB-CLIENT-005", "warn", lambda found: replace(found, policy=RegistrationPolicy(documents=True))),
    ("TB-PROVIDER-001", "fail", _provider(problem="token.url is missing", dialect=None)),
    ("TB-PROVIDER-002", "fail", _provider(credentials="")),
    ("TB-PROVIDER-002", "fail", _provider(credentials="unreadable")),
    ("TB-PROVIDER-002", "fail", _provider(lacks="no private key is kept")),
    ("TB-9700-005", "fail", _client(redirect_uris=("http://[::1",))),
    ("TB-PROVIDER-002", "warn", _provider(slots=("current", "old"))),
    ("TB-PROVIDER-002", "warn", lambda found: replace(found, clients=())),
    ("TB-PROVIDER-003", "warn", _provider(dialect=replace(GITHUB, authorize=replace(GITHUB.authorize, pkce="off")))),
    ("TB-KEY-001", "fail", lambda found: replace(found, keys=None)),
    ("TB-KEY-002", "warn", _old_keys),
    ("TB-KEY-003", "warn", _stack(rotation_days=0)),
    ("TB-OPS-002", "fail", _stack(alarms=())),
    ("TB-OPS-002", "warn", _stack(alarms=(Alarm("RequestsFailedAlarm", False, "OK"),))),
    ("TB-OPS-002", "warn", _stack(alarms=(Alarm("RequestsFailedAlarm", True, "ALARM"),))),
    ("TB-OPS-002", "fail", _stack(alarms=(*STACK_ALARMS, Alarm("RescueQueueAlarm", False, MISSING)))),
    ("TB-OPS-002", "warn", _stack(alarms=(*STACK_ALARMS, Alarm("RescueQueueAlarm", False, "OK")))),
    ("TB-OPS-003", "fail", _function(retention=None)),
    ("TB-OPS-004", "fail", _function(timeout=30)),
    ("TB-OPS-005", "fail", _function(environment={"BROKER_LOCAL": "1"})),
    ("TB-OPS-005", "warn", _function(environment={"POWERTOOLS_LOG_LEVEL": "DEBUG"})),
    ("TB-OPS-006", "fail", _stack(tables=(Table("GrantsTable", "", True, True),))),
    ("TB-OPS-007", "warn", _stack(tables=(Table("GrantsTable", "delete_at", True, False),))),
    ("TB-OPS-007", "fail", _stack(tables=(Table("RegistryTable", "", False, True),))),
    (
        "TB-OPS-008",
        "fail",
        _stack(statements=(Statement("TokenFunction", "dynamodb:*", "arn:aws:dynamodb:::table/x"),)),
    ),
    ("TB-OPS-008", "fail", _stack(statements=(Statement("TokenFunction", "dynamodb:GetItem", "*"),))),
    ("TB-OPS-008", "fail", _may("arn:aws:secretsmanager:eu-west-1:1:secret:*")),
    ("TB-OPS-008", "fail", _may("arn:aws:secretsmanager:eu-west-1:1:secret:broker/*")),
    ("TB-OPS-008", "fail", _may("arn:aws:secretsmanager:*:1:secret:broker/provider/*")),
    ("TB-OPS-008", "fail", _may("arn:aws:dynamodb:eu-west-1:1:table/*")),
    ("TB-OPS-008", "fail", _attached("TokenFunctionRole", f"{AWS_POLICY}/AdministratorAccess")),
    ("TB-OPS-008", "fail", _attached("TokenFunctionRole", "arn:aws:iam::123456789012:policy/AWSXrayWriteOnlyAccess")),
    ("TB-OPS-008", "fail", _attached("TokenFunctionRole", f"{AWS_POLICY}/service-role/AWSCodeDeployRoleForLambda")),
    ("TB-OPS-009", "warn", _stack(throttled=False)),
    ("TB-OPS-010", "warn", _stack(rescued=3)),
    ("TB-OPS-011", "warn", _stack(has_sandbox=True)),
)


def test_a_sound_broker_passes_every_rule() -> None:
    assert {name: result.level for name, result in results(sound()).items()} == {rule.id: "pass" for rule in POSTURE}


@pytest.mark.parametrize(("rule", "level", "change"), AMISS, ids=[f"{rule}-{n}" for n, (rule, *_) in enumerate(AMISS)])
def test_what_is_amiss_is_said(rule: str, level: str, change: Callable[[Snapshot], Snapshot]) -> None:
    result = results(change(sound()))[rule]
    assert result.level == level, result
    assert all(result.texts)


def test_every_rule_has_been_seen_to_speak() -> None:
    assert {rule for rule, *_ in AMISS} == {rule.id for rule in POSTURE}


def test_ids_are_stable_and_documented() -> None:
    """A rule's id is what pipelines and waivers name, so the document lists every one, and no other."""
    assert len({rule.id for rule in POSTURE}) == len(POSTURE)
    rows = [line.split(" | ") for line in (DOCS / "doctor.md").read_text().splitlines() if line.startswith("| `TB-")]
    documented = [(row[0].strip("|` "), row[1], row[2], row[3].rstrip("| ")) for row in rows]
    assert documented == [(rule.id, rule.title, rule.reference, rule.remedy) for rule in POSTURE]


def test_what_cannot_be_read_is_skipped_and_says_why() -> None:
    blind = replace(sound(), endpoint=None, stack=None, unseen={"endpoint": "it is down"})
    found = results(blind)
    assert (found["TB-OAUTH-002"].level, found["TB-OAUTH-002"].texts) == ("skip", ("it is down",))
    assert (found["TB-OPS-002"].level, found["TB-OPS-002"].texts) == ("skip", ("a local broker has no stack",))
    hidden = replace(sound(), stack=replace(STACK, alarms=None), unseen={"stack.alarms": "AWS refused"})
    assert (results(hidden)["TB-OPS-002"].level, results(hidden)["TB-OPS-002"].texts) == ("skip", ("AWS refused",))


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_command_against_a_broker_that_holds_nothing(operator: Operator) -> None:
    """The fixture only listens, and answers no HTTP: that part is skipped, and the rest judged."""
    outcome = operator("doctor", "--only", "TB-KEY", "--only", "TB-CLIENT")
    assert outcome.status == 1
    assert "FAIL  TB-KEY-001       The keys are there\n" in outcome.out
    assert "There are no keys yet" in outcome.out
    assert "      -> `broker keys init`.\n" in outcome.out
    assert "PASS  TB-CLIENT-001    Confidential clients have a secret\n" in outcome.out
    assert outcome.out.endswith("5 passed, 0 warned, 1 failed, 2 could not be judged.\n")


def test_the_command_in_json_for_pipelines(operator: Operator) -> None:
    operator.add_provider("github", "the-provider-secret")
    operator.add_client("--provider", "github", "--access-token-lifetime", "7200")
    assert operator("keys", "init").status == 0
    lenient = operator("doctor", "--only", "TB-9700-003", "--only", "TB-KEY-001", "--json")
    assert lenient.status == 0
    found = {result["id"]: result["level"] for result in lenient.document["results"]}
    assert found == {"TB-9700-003": "warn", "TB-KEY-001": "pass"}
    assert (lenient.document["ok"], lenient.document["counts"]) == (True, {"fail": 0, "warn": 1, "pass": 1, "skip": 0})
    assert operator("doctor", "--only", "TB-9700-003", "--strict").status == 1
    assert "the-provider-secret" not in operator.seen


def test_an_unknown_rule_is_wrong_input(operator: Operator) -> None:
    assert "There is no rule TB-NONE" in operator("doctor", "--only", "TB-NONE").refusal()


def test_the_rules_are_listed_without_a_broker(operator: Operator) -> None:
    listed = operator.raw("doctor", "--rules", "--json")
    assert [rule["id"] for rule in json.loads(listed.out)] == [rule.id for rule in POSTURE]


# -- the stack -----------------------------------------------------------------------------------------------------


class _Aws:
    """AWS clients that answer what the service's own model allows, and refuse what was not expected."""

    def __init__(self, answers: Mapping[str, list[tuple[str, dict[str, Any]]]]) -> None:
        self._clients: dict[str, Any] = {}
        for service, expected in answers.items():
            client = boto3.client(
                service,  # type: ignore[call-overload]
                region_name="eu-west-1",
                aws_access_key_id="a",
                aws_secret_access_key="b",
            )
            stubber = Stubber(client)
            for operation, answer in expected:
                stubber.add_response(operation, answer)
            stubber.activate()
            self._clients[service] = client

    def aws(self, service: str) -> Any:
        return self._clients[service]


def _policy(name: str) -> dict[str, str]:
    return {"PolicyName": name, "PolicyArn": f"{AWS_POLICY}/{name}"}


def _summary(kind: str, logical: str, physical: str, status: str = "CREATE_COMPLETE") -> dict[str, Any]:
    return {
        "ResourceType": kind,
        "LogicalResourceId": logical,
        "PhysicalResourceId": physical,
        "ResourceStatus": status,
        "LastUpdatedTimestamp": 0,
    }


def test_a_stack_is_read_as_the_services_answer() -> None:
    resources = {
        "AWS::Lambda::Function": ("TokenFunction", "stack-Token"),
        "AWS::IAM::Role": ("TokenFunctionRole", "stack-TokenRole"),
        "AWS::DynamoDB::Table": ("GrantsTable", "stack-Grants"),
        "AWS::CloudWatch::Alarm": ("RequestsFailedAlarm", "stack-RequestsFailed"),
        "AWS::ApiGatewayV2::Api": ("BrokerApi", "abc123"),
        "AWS::SQS::Queue": ("RescueQueue", "https://sqs.eu-west-1.amazonaws.com/1/rescue"),
        "AWS::SecretsManager::Secret": ("KeysSecret", "stack-keys"),
    }
    summaries = [_summary(kind, logical, physical) for kind, (logical, physical) in resources.items()]
    allow = {"Effect": "Allow", "Action": ["dynamodb:GetItem"], "Resource": "arn:aws:dynamodb:eu-west-1:1:table/Grants"}
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    answers: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "cloudformation": [("list_stack_resources", {"StackResourceSummaries": summaries})],
        "lambda": [
            (
                "get_function_configuration",
                {
                    "Timeout": 25,
                    "Environment": {"Variables": {"BROKER_CODE_LIFETIME": "30"}},
                    "LoggingConfig": {"LogGroup": "token-log"},
                },
            )
        ],
        "logs": [("describe_log_groups", {"logGroups": [{"logGroupName": "token-log", "retentionInDays": 30}]})],
        "iam": [
            ("list_role_policies", {"PolicyNames": ["one"]}),
            (
                "get_role_policy",
                {
                    "RoleName": "stack-TokenRole",
                    "PolicyName": "one",
                    "PolicyDocument": json.dumps({"Statement": [allow, deny]}),
                },
            ),
            ("list_attached_role_policies", {"AttachedPolicies": [_policy("AWSXrayWriteOnlyAccess")]}),
        ],
        "dynamodb": [
            ("describe_table", {"Table": {"DeletionProtectionEnabled": True}}),
            (
                "describe_time_to_live",
                {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "delete_at"}},
            ),
            (
                "describe_continuous_backups",
                {"ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED"}},
            ),
        ],
        "cloudwatch": [
            (
                "describe_alarms",
                {"MetricAlarms": [{"AlarmName": "stack-RequestsFailed", "AlarmActions": ["arn"], "StateValue": "OK"}]},
            )
        ],
        "apigatewayv2": [
            (
                "get_stages",
                {"Items": [{"StageName": "$default", "DefaultRouteSettings": {"ThrottlingRateLimit": 100.0}}]},
            )
        ],
        "sqs": [("get_queue_attributes", {"Attributes": {"ApproximateNumberOfMessages": "2"}})],
        "secretsmanager": [
            ("describe_secret", {"RotationEnabled": True, "RotationRules": {"AutomaticallyAfterDays": 60}})
        ],
    }
    reader = StackReader(_Aws(answers), "stack")  # type: ignore[arg-type]
    stack, settings = reader.read(lambda _name, read: read())
    assert stack == Stack(
        functions=(FunctionFacts("TokenFunction", {"BROKER_CODE_LIFETIME": "30"}, 25, 30),),
        statements=(Statement("TokenFunction", "dynamodb:GetItem", "arn:aws:dynamodb:eu-west-1:1:table/Grants"),),
        attached=(Attached("TokenFunctionRole", f"{AWS_POLICY}/AWSXrayWriteOnlyAccess"),),
        tables=(Table("GrantsTable", "delete_at", False, True),),
        alarms=(Alarm("RequestsFailedAlarm", True, "OK"),),
        throttled=True,
        rescued=2,
        rotation_days=60,
        has_sandbox=False,
    )
    assert settings is not None
    assert settings.code_lifetime == 30


def test_a_setting_that_stops_the_functions_does_not_stop_doctor() -> None:
    """It was changed by hand, and is what doctor is asked about."""
    by_hand = FunctionFacts("TokenFunction", {"BROKER_RETRY_WINDOW": "300"}, 25, 30)
    with pytest.raises(ServiceFailure, match="BROKER_RETRY_WINDOW must be a whole number of seconds from 0 to 60"):
        StackReader(_Aws({}), "stack")._settings((by_hand,))  # type: ignore[arg-type]
    result = results(_stack(functions=(by_hand,))(sound()))["TB-OPS-005"]
    assert result.level == "fail"
    assert "TokenFunction cannot start, as BROKER_RETRY_WINDOW must be" in result.texts[0]


def test_a_key_is_as_old_as_the_schedule_lets_it_become() -> None:
    yearly = _stack(rotation_days=365)(_old_keys(sound()))
    assert results(yearly)["TB-KEY-002"].level == "pass"


def _read_parts(answers: Mapping[str, list[tuple[str, dict[str, Any]]]], *parts: str) -> Stack:
    """The stack, with nothing but these parts read."""
    reader = StackReader(_Aws(answers), "stack")  # type: ignore[arg-type]
    stack, _ = reader.read(lambda name, read: read() if name in ("stack", *parts) else None)
    return stack


def test_every_policy_of_a_role_is_read_page_by_page() -> None:
    """What is widened by hand is most often attached, and need not be on the first page. What is excepted is everything else."""
    role = _summary("AWS::IAM::Role", "TokenFunctionRole", "stack-TokenRole")
    all_but = {"Effect": "Allow", "NotAction": "iam:*", "Resource": "arn:aws:s3:::one"}
    all_but_one = {"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::one"}

    def own(name: str, statement: dict[str, str]) -> tuple[str, dict[str, Any]]:
        document = json.dumps({"Statement": statement})
        return "get_role_policy", {"RoleName": "stack-TokenRole", "PolicyName": name, "PolicyDocument": document}

    answers: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "cloudformation": [("list_stack_resources", {"StackResourceSummaries": [role]})],
        "iam": [
            ("list_role_policies", {"PolicyNames": ["one"], "IsTruncated": True, "Marker": "next"}),
            own("one", all_but),
            ("list_role_policies", {"PolicyNames": ["two"]}),
            own("two", all_but_one),
            (
                "list_attached_role_policies",
                {"AttachedPolicies": [_policy("AWSXrayWriteOnlyAccess")], "IsTruncated": True, "Marker": "next"},
            ),
            ("list_attached_role_policies", {"AttachedPolicies": [_policy("AdministratorAccess")]}),
        ],
    }
    stack = _read_parts(answers, "stack.statements", "stack.attached")
    assert stack.statements == (
        Statement("TokenFunction", "*", "arn:aws:s3:::one"),
        Statement("TokenFunction", "s3:GetObject", "*"),
    )
    assert [one.policy for one in stack.attached or ()] == [
        f"{AWS_POLICY}/AWSXrayWriteOnlyAccess",
        f"{AWS_POLICY}/AdministratorAccess",
    ]
    found = results(replace(sound(), stack=replace(STACK, statements=stack.statements, attached=stack.attached)))
    assert found["TB-OPS-008"].texts == (
        "TokenFunction may do *",
        "TokenFunction may do s3:GetObject on everything",
        f"TokenFunctionRole has the policy {AWS_POLICY}/AdministratorAccess, which the template does not give it",
    )


def test_an_alarm_that_was_deleted_by_hand_is_noticed() -> None:
    """CloudWatch leaves out what it does not have. One that CloudFormation took away itself is not missing."""
    alarms = [_summary("AWS::CloudWatch::Alarm", f"{name}Alarm", f"stack-{name}") for name in ("One", "Two", "Three")]
    gone = _summary("AWS::CloudWatch::Alarm", "FourAlarm", "stack-Four", "DELETE_COMPLETE")
    there = {"AlarmActions": ["arn"], "StateValue": "OK"}
    answers: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "cloudformation": [("list_stack_resources", {"StackResourceSummaries": [*alarms, gone]})],
        "cloudwatch": [
            ("describe_alarms", {"MetricAlarms": [{"AlarmName": "stack-One", **there}], "NextToken": "next"}),
            ("describe_alarms", {"MetricAlarms": [{"AlarmName": "stack-Two", **there}]}),
        ],
    }
    stack = _read_parts(answers, "stack.alarms")
    assert stack.alarms == (
        Alarm("OneAlarm", True, "OK"),
        Alarm("ThreeAlarm", False, MISSING),
        Alarm("TwoAlarm", True, "OK"),
    )
    verdict = results(replace(sound(), stack=replace(STACK, alarms=stack.alarms)))["TB-OPS-002"]
    assert (verdict.level, verdict.texts) == ("fail", ("ThreeAlarm is not there any more: somebody deleted it",))


def test_without_the_right_to_list_attached_policies_roles_are_not_judged() -> None:
    hidden = replace(sound(), stack=replace(STACK, attached=None), unseen={"stack.attached": "AWS refused"})
    assert (results(hidden)["TB-OPS-008"].level, results(hidden)["TB-OPS-008"].texts) == ("skip", ("AWS refused",))


def test_the_permissions_that_are_documented_are_those_that_are_used() -> None:
    """A call of the reader is named as its action is, but for API Gateway, whose one action is GET."""
    source = Path(gather_stack.__file__).read_text("utf-8")
    operations = set(re.findall(r"\b((?:get|list|describe)_[a-z_]+)\b", source)) - {"get_paginator", "get_stages"}
    assert "list_attached_role_policies" in operations
    documented = (DOCS / "doctor.md").read_text("utf-8")
    actions = {operation: operation.title().replace("_", "") for operation in operations}
    assert [operation for operation, action in actions.items() if f':{action}"' not in documented] == []
