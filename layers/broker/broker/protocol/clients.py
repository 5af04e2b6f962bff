"""What a registered client is and may do. A value; reading and writing it is the store's business."""

import hashlib
import hmac
from dataclasses import dataclass, field
from urllib.parse import urlsplit

OIDC_SCOPES = ("openid", "profile", "email", "offline_access")
"""Scopes the broker itself understands. Every other scope belongs to the provider and is passed on to it."""

MAX_ENTRIES = 50
"""Of each of a client's lists, and so of what one request may ask for."""
SECRET_METHODS = ("client_secret_basic", "client_secret_post")


@dataclass(frozen=True)
class ClientSecret:
    """A client secret as the Registry holds it: SHA-256 (hex) of a 256-bit random value, and when it was made.

    The value has full entropy, so a slow password hash would add time and no safety.
    """

    sha256: str
    created_at: int


@dataclass(frozen=True)
class Client:
    """A client of the broker. Durations are seconds; None means the deployment's default.

    Attributes:
        auth_methods: `("none",)` for a public client, else one or more of SECRET_METHODS, or `("private_key_jwt",)` (OpenID
            Connect Core section 9).
        secrets: at most two, so that a secret can be rotated without an outage.
        redirect_uris: compared as exact strings (RFC 9700 section 2.1), but for the port of a loopback IP (RFC 8252).
        origins: browser origins that may call token, refresh, revoke and userinfo (CORS).
        providers: names of the providers this client may use; the only one is the default.
        scope: scopes the client may ask for; all of them when it asks for none.
        resources: resource indicators it may ask for (RFC 8707).
        refresh_cookie: its refresh token travels only in an HttpOnly cookie.
        require_redirect_uri: refuse a token request that leaves redirect_uri out (OAuth 2.0's rule; 2.1 dropped it).
        require_pkce: True unless a confidential client was registered without it.
        id_token_alg: ES256 or RS256 (OpenID Connect Registration: id_token_signed_response_alg).
        access_token_format: "jwt" (RFC 9068) or "opaque".
        access_token_alg: signature of its JWT access tokens.
        first_party: run by whoever runs the broker. Others need the person's consent, or any registered client could
            use the provider's silent approval of the one upstream client they all share.
        dynamic: registered itself (RFC 7591), or is described by the document that its client_id points to.
        jwks, jwks_uri: public keys for private_key_jwt (RFC 7523), as JSON text or where to fetch them.
        require_par: only pushed authorization requests (RFC 9126 section 6).
        dpop_bound: all its tokens are bound to a key (RFC 9449 section 5.2).
        served_resources: resource indicators that it answers for; it may introspect tokens for them (RFC 7662).
        post_logout_redirect_uris, backchannel_logout_uri: OpenID Connect RP-Initiated and Back-Channel Logout.
        client_uri, logo_uri, policy_uri, tos_uri: shown to people (RFC 7591 section 2).
        contacts, software_id, software_version: what a client that registered itself said of itself, for the operator.
        application_type: "web" or "native" (OpenID Connect Registration section 2).
        registration_token: SHA-256 (hex) of its registration access token (RFC 7592).
        dialect: name of the provider whose dialect it may speak to the broker, at that dialect's own paths; None is
            standard OAuth alone.
        token_by_get: there it may also ask for tokens by GET, which puts its secret into the URL.
        token_exchange: names of the providers whose access tokens it may be given (RFC 8693).
        proxy: names of the providers whose APIs it may call through the broker.
    """

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    auth_methods: tuple[str, ...] = ("none",)
    secrets: tuple[ClientSecret, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    scope: tuple[str, ...] = OIDC_SCOPES
    grant_types: tuple[str, ...] = ("authorization_code", "refresh_token")
    resources: tuple[str, ...] = ()
    refresh_cookie: bool = False
    require_redirect_uri: bool = False
    require_pkce: bool = True
    id_token_alg: str = "RS256"
    access_token_format: str = "jwt"
    access_token_alg: str = "ES256"
    first_party: bool = True
    dynamic: bool = False
    jwks: str | None = None
    jwks_uri: str | None = None
    require_par: bool = False
    dpop_bound: bool = False
    served_resources: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str | None = None
    client_uri: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    contacts: tuple[str, ...] = ()
    software_id: str | None = None
    software_version: str | None = None
    application_type: str = "web"
    registration_token: str | None = field(default=None, repr=False)
    dialect: str | None = None
    token_by_get: bool = False
    token_exchange: tuple[str, ...] = ()
    proxy: tuple[str, ...] = ()
    access_token_lifetime: int | None = None
    idle_lifetime: int | None = None
    absolute_lifetime: int | None = None
    retry_window: int | None = None
    disabled: bool = False
    created_at: int = 0

    @property
    def is_public(self) -> bool:
        """True when the client cannot keep a secret (RFC 6749 section 2.1)."""
        return self.auth_methods == ("none",)

    @property
    def uses_secret(self) -> bool:
        """True when it authenticates by a secret of its own, in whichever place (RFC 6749 section 2.3.1)."""
        return not set(SECRET_METHODS).isdisjoint(self.auth_methods)

    def acts_at(self, provider: str) -> bool:
        """Whether it may use people's accounts at that provider: its API through the broker, or the access token itself. What
        that opens no scope of the client's limits."""
        return provider in self.proxy or provider in self.token_exchange

    def knows_secret(self, secret: str) -> bool:
        """Whether `secret` is one of this client's, compared in constant time."""
        digest = hash_secret(secret)
        matches = [hmac.compare_digest(digest, known.sha256) for known in self.secrets]
        return any(matches)


def hash_secret(secret: str) -> str:
    """SHA-256 of a client secret, in hex: the form in which the Registry keeps it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def web_origin(uri: str) -> str | None:
    """The browser origin of an http(s) URI (RFC 6454), or None for a URI that no browser page lives at."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"
