"""Every page that people see, in a browser: accessible by axe-core's rules, narrow screens, keyboard, the real policy at work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from broker.brand import Brand
from broker.endpoints import consent
from broker_testing.journey import Login, register
from browser import pages
from browser.conftest import DESKTOP, ColorScheme

NARROW = ViewportSize(width=320, height=640)
AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
OpenPage = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    if not AXE.is_file():
        reason = "axe-core is not installed (npm ci --prefix tests/browser)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return AXE.read_text("utf-8")


@pytest.fixture
def open_page(chromium: Browser, base: str) -> OpenPage:
    """Opens one of the pages in a fresh profile; fails on anything that its policy had to stop, or that it loads elsewhere."""

    @contextmanager
    def opened(
        name: str,
        viewport: ViewportSize = DESKTOP,
        scheme: ColorScheme = "light",
        brand: Brand | None = None,
        **more: Any,
    ) -> Iterator[Page]:
        pages.put_brand(brand)
        context = chromium.new_context(viewport=viewport, color_scheme=scheme, reduced_motion="reduce", **more)
        context.set_default_timeout(15_000)
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if "Policy" in message.text else None)
        page.on("request", lambda sent: None if sent.url.startswith((base, "data:")) else problems.append(sent.url))
        pages.PAGES[name](page, base)
        yield page
        context.close()
        pages.put_brand(None)
        assert problems == []

    return opened


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds, in a world of its own where the page's policy does not reach."""
    session = page.context.new_cdp_session(page)
    frame = session.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
    world = session.send("Page.createIsolatedWorld", {"frameId": frame})["executionContextId"]
    session.send("Runtime.evaluate", {"expression": axe, "contextId": world})
    run = {"expression": "axe.run().then(found => JSON.parse(JSON.stringify(found.violations)))", "contextId": world}
    answer = session.send("Runtime.evaluate", run | {"awaitPromise": True, "returnByValue": True})
    found: list[dict[str, Any]] = answer["result"]["value"]
    return [f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}" for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", list(pages.PAGES))
def test_no_page_hinders_anybody(open_page: OpenPage, axe: str, name: str, scheme: ColorScheme) -> None:
    with open_page(name, scheme=scheme) as page:
        assert violations(page, axe) == []
        page.set_viewport_size(NARROW)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        for landmark in ("banner", "main", "contentinfo"):
            expect(page.get_by_role(landmark)).to_have_count(1)
        expect(page.get_by_role("heading", level=1)).to_have_count(1)


@pytest.mark.parametrize("brand", [pages.BRAND, pages.RIGHT_TO_LEFT], ids=["branded", "right to left"])
@pytest.mark.parametrize("name", ["chooser", "consent", "device", "error"])
def test_nor_does_a_brand(open_page: OpenPage, axe: str, name: str, brand: Brand) -> None:
    with open_page(name, brand=brand) as page:
        assert violations(page, axe) == []
        expect(page.get_by_role("banner")).to_contain_text(brand.name)


def test_axe_is_really_run(open_page: OpenPage, axe: str) -> None:
    with open_page("error") as page:
        page.evaluate("document.querySelector('[role=alert]').setAttribute('role', 'nonsense')")
        assert violations(page, axe)


@pytest.mark.parametrize("name", ["consent", "device-confirm", "device"])
def test_everything_is_reached_by_keyboard_and_shows_it(open_page: OpenPage, name: str) -> None:
    with open_page(name) as page:
        page.evaluate("document.activeElement.blur()")
        wanted = page.locator("main a, main button, main input:not([type=hidden])").count()
        seen = set()
        for _ in range(wanted + 2):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "(() => { const at = document.activeElement; const box = at.getBoundingClientRect();"
                " return [at.tagName + box.x + '/' + box.y, getComputedStyle(at).outlineStyle]; })()"
            )
            if not focused[0].startswith("BODY"):
                assert focused[1] == "solid", focused
                seen.add(focused[0])
        radios = page.locator("main input[type=radio]").count()
        assert len(seen) >= wanted - max(0, radios - 1)


@pytest.mark.parametrize("decision", ["Allow", "Deny"])
def test_the_answer_reaches_a_client_that_sends_the_browser_on(chromium: Browser, base: str, decision: str) -> None:
    """Chromium holds every redirect after a form against the page's policy, also those of the client itself."""
    client = register(base, first_party=False, providers=("openid",))
    context = chromium.new_context()
    page = context.new_page()

    def at_the_client(route: Any) -> None:
        query = route.request.url.partition("?")[2]
        route.fulfill(status=303, headers={"location": f"https://home.example/?{query}"})

    context.route("https://app.example/**", at_the_client)
    page.goto(Login(client).authorize_url())
    pages._log_in(page)
    with page.expect_event("requestfailed", lambda request: "home.example" in request.url) as failed:
        page.get_by_role("button", name=decision).click()
    # It gets as far as the network, where there is no such host; the policy would have stopped it before.
    assert "CSP" not in str(failed.value.failure)
    assert ("code=" in failed.value.url) is (decision == "Allow")
    context.close()


@pytest.mark.parametrize(("decision", "answered"), [("allow", "code="), ("deny", "error=access_denied")])
def test_a_second_click_on_a_slow_day_loses_nothing(
    chromium: Browser, base: str, monkeypatch: pytest.MonkeyPatch, decision: str, answered: str
) -> None:
    """Chromium gives the first form up, though it has been served, and shows what comes of the second."""
    decide, served, second = consent._decide, [], threading.Event()

    def slowly(*asked: Any) -> Any:
        answer = decide(*asked)
        served.append(answer.status)
        if len(served) == 1:
            second.wait(10)
        second.set()
        return answer

    monkeypatch.setattr(consent, "_decide", slowly)
    context = chromium.new_context()
    page = context.new_page()
    context.route("https://app.example/**", lambda route: route.fulfill(body="at the client"))
    page.goto(Login(register(base, first_party=False, providers=("openid",))).authorize_url())
    pages._log_in(page)
    click = f"document.querySelector('button[value={decision}]').click()"
    page.evaluate(f"setTimeout(() => {click}, 0); setTimeout(() => {click}, 500)")
    expect(page.get_by_text("at the client")).to_be_visible()
    assert served == [303, 303]
    assert answered in page.url
    context.close()


def test_without_scripts_everything_works(open_page: OpenPage) -> None:
    with open_page("device-done", java_script_enabled=False) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text("Your device is connected")
