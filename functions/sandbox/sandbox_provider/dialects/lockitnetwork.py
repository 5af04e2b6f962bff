"""LockitNetwork: credentials by HTTP Basic and in no other way, tokens of a week, optional PKCE, no profile."""

from __future__ import annotations

from sandbox_provider import errors, token_endpoint
from sandbox_provider.authorization import AuthorizationRules
from sandbox_provider.call import Call
from sandbox_provider.dialects import bearer
from sandbox_provider.dialects.dialect import Dialect, Route, authorize_route
from sandbox_provider.errors import Refusal
from sandbox_provider.resource import Admitted, admit
from sandbox_provider.wire import Response

LIFETIME = 604_800

RULES = AuthorizationRules(access=("see and open your locks",), pkce="optional")


def token(call: Call) -> Response:
    """Exchange a code or a refresh token; the client authenticates in the header."""
    parameters = token_endpoint.posted(call)
    token_endpoint.authenticate(call, parameters, "basic")
    grant_type = token_endpoint.required(parameters, "grant_type")
    if grant_type == "authorization_code":
        grant = token_endpoint.redeem(call, parameters, redirect_uri="required", pkce=True)
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


def locks(call: Call) -> Response:
    """A protected call of the API: the person's locks."""
    admitted = admit(call, "header")
    if not isinstance(admitted, Admitted):
        return bearer.refused(call, admitted)
    return Response.json({"locks": [{"id": f"{admitted.person.user_id}-1", "name": "Front door", "locked": True}]})


DIALECT = Dialect(
    provider="lockitnetwork",
    title="LockitNetwork",
    rules=RULES,
    routes={
        "/oauth/authorize": authorize_route(RULES, "GET"),
        "/oauth/access-token": Route("token", ("POST",), token),
        "/locks": Route("api", ("GET",), locks),
    },
)
