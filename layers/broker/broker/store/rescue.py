"""The rescue queue: refreshed provider tokens that the table did not take, kept until it does.

They are sealed under the grant secret before they come here, as in the table, so that nobody who reads the queue can open
them. Must never hold anything else.
"""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from broker.store.aws import StoreUnavailable, call
from broker.store.links import Link

BATCHES = 10
"""Of ten messages each: the most that one reader goes through."""
WAIT_SECONDS = 1
"""Long polling asks all of SQS's servers; an empty answer without it means little."""
_RECEIVED = "ApproximateNumberOfMessagesNotVisible"


@dataclass(frozen=True)
class Message:
    """A link as it is to be written, None if the message cannot be read; `receipt` deletes it."""

    link: Link | None
    receipt: str = field(repr=False)


class RescueQueue:
    """Sends and receives. Errors of every method: StoreUnavailable."""

    def __init__(self, sqs: Callable[[], Any], url: str) -> None:
        self._sqs = sqs
        self._url = url

    @property
    def exists(self) -> bool:
        """Whether this deployment has a queue."""
        return self._url != ""

    def send(self, link: Link) -> None:
        """Keep a link that is to be written."""
        document = {
            "grant_id": link.grant_id,
            "provider": link.provider,
            "version": link.version,
            "due_at": link.due_at,
            "sealed": base64.b64encode(link.sealed).decode("ascii"),
        }
        call(self._sqs().send_message, QueueUrl=self._url, MessageBody=json.dumps(document))

    def receive(self) -> Iterator[tuple[Message, ...]]:
        """What is there, batch by batch, until there is nothing. What is not deleted comes back after a while.

        Errors: StoreUnavailable after so many batches too, as nobody can say then what else there is.
        """
        for _ in range(BATCHES):
            answer = call(
                self._sqs().receive_message,
                QueueUrl=self._url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=WAIT_SECONDS,
            )
            messages = answer.get("Messages", [])
            if not messages:
                return
            yield tuple(Message(_link(message["Body"]), message["ReceiptHandle"]) for message in messages)
        raise StoreUnavailable("the rescue queue has more than one reader can go through")

    def is_being_read(self) -> bool:
        """Whether somebody has received messages and is not done with them. They may be for anybody, and nobody else sees them
        for a while."""
        answer = call(self._sqs().get_queue_attributes, QueueUrl=self._url, AttributeNames=[_RECEIVED])
        return int(answer["Attributes"][_RECEIVED]) > 0

    def delete(self, message: Message) -> None:
        """A message that is done with."""
        call(self._sqs().delete_message, QueueUrl=self._url, ReceiptHandle=message.receipt)


def _link(text: str) -> Link | None:
    try:
        found = json.loads(text)
        return Link(
            grant_id=str(found["grant_id"]),
            provider=str(found["provider"]),
            sealed=base64.b64decode(found["sealed"], validate=True),
            version=int(found["version"]),
            due_at=int(found["due_at"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
