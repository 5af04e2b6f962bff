"""Which limits a request to an endpoint falls under, and the 429 that it gets when one is exceeded."""

from typing import TYPE_CHECKING

from broker.gateway import Request, Response
from broker.limiter import Count, Limiter, Subject
from broker.protocol.clients import Client
from broker.protocol.errors import AUTHORIZATION_PENDING, USE_DPOP_NONCE, OAuthError
from broker.protocol.limits import address_key
from broker.runtime import Runtime

if TYPE_CHECKING:
    from broker.crypto.tokens import AccessToken

_GRANTS = {
    "authorization_code": "authorization_code",
    "refresh_token": "refresh_token",
    "urn:ietf:params:oauth:grant-type:device_code": "device_code",
    "urn:ietf:params:oauth:grant-type:token-exchange": "token_exchange",
}

_STEPS = frozenset({AUTHORIZATION_PENDING.code, USE_DPOP_NONCE.code})


class Gate:
    """The limits of one request: `admit` it, `count` it, `close` it.

    `endpoint`: the name in broker.protocol.limits; at the token endpoint with the grant type. `token`: what proves client and
    login, which are then counted, wherever they come from.
    """

    def __init__(self, request: Request, runtime: Runtime, endpoint: str, token: "AccessToken | None" = None) -> None:
        self._limiter: Limiter = runtime.limiter
        self._endpoint = endpoint
        self._address = address_key(request.source_ip)
        self._subjects: tuple[Subject, ...] = (Subject(f"{endpoint}.address", self._address),)
        if token is not None:
            client, login = Subject(f"{endpoint}.client", token.client_id), Subject(f"{endpoint}.login", token.grant_id)
            self._subjects = (client, login)
        self._count: Count | None = None
        self._harmless = False

    def admit(self) -> None:
        """Errors: OAuthError 429 when this address is known to be over its limit. No I/O."""
        self._limiter.check(self._subjects)

    def count(self, client: Client | None) -> None:
        """Start counting, beside what the request does next; `client` has authenticated, as far as it can.

        Errors: OAuthError 429 when the client is known to be over its limit.
        """
        if client is not None:
            # Anybody can say that he is a public client, so its budget is apart for each address.
            key = f"{client.client_id}|{self._address}" if client.is_public else client.client_id
            counted = Subject(f"{self._endpoint}.client", key)
            self._subjects = (counted,) if _is_known(client) else (*self._subjects, counted)
            self._harmless = _is_known(client)
            self._limiter.check((counted,))
        self._count = self._limiter.count(self._subjects)

    def forgive_if_a_step(self, error: OAuthError) -> None:
        """Of errors those that are steps of a protocol (RFC 8628 section 3.5, RFC 9449 sections 8 and 9)."""
        if error.kind.code in _STEPS:
            self.forgive()

    def forgive(self) -> None:
        """The answer is an error that a client meets without any fault or guess, so it counts as a success does."""
        self._harmless = True

    def settle(self, response: Response) -> Response:
        """The same response, once what was counted is written: where nothing but a refusal is counted at all, and as one."""
        if self._count is not None:
            self._limiter.finish(self._count, failed=False)
        return response

    def close(self, response: Response) -> Response:
        """The response with the RateLimit fields, once it is counted; a refusal counts harder.

        Fields that the response has already are a provider's, which the client needs more.
        """
        limited = response.status == 429 and self._count is None
        if not limited:  # a 429 to what was counted is the provider's own
            if self._count is None:
                self._count = self._limiter.count(self._subjects)
            self._limiter.finish(self._count, failed=400 <= response.status < 500 and not self._harmless)
        fields = {} if "ratelimit" in response.headers else self._limiter.headers(self._subjects)
        return Response(response.status, response.body, {**response.headers, **fields}, response.cookies)


def _is_known(client: Client) -> bool:
    """Whether the operator registered the client and it has proven to be that one, with a secret or a key.

    A backend sends what strangers' browsers brought it. Were its refusals taken for guesses, or its one address for one person's,
    a stranger with a few made-up codes could lock all its users out.
    """
    return not client.is_public and not client.dynamic


def token_endpoint(grant_type: str | None) -> str:
    """The name of the token endpoint's limits for a grant type."""
    return f"token.{_GRANTS.get(grant_type or '', 'other')}"
