"""Clients of a day of faults: each signs a person in and then keeps using the login, as a good OAuth client does.

It repeats what it is told to repeat, no earlier than it is told; it sends a used refresh token again only to repeat the very
request that got no tokens; it refreshes before its access token expires. It never sleeps: it says when it wants to go on, in
the broker's time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

from broker_testing.journey import Login, TestClient, refresh, userinfo
from broker_testing.proxy import exchange

USUAL_WAIT, LONGEST_WAIT = 5, 60
"""Seconds before a repetition, where the answer names none; the wait doubles with every further failure up to the longest. A
refresh is not put off like that, as it may be one that was done and not heard of: it is repeated when the answer says."""
BEFORE_EXPIRY = 30
"""Seconds before its end from which on an access token is renewed rather than used."""
PAUSE = (40, 120)
"""Seconds between two requests of a client, from and to."""
TICK = 5
"""Seconds. Requests that fall into one tick are sent at the same time, by several threads; but a repetition comes on the second
that its answer named, as a refresh that was not heard of has to be repeated within the retry window."""
SIGN_IN = ("authorize", "callback", "code")
USES = ("userinfo", "refresh", "exchange", "userinfo", "refresh")
_JSON = {"accept": "application/json"}


@dataclass(frozen=True)
class Heard:
    """One answer. `step`: of SIGN_IN or USES; `error`: OAuth's code, "" for a success; `retry_after`: seconds, None without;
    `repeats`: whether the request repeats one that failed."""

    step: str
    provider: str
    status: int
    error: str
    retry_after: int | None
    repeats: bool

    @property
    def ends_login(self) -> bool:
        """Whether the client must take its login for lost: the broker says so of a token that was used properly."""
        return self.step in USES and 400 <= self.status < 500 and self.status != 429

    @property
    def begins_again(self) -> bool:
        """Whether the person, who was signing in, has to begin anew: the answer is not one that asks for a repetition."""
        return self.step in SIGN_IN and self.error != "" and self.status not in (429, 503)

    @property
    def kind(self) -> str:
        """What is counted: "503 temporarily_unavailable"."""
        return f"{self.status} {self.error}"


@dataclass
class Person:
    """Somebody at a provider with a client of his own. Times are epoch seconds of the broker's clock.

    due: when the next request is to be sent; failed: how often it has failed so far; lost: the login was begun successfully and
    works no more.
    """

    client: TestClient
    provider: str
    chance: random.Random = field(repr=False)
    due: int
    step: str = "authorize"
    failed: int = 0
    lost: bool = False
    _login: Login | None = field(default=None, repr=False)
    _return: str = field(default="", repr=False)
    _tokens: dict[str, Any] = field(default_factory=dict, repr=False)
    _expires: int = 0
    _uses: Iterator[str] = field(default_factory=lambda: cycle(USES), repr=False)

    @property
    def is_signed_in(self) -> bool:
        """Whether there is a login to be lost."""
        return bool(self._tokens) and not self.lost

    def act(self, now: int) -> Heard:
        """Send the next request, and decide what comes after it."""
        if self.step in ("userinfo", "exchange") and now > self._expires - BEFORE_EXPIRY:
            self.step = "refresh"
        response = self._requests[self.step]()
        heard = _heard(self.step, self.provider, response, self.failed > 0)
        if heard.error == "":
            self._go_on(response, now)
        elif heard.ends_login:
            self.lost = True
        else:
            self._come_back(heard, now)
        return heard

    @property
    def _requests(self) -> dict[str, Callable[[], requests.Response]]:
        return {
            "authorize": self._authorize,
            "callback": lambda: self._attempt.browser.get(self._return, _JSON),
            "code": lambda: self._attempt.redeem(),  # noqa: PLW0108 - there may be no attempt yet
            "refresh": lambda: refresh(self.client, self._tokens["refresh_token"]),
            "userinfo": lambda: userinfo(self.client.base, self._tokens["access_token"]),
            "exchange": lambda: exchange(self.client, self._tokens["access_token"], audience=self.provider),
        }

    @property
    def _attempt(self) -> Login:
        if self._login is None:
            raise RuntimeError("nobody has begun to sign in")
        return self._login

    def _authorize(self) -> requests.Response:
        """A new attempt every time, as a person makes who clicks on "sign in"."""
        self._login = Login(self.client, self.provider)
        return self._login.browser.get(self._login.authorize_url(), _JSON)

    def _go_on(self, response: requests.Response, now: int) -> None:
        self.failed = 0
        match self.step:
            case "authorize":
                self._return, self.step = self._attempt.at_provider(response), "callback"
            case "callback":
                self._attempt.read_answer(response)
                self.step = "code"
            case "code" | "refresh":
                self._tokens = response.json()
                self._expires = now + int(self._tokens["expires_in"])
                self.step = next(self._uses)
            case _:
                self.step = next(self._uses)
        self.due = end_of_tick(now + (1 if self.step in SIGN_IN else self.chance.randint(*PAUSE)))

    def _come_back(self, heard: Heard, now: int) -> None:
        """The same request again; in the middle of signing in the person begins anew, unless the answer says "later"."""
        wait = heard.retry_after or USUAL_WAIT
        self.due = now + (wait if self.step == "refresh" else max(wait, min(LONGEST_WAIT, wait * 2**self.failed)))
        self.failed += 1
        if heard.begins_again:
            self.step, self.failed = "authorize", 0


def end_of_tick(moment: int) -> int:
    """When what falls due then is sent."""
    return -(-moment // TICK) * TICK


def _heard(step: str, provider: str, response: requests.Response, repeats: bool) -> Heard:
    wait = response.headers.get("retry-after")
    retry_after = int(wait) if wait is not None and wait.isdigit() else None
    return Heard(step, provider, response.status_code, _error(step, response), retry_after, repeats)


def _error(step: str, response: requests.Response) -> str:
    """OAuth's code of what went wrong; "" when all is well, "none" for a failure that names no code."""
    if response.status_code == 303 and step in ("authorize", "callback"):
        return dict(parse_qsl(urlsplit(response.headers["location"]).query)).get("error", "")
    if response.status_code == 200 and step not in ("authorize", "callback"):
        return ""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return "none"
