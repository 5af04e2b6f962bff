"""The answer of the token endpoint: access token, refresh token, ID token (RFC 6749 section 5.1, OpenID Connect Core)."""

from dataclasses import dataclass, field

from broker import clock
from broker.crypto import handles, tokens
from broker.crypto.handles import Handle, Kind
from broker.crypto.keys import KeyRing
from broker.grants import reconnect_request
from broker.protocol.claims import claims_for
from broker.protocol.clients import Client
from broker.settings import Settings
from broker.store.grants import Grant


@dataclass(frozen=True)
class TokenAnswer:
    """A successful token response.

    refresh_lifetime: seconds until the refresh token expires if it is not used.
    state: of the authorization request, only where that was in a dialect.
    reconnect_url: where the person may be asked for what the provider did not grant, only where something is missing.
    """

    access_token: str = field(repr=False)
    expires_in: int
    scope: tuple[str, ...]
    refresh_token: str | None = field(default=None, repr=False)
    refresh_lifetime: int = 0
    id_token: str | None = field(default=None, repr=False)
    token_type: str = "Bearer"
    state: str | None = None
    reconnect_url: str | None = None

    def document(self, *, with_refresh_token: bool) -> dict[str, object]:
        """The members of the JSON answer."""
        members: dict[str, object] = {
            "access_token": self.access_token,
            "token_type": self.token_type,
            "expires_in": self.expires_in,
            "scope": " ".join(self.scope),
        }
        if self.refresh_token is not None and with_refresh_token:
            members["refresh_token"] = self.refresh_token
        if self.id_token is not None:
            members["id_token"] = self.id_token
        if self.reconnect_url is not None:
            members["reconnect_url"] = self.reconnect_url
        return members


@dataclass(frozen=True)
class Issuer:
    """What is needed to issue tokens for one request.

    jkt: thumbprint of the DPoP key that the request proved; the access token is bound to it (RFC 9449 section 5).
    """

    url: str
    ring: KeyRing
    settings: Settings
    jkt: str | None = None

    def access_lifetime(self, client: Client) -> int:
        """Seconds that a new access token of this client lives, before the login's own end is counted in."""
        return client.access_token_lifetime or self.settings.access_token_lifetime

    def idle_lifetime(self, client: Client) -> int:
        """Seconds that a login of this client lives unused. Without refresh tokens, as long as its access token."""
        if "refresh_token" not in client.grant_types:
            return self.access_lifetime(client)
        return client.idle_lifetime or self.settings.idle_lifetime

    def grantable(self, resource: tuple[str, ...]) -> tuple[str, ...]:
        """Of the resources asked for, those that must have been granted. The broker itself, which is what userinfo
        belongs to, may always be asked for."""
        return tuple(entry for entry in resource if entry != self.url)

    def answer(
        self,
        client: Client,
        grant: Grant,
        grant_secret: bytes,
        *,
        scope: tuple[str, ...],
        resource: tuple[str, ...],
        claims: dict[str, object] | None,
    ) -> TokenAnswer:
        """Tokens for an active login, for as much of `scope` as its provider granted.

        `claims` None: a refresh, whose ID token only says who it is, and when.
        """
        now = clock.now()
        scope = grant.effective(scope)
        expires_in = max(1, min(self.access_lifetime(client), grant.absolute_expires_at - now))
        access_token = tokens.mint_access_token(
            tokens.AccessToken(
                issuer=self.url,
                client_id=client.client_id,
                subject=grant.subject,
                audience=resource or (self.url,),
                scope=scope,
                grant_id=grant.grant_id,
                grant_secret=grant_secret,
                issued_at=now,
                expires_at=now + expires_in,
                auth_time=grant.auth_time,
                cnf_jkt=self.jkt,
            ),
            self.ring,
            form=client.access_token_format,
            alg=tokens.known_algorithm(client.access_token_alg),
        )
        id_token = None
        if "openid" in scope:
            id_token = self._id_token(client, grant, access_token, scope, claims, now + expires_in)
        refresh_lifetime = grant.token_ends_at - now
        return TokenAnswer(
            access_token,
            expires_in,
            scope,
            self._refresh_token(client, grant, grant_secret),
            refresh_lifetime,
            id_token,
            "Bearer" if self.jkt is None else "DPoP",
            reconnect_url=reconnect_request.url(self.ring, self.url, grant) if grant.missing_scope else None,
        )

    def _refresh_token(self, client: Client, grant: Grant, grant_secret: bytes) -> str | None:
        if "refresh_token" not in client.grant_types:
            return None
        # Made with the key that the login names, so that a retry gets the same text after a key change too.
        key = self.ring.handle_key_by_id(grant.handle_key) or self.ring.handle_key()
        return handles.make(
            Handle(Kind.REFRESH, grant.grant_id, grant.generation, grant.upstream_due, grant_secret, key.id), key
        )

    def _id_token(
        self,
        client: Client,
        grant: Grant,
        access_token: str,
        scope: tuple[str, ...],
        claims: dict[str, object] | None,
        expires_at: int,
    ) -> str:
        """OpenID Connect Core sections 2 and 12.2 (a refreshed ID token keeps auth_time and has no nonce)."""
        content: dict[str, object] = {
            "iss": self.url,
            "sub": grant.subject,
            "aud": client.client_id,
            "iat": clock.now(),
            "exp": expires_at,
            "auth_time": grant.auth_time,
            "at_hash": tokens.half_hash(access_token),
            "sid": grant.grant_id,
        }
        if claims is not None:
            content |= claims_for(scope, claims)
            if grant.nonce is not None:
                content["nonce"] = grant.nonce
        return tokens.sign(content, self.ring, tokens.known_algorithm(client.id_token_alg), "JWT")
