"""Token exchange requests (RFC 8693 section 2.1), as far as they are offered: an access token of the broker's for one of a
provider's. Pure: must never look at a token, only at what was asked.
"""

from dataclasses import dataclass, field

from broker.protocol.errors import INVALID_REQUEST, INVALID_TARGET, OAuthError
from broker.protocol.parameters import Parameters
from broker.protocol.scopes import parse_scope

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
"""RFC 8693 section 3: the only type that is taken and issued."""


@dataclass(frozen=True)
class ExchangeRequest:
    """What a client wants for its subject token.

    Attributes:
        audience: the name of a provider; resource: the address of its API. One of them is there; both must mean the same.
        scope: what the token must be good for; None when the request does not say.
    """

    subject_token: str = field(repr=False)
    audience: str | None = None
    resource: str | None = None
    scope: tuple[str, ...] | None = None


def read(form: Parameters) -> ExchangeRequest:
    """The request in a form. Errors: OAuthError invalid_request, invalid_target, invalid_scope (section 2.2.2)."""
    subject_token = form.require("subject_token")
    if form.require("subject_token_type") != ACCESS_TOKEN_TYPE:
        raise OAuthError(INVALID_REQUEST, f"the subject_token_type must be {ACCESS_TOKEN_TYPE}")
    if form.get("requested_token_type") not in (None, ACCESS_TOKEN_TYPE):
        raise OAuthError(INVALID_REQUEST, f"the requested_token_type can only be {ACCESS_TOKEN_TYPE}")
    if form.get("actor_token") is not None or form.get("actor_token_type") is not None:
        raise OAuthError(INVALID_REQUEST, "delegation is not offered: leave out actor_token")
    targets = form.all("audience"), form.all("resource")
    if not any(targets):
        raise OAuthError(INVALID_REQUEST, "say what the token is for: audience or resource is missing")
    if any(len(named) > 1 for named in targets):
        raise OAuthError(INVALID_TARGET, "a token is for one provider: name one audience or resource")
    return ExchangeRequest(subject_token, form.get("audience"), form.get("resource"), parse_scope(form.get("scope")))
