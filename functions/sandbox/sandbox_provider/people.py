"""The people who can sign in at every fake provider. Nobody real; the password is public and the same for all."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

PASSWORD = "sandbox"


@dataclass(frozen=True)
class Person:
    """One fictitious account, the same at every provider."""

    username: str
    user_id: int
    first_name: str
    last_name: str
    email: str
    """May be empty: not everybody has one."""
    timezone: str
    locale: str

    @property
    def full_name(self) -> str:
        """First and last name, as far as there are any."""
        return f"{self.first_name} {self.last_name}".strip()


PEOPLE: tuple[Person, ...] = (
    Person("johndoe", 1001, "John", "Doe", "john@example.com", "Europe/London", "en-GB"),
    # InfoLobby's guide shows this account with an empty e-mail address.
    Person("johnsmith", 123, "John", "Smith", "", "America/New_York", "en-US"),
    Person("zoe", 2002, "Zoë", "Müller-Łukasiewicz 李", "zoë@example.com", "Europe/Zurich", "de-CH"),
    # A trap for clients that read numbers: the user name is not John Smith's id, the id is beyond 2^53.
    Person("000123", 9007199254740993, "42", "", "000123@example.com", "UTC", "en"),
)


def person(username: str) -> Person:
    """The account of that name; KeyError when there is none."""
    for candidate in PEOPLE:
        if candidate.username == username:
            return candidate
    raise KeyError(username)


def sign_in(username: str, password: str) -> Person | None:
    """The person whom this user name (or e-mail address) and password belong to."""
    if not hmac.compare_digest(password.encode(), PASSWORD.encode()):
        return None
    name = username.strip()
    return next((p for p in PEOPLE if name and name in (p.username, p.email)), None)
