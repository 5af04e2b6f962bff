"""One call to a provider: the request put together, sent within the deadline, repeated where the failure table allows
it, classified.

Must never repeat a code exchange that may have arrived, and never wait beyond the caller's deadline.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from broker.upstream.answers import Answer, read_answer
from broker.upstream.authentication import client_authentication
from broker.upstream.authorization import Credentials
from broker.upstream.failures import Classifier, FailureKind, Phase, UpstreamFailure, from_transport
from broker.upstream.templates import TemplateError, fill, fill_url, placeholders
from broker.upstream.tokens import UpstreamTokens
from broker.upstream.transport import Deadline, Sender, TransportError, UpstreamRequest

if TYPE_CHECKING:
    from broker.upstream.provider import BasicEncoding, Body, ClientAuth, OkTest, Provider

Sleep = Callable[[float], None]
# The part of the deadline that a first attempt may use where a second one is allowed after a timeout.
FIRST_SHARE = 0.6
LONGEST_WAIT = 2
_SECRET_PARAMS = frozenset({"code", "code_verifier", "token"})

# When a request may be sent once more although it may have arrived: a refresh, because a lost answer would lose the
# rotated token; a GET, because it changes nothing. A code never: providers answer a second use by revoking the first
# one's tokens. A refresh that takes long is not lost yet, and sending it again may end the grant: it is waited for as
# long as there is time, and repeated by the next one who needs the token.
_AFTER_ARRIVAL: Mapping[Phase, frozenset[FailureKind]] = {
    Phase.CODE: frozenset(),
    Phase.REFRESH: frozenset({FailureKind.SERVER_ERROR, FailureKind.UNREADABLE}),
    Phase.USERINFO: frozenset({FailureKind.TIMEOUT}),
    Phase.REVOKE: frozenset(),
}


@dataclass(frozen=True)
class Values:
    """What may fill a placeholder of a call: the operator's variables, what was kept, the client's own, the tokens,
    the state.
    """

    provider: Provider
    credentials: Credentials
    kept: Mapping[str, str] = field(repr=False)
    tokens: UpstreamTokens | None = field(default=None, repr=False)
    state: str | None = field(default=None, repr=False)

    def by_name(self) -> dict[str, str]:
        """Kept values are held against their patterns again: they come out of storage, and the file may have changed
        since.
        """
        values: dict[str, str] = {}
        for name, variable in self.provider.variables.items():
            value = self.kept.get(name) if variable.value is None else variable.value
            if value is not None and variable.matches(value):
                values[name] = value
        values |= {"client_id": self.credentials.client_id, "client_secret": self.credentials.client_secret}
        if self.tokens is not None:
            values["access_token"] = self.tokens.access_token
            values["refresh_token"] = self.tokens.refresh_token or ""
        if self.state is not None:
            values["state"] = self.state
        return values

    def secrets(self) -> tuple[str, ...]:
        found = [self.credentials.client_secret, self.state or ""]
        if self.tokens is not None:
            found += [self.tokens.access_token, self.tokens.refresh_token or ""]
        return tuple(secret for secret in found if secret)


@dataclass(frozen=True)
class Call:
    """A call as the dialect describes it. params and headers: templates; given: parameters whose values are used as
    they are; auth: how the broker shows who it is, None where the access token alone does.
    """

    phase: Phase
    method: str
    url: str
    body: Body
    params: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: ClientAuth | None = None
    basic_encoding: BasicEncoding = "form"
    rename: Mapping[str, str] = field(default_factory=dict)
    ok: OkTest | None = None


def perform(call: Call, values: Values, http: Sender, deadline: Deadline, sleep: Sleep) -> Answer:
    """The provider's successful answer. Raises UpstreamFailure. All within the deadline; at most two requests are sent,
    and two more when the provider refuses the broker's credentials and there are others. A code is not lost by that: who
    refuses the client has not looked at the code (RFC 6749 section 5.2).
    """
    try:
        return _perform(call, values, http, deadline, sleep)
    except UpstreamFailure as failure:
        refused = failure
        other = _other_credentials(values.credentials, failure)
        if other is None:
            raise
    accepted = other.accepted or (lambda: None)
    try:
        answer = _perform(call, replace(values, credentials=other), http, deadline, sleep)
    except UpstreamFailure as failure:
        if failure.kind is refused.kind:
            raise refused from None
        if failure.kind is FailureKind.GRANT_REFUSED:  # which is said only to a client that is known
            accepted()
        raise
    accepted()
    return answer


def _other_credentials(credentials: Credentials, failure: UpstreamFailure) -> Credentials | None:
    """What to try once more with."""
    about_client = (FailureKind.CLIENT_REFUSED, FailureKind.TOKEN_OR_CLIENT_REFUSED)
    if failure.kind not in about_client or not failure.sent or credentials.other is None:
        return None
    return credentials.other()


def _says_who_asks(call: Call) -> bool:
    """Whether the call proves who the broker is. A revocation and a profile may be asked for with the token alone, and a 401 is
    then about that.
    """
    if call.phase in (Phase.CODE, Phase.REFRESH) or call.auth not in (None, "none"):
        return True
    texts = (call.url, *call.params.values(), *call.headers.values())
    return any("client_secret" in placeholders(text) for text in texts)


def _perform(call: Call, values: Values, http: Sender, deadline: Deadline, sleep: Sleep) -> Answer:
    """The call with one set of credentials. At most two requests are sent."""
    hidden = (*values.secrets(), *(value for name, value in call.given.items() if name in _SECRET_PARAMS))
    classifier = Classifier(call.phase, values.provider.errors, call.ok, hidden, _says_who_asks(call))
    retry_headers = values.provider.api.retry
    repeatable = _repeatable_after_arrival(call)
    first_deadline = deadline.share(FIRST_SHARE) if FailureKind.TIMEOUT in repeatable else deadline
    first = _attempt(_request(call, values), classifier, retry_headers, http, first_deadline)
    if not isinstance(first, UpstreamFailure):
        return first
    wait = _wait_before_repeat(first, repeatable)
    if wait is None or wait >= deadline.remaining():
        raise first
    if wait:
        sleep(wait)
    # Put together anew: a provider refuses a client assertion that it has seen.
    second = _attempt(_request(call, values), classifier, retry_headers, http, deadline)
    if not isinstance(second, UpstreamFailure):
        return second
    # What the first request may have done matters more than that the second never left.
    raise first if first.sent and not second.sent else second


def _repeatable_after_arrival(call: Call) -> frozenset[FailureKind]:
    if call.phase is Phase.USERINFO and call.method != "GET":
        return frozenset()
    return _AFTER_ARRIVAL[call.phase]


def _wait_before_repeat(failure: UpstreamFailure, repeatable: frozenset[FailureKind]) -> int | None:
    """Seconds to wait before the one repetition, None for none."""
    if failure.kind in repeatable or failure.kind is FailureKind.UNREACHABLE:
        return 0
    if failure.kind is FailureKind.BUSY and failure.retry_after is not None and failure.retry_after <= LONGEST_WAIT:
        return failure.retry_after
    return None


def _attempt(
    request: UpstreamRequest, classifier: Classifier, retry_headers: tuple[str, ...], http: Sender, deadline: Deadline
) -> Answer | UpstreamFailure:
    try:
        response = http.send(request, deadline)
    except TransportError as problem:
        return from_transport(problem)
    answer = read_answer(response, retry_headers)
    return classifier.classify(answer) or answer


def _request(call: Call, values: Values) -> UpstreamRequest:
    """The request, with every template filled. What cannot be filled or sent is a failure of ours: nothing was sent."""
    try:
        by_name = values.by_name()
        url = fill_url(call.url, by_name, local=values.provider.local)
        audience = _audience(values.provider, by_name) if call.auth == "private_key_jwt" else ""
        own = client_authentication(values.provider, call.auth, call.basic_encoding, values.credentials, audience)
        params = {**call.given, **own.params, **{name: fill(text, by_name) for name, text in call.params.items()}}
        headers = _over({name: fill(text, by_name) for name, text in call.headers.items()}, own.headers)
        pairs = [(call.rename.get(name, name), value) for name, value in params.items() if value]
        request = _encoded(call, url, pairs, headers)
        return replace(request, provider=values.provider.name, phase=call.phase.name.lower())
    except TemplateError as problem:
        raise UpstreamFailure(FailureKind.UNUSABLE, row=15, sent=False, detail=str(problem)) from None
    except ValueError as problem:
        raise UpstreamFailure(FailureKind.CLIENT_REFUSED, row=10, sent=False, detail=str(problem)) from None


def _audience(provider: Provider, values: Mapping[str, str]) -> str:
    """Whom a client assertion is for, at whichever endpoint (RFC 7523 section 3, OpenID Connect Core section 9)."""
    match provider.token.assertion_audience:
        case "token_endpoint":
            return fill_url(provider.token.url, values, local=provider.local)
        case "issuer":
            return provider.issuer or ""
        case audience:
            return audience


def _encoded(call: Call, url: str, pairs: list[tuple[str, str]], headers: dict[str, str]) -> UpstreamRequest:
    body: bytes | None = None
    if call.body == "query":
        if pairs:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(pairs)}"
    elif call.body == "json":
        body = json.dumps(dict(pairs)).encode()
        headers = _over({"Content-Type": "application/json"}, headers)
    else:
        body = urlencode(pairs).encode()
        headers = _over({"Content-Type": "application/x-www-form-urlencoded"}, headers)
    return UpstreamRequest(call.method, url, tuple(headers.items()), body)


def _over(below: Mapping[str, str], above: Mapping[str, str]) -> dict[str, str]:
    """Headers with others over them, whatever the case of their names."""
    taken = {name.lower() for name in above}
    return {name: value for name, value in below.items() if name.lower() not in taken} | dict(above)
