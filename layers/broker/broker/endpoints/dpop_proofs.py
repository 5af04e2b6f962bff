"""Believing a DPoP proof (RFC 9449): checked against the request, with the server's nonce, and used once.

Imported only when a request has a DPoP header, so that clients without DPoP do not pay for it.
"""

from broker import audit, clock
from broker.crypto import nonces
from broker.gateway import Request, Response
from broker.protocol import dpop
from broker.protocol.errors import INVALID_DPOP_PROOF, USE_DPOP_NONCE, OAuthError
from broker.runtime import Runtime
from broker.store.aws import StoreUnavailable


def proven_key(request: Request, runtime: Runtime, *, access_token: str | None = None) -> str:
    """The thumbprint of the key that the request's DPoP header proves. The proof is used up by this.

    `access_token`: the token that the proof must be for, at a resource (section 7). Errors: OAuthError invalid_dpop_proof,
    or use_dpop_nonce when only the nonce is missing or old; then nothing is used up. StoreUnavailable.
    """
    now = clock.now()
    proof = dpop.read(
        request.headers.get("dpop", ""), method=request.method, url=request.url, now=now, access_token=access_token
    )
    if proof.nonce is None and runtime.settings.dpop_nonce_required:
        raise OAuthError(USE_DPOP_NONCE, "the DPoP proof needs the nonce that is in the header DPoP-Nonce")
    if proof.nonce is not None and not nonces.is_good(proof.nonce, runtime.keys.ring(), now):
        raise OAuthError(
            USE_DPOP_NONCE, "the nonce of the DPoP proof has expired, use the one in the header DPoP-Nonce"
        )
    if not runtime.grants.use_once(f"dpop {proof.jkt} {proof.jti}", proof.expires_at):
        audit.event("replay.refused", kind="DPoP proof")
        raise OAuthError(INVALID_DPOP_PROOF, "the DPoP proof was used before; make a new one for each request")
    return proof.jkt


def with_nonce(runtime: Runtime, response: Response) -> Response:
    """The answer with the nonce for the client's next proof (section 8.2)."""
    try:
        nonce = nonces.make(runtime.keys.ring(), clock.now())
    except StoreUnavailable:  # what was done is done; the client asks for its nonce next time
        return response
    return Response(response.status, response.body, {**response.headers, "dpop-nonce": nonce}, response.cookies)
