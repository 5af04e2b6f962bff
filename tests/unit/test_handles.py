"""Handles: one layout for ever, no bit of it free, and no kind good for another."""

from __future__ import annotations

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.crypto import handles
from broker.crypto.handles import Handle, Kind
from broker.crypto.keys import KeyRing, SecretKey
from broker.encoding import b64url, from_b64url

KEY = SecretKey(7, bytes(range(32)), active_from=0)
OTHER_KEY = SecretKey(8, bytes(range(1, 33)), active_from=0)
RING = KeyRing((KEY, OTHER_KEY), (), ())
GRANT_ID = b64url(b"0123456789abcdef")
SECRET = bytes(range(100, 132))
REFRESH = Handle(Kind.REFRESH, GRANT_ID, generation=258, due=1_700_000_000, secret=SECRET, key_id=7)
GOLDEN = "tbr_AQAHMDEyMzQ1Njc4OWFiY2RlZgAAAQJlU_EAZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoO6_w706X8FBdXvPeErKdhC"

EXAMPLES = [
    Handle(Kind.CODE, GRANT_ID, secret=SECRET, key_id=7),
    REFRESH,
    Handle(Kind.STATE, GRANT_ID, key_id=7),
    Handle(Kind.RECONNECT, GRANT_ID, key_id=7),
]


def test_the_layout_is_the_documented_one() -> None:
    """version, key id, grant id, generation, due, secret, and 16 bytes of HMAC-SHA-256 over kind and all before."""
    body = b"\x01" + b"\x00\x07" + b"0123456789abcdef" + b"\x00\x00\x01\x02" + b"\x65\x53\xf1\x00" + SECRET
    tag = hmac.new(bytes(range(32)), b"REFRESH\x00" + body, "sha256").digest()[:16]
    expected = "tbr_" + base64.urlsafe_b64encode(body + tag).rstrip(b"=").decode()
    assert handles.make(REFRESH, KEY) == expected
    # Tokens in clients' hands outlive a deployment: the text itself must never change.
    assert expected == GOLDEN


@pytest.mark.parametrize("handle", EXAMPLES, ids=lambda handle: handle.kind.name)
def test_what_was_made_can_be_read(handle: Handle) -> None:
    text = handles.make(handle, KEY)
    assert handles.read(handle.kind, text, RING) == handle
    assert text == handles.make(handle, KEY)


@pytest.mark.parametrize("handle", EXAMPLES, ids=lambda handle: handle.kind.name)
def test_no_single_bit_can_be_changed(handle: Handle) -> None:
    """The tag covers every bit, also version and key id."""
    text = handles.make(handle, KEY)
    raw = from_b64url(text[4:])
    for position in range(len(raw) * 8):
        byte, bit = divmod(position, 8)
        changed = raw[:byte] + bytes([raw[byte] ^ (1 << bit)]) + raw[byte + 1 :]
        assert handles.read(handle.kind, text[:4] + b64url(changed), RING) is None, position


@pytest.mark.parametrize("handle", EXAMPLES, ids=lambda handle: handle.kind.name)
def test_no_character_can_be_changed_dropped_or_added(handle: Handle) -> None:
    """One handle has one spelling: base64's unused bits, padding and white space are no second one."""
    text = handles.make(handle, KEY)
    for position in range(len(text)):
        assert handles.read(handle.kind, text[:position] + text[position + 1 :], RING) is None
        for other in "A_-=+/ .é":
            if text[position] != other:
                assert handles.read(handle.kind, text[:position] + other + text[position + 1 :], RING) is None
    for surrounded in (text + "=", text + "A", text + "\n", " " + text, text.upper(), text[4:]):
        assert handles.read(handle.kind, surrounded, RING) is None


@pytest.mark.parametrize("handle", EXAMPLES, ids=lambda handle: handle.kind.name)
@pytest.mark.parametrize("kind", list(Kind))
def test_kinds_are_not_interchangeable(handle: Handle, kind: Kind) -> None:
    """Neither as it is nor under another prefix: the kind is part of what the tag covers."""
    if kind is handle.kind:
        return
    text = handles.make(handle, KEY)
    assert handles.read(kind, text, RING) is None
    assert handles.read(kind, kind.value[0] + text[4:], RING) is None


def test_another_key_and_a_retired_key_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = handles.make(REFRESH, KEY)
    assert handles.read(Kind.REFRESH, text, KeyRing((OTHER_KEY,), (), ())) is None
    same_id = SecretKey(7, OTHER_KEY.secret, active_from=0)
    assert handles.read(Kind.REFRESH, text, KeyRing((same_id,), (), ())) is None
    retiring = SecretKey(7, KEY.secret, active_from=0, retires_at=1000)
    monkeypatch.setattr("broker.clock.now", lambda: 999)
    assert handles.read(Kind.REFRESH, text, KeyRing((retiring,), (), ())) == REFRESH
    monkeypatch.setattr("broker.clock.now", lambda: 1000)
    assert handles.read(Kind.REFRESH, text, KeyRing((retiring,), (), ())) is None


def test_the_secret_is_not_shown() -> None:
    assert "secret" not in repr(REFRESH)
    assert repr(SECRET) not in repr(REFRESH)
    assert "secret" not in repr(KEY)


@given(
    st.sampled_from([Kind.CODE, Kind.REFRESH]),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(min_size=32, max_size=32),
)
def test_every_content_survives(kind: Kind, grant_id: bytes, generation: int, due: int, secret: bytes) -> None:
    handle = Handle(kind, b64url(grant_id), generation, due, secret, key_id=7)
    assert handles.read(kind, handles.make(handle, KEY), RING) == handle


@given(st.sampled_from(list(Kind)), st.text(max_size=200))
def test_no_text_is_read_or_raises(kind: Kind, text: str) -> None:
    assert handles.read(kind, text, RING) is None
    assert handles.read(kind, kind.value[0] + text, RING) is None
