"""Secrets Manager's part in a rotation: it labels a new version without a value, and calls the function step by step."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from moto.secretsmanager.models import secretsmanager_backends

from broker.crypto import rotation
from broker.crypto.keys import ALGORITHMS, Algorithm, SigningKey, new_signing_key
from broker.runtime import runtime
from broker.store.aws import client
from broker_local import aws
from broker_local.server import LocalBroker
from broker_local.template import ACCOUNT_ID, REGION

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


tried_out = cache(rotation._try_signature)
"""The trial of a signing key, once for each."""


@cache
def spare_signing_keys() -> dict[Algorithm, list[SigningKey]]:
    """As many as the rotations of one test need."""
    return {alg: [new_signing_key(alg, 0) for _ in range(6)] for alg in ALGORITHMS}


def secret_id(broker: LocalBroker) -> str:
    """The id of the key document's secret."""
    return broker.environment["BROKER_KEYS_SECRET"]


def begin(broker: LocalBroker) -> str:
    """What Secrets Manager does before the first step. Returns the new version's id."""
    secret = _secret(broker)
    secret.rotation_enabled = secret.rotation_requested = True
    token = str(uuid4())
    secret.versions[token] = {"createdate": 0, "version_id": token, "version_stages": ["AWSPENDING"]}
    return token


def call(broker: LocalBroker, step: str, token: str) -> object:
    """One step. Raises what the function raises."""
    return broker.invoke("RotateFunction", {"Step": step, "SecretId": secret_id(broker), "ClientRequestToken": token})


def rotate(broker: LocalBroker) -> str:
    """A whole rotation. Returns the version's id.

    Functions have not noticed yet: what they remember of the old document is good for some minutes more.
    """
    token = begin(broker)
    for step in STEPS:
        call(broker, step, token)
    return token


def document(broker: LocalBroker, label: str = "AWSCURRENT") -> str:
    """The key document's text."""
    answer = operators_client(broker.aws_endpoint).get_secret_value(SecretId=secret_id(broker), VersionStage=label)
    return str(answer["SecretString"])


@cache
def operators_client(endpoint: str) -> Any:
    """A client for Secrets Manager that is no function's; made once, as that takes long."""
    return aws.client("secretsmanager", endpoint)


@contextmanager
def kept_apart(broker: LocalBroker) -> Iterator[None]:
    """What happens to the keys meanwhile is undone: other tests' time is before it."""
    with _put_back(broker):
        runtime().forget()
        yield
    runtime().forget()


def overwrite(broker: LocalBroker, version: str, text: str) -> None:
    """Another value for a version, which Secrets Manager would not let anybody do."""
    _secret(broker).versions[version]["secret_string"] = text


def current(broker: LocalBroker) -> str:
    """The id of the present version."""
    versions = _secret(broker).versions.items()
    return next(str(version) for version, held in versions if "AWSCURRENT" in held["version_stages"])


def is_pending(broker: LocalBroker) -> bool:
    """Whether a version waits beside the present one, which would keep the next rotation from beginning."""
    labels = [version["version_stages"] for version in _secret(broker).versions.values()]
    return any("AWSPENDING" in found and "AWSCURRENT" not in found for found in labels)


@contextmanager
def switched_off(broker: LocalBroker) -> Iterator[None]:
    """Without a schedule."""
    secret = _secret(broker)
    secret.rotation_enabled = False
    yield
    secret.rotation_enabled = secret.rotation_requested = True


@contextmanager
def down() -> Iterator[None]:
    """Secrets Manager answers nothing but errors."""

    def refuse(**_: object) -> tuple[SimpleNamespace, dict[str, Any]]:
        answer = {"Error": {"Code": "InternalServiceError"}, "ResponseMetadata": {"HTTPStatusCode": 500}}
        return SimpleNamespace(status_code=500), answer

    events = client("secretsmanager").meta.events
    events.register_first("before-call.secrets-manager", refuse)
    try:
        yield
    finally:
        events.unregister("before-call.secrets-manager", refuse)


@contextmanager
def answer_lost(operation: str) -> Iterator[list[str]]:
    """The function's first call of an operation is done and its answer does not arrive, so that the AWS client repeats it.
    What was lost is in the list."""
    lost: list[str] = []

    def again(**_: object) -> int | None:
        if lost:
            return None
        lost.append(operation)
        return 0  # seconds until the next attempt

    events, event = client("secretsmanager").meta.events, f"needs-retry.secrets-manager.{operation}"
    events.register_first(event, again)
    try:
        yield lost
    finally:
        events.unregister(event, again)


@contextmanager
def without_keys(broker: LocalBroker) -> Iterator[None]:
    """The secret as the deployment leaves it: no version has a value."""
    with _put_back(broker):
        secret = _secret(broker)
        secret.versions, secret.default_version_id = {}, None
        runtime().forget()
        yield
    runtime().forget()


@contextmanager
def _put_back(broker: LocalBroker) -> Iterator[None]:
    secret = _secret(broker)
    before = copy.deepcopy(vars(secret))
    yield
    vars(secret).update(before)


def _secret(broker: LocalBroker) -> Any:
    return secretsmanager_backends[ACCOUNT_ID][REGION].secrets[secret_id(broker)]
