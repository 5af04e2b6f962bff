"""Reads template.yaml as CloudFormation would, as far as the local server needs: functions, routes, tables, secrets.

It must never know a name that the template does not say: the local server is the template, run on one machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REGION = "us-east-1"
ACCOUNT_ID = "123456789012"  # the account that moto gives to unknown credentials

_SUBSTITUTION = re.compile(r"\$\{(!?)([A-Za-z0-9:.]+)\}")
_REMOVED = object()  # what AWS::NoValue resolves to


class TemplateError(Exception):
    """The template says something that the local server cannot run; the text says what and where."""


@dataclass(frozen=True, slots=True)
class Route:
    """One HttpApi event: `method` is upper case or ANY, `path` as written, for example `/callback/{provider}`."""

    method: str
    path: str

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Permission:
    """One action on one resource. Resources are physical names, in a policy perhaps ending in `*`."""

    action: str
    resource: str


@dataclass(frozen=True, slots=True)
class Function:
    """One Lambda function. `timeout` in seconds, `memory` in MB; `folder` is its name under functions/."""

    name: str
    folder: str
    module: str
    entry: str
    timeout: int
    memory: int
    environment: Mapping[str, str] = field(repr=False)
    routes: tuple[Route, ...]
    permissions: tuple[Permission, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """One DynamoDB table: `definition` holds the arguments of CreateTable."""

    name: str
    definition: Mapping[str, Any]
    ttl_attribute: str | None


@dataclass(frozen=True, slots=True)
class Secret:
    """One Secrets Manager secret, as yet without a value."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Queue:
    """One SQS queue: `attributes` as CreateQueue takes them."""

    name: str
    attributes: Mapping[str, str]


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """YAML with CloudFormation's short tags, which become their long forms. libyaml reads the template ten times as fast."""


def _tag(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    else:  # pragma: no cover - YAML knows no fourth kind
        raise TemplateError(f"!{suffix} stands on an unknown kind of node")
    if suffix in {"Ref", "Condition"}:
        return {suffix: value}
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _tag)


class Template:
    """A SAM template with its parameters filled in.

    `overrides` replaces the defaults of parameters. As in CloudFormation a resource without a name of its own
    gets one made of the stack's name and its logical id.
    """

    def __init__(self, document: Mapping[str, Any], *, stack: str, overrides: Mapping[str, str]) -> None:
        self.stack = stack
        self._document = document
        declared = document.get("Parameters", {})
        unknown = sorted(set(overrides) - set(declared))
        if unknown:
            raise TemplateError(f"the template has no parameter {', '.join(unknown)}")
        self._references: dict[str, str] = {
            "AWS::AccountId": ACCOUNT_ID,
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::StackName": stack,
            "AWS::URLSuffix": "amazonaws.com",
        }
        for name, parameter in declared.items():
            value = overrides.get(name, parameter.get("Default"))
            if value is None:
                raise TemplateError(f"parameter {name} has neither a default nor a local value")
            self._references[name] = str(value)
        self._resources: Mapping[str, Any] = {
            name: resource
            for name, resource in document.get("Resources", {}).items()
            if "Condition" not in resource or self._condition(resource["Condition"])
        }

    @classmethod
    def load(cls, path: Path, *, stack: str, overrides: Mapping[str, str]) -> Template:
        """Read `path`. Raises TemplateError when it is missing or no YAML."""
        try:
            # The loader is a SafeLoader that knows CloudFormation's tags besides.
            document = yaml.load(path.read_text("utf-8"), Loader=_Loader)  # noqa: S506
        except OSError as error:
            raise TemplateError(f"cannot read {path}: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise TemplateError(f"{path} is not valid YAML: {error}") from error
        return cls(document, stack=stack, overrides=overrides)

    def functions(self) -> tuple[Function, ...]:
        """Every function that the conditions let through, in the template's order."""
        return tuple(self._function(name, resource) for name, resource in self._of_type("AWS::Serverless::Function"))

    def tables(self) -> tuple[Table, ...]:
        """Every DynamoDB table."""
        return tuple(self._table(name, resource) for name, resource in self._of_type("AWS::DynamoDB::Table"))

    def secrets(self) -> tuple[Secret, ...]:
        """Every secret that the stack creates."""
        return tuple(
            Secret(self._physical_name(name), str(self._properties(resource).get("Description", "")))
            for name, resource in self._of_type("AWS::SecretsManager::Secret")
        )

    def queues(self) -> tuple[Queue, ...]:
        """Every SQS queue."""
        return tuple(
            Queue(self._physical_name(name), _queue_attributes(self._properties(resource)))
            for name, resource in self._of_type("AWS::SQS::Queue")
        )

    def logical_ids(self, kind: str) -> tuple[str, ...]:
        """The names of all resources of a type that the conditions let through, in the template's order."""
        return tuple(name for name, _ in self._of_type(kind))

    def properties(self, logical: str) -> dict[str, Any]:
        """The properties of a resource, worked out. Raises TemplateError when there is none of that name."""
        if logical not in self._resources:
            raise TemplateError(f"the template does not create {logical}")
        return self._properties(self._resources[logical])

    def resolve(self, value: Any) -> Any:
        """`value` with its intrinsic functions worked out. Raises TemplateError for one that has no local meaning."""
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not _REMOVED]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function == "Ref":
                return self._reference(argument)
            if function.startswith("Fn::"):
                return self._intrinsic(function, argument)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not _REMOVED}

    def _intrinsic(self, function: str, argument: Any) -> Any:
        match function:
            case "Fn::If":
                condition, when_true, when_false = argument
                return self.resolve(when_true if self._condition(condition) else when_false)
            case "Fn::Sub" if isinstance(argument, str):
                return self._substitute(argument)
            case "Fn::Join":
                separator, parts = argument
                return str(separator).join(map(str, self.resolve(parts)))
            case "Fn::Split":
                separator, text = argument
                return str(self.resolve(text)).split(separator)
            case "Fn::Select":
                index, choices = argument
                return self.resolve(choices)[int(index)]
            case "Fn::GetAtt":
                return self._attribute(*argument)
        raise TemplateError(f"{function} has no local meaning")

    def _condition(self, condition: Any) -> bool:
        if isinstance(condition, str):
            return self._condition(self._document.get("Conditions", {})[condition])
        ((function, argument),) = condition.items()
        match function:
            case "Condition":
                return self._condition(argument)
            case "Fn::Equals":
                left, right = argument
                return bool(self.resolve(left) == self.resolve(right))
            case "Fn::Not":
                return not self._condition(argument[0])
            case "Fn::And":
                return all(map(self._condition, argument))
            case "Fn::Or":
                return any(map(self._condition, argument))
        raise TemplateError(f"{function} is no condition")

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _REMOVED
        if name in self._references:
            return self._references[name]
        if name in self._resources and self._resources[name]["Type"] == "AWS::Serverless::LayerVersion":
            return f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:layer:{name}:1"
        if name in self._resources and self._resources[name]["Type"] == "AWS::SQS::Queue":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT_ID}/{self._physical_name(name)}"
        if name in self._resources:
            return self._physical_name(name)
        raise TemplateError(f"the template refers to {name}, which it does not create")

    def _substitute(self, text: str) -> str:
        def replace(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return f"${{{name}}}"
            resource, dot, attribute = name.partition(".")
            return str(self._attribute(resource, attribute) if dot else self._reference(name))

        return _SUBSTITUTION.sub(replace, text)

    def _attribute(self, logical: str, attribute: str) -> str:
        name = self._physical_name(logical)
        return name if attribute.endswith("Name") else f"arn:aws:local:{REGION}:{ACCOUNT_ID}:{name}"

    def _physical_name(self, logical: str) -> str:
        if logical not in self._resources:
            raise TemplateError(f"the template refers to {logical}, which it does not create")
        resource = self._resources[logical]
        kind = resource["Type"]
        own = {
            "AWS::DynamoDB::Table": "TableName",
            "AWS::SecretsManager::Secret": "Name",
            "AWS::SQS::Queue": "QueueName",
        }.get(kind)
        given = self._properties(resource).get(own) if own else None
        return str(given) if given else f"{self.stack}-{logical}"

    def _of_type(self, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        return ((name, resource) for name, resource in self._resources.items() if resource["Type"] == kind)

    def _properties(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        properties = self.resolve(resource.get("Properties", {}))
        if not isinstance(properties, dict):
            raise TemplateError("Properties must be a mapping")
        return properties

    def _function(self, name: str, resource: Mapping[str, Any]) -> Function:
        common = self._document.get("Globals", {}).get("Function", {})
        shared: dict[str, Any] = self.resolve({key: common[key] for key in _SHARED & common.keys()})
        own: dict[str, Any] = self.resolve({key: v for key, v in resource["Properties"].items() if key in _OWN})
        module, _, entry = str(own.get("Handler", shared.get("Handler"))).rpartition(".")
        variables = {
            **shared.get("Environment", {}).get("Variables", {}),
            **own.get("Environment", {}).get("Variables", {}),
        }
        events = (event for event in own.get("Events", {}).values() if event["Type"] == "HttpApi")
        return Function(
            name=name,
            folder=name.removesuffix("Function").lower(),  # the same rule as functions/Makefile
            module=module,
            entry=entry,
            timeout=int(own.get("Timeout", shared.get("Timeout", 3))),
            memory=int(own.get("MemorySize", shared.get("MemorySize", 128))),
            environment={key: str(value) for key, value in variables.items()},
            routes=tuple(Route(e["Properties"]["Method"].upper(), e["Properties"]["Path"]) for e in events),
            permissions=tuple(_permissions(own.get("Policies", []))),
        )

    def _table(self, name: str, resource: Mapping[str, Any]) -> Table:
        properties = self._properties(resource)
        ttl = properties.get("TimeToLiveSpecification", {})
        return Table(
            name=self._physical_name(name),
            definition={key: properties[key] for key in _CREATE_TABLE if key in properties},
            ttl_attribute=ttl.get("AttributeName") if ttl.get("Enabled") else None,
        )


def _permissions(policies: list[dict[str, Any]]) -> Iterator[Permission]:
    for statement in (statement for policy in policies for statement in policy["Statement"]):
        actions = statement["Action"]
        for action in actions if isinstance(actions, list) else [actions]:
            # Of an ARN only the last part matters here: there is one account, and names differ between services.
            yield Permission(action, statement["Resource"].rpartition(":")[2])


def _queue_attributes(properties: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in properties.items()
        if name != "QueueName" and isinstance(value, str | int)
    }


_SHARED = {"Handler", "Timeout", "MemorySize", "Environment"}
_OWN = _SHARED | {"Events", "Policies"}
_CREATE_TABLE = (
    "AttributeDefinitions",
    "KeySchema",
    "BillingMode",
    "ProvisionedThroughput",
    "GlobalSecondaryIndexes",
    "LocalSecondaryIndexes",
)
