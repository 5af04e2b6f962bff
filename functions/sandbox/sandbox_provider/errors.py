"""The catalogue of refusals. Texts are those of RFC 6749 and of the guides; none may carry a value of the request."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sandbox_provider.wire import Response


@dataclass(frozen=True)
class Error:
    """One error of the wire."""

    code: str
    status: int
    description: str

    def saying(self, description: str) -> Error:
        """The same error with a description that names the fault more closely."""
        return replace(self, description=description)


INVALID_REQUEST = Error(
    "invalid_request",
    400,
    "The request is missing a required parameter, includes an invalid parameter value, includes a parameter more than "
    "once, or is otherwise malformed.",
)
INVALID_CLIENT = Error(
    "invalid_client",
    401,
    "Client authentication failed due to unknown client, no client authentication included, or unsupported "
    "authentication method.",
)
INVALID_GRANT = Error(
    "invalid_grant",
    400,
    "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the "
    "authorization request, or was issued to another client.",
)
INVALID_CODE = Error("invalid_code", 400, "The authorization code is invalid or expired")
INVALID_SCOPE = Error("invalid_scope", 400, "The requested scope is invalid, unknown, or malformed.")
INVALID_TOKEN = Error("invalid_token", 401, "The access token is invalid or expired")
INSUFFICIENT_SCOPE = Error("insufficient_scope", 403, "The access token lacks the scope openid")
UNSUPPORTED_GRANT_TYPE = Error(
    "unsupported_grant_type", 400, "The authorization grant type is not supported by the authorization server."
)
UNSUPPORTED_RESPONSE_TYPE = Error(
    "unsupported_response_type",
    400,
    "The authorization server does not support obtaining an authorization code using this method.",
)
ACCESS_DENIED = Error("access_denied", 403, "The resource owner or authorization server denied the request.")
RATE_LIMITED = Error("rate_limit_exceeded", 429, "Too many requests, try again later")


class Refusal(Exception):
    """Ends a step with an error of the catalogue, to be answered as JSON (RFC 6749 section 5.2)."""

    def __init__(self, error: Error, *headers: tuple[str, str]) -> None:
        super().__init__(error.code)
        self.error = error
        self.headers = headers

    def response(self) -> Response:
        """The JSON answer."""
        payload = {"error": self.error.code, "error_description": self.error.description}
        return Response.json(payload, self.error.status, self.headers)


class PageRefusal(Exception):
    """Ends an authorization request with an error page: where to redirect to is not known or not to be trusted."""

    def __init__(self, explanation: str) -> None:
        super().__init__(explanation)
        self.explanation = explanation
