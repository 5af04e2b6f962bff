"""The whole broker on one machine: the real handlers behind an imitation of API Gateway, over moto's tables.

It is for development and tests alone. It must never be deployed, and it must never answer in a handler's place: what
is wrong here is wrong in the cloud.
"""
