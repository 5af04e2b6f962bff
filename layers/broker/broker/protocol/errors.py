"""The one catalogue of OAuth errors: code, HTTP status, and whether a redirect may carry it.

An OAuthError has a public description, which the client sees, and a detail, which only the log sees.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorKind:
    """One error of the OAuth family of specifications.

    Attributes:
        code: the `error` value on the wire.
        status: HTTP status where the answer is not a redirect.
    """

    code: str
    status: int = 400


INVALID_REQUEST = ErrorKind("invalid_request")  # RFC 6749 sections 4.1.2.1, 5.2
INVALID_CLIENT = ErrorKind("invalid_client", 401)  # RFC 6749 section 5.2
INVALID_GRANT = ErrorKind("invalid_grant")
UNAUTHORIZED_CLIENT = ErrorKind("unauthorized_client")
UNSUPPORTED_GRANT_TYPE = ErrorKind("unsupported_grant_type")
UNSUPPORTED_RESPONSE_TYPE = ErrorKind("unsupported_response_type")
INVALID_SCOPE = ErrorKind("invalid_scope")
ACCESS_DENIED = ErrorKind("access_denied")
SERVER_ERROR = ErrorKind("server_error", 500)
TEMPORARILY_UNAVAILABLE = ErrorKind("temporarily_unavailable", 503)
INVALID_TARGET = ErrorKind("invalid_target")  # RFC 8707 section 2
AUTHORIZATION_PENDING = ErrorKind("authorization_pending")  # RFC 8628 section 3.5
SLOW_DOWN = ErrorKind("slow_down")
EXPIRED_TOKEN = ErrorKind("expired_token")
LOGIN_REQUIRED = ErrorKind("login_required")  # OpenID Connect Core section 3.1.2.6
REQUEST_NOT_SUPPORTED = ErrorKind("request_not_supported")
REQUEST_URI_NOT_SUPPORTED = ErrorKind("request_uri_not_supported")
REGISTRATION_NOT_SUPPORTED = ErrorKind("registration_not_supported")
INVALID_REDIRECT_URI = ErrorKind("invalid_redirect_uri")  # RFC 7591 section 3.2.2
INVALID_CLIENT_METADATA = ErrorKind("invalid_client_metadata")
REGISTRATION_REFUSED = ErrorKind("access_denied", 403)  # RFC 7592 section 2.1: authenticated, but not allowed
INVALID_TOKEN = ErrorKind("invalid_token", 401)  # RFC 6750 section 3.1
INSUFFICIENT_SCOPE = ErrorKind("insufficient_scope", 403)
PROVIDER_FORBIDS = ErrorKind("insufficient_scope", 403)  # the provider's refusal, which no scope of ours would lift
INVALID_DPOP_PROOF = ErrorKind("invalid_dpop_proof")  # RFC 9449 section 5
USE_DPOP_NONCE = ErrorKind("use_dpop_nonce")  # RFC 9449 section 8
FORBIDDEN_ORIGIN = ErrorKind(
    "access_denied", 403
)  # a browser request without the proof that it came from the client's own pages
PROXY_REFUSED = ErrorKind("access_denied", 403)  # what no access token of this login may do at the proxy
REQUEST_TOO_LARGE = ErrorKind("invalid_request", 413)  # RFC 9126 section 2.3
METHOD_NOT_ALLOWED = ErrorKind("invalid_request", 405)
UNSUPPORTED_MEDIA_TYPE = ErrorKind("invalid_request", 400)
BAD_GATEWAY = ErrorKind("temporarily_unavailable", 502)
GATEWAY_TIMEOUT = ErrorKind("temporarily_unavailable", 504)
TOO_MANY_REQUESTS = ErrorKind("temporarily_unavailable", 429)

MAX_QUOTED = 100
"""Characters of a value of the request's that a description repeats."""
_MARKUP = re.compile(r"[<>&]")
_NOT_ALLOWED = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


class OAuthError(Exception):
    """An error to be answered.

    Attributes:
        kind: what went wrong, in OAuth's words.
        description: for the client's developer. Never holds a token, secret or anything an upstream said.
        detail: for the log only; still never a token or secret.
        retry_after: seconds after which the same request may succeed.
        reconnect_url: where the person logs in again at the provider so that the client gets a new login (docs/links.md).
    """

    def __init__(
        self,
        kind: ErrorKind,
        description: str,
        *,
        detail: str = "",
        retry_after: int | None = None,
        reconnect_url: str | None = None,
    ) -> None:
        super().__init__(kind.code)
        self.kind = kind
        self.description = wire_text(description)
        self.detail = detail
        self.retry_after = retry_after
        self.reconnect_url = reconnect_url


def wire_text(text: str) -> str:
    """`text` in the characters that error_description allows (RFC 6749 section 5.2); others become '?'."""
    return _NOT_ALLOWED.sub("?", text.replace('"', "'"))


def quoted(value: str) -> str:
    """A value that the request sent, for a description that says which one is wrong. Without markup: some client may show a
    description as it comes, and anybody can send its users to an authorization request with any value."""
    shown = value if len(value) <= MAX_QUOTED else f"{value[:MAX_QUOTED]}..."
    return f"'{_MARKUP.sub('?', shown)}'"
