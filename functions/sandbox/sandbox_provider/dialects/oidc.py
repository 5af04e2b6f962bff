"""A full OpenID provider: the plain one, with discovery, keys that change every hour, signed ID tokens and `iss` in redirects.

Tests order an ID token with a fault by the kind `id_token`, whose value may have

    set, drop    claims over, or without, the right ones
    alg          "none", "HS256" (keyed with the client secret) or "RS256" (which nobody announced)
    key          a number: signed by a key that was never published
    kid          another key's name in the header, null for none
    signature    "bad": one that does not verify
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sandbox_provider.authorization import AuthorizationRules
from sandbox_provider.call import Call
from sandbox_provider.dialects import openid
from sandbox_provider.dialects.dialect import Dialect, Route, authorize_route
from sandbox_provider.people import person
from sandbox_provider.store import Grant
from sandbox_provider.wire import Response

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

PROVIDER = "oidc"
ROTATION = 3600
"""Seconds that a key signs; it stays published as long again."""

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

RULES = AuthorizationRules(
    access=("stay signed in for you",),
    pkce="required",
    scope=openid.scope,
    scope_texts=openid.SCOPES,
    names_issuer=True,
)


def discovery(call: Call) -> Response:
    """OpenID Connect Discovery section 3."""
    issuer = call.issuer
    return Response.json(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "userinfo_endpoint": f"{issuer}/userinfo",
            "revocation_endpoint": f"{issuer}/revoke",
            "jwks_uri": f"{issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES256", "RS256"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
    )


def jwks(call: Call) -> Response:
    """The key that signs now, and the one before it."""
    number = call.now // ROTATION
    return Response.json({"keys": [_public_jwk(call, one) for one in (number, number - 1)]})


def token(call: Call) -> Response:
    """The plain provider's tokens, and an ID token with those of a code."""
    answer, grant = openid.token_and_grant(call)
    if grant is None or "openid" not in grant.scope.split():
        return answer
    document = json.loads(answer.body)
    document["id_token"] = _id_token(call, grant, document["access_token"])
    return Response.json(document)


def _id_token(call: Call, grant: Grant, access_token: str) -> str:
    ordered = call.id_token_fault
    digest = hashlib.sha256(access_token.encode()).digest()
    claims: dict[str, Any] = {
        "iss": call.issuer,
        "sub": str(person(grant.username).user_id),
        "aud": call.client.client_id,
        "exp": call.now + openid.LIFETIME,
        "iat": call.now,
        "auth_time": grant.auth_time,
        "at_hash": base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode(),
    }
    claims |= {"nonce": grant.nonce} if grant.nonce else {}
    claims = {name: value for name, value in claims.items() if name not in ordered.get("drop", ())}
    return _signed(call, claims | ordered.get("set", {}), ordered)


def _signed(call: Call, claims: Mapping[str, Any], ordered: Mapping[str, Any]) -> str:
    import jwt  # here and below: costly to import, and needed by this dialect alone

    number = ordered.get("key", call.now // ROTATION)
    algorithm = ordered.get("alg", "ES256")
    key: Any = _key_for(algorithm, call, number)
    header = {"kid": ordered.get("kid", f"key-{number}")}
    text = jwt.encode(dict(claims), key, algorithm, headers={name: kid for name, kid in header.items() if kid})
    if ordered.get("signature") != "bad":
        return text
    signed, _, signature = text.rpartition(".")
    return f"{signed}.{('B' if signature[0] == 'A' else 'A')}{signature[1:]}"


def _key_for(algorithm: str, call: Call, number: int) -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    match algorithm:
        case "none":
            return None
        case "HS256":
            return call.client.client_secret
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
    return _private_key(call, number)


def _private_key(call: Call, number: int) -> ec.EllipticCurvePrivateKey:
    """Derived, so that every instance has the same without a table."""
    from cryptography.hazmat.primitives.asymmetric import ec

    seed = hashlib.sha512(f"sandbox signing key {number} {call.client.client_secret}".encode()).digest()
    return ec.derive_private_key(int.from_bytes(seed) % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def _public_jwk(call: Call, number: int) -> dict[str, Any]:
    from jwt.algorithms import ECAlgorithm

    published = ECAlgorithm.to_jwk(_private_key(call, number).public_key(), as_dict=True)
    return {**published, "kid": f"key-{number}", "use": "sig", "alg": "ES256"}


DIALECT = Dialect(
    provider=PROVIDER,
    title="OpenID Connect provider",
    rules=RULES,
    routes={
        "/.well-known/openid-configuration": Route("discovery", ("GET",), discovery),
        "/jwks": Route("jwks", ("GET",), jwks),
        "/authorize": authorize_route(RULES, "GET", "POST"),
        "/token": Route("token", ("POST",), token),
        "/userinfo": Route("userinfo", ("GET", "POST"), openid.userinfo),
        "/revoke": Route("revoke", ("POST",), openid.revoke),
    },
)
