"""The Lambda function behind the authorize endpoint."""

from broker.endpoints import authorize
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(authorize.respond)
