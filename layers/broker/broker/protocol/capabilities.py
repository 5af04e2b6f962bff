"""What this server supports, in one place: the metadata documents publish it and the endpoints check against it."""

from urllib.parse import urlsplit

from broker.protocol import client_authentication, device, dpop, pkce, token_exchange
from broker.protocol.clients import OIDC_SCOPES

RESPONSE_TYPES = ("code",)
RESPONSE_MODES = ("query", "form_post")
GRANT_TYPES = ("authorization_code", "refresh_token", device.GRANT_TYPE, token_exchange.GRANT_TYPE)
PROMPTS = ("none", "login", "consent", "select_account")
ID_TOKEN_ALGORITHMS = ("RS256", "ES256")
INTROSPECTION_METHODS = tuple(method for method in client_authentication.METHODS if method != "none")
INTROSPECTION_JWT = "application/token-introspection+jwt"
"""The media type of a signed introspection answer (RFC 9701 section 8.1)."""
BACKCHANNEL_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
"""The member of a logout token's events (OpenID Connect Back-Channel Logout section 2.4)."""
PROTECTED_RESOURCE_PATH = "/.well-known/oauth-protected-resource"
"""RFC 9728 section 3."""
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


def protected_resource_metadata(issuer: str) -> dict[str, object]:
    """The protected resource metadata of userinfo (RFC 9728 section 2).

    Its resource id is the issuer, as that is the audience of access tokens that were asked for without a resource, and what
    clients may always ask for.
    """
    return {
        "resource": issuer,
        "authorization_servers": [issuer],
        "bearer_methods_supported": ["header", "body"],
        "scopes_supported": [scope for scope in OIDC_SCOPES if scope != "offline_access"],
        "dpop_signing_alg_values_supported": list(dpop.ALGORITHMS),
    }


def protected_resource_metadata_url(issuer: str) -> str:
    """Where that document is: the well-known path stands between host and path of the resource id (RFC 9728 section 3.1)."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}{PROTECTED_RESOURCE_PATH}{parts.path}"


def claims_for(scope: tuple[str, ...], claims: dict[str, object]) -> dict[str, object]:
    """The claims that a scope lets a client see. Claims that OpenID Connect has no scope for go with `profile`."""
    in_email = CLAIMS_BY_SCOPE["email"]
    visible: dict[str, object] = {}
    for name, value in claims.items():
        needed = "email" if name in in_email else "profile"
        if needed in scope and name != "sub":
            visible[name] = value
    return visible
