"""The Lambda function behind the token endpoint."""

from broker.endpoints import token
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(token.respond)
