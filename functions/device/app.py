"""The Lambda function behind the device authorization endpoint and the device page."""

from broker.endpoints import device
from broker.endpoints.entry import lambda_handler

handler = lambda_handler(device.respond, providers=True)
