"""Reads a deployed stack: its functions, the policies of their roles, its tables, alarms, throttles and queue."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from broker.settings import Settings, from_environment
from broker_cli.connection import Connection
from broker_cli.doctor.snapshot import Alarm, FunctionFacts, Stack, Statement, Table

Read = Callable[[str, Callable[[], Any]], Any]
"""Reads one part by its name in the snapshot; None when it could not be read."""
_ALARMS_A_CALL = 100


class StackReader:
    """One stack of CloudFormation."""

    def __init__(self, broker: Connection, stack: str) -> None:
        self._aws = broker.aws
        self._stack = stack
        self._resources: list[tuple[str, str, str]] = []

    def read(self, part: Read) -> tuple[Stack, Settings | None]:
        """(the stack, the settings of its functions or None)."""
        self._resources = part("stack", lambda: list(self._list())) or []
        functions = part("stack.functions", lambda: tuple(self._functions()))
        stack = Stack(
            functions=functions,
            statements=part("stack.statements", lambda: tuple(self._statements())),
            tables=part("stack.tables", lambda: tuple(self._tables())),
            alarms=part("stack.alarms", lambda: tuple(self._alarms())),
            throttled=part("stack.throttled", self._throttled),
            rescued=part("stack.rescued", self._rescued),
            rotates=part("stack.rotates", self._rotates),
            has_sandbox=bool(self._of("AWS::DynamoDB::Table", "SandboxTable")),
        )
        return stack, self._settings(functions or ())

    def _settings(self, functions: tuple[FunctionFacts, ...]) -> Settings | None:
        environment = next((one.environment for one in functions if one.name == "TokenFunction"), None)
        return from_environment(environment) if environment is not None else None

    def _list(self) -> Iterator[tuple[str, str, str]]:
        """(type, logical id, physical id) of every resource."""
        pages = self._aws("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self._stack)
        for page in pages:
            for found in page["StackResourceSummaries"]:
                yield found["ResourceType"], found["LogicalResourceId"], found.get("PhysicalResourceId", "")

    def _of(self, kind: str, name: str | None = None) -> list[tuple[str, str]]:
        """(logical id, physical id) of the resources of a type."""
        return [
            (logical, physical)
            for found, logical, physical in self._resources
            if found == kind and name in (None, logical) and physical
        ]

    def _functions(self) -> Iterator[FunctionFacts]:
        client = self._aws("lambda")
        for logical, physical in self._of("AWS::Lambda::Function"):
            found = client.get_function_configuration(FunctionName=physical)
            yield FunctionFacts(
                name=logical,
                environment=found.get("Environment", {}).get("Variables", {}),
                timeout=found["Timeout"],
                retention=self._retention(found.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{physical}")),
            )

    def _retention(self, group: str) -> int | None:
        groups = self._aws("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        return next((found.get("retentionInDays") for found in groups if found["logGroupName"] == group), None)

    def _statements(self) -> Iterator[Statement]:
        client = self._aws("iam")
        for logical, role in self._of("AWS::IAM::Role"):
            name = logical.removesuffix("Role")
            for policy in client.list_role_policies(RoleName=role)["PolicyNames"]:
                document = client.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
                yield from _allowed(name, json.loads(unquote(document)) if isinstance(document, str) else document)

    def _tables(self) -> Iterator[Table]:
        client = self._aws("dynamodb")
        for logical, physical in self._of("AWS::DynamoDB::Table"):
            described = client.describe_table(TableName=physical)["Table"]
            ttl = client.describe_time_to_live(TableName=physical)["TimeToLiveDescription"]
            backups = client.describe_continuous_backups(TableName=physical)["ContinuousBackupsDescription"]
            recovery = backups.get("PointInTimeRecoveryDescription", {})
            yield Table(
                logical_name=logical,
                ttl=ttl.get("AttributeName", "") if ttl["TimeToLiveStatus"] in ("ENABLED", "ENABLING") else "",
                recoverable=recovery.get("PointInTimeRecoveryStatus") == "ENABLED",
                deletion_protected=described.get("DeletionProtectionEnabled", False),
            )

    def _alarms(self) -> Iterator[Alarm]:
        client = self._aws("cloudwatch")
        by_name = {physical: logical for logical, physical in self._of("AWS::CloudWatch::Alarm")}
        names = sorted(by_name)
        for start in range(0, len(names), _ALARMS_A_CALL):
            found = client.describe_alarms(AlarmNames=names[start : start + _ALARMS_A_CALL])
            for alarm in found["MetricAlarms"]:
                tells = bool(alarm.get("ActionsEnabled", True) and alarm.get("AlarmActions"))
                yield Alarm(by_name[alarm["AlarmName"]], tells, alarm.get("StateValue", ""))

    def _throttled(self) -> bool:
        client = self._aws("apigatewayv2")
        for _, api in self._of("AWS::ApiGatewayV2::Api"):
            for stage in client.get_stages(ApiId=api)["Items"]:
                if stage.get("DefaultRouteSettings", {}).get("ThrottlingRateLimit"):
                    return True
        return False

    def _rescued(self) -> int:
        client = self._aws("sqs")
        waiting = 0
        for _, queue in self._of("AWS::SQS::Queue"):
            names = ["ApproximateNumberOfMessages"]
            found = client.get_queue_attributes(QueueUrl=queue, AttributeNames=names)
            waiting += int(found["Attributes"]["ApproximateNumberOfMessages"])
        return waiting

    def _rotates(self) -> bool:
        client = self._aws("secretsmanager")
        return any(
            client.describe_secret(SecretId=secret).get("RotationEnabled", False)
            for _, secret in self._of("AWS::SecretsManager::Secret")
        )


def _allowed(function: str, document: dict[str, Any]) -> Iterator[Statement]:
    statements = document.get("Statement", [])
    for statement in [statements] if isinstance(statements, dict) else statements:
        if statement.get("Effect") != "Allow":
            continue
        for action in _list_of(statement.get("Action")):
            for resource in _list_of(statement.get("Resource")):
                yield Statement(function, action, resource)


def _list_of(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(entry) for entry in value or ()]
