"""The subject that a person has at the broker."""

import hashlib

from broker.encoding import b64url

MAX_SUBJECT = 255
"""OpenID Connect Core section 2: a sub has at most 255 ASCII characters."""


def subject_of(provider: str, upstream_subject: str) -> str:
    """`provider|id`: the same person at the same provider always has the same one, and two providers never collide.

    An id that is too long or has other than printable ASCII characters is replaced by its SHA-256.
    """
    subject = f"{provider}|{upstream_subject}"
    if len(subject) <= MAX_SUBJECT and subject.isascii() and subject.isprintable():
        return subject
    return f"{provider}|sha256:{b64url(hashlib.sha256(upstream_subject.encode()).digest())}"


def pseudonym_of(provider: str, grant_id: str) -> str:
    """The subject of a login whose provider cannot say who the person is: of this login alone."""
    return subject_of(provider, f"login:{grant_id}")
