"""The Lambda function behind the userinfo endpoint."""

from broker.endpoints import userinfo
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(userinfo.respond)
