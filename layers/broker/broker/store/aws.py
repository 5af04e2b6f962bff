"""The AWS clients: made once per instance, with timeouts short enough to leave a request time to answer.

Every failure of the service itself becomes StoreUnavailable; a failed condition is an answer, not a failure.

botocore is imported where a client is made, so that a module which only knows the errors does not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from broker import clock
from broker.store.attributes import Item, item

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from botocore.session import Session

Answer = TypeVar("Answer")


class StoreUnavailable(Exception):
    """DynamoDB or Secrets Manager could not do what was asked (throttled, unreachable, misconfigured).

    Nothing can be concluded about the request's effect. `detail` is for the log only.
    """

    event: ClassVar[str | None] = "store.unavailable"
    """The audit event of it (broker.audit.unavailable); None where another event says the same already."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ConditionFailed(Exception):
    """A conditional write was refused. `item` is the item as it stood then, or None if there was none."""

    def __init__(self, item: dict[str, Any] | None) -> None:
        super().__init__("condition failed")
        self.item = item


_making_a_client = Lock()


@cache
def _session() -> Session:
    from botocore.session import get_session

    return get_session()


@cache
def client(service: str, *, timeout: float | None = None, attempts: int = 3) -> Any:
    """The client for one AWS service ("dynamodb", "secretsmanager").

    `timeout`: seconds for connecting and for the answer, each, where the usual ones are too long; `attempts`: of one call.
    """
    from botocore.config import Config

    config = Config(
        connect_timeout=timeout or 2,
        read_timeout=timeout or 4,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=64,
    )
    with _making_a_client:  # botocore's session is not for several threads at once
        made = _session().create_client(service, config=config)
    if service == "dynamodb":
        set_clock_by(made)
    return made


def set_clock_by(made: Any) -> None:
    """Let the answers of this AWS client say what time it is."""
    made.meta.events.register("before-call", _asking)
    made.meta.events.register("after-call", _answered)


def _asking(context: dict[str, Any], **_details: object) -> None:
    context["asked_at"] = clock.machine()


def _answered(parsed: dict[str, Any], context: dict[str, Any], **_details: object) -> None:
    """Every answer says what time it is, an error too."""
    date = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    clock.hear(date, context.get("asked_at", 0.0))


def call(operation: Callable[..., Answer], **arguments: Any) -> Answer:
    """Call one operation of an AWS client.

    Errors: ConditionFailed with the item as it stood; StoreUnavailable for everything else that goes wrong.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return operation(**arguments)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        if code == "ConditionalCheckFailedException":
            response: Any = error.response
            raise ConditionFailed(response.get("Item")) from None
        if code == "TransactionCanceledException" and _only_conditions_failed(error):
            raise ConditionFailed(_refusing_item(error)) from None
        raise StoreUnavailable(f"{getattr(operation, '__name__', 'operation')}: {code}") from None
    except BotoCoreError as error:
        raise StoreUnavailable(f"{getattr(operation, '__name__', 'operation')}: {type(error).__name__}") from None


def update_item(
    dynamodb: Any,
    table: str,
    key: Item,
    condition: str,
    update: str,
    values: Mapping[str, object],
    *,
    names: Mapping[str, str] | None = None,
    returns: str = "NONE",
) -> Item:
    """One conditional UpdateItem. Returns what `returns` (ReturnValues) asks for, as the table has it.

    Errors: ConditionFailed with the item as it stood, StoreUnavailable.
    """
    optional = {"ExpressionAttributeNames": dict(names)} if names else {}
    answer: dict[str, Any] = call(
        dynamodb.update_item,
        TableName=table,
        Key=key,
        ConditionExpression=condition,
        UpdateExpression=update,
        ExpressionAttributeValues=item(values),
        ReturnValues=returns,
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
        **optional,
    )
    attributes: Item = answer.get("Attributes", {})
    return attributes


def _only_conditions_failed(error: ClientError) -> bool:
    reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
    return "ConditionalCheckFailed" in reasons and set(reasons) <= {"ConditionalCheckFailed", "None", None}


def _refusing_item(error: ClientError) -> dict[str, Any] | None:
    """The first item whose condition failed, if its part of the transaction asked for it."""
    reasons: Any = error.response.get("CancellationReasons", [])
    return next((reason["Item"] for reason in reasons if reason.get("Item")), None)
