"""Reads what the posture rules judge: the registry, the keys, the broker's own answers, and the stack. Changes nothing.

Each part is read for itself: what is refused or cannot be reached is noted as unseen, and the rest goes on.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from broker import clock
from broker.crypto.keys import KeyRing
from broker.store.registry import ProviderEntry
from broker.upstream.http import BoundedHttp, Deadline, TransportError, UpstreamRequest, UpstreamResponse
from broker.upstream.reader import ProviderFileError
from broker_cli.connection import Connection
from broker_cli.doctor.gather_stack import StackReader
from broker_cli.doctor.snapshot import Endpoint, ProviderFacts, Snapshot
from broker_cli.failures import ServiceFailure, WrongInput, aws_failures
from broker_cli.keys import ring_of
from broker_cli.provider_secrets import lacks
from broker_cli.providers import file_problem, parsed

Part = TypeVar("Part")
SECONDS = 10


def snapshot_of(broker: Connection, stack: str | None) -> Snapshot:
    """What is known of a broker now. stack: its CloudFormation name, None for a local one.

    Errors: ServiceFailure when not even the registry can be read.
    """
    unseen: dict[str, str] = {}

    def part(name: str, read: Callable[[], Part]) -> Part | None:
        try:
            with aws_failures():
                return read()
        except ServiceFailure as failure:
            unseen[name] = failure.message.rstrip(".")
            return None

    deployed = None
    if stack is not None:
        deployed = StackReader(broker, stack).read(part)
        # What the functions were really given says more than what this command assumes.
        settings = deployed[1] or broker.settings
    else:
        settings = broker.settings
    with aws_failures():
        clients = tuple(broker.registry.clients())
        entries = tuple(broker.registry.providers())
        policy = broker.registrations.policy()
    return Snapshot(
        now=clock.now(),
        local=stack is None,
        settings=replace(settings, issuer=settings.issuer or broker.settings.issuer),
        clients=clients,
        providers=tuple(_provider(broker, entry) for entry in entries),
        policy=policy,
        keys=part("keys", lambda: _keys(broker)),
        endpoint=part("endpoint", lambda: _endpoint(broker, local=stack is None)),
        stack=deployed[0] if deployed else None,
        unseen=unseen,
    )


def _provider(broker: Connection, entry: ProviderEntry) -> ProviderFacts:
    try:
        dialect = parsed(broker, entry)
    except (ProviderFileError, KeyError):
        dialect = None
    credentials = missing = ""
    slots: tuple[str, ...] = ()
    try:
        secret = broker.provider_secrets.read(entry.name)
    except ServiceFailure:
        credentials = "unreadable"
    else:
        if secret is not None:
            credentials = "key" if secret.private_key else "secret"
            slots = tuple(slot.name for slot in secret.slots)
            missing = lacks(dialect, secret) if dialect is not None else ""
    problem = file_problem(broker, entry) or ""
    return ProviderFacts(entry.name, entry.disabled, dialect, problem, credentials, slots, missing)


def _keys(broker: Connection) -> KeyRing:
    try:
        return ring_of(broker)
    except WrongInput as none:
        raise ServiceFailure(none.message) from None


def _endpoint(broker: Connection, *, local: bool) -> Endpoint:
    http = BoundedHttp(allow_loopback=local)
    issuer = broker.settings.issuer
    try:
        answer = _get(http, f"{issuer}/.well-known/openid-configuration")
        jwks = _get(http, f"{issuer}/.well-known/jwks.json")
    except TransportError as problem:
        raise ServiceFailure(f"{issuer} cannot be reached ({problem}).") from None
    return Endpoint(answer.status, _object(answer), _object(jwks), _skew(answer))


def _get(http: BoundedHttp, url: str) -> UpstreamResponse:
    return http.send(UpstreamRequest("GET", url, (), None), Deadline.after(SECONDS))


def _object(answer: UpstreamResponse) -> dict[str, Any] | None:
    try:
        found = json.loads(answer.body)
    except ValueError:
        return None
    return found if isinstance(found, dict) and answer.status == 200 else None


def _skew(answer: UpstreamResponse) -> float | None:
    date = next((value for name, value in answer.headers if name.lower() == "date"), None)
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() - clock.machine()
    except ValueError:
        return None
