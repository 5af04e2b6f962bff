"""The token endpoint at the paths of dialects: their omissions filled in, and their names in the answer."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from broker import clock
from broker.endpoints import client_requests, token
from broker.endpoints.drop_in import dialect_at, with_default
from broker.endpoints.entry import json_response
from broker.gateway import FORM, Request, Response
from broker.grants.issuing import TokenAnswer
from broker.protocol import client_authentication
from broker.protocol.clients import Client
from broker.protocol.errors import (
    INVALID_CLIENT,
    INVALID_REQUEST,
    UNAUTHORIZED_CLIENT,
    UNSUPPORTED_GRANT_TYPE,
    OAuthError,
)
from broker.protocol.parameters import MalformedParameters, Parameters, parse
from broker.runtime import Runtime

if TYPE_CHECKING:
    from broker.upstream.serve import ServedDialect

STANDARD = "/token"


def respond(request: Request, runtime: Runtime) -> Response:
    """POST /token, and the same endpoint at the paths of dialects."""
    dialect = dialect_at(request, STANDARD)
    if dialect is None:
        return token.respond(request, runtime)
    standard = _standard_request(request, runtime, dialect)
    response = client_requests.serve(standard, runtime, _step(dialect), "token")
    if response.status == INVALID_CLIENT.status and dialect.token.missing_credentials:
        response = _of_missing_credentials(response, standard, dialect.token.missing_credentials)
    return _in_dialect(response, dialect) if response.status >= 400 and dialect.token.errors else response


def _standard_request(request: Request, runtime: Runtime, dialect: "ServedDialect") -> Request:
    """The request as a POST with a grant type. None of the guides knows DPoP, so its answers have no bound tokens."""
    headers = {name: value for name, value in request.headers.items() if name != "dpop"}
    request = replace(request, headers=headers)
    if request.method == "GET" and _may_get(request, runtime, dialect):
        headers = headers | {"content-type": FORM}
        request = replace(request, method="POST", headers=headers, body=request.raw_query.encode(), raw_query="")
    if not dialect.token.grant_type or not request.has_form():
        return request
    try:
        form = with_default(request.form(), "grant_type", dialect.token.grant_type)
    except MalformedParameters:
        return request
    return replace(request, body=urlencode(list(form.pairs())).encode())


def _may_get(request: Request, runtime: Runtime, dialect: "ServedDialect") -> bool:
    """Whether the client that the query names was registered for a secret in the URL. It has yet to prove itself."""
    if "GET" not in dialect.token.methods:
        return False
    try:
        named = parse(request.raw_query).get("client_id")
    except MalformedParameters:
        return False
    client = runtime.client(named) if named is not None else None
    return client is not None and client.dialect == dialect.name and client.token_by_get


def _step(dialect: "ServedDialect") -> Callable[[Request, Runtime, Client, Parameters], Response]:
    def grant(request: Request, runtime: Runtime, client: Client, form: Parameters) -> Response:
        if client.dialect != dialect.name:
            raise OAuthError(UNAUTHORIZED_CLIENT, "this client is not registered for the dialect of this address")
        method = client_authentication.read(request.headers.get("authorization"), form).method
        if method not in dialect.token.auth and not client.is_public:
            raise OAuthError(INVALID_CLIENT, "client authentication failed")
        if form.require("grant_type") not in dialect.token.grant_types:
            raise OAuthError(UNSUPPORTED_GRANT_TYPE, "the grant_type is not supported")
        answer = token.grant(request, runtime, _speaking(client, runtime, dialect), form)
        return json_response(_document(answer, dialect))

    return grant


def _speaking(client: Client, runtime: Runtime, dialect: "ServedDialect") -> Client:
    """The client with what its dialect says of tokens. Lifetimes that it was registered with stay."""
    served = dialect.token
    login = client.absolute_lifetime or runtime.settings.absolute_lifetime
    return replace(
        client,
        grant_types=tuple(grant_type for grant_type in client.grant_types if grant_type in served.grant_types),
        require_redirect_uri=client.require_redirect_uri and served.redirect_uri == "required",
        access_token_lifetime=client.access_token_lifetime or served.lifetime or login,
        access_token_format="opaque" if served.opaque else client.access_token_format,
    )


def _document(answer: TokenAnswer, dialect: "ServedDialect") -> dict[str, object]:
    values: dict[str, object] = {
        "access_token": answer.access_token,
        "token_type": answer.token_type,
        "expires_in": answer.expires_in,
        "refresh_token": answer.refresh_token,
        "scope": dialect.authorize.scope_separator.join(answer.scope),
        "state": answer.state,
        "created_at": clock.now(),
    }
    members = {member: values[source] for member, source in dialect.token.answer.items()}
    return {member: value for member, value in members.items() if value is not None}


def _of_missing_credentials(response: Response, request: Request, code: str) -> Response:
    """The refusal of a client that has left out its id or its secret, by the code that the guide has for what is missing."""
    form = request.form()
    missing = [name for name in ("client_id", "client_secret") if form.get(name) is None]
    if not missing or "authorization" in request.headers:
        return response
    document = {"error": code, "error_description": f"the parameter {missing[0]} is missing"}
    headers = {name: value for name, value in response.headers.items() if name != "www-authenticate"}
    return replace(response, status=INVALID_REQUEST.status, body=json.dumps(document), headers=headers)


def _in_dialect(response: Response, dialect: "ServedDialect") -> Response:
    """An error under the code that the dialect has for it."""
    document = json.loads(response.body)
    document["error"] = dialect.token.errors.get(document["error"], document["error"])
    return replace(response, body=json.dumps(document))
