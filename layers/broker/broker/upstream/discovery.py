"""OpenID discovery: what a provider says about itself at its issuer, remembered for an hour (OpenID Connect Discovery 1.0).

The document is believed only for the issuer that it was asked for, and only in URLs that a provider file could name too: it
must never lead a call to plain http, nor bring a placeholder into a URL.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from broker.protocol import jws
from broker.upstream.answers import read_answer
from broker.upstream.provider import ClientAuth, Discovered
from broker.upstream.schema import merge_overrides
from broker.upstream.templates import TemplateError, check_url
from broker.upstream.transport import Deadline, Sender, TransportError, UpstreamRequest

PATH = "/.well-known/openid-configuration"
CACHE_SECONDS = 3600
AGAIN_SECONDS = 5
"""How long a failure is remembered: long enough to spare a provider in trouble, too short for a person to notice."""
STALE_SECONDS = 24 * 3600
"""How long a document is used while no newer one can be had."""
DEADLINE = 3.0
MAX_DOCUMENT = 128 * 1024


_SPOKEN: tuple[tuple[str, ClientAuth], ...] = (
    ("client_secret_post", "body"),
    ("client_secret_basic", "basic"),
    ("private_key_jwt", "private_key_jwt"),
)
"""How the broker can be known, the first that a provider announces counts. Basic, the default of section 3, where none is."""


class DiscoveryFailed(Exception):
    """The provider's document cannot be had or used at present. detail: for the log. named: the issuer that it names, where
    that is another one.
    """

    def __init__(self, detail: str, named: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.named = named


@dataclass(frozen=True)
class Metadata:
    """What of the document is used. userinfo, revocation: None where the provider has none.

    auth: how the token endpoint knows its clients, of what it announces; unspoken: what it announces, where the broker
    speaks none of that.
    """

    authorization: str
    token: str
    userinfo: str | None
    revocation: str | None
    auth: ClientAuth
    discovered: Discovered
    unspoken: tuple[str, ...] = ()

    def complete(self, document: Mapping[str, object]) -> dict[str, object]:
        """A provider document with the addresses that it leaves out. What the file says itself, an empty string too, wins."""
        found = {
            "authorize.url": self.authorization,
            "token.url": self.token,
            "userinfo.url": self.userinfo,
            "revoke.url": self.revocation,
            "token.auth": None if self.auth == "body" else self.auth,
        }
        return merge_overrides(
            document, {name: text for name, text in found.items() if text and _lacks(document, name)}
        )


@dataclass(frozen=True)
class _Remembered:
    """The last good document, or why there is none. Times are epoch seconds."""

    found: Metadata | DiscoveryFailed
    fetched_at: int
    again_at: int


class Discovery:
    """Fetches and remembers. `clock`: epoch seconds. `local`: plain http to loopback is allowed."""

    def __init__(self, http: Sender, clock: Callable[[], int], *, local: bool) -> None:
        self._http = http
        self._clock = clock
        self._local = local
        self._remembered: dict[str, _Remembered] = {}

    def metadata(self, issuer: str) -> Metadata:
        """What the provider of that issuer says. Errors: DiscoveryFailed."""
        now = self._clock()
        known = self._remembered.get(issuer)
        if known is None or now >= known.again_at:
            known = self._remembered[issuer] = self._fetch(issuer, known, now)
        if isinstance(known.found, DiscoveryFailed):
            raise DiscoveryFailed(known.found.detail, known.found.named)
        return known.found

    def forget(self) -> None:
        """Drop what is remembered."""
        self._remembered.clear()

    def _fetch(self, issuer: str, before: _Remembered | None, now: int) -> _Remembered:
        try:
            request = UpstreamRequest("GET", address_of(issuer), (("Accept", "application/json"),))
            answer = read_answer(self._http.send(request, Deadline.after(DEADLINE)), ())
            if answer.status != 200 or answer.document is None:
                raise DiscoveryFailed(f"discovery: HTTP {answer.status} without a document")
            metadata = _read(answer.document, issuer, local=self._local)
        except (TransportError, DiscoveryFailed) as failure:
            problem = failure if isinstance(failure, DiscoveryFailed) else DiscoveryFailed(f"discovery: {failure}")
            if before is None or now >= before.fetched_at + STALE_SECONDS:
                return _Remembered(problem, 0, now + AGAIN_SECONDS)
            return _Remembered(before.found, before.fetched_at, now + AGAIN_SECONDS)
        return _Remembered(metadata, now, now + CACHE_SECONDS)


def address_of(issuer: str) -> str:
    """Where an issuer's document is (section 4)."""
    return issuer.removesuffix("/") + PATH


def _read(document: Mapping[str, object], issuer: str, *, local: bool) -> Metadata:
    named = document.get("issuer")
    if named != issuer:
        # Section 4.3: or one provider could speak for another (mix-up).
        raise DiscoveryFailed("discovery: the document is another issuer's", named if isinstance(named, str) else "")
    jwks_uri = _url(document, "jwks_uri", local=local)
    authorization = _url(document, "authorization_endpoint", local=local)
    token = _url(document, "token_endpoint", local=local)
    if jwks_uri is None or authorization is None or token is None:
        raise DiscoveryFailed("discovery: authorization_endpoint, token_endpoint or jwks_uri is missing")
    methods = _strings(document, "token_endpoint_auth_methods_supported", ("client_secret_basic",))
    listed = _strings(document, "id_token_signing_alg_values_supported", ("RS256",))
    return Metadata(
        authorization=authorization,
        token=token,
        userinfo=_url(document, "userinfo_endpoint", local=local),
        revocation=_url(document, "revocation_endpoint", local=local),
        auth=next((auth for name, auth in _SPOKEN if name in methods), "basic"),
        unspoken=() if {name for name, _ in _SPOKEN} & set(methods) else methods,
        discovered=Discovered(
            jwks_uri=jwks_uri,
            algorithms=tuple(name for name in jws.ALGORITHMS if name in listed),
            names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        ),
    )


def _url(document: Mapping[str, object], name: str, *, local: bool) -> str | None:
    url = document.get(name)
    if url is None:
        return None
    try:
        if not isinstance(url, str):
            raise TemplateError("", "is no text")
        check_url(url, local=local)
    except TemplateError as problem:
        raise DiscoveryFailed(f"discovery: {name} {problem.rule}") from None
    return url


def _strings(document: Mapping[str, object], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = document.get(name)
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else default


def _lacks(document: Mapping[str, object], dotted: str) -> bool:
    table, _, name = dotted.partition(".")
    here = document.get(table)
    return not isinstance(here, Mapping) or name not in here
