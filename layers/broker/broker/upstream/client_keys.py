"""The public keys of clients, and of OpenID providers, at a URL (`jwks_uri`, RFC 7591 section 2), remembered for a few minutes.

Anybody can make the broker look for a key by naming a client, so what is looked up, found or not, is not looked up again at
once: a client's server sees one request a minute per function instance at most. A provider is the operator's choice, and its
tokens come from the provider alone, so a new key of one is found within seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass

from broker.protocol import jws
from broker.upstream.transport import Deadline, Sender, TransportError, UpstreamRequest, UpstreamResponse

DEADLINE = 3.0
STALE_SECONDS = 3600
"""How long keys are used while they cannot be fetched again: a key that its owner withdrew must not live on for ever."""
MAX_REMEMBERED = 256


@dataclass(frozen=True)
class KeyPolicy:
    """How key sets are kept.

    cache_seconds: how long they are used unasked. again_seconds: before this a set is not fetched again, whether it lacked a
    key or could not be had. max_bytes, max_keys: of one set. any_failure_is_outage: whoever answers with anything but a key
    set is in trouble, and has not withdrawn its keys.
    """

    cache_seconds: int
    again_seconds: int
    max_bytes: int
    max_keys: int
    any_failure_is_outage: bool


OF_CLIENTS = KeyPolicy(300, 60, 64 * 1024, jws.MAX_KEYS, any_failure_is_outage=False)
OF_PROVIDERS = KeyPolicy(600, 5, 128 * 1024, 100, any_failure_is_outage=True)


class KeysUnavailable(Exception):
    """The keys cannot be had at present, through no fault of the request. `detail` is for the log."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True)
class _Remembered:
    """What the last fetch brought: keys, or the reason why there are none. Times are epoch seconds."""

    keys: tuple[jws.VerificationKey, ...]
    fetched_at: int
    tried_at: int
    problem: str = ""
    is_outage: bool = False


class ClientKeys:
    """Fetches and remembers key sets. `clock`: epoch seconds."""

    def __init__(self, http: Sender, clock: Callable[[], int], policy: KeyPolicy) -> None:
        self._policy = policy
        self._http = http
        self._clock = clock
        self._remembered: dict[str, _Remembered] = {}

    def for_jwt(
        self, jwks_uri: str, jwt: jws.SignedJWT, within: Deadline | None = None
    ) -> tuple[jws.VerificationKey, ...]:
        """The keys at `jwks_uri` that may have signed `jwt`; none if it has none, or is no JWK Set.

        within: the caller's own deadline, where it has one.

        Errors: KeysUnavailable when the server cannot be reached and nothing is remembered.
        """
        now, policy = self._clock(), self._policy
        known = self._remembered.get(jwks_uri)
        if known is None or now >= max(known.fetched_at + policy.cache_seconds, known.tried_at + policy.again_seconds):
            known = self._fetch(jwks_uri, known, now, within)
        found = jws.candidates(jwt, known.keys)
        if not found and now >= known.tried_at + policy.again_seconds:
            # A key that is not known may be a new one: the client has rotated its keys.
            known = self._fetch(jwks_uri, known, now, within)
            found = jws.candidates(jwt, known.keys)
        if not found and known.is_outage:
            raise KeysUnavailable(known.problem)
        return found

    def forget(self) -> None:
        """Drop what is remembered."""
        self._remembered.clear()

    def _fetch(self, jwks_uri: str, before: _Remembered | None, now: int, within: Deadline | None) -> _Remembered:
        """What is known after another try. An outage takes nothing away from what was known before."""
        deadline = Deadline.after(DEADLINE if within is None else min(DEADLINE, within.remaining()))
        try:
            answer = self._http.send(UpstreamRequest("GET", jwks_uri), deadline)
            after = self._read(answer, before, now)
        except TransportError as error:
            after = _outage(before, now, f"jwks_uri: {error.kind.value}")
        except ValueError as error:  # no URL that may be called
            after = self._no_keys(before, now, f"jwks_uri: {error}")
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[jwks_uri] = after
        return after

    def _read(self, answer: UpstreamResponse, before: _Remembered | None, now: int) -> _Remembered:
        if answer.status >= 500 or answer.status == 429:
            return _outage(before, now, f"jwks_uri: status {answer.status}")
        try:
            return _Remembered(keys_in(answer, self._policy), now, now)
        except jws.BadKey as error:
            return self._no_keys(before, now, f"jwks_uri: {error}")

    def _no_keys(self, before: _Remembered | None, now: int, problem: str) -> _Remembered:
        """What is known after an answer that is no key set."""
        if self._policy.any_failure_is_outage:
            return _outage(before, now, problem)
        return _Remembered((), now, now, problem)


def keys_in(answer: UpstreamResponse, policy: KeyPolicy) -> tuple[jws.VerificationKey, ...]:
    """The keys of a server's answer. Errors: jws.BadKey."""
    if answer.status != 200:
        raise jws.BadKey(f"status {answer.status}")
    try:
        return jws.key_set(answer.body.decode("utf-8"), most=policy.max_keys)
    except UnicodeDecodeError:
        raise jws.BadKey("it is not UTF-8") from None


def _outage(before: _Remembered | None, now: int, problem: str) -> _Remembered:
    if before is None or now >= before.fetched_at + STALE_SECONDS:
        return _Remembered((), 0, now, problem, is_outage=True)
    return _Remembered(before.keys, before.fetched_at, now, problem, is_outage=True)
