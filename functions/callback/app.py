"""The Lambda function behind the callback endpoint."""

from broker.endpoints import callback
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(callback.respond, providers=True, calls=True, proofs=True)
