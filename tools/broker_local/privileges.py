"""Holds every function to its own policy of template.yaml, as IAM would: a missing permission fails here, not in AWS.

moto cannot tell the functions apart, for they share one process. So the calls are checked where they leave boto3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from broker_local.template import Function, Permission

_running: ContextVar[Function | None] = ContextVar("running", default=None)


@contextmanager
def running(function: Function) -> Iterator[None]:
    """Every AWS call of this thread, while this lasts, is `function`'s. Only with `enforced` does that matter."""
    token = _running.set(function)
    try:
        yield
    finally:
        _running.reset(token)


@contextmanager
def enforced() -> Iterator[None]:
    """While this lasts, an AWS call that a running function's policy does not allow raises AccessDeniedException."""
    client: Any = BaseClient  # the type stubs leave out the one method through which every call goes
    unchecked = client._make_api_call

    def checked(self: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
        function = _running.get()
        if function is not None:
            service = self.meta.service_model.service_name
            for wanted in required(service, operation, arguments):
                if not allowed(function.permissions, wanted):
                    raise _denied(function, wanted, operation)
        return unchecked(self, operation, arguments)

    client._make_api_call = checked
    try:
        yield
    finally:
        client._make_api_call = unchecked


def required(service: str, operation: str, arguments: Mapping[str, Any]) -> Iterator[Permission]:
    """What a call needs. A transaction needs what its parts need; an index is a resource of its own."""
    if operation in {"TransactWriteItems", "TransactGetItems"}:
        names = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "Get": "GetItem"}
        for part in arguments["TransactItems"]:
            for kind, details in part.items():
                yield Permission(f"{service}:{names.get(kind, 'ConditionCheckItem')}", details["TableName"])
        return
    if operation == "PutEvents":
        for entry in arguments["Entries"]:
            yield Permission(f"{service}:{operation}", f"event-bus/{entry['EventBusName']}")
        return
    queue = str(arguments.get("QueueUrl", "")).rpartition("/")[
        2
    ]  # a queue is called by its URL, and allowed by its name
    resource = str(arguments.get("TableName") or arguments.get("SecretId") or queue)
    if "IndexName" in arguments:
        resource = f"{resource}/index/{arguments['IndexName']}"
    yield Permission(f"{service}:{operation}", resource)


def allowed(permissions: tuple[Permission, ...], wanted: Permission) -> bool:
    """Whether one of `permissions` covers `wanted`."""
    return any(
        permission.action == wanted.action and fnmatchcase(wanted.resource, permission.resource)
        for permission in permissions
    )


def _denied(function: Function, wanted: Permission, operation: str) -> ClientError:
    text = f"{function.name} is not authorized to perform {wanted.action} on {wanted.resource}"
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": text}}, operation)
