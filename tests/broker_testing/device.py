"""A device's way through the broker (RFC 8628), and the person's who lets it in with a browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import requests

from broker_testing.browser import Browser, forms
from broker_testing.journey import PASSWORD, TestClient, post_form

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass
class Device:
    """A device that asks for a login, and what it was answered."""

    client: TestClient
    answer: dict[str, Any] = field(default_factory=dict)

    def ask(self, **parameters: str | None) -> requests.Response:
        """The device authorization request."""
        form = {"scope": "openid profile email"} | self.client.credentials()
        return post_form(f"{self.client.base}/device_authorization", form, parameters)

    def begin(self, **parameters: str | None) -> Device:
        """The same, which must succeed."""
        response = self.ask(**parameters)
        assert response.status_code == 200, (response.status_code, response.text)
        self.answer = response.json()
        return self

    @property
    def user_code(self) -> str:
        """The code that it shows."""
        return str(self.answer["user_code"])

    def poll(self, **changes: str | None) -> requests.Response:
        """One poll at the token endpoint."""
        form = {"grant_type": GRANT_TYPE, "device_code": str(self.answer["device_code"])} | self.client.credentials()
        return post_form(f"{self.client.base}/token", form, changes)


@dataclass
class Person:
    """Somebody with a browser."""

    base: str
    browser: Browser = field(default_factory=Browser)
    username: str = "johndoe"

    def open_page(self, url: str | None = None) -> requests.Response:
        """The page for entering a code, or what a link to it shows."""
        return self.browser.get(url or f"{self.base}/device")

    def enter(self, user_code: str) -> requests.Response:
        """Open the page and send a code; the answer is the question, or the same form with what is wrong."""
        return self.browser.submit(self.open_page(), {"user_code": user_code})

    def decide(self, question: requests.Response, decision: str, **values: str) -> requests.Response:
        """Answer the question."""
        return self.browser.submit(question, {"decision": decision, **values})

    def confirm(self, user_code: str, **values: str) -> requests.Response:
        """Enter a code and continue; the answer is the redirect to the provider."""
        question = self.enter(user_code)
        assert question.status_code == 200, (question.status_code, question.text)
        return self.decide(question, "allow", **values)

    def callback_url(self, to_provider: requests.Response, decision: str = "allow") -> str:
        """Log in at the sandbox and decide there; the URL that leads back to the broker."""
        assert to_provider.status_code == 303, (to_provider.status_code, to_provider.text)
        page = self.browser.follow(to_provider)
        consent = self.browser.follow(self.browser.submit(page, {"username": self.username, "password": PASSWORD}))
        back = self.browser.submit(consent, {"decision": decision})
        assert back.status_code in (302, 303), (back.status_code, back.text)
        return back.headers["location"]

    def approve(self, user_code: str, **values: str) -> requests.Response:
        """All of it; the page that sends the person back to the device."""
        return self.browser.get(self.callback_url(self.confirm(user_code, **values)))


def inputs(page: requests.Response) -> list[Mapping[str, str]]:
    """The attributes of every input of a page."""
    parser = _Tags()
    parser.feed(page.text)
    return parser.inputs


def labelled(page: requests.Response) -> set[str]:
    """The ids that a label is for."""
    parser = _Tags()
    parser.feed(page.text)
    return parser.labels


def is_question(page: requests.Response) -> bool:
    """Whether the page asks to allow or deny."""
    return ("decision", "allow") in [button for form in forms(page) for button in form.buttons]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[Mapping[str, str]] = []
        self.labels: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "input":
            self.inputs.append(named)
        elif tag == "label" and "for" in named:
            self.labels.add(named["for"])
