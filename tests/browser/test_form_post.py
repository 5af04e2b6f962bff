"""A provider that answers by a POST from its own site, in a real browser: which cookies come along, only a browser knows."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from broker.upstream.provider import Provider
from broker_testing.apple import FakeApple, registered_apple
from broker_testing.journey import CALLBACK, Login, register


@pytest.fixture
def apple_id(base: str) -> Iterator[FakeApple]:
    """An Apple on 127.0.0.1, which is another site than the broker's localhost."""
    with registered_apple() as running:
        yield running


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A profile of its own, in which the application's page exists."""
    context = chromium.new_context()
    context.set_default_timeout(15_000)
    context.route(f"{CALLBACK}**", lambda route: route.fulfill(status=200, body="the application"))
    yield context.new_page()
    context.close()


def test_the_cookie_comes_along(base: str, apple_id: FakeApple, page: Page) -> None:
    login = Login(register(base, providers=("apple",)))
    page.goto(f"{base}/authorize?{urlencode(login.parameters)}")
    page.wait_for_url(f"{CALLBACK}**")
    login.answer = {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}
    assert login.answer["state"] == login.parameters["state"]
    assert login.redeem().status_code == 200
    assert page.context.cookies(base) == [], "the login's cookie is gone"


def test_an_ordinary_login_cookie_would_not(
    base: str, apple_id: FakeApple, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Provider, "answers_by_form", property(lambda _: False))
    login = Login(register(base, providers=("apple",)))
    page.goto(f"{base}/authorize?{urlencode(login.parameters)}")
    page.wait_for_url(f"{base}/callback/apple")
    assert "Sign-in cannot go on" in page.content()
    assert apple_id.requests == []
