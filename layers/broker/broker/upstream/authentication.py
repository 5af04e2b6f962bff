"""How the broker shows a provider who it is: the parameters and headers of one call.

Must never put a private key, or a secret that the dialect does not ask for, into a call.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from broker import clock
from broker.upstream.authorization import Credentials
from broker.upstream.hooks import SecretRequest
from broker.upstream.signing import ASSERTION_TYPE, BadClientKey, ClientKey, client_assertion

if TYPE_CHECKING:
    from broker.upstream.provider import BasicEncoding, ClientAuth, Provider


@dataclass(frozen=True)
class Authentication:
    """What one call carries, and only this one: an assertion is never used twice."""

    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def client_authentication(
    provider: Provider, auth: ClientAuth | None, encoding: BasicEncoding, credentials: Credentials, audience: str
) -> Authentication:
    """The broker's authentication (RFC 6749 section 2.3.1; by private_key_jwt RFC 7523 section 2.2).

    audience: whom an assertion is for. Errors: BadClientKey when there is no usable key to sign with.
    """
    match auth:
        case None:
            return Authentication()
        case "none":
            return Authentication({"client_id": credentials.client_id})
        case "private_key_jwt":
            assertion = client_assertion(_key(credentials), credentials.client_id, audience, clock.now())
            return Authentication(
                {
                    # Not needed by RFC 7521 section 4.2, but some look the client up by it before they read the assertion.
                    "client_id": credentials.client_id,
                    "client_assertion_type": ASSERTION_TYPE,
                    "client_assertion": assertion,
                }
            )
        case "body":
            return Authentication({"client_id": credentials.client_id, "client_secret": _secret(provider, credentials)})
        case "basic":
            parts = (credentials.client_id, _secret(provider, credentials))
            user, password = map(quote_plus, parts) if encoding == "form" else parts
            pair = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
            return Authentication(headers={"Authorization": f"Basic {pair}"})


def _secret(provider: Provider, credentials: Credentials) -> str:
    """The client secret, or what the provider's hook makes in its place."""
    hook = provider.python_hook
    if hook is None or hook.client_secret is None:
        return credentials.client_secret
    variables = {name: provider.variables[name].value or "" for name in hook.variables}
    return hook.client_secret(SecretRequest(credentials.client_id, _key(credentials), variables, clock.now()))


def _key(credentials: Credentials) -> ClientKey:
    if credentials.key is None:
        raise BadClientKey("there is no private key in the provider's secret")
    return credentials.key
