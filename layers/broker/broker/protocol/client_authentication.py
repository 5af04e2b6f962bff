"""Client authentication at the token, refresh and revocation endpoints (RFC 6749 section 2.3, OAuth 2.1 section 2.4)."""

import base64
import binascii
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from broker.protocol import client_assertion
from broker.protocol.client_assertion import ClientAssertion
from broker.protocol.clients import Client
from broker.protocol.errors import INVALID_CLIENT, INVALID_REQUEST, OAuthError
from broker.protocol.parameters import Parameters

METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt", "none")
ASSERTION_ALGORITHMS = client_assertion.ALGORITHMS


@dataclass(frozen=True)
class Presented:
    """Who the request says it comes from, not yet believed.

    Attributes:
        secrets: spellings of the secret to try. For Basic the form-decoded one, as RFC 6749 section 2.3.1 says, and the
            raw one that many clients send; one client id and one secret all the same.
        assertion: the signed JWT of private_key_jwt, whose signature is still to be verified.
    """

    method: str
    client_id: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    assertion: ClientAssertion | None = None


def read(authorization: str | None, form: Parameters) -> Presented:
    """What the request presents.

    Errors: OAuthError invalid_request for two methods at once or two client ids (RFC 6749 section 2.3);
    invalid_client for no client id or a Basic header that cannot be read.
    """
    body_id, body_secret = form.get("client_id"), form.get("client_secret")
    assertion = form.get("client_assertion") or form.get("client_assertion_type")
    if sum(way is not None for way in (authorization, body_secret, assertion)) > 1:
        raise OAuthError(INVALID_REQUEST, "the client authenticates in more than one way")
    if assertion is not None:
        found = client_assertion.read(form.get("client_assertion_type"), form.get("client_assertion"), body_id)
        return Presented("private_key_jwt", found.client_id, assertion=found)
    if authorization is not None and authorization[:6].lower() == "basic ":
        return _basic(authorization[6:].strip(), body_id)
    if authorization is not None:
        raise OAuthError(INVALID_CLIENT, "the Authorization header is not of a scheme for client authentication")
    if body_id is None:
        raise OAuthError(INVALID_CLIENT, "the client is not named")
    if body_secret is not None:
        return Presented("client_secret_post", body_id, (body_secret,))
    return Presented("none", body_id)


def verify(presented: Presented, client: Client | None, *, signature_is_right: bool = False) -> Client:
    """The client, now believed. `signature_is_right`: of the assertion, by a key of this client's.

    Errors: OAuthError invalid_client, the same for an unknown client, a disabled one, a wrong secret and a wrong method,
    so that nobody can find out which clients exist.
    """
    # An unknown client is checked like a known one, so that both take the same time.
    candidate = client or _NOBODY
    matches = [candidate.knows_secret(secret) for secret in presented.secrets]
    secret_is_right = any(matches)
    method_is_right = presented.method in candidate.auth_methods
    proven = presented.method == "none" or secret_is_right
    if presented.method == "private_key_jwt":
        proven = signature_is_right
    if client is None or client.disabled or not method_is_right or not proven:
        raise OAuthError(INVALID_CLIENT, "client authentication failed")
    return client


_NOBODY = Client(client_id="", name="", redirect_uris=(), auth_methods=())


def _basic(encoded: str, body_id: str | None) -> Presented:
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise OAuthError(INVALID_CLIENT, "the Basic credentials cannot be read") from None
    raw_id, colon, raw_secret = text.partition(":")
    client_id = _form_decoded(raw_id)
    if not colon or not client_id:
        raise OAuthError(INVALID_CLIENT, "the Basic credentials cannot be read")
    if body_id is not None and body_id not in (client_id, raw_id):
        raise OAuthError(INVALID_REQUEST, "the client_id in the body is not the one in the Authorization header")
    if not raw_secret:
        return Presented("client_secret_basic", client_id)
    return Presented("client_secret_basic", client_id, tuple(dict.fromkeys((_form_decoded(raw_secret), raw_secret))))


def _form_decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "replace")
