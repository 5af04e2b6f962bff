"""Token introspection (RFC 7662), as JSON or as a signed JWT (RFC 9701): is a token good, and what does it say?

Answers the client that the token was issued to, and the servers that it is meant for; to everybody else every token is
inactive. Must never show anything of the provider's tokens, and never change anything.
"""

from dataclasses import dataclass

from broker import audit, clock
from broker.crypto import handles, tokens
from broker.crypto.handles import Kind
from broker.crypto.keys import KeyRing
from broker.crypto.tokens import AccessToken
from broker.endpoints import client_requests
from broker.endpoints.entry import json_response
from broker.gateway import Request, Response
from broker.grants import alive
from broker.protocol.capabilities import INTROSPECTION_JWT
from broker.protocol.clients import Client
from broker.protocol.errors import INVALID_CLIENT, OAuthError
from broker.protocol.parameters import Parameters
from broker.runtime import Runtime


@dataclass(frozen=True)
class ActiveToken:
    """What is told of a good token (RFC 7662 section 2.2). Times are epoch seconds.

    token_type: as in the token answer (RFC 6749 section 5.1); None for a refresh token, which no resource may take.
    """

    issuer: str
    client_id: str
    subject: str
    audience: tuple[str, ...]
    scope: tuple[str, ...]
    issued_at: int
    expires_at: int
    auth_time: int
    token_type: str | None = None
    token_id: str | None = None
    cnf_jkt: str | None = None

    def document(self) -> dict[str, object]:
        """The members of the answer."""
        members: dict[str, object] = {
            "active": True,
            "iss": self.issuer,
            "client_id": self.client_id,
            "sub": self.subject,
            "aud": self.audience[0] if len(self.audience) == 1 else list(self.audience),
            "scope": " ".join(self.scope),
            "iat": self.issued_at,
            "exp": self.expires_at,
            "auth_time": self.auth_time,
        }
        optional = {"token_type": self.token_type, "jti": self.token_id}
        members |= {name: value for name, value in optional.items() if value is not None}
        return members | ({"cnf": {"jkt": self.cnf_jkt}} if self.cnf_jkt is not None else {})


def respond(request: Request, runtime: Runtime) -> Response:
    """POST /introspect."""
    return client_requests.serve(request, runtime, _introspect, "introspect")


def _introspect(request: Request, runtime: Runtime, client: Client, form: Parameters) -> Response:
    """The hint is not needed, as a token says itself what it is."""
    if client.is_public:
        # RFC 7662 section 2.1: anybody could claim the id of a public client and try out tokens.
        raise OAuthError(INVALID_CLIENT, "introspection is for clients that authenticate")
    text = form.require("token")
    ring = runtime.keys.ring()
    found = _access_token(request, runtime, ring, client, text) or _refresh_token(request, runtime, ring, client, text)
    document: dict[str, object] = found.document() if found is not None else {"active": False}
    if not _wants_jwt(request.headers.get("accept", "")):
        return json_response(document)
    # RFC 9701 section 5. No sub and no exp of its own, so that it cannot pass for an access token.
    claims = {"iss": request.issuer, "aud": client.client_id, "iat": clock.now(), "token_introspection": document}
    signed = tokens.sign(claims, ring, tokens.known_algorithm(client.id_token_alg), "token-introspection+jwt")
    return Response(200, signed, {"content-type": INTROSPECTION_JWT})


def _access_token(request: Request, runtime: Runtime, ring: KeyRing, caller: Client, text: str) -> ActiveToken | None:
    token = tokens.read_access_token(text, ring, request.issuer)
    if token is None or not _may_know(caller, token) or not _client_is_enabled(runtime, caller, token.client_id):
        return None
    grant, _ = runtime.grants.read(token.grant_id)
    if grant is None or not alive.stands_behind_access(grant, token.grant_secret):
        return None
    return ActiveToken(
        issuer=token.issuer,
        client_id=token.client_id,
        subject=token.subject,
        audience=token.audience,
        scope=token.scope,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
        auth_time=token.auth_time,
        token_type="Bearer" if token.cnf_jkt is None else "DPoP",
        token_id=token.token_id,
        cnf_jkt=token.cnf_jkt,
    )


def _refresh_token(request: Request, runtime: Runtime, ring: KeyRing, caller: Client, text: str) -> ActiveToken | None:
    """A refresh token is the business of its own client alone. It is meant for the broker, so that is its audience: a
    server that took one for an access token would find itself not named in it."""
    handle = handles.read(Kind.REFRESH, text, ring)
    if handle is None:
        return None
    grant, _ = runtime.grants.read(handle.grant_id)
    window = caller.retry_window if caller.retry_window is not None else runtime.settings.retry_window
    if grant is None or grant.client_id != caller.client_id:
        return None
    if not alive.stands_behind_refresh(grant, handle.generation, handle.secret, window):
        return None
    return ActiveToken(
        issuer=request.issuer,
        client_id=grant.client_id,
        subject=grant.subject,
        audience=(request.issuer,),
        scope=grant.granted_scope,
        issued_at=grant.rotated_at,
        expires_at=grant.token_ends_at,
        auth_time=grant.auth_time,
    )


def _may_know(caller: Client, token: AccessToken) -> bool:
    """RFC 7662 section 4: the client that it was issued to, and who answers for a resource that it is meant for."""
    if token.client_id == caller.client_id or set(token.audience) & set(caller.served_resources):
        return True
    audit.event("introspection.refused", client_id=caller.client_id, reason="serves no resource of the token's")
    return False


def _client_is_enabled(runtime: Runtime, caller: Client, client_id: str) -> bool:
    """Whether the client that holds the token is still there: userinfo would refuse its token as well."""
    if client_id == caller.client_id:
        return True
    holder = runtime.client(client_id)
    return holder is not None and not holder.disabled


def _wants_jwt(accept: str) -> bool:
    """Whether the Accept header names the JWT form (RFC 9110 section 12.5.1); a wildcard does not ask for it."""
    for entry in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        if media_type == INTROSPECTION_JWT and not {"q=0", "q=0.0", "q=0.00", "q=0.000"} & set(parameters):
            return True
    return False
