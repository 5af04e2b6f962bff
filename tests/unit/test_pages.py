"""Brand, colours, texts and names: what an operator or a stranger may write, and what becomes of it on a page."""

from __future__ import annotations

import ast
import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker import brand, clock
from broker.brand import DEFAULT, MAX_LOGO_BYTES, Brand, BrandProblem, Link, document_of, parse
from broker.pages import branding, colours, inert, page, style, texts
from broker.printable import is_line
from broker.protocol.clients import OIDC_SCOPES
from broker.store.aws import StoreUnavailable
from broker.store.brands import RETRY_SECONDS, Brands

BROKER = Path(brand.__file__).parent
PICTURE = "data:image/png;base64,iVBORw0KGgo="
COLOURS = ("#000000", "#ffffff", "#ffbf00", "#2355c4", "#7f7f7f", "#00ff00", "#ff0000", "#123a34", "#f1f4f9", "#777777")
WHOLE: dict[str, Any] = {
    "name": "Nordlicht",
    "logo": "https://static.nordlicht.example:8443/logo.svg?v=2",
    "accent": "#ffbf00",
    "accent_dark": "#ffd24d",
    "background": "#fffbf0",
    "background_dark": "#101010",
    "language": "de-AT",
    "footer_links": [["Impressum", "https://nordlicht.example/impressum"]],
    "texts": {"consent.third": "{client} gehört nicht zu {brand}."},
}


@pytest.fixture
def shown_as(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the brand of the pages."""
    return lambda shown: monkeypatch.setattr(branding, "current", lambda: shown)


# -- brand ---------------------------------------------------------------------------------------------------------


def test_a_brand_survives_being_stored() -> None:
    parsed = parse(WHOLE)
    assert document_of(parsed) == WHOLE
    assert parse(document_of(parsed)) == parsed
    assert parsed.footer_links == (Link("Impressum", "https://nordlicht.example/impressum"),)
    assert parse({}) == DEFAULT
    assert document_of(DEFAULT) == {}


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم",
        "क\u094d\u200dष",
        "👩\u200d👧",
        "Se connecter\u00a0?",
        "10\u202f000",
        "山田\u3000太郎",
    ],
)
def test_what_languages_write_is_printable(text: str) -> None:
    assert parse({"name": text, "texts": {"consent.allow": text}}).name == text
    assert is_line(text, len(text))
    assert not is_line(text, len(text) - 1)


@pytest.mark.parametrize(
    "text", ["", " ", "\u200d", "\u00a0\u200c", "a\0", "a\n", "a\u2028b", "a\u202eb", "a\u200bb", "a\ud800"]
)
def test_what_nobody_sees_or_what_breaks_a_line_is_not_printable(text: str) -> None:
    assert not is_line(text, 100)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("name", ""),
        ("name", "x" * 61),
        ("name", "two\nlines"),
        ("name", "turned \u202e"),
        ("name", "\u200d"),
        ("accent", "blue"),
        ("accent", "#fff"),
        ("accent", "#2355c4;}body{display:none"),
        ("background", ""),
        ("logo", "http://nordlicht.example/logo.png"),
        ("logo", "https://user@nordlicht.example/logo.png"),
        ("logo", "https://nordlicht.example; script-src *"),
        ("logo", "https://nordlicht.example;script-src/logo.png"),
        ("logo", "https://*/logo.png"),
        ("logo", "https://nordlicht.example:99999/logo.png"),
        ("logo", "https:///logo.png"),
        ("logo", "javascript:alert(1)"),
        ("logo", "data:text/html;base64,PGI+"),
        ("logo", "data:image/png;base64,!"),
        ("logo", "data:image/png;base64," + base64.b64encode(bytes(MAX_LOGO_BYTES + 1)).decode()),
        ("language", "de<b>"),
        ("language", ""),
        ("footer_links", [["Privacy", "http://nordlicht.example"]]),
        ("footer_links", [["", "https://nordlicht.example"]]),
        ("footer_links", [["A", "https://nordlicht.example"]] * 7),
        ("footer_links", [["Privacy"]]),
        ("texts", {"no.such": "x"}),
        ("texts", {"consent.allow": "{client}"}),
        ("texts", {"consent.allow": "x" * 1001}),
        ("texts", {"consent.allow": 7}),
        ("shadow", "#000000"),
        ("name", None),
    ],
)
def test_a_setting_that_could_do_harm_is_refused(setting: str, value: object) -> None:
    with pytest.raises(BrandProblem):
        parse({setting: value})


def test_pictures_come_from_the_logo_s_own_host_alone(shown_as: Any) -> None:
    for logo, source in (("", "'none'"), (PICTURE, "data:"), (WHOLE["logo"], "https://static.nordlicht.example:8443")):
        shown_as(parse({"logo": logo}))
        response = page.render("Title", "")
        assert f" img-src {source};" in response.headers["content-security-policy"]
        assert str(response.body).count("<img ") == (1 if logo else 0)


def test_what_the_operator_writes_is_text_not_markup(shown_as: Any) -> None:
    shown_as(
        parse(
            {
                "name": "A <b> & {client}",
                "footer_links": [["<i>", "https://x.example/?a=1&b='\""]],
                "texts": {"footer.note": "<u>note</u>"},
            }
        )
    )
    body = str(page.render("<s>", "").body)
    assert not re.findall("<[biu]>|<s>", body)
    assert "A &lt;b&gt; &amp; {client}" in body
    assert "&lt;u&gt;" in body
    assert 'href="https://x.example/?a=1&amp;b=&#x27;&quot;"' in body


@pytest.mark.parametrize(
    "language", ["en", "pt-BR", "ku", "ar-Latn", "zh-Hant-TW", "sd-Deva", "de-1996", "kas-Deva-IN"]
)
def test_from_left_to_right(shown_as: Any, language: str) -> None:
    shown_as(parse({"language": language}))
    assert f'<html lang="{language}" dir="ltr">' in page.render("x", "").body


@pytest.mark.parametrize(
    "language",
    [
        *(
            "he",
            "iw",
            "ar-EG",
            "AR",
            "ckb",
            "ji",
            "yi",
            "ks",
            "fa-AF",
            "dv",
            "nqo",
            "syr",
            "ug",
            "ps",
            "ur",
            "sd",
            "pnb",
        ),
        *("pa-Arab", "PA-arab-PK", "ku-Arab", "az-Arab-IR", "ff-Adlm", "rhg-Rohg", "zh-cmn-Arab", "ur-Aran", "en-Hebr"),
    ],
)
def test_from_right_to_left(shown_as: Any, language: str) -> None:
    """By the script if the tag names one, else by the one that the language is written in (CLDR, likely subtags)."""
    shown_as(parse({"language": language}))
    assert f'<html lang="{language}" dir="rtl">' in page.render("x", "").body


class _Table:
    """A DynamoDB client with one item, or none, or a failure."""

    def __init__(self) -> None:
        self.item: dict[str, Any] | None = None
        self.down = False
        self.reads = 0

    def get_item(self, **_arguments: Any) -> dict[str, Any]:
        self.reads += 1
        if self.down:
            raise StoreUnavailable("down")
        return {"Item": self.item} if self.item else {}

    def put_item(self, *, Item: dict[str, Any], **_arguments: Any) -> None:  # noqa: N803 - the API's name
        self.item = Item


def test_the_brand_is_read_once_a_minute_also_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000
    monkeypatch.setattr(clock, "now", lambda: now)
    table = _Table()
    reader, writer = Brands(table, "t"), Brands(table, "t")
    assert [reader.current() for _ in range(3)] == [DEFAULT] * 3
    assert table.reads == 1
    writer.put(parse(WHOLE))
    assert reader.current() == DEFAULT
    now += 60
    assert reader.current() == parse(WHOLE)
    assert table.reads == 2


def test_pages_are_shown_while_the_brand_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000
    monkeypatch.setattr(clock, "now", lambda: now)
    table = _Table()
    reader = Brands(table, "t")
    table.down = True
    assert [reader.current(), reader.current()] == [DEFAULT] * 2
    assert table.reads == 1, "an outage is not asked about at every page"
    table.down = False
    reader.put(parse(WHOLE))
    assert reader.current() == parse(WHOLE)
    table.down, now = True, now + 60
    assert reader.current() == parse(WHOLE), "the last one known"
    table.down, now = False, now + RETRY_SECONDS
    table.item = {"pk": {"S": "brand#default"}, "accent": {"S": "red"}}
    assert reader.current() == DEFAULT


# -- texts ---------------------------------------------------------------------------------------------------------

_SHOWN_BY = (
    *sorted(BROKER.glob("endpoints/**/*.py")),
    *sorted(BROKER.glob("pages/*.py")),
    BROKER / "protocol/authorization_request.py",
)
"""The modules that say something to a person."""


def literals(module: Path) -> set[str]:
    """The texts in its code, without docstrings; of one with values in it, what is between them."""
    tree = ast.parse(module.read_text("utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in documentation)
    return {node.value for node in constants if isinstance(node.value, str)}


def test_every_sentence_that_a_person_is_shown_can_be_replaced() -> None:
    said = {one for module in _SHOWN_BY if module.name != "texts.py" for one in literals(module)}
    sentences = {one for one in said if re.fullmatch(r"[A-Z][a-z]+ [^<>=]+", one)}
    assert "Please try again in a moment." in sentences
    assert sentences - set(texts.KEYS) == set()


def test_every_text_is_on_a_page() -> None:
    code = {one for module in BROKER.rglob("*.py") if module.name != "texts.py" for one in literals(module)}
    used = {key for key, text in texts.DEFAULTS.items() if key in code or text in code}
    assert set(texts.DEFAULTS) - used == {f"consent.scope.{scope}" for scope in OIDC_SCOPES}, "which are put together"


def test_a_stored_text_that_is_no_longer_shown_is_dropped() -> None:
    for key in texts.RETIRED:
        assert key not in texts.DEFAULTS
        assert parse({"name": "N", "texts": {key: "Recht {scope}"}}) == Brand(name="N")


# -- colours -------------------------------------------------------------------------------------------------------


def test_contrast_is_that_of_the_standard() -> None:
    assert colours.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert colours.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert colours.adjusted("#2355c4", "#ffffff") == "#2355c4"


@pytest.mark.parametrize("accent", COLOURS)
@pytest.mark.parametrize("ground", COLOURS)
def test_whatever_the_colours_everything_can_be_read(accent: str, ground: str) -> None:
    chosen = Brand(accent=accent, background=ground, background_dark=ground)
    for block in re.findall(r":root\{([^}]*--accent[^}]*)\}", style.sheet(chosen)):
        found = dict(re.findall(r"--([a-z-]+):(#[0-9a-f]{6})", block))
        assert found["accent"] == accent
        for front, behind in (
            ("ink", "paper"),
            ("soft", "paper"),
            ("soft", "fill"),
            ("link", "paper"),
            ("link", "fill"),
            ("on-accent", "accent"),
            ("on-ground", "ground"),
            ("soft-on-ground", "ground"),
            ("link-on-ground", "ground"),
            ("warn-ink", "warn-fill"),
        ):
            assert colours.contrast(found[front], found[behind]) >= 4.5, (front, behind)
        assert colours.contrast(found["edge"], found["paper"]) >= 3


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ordinary name", "Ordinary name"),
        ("  two \n\t lines\u2028here ", "two lines here"),
        ("a\u202eb\u2066c\u2069d\u200be\ufefff", "abcdef"),
        ("\x00\x07\x1b[2Jx", "[2Jx"),
        ("bad\ud800surrogate", "badsurrogate"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("G\u200doogle", "Google"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("z" + "\u0301" * 50, "ź" + "\u0301" * 3),
        ("x" * 1000, "x" * 79 + "…"),
        ("\u202e\u200b", ""),
        (7, "7"),
    ],
)
def test_a_name_becomes_one_short_visible_line(name: object, shown: str) -> None:
    assert inert.text(name) == shown
    inert.isolated(name).encode()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://app.example/cb?x=1", "app.example"),
        ("https://app.example:8443/", "app.example:8443"),
        ("https://user@app.example/", "app.example"),
        ("https://gооgle.example/", "xn--ggle-55da.example"),
        ("http://[::1]:8000/", "::1:8000"),
        ("com.example:/cb", ""),
        ("https://x:y/", ""),
        ("", ""),
    ],
)
def test_a_host_is_shown_as_what_it_is(url: str, host: str) -> None:
    """Letters of another alphabet show as what they are."""
    assert inert.host(url) == host


# -- page ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://app.example/cb", "https://app.example"),
        ("https://user:pw@app.example:8443/cb", "https://app.example:8443"),
        ("http://localhost:3000/authorize", "http://localhost:3000"),
        ("http://[::1]:3000/", "http:"),
        ("https://x;script-src *", "https:"),
        ("https://ü.example/", "https:"),
        ("com.example.app:/cb", "com.example.app:"),
        ("x", "'none'"),
        ("", "'none'"),
    ],
)
def test_a_form_s_target_in_the_policy(url: str, source: str) -> None:
    policy = page.headers([url], brand=DEFAULT)["content-security-policy"]
    assert f"; form-action {source};" in policy
    assert policy.count(";") == 6


def test_the_policy_knows_the_very_style_that_is_in_the_page(shown_as: Any) -> None:
    for shown in (DEFAULT, parse(WHOLE)):
        shown_as(shown)
        response = page.render("x", "")
        (sheet,) = re.findall("<style>(.*)</style>", str(response.body), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in response.headers["content-security-policy"]
        assert len(response.body) < 12_000
        assert "</" not in sheet


# -- texts ---------------------------------------------------------------------------------------------------------


def test_texts_are_filled_once_and_never_read_again(shown_as: Any) -> None:
    shown_as(replace(DEFAULT, name="<B>"))
    assert branding.say("consent.third", client="{brand}") == "{brand} is not run by <bdi>&lt;B&gt;</bdi>."


def test_every_text_is_plain_and_told_apart() -> None:
    repeated = {text for key, text in texts.DEFAULTS.items() if texts.KEYS[text] != key}
    assert repeated == {"Continue"}, "a sentence must lead to one key"
    for text in texts.DEFAULTS.values():
        assert not set("<>&") & set(text), text


def test_every_sentence_of_an_error_can_be_replaced() -> None:
    """Sentences stand where the error is found; each that a page may show has a key, so that none escapes the operator."""
    missing = set()
    for file in (*BROKER.glob("endpoints/*.py"), *BROKER.glob("protocol/*.py"), *BROKER.glob("pages/*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            missing |= {(file.name, text) for text in _sentences(node) if text not in texts.KEYS}
    assert missing == set()


def _sentences(node: ast.AST) -> list[str]:
    """Constants that are given as an explanation or title of an error page."""
    if not isinstance(node, ast.Call):
        return []
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    given = [word.value for word in node.keywords if word.arg in ("explanation", "title")]
    if called in ("NoReturn", "NoRedirect"):
        given += node.args[-1:]
    if called == "_page":
        given += node.args[2:3]
    return [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
