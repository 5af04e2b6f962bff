"""The Lambda function behind the token endpoint."""

from broker.endpoints.drop_in import token
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(token.respond, tokens=True, providers=True)
