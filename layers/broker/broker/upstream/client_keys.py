"""The public keys of clients, and of OpenID providers, at a URL (`jwks_uri`, RFC 7591 section 2), remembered for a few minutes.

Anybody can make the broker look for a key by naming a client, so what is looked up, found or not, is not looked up again at
once: a client's server sees one request a minute per function instance at most.
"""

from collections.abc import Callable
from dataclasses import dataclass

from broker.protocol import jws
from broker.upstream.transport import Deadline, Sender, TransportError, UpstreamRequest, UpstreamResponse

MAX_DOCUMENT = 64 * 1024
CACHE_SECONDS = 300
AGAIN_SECONDS = 60
"""Before this a key set is not fetched again, whether it lacked a key or could not be had."""
DEADLINE = 3.0
STALE_SECONDS = 3600
"""How long keys are used while they cannot be fetched again: a key that its owner withdrew must not live on for ever."""
MAX_REMEMBERED = 256


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
    """Fetches and remembers key sets. `clock`: epoch seconds; `cache_seconds`: how long keys are used unasked."""

    def __init__(self, http: Sender, clock: Callable[[], int], cache_seconds: int = CACHE_SECONDS) -> None:
        self._cache_seconds = cache_seconds
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
        now = self._clock()
        known = self._remembered.get(jwks_uri)
        if known is None or (now >= known.fetched_at + self._cache_seconds and now >= known.tried_at + AGAIN_SECONDS):
            known = self._fetch(jwks_uri, known, now, within)
        found = jws.candidates(jwt, known.keys)
        if not found and now >= known.tried_at + AGAIN_SECONDS:
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
            after = _read(answer, before, now)
        except TransportError as error:
            after = _outage(before, now, f"jwks_uri: {error.kind.value}")
        except ValueError as error:  # no URL that may be called
            after = _Remembered((), now, now, f"jwks_uri: {error}")
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[jwks_uri] = after
        return after


def _read(answer: UpstreamResponse, before: _Remembered | None, now: int) -> _Remembered:
    if answer.status >= 500 or answer.status == 429:
        return _outage(before, now, f"jwks_uri: status {answer.status}")
    try:
        if answer.status != 200:
            raise jws.BadKey(f"status {answer.status}")
        return _Remembered(jws.key_set(answer.body.decode("utf-8")), now, now)
    except (jws.BadKey, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, jws.BadKey) else "it is not UTF-8"
        return _Remembered((), now, now, f"jwks_uri: {reason}")


def _outage(before: _Remembered | None, now: int, problem: str) -> _Remembered:
    if before is None or now >= before.fetched_at + STALE_SECONDS:
        return _Remembered((), 0, now, problem, is_outage=True)
    return _Remembered(before.keys, before.fetched_at, now, problem, is_outage=True)
