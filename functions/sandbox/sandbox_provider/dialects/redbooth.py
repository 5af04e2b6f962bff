"""Redbooth, which is Doorkeeper: no state comes back, the redirect URI's query is free, refresh tokens rotate.

Its API nests errors, tells in WWW-Authenticate what is wrong with a token, and may answer 202 with Retry-After, which
asks for the same request again later.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from sandbox_provider import errors, token_endpoint
from sandbox_provider.authorization import AuthorizationRules
from sandbox_provider.call import Call
from sandbox_provider.dialects import redbooth_api
from sandbox_provider.dialects.dialect import Dialect, Route, authorize_route
from sandbox_provider.errors import Refusal
from sandbox_provider.resource import Admitted, admit
from sandbox_provider.wire import Response

LIFETIME = 7200
SCOPE = "all"


def same_place(registered: str, given: str) -> bool:
    """Same scheme, host, port and path; the query is the application's own affair."""
    if not given.isascii() or not given.isprintable() or any(character in given for character in " \\#"):
        return False
    try:
        return _place(urlsplit(registered)) == _place(urlsplit(given))
    except ValueError:
        return False


def _place(uri: SplitResult) -> tuple[str, str | None, int | None, str | None, str]:
    port = uri.port or {"https": 443, "http": 80}.get(uri.scheme)
    return uri.scheme, uri.hostname, port, uri.username or uri.password, uri.path


def scope(requested: str) -> str:
    """There is one scope, and it is the default."""
    if requested not in ("", SCOPE):
        raise Refusal(errors.INVALID_SCOPE)
    return SCOPE


RULES = AuthorizationRules(
    access=("read and change everything in your Redbooth workspaces",),
    redirect_matches=same_place,
    echoes_state=False,
    scope=scope,
)


def token(call: Call) -> Response:
    """Exchange a code (with the very redirect URI of the authorization request) or a refresh token, which rotates."""
    parameters = token_endpoint.posted(call)
    token_endpoint.authenticate(call, parameters, "body", "basic")
    grant_type = token_endpoint.required(parameters, "grant_type")
    if grant_type == "authorization_code":
        grant = token_endpoint.redeem(call, parameters, redirect_uri="required")
        issued = token_endpoint.issue(call, grant, lifetime=LIFETIME, refreshable=True)
    elif grant_type == "refresh_token":
        issued = token_endpoint.refresh(call, parameters, lifetime=LIFETIME, rotation="always")
    else:
        raise Refusal(errors.UNSUPPORTED_GRANT_TYPE)
    return Response.json(
        {
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in": LIFETIME,
            "refresh_token": issued.refresh_token,
            "scope": issued.scope,
            "created_at": call.now,
        }
    )


def me(call: Call) -> Response:
    """The signed-in person."""
    admitted = admit(call, "header", "query")
    if not isinstance(admitted, Admitted):
        return redbooth_api.refused(admitted)
    who = admitted.person
    return Response.json(
        {
            "type": "User",
            "id": who.user_id,
            "first_name": who.first_name,
            "last_name": who.last_name,
            "email": who.email,
            "username": who.username,
        }
    )


DIALECT = Dialect(
    provider="redbooth",
    title="Redbooth",
    rules=RULES,
    routes={
        "/oauth2/authorize": authorize_route(RULES, "GET", "POST"),
        "/oauth2/token": Route("token", ("POST",), token),
        "/api/3/me": Route("userinfo", ("GET",), me),
        **redbooth_api.ROUTES,
    },
    not_found=lambda _: redbooth_api.error(404, "Resource not found"),
)
