"""One authorization request of the broker at a provider: the values that bind request, answer and exchange together.

The PKCE verifier and the nonce are derived from the login's id under the handle key that made the state, so the table holds
neither, and every instance can make them again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.crypto.keys import SecretKey
from broker.crypto.sealing import derive
from broker.encoding import b64url
from broker.protocol.pkce import s256
from broker.upstream.authorization import STATE_IN_REDIRECT, callback_redirect_uri

if TYPE_CHECKING:
    from broker.upstream.provider import Provider


@dataclass(frozen=True)
class Transaction:
    """What the broker sends to a provider for one login, and must send again or find again later.

    Attributes:
        redirect_uri: the broker's callback at this provider; the same text at authorization and at the token endpoint.
        code_verifier: the upstream PKCE verifier, None where the provider has no PKCE.
        nonce: the nonce for the provider's ID token.
    """

    redirect_uri: str
    code_verifier: str | None = field(repr=False)
    nonce: str

    @property
    def code_challenge(self) -> str | None:
        """The S256 challenge of the verifier."""
        return s256(self.code_verifier) if self.code_verifier is not None else None

    @classmethod
    def of(cls, provider: Provider, key: SecretKey, grant_id: str, issuer: str, state: str) -> Transaction:
        """The transaction of a login; always the same for the same login."""
        base = f"{issuer}/callback/{provider.name}"
        uses_pkce = provider.authorize.pkce == "S256"
        return cls(
            redirect_uri=callback_redirect_uri(provider, base, state),
            code_verifier=b64url(derive(key.secret, f"upstream code_verifier {grant_id}")) if uses_pkce else None,
            nonce=b64url(derive(key.secret, f"upstream nonce {grant_id}")),
        )


def cookie_key(provider: Provider, grant_id: str) -> str:
    """What the login cookie is named after: the login, so that two tabs work; or the provider where its answer does not
    bring the state back, so that the cookie itself has to tell which login it is."""
    return provider.name if provider.authorize.state == "cookie" else short_id(grant_id)


def short_id(grant_id: str) -> str:
    """Enough of a grant id to tell a browser's logins apart; what a cookie proves is in its value."""
    return grant_id[:10]


def state_parameter(provider: Provider) -> str:
    """The callback parameter that carries the state back."""
    return STATE_IN_REDIRECT if provider.authorize.state == "redirect_query" else "state"
