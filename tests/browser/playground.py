"""What a person does on the playground and the pages behind it, in words of the page: labels, buttons, headings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

PASSWORD = "sandbox"


@dataclass(frozen=True)
class Playground:
    """One tab. `screenshots`: the folder that pictures go to."""

    page: Page
    base: str
    screenshots: Path

    def open(self) -> None:
        """Go to the playground."""
        self.page.goto(f"{self.base}/")

    def new_tab(self) -> Playground:
        """The playground in another tab of the same browser."""
        other = Playground(self.page.context.new_page(), self.base, self.screenshots)
        other.open()
        return other

    def picture(self, name: str) -> None:
        """A picture of the whole page."""
        self.page.screenshot(path=self.screenshots / f"{name}.png", full_page=True)

    def heading(self, text: str) -> Locator:
        """The heading of this very text."""
        return self.page.get_by_role("heading", name=text, exact=True)

    def button(self, text: str) -> Locator:
        """The button of this very text."""
        return self.page.get_by_role("button", name=text, exact=True)

    def press(self, text: str) -> None:
        """Press a button."""
        self.button(text).click()

    def choose(self, provider: str) -> None:
        """Choose a provider by its title, and leave for it."""
        self.page.locator("#providers label").filter(has=self.page.get_by_text(provider, exact=True)).click()
        self.press(f"Sign in with {provider}")
        expect(self.page.get_by_role("note")).to_contain_text("fake provider")

    def make_mistake(self, label: str) -> None:
        """Choose a mistake to make."""
        self.page.get_by_text("More choices").click()
        self.page.get_by_label("See what the broker and this page do about it.").select_option(label=label)

    def log_in(self, username: str = "johndoe") -> None:
        """At the provider: user name and password."""
        self.page.get_by_label("User name").fill(username)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.press("Sign in")
        expect(self.heading("Allow access?")).to_be_visible()

    def sign_in(self, provider: str, username: str = "johndoe") -> None:
        """The whole way in."""
        self.choose(provider)
        self.log_in(username)
        self.press("Allow")
        expect(self.heading("Profile")).to_be_visible()

    def step(self) -> str:
        """The title of the step that the map shows as the present one, and how it stands in a screen reader's words."""
        step = self.page.locator("#steps [aria-current=step]")
        return f"{step.locator('b').inner_text()} {step.locator('.unseen').inner_text()}"

    def table(self, selector: str) -> dict[str, str]:
        """A table of names and values; explanations left out."""
        read = "rows => rows.map(row => [row.cells[0].textContent, row.cells[1].firstChild.textContent])"
        return dict(self.page.locator(f"{selector} tr").evaluate_all(read))

    def facts(self, selector: str) -> dict[str, str]:
        """A list of names and descriptions."""
        read = """terms => terms.map(term => [term.textContent, term.nextElementSibling.textContent])"""
        return dict(self.page.locator(f"{selector} dt").evaluate_all(read))

    def checks(self, selector: str) -> dict[str, bool]:
        """What the page checked, and whether it was right."""
        read = """items => items.map(item => [item.querySelector("b").textContent, item.className === "good"])"""
        return dict(self.page.locator(f"{selector} .checks li").evaluate_all(read))

    def token(self, kind: str) -> str:
        """The whole text of the access, id or refresh token."""
        return self.page.locator(f"[data-token={kind}] .raw").text_content() or ""

    def wire(self) -> list[str]:
        """The journal: method, path and status of each entry, or the title where there is no request."""
        read = """items => items.map(item => {
          const text = name => item.querySelector(name)?.textContent;
          const line = [text(".method"), text(".wire-line code"), text(".outcome")?.split(" ")[0]];
          return item.className === "elsewhere" ? "elsewhere" : line.filter(Boolean).join(" ");
        })"""
        entries: list[str] = self.page.locator("#wire > li").evaluate_all(read)
        return entries

    def storage(self) -> str:
        """Everything that the page has written to the browser's storage."""
        written: Any = self.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        return str(written)

    def is_wider_than_screen(self) -> bool:
        """Whether one would have to scroll sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
