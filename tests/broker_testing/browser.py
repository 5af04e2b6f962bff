"""A browser as far as OAuth needs one: cookies, redirects followed one by one, forms filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

REDIRECTS = (301, 302, 303, 307, 308)


@dataclass
class Form:
    """One HTML form. `fields` holds what would be sent without touching it, buttons apart."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class Browser:
    """Cookies of its own; never follows a redirect unasked."""

    def __init__(self) -> None:
        self.session = requests.Session()
        self.session.headers["user-agent"] = "test browser"

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """GET, without following a redirect."""
        return self.session.get(url, headers=dict(headers or {}), allow_redirects=False, timeout=30)

    def post(
        self, url: str, data: Mapping[str, str] | str, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """POST a form, without following a redirect."""
        sent = {"content-type": "application/x-www-form-urlencoded"} | dict(headers or {})
        return self.session.post(url, data=data, headers=sent, allow_redirects=False, timeout=30)

    def follow(self, response: requests.Response, *, stop: tuple[str, ...] = ()) -> requests.Response:
        """Follow redirects until a page comes, or until the next one leads to a URL that starts with one of `stop`."""
        while response.status_code in REDIRECTS:
            target = urljoin(response.url, response.headers["location"])
            if target.startswith(stop):
                return response
            response = self.get(target)
        return response

    def submit(self, page: requests.Response, values: Mapping[str, str]) -> requests.Response:
        """Send the page's one form with `values` filled in."""
        (form,) = forms(page)
        data = form.fields | dict(values)
        url = urljoin(page.url, form.action)
        if form.method == "get":
            return self.session.get(url, params=data, allow_redirects=False, timeout=30)
        return self.post(url, data)


def forms(page: requests.Response) -> list[Form]:
    """All forms of a page."""
    parser = _Forms()
    parser.feed(page.text)
    return parser.forms


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(named.get("action", ""), named.get("method", "get").lower()))
        elif tag == "button" and "name" in named:
            self.forms[-1].buttons.append((named["name"], named.get("value", "")))
        elif (
            tag == "input"
            and self.forms
            and "name" in named
            and named.get("type") not in ("submit", "checkbox", "radio")
        ):
            self.forms[-1].fields[named["name"]] = named.get("value", "")
