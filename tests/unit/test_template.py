"""What template.yaml promises: routes, tables, least privilege, and that the sandbox is off by default."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError, EndpointConnectionError

from broker.protocol.limits import DEFAULTS, parse_limits
from broker.settings import LIMITS, Settings, from_environment
from broker.upstream import serve
from broker_local import aws
from broker_local.api_gateway import match_route
from broker_local.privileges import allowed, enforced, required, running
from broker_local.server import PROJECT, local_environment
from broker_local.template import Function, Permission, Template, TemplateError

ROUTES = {
    "ANY /authorize",
    "ANY /callback/{provider}",
    "ANY /consent",
    "ANY /par",
    "ANY /device",
    "ANY /device_authorization",
    "ANY /assets/form-post.js",
    "ANY /token",
    "ANY /refresh",
    "ANY /userinfo",
    "ANY /proxy/{provider}/{path+}",
    "ANY /revoke",
    "ANY /introspect",
    "ANY /logout",
    "ANY /register",
    "ANY /register/{client_id}",
    "ANY /.well-known/oauth-authorization-server",
    "ANY /.well-known/oauth-authorization-server/{path+}",
    "ANY /.well-known/openid-configuration",
    "ANY /.well-known/openid-configuration/{path+}",
    "ANY /.well-known/oauth-protected-resource",
    "ANY /.well-known/oauth-protected-resource/{path+}",
    "ANY /.well-known/jwks.json",
    *(f"ANY {path}" for path in serve.routes()),
}
API_TIMEOUT = 30
SANDBOX = {"EnableSandbox": "true", "SandboxClientSecret": "x" * 16}


def deployed(**parameters: str) -> Template:
    """The template as it is deployed with these parameters."""
    return Template.load(PROJECT / "template.yaml", stack="example", overrides=parameters)


@cache
def document() -> dict[str, Any]:
    """The template's own text, with every intrinsic function left as it is."""
    loaded: dict[str, Any] = deployed()._document  # type: ignore[assignment]
    return loaded


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """The template's resources of one type, by logical id."""
    return {name: value for name, value in document()["Resources"].items() if value["Type"] == kind}


def function_of(template: Template, name: str) -> Function:
    """One function by its logical id."""
    return next(function for function in template.functions() if function.name == name)


def test_the_sandbox_is_off_by_default() -> None:
    """Anybody can log in at the sandbox, so a stack has it only when it was asked for."""
    plain = deployed()
    assert {route.key for function in plain.functions() for route in function.routes} == ROUTES
    assert [table.name for table in plain.tables()] == ["example-RegistryTable", "example-GrantsTable"]

    with_sandbox = deployed(**SANDBOX)
    assert {route.key for route in function_of(with_sandbox, "SandboxFunction").routes} == {"ANY /sandbox/{proxy+}"}
    assert [table.name for table in with_sandbox.tables()][2:] == ["example-SandboxTable"]


def test_the_sandbox_needs_a_secret() -> None:
    """A sandbox with an empty client secret would take any broker for its own."""
    rule = document()["Rules"]["SandboxNeedsSecret"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "EnableSandbox"}, "true"]}
    assert rule["Assertions"][0]["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "SandboxClientSecret"}, ""]}]}
    assert document()["Parameters"]["SandboxClientSecret"]["NoEcho"] is True


@pytest.mark.parametrize(
    ("issuer", "accepted"),
    [
        ("", True),
        ("https://login.example.com", True),
        ("https://login.example.com/tenant", True),
        ("https://login.example.com/", False),
        ("http://login.example.com", False),
        ("https://login.example.com?x=1", False),
        ("https://login.example.com#x", False),
        ("login.example.com", False),
    ],
)
def test_issuer_parameter(issuer: str, accepted: bool) -> None:
    """RFC 8414 section 2: https, no query, no fragment. Our own rule: no trailing slash."""
    pattern = document()["Parameters"]["Issuer"]["AllowedPattern"]
    assert (re.fullmatch(pattern, issuer) is not None) is accepted


def test_rate_limits_parameter() -> None:
    """What the template lets through, the functions can read; but for more than a counter can count, which no pattern says."""
    pattern = document()["Parameters"]["RateLimits"]["AllowedPattern"]
    every = ",".join(f"{name}={limit.quota}/{limit.window}" for name, limit in DEFAULTS.items())
    assert parse_limits(every) == DEFAULTS
    for text in ("", "off", every, *every.split(",")):
        assert re.fullmatch(pattern, text), text
    for text in (
        *(
            "register.adress=10/3600",
            "par=1/60",
            "token.client=1/60",
            "register.client=1/60",
            "par.client",
            "par.client=1",
        ),
        *(
            "par.client=0/60",
            "par.client=5/0",
            "par.client=1/60par.address=1/60",
            "of",
            "off,par.client=1/60",
            "par.client=1/m",
        ),
    ):
        assert not re.fullmatch(pattern, text), text


def test_every_function_has_its_folder_handler_log_group_and_time() -> None:
    """A function that outlives the API's 30 seconds would answer nobody."""
    for function in deployed(**SANDBOX).functions():
        assert (PROJECT / "functions" / function.folder / f"{function.module}.py").is_file(), function.name
        assert (function.module, function.entry) == ("app", "handler")
        assert 1 <= function.timeout < API_TIMEOUT
        resource = document()["Resources"][function.name]
        group = resource["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]
        log_group = document()["Resources"][group]
        assert log_group["Type"] == "AWS::Logs::LogGroup"
        assert log_group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
        assert log_group.get("Condition") == resource.get("Condition")


def test_no_function_depends_on_the_api() -> None:
    """The API depends on the functions; CloudFormation refuses a circle."""
    apis = set(resources("AWS::Serverless::HttpApi"))
    texts = [json.dumps(document()["Globals"])]
    texts += [
        json.dumps({name: value for name, value in function["Properties"].items() if name != "Events"})
        for function in resources("AWS::Serverless::Function").values()
    ]
    assert apis
    assert not [text for text in texts for api in apis if f'"{api}"' in text or f"${{{api}" in text]


def test_environment_of_a_function() -> None:
    """Names that the code reads; local mode can only be switched on by the local server."""
    environment = function_of(deployed(), "TokenFunction").environment
    assert dict(environment) == {
        "BROKER_ISSUER": "",
        "BROKER_REGISTRY_TABLE": "example-RegistryTable",
        "BROKER_GRANTS_TABLE": "example-GrantsTable",
        "BROKER_KEYS_SECRET": "example-KeysSecret",
        "BROKER_PROVIDER_SECRET_PREFIX": "example/provider/",
        "BROKER_RESCUE_QUEUE": "https://sqs.us-east-1.amazonaws.com/123456789012/example-RescueQueue",
        "BROKER_EVENT_BUS": "default",
        "BROKER_RATE_LIMITS": "",
        "BROKER_DPOP_NONCE": "required",
        **{f"BROKER_{name.upper()}": str(getattr(Settings(), name)) for name in LIMITS},
        "BROKER_URL_SUFFIX": "amazonaws.com",
        "BROKER_LOCAL": "",
        "POWERTOOLS_SERVICE_NAME": "example",
        "POWERTOOLS_LOG_LEVEL": "INFO",
    }
    sandbox = function_of(deployed(**SANDBOX, Issuer="https://login.example.com"), "SandboxFunction").environment
    assert sandbox["SANDBOX_TABLE"] == "example-SandboxTable"
    assert sandbox["SANDBOX_BASE"] == "https://login.example.com"
    assert sandbox["SANDBOX_URL_SUFFIX"] == "amazonaws.com"
    assert sandbox["SANDBOX_CLIENT_SECRET"] == "x" * 16


def test_local_environment() -> None:
    """What `make run` on a port gives its functions, for other processes that want the same tables."""
    environment = local_environment(3000)
    assert environment["BROKER_LOCAL"] == "1"
    assert environment["BROKER_ISSUER"] == "http://localhost:3000"
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:3001"
    assert environment["BROKER_REGISTRY_TABLE"] == "local-RegistryTable"


def statements() -> list[tuple[str, dict[str, Any]]]:
    """Every policy statement with the function that has it; of one under a condition the one that the condition lets in."""
    return [
        (name, statement["Fn::If"][1] if "Fn::If" in statement else statement)
        for name, function in resources("AWS::Serverless::Function").items()
        for policy in function["Properties"]["Policies"]
        for statement in policy["Statement"]
    ]


def test_least_privilege() -> None:
    """Exact actions on one resource each; a `*` ends the providers' secrets and stands nowhere else."""
    assert {name for name, _ in statements()} == set(resources("AWS::Serverless::Function"))
    for name, statement in statements():
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert statement["Effect"] == "Allow"
        service = r"(dynamodb|events|kms|secretsmanager|sqs)"
        assert all(re.fullmatch(service + ":[A-Za-z]+", action) for action in actions), name
        assert actions == sorted(actions)
        resource = statement["Resource"]
        if statement["Sid"] == "ReadProviderSecrets":
            assert resource["Fn::Sub"].endswith(":secret:${AWS::StackName}/provider/*")
            assert resource["Fn::Sub"].count("*") == 1
        elif statement["Sid"] == "PublishEvents":
            assert resource["Fn::Sub"].endswith(":event-bus/${EventBusName}")
            assert "*" not in resource["Fn::Sub"]
        else:
            assert "*" not in json.dumps(resource), name
            assert set(resource) <= {"Ref", "Fn::GetAtt"}


def test_a_key_of_the_operators_own() -> None:
    """With one, who reads tables, secrets and queue may use it; without one, nobody has a right on any key."""
    key = "arn:aws:kms:us-east-1:123456789012:key/1234"
    plain, own = deployed(**SANDBOX), deployed(**SANDBOX, KmsKeyArn=key)
    assert not [one for function in plain.functions() for one in function.permissions if one.action.startswith("kms:")]
    users = {
        one.action: {f.name for f in own.functions() for held in f.permissions if held.action == one.action}
        for function in own.functions()
        for one in function.permissions
        if one.action.startswith("kms:")
    }
    everything = set(resources("AWS::Serverless::Function")) - {"SandboxFunction"}
    senders = {name for name, statement in statements() if statement["Sid"] in {"RescueQueue", "RotateKeys"}}
    assert users == {"kms:Decrypt": everything, "kms:GenerateDataKey": senders}
    for table in ("GrantsTable", "RegistryTable"):
        assert own.properties(table)["SSESpecification"] == {
            "SSEEnabled": True,
            "SSEType": "KMS",
            "KMSMasterKeyId": key,
        }
        assert "SSESpecification" not in plain.properties(table)
    groups = [name for name in own.logical_ids("AWS::Logs::LogGroup") if name != "SandboxLogGroup"]
    assert {own.properties(name)["KmsKeyId"] for name in ("KeysSecret", *groups)} == {key}
    assert own.properties("RescueQueue")["KmsMasterKeyId"] == key
    assert "SqsManagedSseEnabled" not in own.properties("RescueQueue")


def test_the_registry_is_read_only_and_the_sandbox_apart() -> None:
    """No function but the one for self-registration can write a client, and the sandbox touches nothing of the broker's."""
    for name, statement in statements():
        text = json.dumps(statement)
        if "RegistryTable" in text and name != "RegisterFunction":
            assert statement["Action"] == "dynamodb:GetItem", name
        assert ("SandboxTable" in text) is (name == "SandboxFunction")
    layers = document()["Resources"]["SandboxFunction"]["Properties"]["Layers"]
    assert {"Ref": "BrokerLayer"} not in layers


def test_who_has_no_provider_secrets() -> None:
    """Publishing keys, keeping a pushed request and asking a person need no provider; all else may have to talk to one."""
    holders = {name for name, statement in statements() if statement["Sid"] == "ReadProviderSecrets"}
    everything = set(resources("AWS::Serverless::Function"))
    assert everything - holders == {
        "ConsentFunction",
        "IntrospectFunction",
        "MetadataFunction",
        "ParFunction",
        "RegisterFunction",
        "RotateFunction",
        "SandboxFunction",
    }


def test_one_function_writes_the_keys_and_secrets_manager_alone_calls_it() -> None:
    """Nobody else may put a key in, and a rotation that another secret or account asks for is refused."""
    writers = {name for name, statement in statements() if "PutSecretValue" in json.dumps(statement)}
    assert writers == {"RotateFunction"}
    rotate = function_of(deployed(), "RotateFunction")
    assert rotate.routes == ()
    assert {permission.resource for permission in rotate.permissions} == {
        function_of(deployed(), "TokenFunction").environment["BROKER_KEYS_SECRET"]
    }
    (permission,) = resources("AWS::Lambda::Permission").values()
    assert permission["Properties"] == {
        "Action": "lambda:InvokeFunction",
        "FunctionName": {"Fn::GetAtt": ["RotateFunction", "Arn"]},
        "Principal": "secretsmanager.amazonaws.com",
        "SourceAccount": {"Ref": "AWS::AccountId"},
        "SourceArn": {"Ref": "KeysSecret"},
    }


def test_the_rotation_begins_with_its_schedule() -> None:
    """A rotation at the deployment would find a secret without a value; and 0 days switch it off."""
    (schedule,) = resources("AWS::SecretsManager::RotationSchedule").values()
    assert schedule["Properties"]["RotateImmediatelyOnUpdate"] is False
    assert schedule["Properties"]["RotationRules"] == {"AutomaticallyAfterDays": {"Ref": "KeyRotationDays"}}
    assert schedule["DependsOn"] == "RotatePermission"
    assert schedule["Condition"] == "HasKeyRotation"
    assert deployed()._condition("HasKeyRotation")
    assert not deployed(KeyRotationDays="0")._condition("HasKeyRotation")


def test_tables() -> None:
    """On demand, deleted by time, and without an index, which each login would have to pay for."""
    registry, grants, sandbox = deployed(**SANDBOX).tables()
    assert registry.definition["KeySchema"] == [{"AttributeName": "pk", "KeyType": "HASH"}]
    assert registry.ttl_attribute is None
    assert grants.definition["KeySchema"] == [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ]
    for table in (registry, grants, sandbox):
        assert {"GlobalSecondaryIndexes", "LocalSecondaryIndexes"}.isdisjoint(table.definition)
        keys = {key["AttributeName"] for key in table.definition["KeySchema"]}
        assert {one["AttributeName"] for one in table.definition["AttributeDefinitions"]} == keys
    assert grants.ttl_attribute == sandbox.ttl_attribute == "delete_at"
    assert {table.definition["BillingMode"] for table in (registry, grants, sandbox)} == {"PAY_PER_REQUEST"}


def test_the_rescue_queue() -> None:
    """Encrypted, kept as long as SQS can, and back in sight soon when a function dies over a message."""
    (queue,) = [queue for queue in deployed().queues() if queue.name == "example-RescueQueue"]
    assert queue.attributes == {
        "MessageRetentionPeriod": str(14 * 86400),
        "VisibilityTimeout": "5",
        "SqsManagedSseEnabled": "true",
    }


def test_who_may_use_the_rescue_queue() -> None:
    """The functions that renew a provider's token, and nobody else."""
    users = {name for name, statement in statements() if "sqs:" in json.dumps(statement)}
    assert users - {"ProxyFunction"} == {"TokenFunction", "RefreshFunction", "UserinfoFunction"}


def test_who_may_publish_events() -> None:
    """The functions that can find a link dead or see it replaced, on the one bus; nobody where there is no bus."""
    publishers = {name for name, statement in statements() if statement["Sid"] == "PublishEvents"}
    assert publishers - {"ProxyFunction"} == {"TokenFunction", "RefreshFunction", "UserinfoFunction"}
    own_bus, none = deployed(EventBusName="links"), deployed(EventBusName="")
    put = Permission("events:PutEvents", "event-bus/links")
    assert allowed(function_of(own_bus, "TokenFunction").permissions, put)
    assert function_of(own_bus, "TokenFunction").environment["BROKER_EVENT_BUS"] == "links"
    assert not any(one.action == put.action for function in none.functions() for one in function.permissions)
    assert function_of(none, "TokenFunction").environment["BROKER_EVENT_BUS"] == ""


def test_the_keys_secret_has_no_value_in_the_template() -> None:
    """A value in the template would be readable by everyone who may read the stack."""
    (secret,) = resources("AWS::SecretsManager::Secret").values()
    assert not {"SecretString", "GenerateSecretString"} & set(secret["Properties"])


def test_outputs_that_the_operators_command_reads() -> None:
    """The names are its interface."""
    assert set(document()["Outputs"]) == {
        "StackName",
        "ApiUrl",
        "DomainTarget",
        "Issuer",
        "RegistryTable",
        "GrantsTable",
        "KeysSecret",
        "ProviderSecretPrefix",
        "Dashboard",
    }
    issuer = document()["Outputs"]["Issuer"]["Value"]["Fn::If"]
    assert issuer[:2] == ["HasIssuer", {"Ref": "Issuer"}]
    derived = {"Fn::Sub": "https://${BrokerApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}"}
    assert issuer[2]["Fn::If"][2] == document()["Outputs"]["ApiUrl"]["Value"]["Fn::If"][2] == derived


def test_the_functions_derive_the_issuer_that_the_output_names() -> None:
    """In every partition: host names do not end in amazonaws.com everywhere."""
    given = {"AWS_REGION": "cn-north-1", "BROKER_URL_SUFFIX": "amazonaws.com.cn"}
    assert from_environment(given).api_domain == "execute-api.cn-north-1.amazonaws.com.cn"
    environment = document()["Globals"]["Function"]["Environment"]["Variables"]
    assert environment["BROKER_URL_SUFFIX"] == {"Ref": "AWS::URLSuffix"}
    assert "execute-api.${AWS::Region}.amazonaws.com" not in (PROJECT / "template.yaml").read_text("utf-8")


def test_a_domain_gets_its_record_or_says_what_it_must_point_to() -> None:
    """Never both: who is told to make a record that is there would make a second one."""
    target, record = document()["Outputs"]["DomainTarget"], document()["Resources"]["ApiDomainRecord"]
    assert target["Value"] == record["Properties"]["AliasTarget"]["DNSName"]
    assert (target["Condition"], record["Condition"]) == ("NeedsDomainRecord", "HasDomainRecord")
    conditions, no_zone = document()["Conditions"], {"Fn::Equals": [{"Ref": "HostedZoneId"}, ""]}
    assert conditions["NeedsDomainRecord"] == {"Fn::And": [{"Condition": "HasDomain"}, no_zone]}
    assert conditions["HasDomainRecord"] == {"Fn::And": [{"Condition": "HasDomain"}, {"Fn::Not": [no_zone]}]}


def test_every_function_has_a_sample_event() -> None:
    """`sam local invoke TokenFunction -e events/token.json`: an event that the function's own routes let through."""
    functions = deployed(**SANDBOX).functions()
    assert {path.stem for path in (PROJECT / "events").glob("*.json")} == {function.folder for function in functions}
    for function in functions:
        event = json.loads((PROJECT / "events" / f"{function.folder}.json").read_text("utf-8"))
        if not function.routes:
            assert set(event) == {"Step", "SecretId", "ClientRequestToken"}  # what Secrets Manager sends
            continue
        match = match_route(function.routes, event["requestContext"]["http"]["method"], event["rawPath"])
        assert match is not None
        assert event["routeKey"] == match.route.key
        assert event.get("pathParameters", {}) == match.parameters
        assert event["version"] == "2.0"


# ---------------------------------------------------------------- the reader itself


def template(text: str, **parameters: str) -> Template:
    """A small template from its YAML."""
    return Template(yaml.safe_load(text), stack="s", overrides=parameters)


def test_a_reference_to_nothing_is_refused() -> None:
    """A typing mistake must not become an empty table name."""
    with pytest.raises(TemplateError, match="refers to Tabel"):
        template("Resources: {}").resolve({"Ref": "Tabel"})


def test_a_resource_behind_a_false_condition_cannot_be_referred_to() -> None:
    """CloudFormation would refuse the deployment too."""
    text = """
    Parameters: {Wanted: {Type: String, Default: "no"}}
    Conditions: {IsOn: {"Fn::Equals": [{Ref: Wanted}, "yes"]}}
    Resources: {Table: {Type: "AWS::DynamoDB::Table", Condition: IsOn}}
    """
    with pytest.raises(TemplateError, match="refers to Table"):
        template(text).resolve({"Ref": "Table"})
    assert template(text, Wanted="yes").resolve({"Ref": "Table"}) == "s-Table"


def test_intrinsic_functions() -> None:
    """The ones that the template uses, and a clear word about any other."""
    text = """
    Parameters: {Stage: {Type: String, Default: dev}}
    Conditions: {IsDev: {"Fn::Equals": [{Ref: Stage}, dev]}, Both: {"Fn::And": [{Condition: IsDev}, {Condition: IsDev}]}}
    """
    small = template(text)
    assert small.resolve({"Fn::Sub": "${AWS::StackName}-${Stage}-${!Literal}"}) == "s-dev-${Literal}"
    assert small.resolve({"a": {"Fn::If": ["IsDev", 1, 2]}, "b": {"Fn::If": ["Both", {"Ref": "AWS::NoValue"}, 2]}}) == {
        "a": 1
    }
    assert small.resolve({"Fn::Join": ["-", ["x", {"Ref": "Stage"}]]}) == "x-dev"
    with pytest.raises(TemplateError, match="Fn::Cidr has no local meaning"):
        small.resolve({"Fn::Cidr": []})


def test_parameters_that_do_not_exist_or_have_no_value_are_refused(tmp_path: Path) -> None:
    """Both are mistakes in the template or in the local server."""
    with pytest.raises(TemplateError, match="no parameter Typo"):
        template("Resources: {}", Typo="x")
    with pytest.raises(TemplateError, match="Secret has neither"):
        template("Parameters: {Secret: {Type: String}}")
    with pytest.raises(TemplateError, match="cannot read"):
        Template.load(tmp_path / "template.yaml", stack="s", overrides={})


# ---------------------------------------------------------------- the local server's imitation of IAM


def test_what_a_call_needs() -> None:
    """A transaction needs what its parts need, a query of an index the index."""
    parts = [{"Update": {"TableName": "t"}}, {"Put": {"TableName": "u"}}, {"ConditionCheck": {"TableName": "t"}}]
    assert list(required("dynamodb", "TransactWriteItems", {"TransactItems": parts})) == [
        Permission("dynamodb:UpdateItem", "t"),
        Permission("dynamodb:PutItem", "u"),
        Permission("dynamodb:ConditionCheckItem", "t"),
    ]
    assert list(required("dynamodb", "Query", {"TableName": "t", "IndexName": "i"})) == [
        Permission("dynamodb:Query", "t/index/i")
    ]
    assert list(required("secretsmanager", "GetSecretValue", {"SecretId": "s"})) == [
        Permission("secretsmanager:GetSecretValue", "s")
    ]
    entries = [{"EventBusName": "default"}, {"EventBusName": "other"}]
    assert list(required("events", "PutEvents", {"Entries": entries})) == [
        Permission("events:PutEvents", "event-bus/default"),
        Permission("events:PutEvents", "event-bus/other"),
    ]
    assert list(required("sqs", "SendMessage", {"QueueUrl": "https://sqs.r.amazonaws.com/1/q"})) == [
        Permission("sqs:SendMessage", "q")
    ]


@pytest.mark.parametrize(
    ("function", "action", "resource", "expected"),
    [
        ("TokenFunction", "dynamodb:UpdateItem", "example-GrantsTable", True),
        ("TokenFunction", "dynamodb:Query", "example-GrantsTable", True),
        ("TokenFunction", "dynamodb:Scan", "example-GrantsTable", False),
        ("TokenFunction", "dynamodb:PutItem", "example-RegistryTable", False),
        ("TokenFunction", "secretsmanager:GetSecretValue", "example/provider/redbooth", True),
        ("TokenFunction", "secretsmanager:GetSecretValue", "another/provider/redbooth", False),
        ("TokenFunction", "events:PutEvents", "event-bus/default", True),
        ("TokenFunction", "events:PutEvents", "event-bus/another", False),
        ("CallbackFunction", "events:PutEvents", "event-bus/default", False),
        ("TokenFunction", "sqs:ReceiveMessage", "example-RescueQueue", True),
        ("TokenFunction", "sqs:PurgeQueue", "example-RescueQueue", False),
        ("CallbackFunction", "sqs:ReceiveMessage", "example-RescueQueue", False),
        ("MetadataFunction", "secretsmanager:GetSecretValue", "example-KeysSecret", True),
        ("MetadataFunction", "secretsmanager:GetSecretValue", "example/provider/redbooth", False),
        ("SandboxFunction", "dynamodb:GetItem", "example-GrantsTable", False),
    ],
)
def test_what_a_function_may_do(function: str, action: str, resource: str, expected: bool) -> None:
    """As the template's policies say."""
    permissions = function_of(deployed(**SANDBOX), function).permissions
    assert allowed(permissions, Permission(action, resource)) is expected


def test_a_call_without_permission_is_refused() -> None:
    """Nothing is sent; outside a function, as for the operator, nothing is checked."""
    client = aws.client("dynamodb", "http://127.0.0.1:9")
    with enforced(), running(function_of(deployed(), "MetadataFunction")), pytest.raises(ClientError) as refused:
        client.scan(TableName="example-GrantsTable")
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    with enforced(), pytest.raises(EndpointConnectionError):
        client.scan(TableName="example-GrantsTable")
