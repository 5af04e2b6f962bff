"""moto's DynamoDB and Secrets Manager over HTTP, holding what template.yaml declares. The data live in memory."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from socket import socket
from typing import Any

import boto3
from botocore.config import Config

from broker_local.listening import Servers, one_at_a_time
from broker_local.template import REGION, Template


def credentials(endpoint: str) -> dict[str, str]:
    """The environment that sends every AWS client of this process to `endpoint`, and nowhere else.

    The real configuration files are masked, so that a developer's own credentials can never be used by mistake.
    """
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_SESSION_TOKEN": "",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "localhost,127.0.0.1,::1",
        "no_proxy": "localhost,127.0.0.1,::1",
    }


def client(service: str, endpoint: str) -> Any:
    """A boto3 client for the local `endpoint`. Unaffected by the caller's environment."""
    session = boto3.Session(
        aws_access_key_id="local",
        aws_secret_access_key="local",
        region_name=REGION,
    )
    config = Config(proxies={}, max_pool_connections=50, retries={"mode": "standard", "total_max_attempts": 2})
    return session.client(service, endpoint_url=endpoint, config=config)  # type: ignore[call-overload]


class LocalAws:
    """moto on the given sockets, empty at the start. One per process: moto keeps its state in module globals."""

    def __init__(self, sockets: list[socket]) -> None:
        from moto.moto_api._internal.models import moto_api_backend
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        moto_api_backend.reset()
        _copy_only_what_a_transaction_touches()
        port = sockets[0].getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        self._servers = Servers(one_at_a_time(DomainDispatcherApplication(create_backend_app)), sockets)

    def stop(self) -> None:
        """Stop serving; the data are gone."""
        self._servers.stop()


def _copy_only_what_a_transaction_touches() -> None:
    """moto copies whole tables, item by item, before each transaction, to undo it if a part fails: seconds, once a table
    has thousands of items. The copy is made of the table's structure here, and of the items that the transaction names."""
    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.models.table import Table

    original = DynamoDBBackend.transact_write_items
    if getattr(original, "copies_little", False):
        return

    def structure_of(table: Any, _memo: dict[int, Any]) -> Any:
        twin = copy.copy(table)
        twin.items = type(table.items)(table.items.default_factory)
        for key, value in table.items.items():
            twin.items[key] = dict(value) if isinstance(value, dict) else value
        return twin

    def transact_write_items(self: Any, transact_items: list[dict[str, Any]]) -> None:
        for operation in transact_items:
            _, named = next(iter(operation.items()))
            table = self.tables.get(named["TableName"])
            if table is None:
                continue
            found = table.get_item(*self.get_keys_value(table, named.get("Key") or named["Item"]))
            if found is not None:
                # The live table goes on with a copy, so that the snapshot's item is never written to.
                _put_back(table, copy.deepcopy(found))
        original(self, transact_items)

    for owner, name, value in (
        (transact_write_items, "copies_little", True),
        (Table, "__deepcopy__", structure_of),
        (DynamoDBBackend, "transact_write_items", transact_write_items),
    ):
        setattr(owner, name, value)


def _put_back(table: Any, item: Any) -> None:
    if table.has_range_key:
        table.items[item.hash_key][item.range_key] = item
    else:
        table.items[item.hash_key] = item


def create_resources(template: Template, endpoint: str) -> None:
    """Create the template's tables and secrets, as CloudFormation would. A table that exists is emptied by re-creation,
    a secret that exists is left with its value."""
    dynamodb = client("dynamodb", endpoint)
    existing = set(dynamodb.list_tables()["TableNames"])
    for table in template.tables():
        if table.name in existing:
            dynamodb.delete_table(TableName=table.name)
            dynamodb.get_waiter("table_not_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1})
        dynamodb.create_table(TableName=table.name, **table.definition)
        dynamodb.get_waiter("table_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1})
        if table.ttl_attribute:
            dynamodb.update_time_to_live(
                TableName=table.name,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": table.ttl_attribute},
            )
    _create_queues(template, endpoint)
    secrets = client("secretsmanager", endpoint)
    for secret in template.secrets():
        try:
            secrets.create_secret(Name=secret.name, Description=secret.description)
        except secrets.exceptions.ResourceExistsException:
            continue


def _create_queues(template: Template, endpoint: str) -> None:
    """The template's queues, empty."""
    sqs = client("sqs", endpoint)
    for queue in template.queues():
        existing = sqs.list_queues(QueueNamePrefix=queue.name).get("QueueUrls", [])
        if any(url.rpartition("/")[2] == queue.name for url in existing):
            sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=queue.name)["QueueUrl"])
        sqs.create_queue(QueueName=queue.name, Attributes=dict(queue.attributes))


_MISLEADING = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_ENDPOINT_URL_EVENTBRIDGE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
)
"""A developer's own settings that would lead a client away from the local endpoint, or stop it."""


def with_environment(values: Mapping[str, str]) -> dict[str, str | None]:
    """Put `values` into os.environ and take out what would mislead an AWS client; returns what was there before, for
    `restore_environment`."""
    before = {name: os.environ.get(name) for name in (*values, *_MISLEADING)}
    for name in _MISLEADING:
        os.environ.pop(name, None)
    os.environ.update(values)
    return before


def restore_environment(before: Mapping[str, str | None]) -> None:
    """Undo `with_environment`."""
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
