"""Pictures of every page that people see, light and dark, phone and desktop, into build/screenshots/pages.

    PYTHONPATH=layers/broker:tools:functions/sandbox:tests python -m browser.screenshots [name ...]

Starts a broker of its own; a name is one of `pages.PAGES`, and without names all are taken.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from broker.brand import Brand
from broker_local.server import LocalBroker
from browser import pages
from browser.conftest import DESKTOP, FLAGS, PHONE, SCREENSHOTS, ColorScheme, chromium_path

FOLDER = SCREENSHOTS / "pages"
SCHEMES: tuple[ColorScheme, ...] = ("light", "dark")
BRANDS: dict[str, tuple[Brand | None, tuple[str, ...]]] = {
    "": (None, tuple(pages.PAGES)),
    "branded-": (pages.BRAND, ("chooser", "consent", "error")),
    "rtl-": (pages.RIGHT_TO_LEFT, ("chooser",)),
}


def take(browser: Browser, base: str, names: Sequence[str]) -> list[Path]:
    """The pictures of these pages; returns the files."""
    files: list[Path] = []
    for prefix, (brand, branded) in BRANDS.items():
        pages.put_brand(brand)
        for name in (name for name in branded if name in names):
            files += [_picture(browser, base, name, prefix, scheme, size) for scheme in SCHEMES for size in _SIZES]
    pages.put_brand(None)
    return files


_SIZES = {"desktop": DESKTOP, "phone": PHONE}


def _picture(browser: Browser, base: str, name: str, prefix: str, scheme: ColorScheme, size: str) -> Path:
    context = browser.new_context(viewport=_SIZES[size], color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    pages.PAGES[name](page, base)
    file = FOLDER / f"{prefix}{name}-{size}-{scheme}.png"
    page.screenshot(path=file, full_page=True)
    context.close()
    return file


def main() -> None:
    """Take the pictures that the command line asks for."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    names = sys.argv[1:] or list(pages.PAGES)
    with LocalBroker(seed=True, environment={"SANDBOX_FAULTS": "1"}) as broker, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        for file in take(browser, broker.url, names):
            print(file)  # noqa: T201 - it is a command
        browser.close()


if __name__ == "__main__":
    main()
