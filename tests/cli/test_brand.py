"""`broker brand`: what is set is what the pages show; what could do harm is refused before it is stored."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from broker.brand import DEFAULT, parse
from broker.store.brands import Brands

from .conftest import Operator

PNG = bytes.fromhex("89504e470d0a1a0a") + b"picture"


def stored(operator: Operator) -> Brands:
    return Brands(operator.aws("dynamodb"), operator.environment["BROKER_REGISTRY_TABLE"], cache_seconds=0)


def test_set_show_and_reset(operator: Operator) -> None:
    assert operator.json("brand", "show") == {}
    words = ("--name", "Nordlicht", "--accent", "#FFBF00", "--footer-link", "Privacy=https://n.example/p?a=b")
    expected = {
        "name": "Nordlicht",
        "accent": "#ffbf00",
        "footer_links": [["Privacy", "https://n.example/p?a=b"]],
    }
    assert operator.json("brand", "set", *words) == expected
    assert operator.json("brand", "set", "--text", "error.title=Das ging nicht", "--language", "de") == expected | {
        "language": "de",
        "texts": {"error.title": "Das ging nicht"},
    }
    shown = operator("brand", "show").out
    assert "Nordlicht" in shown
    assert "error.title  Das ging nicht" in shown
    assert stored(operator).current().text("error.title") == "Das ging nicht"
    assert operator.json("brand", "set", "--text", "error.title=", "--language", "en", "--footer-link", "") == {
        "name": "Nordlicht",
        "accent": "#ffbf00",
    }
    assert operator.json("brand", "reset", "--yes") == {}
    assert stored(operator).current() == DEFAULT


def test_texts_are_listed_as_they_are(operator: Operator) -> None:
    assert operator.json("brand", "texts")["consent.allow"] == "Allow"
    operator("brand", "set", "--text", "consent.allow=Erlauben")
    assert operator.json("brand", "texts")["consent.allow"] == "Erlauben"


def test_a_logo_is_a_url_or_a_file(operator: Operator, tmp_path: Path) -> None:
    url = "https://static.n.example/logo.svg"
    assert operator.json("brand", "set", "--logo", url)["logo"] == url
    file = tmp_path / "logo.png"
    file.write_bytes(PNG)
    embedded = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert operator.json("brand", "set", "--logo", str(file))["logo"] == embedded
    assert "embedded, " in operator("brand", "show").out
    assert operator.json("brand", "set", "--logo", "") == {}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "Nothing was given to change; see 'broker brand set --help'."),
        (("--accent", "blue"), "The colour accent must be written as #rrggbb, like #0b57d0."),
        (
            ("--logo", "http://n.example/x.png"),
            "The logo must be an https URL with a plain host name in small letters.",
        ),
        (
            ("--logo", "logo.gif"),
            "A logo is an https URL or a file with one of the endings .png, .jpg, .webp, .svg, .jpeg.",
        ),
        (("--logo", "missing.png"), "The logo missing.png cannot be read: No such file or directory."),
        (("--footer-link", "https://n.example"), "--footer-link must be of the form NAME=VALUE."),
        (("--text", "no.such=x"), "There is no text no.such; `broker brand texts` lists them."),
        (("--text", "consent.allow={client}"), "The text consent.allow has no placeholder {client}."),
    ],
)
def test_wrong_settings_are_refused(operator: Operator, words: tuple[str, ...], sentence: str) -> None:
    assert operator("brand", "set", *words).refusal() == sentence
    assert stored(operator).stored() is None


def test_reset_asks(operator: Operator) -> None:
    stored(operator).put(parse({"name": "Kept"}))
    assert operator("brand", "reset", stdin="n\n", terminal=True).status == 1
    assert stored(operator).current().name == "Kept"
