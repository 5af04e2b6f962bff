"""Scopes (RFC 6749 section 3.3) and resource indicators (RFC 8707)."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from broker.protocol.clients import MAX_ENTRIES, OIDC_SCOPES
from broker.protocol.errors import INVALID_SCOPE, INVALID_TARGET, OAuthError, quoted

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def parse_scope(text: str | None) -> tuple[str, ...] | None:
    """The scope tokens in the order given, each once; None when the parameter is absent.

    Errors: OAuthError invalid_scope for characters that a scope may not have, and for more tokens than any client may have: each
    is a condition of a write, and DynamoDB takes an expression of 4 KB and no more.
    """
    if text is None:
        return None
    tokens = text.split(" ")
    if not all(_SCOPE_TOKEN.fullmatch(token) for token in tokens if token):
        raise OAuthError(INVALID_SCOPE, "the scope has characters that no scope may have")
    scope = tuple(dict.fromkeys(token for token in tokens if token))
    if len(scope) > MAX_ENTRIES:
        raise OAuthError(INVALID_SCOPE, f"the scope has more than {MAX_ENTRIES} parts")
    return scope


def parse_resources(asked: Sequence[str]) -> tuple[str, ...]:
    """The resources in the order given, each once.

    Errors: OAuthError invalid_target for more than any client may have, as for a scope.
    """
    resources = tuple(dict.fromkeys(asked))
    if len(resources) > MAX_ENTRIES:
        raise OAuthError(INVALID_TARGET, f"there are more than {MAX_ENTRIES} resources")
    return resources


def allowed_scope(asked: tuple[str, ...] | None, allowed: Sequence[str]) -> tuple[str, ...]:
    """What to grant: what was asked, or all that the client may have when it asked for nothing.

    Errors: OAuthError invalid_scope when something asked for is not allowed.
    """
    if not asked:
        return tuple(allowed)
    refused = [scope for scope in asked if scope not in allowed]
    if refused:
        raise OAuthError(INVALID_SCOPE, f"this client may not ask for the scope {quoted(' '.join(refused))}")
    return asked


def provider_scope(granted: Sequence[str]) -> tuple[str, ...]:
    """The part of a scope that is not the broker's own: it is passed on to the provider."""
    return tuple(scope for scope in granted if scope not in OIDC_SCOPES)


def check_resources(asked: Sequence[str], allowed: Sequence[str]) -> tuple[str, ...]:
    """The resources asked for, each once. Errors: OAuthError invalid_target (RFC 8707 section 2)."""
    resources = parse_resources(asked)
    for resource in resources:
        # Known first: what nobody registered is not parsed, for a parser may choke on it.
        if resource not in allowed or "#" in resource or "\\" in resource or not urlsplit(resource).scheme:
            why = "is not one that this client may ask for, or not an absolute URI without a fragment"
            raise OAuthError(INVALID_TARGET, f"the resource {quoted(resource)} {why}")
    return resources
