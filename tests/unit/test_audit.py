"""The log: nothing that could be used or that names a person gets through, however it got into the record."""

from __future__ import annotations

import base64
import io
import json
import logging
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import audit
from broker.log import RedactingFormatter, redact

SECRET = "s3cretValueThatMustNotShow"
JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"ES256"}', b'{"sub":"p|1"}', b"x" * 64)
)


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization: basic {SECRET}==",
        f"DPoP {SECRET}",
        f"code={SECRET}&state=x",
        f"?state={SECRET}#f",
        f"https://h/cb?a=b&access_token={SECRET}",
        f'{{"refresh_token": "{SECRET}"}}',
        f"{{'client_secret': '{SECRET}'}}",
        f"code_verifier: {SECRET}",
        f"password={SECRET}",
        f"api_key={SECRET}",
        f"user_token={SECRET}, auth_code={SECRET}",
        f"id_token={SECRET}",
        f"subject_token={SECRET}; client_assertion={SECRET}",
    ],
)
def test_a_named_secret_is_taken_out(text: str) -> None:
    assert SECRET not in redact(text)


@pytest.mark.parametrize("prefix", ["tbc_", "tbr_", "tba_", "tbs_", "tbp_", "tbn_"])
def test_handles_are_taken_out_wherever_they_stand(prefix: str) -> None:
    handle = prefix + secrets.token_urlsafe(75)
    assert redact(f"x{handle} and {handle}.").count(handle[4:]) == 0


def test_a_jwt_is_taken_out_whole() -> None:
    shown = redact(f"token {JWT} end")
    assert shown == "token [jwt] end"


@pytest.mark.parametrize(
    "address", ["john@example.com", "o'neil+tag@sub.example.co.uk", "john%40example.com", "JOHN.DOE@EXAMPLE.COM"]
)
def test_an_email_address_is_taken_out(address: str) -> None:
    assert redact(f"user {address}: not found") == "user [email]: not found"


@pytest.mark.parametrize(
    "text",
    [
        "the code is unknown, expired or used",
        "row 9",
        "https://h/token",
        "update_item: ThrottlingException",
        "client-1 asked",
    ],
)
def test_what_is_harmless_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=16, max_size=40))
def test_no_text_around_it_hides_a_token(around: str) -> None:
    handle = "tbr_" + "Ab1-" * 25
    for text in (
        f"{around} {handle}",
        f'{around}"{handle}"{around}',
        f"{around}={handle}&{around}",
        f"{around}\n{handle}\t",
    ):
        assert "Ab1-Ab1-" not in redact(text)


def _logged(write: str, **extra: object) -> dict[str, object]:
    """One line as the formatter makes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RedactingFormatter())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        raise ValueError(f"quoting access_token={SECRET} of john@example.com")
    except ValueError:
        logger.exception(write, extra=extra)
    document: dict[str, object] = json.loads(stream.getvalue())
    assert SECRET not in stream.getvalue()
    assert "example.com" not in stream.getvalue()
    return document


def test_message_fields_and_exceptions_are_redacted_and_stay_json() -> None:
    nested = {"list": [f"code={SECRET}", {"header": f"Bearer {SECRET}"}], "number": 3}
    document = _logged(f'message with "client_secret": "{SECRET}"', nested=nested)
    assert document["nested"] == {"list": ["code=[redacted]", {"header": "Bearer [credentials]"}], "number": 3}
    assert document["level"] == "ERROR"


def test_only_registered_events_with_registered_fields_are_written() -> None:
    with pytest.raises(ValueError, match="not registered"):
        audit.event("refresh.invented")
    with pytest.raises(ValueError, match="not registered") as raised:
        audit.event("code.issued", grant_id="g", token=SECRET)
    assert SECRET not in str(raised.value)


def test_no_event_may_carry_a_secret_or_a_person() -> None:
    """The register itself has no field in which one could travel."""
    fields = frozenset().union(*audit.EVENTS.values())
    assert not fields & {
        "code",
        "token",
        "secret",
        "state",
        "cookie",
        "email",
        "verifier",
        "nonce",
        "sub",
        "subject",
        "ip",
        "url",
    }
