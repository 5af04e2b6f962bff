"""moto's DynamoDB and Secrets Manager over HTTP, holding what template.yaml declares. The data live in memory."""

from __future__ import annotations

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
        port = sockets[0].getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        self._servers = Servers(one_at_a_time(DomainDispatcherApplication(create_backend_app)), sockets)

    def stop(self) -> None:
        """Stop serving; the data are gone."""
        self._servers.stop()


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
    secrets = client("secretsmanager", endpoint)
    for secret in template.secrets():
        try:
            secrets.create_secret(Name=secret.name, Description=secret.description)
        except secrets.exceptions.ResourceExistsException:
            continue


_MISLEADING = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
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
