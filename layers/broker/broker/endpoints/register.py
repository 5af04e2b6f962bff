"""Clients that register themselves (RFC 7591), and what they may do with their registration afterwards (RFC 7592).

A client secret and a registration access token are in the one answer that makes them, and nowhere else: the Registry has
their SHA-256. Any browser origin may call, as nothing here is proven by a cookie.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from broker import audit, clock
from broker.endpoints import cors
from broker.endpoints.entry import error_response, json_response, method_not_allowed, unavailable
from broker.endpoints.rate_limits import Gate
from broker.gateway import Request, Response
from broker.protocol import client_metadata
from broker.protocol.clients import Client, ClientSecret, hash_secret
from broker.protocol.errors import (
    INVALID_CLIENT_METADATA,
    INVALID_REQUEST,
    INVALID_TOKEN,
    REGISTRATION_REFUSED,
    UNSUPPORTED_MEDIA_TYPE,
    OAuthError,
)
from broker.protocol.json_documents import MalformedDocument, parse_object
from broker.protocol.registration import InvalidRegistration
from broker.runtime import Runtime
from broker.settings import LIMITS
from broker.store.aws import StoreUnavailable
from broker.store.registry import Changed
from broker.store.self_registered import InitialTokenRefused, RegistrationGone, TooManyClients

MAX_BODY = 32 * 1024
INITIAL_TOKEN_PREFIX = "tbi_"
MANAGED_BY_SERVER = (
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
)
"""Members that an update must not have (RFC 7592 section 2.2)."""

_HEADERS = ("Content-Type", "Authorization", "MCP-Protocol-Version")
_ANY_ORIGIN = {"access-control-allow-origin": "*", "access-control-expose-headers": "WWW-Authenticate, Retry-After"}


@dataclass(frozen=True)
class _Made:
    """A client as it is to be stored, and its secret where a new one was made."""

    client: Client
    secret: str | None = field(default=None, repr=False)


def respond(request: Request, runtime: Runtime) -> Response:
    """POST /register; GET, HEAD, PUT and DELETE /register/{client_id}."""
    client_id = request.path_parameters.get("client_id")
    methods = ("POST",) if client_id is None else ("GET", "HEAD", "PUT", "DELETE")
    if request.method == "OPTIONS":
        response = _preflight(methods)
    elif request.method not in methods:
        response = method_not_allowed(*methods)
    else:
        gate = Gate(request, runtime, "register")
        response = gate.close(_answer(request, runtime, client_id, gate))
    return Response(response.status, response.body, {**response.headers, **_ANY_ORIGIN})


def _answer(request: Request, runtime: Runtime, client_id: str | None, gate: Gate) -> Response:
    try:
        gate.admit()
        gate.count(None)
        return _register(request, runtime) if client_id is None else _manage(request, runtime, client_id)
    except InvalidRegistration as invalid:
        error = client_metadata.refusal(invalid)
    except StoreUnavailable as failure:
        audit.unavailable(failure)
        return error_response(unavailable())
    except OAuthError as refused:
        error = refused
    known = client_id if client_id is not None and len(client_id) <= 128 else None
    audit.event("registration.refused", client_id=known, error=error.kind.code, detail=error.detail)
    return error_response(error, _challenge(request, error))


# -- registration (RFC 7591) ---------------------------------------------------------------------------------------


def _register(request: Request, runtime: Runtime) -> Response:
    policy = runtime.registrations.policy()
    if not policy.lets_register():
        raise OAuthError(REGISTRATION_REFUSED, "clients are registered by the operator of this server")
    initial_token = _initial_token(request, runtime) if policy.mode == "token" else None
    document = _body(request)
    now = clock.now()
    made = _made(client_metadata.new_client(_new_id(), policy, created_at=now), document, runtime)
    token = f"tbg_{secrets.token_urlsafe(32)}"
    client = replace(made.client, registration_token=hash_secret(token))
    try:
        runtime.self_registered.register(client, initial_token=initial_token, max_clients=policy.max_clients)
    except InitialTokenRefused:
        raise _unusable_initial_token() from None
    except TooManyClients:
        raise OAuthError(
            REGISTRATION_REFUSED, "there are as many clients here as there may be", detail="max_clients"
        ) from None
    audit.event("client.registered", client_id=client.client_id, initial_token=(initial_token or "")[:16])
    return json_response(_information(request, replace(made, client=client), token), 201)


def _initial_token(request: Request, runtime: Runtime) -> str:
    """SHA-256 (hex) of the initial access token, which is usable as far as can be known before the write.

    Errors: OAuthError invalid_token.
    """
    presented = _bearer(request)
    if presented is None:
        raise OAuthError(INVALID_TOKEN, "an initial access token is needed to register", detail="no token")
    digest = hash_secret(presented)
    known = runtime.registrations.initial_token(digest) if presented.startswith(INITIAL_TOKEN_PREFIX) else None
    if known is None or not known.is_usable():
        raise _unusable_initial_token()
    return digest


def _unusable_initial_token() -> OAuthError:
    return OAuthError(INVALID_TOKEN, "the initial access token is unknown, expired or used up", detail="wrong token")


def _made(base: Client, document: Mapping[str, Any], runtime: Runtime) -> _Made:
    """`base` as the document describes it. A secret is made if it needs one and has none. Errors: InvalidRegistration."""
    secret = None if base.secrets else f"tbcs_{secrets.token_urlsafe(32)}"
    if secret is not None:
        base = replace(base, secrets=(ClientSecret(hash_secret(secret), clock.now()),))
    client = client_metadata.described_client(base, document, runtime.registrations.policy(), LIMITS)
    return _Made(client, secret if client.secrets else None)


# -- management (RFC 7592) -----------------------------------------------------------------------------------------


def _manage(request: Request, runtime: Runtime, client_id: str) -> Response:
    client, token = _managed_client(request, runtime, client_id)
    if client.disabled:
        raise OAuthError(REGISTRATION_REFUSED, "this client has been switched off by the operator")
    if request.method in ("GET", "HEAD"):
        return json_response(_information(request, _Made(client), token))
    try:
        if request.method == "DELETE":
            runtime.self_registered.unregister(client)
            runtime.registry.forget()
            audit.event("client.unregistered", client_id=client_id)
            return Response(204)
        made = _updated(client, _body(request), runtime)
        runtime.self_registered.change(client, made.client)
    except RegistrationGone:
        raise _wrong_registration_token() from None
    except Changed:
        raise unavailable() from None
    runtime.registry.forget()
    audit.event("client.changed", client_id=client_id)
    return json_response(_information(request, made, token))


def _managed_client(request: Request, runtime: Runtime, client_id: str) -> tuple[Client, str]:
    """The client whose registration access token was sent, and that token; unknown clients look like wrong tokens."""
    presented = _bearer(request)
    if presented is None:
        raise OAuthError(INVALID_TOKEN, "the registration access token is needed", detail="no token")
    client = runtime.self_registered.client(client_id)
    expected = client.registration_token if client is not None else None
    if client is None or not hmac.compare_digest(hash_secret(presented), expected or ""):
        raise _wrong_registration_token()
    return client, presented


def _wrong_registration_token() -> OAuthError:
    return OAuthError(INVALID_TOKEN, "the registration access token is not this client's", detail="wrong token")


def _updated(client: Client, document: Mapping[str, Any], runtime: Runtime) -> _Made:
    """RFC 7592 section 2.2: the document replaces all that the client said before. Errors: OAuthError, InvalidRegistration."""
    managed = [name for name in MANAGED_BY_SERVER if name in document]
    if managed:
        raise OAuthError(INVALID_REQUEST, f"{managed[0]} is the server's to set")
    if document.get("client_id") != client.client_id:
        raise OAuthError(INVALID_REQUEST, "client_id must be the client's own")
    secret = document.get("client_secret")
    if secret is not None and not (isinstance(secret, str) and client.knows_secret(secret)):
        raise OAuthError(INVALID_REQUEST, "client_secret must be the present one, as clients may not choose theirs")
    return _made(client, document, runtime)


# -- shared --------------------------------------------------------------------------------------------------------


def _body(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Errors: OAuthError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise OAuthError(UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be application/json")
    try:
        return parse_object(request.body, max_bytes=MAX_BODY)
    except MalformedDocument as malformed:
        raise OAuthError(INVALID_CLIENT_METADATA, str(malformed), detail="malformed") from None


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _new_id() -> str:
    return f"dyn_{secrets.token_urlsafe(16)}"


def _information(request: Request, made: _Made, token: str) -> dict[str, object]:
    """The client information response (RFC 7591 section 3.2.1, RFC 7592 section 3)."""
    document = client_metadata.document_of(made.client) | {
        "registration_client_uri": f"{request.issuer}/register/{made.client.client_id}",
        "registration_access_token": token,
    }
    if made.secret is None:
        return document
    return document | {"client_secret": made.secret, "client_secret_expires_at": 0}


def _challenge(request: Request, error: OAuthError) -> dict[str, str]:
    """RFC 6750 section 3: a request without a token learns the scheme alone, one with a wrong token learns that."""
    if error.kind is not INVALID_TOKEN:
        return {}
    reason = ', error="invalid_token"' if _bearer(request) is not None else ""
    return {"www-authenticate": f'Bearer realm="{request.issuer}"{reason}'}


def _preflight(methods: tuple[str, ...]) -> Response:
    shown = ", ".join(methods)
    return cors.any_origin_preflight(shown, _HEADERS, {"allow": shown})
