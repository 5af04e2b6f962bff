"""The Lambda function behind the revoke endpoint."""

from broker.endpoints import revoke
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(revoke.respond, tokens=True, providers=True, calls=True)
