"""`sam delete`: what is left of the stack is what the template says shall be left."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from aws.deployment import STACK, Deployment

RETAINED = ("Retain", "RetainExceptOnCreate")


def test_only_what_is_retained_is_left(deployment: Deployment) -> None:
    body = deployment.client("cloudformation").get_template(StackName=STACK, TemplateStage="Processed")["TemplateBody"]
    declared: dict[str, Any] = (body if isinstance(body, dict) else json.loads(body))["Resources"]
    kept = {name for name, resource in declared.items() if resource.get("DeletionPolicy") in RETAINED}
    resources = deployment.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
    existing = [one for page in resources for one in page["StackResourceSummaries"]]
    tables = {
        one["PhysicalResourceId"]
        for one in existing
        if one["ResourceType"] == "AWS::DynamoDB::Table" and one["LogicalResourceId"] in kept
    }
    assert deployment.outputs["RegistryTable"] in tables
    providers = _secrets(deployment, f"{STACK}/provider/")
    assert providers

    deployment.delete()

    assert _describe(deployment) == "ValidationError"
    assert _tables(deployment) == tables
    assert _secrets(deployment, f"{STACK}/provider/") == providers  # the operator's, not the stack's
    assert _secrets(deployment, f"{STACK}/keys") == set() or "KeysSecret" in kept
    assert deployment.client("lambda").list_functions()["Functions"] == []
    assert deployment.client("apigatewayv2").get_apis()["Items"] == []
    roles = deployment.client("iam").list_roles()["Roles"]
    assert [role["RoleName"] for role in roles if role["RoleName"].startswith(f"{STACK}-")] == []
    groups = deployment.client("logs").describe_log_groups()["logGroups"]
    assert [group["logGroupName"] for group in groups if STACK in group["logGroupName"]] == []


def _describe(deployment: Deployment) -> str:
    try:
        deployment.client("cloudformation").describe_stacks(StackName=STACK)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "there"


def _tables(deployment: Deployment) -> set[str]:
    names = deployment.client("dynamodb").list_tables()["TableNames"]
    return {name for name in names if name.startswith(f"{STACK}-")}


def _secrets(deployment: Deployment, prefix: str) -> set[str]:
    found = deployment.client("secretsmanager").list_secrets(MaxResults=100)["SecretList"]
    return {secret["Name"] for secret in found if secret["Name"].startswith(prefix)}
