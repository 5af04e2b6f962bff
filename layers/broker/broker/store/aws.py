"""The AWS clients: made once per instance, with timeouts short enough to leave a request time to answer.

Every failure of the service itself becomes StoreUnavailable; a failed condition is an answer, not a failure.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

Answer = TypeVar("Answer")


class StoreUnavailable(Exception):
    """DynamoDB or Secrets Manager could not do what was asked (throttled, unreachable, misconfigured).

    Nothing can be concluded about the request's effect. `detail` is for the log only.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ConditionFailed(Exception):
    """A conditional write was refused. `item` is the item as it stood then, or None if there was none."""

    def __init__(self, item: dict[str, Any] | None) -> None:
        super().__init__("condition failed")
        self.item = item


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


@cache
def client(service: str) -> Any:
    """The client for one AWS service ("dynamodb", "secretsmanager")."""
    config = Config(
        connect_timeout=2,
        read_timeout=4,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=64,
    )
    return _session().create_client(service, config=config)


def call(operation: Callable[..., Answer], **arguments: Any) -> Answer:
    """Call one operation of an AWS client.

    Errors: ConditionFailed with the item as it stood; StoreUnavailable for everything else that goes wrong.
    """
    try:
        return operation(**arguments)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        if code == "ConditionalCheckFailedException":
            response: Any = error.response
            raise ConditionFailed(response.get("Item")) from None
        if code == "TransactionCanceledException" and _only_conditions_failed(error):
            raise ConditionFailed(None) from None
        raise StoreUnavailable(f"{getattr(operation, '__name__', 'operation')}: {code}") from None
    except BotoCoreError as error:
        raise StoreUnavailable(f"{getattr(operation, '__name__', 'operation')}: {type(error).__name__}") from None


def _only_conditions_failed(error: ClientError) -> bool:
    reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
    return "ConditionalCheckFailed" in reasons and set(reasons) <= {"ConditionalCheckFailed", "None", None}
