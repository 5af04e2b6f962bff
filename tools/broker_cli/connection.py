"""Finds the broker that is meant: its tables, its secrets and its issuer.

Locally the names follow from template.yaml, as for `make run`; on AWS the stack's outputs say them. Credentials are
the operator's own, and locally dummy ones that no AWS service would take.
"""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from broker.settings import Settings, from_environment
from broker.store.aws import set_clock_by
from broker.store.brands import Brands
from broker.store.grant_search import search
from broker.store.grants import Grant, Grants
from broker.store.registrations import Registrations
from broker.store.registry import Registry
from broker_cli.failures import ServiceFailure, WrongInput, aws_failures, error_code
from broker_cli.options import Target, target
from broker_cli.provider_secrets import ProviderSecrets

_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 6})
"""For the thousand calls that read a whole table: one of them is throttled sooner or later, and would fail them all."""
_OUTPUTS = ("Issuer", "RegistryTable", "GrantsTable", "KeysSecret", "ProviderSecretPrefix")


@dataclass(frozen=True)
class Connection:
    """One broker. Its members make their AWS clients when first used."""

    settings: Settings
    endpoint: str | None = None

    @cached_property
    def registry(self) -> Registry:
        """Clients and providers, read anew each time."""
        return Registry(self.aws("dynamodb"), self.settings.registry_table, cache_seconds=0)

    @cached_property
    def registrations(self) -> Registrations:
        """The policy and the tokens for clients that register themselves, read anew each time."""
        return Registrations(self.aws("dynamodb"), self.settings.registry_table, cache_seconds=0)

    @cached_property
    def brands(self) -> Brands:
        """How the pages look."""
        return Brands(self.aws("dynamodb"), self.settings.registry_table, cache_seconds=0)

    @cached_property
    def grants(self) -> Grants:
        """Logins."""
        return Grants(self.aws("dynamodb"), self.settings.grants_table)

    def search_grants(self, *, client_id: str | None = None, subject: str | None = None) -> Iterator[Grant]:
        """The logins of a client or a person, of a read of the whole table: pages that are throttled are asked for more often."""
        dynamodb = self.aws("dynamodb", patient=True)
        return search(dynamodb, self.settings.grants_table, client_id=client_id, subject=subject)

    @cached_property
    def provider_secrets(self) -> ProviderSecrets:
        """The providers' client credentials."""
        return ProviderSecrets(self.aws("secretsmanager"), self.settings.provider_secret_prefix)

    def aws(self, service: str, *, patient: bool = False) -> Any:
        """The client for one AWS service. Errors: ServiceFailure, WrongInput."""
        with aws_failures():
            return _client(service, self.settings.region, self.endpoint, patient)


def connect() -> Connection:
    """The broker that the running command's options name. Errors: WrongInput, ServiceFailure."""
    wanted = target()
    return _local(wanted.port) if wanted.local else _stack(wanted)


@cache
def _client(service: str, region: str | None, endpoint: str | None, patient: bool = False) -> Any:
    config = _CONFIG.merge(_PATIENT) if patient else _CONFIG
    if endpoint is None:
        made = botocore.session.Session().create_client(service, region_name=region, config=config)
        set_clock_by(made)  # what is dated here is read by functions, which go by AWS's clock
        return made
    # The local stand-in works whatever AWS profile or proxy this shell is set to, and must never get real credentials.
    session = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    for variable in ("config_file", "credentials_file"):
        session.set_config_variable(variable, os.devnull)
    return session.create_client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=config.merge(Config(proxies={})),
    )


def _local(port: int) -> Connection:
    for number in (port, port + 1):
        if not _is_listening(number):
            raise WrongInput(
                f"No local broker is running on port {port}; start it with `make run`, or give the port of the"
                " one that runs with --port."
            )
    return Connection(*_local_names(port))


@cache
def _local_names(port: int) -> tuple[Settings, str]:
    """The settings that template.yaml makes of a local broker, and where its AWS stand-in is."""
    # Much to load, and of no use against AWS.
    from broker_local.server import local_environment
    from broker_local.template import TemplateError

    try:
        environment = local_environment(port)
    except TemplateError as error:
        raise ServiceFailure(f"The names of the local tables cannot be read: {error}.") from None
    return from_environment(environment), environment["AWS_ENDPOINT_URL"]


def _is_listening(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _stack(wanted: Target) -> Connection:
    with aws_failures():
        cloudformation = _client("cloudformation", wanted.region, None)
        outputs = _outputs(cloudformation, wanted.stack)
    missing = [name for name in _OUTPUTS if name not in outputs]
    if missing:
        raise ServiceFailure(
            f"The stack {wanted.stack} is not a token broker: it has no output {missing[0]}."
            " Name the right one with --stack."
        )
    settings = Settings(
        issuer=outputs["Issuer"],
        region=cloudformation.meta.region_name,
        registry_table=outputs["RegistryTable"],
        grants_table=outputs["GrantsTable"],
        keys_secret=outputs["KeysSecret"],
        provider_secret_prefix=outputs["ProviderSecretPrefix"],
    )
    return Connection(settings)


def _outputs(cloudformation: Any, stack: str) -> dict[str, str]:
    try:
        answer = cloudformation.describe_stacks(StackName=stack)
    except ClientError as error:
        if error_code(error) != "ValidationError":
            raise
        raise WrongInput(
            f"There is no stack {stack} in {cloudformation.meta.region_name}; name yours with --stack and --region."
        ) from None
    return {output["OutputKey"]: output["OutputValue"] for output in answer["Stacks"][0].get("Outputs", [])}
