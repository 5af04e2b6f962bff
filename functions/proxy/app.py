"""The Lambda function behind the proxy."""

from broker.endpoints import proxy
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(proxy.respond, tokens=True, providers=True, calls=True)
