"""The failure table: one test per row and phase, each from the provider's bytes to what the broker answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from broker.upstream.dialect import exchange_code, fetch_profile, refresh_tokens, revoke_tokens
from broker.upstream.failures import (
    FailureKind,
    UpstreamFailure,
    answer_in_callback,
    answer_in_refresh,
    answer_in_userinfo,
    scrub,
)
from broker.upstream.http import BoundedHttp, Deadline, Sender, TransportError, TransportKind, UpstreamResponse
from broker.upstream.provider import Provider
from broker.upstream.schema import parse_provider

from .scripted import (
    CREDENTIALS,
    NOW,
    TOKENS,
    ScriptedHttp,
    answer,
    deadline,
    dribbles,
    form_of,
    from_catalogue,
    http_of,
    keeps_silent,
    plain,
    serving,
)

Outcome = UpstreamResponse | TransportError
HTML = "<html><body>We are sorry</body></html>"


def code(provider: Provider, http: Sender, sleep: Callable[[float], None], until: Deadline) -> object:
    return exchange_code(
        provider,
        CREDENTIALS,
        http,
        code="the-code",
        redirect_uri="https://broker.example/callback/plain",
        code_verifier="the-verifier",
        state="the-state",
        asked_scope=(),
        kept={},
        now=NOW,
        deadline=until,
        sleep=sleep,
    )


def refresh(provider: Provider, http: Sender, sleep: Callable[[float], None], until: Deadline) -> object:
    return refresh_tokens(provider, CREDENTIALS, http, TOKENS, now=NOW, deadline=until, sleep=sleep)


def userinfo(provider: Provider, http: Sender, sleep: Callable[[float], None], until: Deadline) -> object:
    return fetch_profile(provider, CREDENTIALS, http, TOKENS, deadline=until, sleep=sleep)


Phase = Callable[[Provider, Sender, Callable[[float], None], Deadline], object]
PHASES: Mapping[str, Phase] = {"cb": code, "rf": refresh, "ui": userinfo}


def failure_of(phase: Phase, provider: Provider, http: ScriptedHttp) -> UpstreamFailure:
    with pytest.raises(UpstreamFailure) as caught:
        phase(provider, http, http.sleep, deadline())
    return caught.value


@dataclass(frozen=True)
class Row:
    """One way to fail. cb: error of the redirect; rf: status, error, is the grant dead; ui: status, refresh and repeat.

    calls: how many requests are sent in each phase when the provider goes on like this.
    """

    number: int
    name: str
    outcome: Outcome
    kind: FailureKind
    cb: str | None = None
    rf: tuple[int, str, bool] | None = None
    ui: tuple[int, bool] | None = None
    calls: tuple[int, int, int] = (1, 1, 1)
    overrides: Mapping[str, object] = field(default_factory=dict)


LATER = (503, "temporarily_unavailable", False)
DEAD = (400, "invalid_grant", True)
NOT_NOW = "temporarily_unavailable"
OURS = "server_error"
REPEAT = (401, True)
FORBIDDEN = (403, False)
BUSY = (429, False)
AGAIN = (503, False)
LATE = (504, False)
GATEWAY = (502, False)
SLACK = {"errors__map": {"token_revoked": "invalid_grant", "bad_code": "invalid_grant"}}
KEYED = {"userinfo__params": {"api_key": "{client_secret}"}}
OK_TRUE = {f"{table}__ok": {"path": "ok", "equals": True} for table in ("token", "userinfo")}


def transport(kind: TransportKind, *, sent: bool = True, status: int | None = None) -> TransportError:
    return TransportError(kind, sent=sent, status=status)


def error(name: str, status: int = 400) -> UpstreamResponse:
    return answer(status, {"error": name, "error_description": "in words"})


K = FailureKind
ROWS = [
    Row(4, "unreachable", transport(TransportKind.UNREACHABLE, sent=False),
        K.UNREACHABLE, NOT_NOW, LATER, GATEWAY, (2, 2, 2)),
    Row(4, "untrusted", transport(TransportKind.UNTRUSTED, sent=False), K.UNTRUSTED, NOT_NOW, LATER, GATEWAY),
    Row(4, "refused address", transport(TransportKind.ADDRESS_REFUSED, sent=False),
        K.ADDRESS_REFUSED, NOT_NOW, LATER, GATEWAY),
    Row(5, "timeout", transport(TransportKind.TIMEOUT), K.TIMEOUT, NOT_NOW, LATER, LATE, (1, 1, 2)),
    Row(6, "500", answer(500, HTML), K.SERVER_ERROR, NOT_NOW, LATER, GATEWAY, (1, 2, 1)),
    Row(6, "503 invalid_grant", error("invalid_grant", 503), K.SERVER_ERROR, NOT_NOW, LATER, GATEWAY, (1, 2, 1)),
    Row(6, "half a 502", transport(TransportKind.TRUNCATED, status=502),
        K.SERVER_ERROR, NOT_NOW, LATER, GATEWAY, (1, 2, 1)),
    Row(7, "HTML", answer(200, HTML), K.UNREADABLE, OURS, LATER, GATEWAY, (1, 2, 1)),
    Row(7, "empty", answer(200), K.UNREADABLE, OURS, LATER, GATEWAY, (1, 2, 1)),
    Row(7, "truncated JSON", answer(200, '{"access_token":"abc'),
        K.UNREADABLE, OURS, LATER, GATEWAY, (1, 2, 1)),
    Row(7, "truncated", transport(TransportKind.TRUNCATED), K.UNREADABLE, OURS, LATER, GATEWAY, (1, 2, 1)),
    Row(7, "malformed", transport(TransportKind.MALFORMED), K.UNREADABLE, OURS, LATER, GATEWAY, (1, 2, 1)),
    Row(7, "list", answer(200, ["access_token"]), K.UNREADABLE, OURS, LATER, GATEWAY, (1, 2, 1)),
    Row(7, "text", answer(200, '"access_token"'), K.UNREADABLE, OURS, LATER, GATEWAY, (1, 2, 1)),
    Row(7, "deep", answer(200, "[" * 100_000), K.UNREADABLE, OURS, LATER, GATEWAY, (1, 2, 1)),
    Row(7, "gzip", answer(200, b'{"access_token":"a"}', {"content-encoding": "gzip"}),
        K.UNREADABLE, OURS, LATER, GATEWAY, (1, 2, 1)),
    Row(8, "200 mapped", answer(200, {"error": "bad_code"}), K.GRANT_REFUSED, OURS, DEAD, REPEAT, overrides=SLACK),
    Row(8, "200 invalid_client", error("invalid_client", 200), K.CLIENT_REFUSED, OURS, LATER, GATEWAY),
    Row(8, "200 unknown", error("odd", 200), K.UNKNOWN_REFUSAL, OURS, LATER, GATEWAY),
    Row(8, "ok false", answer(200, {"ok": False, "error": "token_revoked"}),
        K.GRANT_REFUSED, OURS, DEAD, REPEAT, overrides={**SLACK, **OK_TRUE}),
    Row(8, "ok false alone", answer(200, {"ok": False, "access_token": "a", "sub": "1"}),
        K.UNKNOWN_REFUSAL, OURS, LATER, GATEWAY, overrides=OK_TRUE),
    Row(8, "ok 1 is not true", answer(200, {"ok": 1, "access_token": "a", "sub": "1"}),
        K.UNKNOWN_REFUSAL, OURS, LATER, GATEWAY, overrides=OK_TRUE),
    Row(9, "invalid_grant", error("invalid_grant"), K.GRANT_REFUSED, OURS, DEAD, REPEAT),
    Row(9, "mapped kin", error("bad_code", 403), K.GRANT_REFUSED, OURS, DEAD, REPEAT, overrides=SLACK),
    Row(10, "invalid_client", error("invalid_client", 401), K.CLIENT_REFUSED, OURS, LATER, GATEWAY),
    Row(10, "401 without a body", answer(401), K.CLIENT_REFUSED, OURS, LATER),
    Row(10, "401 in HTML", answer(401, HTML), K.CLIENT_REFUSED, OURS, LATER),
    Row(10, "401 without a code", answer(401, {"message": "Bad credentials"}), K.CLIENT_REFUSED, OURS, LATER),
    Row(10, "401 unknown code", error("bad_credentials", 401), K.CLIENT_REFUSED, OURS, LATER),
    Row(10, "401 unauthorized_client", error("unauthorized_client", 401), K.CLIENT_REFUSED, OURS, LATER),
    Row(9, "401 invalid_grant", error("invalid_grant", 401), K.GRANT_REFUSED, OURS, DEAD, REPEAT),
    Row(12, "401 invalid_request", error("invalid_request", 401), K.UNKNOWN_REFUSAL, OURS, LATER),
    Row(11, "invalid_scope", error("invalid_scope"),
        K.REQUEST_REFUSED, "invalid_scope", (400, "invalid_scope", False), GATEWAY),
    Row(11, "unauthorized_client", error("unauthorized_client"),
        K.REQUEST_REFUSED, "unauthorized_client", (400, "unauthorized_client", False), GATEWAY),
    Row(12, "unknown code", error("weird_thing", 422), K.UNKNOWN_REFUSAL, OURS, LATER, GATEWAY),
    Row(12, "404 HTML", answer(404, HTML), K.UNKNOWN_REFUSAL, OURS, LATER, GATEWAY),
    Row(12, "invalid_request", error("invalid_request"),
        K.UNKNOWN_REFUSAL, OURS, LATER, GATEWAY),
    Row(12, "nested", answer(400, {"error": {"message": "no", "code": 77}}),
        K.UNKNOWN_REFUSAL, OURS, LATER, GATEWAY),
    Row(13, "429", answer(429, HTML), K.BUSY, NOT_NOW, LATER, BUSY),
    Row(13, "429 in a second", answer(429, None, {"retry-after": "1"}),
        K.BUSY, NOT_NOW, LATER, BUSY, (2, 2, 2)),
    Row(13, "429 in three", answer(429, None, {"retry-after": "3"}), K.BUSY, NOT_NOW, LATER, BUSY),
    Row(13, "408", answer(408), K.BUSY, NOT_NOW, LATER, BUSY),
    Row(13, "slow_down", error("slow_down"), K.BUSY, NOT_NOW, LATER, BUSY),
    Row(13, "temporarily_unavailable", error("temporarily_unavailable"),
        K.BUSY, NOT_NOW, LATER, BUSY),
    Row(14, "302", answer(302, None, {"location": "https://evil.example/"}), K.REDIRECT, OURS, LATER, GATEWAY),
    Row(14, "307", answer(307, {"access_token": "a"}, {"location": "/"}), K.REDIRECT, OURS, LATER, GATEWAY),
    Row(15, "no token", answer(200, {"token_type": "Bearer"}), K.UNUSABLE, OURS, LATER),
    Row(15, "null", answer(200, {"access_token": None}), K.UNUSABLE, OURS, LATER),
    Row(15, "object", answer(200, {"access_token": {"value": "a"}}), K.UNUSABLE, OURS, LATER),
    Row(15, "number", answer(200, {"access_token": 12345}), K.UNUSABLE, OURS, LATER),
    Row(15, "not ASCII", answer(200, b'{"access_token":"a\xff"}'), K.UNUSABLE, OURS, LATER),
    Row(15, "line break", answer(200, {"access_token": "a\r\nX: 1"}), K.UNUSABLE, OURS, LATER),
    Row(23, "too large", transport(TransportKind.TOO_LARGE, status=200), K.TOO_LARGE, OURS, LATER, GATEWAY),
    Row(24, "slow loris", transport(TransportKind.TIMEOUT, status=200), K.TIMEOUT, NOT_NOW, LATER, LATE, (1, 1, 2)),
    Row(10, "401 beside a secret", answer(401), K.TOKEN_OR_CLIENT_REFUSED, OURS, ui=(502, True), overrides=KEYED),
    Row(10, "unauthorized_client beside a secret", error("unauthorized_client", 401), K.CLIENT_REFUSED, OURS, ui=GATEWAY,
        overrides=KEYED),
    Row(28, "invalid_token beside a secret", error("invalid_token", 401), K.TOKEN_REFUSED, ui=REPEAT, overrides=KEYED),
    Row(28, "401", answer(401), K.TOKEN_REFUSED, ui=REPEAT),
    Row(28, "401 in HTML", answer(401, HTML), K.TOKEN_REFUSED, ui=REPEAT),
    Row(28, "invalid_token", error("invalid_token"), K.TOKEN_REFUSED, ui=REPEAT),
    Row(29, "403", answer(403, {"error": {"message": "no"}}), K.FORBIDDEN, ui=FORBIDDEN),
    Row(29, "insufficient_scope", error("insufficient_scope", 403),
        K.FORBIDDEN, ui=FORBIDDEN),
    Row(30, "no id", answer(200, {"name": "Jo"}), K.NO_SUBJECT, OURS, ui=GATEWAY),
    Row(30, "id true", answer(200, {"id": True}), K.NO_SUBJECT, OURS, ui=GATEWAY),
    Row(30, "id object", answer(200, {"id": {"value": 1}}), K.NO_SUBJECT, OURS, ui=GATEWAY),
    Row(30, "id half", answer(200, {"id": 1.5}), K.NO_SUBJECT, OURS, ui=GATEWAY),
    Row(30, "id blank", answer(200, {"id": "  "}), K.NO_SUBJECT, OURS, ui=GATEWAY),
    Row(30, "id too long", answer(200, {"id": "a" * 256}), K.NO_SUBJECT, OURS, ui=GATEWAY),
    Row(32, "202", answer(202, None, {"retry-after": "7"}), K.POSTPONED, NOT_NOW, LATER, AGAIN),
    Row(13, "403 too many", answer(403, {"message": "limit"}, {"retry-after": "60"}), K.BUSY, NOT_NOW, LATER, BUSY),
    Row(13, "403 none left", answer(403, {"message": "limit"}, {"x-ratelimit-remaining": "0"}), K.BUSY, NOT_NOW, LATER, BUSY),
    Row(9, "403 limited too", answer(403, {"error": "invalid_grant"}, {"retry-after": "1"}), K.GRANT_REFUSED, OURS, DEAD, REPEAT),
    Row(29, "403, many left", answer(403, {"message": "no"}, {"x-ratelimit-remaining": "9"}), K.FORBIDDEN, ui=FORBIDDEN),
]  # fmt: skip

# Rows 28 to 30 are about an access token or a profile: there is no such answer at the token endpoint.
AT_TOKEN = [row for row in ROWS if row.number not in {28, 29, 30} and row.overrides is not KEYED]
AT_USERINFO = [row for row in ROWS if row.ui is not None]


def name_of(row: Row) -> str:
    return f"{row.number} {row.name}"


def calling(row: Row, phase: str) -> ScriptedHttp:
    return http_of(*[row.outcome] * row.calls[("cb", "rf", "ui").index(phase)])


def check(row: Row, phase: str) -> UpstreamFailure:
    """The failure, after every repetition that the row allows and not one more."""
    http = calling(row, phase)
    failure = failure_of(PHASES[phase], plain(**row.overrides), http)
    assert (failure.row, failure.kind) == (row.number, row.kind)
    assert len(http.requests) == len(http.script)
    return failure


@pytest.mark.parametrize("row", AT_TOKEN, ids=name_of)
def test_in_the_callback(row: Row) -> None:
    failure = check(row, "cb")
    assert answer_in_callback(failure) == row.cb


@pytest.mark.parametrize("row", AT_TOKEN, ids=name_of)
def test_in_a_refresh(row: Row) -> None:
    given = answer_in_refresh(check(row, "rf"))
    assert (given.status, given.error, given.grant_is_dead) == row.rf
    assert (given.retry_after is not None) == (given.status == 503)


@pytest.mark.parametrize("row", AT_USERINFO, ids=name_of)
def test_at_userinfo(row: Row) -> None:
    given = answer_in_userinfo(check(row, "ui"))
    assert (given.status, given.refresh_and_repeat) == row.ui


@pytest.mark.parametrize("row", [row for row in ROWS if row.number == 30], ids=name_of)
def test_no_subject_in_the_callback(row: Row) -> None:
    assert answer_in_callback(check(row, "ui")) == row.cb


@pytest.mark.parametrize(
    "code", ["interaction_required", "login_required", "consent_required", "account_selection_required"]
)
def test_a_refresh_that_needs_the_person_is_over(code: str) -> None:
    """Repeating it for days would help nobody; at a login the client may have asked for no interaction."""
    failure = failure_of(refresh, plain(), http_of(error(code)))
    assert (failure.row, failure.kind) == (9, FailureKind.GRANT_REFUSED)
    assert answer_in_refresh(failure).grant_is_dead


@pytest.mark.parametrize(("auth", "alarm"), [("none", False), ("basic", True)])
def test_a_401_at_a_revocation_is_about_the_client_if_that_has_said_who_it_is(auth: str, alarm: bool) -> None:
    """A token that is its own proof is dead already."""
    provider = plain(
        revoke__url="https://p.example/revoke", revoke__auth=auth, revoke__params={"token": "{access_token}"}
    )
    http = http_of(answer(401, None))
    with pytest.raises(UpstreamFailure) as refused:
        revoke_tokens(provider, CREDENTIALS, http, TOKENS, deadline=deadline(), sleep=http.sleep)
    assert refused.value.alarm is alarm


def test_the_rows_of_the_table_are_all_here() -> None:
    # 1 to 3 are the callback's own (test_authorization), 16 to 21 and 25 are answers that are accepted (test_normalise),
    # 22 ends as 15, 26 is a repetition (below, and tests/http/test_vault), 27 is row 28 with another clock. What row 12 comes to
    # over days is in tests/http/test_vault, 31 in tests/http/test_links, and 33, in each phase, in tests/vault/test_crash_points.
    assert {row.number for row in ROWS} == {*range(4, 16), 23, 24, 28, 29, 30, 32}


ALARMING = {K.CLIENT_REFUSED, K.TOKEN_OR_CLIENT_REFUSED, K.UNTRUSTED, K.ADDRESS_REFUSED}


@pytest.mark.parametrize(
    ("kinds", "alarm"),
    [
        (ALARMING, True),
        (set(K) - ALARMING, False),
    ],
)
def test_faults_of_the_configuration_raise_an_alarm(kinds: set[FailureKind], alarm: bool) -> None:
    assert {UpstreamFailure(kind, row=0).alarm for kind in kinds} == {alarm}


TOKEN_ANSWER = answer(200, {"access_token": "new-access", "refresh_token": "new-refresh"})


@pytest.mark.parametrize(
    "first",
    [
        transport(TransportKind.UNREACHABLE, sent=False),
        answer(500),
        answer(200, HTML),
        transport(TransportKind.TRUNCATED),
    ],
)
def test_a_refresh_replays_the_same_token_once(first: Outcome) -> None:
    http = http_of(first, TOKEN_ANSWER)
    tokens = refresh_tokens(plain(), CREDENTIALS, http, TOKENS, now=NOW, deadline=deadline(), sleep=http.sleep)
    assert (tokens.access_token, tokens.refresh_token) == ("new-access", "new-refresh")
    assert [form_of(request)["refresh_token"] for request in http.requests] == ["old-refresh", "old-refresh"]
    assert http.slept == []


def test_a_refresh_that_takes_long_is_waited_for_and_not_repeated() -> None:
    """Row 5: to a provider whose refresh tokens work once, an impatient repetition looks like a theft. The next one repeats."""
    http = http_of(transport(TransportKind.TIMEOUT))
    whole = deadline()
    with pytest.raises(UpstreamFailure) as caught:
        refresh_tokens(plain(), CREDENTIALS, http, TOKENS, now=NOW, deadline=whole, sleep=http.sleep)
    assert (caught.value.row, caught.value.sent, len(http.requests)) == (5, True, 1)
    assert http.deadlines == [whole]


def test_a_rotated_token_lost_for_good_ends_the_grant() -> None:
    """Row 26: the replay of a refresh token that the provider had already rotated."""
    http = http_of(transport(TransportKind.TRUNCATED), error("invalid_grant"))
    assert answer_in_refresh(failure_of(refresh, plain(), http)).grant_is_dead


def test_what_the_first_request_may_have_done_is_what_is_told() -> None:
    http = http_of(transport(TransportKind.TRUNCATED), transport(TransportKind.UNREACHABLE, sent=False))
    failure = failure_of(refresh, plain(), http)
    assert (failure.row, failure.sent) == (7, True)


def test_a_code_is_sent_again_only_when_nothing_had_been_sent() -> None:
    http = http_of(transport(TransportKind.UNREACHABLE, sent=False), TOKEN_ANSWER)
    code(plain(), http, http.sleep, deadline())
    assert [form_of(request)["code"] for request in http.requests] == ["the-code", "the-code"]


def test_a_short_wait_is_waited() -> None:
    http = http_of(answer(429, None, {"retry-after": "2"}), TOKEN_ANSWER)
    code(plain(), http, http.sleep, deadline())
    assert http.slept == [2]


def test_a_wait_beyond_the_deadline_is_not_waited() -> None:
    http = http_of(answer(429, None, {"retry-after": "2"}))
    with pytest.raises(UpstreamFailure) as caught:
        code(plain(), http, http.sleep, Deadline.after(1.5))
    assert (caught.value.row, http.slept) == (13, [])


def test_a_post_to_userinfo_is_not_repeated_after_a_timeout() -> None:
    http = http_of(transport(TransportKind.TIMEOUT))
    assert failure_of(userinfo, plain(userinfo__method="POST"), http).row == 5


@pytest.mark.parametrize(
    ("header", "value", "seconds"),
    [
        ("retry-after", "30", 30),
        ("retry-after", "0.2", 1),
        ("retry-after", str(NOW + 40), 40),
        ("retry-after", "Tue, 14 Nov 2023 22:13:50 GMT", 30),
        ("retry-after", "Mon, 13 Nov 2023 22:13:50 GMT", 0),
        ("retry-after", "soon", None),
        ("retry-after", "-5", None),
        ("retry-after", "9" * 400, None),
        ("retry-after", "Tue, 99 Nov 99999999999 22:13:50 GMT", None),
        ("x-ratelimit-reset", "12", 12),
        ("x-other", "12", None),
    ],
)
def test_when_to_come_back(header: str, value: str, seconds: int | None) -> None:
    provider = plain(api__retry=["Retry-After", "X-RateLimit-Reset"])
    failure = failure_of(refresh, provider, http_of(*[answer(503, None, {header: value})] * 2))
    assert failure.retry_after == seconds
    limited = answer_in_refresh(failure).retry_after
    assert limited is not None
    assert limited == (5 if seconds is None else min(max(seconds, 1), 60))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20),
        ({"x-ratelimit-reset": str(NOW + 40)}, 40),
        ({"ratelimit-reset": "50"}, 50),
        ({"retry-after": "20", "x-ratelimit-reset": "40", "ratelimit-reset": "50"}, 20),
    ],
)
def test_the_php_style_names_none_of_its_headers(headers: Mapping[str, str], seconds: int) -> None:
    """Its guide promises "headers indicating the rate limit and when you can retry"."""
    failure = failure_of(userinfo, from_catalogue("phpapi"), http_of(answer(429, None, headers)))
    assert answer_in_userinfo(failure).retry_after == seconds


def test_a_long_wait_is_clamped_for_a_refresh_and_passed_on_at_userinfo() -> None:
    busy = answer(429, None, {"retry-after": "600"})
    assert answer_in_refresh(failure_of(refresh, plain(), http_of(busy))).retry_after == 60
    assert answer_in_userinfo(failure_of(userinfo, plain(), http_of(busy))).retry_after == 600


@pytest.mark.parametrize("phase", PHASES)
def test_a_slow_server_does_not_outlast_the_deadline(phase: str) -> None:
    http = BoundedHttp(allow_loopback=True)
    for script, row in ((keeps_silent, 5), (dribbles(b"HTTP/1.1 200 OK\r\n\r\n", b" "), 24)):
        with serving(script) as server, pytest.raises(UpstreamFailure) as caught:
            PHASES[phase](local(server.url()), http, lambda _: None, Deadline.after(0.3))
        assert (caught.value.row, caught.value.sent) == (row, True)
        assert len(server.requests) == (2 if phase == "ui" else 1)


def local(url: str) -> Provider:
    document = {"authorize": {"url": url}, "token": {"url": url}, "userinfo": {"url": url}}
    return parse_provider("local", document, source="local.toml", local=True)


def test_revocation_failures_are_classified_too() -> None:
    for outcome, row in ((error("invalid_client", 401), 10), (answer(503), 6), (answer(302), 14), (answer(404), 12)):
        http = http_of(outcome)
        with pytest.raises(UpstreamFailure) as caught:
            revoke_tokens(plain(), CREDENTIALS, http, TOKENS, deadline=deadline(), sleep=http.sleep)
        assert caught.value.row == row


@pytest.mark.parametrize(
    ("phase", "sent"),
    [
        ("cb", ("the-code", "the-verifier", "the-state")),
        ("rf", ("old-access", "old-refresh")),
        ("ui", ("old-access", "old-refresh")),
    ],
)
def test_no_failure_shows_a_secret(phase: str, sent: tuple[str, ...]) -> None:
    secrets = (*sent, "planted-secret/+é", "jo@example.com", "eyJhbGciOiJub25lIn0.e30.x", "0123456789abcdef", "z" * 400)
    said = {"error": "access_denied", "error_description": f"{', '.join(secrets[:-1])} were refused. {secrets[-1]}"}
    failure = failure_of(PHASES[phase], plain(), http_of(answer(400, said)))
    shown = f"{failure!r} {failure} {failure.detail}"
    assert [secret for secret in secrets if secret[:8] in shown] == []
    assert "were refused." in shown
    assert "code access_denied" in shown


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("The authorization code has expired.", "The authorization code has expired."),
        ("bad_verification_code", "bad_verification_code"),
        ("AADSTS70008: expired", "[...]: expired"),
        ("code SplxlOBeZQQYbYS6WxSbIA", "code [...]"),
        ("two\r\nlines\x00", "two lines"),
        ("ünïcode", "n code"),
    ],
)
def test_what_the_log_may_keep(text: str, kept: str) -> None:
    assert scrub(text) == kept
