"""Client metadata as it is on the wire (RFC 7591 section 2, OpenID Connect Registration section 2) <-> a Client.

The one mapping, for registration, its management and client id metadata documents. Pure. What the operator decides about a
client (its providers, its lifetimes) is never read from here. Members that are not known are ignored (RFC 7591 section 2).
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from broker.protocol import client_id_urls
from broker.protocol.authorization_request import RESPONSE_TYPES
from broker.protocol.capabilities import GRANT_TYPES
from broker.protocol.clients import SECRET_METHODS, Client, web_origin
from broker.protocol.errors import INVALID_CLIENT_METADATA, INVALID_REDIRECT_URI, OAuthError
from broker.protocol.registration import (
    InvalidRegistration,
    default_origins,
    is_scope_token,
    redirect_uri_fault,
    validate_client,
)
from broker.protocol.registration_policy import RegistrationPolicy

_WIRE_NAMES = {
    "name": "client_name",
    "auth_methods": "token_endpoint_auth_method",
    "id_token_alg": "id_token_signed_response_alg",
    "require_par": "require_pushed_authorization_requests",
    "dpop_bound": "dpop_bound_access_tokens",
}
"""Field of Client -> member, where the two differ."""
_TEXTS = (
    *("client_uri", "logo_uri", "policy_uri", "tos_uri", "jwks_uri", "software_id", "software_version"),
    "backchannel_logout_uri",
)
_DEFAULT_METHOD = "client_secret_basic"
"""RFC 7591 section 2."""


def described_client(
    base: Client, document: Mapping[str, Any], policy: RegistrationPolicy, limits: Mapping[str, tuple[int, int]]
) -> Client:
    """`base` with all that a client may say of itself replaced by `document`: a member left out gets its default.

    The secrets of `base` stay if the authentication method needs one. `limits`: as for `validate_client`.
    Errors: InvalidRegistration naming the field of Client, or the member where there is no such field.
    """
    method = _text(document, "token_endpoint_auth_method") or _DEFAULT_METHOD
    grant_types = _grant_types(document, policy)
    redirect_uris = _texts(document, "redirect_uris", "redirect_uris")
    stated: dict[str, Any] = {name: _text(document, name) for name in _TEXTS}
    client = replace(
        base,
        name=_text(document, "client_name") or base.client_id,
        redirect_uris=redirect_uris,
        auth_methods=(method,),
        secrets=base.secrets if method in SECRET_METHODS else (),
        grant_types=grant_types,
        scope=_scope(document, policy, base),
        jwks=_key_set(document),
        contacts=_texts(document, "contacts", "contacts"),
        post_logout_redirect_uris=_texts(document, "post_logout_redirect_uris", "post_logout_redirect_uris"),
        application_type=_text(document, "application_type") or _likely_type(redirect_uris),
        id_token_alg=_text(document, "id_token_signed_response_alg") or "RS256",
        require_par=_flag(document, "require_pushed_authorization_requests"),
        dpop_bound=_flag(document, "dpop_bound_access_tokens"),
        **stated,
    )
    _check_responses(document, client)
    if (_text(document, "subject_type") or "public") != "public":
        raise InvalidRegistration("subject_type", "only public is supported")
    for field in ("redirect_uris", "post_logout_redirect_uris"):
        for uri in getattr(client, field):
            if redirect_uri_fault(uri) is None and not policy.lets_redirect_to(uri):
                raise InvalidRegistration(field, "has one at a place that may not be registered here")
    validate_client(client, limits)
    return replace(client, origins=default_origins(client))


def document_client(
    client_id: str, document: Mapping[str, Any], policy: RegistrationPolicy, limits: Mapping[str, tuple[int, int]]
) -> Client:
    """The client of a client id metadata document that was found at `client_id`.

    Errors: InvalidRegistration (draft-ietf-oauth-client-id-metadata-document section 4.1).
    """
    if document.get("client_id") != client_id:
        raise InvalidRegistration("client_id", "must be the document's own URL, character by character")
    if any(name.startswith("client_secret") for name in document):
        raise InvalidRegistration("client_secret", "a public document cannot keep a secret")
    method = _text(document, "token_endpoint_auth_method") or "none"
    if method not in ("none", "private_key_jwt"):
        raise InvalidRegistration(
            "auth_methods", "must be none or private_key_jwt, as a public document keeps no secret"
        )
    host = client_id_urls.host_of(client_id)
    name = _text(document, "client_name") or host
    stated = {**document, "client_name": name, "token_endpoint_auth_method": method}
    return described_client(new_client(client_id, policy, created_at=0), stated, policy, limits)


def new_client(client_id: str, policy: RegistrationPolicy, *, created_at: int) -> Client:
    """A client with what the operator decided for all that nobody registered by hand, and nothing of its own yet."""
    return Client(
        client_id=client_id,
        name=client_id,
        redirect_uris=(),
        providers=policy.providers,
        scope=policy.scope,
        resources=policy.resources,
        access_token_lifetime=policy.access_token_lifetime,
        idle_lifetime=policy.idle_lifetime,
        absolute_lifetime=policy.absolute_lifetime,
        retry_window=policy.retry_window,
        first_party=False,
        dynamic=True,
        created_at=created_at,
    )


def document_of(client: Client) -> dict[str, object]:
    """All that is registered about a client (RFC 7591 section 3.2.1), with the defaults of what it left out; no secrets."""
    document: dict[str, object] = {
        "client_id": client.client_id,
        "client_id_issued_at": client.created_at,
        "redirect_uris": list(client.redirect_uris),
        "token_endpoint_auth_method": client.auth_methods[0],
        "grant_types": list(client.grant_types),
        "response_types": list(_response_types(client)),
        "scope": " ".join(client.scope),
        "application_type": client.application_type,
        "subject_type": "public",
        "id_token_signed_response_alg": client.id_token_alg,
        "require_pushed_authorization_requests": client.require_par,
        "dpop_bound_access_tokens": client.dpop_bound,
    }
    if client.name != client.client_id:
        document["client_name"] = client.name
    if client.jwks is not None:
        document["jwks"] = json.loads(client.jwks)
    for name in ("contacts", "post_logout_redirect_uris"):
        if getattr(client, name):
            document[name] = list(getattr(client, name))
    stated = {name: getattr(client, name) for name in _TEXTS}
    return document | {name: value for name, value in stated.items() if value is not None}


def refusal(invalid: InvalidRegistration) -> OAuthError:
    """The error of RFC 7591 section 3.2.2 for a broken rule."""
    kind = INVALID_REDIRECT_URI if invalid.field == "redirect_uris" else INVALID_CLIENT_METADATA
    member = _WIRE_NAMES.get(invalid.field, invalid.field)
    return OAuthError(kind, f"{member} {invalid.rule}", detail=member)


def _grant_types(document: Mapping[str, Any], policy: RegistrationPolicy) -> tuple[str, ...]:
    """What the policy leaves of the grant types asked for: the server may replace them (RFC 7591 section 2)."""
    asked = _texts(document, "grant_types", "grant_types") or ("authorization_code",)
    if set(asked) - set(GRANT_TYPES):
        raise InvalidRegistration("grant_types", f"must be of {', '.join(GRANT_TYPES)}")
    allowed = tuple(dict.fromkeys(name for name in asked if name in policy.grant_types))
    if not allowed:
        raise InvalidRegistration("grant_types", f"must have one of {', '.join(policy.grant_types)}")
    return allowed


def _scope(document: Mapping[str, Any], policy: RegistrationPolicy, base: Client) -> tuple[str, ...]:
    """What may be had of the scope asked for, as RFC 7591 section 2 lets the server replace it; all when none is asked for."""
    text = _text(document, "scope")
    if text is None:
        return policy.scope
    asked = tuple(dict.fromkeys(token for token in text.split(" ") if token))
    if not all(is_scope_token(token) for token in asked):
        raise InvalidRegistration("scope", "has characters that no scope may have (RFC 6749 section 3.3)")
    # What the operator gave this one client stays within its reach.
    reach = {*policy.scope, *base.scope}
    allowed = tuple(token for token in asked if token in reach)
    if asked and not allowed:
        raise InvalidRegistration("scope", "has nothing that may be registered here")
    return allowed or policy.scope


def _check_responses(document: Mapping[str, Any], client: Client) -> None:
    """Response types go with grant types (RFC 7591 section 2.1)."""
    asked = _texts(document, "response_types", "response_types")
    if not asked and document.get("response_types") is None:
        return
    if set(asked) != set(_response_types(client)):
        expected = " ".join(_response_types(client)) or "none"
        raise InvalidRegistration("response_types", f"must be {expected}, as the grant types want it")


def _response_types(client: Client) -> tuple[str, ...]:
    return RESPONSE_TYPES if "authorization_code" in client.grant_types else ()


def _likely_type(redirect_uris: tuple[str, ...]) -> str:
    """OpenID Connect's default is web; but who left it out never heard of it, and native apps are known by their URIs."""
    is_web = all(_is_https(uri) for uri in redirect_uris)
    return "web" if is_web else "native"


def _is_https(uri: str) -> bool:
    try:
        return web_origin(uri) is not None and urlsplit(uri).scheme == "https"
    except ValueError:  # a redirect URI that the check is about to refuse
        return True


def _key_set(document: Mapping[str, Any]) -> str | None:
    value = document.get("jwks")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidRegistration("jwks", "must be a JSON object")
    return json.dumps(value, separators=(",", ":"))


def _text(document: Mapping[str, Any], name: str) -> str | None:
    """A text; None when it is absent, null or empty, which mean the same (RFC 7592 section 2.2)."""
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRegistration(name, "must be a string")
    return value or None


def _texts(document: Mapping[str, Any], name: str, field: str) -> tuple[str, ...]:
    value = document.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise InvalidRegistration(field, "must be an array of strings")
    return tuple(value)


def _flag(document: Mapping[str, Any], name: str) -> bool:
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRegistration(name, "must be true or false")
    return value or False
