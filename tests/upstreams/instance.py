"""One more instance of the broker in a process of its own: the same tables, the same issuer, its own memory and its own clock.

What Lambda does under load. The tests start it, and move its clock.
"""

from __future__ import annotations

from broker import clock
from broker_local.server import LocalBroker
from upstreams.python.control import ready, settings


def main() -> None:
    """Serve until the parent ends."""
    given = settings()
    environment = {"BROKER_ISSUER": given["issuer"], "BROKER_RATE_LIMITS": "off"}
    broker = LocalBroker(aws_endpoint=given["aws_endpoint"], create=False, seed=False, environment=environment)

    def move(seconds: float) -> None:
        clock.offset = seconds

    def put_wrong(seconds: float) -> None:
        clock.skew = seconds

    with broker:
        ready(broker.url, {"POST /clock": move, "POST /skew": put_wrong, "GET /log": lambda _: broker.log_text()})


if __name__ == "__main__":
    main()
