"""The device authorization grant's own values (RFC 8628): its grant type, and the user code that a person types.

Pure rules. Must never decide whether a code counts: that is for the store to know.
"""

import re
import secrets

from broker.protocol.limits import Limit

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
"""RFC 8628 section 3.4."""
ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""RFC 8628 section 6.1: consonants alone, so that no word is spelt and no digit is mistaken for a letter."""
LENGTH = 8
SLOW_DOWN_SECONDS = 5
"""What a client that polls too fast must add to its interval (RFC 8628 section 3.5)."""

GUESSES = Limit(10, 600)
"""Codes that lead nowhere, from one address (RFC 8628 section 5.1): in a code's lifetime an address finds one of n waiting codes
with a probability of n in 2.5 thousand million."""

_IGNORED = re.compile(r"[\s.\-_\u2010-\u2015\u2212]+")


def new_user_code() -> str:
    """A random user code in its normal form: 8 letters, 34.6 bits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def normalise(text: str) -> str | None:
    """The normal form of what somebody typed: any case, with or without dashes, dots and spaces. None if it is no code."""
    letters = _IGNORED.sub("", text).upper()
    return letters if len(letters) == LENGTH and set(letters) <= set(ALPHABET) else None


def shown(user_code: str) -> str:
    """A user code as people see it: XXXX-XXXX."""
    return f"{user_code[: LENGTH // 2]}-{user_code[LENGTH // 2 :]}"
