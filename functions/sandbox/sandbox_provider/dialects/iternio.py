"""Iternio (A Better Routeplanner), twice: as its guide says, and as its live clients find it.

The guide answers auth_code and user_token and lists redirect_uri among the fields needed; live clients read code and
access_token and do without. In both the client id is a number, the API key is the secret, and the token lasts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sandbox_provider import errors, token_endpoint
from sandbox_provider.authorization import AuthorizationRules
from sandbox_provider.call import Call
from sandbox_provider.dialects import bearer
from sandbox_provider.dialects.dialect import Dialect, Route, authorize_route
from sandbox_provider.errors import Refusal
from sandbox_provider.resource import Admitted, admit
from sandbox_provider.wire import EncodingError, Response

SCOPES = (
    ("set_telemetry", "send your car's telemetry"),
    ("get_telemetry", "read your car's telemetry"),
    ("get_plan", "read your route plans"),
)


def scope(requested: str) -> str:
    """Names separated by commas; a space is not a separator here."""
    names = requested.split(",") if requested else []
    if not set(names) <= {name for name, _ in SCOPES}:
        raise Refusal(errors.INVALID_SCOPE)
    return " ".join(names)


@dataclass(frozen=True)
class Variant:
    """How the guide and the live service differ."""

    code_parameter: str
    token_member: str
    redirect_uri: token_endpoint.Rule


def _token(variant: Variant) -> Callable[[Call], Response]:
    def token(call: Call) -> Response:
        """Exchange a code, by POST or by GET; the answer repeats the state of the authorization request."""
        parameters = token_endpoint.queried(call) if call.request.method == "GET" else token_endpoint.posted(call)
        if (parameters.get("grant_type") or "authorization_code") != "authorization_code":
            raise Refusal(errors.UNSUPPORTED_GRANT_TYPE)
        token_endpoint.authenticate(call, parameters, "body")
        grant = token_endpoint.redeem(call, parameters, redirect_uri=variant.redirect_uri)
        issued = token_endpoint.issue(call, grant, lifetime=None, refreshable=False)
        answer = {variant.token_member: issued.access_token, "token_type": "Bearer"}
        return Response.json(answer | ({"state": grant.state} if grant.state else {}))

    return token


def me(call: Call) -> Response:
    """The signed-in person; wants the API key besides the token, both in the URL."""
    try:
        query = call.request.query
    except EncodingError as error:
        raise Refusal(errors.INVALID_REQUEST) from error
    if query.repeated:
        raise Refusal(errors.INVALID_REQUEST)
    if not call.has_secret(token_endpoint.required(query, "api_key")):
        raise Refusal(errors.INVALID_CLIENT)
    admitted = admit(call, "query")
    if not isinstance(admitted, Admitted):
        return bearer.refused(call, admitted)
    who = admitted.person
    return Response.json(
        {
            "status": "ok",
            "user_id": who.user_id,
            "full_name": who.full_name,
            "email": who.email,
            "vehicle_name": "Sandbox car",
            "vehicle_typecode": "sandbox:car:23:60",
        }
    )


def _dialect(provider: str, title: str, variant: Variant) -> Dialect:
    rules = AuthorizationRules(
        access=("read your profile and your car's name",),
        default_response_type="code",
        code_parameter=variant.code_parameter,
        scope=scope,
        scope_texts=SCOPES,
    )
    return Dialect(
        provider=provider,
        title=title,
        rules=rules,
        routes={
            "/oauth/auth": authorize_route(rules, "GET"),
            "/1/oauth/token": Route("token", ("POST", "GET"), _token(variant)),
            "/1/oauth/me": Route("userinfo", ("GET",), me),
        },
    )


GUIDE = _dialect("iternio", "Iternio (guide)", Variant("auth_code", "user_token", "required"))
LIVE = _dialect("iternio-live", "Iternio (live)", Variant("code", "access_token", "optional"))
