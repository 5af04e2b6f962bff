"""The Lambda function behind the refresh endpoint."""

from broker.endpoints import refresh
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(refresh.respond, tokens=True, providers=True)
