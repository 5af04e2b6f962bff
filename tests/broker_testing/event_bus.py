"""What arrives from the broker's event bus, by a rule as docs/links.md gives it to the operator."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from broker_local.server import PROJECT, LocalBroker

DOCUMENT = PROJECT / "docs" / "links.md"


def documented(name: str) -> Any:
    """The JSON block of docs/links.md below the line that names it in bold."""
    found = re.search(rf"\*\*{re.escape(name)}\*\*[^\n]*\n+```json\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert found is not None, name
    return json.loads(found[1])


@dataclass(frozen=True)
class Subscriber:
    """A queue behind a rule of the bus."""

    sqs: Any
    queue: str

    def received(self) -> list[dict[str, Any]]:
        """Every event that has come since it was last asked, those of one kind together."""
        events: list[dict[str, Any]] = []
        while messages := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                events.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return sorted(events, key=lambda event: str(event["detail-type"]))  # a queue keeps no order


@contextmanager
def subscriber(broker: LocalBroker) -> Iterator[Subscriber]:
    """A queue that gets what the documented rule lets through, for as long as the block lasts."""
    events, sqs = broker.aws_client("events"), broker.aws_client("sqs")
    name = f"links-{secrets.token_hex(4)}"
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=name, EventPattern=json.dumps(documented("Rule")))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    try:
        yield Subscriber(sqs, queue)
    finally:
        events.remove_targets(Rule=name, Ids=["queue"])
        events.delete_rule(Name=name)
        sqs.delete_queue(QueueUrl=queue)
