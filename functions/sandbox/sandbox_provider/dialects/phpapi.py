"""The PHP style API: no state, no grant_type, no redirect_uri at the token endpoint, no refresh, errors of its own."""

from __future__ import annotations

from sandbox_provider import errors, token_endpoint
from sandbox_provider.authorization import AuthorizationRules
from sandbox_provider.call import Call
from sandbox_provider.dialects.dialect import Dialect, Route, authorize_route
from sandbox_provider.errors import Refusal
from sandbox_provider.faults import too_many
from sandbox_provider.resource import Admitted, admit
from sandbox_provider.wire import EncodingError, Request, Response

LIFETIME = 3600

# The guide's own browser sample reads userinfo from another origin.
CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET"),
    ("Access-Control-Allow-Headers", "Authorization"),
)

RULES = AuthorizationRules(
    access=("read your user name, e-mail address and full name",),
    echoes_state=False,
    scope=lambda _: "",
)


def token(call: Call) -> Response:
    """Exchange a code, within the rate limit, whose state is told in the headers of every answer."""
    limit = call.settings.calls_per_minute
    calls = call.store.count_call(call.provider, _counted_client(call.request, call.client.client_id), call.now)
    window_ends = (call.now // 60 + 1) * 60
    if calls > limit:
        return too_many(limit=limit, retry_after=window_ends - call.now)
    try:
        response = _exchange(call)
    except Refusal as refusal:
        response = refusal.response()
    return response.with_headers(
        ("X-RateLimit-Limit", str(limit)),
        ("X-RateLimit-Remaining", str(limit - calls)),
        ("X-RateLimit-Reset", str(window_ends)),
    )


def _counted_client(request: Request, registered: str) -> str:
    # Whoever names no registered client shares one count, so that made-up names do not escape the limit.
    try:
        named = request.form.get("client_id")
    except EncodingError:
        named = None
    return registered if named == registered else "unknown"


def _exchange(call: Call) -> Response:
    parameters = token_endpoint.posted(call)
    for name in ("code", "client_id", "client_secret"):
        token_endpoint.required(parameters, name)
    token_endpoint.authenticate(call, parameters, "body")
    grant = token_endpoint.redeem(call, parameters, redirect_uri="unknown", error=errors.INVALID_CODE)
    issued = token_endpoint.issue(call, grant, lifetime=LIFETIME, refreshable=False)
    return Response.json({"access_token": issued.access_token, "token_type": "Bearer", "expires_in": LIFETIME})


def userinfo(call: Call) -> Response:
    """The profile in the guide's shape, open to browsers of any origin."""
    if call.request.method == "OPTIONS":
        return Response(204, "", CORS)
    admitted = admit(call, "header")
    if not isinstance(admitted, Admitted):
        return Refusal(errors.INVALID_TOKEN).response().with_headers(*CORS, ("WWW-Authenticate", "Bearer"))
    who = admitted.person
    profile = {"username": who.username, "email": who.email, "full_name": who.full_name}
    return Response.json(profile).with_headers(*CORS)


DIALECT = Dialect(
    provider="phpapi",
    title="PHP style API",
    rules=RULES,
    routes={
        "/api/authorize.php": authorize_route(RULES, "GET"),
        "/api/token.php": Route("token", ("POST",), token),
        "/api/userinfo.php": Route("userinfo", ("GET", "OPTIONS"), userinfo),
    },
)
