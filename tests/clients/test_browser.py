"""oidc-client-ts and AppAuth-JS in headless Chromium, each in a page of an application on another origin than the broker's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route

from broker_testing.journey import PASSWORD, register
from broker_testing.sandbox import end_at_provider
from clients.app_server import serving
from clients.conftest import HERE, MODULES

OpenApp = Callable[..., "AppInBrowser"]
LIFETIME = 600


@dataclass
class AppInBrowser:
    """An application in a browser profile of its own."""

    context: BrowserContext
    page: Page
    origin: str

    def another_tab(self) -> Page:
        """The same application once more, as the person left it."""
        page = self.context.new_page()
        page.goto(f"{self.origin}/")
        ready(page)
        return page

    def sign_in(self) -> None:
        """The person's way through the provider and back."""
        self.page.evaluate("void app.signIn()")
        self.page.get_by_label("User name").fill("johndoe")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("button", name="Allow").click()
        self.page.wait_for_url(f"{self.origin}/**")
        ready(self.page)

    def run(self, expression: str, argument: object = None) -> Any:
        """What an expression in the page comes to."""
        return self.page.evaluate(expression, argument)


def ready(page: Page) -> None:
    """Wait until the application has started."""
    page.wait_for_function("document.title === 'ready' && location.pathname !== ''")


@pytest.fixture(scope="module")
def bundle(node: str) -> Callable[[str], bytes]:
    """Puts a page's script and the library, as published, into one file."""

    def bundled(name: str) -> bytes:
        words = [str(MODULES / ".bin" / "esbuild"), f"pages/{name}.js", "--bundle", "--format=esm", "--log-level=error"]
        return subprocess.run(words, cwd=HERE, capture_output=True, check=True).stdout

    return bundled


@pytest.fixture
def open_app(chromium: Browser, base: str, bundle: Callable[[str], bytes]) -> Iterator[OpenApp]:
    """Opens an application; the test fails when a script of it fails."""
    problems: list[str] = []
    with ExitStack() as stack:

        def opened(name: str, *, refresh_cookie: bool = False, **settings: object) -> AppInBrowser:
            app = stack.enter_context(serving(bundle(name)))
            client = register(
                base,
                redirect_uris=(f"{app.origin}/callback",),
                origins=(app.origin,),
                post_logout_redirect_uris=(f"{app.origin}/",),
                providers=("openid",),
                access_token_lifetime=LIFETIME,
                refresh_cookie=refresh_cookie,
            )
            app.settings = {"issuer": base, "client_id": client.client_id, "renew_before": 0, "dpop": False} | settings
            app.settings |= {"refresh_cookie": refresh_cookie}
            context = chromium.new_context()
            stack.callback(context.close)
            context.set_default_timeout(30_000)
            context.on("weberror", lambda error: problems.append(str(error.error)))
            page = context.new_page()
            page.goto(f"{app.origin}/")
            ready(page)
            return AppInBrowser(context, page, app.origin)

        yield opened
    assert problems == []


def test_oidc_client_ts(open_app: OpenApp) -> None:
    """Redirect, profile, renewal with the refresh token, revocation."""
    app = open_app("oidc_client_ts")
    app.sign_in()
    user = app.run("app.user()")
    assert user["sub"]
    assert (user["name"], user["email"]) == ("John Doe", "john@example.com")
    renewed = app.run("app.renew()")
    assert renewed["refresh_token"] != user["refresh_token"]
    assert renewed["sub"] == user["sub"]
    assert app.run("token => app.userinfo(token)", renewed["access_token"]) == 200
    app.run("app.revoke()")
    assert app.run("token => app.userinfo(token)", renewed["access_token"]) == 401
    assert app.run("app.user()")["refresh_token"] is None
    app.run("app.signOutHere()")
    assert app.run("app.user()") is None


def test_oidc_client_ts_signs_out(open_app: OpenApp) -> None:
    app = open_app("oidc_client_ts")
    app.sign_in()
    user = app.run("app.user()")
    app.run("void app.signOut()")
    app.page.wait_for_url(f"{app.origin}/?state=*")
    ready(app.page)
    assert app.run("app.user()") is None
    assert app.run("app.events") == ["signed out: bye"]
    assert app.run("token => app.userinfo(token)", user["access_token"]) == 401


def test_oidc_client_ts_renews_by_itself(open_app: OpenApp) -> None:
    """`automaticSilentRenew`, with a notice so early that a new token is due for it again at once."""
    app = open_app("oidc_client_ts", renew_before=LIFETIME - 2)
    app.sign_in()
    first = app.run("app.user()")
    app.page.wait_for_function("app.events.filter(event => event === 'renewed').length >= 3")
    assert [event for event in app.run("app.events") if event != "renewed"] == []
    user = app.run("app.user()")
    assert user["refresh_token"] != first["refresh_token"]
    assert app.run("token => app.userinfo(token)", user["access_token"]) == 200


@contextmanager
def together(context: BrowserContext, number: int) -> Iterator[None]:
    """Requests to the token endpoint go on as soon as so many have been sent."""
    waiting: list[Route] = []

    def arrived(route: Route) -> None:
        waiting.append(route)
        if len(waiting) == number:
            for one in waiting:
                one.continue_()

    context.route("**/token", arrived)
    yield
    context.unroute("**/token")


def test_two_tabs_renew_at_once_and_lose_nothing(open_app: OpenApp) -> None:
    """Each time both hold the same refresh token and both send it; the login lives on, in either tab."""
    app = open_app("oidc_client_ts")
    app.sign_in()
    tabs = (app.page, app.another_tab())
    before = app.run("app.user()")
    for _ in range(4):
        with together(app.page.context, 2):
            for tab in tabs:
                tab.evaluate("app.renewAt(Date.now() + 100)")
            one, other = (tab.evaluate("renewal") for tab in tabs)
        assert one["refresh_token"] == other["refresh_token"] != before["refresh_token"]
        assert one["sub"] == other["sub"] == before["sub"]
        for tab, user in zip(tabs, (one, other), strict=True):
            assert tab.evaluate("token => app.userinfo(token)", user["access_token"]) == 200
        before = one
    assert [tab.evaluate("app.events.filter(event => event !== 'renewed')") for tab in tabs] == [[], []]


def test_oidc_client_ts_with_the_refresh_cookie(open_app: OpenApp) -> None:
    """No script sees a refresh token, and the page renews all the same."""
    app = open_app("oidc_client_ts", refresh_cookie=True)
    app.sign_in()
    before = app.run("app.user()")
    assert before["refresh_token"] is None
    for _ in range(2):
        renewed = app.run("app.renewByCookie()")
        assert renewed["access_token"] != before["access_token"]
        assert app.run("token => app.userinfo(token)", renewed["access_token"]) == 200
        before = renewed


def test_oidc_client_ts_reconnects(open_app: OpenApp, base: str) -> None:
    app = open_app("oidc_client_ts")
    app.sign_in()
    assert end_at_provider(base, "openid", "grant", "johndoe") > 0
    assert app.run("token => app.userinfo(token)", app.run("app.user()")["access_token"]) == 401
    url = app.run("app.reconnectUrl()")
    assert url.startswith(f"{base}/authorize?client_id=")
    assert "&provider=openid&reconnect=tbn_" in url


def test_oidc_client_ts_with_dpop(open_app: OpenApp) -> None:
    """RFC 9449 across origins: the page has to be let read the nonces, and send its proofs."""
    app = open_app("oidc_client_ts", dpop=True)
    app.sign_in()
    user = app.run("app.user()")
    assert user["token_type"] == "DPoP"
    assert app.run("token => app.userinfo(token)", user["access_token"]) == 200
    renewed = app.run("app.renew()")
    assert renewed["refresh_token"] != user["refresh_token"]
    assert app.run("token => app.userinfo(token)", renewed["access_token"]) == 200


def test_oidc_client_ts_with_dpop_is_told_that_the_login_has_ended(open_app: OpenApp) -> None:
    """It repeats what failed with a nonce, and if that fails with a nonce as well the application sees no OAuth error."""
    app = open_app("oidc_client_ts", dpop=True)
    app.sign_in()
    app.run("app.endUnseen()")
    failures = [app.run("app.renewalError()") for _ in range(2)]
    assert [(failure["name"], failure["error"]) for failure in failures] == [("ErrorResponse", "invalid_grant")] * 2
    assert min(failure["calls"] for failure in failures) == 1, (
        "the nonce may change before one of them, not before both"
    )


def test_appauth(open_app: OpenApp) -> None:
    """Redirect, code, profile, refresh, revocation."""
    app = open_app("appauth")
    app.sign_in()
    tokens = app.run("app.redeem()")
    assert tokens["tokenType"] == "Bearer"
    assert tokens["idToken"]
    profile = app.run("token => app.profile(token)", tokens["accessToken"])
    assert (profile["name"], profile["email"]) == ("John Doe", "john@example.com")
    refreshed = app.run("token => app.refresh(token)", tokens["refreshToken"])
    assert refreshed["refreshToken"] != tokens["refreshToken"]
    again = app.run("token => app.profile(token)", refreshed["accessToken"])
    assert again["sub"] == profile["sub"]
    assert app.run("token => app.revoke(token)", refreshed["refreshToken"]) is True
    assert app.run("token => app.failure(app.refresh(token))", refreshed["refreshToken"]) == "400"
    assert app.run("token => app.failure(app.profile(token))", refreshed["accessToken"]) == "401"
