"""The Lambda function behind the introspection endpoint."""

from broker.endpoints import introspect
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(introspect.respond, tokens=True)
