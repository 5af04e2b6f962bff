"""What this server supports, in one place: the metadata documents publish it and the endpoints check against it."""

from broker.protocol import client_authentication, pkce
from broker.protocol.clients import OIDC_SCOPES

RESPONSE_TYPES = ("code",)
RESPONSE_MODES = ("query", "form_post")
GRANT_TYPES = ("authorization_code", "refresh_token")
PROMPTS = ("none", "login", "consent", "select_account")
ID_TOKEN_ALGORITHMS = ("RS256", "ES256")
CLAIMS_BY_SCOPE = {
    "profile": (
        "name",
        "family_name",
        "given_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "updated_at",
    ),
    "email": ("email", "email_verified"),
}
"""OpenID Connect Core section 5.4."""


def metadata(issuer: str) -> dict[str, object]:
    """The authorization server metadata (RFC 8414 section 2), which is the OpenID provider metadata as well."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "pushed_authorization_request_endpoint": f"{issuer}/par",
        "require_pushed_authorization_requests": False,
        "revocation_endpoint": f"{issuer}/revoke",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "scopes_supported": list(OIDC_SCOPES),
        "response_types_supported": list(RESPONSE_TYPES),
        "response_modes_supported": list(RESPONSE_MODES),
        "grant_types_supported": list(GRANT_TYPES),
        "token_endpoint_auth_methods_supported": list(client_authentication.METHODS),
        "revocation_endpoint_auth_methods_supported": list(client_authentication.METHODS),
        "code_challenge_methods_supported": list(pkce.METHODS),
        "authorization_response_iss_parameter_supported": True,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(ID_TOKEN_ALGORITHMS),
        "claims_supported": ["sub", *(claim for claims in CLAIMS_BY_SCOPE.values() for claim in claims)],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "prompt_values_supported": list(PROMPTS),
    }


def claims_for(scope: tuple[str, ...], claims: dict[str, object]) -> dict[str, object]:
    """The claims that a scope lets a client see. Claims that OpenID Connect has no scope for go with `profile`."""
    in_email = CLAIMS_BY_SCOPE["email"]
    visible: dict[str, object] = {}
    for name, value in claims.items():
        needed = "email" if name in in_email else "profile"
        if needed in scope and name != "sub":
            visible[name] = value
    return visible
