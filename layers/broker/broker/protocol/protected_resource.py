"""The metadata of userinfo as a protected resource (RFC 9728), and where it is."""

from urllib.parse import urlsplit

from broker.protocol import dpop
from broker.protocol.clients import OIDC_SCOPES

PROTECTED_RESOURCE_PATH = "/.well-known/oauth-protected-resource"
"""RFC 9728 section 3."""


def protected_resource_metadata(issuer: str) -> dict[str, object]:
    """The protected resource metadata of userinfo (RFC 9728 section 2).

    Its resource id is the issuer, as that is the audience of access tokens that were asked for without a resource, and what
    clients may always ask for. What was called lies below it; section 3.3 wants the very URL, MCP clients and
    draft-mcguinness-oauth-rfc9728bis take what lies below.
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
