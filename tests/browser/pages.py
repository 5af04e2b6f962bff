"""The way to every page that people see, in a browser; for the tests and the pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from playwright.sync_api import Page

from broker.brand import Brand, parse
from broker.runtime import runtime
from broker_testing.device import GRANT_TYPE, Device
from broker_testing.journey import Login, TestClient, register

HOSTILE = "\u202eelgooG\ufdfd <b>Bank</b> " + "Ünïcödé \U0001f469\u200d\U0001f469\u200d\U0001f467 " * 60
NATIVE = "com.example.todo:/callback"
PASSWORD = "sandbox"

BRAND = parse(
    {
        "name": "Nordlicht Energie",
        "logo": "data:image/svg+xml;base64,"
        "PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHZpZXdCb3g9IjAgMCAzMiAzMiI+PHBhdGggZD0i"
        "TTE2IDJsMTIgMjZINHoiIGZpbGw9IiNmZmJmMDAiLz48L3N2Zz4=",
        "accent": "#ffbf00",
        "background": "#123a34",
        "background_dark": "#06201c",
        "footer_links": [
            ["Privacy", "https://nordlicht.example/privacy"],
            ["Imprint", "https://nordlicht.example/imprint"],
        ],
    }
)
RIGHT_TO_LEFT = parse(
    {
        "name": "שער הכניסה",
        "language": "he",
        "texts": {
            "chooser.title": "איך להיכנס",
            "chooser.intro": "{client} מבקשת שתיכנסו. היכן יש לכם חשבון?",
            "chooser.option": "המשך עם {provider}",
            "footer.note": "דף זה לעולם אינו מבקש סיסמה.",
        },
    }
)


def chooser(page: Page, base: str) -> None:
    """Several providers, none named."""
    page.goto(Login(_client(base, providers=("infolobby", "redbooth", "iternio", "openid"))).authorize_url())


def consent(page: Page, base: str) -> None:
    """A client of somebody else's that gave all its addresses."""
    client = _client(
        base,
        first_party=False,
        name="Roadtrip Planner",
        scope=("openid", "profile", "email", "offline_access", "calendar.read"),
        proxy=("openid",),
        client_uri="https://roadtrip.example",
        policy_uri="https://roadtrip.example/privacy",
        tos_uri="https://roadtrip.example/terms",
    )
    _to_consent(page, client, "openid profile email offline_access calendar.read")


def consent_native(page: Page, base: str) -> None:
    """An app on the device that registered itself."""
    _to_consent(page, _client(base, first_party=False, dynamic=True, name="Todo", redirect_uris=(NATIVE,), origins=()))


def consent_hostile(page: Page, base: str) -> None:
    """A client whose name tries everything."""
    _to_consent(page, _client(base, first_party=False, dynamic=True, name=HOSTILE))


def form_post(page: Page, base: str) -> None:
    """The answer as a form that is to be sent by hand."""
    page.context.route("**/form-post.js", lambda route: route.abort())
    page.goto(Login(_client(base)).authorize_url(response_mode="form_post"))
    _log_in(page)


def error(page: Page, base: str) -> None:
    """An application that nobody knows."""
    page.goto(Login(_client(base)).authorize_url(client_id="nobody"))


def error_callback(page: Page, base: str) -> None:
    """An answer of the provider that belongs to no login."""
    page.goto(f"{base}/callback/openid?code=x&state=y")


def device(page: Page, base: str) -> None:
    """The code is to be entered."""
    page.goto(f"{base}/device")


def device_wrong(page: Page, base: str) -> None:
    """The code was wrong."""
    device(page, base)
    _enter(page, "BCDF-GHJK")


def device_confirm(page: Page, base: str) -> None:
    """Who asks on the device, and where one has an account."""
    device(page, base)
    _enter(page, _device(base).user_code)


def device_done(page: Page, base: str) -> None:
    """The device was let in."""
    device_confirm(page, base)
    page.get_by_label("OpenID-like").check()
    page.get_by_role("button", name="Continue").click()
    _log_in(page)


def device_denied(page: Page, base: str) -> None:
    """The device was not let in."""
    device_confirm(page, base)
    page.get_by_role("button", name="Deny").click()


def logout(page: Page, base: str) -> None:
    """Whether to sign out."""
    page.goto(f"{base}/logout?client_id={_client(base, refresh_cookie=True).client_id}")


def logout_done(page: Page, base: str) -> None:
    """Signed out."""
    logout(page, base)
    page.get_by_role("button", name="Sign out").click()


def logout_done_unchecked(page: Page, base: str) -> None:
    """Signed out at a client that registered itself, which wants the browser back."""
    back = "https://todo.example/bye"
    client = _client(base, refresh_cookie=True, dynamic=True, name="Todo", post_logout_redirect_uris=(back,))
    page.goto(f"{base}/logout?client_id={client.client_id}&post_logout_redirect_uri={back}")
    page.get_by_role("button", name="Sign out").click()


PAGES: Mapping[str, Callable[[Page, str], None]] = MappingProxyType(
    {
        "chooser": chooser,
        "consent": consent,
        "consent-native": consent_native,
        "consent-hostile": consent_hostile,
        "form-post": form_post,
        "device": device,
        "device-wrong": device_wrong,
        "device-confirm": device_confirm,
        "device-done": device_done,
        "device-denied": device_denied,
        "logout": logout,
        "logout-done": logout_done,
        "logout-done-unchecked": logout_done_unchecked,
        "error": error,
        "error-callback": error_callback,
    }
)
"""Name -> the way there, for a fresh browser profile and the broker's URL."""


def put_brand(brand: Brand | None) -> None:
    """Give the pages that brand, or take it away."""
    brands = runtime()._brands
    if brand is None:
        brands.remove()
    else:
        brands.put(brand)


def _client(base: str, **attributes: Any) -> TestClient:
    return register(base, **{"name": "Roadtrip Planner", "providers": ("openid",), **attributes})


def _device(base: str) -> Device:
    providers = ("openid", "infolobby")
    return Device(_client(base, name="Living room", providers=providers, grant_types=(GRANT_TYPE,))).begin()


def _enter(page: Page, user_code: str) -> None:
    page.get_by_role("textbox").fill(user_code)
    page.get_by_role("button", name="Continue").click()


def _to_consent(page: Page, client: TestClient, scope: str = "openid profile email") -> None:
    page.goto(Login(client).authorize_url(scope=scope))
    _log_in(page)


def _log_in(page: Page, username: str = "johndoe") -> None:
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Allow").click()
    page.wait_for_load_state()
