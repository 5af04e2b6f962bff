"""Believing a client assertion (RFC 7523 section 3): its signature, by the client's own keys, and that it comes once.

Imported only when a request brings an assertion, so that other clients do not pay for it.
"""

from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec

from broker import audit, clock
from broker.gateway import Request
from broker.protocol import client_assertion, client_authentication, jws
from broker.protocol.client_assertion import ClientAssertion
from broker.protocol.client_authentication import Presented
from broker.protocol.clients import Client
from broker.protocol.errors import INVALID_CLIENT, TEMPORARILY_UNAVAILABLE, OAuthError
from broker.runtime import Runtime
from broker.upstream.client_keys import OF_CLIENTS, KeysUnavailable


def believe(request: Request, runtime: Runtime, presented: Presented, assertion: ClientAssertion) -> Client:
    """The client that signed the assertion, which is used up by this.

    Errors: OAuthError invalid_client; temporarily_unavailable when the client's keys cannot be fetched from its jwks_uri.
    What is wrong in itself is said; who the client is, and whether it is known, is not.
    """
    accepted = frozenset({request.issuer, f"{request.issuer}/token", request.url})
    limit = runtime.settings.assertion_lifetime
    client_assertion.check(assertion, accepted=accepted, now=clock.now(), max_lifetime=limit)
    client = runtime.client(presented.client_id)
    keys = _keys(runtime, client, assertion)
    is_right = any(jws.is_signed_by(assertion.jwt, key) for key in keys)
    client = client_authentication.verify(presented, client, signature_is_right=is_right and client is not None)
    name = f"assertion {len(client.client_id)} {client.client_id} {assertion.jti}"
    if not runtime.grants.use_once(name, assertion.expires_at):
        audit.event("replay.refused", client_id=client.client_id, kind="client assertion")
        raise OAuthError(INVALID_CLIENT, "the client assertion was used before; make a new one for each request")
    return client


def _keys(runtime: Runtime, client: Client | None, assertion: ClientAssertion) -> tuple[jws.VerificationKey, ...]:
    """The client's keys that may have signed. A stand-in for a client that has none, so that it takes as long."""
    if client is None or client.disabled or "private_key_jwt" not in client.auth_methods:
        return (_nobodys_key(),)
    if client.jwks is not None:
        try:
            return jws.candidates(assertion.jwt, jws.key_set(client.jwks))
        except jws.BadKey as error:
            raise OAuthError(INVALID_CLIENT, "client authentication failed", detail=f"jwks: {error}") from None
    if client.jwks_uri is None:
        return ()
    try:
        return runtime.client_keys.for_jwt(client.jwks_uri, assertion.jwt)
    except KeysUnavailable as error:
        raise OAuthError(
            TEMPORARILY_UNAVAILABLE,
            "the keys of the client cannot be fetched now",
            detail=error.detail,
            retry_after=OF_CLIENTS.again_seconds,
        ) from None


@cache
def _nobodys_key() -> jws.VerificationKey:
    return jws.VerificationKey(None, ("ES256",), ec.generate_private_key(ec.SECP256R1()).public_key())
