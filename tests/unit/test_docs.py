"""README.md and docs/ are what a stranger has. Every link, command, make target, parameter and path in them must be there, and
every page must be found from README.md."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from broker_cli.main import broker
from broker_local.server import PROJECT
from broker_testing.openapi import description

README = PROJECT / "README.md"
PAGES = [README, *sorted((PROJECT / "docs").rglob("*.md"))]
OPTIONS_OF_ALL = frozenset({"--local", "--port", "--stack", "--region", "--json", "--help"})

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))


@cache
def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def blocks(text: str) -> Iterator[str]:
    """What stands in code blocks, fenced or indented."""
    yield from re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    unfenced = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"(?:\A|\n\n)((?: {4}.*\n)+)", unfenced)


def prose(text: str) -> str:
    """What is left without the code blocks."""
    for block in blocks(text):
        text = text.replace(block, "")
    return text


def spans(text: str) -> list[str]:
    """What stands in backticks within prose. A span may go on in the next line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text))]


def lines(text: str) -> Iterator[str]:
    """The lines of code blocks, those that end in a backslash joined with the next, without prompts."""
    for block in blocks(text):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            yield line.strip().removeprefix("$ ").strip()


def shell_words(line: str) -> list[str]:
    """The words of one command, without a comment and what the shell does with it."""
    words = shlex.split(line, comments=True)
    end = next((at for at, word in enumerate(words) if word[:1] in "<>|;&" or word == "&&"), len(words))
    return words[:end]


def commands(text: str) -> Iterator[list[str]]:
    """The words after `broker` of every command line, in blocks and in backticks."""
    for line in lines(text):
        if re.match(r"(\.venv/bin/)?broker ", line):
            yield shell_words(line)[1:]
    for span in spans(text):
        if span.startswith("broker "):
            yield shlex.split(span.replace("'s ", " "))[1:]


def check_command(words: list[str]) -> None:
    """The command is one, with these options, each with its value, and no argument too many."""
    command: click.Command = broker
    path = ["broker"]
    rest = words
    while True:
        context = click.Context(command, info_name=path[-1])
        values, rest, _ = command.make_parser(context).parse_args(list(rest))
        for parameter in command.params:
            given = values.get(parameter.name or "")
            if isinstance(given, str) and isinstance(parameter.type, click.Choice) and given != "...":
                assert given in parameter.type.choices, (path, parameter.name, given)
        if not isinstance(command, click.Group) or not rest:
            break
        found = command.commands.get(rest[0])
        assert found is not None, (path, rest[0])
        command, rest = found, rest[1:]
        path.append(command.name or "")
    assert rest in ([], ["..."]), (path, rest)


@every_page
def test_commands_can_be_given_as_they_stand(page: Path) -> None:
    for words in commands(text_of(page)):
        try:
            check_command(words)
        except click.UsageError as error:
            pytest.fail(f"broker {shlex.join(words)}: {error.format_message()}")


def test_there_are_commands_to_check() -> None:
    assert sum(1 for page in PAGES for _ in commands(text_of(page))) > 120


@pytest.mark.parametrize(
    "words",
    ["client ad", "client add --nmae X", "client add --name", "grant show A B", "provider test github --strict"],
)
def test_a_wrong_command_is_noticed(words: str) -> None:
    with pytest.raises((click.UsageError, AssertionError)):
        check_command(words.split())


@cache
def leaves() -> dict[str, click.Command]:
    """Every command that does something, by its words."""
    found: dict[str, click.Command] = {}
    groups: list[tuple[str, click.Group]] = [("", broker)]
    while groups:
        before, group = groups.pop()
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                groups.append((f"{before}{name} ", command))
            else:
                found[before + name] = command
    return found


def test_every_command_and_option_is_told_of_somewhere() -> None:
    told = "\n".join(text_of(page) for page in PAGES)
    for name, command in leaves().items():
        assert re.search(rf"\b{name}\b", told), name
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for option in options - OPTIONS_OF_ALL:
            if option.startswith("--") and option.replace("--no-", "--", 1) not in options - {option}:
                assert re.search(rf"{option}(?![\w-])", told), (name, option)


@pytest.mark.parametrize("name", ["client add", "client update"])
def test_the_operators_page_has_every_option_of_a_client(name: str) -> None:
    """A row of its table, which may lead to another page. A switch is there in one of its forms."""
    table = "\n".join(
        line for line in text_of(PROJECT / "docs" / "operating.md").splitlines() if line.startswith("| `--")
    )
    for parameter in leaves()[name].params:
        forms = {option for option in (*parameter.opts, *parameter.secondary_opts) if option.startswith("--")}
        assert forms <= OPTIONS_OF_ALL | {"--yes"} or any(f"`{form}`" in table for form in forms), forms


@cache
def targets() -> frozenset[str]:
    """What the Makefile makes, and the variables that it takes."""
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    return frozenset(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


@every_page
def test_make_targets_exist(page: Path) -> None:
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    text = text_of(page)
    for line in [*lines(text), *spans(text)]:
        # Variables may stand on either side; a comment may follow, or after more than one space an explanation.
        if match := re.match(r"(?:[A-Z]+=\S* )*make ([^#]+)", line):
            for word in shlex.split(match[1].partition("  ")[0]):
                name, is_variable, _ = word.partition("=")
                if word == "...":
                    continue
                assert re.search(rf"\$\({name}\)", makefile) if is_variable else word in targets(), (line, word)


@cache
def parameters() -> frozenset[str]:
    template = (PROJECT / "template.yaml").read_text("utf-8")
    section = template.partition("\nParameters:\n")[2].partition("\nConditions:\n")[0]
    return frozenset(re.findall(r"^  ([A-Za-z]+):$", section, re.MULTILINE))


OTHER_ASSIGNMENTS = {"SameSite", "Path", "Key", "Values", "Privacy", "Imprint"}
"""Of cookies, of the AWS CLI's filters, and links in the footer of pages."""


@every_page
def test_parameters_exist(page: Path) -> None:
    assert len(parameters()) > 40
    text = text_of(page)
    named = {
        name
        for code in [*lines(text), *spans(text), *re.findall(r"[Dd]eploy with(?:out)? (\w+=)", text)]
        for name in re.findall(r"(?<![\w.$-])([A-Z][a-z]\w*)=", code)
    }
    assert named - OTHER_ASSIGNMENTS <= parameters()


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The files that a page links to, and their anchors."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text_of(page))):
        if not re.match(r"[a-z][a-z+.-]*:", target):
            name, _, anchor = target.partition("#")
            yield ((page.parent / name).resolve() if name else page), anchor


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for file, anchor in links(page):
        assert file.exists(), file
        if anchor:
            outline = re.sub(r"^```.*?^```$", "", text_of(file), flags=re.MULTILINE | re.DOTALL)
            assert anchor in {slug(heading) for heading in re.findall(r"^#+ (.+)$", outline, re.MULTILINE)}, anchor


def test_every_page_is_found_from_the_readme() -> None:
    found, waiting = {README}, [README]
    while waiting:
        for file, _ in links(waiting.pop()):
            if file.suffix == ".md" and file not in found:
                found.add(file)
                waiting.append(file)
    assert set(PAGES) <= found


PLACES = {path.name for path in PROJECT.iterdir() if not path.name.startswith(".")} | {".ci"}


@every_page
def test_files_that_are_named_exist(page: Path) -> None:
    """`docs/x.md`, `layers/...` and the like, in backticks or bare. A page of docs/ names another by a link, not by its path."""
    text = text_of(page)
    named = [span for span in spans(text) if span.partition("/")[0] in PLACES and re.fullmatch(r"[\w./-]+", span)]
    named += re.findall(r"(?<![\w/(.-])docs/[\w/-]+\.(?:md|yaml)", prose(text))
    for path in named:
        assert (PROJECT / path).exists(), path


@every_page
def test_tables_are_whole(page: Path) -> None:
    """A row with too few or too many cells, or after an empty line, is not shown as it was meant."""
    for table in re.findall(r"(?:^\|.*\n)+", prose(text_of(page)), re.MULTILINE):
        rows = table.splitlines()
        cells = {len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", row))) for row in rows}
        assert len(cells) == 1, (rows[0], cells)
        assert re.fullmatch(r"[| :-]+", rows[1]), rows[0]


def test_every_endpoint_is_listed() -> None:
    listed = text_of(PROJECT / "docs" / "endpoints.md") + text_of(PROJECT / "docs" / "drop-in.md")
    for path in description()["paths"]:
        assert f"`{path}`" in listed, path
