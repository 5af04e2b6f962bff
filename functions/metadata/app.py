"""The Lambda function behind the metadata documents."""

from broker.endpoints import metadata
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(metadata.respond)
