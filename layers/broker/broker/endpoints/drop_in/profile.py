"""Userinfo at the paths of dialects: the person's profile in the shape that a guide gives it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker import audit
from broker.endpoints import bearer, cors, userinfo
from broker.endpoints.bearer import ExpiredToken, NoCredentials, Session
from broker.endpoints.drop_in import dialect_at
from broker.endpoints.entry import json_response, method_not_allowed, unavailable
from broker.endpoints.rate_limits import Gate
from broker.gateway import Request, Response
from broker.protocol.claims import claims_for
from broker.protocol.clients import Client
from broker.protocol.errors import INVALID_REQUEST, INVALID_TOKEN, OAuthError
from broker.protocol.parameters import MalformedParameters
from broker.runtime import Runtime
from broker.store.aws import StoreUnavailable

if TYPE_CHECKING:
    from broker.upstream.dialect import Profile
    from broker.upstream.serve import ServedDialect, ServedProfile

STANDARD = "/userinfo"
_LARGEST_NUMBER = 2**53
"""What reaches this loses digits in clients that read JSON numbers as floats, and may then be somebody else's."""


def respond(request: Request, runtime: Runtime) -> Response:
    """GET or POST /userinfo, and GET at the paths of dialects."""
    dialect = dialect_at(request, STANDARD)
    if dialect is None or dialect.profile is None:
        return userinfo.respond(request, runtime)
    if request.method == "OPTIONS":
        return _preflight(request, runtime, dialect.profile)
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed("GET", headers=_cors(request, runtime, None, dialect.profile))
    return _answer(request, runtime, dialect, dialect.profile)


def _answer(request: Request, runtime: Runtime, dialect: ServedDialect, served: ServedProfile) -> Response:
    client: Client | None = None
    gate: Gate | None = None
    fault = "invalid"
    try:
        request = _with_bearer(request, served)
        token = bearer.access_token(request, runtime, in_form=True)
        gate = Gate(request, runtime, "userinfo", token)
        gate.admit()
        client = bearer.client_of(runtime, token)
        gate.count(None)
        bearer.check_key(request, runtime, token)
        if client.dialect != dialect.name:
            raise OAuthError(INVALID_TOKEN, "the access token is not for the dialect of this address")
        fault = "revoked"
        session = bearer.session_of(runtime, token, client, userinfo.REFUSED)
        gate.forgive()  # what the provider refuses from here on is no guess at anything of ours
        document = _document(session, userinfo.profile_of(runtime, request.issuer, session), served)
        return gate.close(json_response(document, headers=_cors(request, runtime, client, served)))
    except NoCredentials:
        if "missing" not in served.faults:
            return _challenge(request, served, _cors(request, runtime, client, served))
        fault, error = "missing", OAuthError(INVALID_TOKEN, "an access token is needed")
    except ExpiredToken as refusal:
        fault, error = "expired", refusal
    except OAuthError as refusal:
        error = refusal
    except StoreUnavailable as failure:
        audit.unavailable(failure)
        error = unavailable()
    refused = _refusal(request, error, fault, served, _cors(request, runtime, client, served))
    return gate.close(refused) if gate is not None else refused


def _with_bearer(request: Request, served: ServedProfile) -> Request:
    """The request with its access token in the header, where the dialect lets it be in the query."""
    try:
        query = request.query()
    except MalformedParameters as error:
        raise OAuthError(INVALID_REQUEST, str(error)) from None
    if "query" not in served.token or query.get("access_token") is None:
        return request
    if len(query.all("access_token")) > 1 or "authorization" in request.headers:
        raise OAuthError(INVALID_REQUEST, "the access token is there in more than one way")
    return replace(request, headers={**request.headers, "authorization": f"Bearer {query.get('access_token')}"})


def _document(session: Session, profile: Profile | None, served: ServedProfile) -> dict[str, object]:
    claims = claims_for(session.token.scope, dict(profile.claims)) if profile else {}
    values = {"subject": _subject(session, profile), **{name: value for name, value in claims.items() if value}}
    document: dict[str, object] = dict(served.constants)
    for member, sources in served.members.items():
        value = next((values[source] for source in sources if source in values), None)
        document[member] = _number(value) if member in served.numbers else value
    return document


def _subject(session: Session, profile: Profile | None) -> str:
    """The person's id as the application knows it: the provider's own, as long as there is only one provider.

    Two providers may have the same id for different people, and the application would take one for the other.
    """
    if profile is None or len(session.client.providers) != 1:
        return session.grant.subject
    return profile.subject


def _number(value: object) -> object:
    """The number that a text is, if it is written back as the same text and no client loses a digit of it."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        number = int(value)
        if str(number) == value and number < _LARGEST_NUMBER:
            return number
    return value


def _challenge(request: Request, served: ServedProfile, headers: dict[str, str]) -> Response:
    """How to authenticate, and nothing of an error: who came without a token has made none (RFC 6750 section 3.1)."""
    return Response(401, headers={**headers, "www-authenticate": f'Bearer realm="{served.realm or request.issuer}"'})


def _refusal(
    request: Request, error: OAuthError, fault: str, served: ServedProfile, headers: dict[str, str]
) -> Response:
    """The error in the dialect's shape, with the words of its challenge (RFC 6750 section 3)."""
    status, text = error.kind.status, error.description
    if error.kind is INVALID_TOKEN:
        text = served.faults.get(fault, text)
        realm = served.realm or request.issuer
        headers["www-authenticate"] = f'Bearer realm="{realm}", error="invalid_token", error_description="{text}"'
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if served.body == "nested":
        return json_response({"error": {"message": text, "code": status}}, status, headers)
    return json_response({"error": error.kind.code, "error_description": text}, status, headers)


def _preflight(request: Request, runtime: Runtime, served: ServedProfile) -> Response:
    if served.cors == "listed":
        return cors.preflight(request, runtime, "GET")
    return cors.any_origin_preflight("GET", ("Authorization",), _ANY_ORIGIN)


_ANY_ORIGIN = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": ", ".join(cors.EXPOSED),
}
"""For an answer that no cookie opens: whoever has the access token can read it anyway, from a page or not."""


def _cors(request: Request, runtime: Runtime, client: Client | None, served: ServedProfile) -> dict[str, str]:
    if served.cors == "any":
        return dict(_ANY_ORIGIN)
    return cors.headers_of_error(request, runtime, client)
