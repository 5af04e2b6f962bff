"""Whatever goes wrong upstream, classified once, and what the broker answers for it.

Rows are those of the failure table in the documentation. Must never hold a token, a secret or a body: `detail` is for
the log alone, is scrubbed, and still never reaches a client; what a client sees is a code of OAuth's own and a status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from broker.upstream.answers import Answer
from broker.upstream.oauth_codes import OAUTH_CODES
from broker.upstream.paths import first, lookup
from broker.upstream.transport import TransportError, TransportKind

if TYPE_CHECKING:
    from broker.upstream.provider import ErrorDialect, OkTest

RETRY_AFTER_DEFAULT = 5
RETRY_AFTER_MOST = 60


class Phase(Enum):
    """What was asked of the provider."""

    CODE = "code exchange"
    REFRESH = "refresh"
    USERINFO = "userinfo"
    REVOKE = "revocation"


class FailureKind(Enum):
    """What a failure means, whichever way the provider said it."""

    UNREACHABLE = "unreachable"
    UNTRUSTED = "untrusted certificate"
    ADDRESS_REFUSED = "address refused"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server error"
    UNREADABLE = "unreadable answer"
    GRANT_REFUSED = "grant refused"
    CLIENT_REFUSED = "client refused"
    REQUEST_REFUSED = "request refused"
    UNKNOWN_REFUSAL = "unknown refusal"
    BUSY = "busy"
    REDIRECT = "redirect"
    UNUSABLE = "unusable answer"
    TOO_LARGE = "too large"
    TOKEN_REFUSED = "access token refused"
    TOKEN_OR_CLIENT_REFUSED = "access token or client refused"
    FORBIDDEN = "forbidden"
    NO_SUBJECT = "no subject"
    POSTPONED = "postponed"


class UpstreamFailure(Exception):
    """One failed call.

    kind, row: of the failure table. error: the OAuth code it maps to, None when there was none or an unknown one.
    status: of the provider's answer. retry_after: seconds the provider asked to wait, unclamped. sent: the request
    may have arrived. detail: for the log.
    """

    def __init__(
        self,
        kind: FailureKind,
        *,
        row: int,
        error: str | None = None,
        status: int | None = None,
        retry_after: int | None = None,
        sent: bool = True,
        detail: str = "",
    ) -> None:
        super().__init__(f"{kind.value} (row {row}){': ' if detail else ''}{detail}")
        self.kind: Final = kind
        self.row: Final = row
        self.error: Final = error
        self.status: Final = status
        self.retry_after: Final = retry_after
        self.sent: Final = sent
        self.detail: Final = detail

    @property
    def is_refusal(self) -> bool:
        """The provider was asked and said no, whatever it calls that: so it may answer to a code that somebody made up."""
        return self.kind in _REFUSALS

    @property
    def alarm(self) -> bool:
        """A fault of the configuration (ours) or an attack, not of the moment: somebody has to look."""
        return self.kind in _ALARMING


@dataclass(frozen=True)
class RefreshAnswer:
    """What the token endpoint answers for a failed upstream refresh. grant_is_dead: end the whole family, ask for a
    new login.
    """

    status: int
    error: str
    retry_after: int | None
    grant_is_dead: bool


@dataclass(frozen=True)
class UserinfoAnswer:
    """What the userinfo endpoint answers: the status says the error too. refresh_and_repeat: first force one refresh and ask
    once more, if that can be done.
    """

    status: int
    retry_after: int | None
    refresh_and_repeat: bool


_REFUSALS = frozenset(
    {
        FailureKind.GRANT_REFUSED,
        FailureKind.CLIENT_REFUSED,
        FailureKind.REQUEST_REFUSED,
        FailureKind.UNKNOWN_REFUSAL,
    }
)

_ALARMING = frozenset(
    {
        FailureKind.CLIENT_REFUSED,
        FailureKind.TOKEN_OR_CLIENT_REFUSED,
        FailureKind.UNTRUSTED,
        FailureKind.ADDRESS_REFUSED,
    }
)
_BAD_MOMENT = frozenset(
    {
        FailureKind.UNREACHABLE,
        FailureKind.UNTRUSTED,
        FailureKind.ADDRESS_REFUSED,
        FailureKind.TIMEOUT,
        FailureKind.SERVER_ERROR,
        FailureKind.BUSY,
        FailureKind.POSTPONED,
    }
)


def answer_in_callback(failure: UpstreamFailure) -> str:
    """The `error` of the redirect to the client (RFC 6749 section 4.1.2.1) when the code exchange or the first
    profile failed.
    """
    if failure.kind in _BAD_MOMENT:
        return "temporarily_unavailable"
    if failure.kind is FailureKind.REQUEST_REFUSED and failure.error is not None:
        return failure.error
    return "server_error"


def answer_in_refresh(failure: UpstreamFailure) -> RefreshAnswer:
    """Only a refused grant kills a grant; whatever may pass keeps everything and asks to come back (never 429: it is
    not the client's).
    """
    if failure.kind is FailureKind.GRANT_REFUSED:
        return RefreshAnswer(400, "invalid_grant", None, grant_is_dead=True)
    if failure.kind is FailureKind.REQUEST_REFUSED and failure.error is not None:
        return RefreshAnswer(400, failure.error, None, grant_is_dead=False)
    wait = RETRY_AFTER_DEFAULT if failure.retry_after is None else failure.retry_after
    return RefreshAnswer(503, "temporarily_unavailable", min(max(wait, 1), RETRY_AFTER_MOST), grant_is_dead=False)


def answer_in_userinfo(failure: UpstreamFailure) -> UserinfoAnswer:
    """Refusals of the access token are the client's 401 and 403. All else is between the broker and the provider, a 4xx too:
    it refuses the broker's request, which the client has not made and cannot mend. That is a gateway's 502 (RFC 9110 section
    15.6.3), or 504.
    """
    wait = RETRY_AFTER_DEFAULT if failure.retry_after is None else max(failure.retry_after, 1)
    match failure.kind:
        case FailureKind.TOKEN_REFUSED | FailureKind.GRANT_REFUSED:  # Slack says the one by a code that means the other
            return UserinfoAnswer(401, None, refresh_and_repeat=True)
        case FailureKind.TOKEN_OR_CLIENT_REFUSED:
            # A new token may help; that none can be had proves nothing against the login.
            return UserinfoAnswer(502, None, refresh_and_repeat=True)
        case FailureKind.FORBIDDEN:
            return UserinfoAnswer(403, None, refresh_and_repeat=False)
        case FailureKind.BUSY:
            return UserinfoAnswer(429, wait, refresh_and_repeat=False)
        case FailureKind.POSTPONED:  # "repeat the same request later", which a userinfo client cannot read from a 2xx
            return UserinfoAnswer(503, wait, refresh_and_repeat=False)
        case FailureKind.TIMEOUT:
            return UserinfoAnswer(504, None, refresh_and_repeat=False)
    return UserinfoAnswer(502, failure.retry_after, refresh_and_repeat=False)


def from_transport(problem: TransportError) -> UpstreamFailure:
    """Rows 4, 5, 7, 23 and 24: no whole answer. A status line of 5xx that came before the break still says what it
    says (row 6).
    """
    if problem.status is not None and problem.status >= 500:
        return UpstreamFailure(FailureKind.SERVER_ERROR, row=6, status=problem.status, detail=str(problem))
    kind, row = {
        TransportKind.UNREACHABLE: (FailureKind.UNREACHABLE, 4),
        TransportKind.UNTRUSTED: (FailureKind.UNTRUSTED, 4),
        TransportKind.ADDRESS_REFUSED: (FailureKind.ADDRESS_REFUSED, 4),
        # A server that answers, but a byte at a time, is the slow loris of row 24.
        TransportKind.TIMEOUT: (FailureKind.TIMEOUT, 5 if problem.status is None else 24),
        TransportKind.TRUNCATED: (FailureKind.UNREADABLE, 7),
        TransportKind.MALFORMED: (FailureKind.UNREADABLE, 7),
        TransportKind.TOO_LARGE: (FailureKind.TOO_LARGE, 23),
    }[problem.kind]
    return UpstreamFailure(kind, row=row, status=problem.status, sent=problem.sent, detail=str(problem))


@dataclass(frozen=True)
class Classifier:
    """The one classifier: an answer of the provider to a failure of the table, or None when it is a success so far.

    secrets: what was sent in the request, to be struck from any text for the log. authenticated: the request said who the client
    is, so that a 401 may be about that.
    """

    phase: Phase
    errors: ErrorDialect
    ok: OkTest | None
    secrets: tuple[str, ...] = ()
    authenticated: bool = True

    def classify(self, answer: Answer) -> UpstreamFailure | None:
        status = answer.status
        if status < 200:
            # RFC 9110 section 15.2: an interim answer is none, whatever comes with it.
            return self._failure(FailureKind.UNREADABLE, 7, answer)
        if status >= 500:
            return self._failure(FailureKind.SERVER_ERROR, 6, answer)
        if 300 <= status < 400:
            return self._failure(FailureKind.REDIRECT, 14, answer)
        if status in {408, 429}:
            return self._failure(FailureKind.BUSY, 13, answer)
        if 400 <= status < 500:
            return self._refusal(answer)
        if status == 202 and (answer.retry_after is not None or answer.blank) and self.phase is not Phase.REVOKE:
            return self._failure(FailureKind.POSTPONED, 32, answer)
        if self.phase is Phase.REVOKE and answer.document is None:
            return None  # RFC 7009 section 2.2: the body of a successful revocation means nothing
        return self._said_in_a_success(answer)

    def _refusal(self, answer: Answer) -> UpstreamFailure:
        """4xx: by its code; without one by its status."""
        code = self._code(answer)
        if answer.status == 401 and self._is_about_the_client(code):
            return self._failure(FailureKind.CLIENT_REFUSED, 10, answer, code)
        if known := self._meaning(code):
            return self._failure(known[0], known[1], answer, code)
        if answer.status == 403 and answer.limited:
            return self._failure(FailureKind.BUSY, 13, answer, code)
        if self.phase is Phase.USERINFO and answer.status == 401 and self.authenticated:
            return self._failure(FailureKind.TOKEN_OR_CLIENT_REFUSED, 10, answer, code)
        if self.phase is Phase.USERINFO and answer.status == 401:
            return self._failure(FailureKind.TOKEN_REFUSED, 28, answer, code)
        if self.phase is Phase.USERINFO and answer.status == 403:
            return self._failure(FailureKind.FORBIDDEN, 29, answer, code)
        return self._failure(FailureKind.UNKNOWN_REFUSAL, 12, answer, code)

    def _is_about_the_client(self, code: str | None) -> bool:
        """Of a 401. Where an access token was sent as well, one without a code may be about either of them."""
        if self.phase is Phase.USERINFO and code is None:
            return False
        return self.authenticated and code in _CLIENT_REFUSED_BY_401

    def _said_in_a_success(self, answer: Answer) -> UpstreamFailure | None:
        """2xx that is none: unreadable, an error code in it, or the provider's own mark of success missing."""
        if answer.document is None:
            return self._failure(FailureKind.UNREADABLE, 7, answer)
        is_ok = self.ok is None or _equal(lookup(answer.document, self.ok.path), self.ok.equals)
        code = self._code(answer)
        if is_ok and (self.ok is not None or not self._names_an_error(answer)):
            return None
        kind, _ = self._meaning(code) or (FailureKind.UNKNOWN_REFUSAL, 8)
        return self._failure(kind, 8, answer, code)

    def _meaning(self, code: str | None) -> tuple[FailureKind, int] | None:
        """What a known code means; what is said of an access token means nothing where none was sent."""
        if self.phase is Phase.USERINFO and code in _KIND_AT_USERINFO:
            return _KIND_AT_USERINFO[code]
        if self.phase is Phase.REFRESH and code in _NEEDS_THE_PERSON:
            return FailureKind.GRANT_REFUSED, 9
        return _KIND_OF_CODE.get(code or "")

    def _names_an_error(self, answer: Answer) -> bool:
        value = first(answer.document, self.errors.code)
        return value is not None and value is not False and value != 0

    def _raw_code(self, answer: Answer) -> str | None:
        value = first(answer.document, self.errors.code)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)[:20]
        return value if isinstance(value, str) else None

    def _code(self, answer: Answer) -> str | None:
        return map_code(self.errors, self._raw_code(answer))

    def _failure(self, kind: FailureKind, row: int, answer: Answer, code: str | None = None) -> UpstreamFailure:
        return UpstreamFailure(
            kind,
            row=row,
            error=code,
            status=answer.status,
            retry_after=answer.retry_after,
            detail=self._detail(answer),
        )

    def _detail(self, answer: Answer) -> str:
        """What the log may know: status, code, and the provider's own words without anything that looks like a
        credential.
        """
        parts = [f"{self.phase.value}: HTTP {answer.status}"]
        if raw := self._raw_code(answer):
            parts.append(f"code {scrub(raw, self.secrets, most=40)}")
        words = first(answer.document, self.errors.detail)
        if isinstance(words, str):
            parts.append(scrub(words, self.secrets))
        return ", ".join(parts)


def map_code(errors: ErrorDialect, raw: str | None) -> str | None:
    """A provider's code as one of OAuth's, by `errors.map` first; None for an unknown one."""
    if raw is None:
        return None
    code = errors.map.get(raw, raw)
    return code if code in OAUTH_CODES else None


_KIND_OF_CODE: dict[str, tuple[FailureKind, int]] = {
    "invalid_grant": (FailureKind.GRANT_REFUSED, 9),
    "invalid_client": (FailureKind.CLIENT_REFUSED, 10),
    "invalid_scope": (FailureKind.REQUEST_REFUSED, 11),
    "unauthorized_client": (FailureKind.REQUEST_REFUSED, 11),
    "slow_down": (FailureKind.BUSY, 13),
    "temporarily_unavailable": (FailureKind.BUSY, 13),
}
# RFC 6749 section 5.2 has 401 for a client that failed to authenticate, and for nothing else. Some say it without a code, and
# Keycloak says a wrong secret by unauthorized_client, which with a 400 is about what an authenticated client may do.
_CLIENT_REFUSED_BY_401 = frozenset({None, "unauthorized_client"})
# OpenID Connect Core section 3.1.2.6 has them for a login without a person. There is none at a refresh, and only a login helps.
_NEEDS_THE_PERSON = frozenset(
    {"interaction_required", "login_required", "consent_required", "account_selection_required"}
)
_KIND_AT_USERINFO: dict[str, tuple[FailureKind, int]] = {
    "invalid_token": (FailureKind.TOKEN_REFUSED, 28),
    "insufficient_scope": (FailureKind.FORBIDDEN, 29),
}

_RUN = re.compile(r"[A-Za-z0-9+/=_.~-]+")


def scrub(text: str, secrets: Iterable[str] = (), *, most: int = 160) -> str:
    """A provider's text as a log line may hold it: printable ASCII, short, words only.

    Struck are whatever was sent in the request, addresses with an @, and runs that look like a credential.
    """
    for secret in secrets:
        if len(secret) >= 4:  # a shorter one would strike half the words
            text = text.replace(secret, "[...]")
    printable = re.sub(r"[^ -~]+", " ", text[:1000])
    words = ("[...]" if "@" in word else _RUN.sub(_strike, word) for word in printable.split())
    return " ".join(words)[:most]


def _strike(run: re.Match[str]) -> str:
    """Long, or with digits, or with capitals inside: not a word of a sentence and not an error code."""
    word = run.group()
    digits = sum(character.isdigit() for character in word)
    mixed = not word[1:].islower() and not word.isupper() and any(character.isupper() for character in word[1:])
    return "[...]" if len(word) > 32 or (len(word) >= 8 and (digits >= 2 or mixed)) else word


def _equal(found: object, wanted: object) -> bool:
    """Equality that tells true from 1."""
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)
