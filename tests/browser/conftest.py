"""Headless Chromium on the playground. Uses the browser that is installed and nothing from the network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from browser.playground import Playground

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""For a machine without network, display or user namespaces."""

DESKTOP = ViewportSize(width=1280, height=900)
TABLET = ViewportSize(width=834, height=1112)
PHONE = ViewportSize(width=390, height=844)
SMALL_PHONE = ViewportSize(width=320, height=640)
"""Also what a desktop becomes at 400 % zoom (WCAG 2.2, 1.4.10)."""
SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"

ColorScheme = Literal["light", "dark"]
OpenPlayground = Callable[..., AbstractContextManager[Playground]]


def chromium_path() -> str | None:
    """The installed Chromium or Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for the run. Without one: skipped by hand, failed in CI."""
    path = chromium_path()
    if path is None:
        reason = "Chromium is not installed (Debian: apt install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        expect.set_options(timeout=15_000)  # the contexts' own timeout does not count for it
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_playground(chromium: Browser, base: str) -> OpenPlayground:
    """Opens the playground in a browser profile of its own; fails the test on any script error or foreign request."""

    @contextmanager
    def opened(
        viewport: ViewportSize = DESKTOP, color_scheme: ColorScheme = "light", *, may_log: tuple[str, ...] = ()
    ) -> Iterator[Playground]:
        context = chromium.new_context(viewport=viewport, color_scheme=color_scheme, reduced_motion="reduce")
        context.set_default_timeout(15_000)
        problems: list[str] = []
        context.on("page", lambda page: _watch(page, base, problems))
        playground = Playground(context.new_page(), base, SCREENSHOTS)
        playground.open()
        yield playground
        context.close()
        assert [problem for problem in problems if not problem.startswith(may_log)] == []

    return opened


def _watch(page: Page, base: str, problems: list[str]) -> None:
    page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((f"{base}/", "data:"))
            else problems.append(f"foreign request: {request.url}")
        ),
    )
