"""The Lambda function behind the sign-out page."""

from broker.endpoints import logout
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(logout.respond, tokens=True)
