"""base64url without padding (RFC 4648 section 5), strict when decoding: one byte string has exactly one spelling."""

import base64
import binascii


def b64url(raw: bytes) -> str:
    """Encode without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def from_b64url(text: str) -> bytes:
    """Decode; ValueError for padding, foreign characters or unused bits that are not zero.

    The strictness matters: with two spellings of one token, a list of used tokens could be walked around.
    """
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (UnicodeEncodeError, binascii.Error):
        raise ValueError("not base64url") from None
    if b64url(raw) != text:
        raise ValueError("not base64url in its one spelling")
    return raw
