"""A provider that refuses the broker's credentials gets the other ones, once; and nothing is done for which there is no cause."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from broker.upstream.dialect import Credentials, exchange_code, fetch_profile, refresh_tokens, revoke_tokens
from broker.upstream.failures import FailureKind, UpstreamFailure
from broker.upstream.http import TransportError, TransportKind, UpstreamResponse
from broker.upstream.provider import Provider

from .scripted import (
    CREDENTIALS,
    NOW,
    TOKENS,
    answer,
    deadline,
    form_of,
    from_catalogue,
    http_of,
    plain,
    query_of,
)

NEW = "planted-new-secret"
REFUSED = answer(401, {"error": "invalid_client"})
DEAD = answer(400, {"error": "invalid_grant"})
GRANTED = answer(200, {"access_token": "new-access", "token_type": "Bearer", "expires_in": 60})
LOST = TransportError(TransportKind.TIMEOUT, sent=True)


@dataclass
class Slots:
    """Credentials with others behind them; keeps how often those were asked for and taken."""

    has_other: bool = True
    asked: int = 0
    accepted: int = 0
    first: Credentials = field(init=False)

    def __post_init__(self) -> None:
        self.first = replace(CREDENTIALS, other=self._other)

    def _other(self) -> Credentials | None:
        self.asked += 1
        return Credentials(CREDENTIALS.client_id, NEW, accepted=self._accept) if self.has_other else None

    def _accept(self) -> None:
        self.accepted += 1

    @property
    def counts(self) -> tuple[int, int]:
        return self.asked, self.accepted


def exchange(slots: Slots, *script: UpstreamResponse | TransportError, provider: Provider | None = None) -> list[str]:
    """Redeem a code; the secrets that were sent, in order."""
    http = http_of(*script)
    try:
        exchange_code(
            provider or plain(),
            slots.first,
            http,
            code="c-1",
            redirect_uri="https://broker.example/callback/plain",
            code_verifier="v-1",
            state="s-1",
            asked_scope=(),
            kept={},
            now=NOW,
            deadline=deadline(),
            sleep=http.sleep,
        )
    finally:
        assert {form_of(request)["code"] for request in http.requests} == {"c-1"}
        assert len({*http.deadlines}) == 1  # within the one deadline
        sent = [form_of(request)["client_secret"] for request in http.requests]
    return sent


def test_the_other_secret_is_tried_with_the_same_code() -> None:
    slots = Slots()
    assert exchange(slots, REFUSED, GRANTED) == [CREDENTIALS.client_secret, NEW]
    assert slots.counts == (1, 1)


def test_credentials_that_are_taken_are_all_that_is_sent() -> None:
    slots = Slots()
    assert exchange(slots, GRANTED) == [CREDENTIALS.client_secret]
    assert slots.counts == (0, 0)


@pytest.mark.parametrize(
    ("script", "kind", "counts"),
    [
        ((REFUSED, REFUSED), FailureKind.CLIENT_REFUSED, (1, 0)),
        ((REFUSED, DEAD), FailureKind.GRANT_REFUSED, (1, 1)),
        ((REFUSED, answer(503)), FailureKind.SERVER_ERROR, (1, 0)),
        ((REFUSED, LOST), FailureKind.TIMEOUT, (1, 0)),
        ((DEAD,), FailureKind.GRANT_REFUSED, (0, 0)),
        ((answer(503),), FailureKind.SERVER_ERROR, (0, 0)),
        ((answer(400, {"error": "odd"}),), FailureKind.UNKNOWN_REFUSAL, (0, 0)),
        ((LOST,), FailureKind.TIMEOUT, (0, 0)),
    ],
)
def test_what_a_failure_means_for_the_other_credentials(
    script: tuple[UpstreamResponse | TransportError, ...], kind: FailureKind, counts: tuple[int, int]
) -> None:
    """Only a refusal of the client leads to them; only an answer to a known client shows that they are right."""
    slots = Slots()
    with pytest.raises(UpstreamFailure) as failed:
        exchange(slots, *script)
    assert (failed.value.kind, slots.counts) == (kind, counts)
    assert NEW not in str(failed.value)


def test_without_other_credentials_the_refusal_stays() -> None:
    slots = Slots(has_other=False)
    with pytest.raises(UpstreamFailure) as failed:
        exchange(slots, REFUSED)
    assert (failed.value.kind, slots.counts) == (FailureKind.CLIENT_REFUSED, (1, 0))
    with pytest.raises(UpstreamFailure):
        http = http_of(REFUSED)
        refresh_tokens(plain(), CREDENTIALS, http, TOKENS, now=NOW, deadline=deadline())


def test_refresh_and_revocation_do_the_same() -> None:
    slots = Slots()
    http = http_of(REFUSED, GRANTED)
    refresh_tokens(plain(), slots.first, http, TOKENS, now=NOW, deadline=deadline())
    assert [form_of(request)["client_secret"] for request in http.requests] == [CREDENTIALS.client_secret, NEW]
    http = http_of(REFUSED, answer(200))
    assert revoke_tokens(plain(), slots.first, http, TOKENS, deadline=deadline())
    assert slots.counts == (2, 2)


def test_a_profile_that_needs_the_secret_too() -> None:
    """Iternio's: a 401 may be about the token or the key, so the other key is tried, unless it says which; elsewhere it is about
    the token.
    """
    slots = Slots()
    http = http_of(answer(401, {"status": "unauthorized"}), answer(200, {"status": "ok", "user_id": 7}))
    fetch_profile(from_catalogue("iternio"), slots.first, http, TOKENS, deadline=deadline())
    assert [query_of(request.url)["api_key"] for request in http.requests] == [CREDENTIALS.client_secret, NEW]
    assert slots.counts == (1, 1)
    with pytest.raises(UpstreamFailure) as failed:
        fetch_profile(plain(), slots.first, http_of(answer(401)), TOKENS, deadline=deadline())
    assert (failed.value.kind, slots.counts) == (FailureKind.TOKEN_REFUSED, (1, 1))
    for code, kind in REFUSALS_OF_A_PROFILE.items():
        script = http_of(*[answer(401, {"error": code})] * (1 if kind is FailureKind.TOKEN_REFUSED else 2))
        with pytest.raises(UpstreamFailure) as failed:
            fetch_profile(from_catalogue("iternio"), Slots().first, script, TOKENS, deadline=deadline())
        assert (failed.value.kind, len(script.requests)) == (kind, len(script.script))


REFUSALS_OF_A_PROFILE = {
    "invalid_token": FailureKind.TOKEN_REFUSED,
    "invalid_client": FailureKind.CLIENT_REFUSED,
    "unauthorized_client": FailureKind.CLIENT_REFUSED,
    "unauthorized": FailureKind.TOKEN_OR_CLIENT_REFUSED,
    "invalid_request": FailureKind.TOKEN_OR_CLIENT_REFUSED,
}
