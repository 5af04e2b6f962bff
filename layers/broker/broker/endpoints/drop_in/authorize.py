"""The authorization endpoint at the paths of dialects: what their applications leave out or write otherwise is put right."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from broker.endpoints import authorize
from broker.endpoints.authorize import Adapted, NoRedirect
from broker.endpoints.drop_in import dialect_at, with_default
from broker.gateway import Request, Response
from broker.pages import error as error_page
from broker.protocol.clients import OIDC_SCOPES, Client
from broker.protocol.parameters import Parameters, parse
from broker.protocol.registration import redirect_uri_fault
from broker.runtime import Runtime

if TYPE_CHECKING:
    from broker.upstream.serve import ServedDialect

STANDARD = "/authorize"
_USE = {("GET",): "Use GET here.", ("POST",): "Use POST here.", ("GET", "POST"): "Use GET or POST here."}


def respond(request: Request, runtime: Runtime) -> Response:
    """GET or POST /authorize, and the same endpoint at the paths of dialects."""
    dialect = dialect_at(request, STANDARD)
    if dialect is None:
        return authorize.respond(request, runtime)
    methods = dialect.authorize.methods
    if request.method not in methods:
        page = error_page.render(
            request,
            title="Sign-in cannot go on",
            explanation=_USE[methods],
            code="invalid_request",
            status=405,
        )
        return Response(page.status, page.body, {**page.headers, "allow": ", ".join(methods)})
    return authorize.respond(request, runtime, partial(_adapted, dialect, request))


def _adapted(dialect: "ServedDialect", request: Request, client: Client, parameters: Parameters) -> Adapted:
    """The request as the standard would have it. Errors: NoRedirect for a client that may not speak the dialect."""
    if client.dialect != dialect.name:
        raise NoRedirect("unauthorized_client", "The application that sent you here may not use this address.")
    served = dialect.authorize
    if served.raw_redirect_uri:
        parameters = _with_raw_redirect_uri(request, client, parameters)
    if served.response_type:
        parameters = with_default(parameters, "response_type", served.response_type)
    pairs = [
        (name, _scope(value, served.scope_separator, client) if name == "scope" else value)
        for name, value in parameters.pairs()
    ]
    # Whoever has a secret proves himself at the token endpoint; a public client has nothing but PKCE (RFC 9700 section 2.1.1).
    speaking = replace(client, require_pkce=client.is_public)
    if served.redirect == "free_query":
        speaking = replace(speaking, redirect_uris=_with_free_query(client.redirect_uris, parameters))
    return Adapted(speaking, Parameters(pairs), dialect.name)


def _scope(text: str, separator: str, client: Client) -> str:
    """The scope as the standard writes it. The guides have no scope for the profile, which every token is good for.

    One that names nothing stays empty, which is as if it were left out (RFC 6749 section 3.1): all that the client may have.
    """
    if not text.replace(separator, " ").strip():
        return ""
    own = [scope for scope in OIDC_SCOPES if scope in client.scope]
    return " ".join([*text.split(separator), *own])


def _with_raw_redirect_uri(request: Request, client: Client, parameters: Parameters) -> Parameters:
    """The parameters, with a registered redirect URI that stands in the query as it is, whatever is in it.

    Only the exact text of a registered URI is taken, so nothing can be put beside it. The longest one counts: another
    may begin like it.
    """
    query = f"&{request.raw_query}&"
    for uri in sorted(client.redirect_uris, key=len, reverse=True):
        written = f"&redirect_uri={uri}&"
        if request.method != "POST" and written in query:
            rest = parse(query.replace(written, "&", 1))
            return Parameters([*rest.pairs(), ("redirect_uri", uri)])
    return parameters


def _with_free_query(registered: tuple[str, ...], parameters: Parameters) -> tuple[str, ...]:
    """The registered redirect URIs and the one asked for, if it is one of them but for its query.

    What is before the query is compared as text, so there is no difference between two parsers to exploit; what is in the
    query must be fit to be registered itself, so that it holds no second code.
    """
    asked = parameters.get("redirect_uri") or ""
    place = asked.partition("?")[0]
    if redirect_uri_fault(asked) is None and place in {uri.partition("?")[0] for uri in registered}:
        return (*registered, asked)
    return registered
