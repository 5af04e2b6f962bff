"""InfoLobby: the plain dialect. Credentials in the body, exact redirect URI, a refresh token that stays.

The guide publishes no paths; the profile's is an assumption.
"""

from __future__ import annotations

from sandbox_provider import errors, token_endpoint
from sandbox_provider.authorization import AuthorizationRules
from sandbox_provider.call import Call
from sandbox_provider.dialects import bearer
from sandbox_provider.dialects.dialect import Dialect, Route, authorize_route
from sandbox_provider.errors import Refusal
from sandbox_provider.resource import Admitted, admit
from sandbox_provider.wire import Response

LIFETIME = 3600

RULES = AuthorizationRules(access=("read your profile", "act in InfoLobby on your behalf"))


def token(call: Call) -> Response:
    """Exchange a code or a refresh token, POST with the credentials among the parameters."""
    parameters = token_endpoint.posted(call)
    grant_type = token_endpoint.required(parameters, "grant_type")
    token_endpoint.authenticate(call, parameters, "body")
    if grant_type == "authorization_code":
        grant = token_endpoint.redeem(call, parameters, redirect_uri="required")
        issued = token_endpoint.issue(call, grant, lifetime=LIFETIME, refreshable=True)
    elif grant_type == "refresh_token":
        issued = token_endpoint.refresh(call, parameters, lifetime=LIFETIME, rotation="never")
    else:
        raise Refusal(errors.UNSUPPORTED_GRANT_TYPE)
    return Response.json(
        {
            "access_token": issued.access_token,
            "refresh_token": issued.refresh_token,
            "token_type": "Bearer",
            "expires_in": LIFETIME,
        }
    )


def profile(call: Call) -> Response:
    """The profile in the guide's shape; its `username` is the name that people read."""
    admitted = admit(call, "header")
    if not isinstance(admitted, Admitted):
        return bearer.refused(call, admitted)
    who = admitted.person
    return Response.json(
        {
            "userId": who.user_id,
            "username": who.full_name,
            "emailAddress": who.email,
            "timezone": who.timezone,
            "locale": who.locale,
        }
    )


DIALECT = Dialect(
    provider="infolobby",
    title="InfoLobby",
    rules=RULES,
    routes={
        "/api/oauth/authorize": authorize_route(RULES, "GET"),
        "/api/oauth/token": Route("token", ("POST",), token),
        "/api/oauth/profile": Route("userinfo", ("GET",), profile),
    },
)
