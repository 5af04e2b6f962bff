"""A plain, modern provider: PKCE required, short tokens, refresh tokens that rotate and end the grant on reuse."""

from __future__ import annotations

from sandbox_provider import errors, token_endpoint
from sandbox_provider.authorization import AuthorizationRules
from sandbox_provider.call import Call
from sandbox_provider.dialects import bearer
from sandbox_provider.dialects.dialect import Dialect, Route, authorize_route
from sandbox_provider.errors import Refusal
from sandbox_provider.resource import Admitted, admit
from sandbox_provider.store import Grant
from sandbox_provider.wire import Response

LIFETIME = 300

SCOPES = (
    ("openid", "know who you are"),
    ("profile", "read your name, time zone and language"),
    ("email", "read your e-mail address"),
)


def scope(requested: str) -> str:
    """The known ones of those asked for; others are passed over (OpenID Connect Core section 3.1.2.1)."""
    return " ".join(name for name, _ in SCOPES if name in requested.split())


RULES = AuthorizationRules(access=("stay signed in for you",), pkce="required", scope=scope, scope_texts=SCOPES)


def token(call: Call) -> Response:
    """Exchange a code with its verifier, or a refresh token, which rotates."""
    answer, _ = token_and_grant(call)
    return answer


def token_and_grant(call: Call) -> tuple[Response, Grant | None]:
    """The token answer, and the grant of the code; None for a refresh."""
    grant: Grant | None = None
    parameters = token_endpoint.posted(call)
    token_endpoint.authenticate(call, parameters, "basic", "body", "key")
    grant_type = token_endpoint.required(parameters, "grant_type")
    if grant_type == "authorization_code":
        grant = token_endpoint.redeem(call, parameters, redirect_uri="required", pkce=True)
        issued = token_endpoint.issue(call, grant, lifetime=LIFETIME, refreshable=True)
    elif grant_type == "refresh_token":
        issued = token_endpoint.refresh(call, parameters, lifetime=LIFETIME, rotation="revoke on reuse")
    else:
        raise Refusal(errors.UNSUPPORTED_GRANT_TYPE)
    return Response.json(
        {
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in": LIFETIME,
            "refresh_token": issued.refresh_token,
            "scope": issued.scope,
        }
    ), grant


def userinfo(call: Call) -> Response:
    """Claims of the granted scopes (OpenID Connect Core section 5.4)."""
    admitted = admit(call, "header")
    if not isinstance(admitted, Admitted):
        return bearer.refused(call, admitted)
    granted, who = admitted.token.scope.split(), admitted.person
    if "openid" not in granted:
        return bearer.challenged(call, errors.INSUFFICIENT_SCOPE)
    claims: dict[str, object] = {"sub": str(who.user_id)}
    if "profile" in granted:
        claims |= {
            "name": who.full_name,
            "given_name": who.first_name,
            "family_name": who.last_name,
            "preferred_username": who.username,
            "zoneinfo": who.timezone,
            "locale": who.locale,
        }
    if "email" in granted and who.email:
        claims |= {"email": who.email, "email_verified": True}
    # A claim that has no value is left out (section 5.3.2).
    return Response.json({name: value for name, value in claims.items() if value != ""})


def revoke(call: Call) -> Response:
    """End a token (RFC 7009): with a refresh token the whole grant ends, with an access token that token alone."""
    parameters = token_endpoint.posted(call)
    token_endpoint.authenticate(call, parameters, "basic", "body", "key")
    value = token_endpoint.required(parameters, "token")
    found = call.store.find_token("refresh", value) or call.store.find_token("access", value)
    if found is not None and token_endpoint.belongs_to_caller(call, found):
        if found.kind == "refresh":
            call.store.revoke_grant(found.grant.id)
        else:
            call.store.revoke_token(found)
    return Response(200, "", (("Cache-Control", "no-store"),))


DIALECT = Dialect(
    provider="openid",
    title="OpenID provider",
    rules=RULES,
    routes={
        "/authorize": authorize_route(RULES, "GET", "POST"),
        "/token": Route("token", ("POST",), token),
        "/userinfo": Route("userinfo", ("GET", "POST"), userinfo),
        "/revoke": Route("revoke", ("POST",), revoke),
    },
)
