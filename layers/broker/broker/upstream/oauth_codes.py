"""The error codes of OAuth and OpenID Connect that a provider may mean, whichever way it says them."""

# RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750 section 3.1, RFC 8628 section 3.5, RFC 8707 section 2, OpenID Connect
# Core section 3.1.2.6.
OAUTH_CODES = frozenset(
    {
        "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
        "invalid_scope", "access_denied", "unsupported_response_type", "server_error", "temporarily_unavailable",
        "invalid_token", "insufficient_scope", "slow_down", "invalid_target", "interaction_required",
        "login_required", "account_selection_required", "consent_required",
    }
)  # fmt: skip
