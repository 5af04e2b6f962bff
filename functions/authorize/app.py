"""The Lambda function behind the authorize endpoint."""

from broker.endpoints.drop_in import authorize
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(authorize.respond, providers=True, calls=True)
