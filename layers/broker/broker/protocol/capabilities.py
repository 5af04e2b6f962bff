"""What this server supports, gathered in one place: the metadata publishes the very values that the endpoints check against.

What belongs to one kind of request stands with that request's rules, so that its functions need not import all the others.
"""

from broker.protocol import client_authentication, device, dpop, pkce, token_exchange
from broker.protocol.authorization_request import PROMPTS, RESPONSE_MODES, RESPONSE_TYPES
from broker.protocol.claims import CLAIMS_BY_SCOPE
from broker.protocol.clients import OIDC_SCOPES

GRANT_TYPES = ("authorization_code", "refresh_token", device.GRANT_TYPE, token_exchange.GRANT_TYPE)
ID_TOKEN_ALGORITHMS = ("RS256", "ES256")
INTROSPECTION_METHODS = tuple(method for method in client_authentication.METHODS if method != "none")
INTROSPECTION_JWT = "application/token-introspection+jwt"
"""The media type of a signed introspection answer (RFC 9701 section 8.1)."""


def metadata(issuer: str, *, registration: bool = False, client_documents: bool = False) -> dict[str, object]:
    """The authorization server metadata (RFC 8414 section 2), which is the OpenID provider metadata as well.

    registration: clients may register themselves (RFC 7591); client_documents: a client id may be the URL of a client id
    metadata document. Both are the operator's policy.
    """
    optional: dict[str, object] = {}
    if registration:
        optional["registration_endpoint"] = f"{issuer}/register"
    if client_documents:
        optional["client_id_metadata_document_supported"] = True
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "pushed_authorization_request_endpoint": f"{issuer}/par",
        "device_authorization_endpoint": f"{issuer}/device_authorization",
        "require_pushed_authorization_requests": False,
        "revocation_endpoint": f"{issuer}/revoke",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "scopes_supported": list(OIDC_SCOPES),
        "response_types_supported": list(RESPONSE_TYPES),
        "response_modes_supported": list(RESPONSE_MODES),
        "grant_types_supported": list(GRANT_TYPES),
        "token_endpoint_auth_methods_supported": list(client_authentication.METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(client_authentication.ASSERTION_ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": list(client_authentication.METHODS),
        "revocation_endpoint_auth_signing_alg_values_supported": list(client_authentication.ASSERTION_ALGORITHMS),
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": list(INTROSPECTION_METHODS),
        "introspection_endpoint_auth_signing_alg_values_supported": list(client_authentication.ASSERTION_ALGORITHMS),
        "introspection_signing_alg_values_supported": list(ID_TOKEN_ALGORITHMS),
        "end_session_endpoint": f"{issuer}/logout",
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "protected_resources": [issuer],
        "dpop_signing_alg_values_supported": list(dpop.ALGORITHMS),
        "code_challenge_methods_supported": list(pkce.METHODS),
        "authorization_response_iss_parameter_supported": True,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(ID_TOKEN_ALGORITHMS),
        "claims_supported": ["sub", *(claim for claims in CLAIMS_BY_SCOPE.values() for claim in claims)],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "prompt_values_supported": list(PROMPTS),
    } | optional
