"""The Lambda function that Secrets Manager calls to rotate the broker's keys."""

from broker.key_rotation import handler

__all__ = ["handler"]
