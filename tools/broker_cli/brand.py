"""`broker brand`: how the pages that people see look: name, logo, colours, footer links, texts.

A setting that the pages could not show safely and readably is refused here, before it is stored.
"""

from base64 import b64encode
from pathlib import Path
from typing import Any

import click

from broker.brand import DEFAULT, LOGO_TYPES, MAX_LOGO_BYTES, Brand, BrandProblem, document_of, parse
from broker.pages.texts import DEFAULTS
from broker_cli.connection import Connection, connect
from broker_cli.failures import WrongInput, aws_failures
from broker_cli.options import Group
from broker_cli.output import confirm, emit, sheet, table

brand = Group("brand", help="How the pages that people see look.")

_SETTINGS = ("name", "accent", "accent_dark", "background", "background_dark", "language")
_SUFFIXES = dict(zip((".png", ".jpg", ".webp", ".svg"), LOGO_TYPES, strict=True)) | {".jpeg": "image/jpeg"}
_NOTICED = "Running functions notice within a minute."


@brand.command("show")
def show() -> None:
    """What is set, and the defaults for the rest."""
    _show(_stored(connect()) or DEFAULT)


@brand.command("texts")
def list_texts() -> None:
    """Every text of the pages by its key, as it is now."""
    current = _stored(connect()) or DEFAULT
    rows = [(key, current.text(key)) for key in DEFAULTS]
    emit(dict(rows), table(("KEY", "TEXT"), rows, empty=""))


@brand.command("set")
@click.option("--name", help="Whose sign-in this is, at the top of every page.")
@click.option("--logo", metavar="URL|FILE", help="An https URL, or a picture that is put into the pages; '' for none.")
@click.option("--accent", metavar="#RRGGBB", help="Colour of the main button; text on it is made readable.")
@click.option("--accent-dark", metavar="#RRGGBB", help="The same in dark; '' for the same colour.")
@click.option("--background", metavar="#RRGGBB", help="Colour behind the page.")
@click.option("--background-dark", metavar="#RRGGBB", help="The same in dark.")
@click.option("--language", metavar="TAG", help="Language of the texts, like de or pt-BR.")
@click.option(
    "--footer-link",
    "footer_links",
    multiple=True,
    metavar="LABEL=URL",
    help="A link below the page; repeatable, replaces those that are there; '' for none.",
)
@click.option(
    "--text",
    "changed_texts",
    multiple=True,
    metavar="KEY=TEXT",
    help="A text in your words (keys: `broker brand texts`); KEY= takes the English one back; repeatable.",
)
def set_(logo: str | None, footer_links: tuple[str, ...], changed_texts: tuple[str, ...], **given: str | None) -> None:
    """Change what is given; the rest stays."""
    broker = connect()
    document = document_of(_stored(broker) or DEFAULT)
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if logo is not None:
        changes["logo"] = _logo(logo)
    if footer_links:
        changes["footer_links"] = [_pair(link, "--footer-link") for link in footer_links if link]
    if changed_texts:
        changes["texts"] = _texts(document.get("texts", {}), changed_texts)
    if not changes:
        raise WrongInput("Nothing was given to change; see 'broker brand set --help'.")
    try:
        changed = parse(document | changes)
    except BrandProblem as problem:
        raise WrongInput(str(problem)) from None
    with aws_failures():
        broker.brands.put(changed)
    click.echo(_NOTICED, err=True)
    _show(changed)


@brand.command("reset")
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(yes: bool) -> None:
    """Go back to the pages as they come."""
    broker = connect()
    confirm("Forget the brand and all its texts?", yes=yes)
    with aws_failures():
        broker.brands.remove()
    click.echo(_NOTICED, err=True)
    _show(DEFAULT)


def _stored(broker: Connection) -> Brand | None:
    with aws_failures():
        try:
            return broker.brands.stored()
        except BrandProblem as problem:
            raise WrongInput(f"What is stored cannot be used: {problem} `broker brand reset` removes it.") from None


def _show(shown: Brand) -> None:
    logo = shown.logo if not shown.logo.startswith("data:") else f"embedded, {len(shown.logo)} characters"
    fields = [(name.replace("_", " "), str(getattr(shown, name))) for name in _SETTINGS]
    fields += [
        ("logo", logo),
        ("footer links", "\n".join(f"{link.label}  {link.url}" for link in shown.footer_links)),
        ("texts", "\n".join(f"{key}  {text}" for key, text in shown.texts)),
    ]
    emit(document_of(shown), sheet(fields))


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise WrongInput(f"{option} must be of the form NAME=VALUE.")
    return name, value


def _texts(before: dict[str, str], changed: tuple[str, ...]) -> dict[str, str]:
    """The texts with the changed ones; an empty text is one to forget."""
    pairs = dict(_pair(text, "--text") for text in changed)
    unknown = [key for key in pairs if key not in DEFAULTS]
    if unknown:
        raise WrongInput(f"There is no text {unknown[0]}; `broker brand texts` lists them.")
    return {key: text for key, text in (before | pairs).items() if text}


def _logo(value: str) -> str:
    """The URL as it is, or the file as a data URL."""
    if not value or value.startswith(("https://", "http://", "data:")):
        return value
    path = Path(value)
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise WrongInput(f"A logo is an https URL or a file with one of the endings {', '.join(_SUFFIXES)}.")
    try:
        picture = path.read_bytes()
    except OSError as error:
        raise WrongInput(f"The logo {value} cannot be read: {error.strerror}.") from None
    if len(picture) > MAX_LOGO_BYTES:
        raise WrongInput(
            f"The logo {value} is over {MAX_LOGO_BYTES // 1024} KB; make it smaller, or give its https URL."
        )
    return f"data:{kind};base64,{b64encode(picture).decode()}"
