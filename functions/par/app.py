"""The Lambda function behind the par endpoint."""

from broker.endpoints import par
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(par.respond, proofs=True)
