"""What is asked of a client that an operator writes, however he does: the rules of every client, and that it is of use here."""

from collections.abc import Collection, Iterator

from broker.protocol import token_exchange
from broker.protocol.clients import Client
from broker.protocol.registration import InvalidRegistration, validate_client
from broker.settings import LIMITS
from broker.upstream import serve

PROVIDER_LISTS = ("providers", "token_exchange", "proxy")
"""The fields of Client that name providers."""


def check(of: Client, providers: Collection[str]) -> None:
    """`providers`: the names of those that are registered. Errors: InvalidRegistration naming the field of Client."""
    validate_client(of, LIMITS)
    for field, rule in _faults(of, providers):
        raise InvalidRegistration(field, rule)


def _faults(of: Client, providers: Collection[str]) -> Iterator[tuple[str, str]]:
    if of.dialect is not None:
        yield from _dialect_faults(of, of.dialect)
    for field in PROVIDER_LISTS:
        for name in getattr(of, field):
            if name not in providers:
                known = ", ".join(sorted(providers)) or "none yet"
                yield field, f"{name} is not registered; registered are {known} (see `broker provider add`)"
    if of.token_exchange and token_exchange.GRANT_TYPE not in of.grant_types:
        yield "token_exchange", "the client also needs the grant type token-exchange (--grant-type)"
    for name in of.proxy:
        if name not in of.providers:
            yield "proxy", f"{name} is not one of the client's providers (--provider)"


def _dialect_faults(of: Client, name: str) -> Iterator[tuple[str, str]]:
    dialect = serve.dialects().get(name)
    if dialect is None:
        yield "dialect", f"{name} is not served; served are {', '.join(serve.dialects())}"
        return
    if of.token_by_get and "GET" not in dialect.token.methods:
        yield "token_by_get", f"{name} has tokens by POST alone; leave it out"
    if not of.is_public and not set(of.auth_methods) & set(dialect.token.auth):
        yield "auth_methods", f"{name} knows only {' and '.join(dialect.token.auth)}; add one of them"
