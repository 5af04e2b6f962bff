"""The deployed functions' roles: what their policies say, their credentials, and calls to try them with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from botocore.exceptions import ClientError

from aws.deployment import STACK, Deployment

DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"})


@dataclass(frozen=True)
class Grant:
    """One action on one resource, as a policy allows it."""

    action: str
    resource: str


@dataclass(frozen=True)
class Role:
    """The role of one function. `function` is its name in the template."""

    function: str
    name: str
    arn: str
    grants: tuple[Grant, ...]

    def allows(self, action: str, resource: str) -> bool:
        """Whether the function's own policies allow this."""
        return any(grant.action == action and fnmatchcase(resource, grant.resource) for grant in self.grants)


@dataclass(frozen=True)
class Probe:
    """A call that changes nothing where it is allowed, or is only made where it must be refused."""

    service: str
    operation: str
    action: str
    resource: str
    arguments: Mapping[str, Any] = field(repr=False)

    def outcome(self, client: Any) -> str:
        """ "denied", or what else came of it: "done", or the code of another error."""
        call = getattr(client, self.operation)
        try:
            call(**self.arguments)
        except ClientError as error:
            code = str(error.response["Error"]["Code"])
            return "denied" if code in DENIED else code
        return "done"


class Actor:
    """Makes calls with the credentials of one role after another; the clients, which take long to make, stay."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._clients: dict[str, Any] = {}
        self._given: Mapping[str, str] = {}

    def become(self, given: Mapping[str, str]) -> None:
        """Act with these credentials from now on."""
        self._given = given
        for client in self._clients.values():
            self._wear(client)

    def client(self, service: str) -> Any:
        """The client for one service."""
        if service not in self._clients:
            self._clients[service] = self._deployment.client(service, self._given)
        return self._clients[service]

    def _wear(self, client: Any) -> None:
        worn = client._request_signer._credentials
        worn.access_key = self._given["AccessKeyId"]
        worn.secret_key = self._given["SecretAccessKey"]
        worn.token = self._given["SessionToken"]


def deployed_roles(deployment: Deployment) -> tuple[Role, ...]:
    """The role of every function of the stack."""
    iam, lambdas = deployment.client("iam"), deployment.client("lambda")
    roles = []
    for logical_id, name in deployment.resources("AWS::Lambda::Function").items():
        arn = lambdas.get_function_configuration(FunctionName=name)["Role"]
        role = arn.rpartition("/")[2]
        documents = [
            iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
            for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]
        ]
        grants = tuple(grant for document in documents for grant in _grants(document))
        roles.append(Role(logical_id, role, arn, grants))
    return tuple(roles)


def _grants(document: Mapping[str, Any]) -> Iterator[Grant]:
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow", "the tests know no other effect"
        for action in _listed(statement["Action"]):
            for resource in _listed(statement["Resource"]):
                yield Grant(action, resource)


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def credentials(deployment: Deployment, role: Role) -> Mapping[str, str]:
    """The role's own credentials. The Lambda service alone may assume it; the operator adds himself, and nothing else."""
    iam = deployment.client("iam")
    trust = iam.get_role(RoleName=role.name)["Role"]["AssumeRolePolicyDocument"]
    operator = deployment.client("sts").get_caller_identity()["Arn"]
    own = {"Effect": "Allow", "Principal": {"AWS": operator}, "Action": "sts:AssumeRole"}
    widened = trust | {"Statement": [*trust["Statement"], own]}
    iam.update_assume_role_policy(RoleName=role.name, PolicyDocument=json.dumps(widened))
    try:
        answer = deployment.client("sts").assume_role(RoleArn=role.arn, RoleSessionName="probe")
    finally:
        iam.update_assume_role_policy(RoleName=role.name, PolicyDocument=json.dumps(trust))
    found: Mapping[str, str] = answer["Credentials"]
    return found


def probes(deployment: Deployment) -> tuple[Probe, ...]:
    """Calls on everything of the stack, and on what is somebody else's in the same account."""
    return (
        *(probe for table in _tables(deployment) for probe in _table_probes(*table)),
        *(probe for secret in _secrets(deployment) for probe in _secret_probes(*secret)),
        *_other_probes(deployment),
    )


FOREIGN_TABLE, FOREIGN_SECRET, FOREIGN_QUEUE = "another-table", "another-stack/keys", "another-queue"


def make_what_is_somebody_elses(deployment: Deployment) -> None:
    """A table, a secret and a queue of another application."""
    deployment.client("dynamodb").create_table(
        TableName=FOREIGN_TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    )
    deployment.client("secretsmanager").create_secret(Name=FOREIGN_SECRET, SecretString="of another application")
    deployment.client("sqs").create_queue(QueueName=FOREIGN_QUEUE)


def _tables(deployment: Deployment) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(name, ARN, the key of an item that is not there) of every table."""
    dynamodb = deployment.client("dynamodb")
    for name in (*deployment.resources("AWS::DynamoDB::Table").values(), FOREIGN_TABLE):
        described = dynamodb.describe_table(TableName=name)["Table"]
        yield name, described["TableArn"], {key["AttributeName"]: {"S": "probe"} for key in described["KeySchema"]}


def _table_probes(name: str, arn: str, key: Mapping[str, Any]) -> Iterator[Probe]:
    never = {"ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(pk)"}
    update = {"UpdateExpression": "SET probe = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}}
    query = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": "probe"}}}
    expiry = {"TimeToLiveSpecification": {"AttributeName": "x", "Enabled": False}}
    calls: Mapping[str, Mapping[str, Any]] = {
        "get_item": {"Key": key},
        "put_item": {"Item": key, **never},
        "update_item": {"Key": key, **update, **never},
        "delete_item": {"Key": key, **never},
        "query": query,
        "scan": {},
        "describe_table": {},
        "update_table": {"DeletionProtectionEnabled": False},
        "delete_table": {},
        "update_time_to_live": expiry,
    }
    for operation, arguments in calls.items():
        action = "".join(word.title() for word in operation.split("_"))
        yield Probe("dynamodb", operation, f"dynamodb:{action}", arn, {"TableName": name, **arguments})
    batches: Mapping[str, Mapping[str, Any]] = {
        "batch_get_item": {name: {"Keys": [key]}},
        "batch_write_item": {name: [{"DeleteRequest": {"Key": key}}]},
    }
    for operation, items in batches.items():
        action = "".join(word.title() for word in operation.split("_"))
        yield Probe("dynamodb", operation, f"dynamodb:{action}", arn, {"RequestItems": items})


def _secrets(deployment: Deployment) -> Iterator[tuple[str, str]]:
    """(name, ARN) of every secret."""
    for page in deployment.client("secretsmanager").get_paginator("list_secrets").paginate():
        for secret in page["SecretList"]:
            yield secret["Name"], secret["ARN"]


def _secret_probes(name: str, arn: str) -> Iterator[Probe]:
    calls: Mapping[str, tuple[str, Mapping[str, Any]]] = {
        "get_secret_value": ("GetSecretValue", {"VersionStage": "AWSCURRENT"}),
        "describe_secret": ("DescribeSecret", {}),
        "put_secret_value": ("PutSecretValue", {"SecretString": "probe"}),
        "update_secret": ("UpdateSecret", {"SecretString": "probe"}),
        "update_secret_version_stage": ("UpdateSecretVersionStage", {"VersionStage": "AWSCURRENT"}),
        "rotate_secret": ("RotateSecret", {}),
        "delete_secret": ("DeleteSecret", {"ForceDeleteWithoutRecovery": True}),
    }
    for operation, (action, arguments) in calls.items():
        yield Probe("secretsmanager", operation, f"secretsmanager:{action}", arn, {"SecretId": name, **arguments})


def _other_probes(deployment: Deployment) -> Iterator[Probe]:
    sqs = deployment.client("sqs")
    for url in sqs.list_queues()["QueueUrls"]:
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        for operation, action, extra in (
            ("receive_message", "ReceiveMessage", {}),
            ("delete_message", "DeleteMessage", {"ReceiptHandle": "probe"}),
            ("purge_queue", "PurgeQueue", {}),
            ("send_message", "SendMessage", {"MessageBody": "probe"}),
        ):
            yield Probe("sqs", operation, f"sqs:{action}", arn, {"QueueUrl": url} | extra)
    lambdas = deployment.client("lambda")
    functions = deployment.resources("AWS::Lambda::Function")
    for name in (functions["TokenFunction"], functions["SandboxFunction"], functions["RotateFunction"]):
        arn = lambdas.get_function_configuration(FunctionName=name)["FunctionArn"]
        yield Probe("lambda", "invoke", "lambda:InvokeFunction", arn, {"FunctionName": name, "Payload": b"{}"})
        yield Probe("lambda", "get_function", "lambda:GetFunction", arn, {"FunctionName": name})
    groups = deployment.resources("AWS::Logs::LogGroup")
    for group in (groups["TokenLogGroup"], groups["SandboxLogGroup"]):
        yield Probe("logs", "filter_log_events", "logs:FilterLogEvents", group, {"logGroupName": group})
        yield Probe("logs", "delete_log_group", "logs:DeleteLogGroup", group, {"logGroupName": group})
    anywhere: tuple[tuple[str, str, str, Mapping[str, Any]], ...] = (
        ("dynamodb", "list_tables", "dynamodb:ListTables", {}),
        ("secretsmanager", "list_secrets", "secretsmanager:ListSecrets", {}),
        ("secretsmanager", "create_secret", "secretsmanager:CreateSecret", {"Name": f"{STACK}/provider/probe"}),
        ("iam", "list_roles", "iam:ListRoles", {}),
        ("iam", "create_user", "iam:CreateUser", {"UserName": "probe"}),
        ("s3", "list_buckets", "s3:ListAllMyBuckets", {}),
        ("cloudformation", "describe_stacks", "cloudformation:DescribeStacks", {"StackName": STACK}),
        ("kms", "list_keys", "kms:ListKeys", {}),
    )
    for service, operation, action, arguments in anywhere:
        yield Probe(service, operation, action, "*", arguments)
