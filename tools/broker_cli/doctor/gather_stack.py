"""Reads a deployed stack: its functions, the policies of their roles, its tables, alarms, throttles and queue."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from broker.settings import Settings, from_environment
from broker_cli.connection import Connection
from broker_cli.doctor.snapshot import MISSING, Alarm, Attached, FunctionFacts, Stack, Statement, Table
from broker_cli.failures import ServiceFailure

Read = Callable[[str, Callable[[], Any]], Any]
"""Reads one part by its name in the snapshot; None when it could not be read."""
_ALARMS_A_CALL = 100
_NOT_OF_THE_STACK = ("DELETE_COMPLETE", "DELETE_SKIPPED")


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
            attached=part("stack.attached", lambda: tuple(self._attached())),
            tables=part("stack.tables", lambda: tuple(self._tables())),
            alarms=part("stack.alarms", lambda: tuple(self._alarms())),
            throttled=part("stack.throttled", self._throttled),
            rescued=part("stack.rescued", self._rescued),
            rotation_days=part("stack.rotation_days", self._rotation_days),
            has_sandbox=bool(self._of("AWS::DynamoDB::Table", "SandboxTable")),
        )
        return stack, part("stack.settings", lambda: self._settings(functions or ()))

    def _settings(self, functions: tuple[FunctionFacts, ...]) -> Settings | None:
        environment = next((one.environment for one in functions if one.name == "TokenFunction"), None)
        try:
            return from_environment(environment) if environment is not None else None
        except ValueError as problem:
            raise ServiceFailure(f"The settings of the functions cannot be read: {problem}.") from None

    def _list(self) -> Iterator[tuple[str, str, str]]:
        """(type, logical id, physical id) of every resource; CloudFormation still lists some that it has deleted."""
        for page in self._pages("cloudformation", "list_stack_resources", StackName=self._stack):
            for found in page["StackResourceSummaries"]:
                if found["ResourceStatus"] not in _NOT_OF_THE_STACK:
                    yield found["ResourceType"], found["LogicalResourceId"], found.get("PhysicalResourceId", "")

    def _pages(self, service: str, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        yield from self._aws(service).get_paginator(operation).paginate(**arguments)

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
            for page in self._pages("iam", "list_role_policies", RoleName=role):
                for policy in page["PolicyNames"]:
                    document = client.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
                    yield from _allowed(name, json.loads(unquote(document)) if isinstance(document, str) else document)

    def _attached(self) -> Iterator[Attached]:
        for logical, role in self._of("AWS::IAM::Role"):
            for page in self._pages("iam", "list_attached_role_policies", RoleName=role):
                yield from (Attached(logical, found["PolicyArn"]) for found in page["AttachedPolicies"])

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
        logical_names = {physical: logical for logical, physical in self._of("AWS::CloudWatch::Alarm")}
        there = {alarm.logical_name: alarm for alarm in self._described_alarms(logical_names)}
        for name in sorted(logical_names.values()):
            yield there.get(name, Alarm(name, False, MISSING))

    def _described_alarms(self, logical_names: Mapping[str, str]) -> Iterator[Alarm]:
        names = sorted(logical_names)
        # A page has 50 unless more are asked for, however many are named.
        size = {"PageSize": _ALARMS_A_CALL}
        for start in range(0, len(names), _ALARMS_A_CALL):
            some = names[start : start + _ALARMS_A_CALL]
            for page in self._pages("cloudwatch", "describe_alarms", AlarmNames=some, PaginationConfig=size):
                for alarm in page["MetricAlarms"]:
                    tells = bool(alarm.get("ActionsEnabled", True) and alarm.get("AlarmActions"))
                    yield Alarm(logical_names[alarm["AlarmName"]], tells, alarm.get("StateValue", ""))

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

    def _rotation_days(self) -> int:
        """Days between two rotations of the keys; 0 when nothing rotates them, 1 when a schedule of another kind does."""
        client = self._aws("secretsmanager")
        described = (client.describe_secret(SecretId=secret) for _, secret in self._of("AWS::SecretsManager::Secret"))
        rotating = next((one for one in described if one.get("RotationEnabled", False)), None)
        return int(rotating.get("RotationRules", {}).get("AutomaticallyAfterDays", 1)) if rotating else 0


def _allowed(function: str, document: dict[str, Any]) -> Iterator[Statement]:
    statements = document.get("Statement", [])
    for statement in [statements] if isinstance(statements, dict) else statements:
        if statement.get("Effect") != "Allow":
            continue
        for action in _named(statement, "Action"):
            for resource in _named(statement, "Resource"):
                yield Statement(function, action, resource)


def _named(statement: dict[str, Any], element: str) -> list[str]:
    """What a statement is about. NotAction and NotResource are about all else, which is as good as everything."""
    return ["*"] if f"Not{element}" in statement else _list_of(statement.get(element))


def _list_of(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(entry) for entry in value or ()]
