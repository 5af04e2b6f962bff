"""Steps of an endpoint that an access token opens (RFC 6750).

What a refusal looks like is each dialect's own matter; here is only found out what there is to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sandbox_provider.call import Call
from sandbox_provider.people import Person, person
from sandbox_provider.store import Token
from sandbox_provider.wire import EncodingError

Fault = Literal["missing", "twice", "unknown", "expired", "revoked"]


@dataclass(frozen=True)
class Admitted:
    """A caller with a good access token."""

    token: Token
    person: Person


def admit(call: Call, *places: Literal["header", "query"]) -> Admitted | Fault:
    """The person an access token speaks for, or what is wrong with it. Looks only at the given places."""
    try:
        in_query = call.request.query.get("access_token") if "query" in places else None
    except EncodingError:
        return "unknown"
    in_header = call.request.credentials("bearer") if "header" in places else None
    if in_query is not None and in_header is not None:
        return "twice"
    value = in_query or in_header
    return "missing" if not value else _examine(call, value)


def _examine(call: Call, value: str) -> Admitted | Fault:
    token = call.store.find_token("access", value)
    if token is None or token.grant.provider != call.provider:
        return "unknown"
    if token.revoked or token.grant.revoked:
        return "revoked"
    if token.expired(call.now):
        return "expired"
    return Admitted(token, person(token.grant.username))
