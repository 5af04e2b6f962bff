"""The Lambda function behind the userinfo endpoint."""

from broker.endpoints.drop_in import profile
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(profile.respond, tokens=True, providers=True, calls=True)
