"""The Lambda function behind the consent endpoint."""

from broker.endpoints import consent
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(consent.respond, providers=True)
