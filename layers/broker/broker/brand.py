"""How the operator's pages look: name, logo, colours, links and texts, and the rules that keep such settings harmless.

A brand comes from a table that people edit, so nothing of it is trusted as markup: colours are six hexadecimal digits, links
are https, a logo is an https URL or an embedded picture, and every text is escaped where it is shown.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from broker.pages import texts
from broker.printable import is_line

MAX_NAME = 60
MAX_URL = 2000
MAX_LINKS = 6
MAX_TEXT = 1000
MAX_LOGO_BYTES = 48 * 1024
LOGO_TYPES = ("image/png", "image/jpeg", "image/webp", "image/svg+xml")

_COLOUR = re.compile(r"#[0-9a-f]{6}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_DATA = re.compile(r"data:([a-z+/]+);base64,([A-Za-z0-9+/]+={0,2})")
_SCRIPT = re.compile(r"-([a-z]{4})(?:-|$)")
_RIGHT_TO_LEFT_SCRIPT = re.compile("adlm|ara[bn]|gara|hebr|mand|mend|nkoo|rohg|samr|syr[cejnx]|thaa|yezi")
_RIGHT_TO_LEFT = re.compile(
    "ara?|arb|acm|aeb|afb|aii|ajp|ap[cd]|arc|arq|ars|ary|arz|ayl|azb|bal|bgn|bqi|brh|ckb|dv|div|fa|fas|per|pes|prs|glk|haz"
    "|he|heb|iw|ji|yi|yid|khw|ks|kas|lad|lah|lki|lrc|mid|mzn|nqo|pnb|ps|pus|pst|pb[tu]|rhg|sam|sd|snd|sdh|skr|syr|ug|uig|ur|urd"
)
"""Languages that CLDR's likely subtags write in such a script. Kurdish (ku) is not one: `ku-Arab` and `ckb` are."""


class BrandProblem(ValueError):
    """A setting that cannot be. The message is one sentence for the operator."""


@dataclass(frozen=True)
class Link:
    """A link in the footer. `url` is https."""

    label: str
    url: str


@dataclass(frozen=True)
class Brand:
    """What the pages look like. Make one with `parse`, which checks everything; the defaults are right as they are.

    Attributes:
        logo: an https URL, or a picture as a data URL; empty for the default mark.
        accent, background: colours as #rrggbb, for light; `accent_dark` and `background_dark` for dark. Readable colours for
            text on and beside them are computed. An empty accent_dark is the same as accent.
        language: BCP 47 tag of the texts, which also says whether they run from right to left.
        texts: (key, text) of what replaces the English texts of `broker.pages.texts`.
    """

    name: str = "Token broker"
    logo: str = ""
    accent: str = "#2355c4"
    accent_dark: str = ""
    background: str = "#f1f4f9"
    background_dark: str = "#0f1319"
    language: str = "en"
    footer_links: tuple[Link, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        language = self.language.lower()
        if script := _SCRIPT.search(language):
            return "rtl" if _RIGHT_TO_LEFT_SCRIPT.fullmatch(script[1]) else "ltr"
        return "rtl" if _RIGHT_TO_LEFT.fullmatch(language.partition("-")[0]) else "ltr"

    @property
    def logo_source(self) -> str:
        """Where the logo is loaded from, as a source of a Content-Security-Policy."""
        if not self.logo:
            return "'none'"
        return "data:" if self.logo.startswith("data:") else f"https://{urlsplit(self.logo).netloc}"

    def text(self, key: str) -> str:
        """The text of that key: the operator's, else the English one. Plain text with {placeholders}."""
        return dict(self.texts).get(key) or texts.DEFAULTS[key]

    def translated(self, english: str) -> str:
        """The operator's words for an English sentence of `texts.DEFAULTS`; others come back as they are."""
        key = texts.KEYS.get(english)
        return english if key is None else self.text(key)


DEFAULT = Brand()


def parse(document: Mapping[str, Any]) -> Brand:
    """The brand that a stored or entered document describes; what it leaves out is the default.

    `document`: the attributes of Brand by name, with footer_links as [label, url] pairs and texts as a mapping.
    Texts that no page shows any more are left out. Errors: BrandProblem.
    """
    known = {f.name for f in fields(Brand)}
    unknown = sorted(set(document) - known)
    if unknown:
        raise BrandProblem(f"There is no setting {unknown[0]}; there are {', '.join(sorted(known))}.")
    try:
        return Brand(**{name: _checked(name, value) for name, value in document.items()})
    except (AttributeError, TypeError):
        raise BrandProblem("A setting is not of the kind that it should be.") from None


def document_of(brand: Brand) -> dict[str, Any]:
    """The document that `parse` reads, with only what differs from the default."""
    changed = {f.name: getattr(brand, f.name) for f in fields(Brand)}
    document = {name: value for name, value in changed.items() if value != getattr(DEFAULT, name)}
    if "footer_links" in document:
        document["footer_links"] = [[link.label, link.url] for link in brand.footer_links]
    if "texts" in document:
        document["texts"] = dict(brand.texts)
    return document


def _checked(name: str, value: Any) -> Any:
    match name:
        case "footer_links":
            return _links(value)
        case "texts":
            return tuple(sorted((key, _text(key, text)) for key, text in value.items() if key not in texts.RETIRED))
        case "logo":
            return _logo(value)
        case "name":
            return _line("The name", value, MAX_NAME)
        case "language":
            if not _LANGUAGE.fullmatch(value):
                raise BrandProblem("The language must be a tag like en, de or pt-BR.")
            return value
    return _colour(name, value)


def _colour(name: str, value: str) -> str:
    colour = value.lower()
    if name == "accent_dark" and not colour:
        return colour
    if not _COLOUR.fullmatch(colour):
        raise BrandProblem(f"The colour {name} must be written as #rrggbb, like #0b57d0.")
    return colour


def _links(pairs: Sequence[Sequence[str]]) -> tuple[Link, ...]:
    if any(len(pair) != 2 for pair in pairs):
        raise BrandProblem("A link in the footer is a label and a URL.")
    if len(pairs) > MAX_LINKS:
        raise BrandProblem(f"There can be at most {MAX_LINKS} links in the footer.")
    return tuple(Link(_line("The label of a link", label, MAX_NAME), _https("A link", url)) for label, url in pairs)


def _logo(value: str) -> str:
    if not value.startswith("data:"):
        return _https("The logo", value) if value else value
    found = _DATA.fullmatch(value)
    if found is None or found[1] not in LOGO_TYPES:
        raise BrandProblem(f"An embedded logo must be one of {', '.join(LOGO_TYPES)}, in base64.")
    try:
        picture = b64decode(found[2], validate=True)
    except binascii.Error:
        raise BrandProblem("The embedded logo is not base64.") from None
    if len(picture) > MAX_LOGO_BYTES:
        raise BrandProblem(
            f"An embedded logo must be at most {MAX_LOGO_BYTES // 1024} KB; a URL may lead to a larger one."
        )
    return value


def _https(what: str, url: str) -> str:
    """The URL. Its host is spelled out by a narrow rule because it ends up in a response header."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BrandProblem(f"{what} must be an https URL.") from None
    bare = parts.netloc == (parts.hostname or "") + (f":{port}" if port else "")
    printable = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme != "https" or not bare or not printable or not _HOST.fullmatch(parts.netloc.partition(":")[0]):
        raise BrandProblem(f"{what} must be an https URL with a plain host name in small letters.")
    if len(url) > MAX_URL:
        raise BrandProblem(f"{what} must be at most {MAX_URL} characters long.")
    return url


def _line(what: str, value: str, longest: int) -> str:
    if not is_line(value, longest):
        raise BrandProblem(f"{what} must be 1 to {longest} printable characters.")
    return value.strip()


def _text(key: str, value: str) -> str:
    if key not in texts.DEFAULTS:
        raise BrandProblem(f"There is no text {key}; `broker brand texts` lists them.")
    text = _line(f"The text {key}", value, MAX_TEXT)
    wrong = texts.placeholders(text) - texts.placeholders(texts.DEFAULTS[key])
    if wrong:
        raise BrandProblem(f"The text {key} has no placeholder {{{min(wrong)}}}.")
    return text
