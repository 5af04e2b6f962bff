"""The Lambda function behind the register endpoint."""

from broker.endpoints import register
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(register.respond)
