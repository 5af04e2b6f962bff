"""What comes back through the browser, as the RFCs have it: pages, redirects to the provider, redirects to the client."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlsplit

import requests

from broker_testing.journey import Login, send_exactly

_ERROR_TEXT = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")
_LOADING = ("src", "href", "srcset", "data", "poster", "background")


def assert_page(response: requests.Response, status: int) -> str:
    """A page that is safe to show (RFC 9700 sections 4.2 and 4.16), and no redirect. Returns its text."""
    assert response.status_code == status, (response.status_code, response.headers.get("location"), response.text)
    assert "location" not in response.headers
    assert "refresh" not in response.headers
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-frame-options"] == "DENY"
    policy = _directives(response)
    assert policy["frame-ancestors"] == "'none'"
    assert policy["default-src"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*"} & set(" ".join(policy.values()).split())
    own = "{0.scheme}://{0.netloc}".format(urlsplit(response.url))
    foreign = [url for url in _Loaded.of(response.text) if urlsplit(url).netloc and not url.startswith(f"{own}/")]
    assert foreign == [], "the page loads from elsewhere"
    return response.text


def assert_refused(response: requests.Response, status: int = 400) -> str:
    """An error that must not be redirected (RFC 6749 section 4.1.2.1): a page, and nothing begun in the browser."""
    text = assert_page(response, status)
    assert "set-cookie" not in response.headers
    return text


def assert_goes_on(login: Login, response: requests.Response) -> str:
    """303 to the provider's authorization endpoint, with a cookie that binds the login. Returns the URL."""
    assert response.status_code == 303, (response.status_code, response.text)
    location = response.headers["location"]
    assert location.startswith(f"{login.client.base}/sandbox/"), location
    assert "set-cookie" in response.headers
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    return location


def assert_error_redirect(login: Login, response: requests.Response, code: str) -> Mapping[str, str]:
    """303 to the client with the error, its state and our issuer, each once (RFC 6749 section 4.1.2.1, RFC 9207).

    Returns the parameters.
    """
    answer = login.read_answer(response)
    assert response.headers["cache-control"] == "no-store"
    assert answer["error"] == code, answer
    assert set(answer) <= {"error", "error_description", "error_uri", "state", "iss"}
    assert _ERROR_TEXT.fullmatch(answer.get("error_description", "")), answer
    assert answer.get("state") == (login.parameters.get("state") or None)
    assert answer["iss"] == issuer_of(login.client.base)
    return answer


def assert_login_completes(login: Login, response: requests.Response) -> dict[str, str]:
    """From the redirect to the provider to tokens: the code that comes back is good. Returns the answer's parameters."""
    assert_goes_on(login, response)
    back = login.browser.get(login.at_provider(response))
    answer = login.read_answer(back)
    assert set(answer) - {"state"} == {"code", "iss"}, answer
    assert answer.get("state") == (login.parameters.get("state") or None)
    redeemed = login.redeem()
    assert redeemed.status_code == 200, redeemed.text
    return answer


def issuer_of(base: str) -> str:
    """The issuer that the metadata names."""
    issuer: str = requests.get(f"{base}/.well-known/oauth-authorization-server", timeout=30).json()["issuer"]
    return issuer


def query_of(url: str) -> dict[str, str]:
    """The query of a URL in which nothing repeats."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs), url
    return dict(pairs)


def get_exactly(url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
    """GET with the URL as it is written."""
    return send_exactly("GET", url, headers)


def _directives(response: requests.Response) -> dict[str, str]:
    """The Content-Security-Policy by directive."""
    parts = [part.strip().partition(" ") for part in response.headers["content-security-policy"].split(";")]
    return {name: value for name, _, value in parts if name}


class _Loaded(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    @classmethod
    def of(cls, text: str) -> list[str]:
        """All URLs that a page loads or links to."""
        parser = cls()
        parser.feed(text)
        return parser.urls

    def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        self.urls += [value for name, value in attrs if name in _LOADING and value]
