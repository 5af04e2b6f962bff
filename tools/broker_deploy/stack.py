"""What AWS says of the account and the stack. Reads, but for the table of logins, which it deletes when it is told to."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
)

_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})

SIGN_IN = (
    "No AWS credentials were found. Sign in first, for example with `aws sso login`, or set AWS_PROFILE, or "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
)


class AwsProblem(Exception):
    """AWS cannot be asked, or says no. The text is a sentence for the operator."""


class _Refused(AwsProblem):
    """AWS said no, with this code and these words."""

    def __init__(self, problem: str, code: str, message: str) -> None:
        super().__init__(f"{problem}: {f'{code}, {message}'.rstrip('. ')}.")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Account:
    """Whose account the credentials are for, and the Region that they are set up with ("" for none)."""

    number: str
    region: str


@dataclass(frozen=True)
class Stack:
    """A stack that was deployed, or that failed to be. outputs: by name, none of a first deployment that failed; changed_at: when
    it was last deployed to.
    """

    outputs: Mapping[str, str]
    changed_at: datetime


class Aws:
    """The AWS account of the operator's own credentials."""

    def __init__(self, region: str | None = None) -> None:
        self._session = botocore.session.get_session()
        self._region = region or self._session.get_config_variable("region") or ""

    def account(self) -> Account:
        """Who asks. Errors: AwsProblem without usable credentials."""
        try:
            with self._asking("AWS cannot be asked who you are"):
                # A Region is needed to ask at all; which one does not matter.
                identity = self._client("sts", self._region or "us-east-1").get_caller_identity()
        except _Refused as refused:
            raise AwsProblem(f"AWS does not take your credentials ({refused.code}). Sign in again.") from None
        return Account(str(identity["Account"]), self._region)

    def stack(self, name: str) -> Stack | None:
        """The stack, None if there is no such stack. Errors: AwsProblem."""
        try:
            with self._asking("The stack cannot be read"):
                (found,) = self._client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except _Refused as refused:
            if "does not exist" in refused.message:
                return None
            raise
        if (
            found["StackStatus"] == "REVIEW_IN_PROGRESS"
        ):  # a change set for it was made and never executed: it holds nothing
            return None
        outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
        return Stack(outputs, found.get("LastUpdatedTime", found["CreationTime"]))

    def tables_named_after(self, stack: str) -> list[str]:
        """The tables of clients and logins that any stack of this name, gone or not, has made. Errors: AwsProblem."""
        # CloudFormation's names. The beginning alone would be that of another stack's too: STACK-test, say.
        made = re.compile(rf"{re.escape(stack)}-(RegistryTable|GrantsTable)-[A-Z0-9]+")
        with self._asking("The tables cannot be listed"):
            pages = list(self._client("dynamodb").get_paginator("list_tables").paginate())
        return [table for page in pages for table in page["TableNames"] if made.fullmatch(table)]

    def has_keys(self, secret: str) -> bool:
        """Whether the keys' secret has a value. Errors: AwsProblem.

        Setting up its rotation can leave a version without one, AWSPENDING (RotateSecret, RotateImmediatelyOnUpdate).
        """
        with self._asking("The keys' secret cannot be looked up"):
            description = self._client("secretsmanager").describe_secret(SecretId=secret)
        return any("AWSCURRENT" in stages for stages in description.get("VersionIdsToStages", {}).values())

    def delete_table(self, table: str) -> None:
        """Delete a table, protected or not. Errors: AwsProblem."""
        dynamodb = self._client("dynamodb")
        with self._asking(f"The table {table} cannot be deleted"):
            if dynamodb.describe_table(TableName=table)["Table"].get("DeletionProtectionEnabled"):
                dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
                dynamodb.get_waiter("table_exists").wait(TableName=table)
            dynamodb.delete_table(TableName=table)

    @contextmanager
    def _asking(self, problem: str) -> Iterator[None]:
        """Errors: AwsProblem that begins with `problem`, for whatever botocore raises; _Refused where AWS said no."""
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError):
            raise AwsProblem(SIGN_IN) from None
        except ClientError as error:
            details = error.response.get("Error", {})
            raise _Refused(problem, details.get("Code", "unknown"), details.get("Message", "")) from None
        except EndpointConnectionError:
            raise AwsProblem(
                f"{problem}: nothing answers in the Region {self._region!r}. Is it written rightly, and is this machine online?"
            ) from None
        except BotoCoreError as error:
            raise AwsProblem(f"{problem}: {type(error).__name__}.") from None

    def _client(self, service: str, region: str | None = None) -> Any:
        return self._session.create_client(service, region_name=region or self._region, config=_CONFIG)
