"""The documentation is tried out: its Python runs, its links lead somewhere, its commands and settings exist.

A block that opens with ```python is executed after the ones before it in its file, in a folder that holds photo.jpg
and an index of catalog.csv. One that opens with ```python title="needs ..." is only compiled. Of the blocks of console
commands, those that open with ```console title="runs" are executed in the same way; they share an index of their own.
Every curl is executed against a server over the first index.
"""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from app.api import create_api
from app.serving import Service
from app.settings import ROOT, Settings
from tests.served import served
from trainer.training.presets import PRESETS

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "demo" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "models").rglob("*.md")),
]


def document_name(document: Path) -> str:
    return str(document.relative_to(ROOT))


every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=document_name)


class Block(NamedTuple):
    language: str
    note: str
    code: str
    line: int


def blocks(document: Path, *languages: str) -> list[Block]:
    text = document.read_text()
    fences = re.finditer(r"^```(\w*)([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    found = [Block(m[1], m[2].strip(), m[3], text.count("\n", 0, m.start()) + 1) for m in fences]
    return [block for block in found if block.language in languages]


def commands(block: Block) -> list[str]:
    """The lines of a console block that are typed."""
    return [line[2:] for line in block.code.replace("\\\n", " ").splitlines() if line.startswith("$ ")]


def curls(block: Block) -> list[str]:
    """The curl commands of a console block, each with all its lines."""
    return re.findall(r"^\$ (curl .*?)\s*(?=^\$ |\Z)", block.code, re.MULTILINE | re.DOTALL)


def prose(document: Path) -> str:
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


# Examples

RUNS = 'title="runs"'
ADDRESS = "http://127.0.0.1:7860"
WITH_EXAMPLES = [file for file in DOCUMENTS if any(not block.note for block in blocks(file, "python"))]
WITH_REQUESTS = [file for file in DOCUMENTS if any(map(curls, blocks(file, "console")))]
every_document_with_examples = pytest.mark.parametrize("document", WITH_EXAMPLES, ids=document_name)


@every_document
def test_blocks_are_what_they_say(document: Path) -> None:
    for block in blocks(document, "python"):
        compile(block.code, f"{document}:{block.line}", "exec")
        assert not block.note or block.note.startswith('title="needs '), f"{document}:{block.line}: {block.note}"
    for block in blocks(document, "console"):
        assert block.note in ("", RUNS), f"{document}:{block.line}: {block.note}"


@pytest.fixture(scope="module")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with photo.jpg and catalog.csv, and an index of that catalog by the starter model."""
    folder = tmp_path_factory.mktemp("shop")
    demo = ROOT / "demo"
    chairs = pl.read_parquet(demo / "catalog.parquet").filter(pl.col("title").str.contains("(?i)armchair")).head(8)
    pictures = pl.col("images").list.eval(pl.format("{}/{}", pl.lit(str(demo)), pl.element())).list.join("|")
    colours = pl.col("attributes").struct["color"].list.join("|").alias("attr_color")
    table = chairs.select("id", "group_id", "title", pl.col("category").list.join(" > "), colours, "width_cm", pictures)
    table.write_csv(folder / "catalog.csv")
    Image.open(demo / chairs["images"][0][0]).convert("RGB").save(folder / "photo.jpg")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MOON_DATA", str(folder / "data"))
        result = CliRunner().invoke(command_line("indexer"), ["rebuild", "catalog.csv"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        (folder / "models").symlink_to(ROOT / "models")
        yield folder


@pytest.fixture(scope="module")
def address(shop_folder: Path) -> Iterator[str]:
    """Where the API over that index is served."""
    service = Service.from_settings(Settings())
    service.start()
    with served(create_api(service)) as url:
        yield url
    service.close()


@pytest.mark.slow
@every_document_with_examples
def test_examples_run(document: Path, shop_folder: Path, address: str) -> None:
    names: dict[str, Any] = {}
    for block in blocks(document, "python", "console"):
        if block.language == "python" and not block.note:
            exec(compile(block.code.replace(ADDRESS, address), f"{document}:{block.line}", "exec"), names)  # noqa: S102
        elif block.note == RUNS:
            for line in commands(block):
                run(line, {"MOON_DATA": str(shop_folder / "data of console examples")})


def run(line: str, environment: dict[str, str]) -> None:
    words = shlex.split(line, comments=True)
    own = dict(word.split("=", 1) for word in takewhile(lambda word: re.match(r"[A-Z_]+=", word), words))
    program, *arguments = words[len(own) :]
    result = CliRunner(env=environment | own).invoke(command_line(program), arguments, catch_exceptions=False)
    assert result.exit_code == 0, f"{line}\n{result.output}"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("document", WITH_REQUESTS, ids=document_name)
def test_requests_are_answered(document: Path, address: str) -> None:
    for block in blocks(document, "console"):
        for line in curls(block):
            fetch(line.replace(ADDRESS, address))


def fetch(line: str) -> None:
    program, *arguments = shlex.split(line)
    command = [program, "--silent", "--show-error", "--fail-with-body", "--globoff", "--max-time", "30", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"{line}\n{answer.stdout}{answer.stderr}"


# Links


def slugs(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_links_and_pictures_lead_to_files_and_headings(document: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)[^)]*\)|(?:src|href)=\"([^\"]+)\"", prose(document))
    dead = []
    for target in (first or second for first, second in targets):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in slugs(file)):
            dead.append(target)
    assert dead == []


def test_map_of_the_documentation_shows_every_page() -> None:
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    text = (ROOT / "docs" / "index.md").read_text()
    assert {page for page in pages if f"]({page})" not in text} == set()


# Commands


@cache
def command_line(name: str) -> typer.Typer:
    module = importlib.import_module(f"{name}.cli")
    return next(value for value in vars(module).values() if isinstance(value, typer.Typer))


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def documented_commands(document: Path) -> Iterator[list[str]]:
    """The words of every make, app, indexer and trainer command in console blocks and in `inline code`."""
    lines = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(document))
    for block in blocks(document, "console"):
        lines += commands(block)
    for line in lines:
        for command in re.split(r"&&|\|\||[|;]", line):
            command = re.sub(r"^\s*docker .* (?=(app|indexer|trainer) )", "", command)
            if not re.match(r"\s*([A-Z_]+=\S* )*(\S*/bin/)?(make|app|indexer|trainer) ", command):
                continue
            words = [word for word in shlex.split(command, comments=True) if not re.match(r"[A-Z_]+=", word)]
            yield [words[0].rpartition("/")[2], *words[1:]]


def complaint_about(words: list[str]) -> str | None:
    program, *arguments = words
    if program == "make":
        unknown = [word for word in arguments if not word.startswith("-") and word not in make_targets()]
        return f"no target {unknown}" if unknown else None
    subcommands = getattr(typer.main.get_command(command_line(program)), "commands", {})
    if arguments[0] == "--help":
        return None
    if arguments[0] not in subcommands:
        return f"{program} has no command {arguments[0]}"
    options = {option for p in subcommands[arguments[0]].params for option in (*p.opts, *p.secondary_opts)}
    used = {word.partition("=")[0] for word in arguments if word.startswith("-")}
    unknown = sorted(used - options - {"--help"})
    return f"{program} {arguments[0]} has no option {unknown}" if unknown else None


@every_document
def test_commands_in_the_documentation_exist(document: Path) -> None:
    complaints = {shlex.join(words): complaint_about(words) for words in documented_commands(document)}
    assert {command: complaint for command, complaint in complaints.items() if complaint} == {}


def test_training_page_names_every_option_and_preset_of_fit() -> None:
    options = {option for p in fit_command().params for option in (*p.opts, *p.secondary_opts) if option[0] == "-"}
    text = (ROOT / "docs" / "training.md").read_text()
    assert {option for option in options if f"`{option}`" not in text} == set()
    assert {preset for preset in PRESETS if f"| `{preset}`" not in text} == set()


def fit_command() -> Any:
    return typer.main.get_command(command_line("trainer")).commands["fit"]  # type: ignore[attr-defined]


# Figures


def test_page_of_scale_shows_what_its_command_prints() -> None:
    page = ROOT / "docs" / "scale.md"
    lines = [line for block in blocks(page, "console") for line in commands(block)]
    assert lines
    for line in lines:
        command = [sys.executable, *shlex.split(line)[1:]]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        missing = [table for table in printed.strip().split("\n\n") if table not in page.read_text()]
        assert missing == [], f"docs/scale.md needs what {line} prints:\n\n{printed}"


# Settings


def settings_table() -> str:
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{str(field.default).removeprefix(f'{ROOT}/')}`"
        rows.append(f"| `MOON_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def test_settings_table_shows_every_setting_with_its_default_and_meaning() -> None:
    table = settings_table()
    assert table in (ROOT / "docs" / "operations.md").read_text(), f"docs/operations.md needs this table:\n\n{table}"


def test_examples_of_settings_name_settings_that_exist() -> None:
    known = {f"MOON_{name.upper()}" for name in Settings.model_fields}
    used = {name for document in DOCUMENTS for name in re.findall(r"\bMOON_[A-Z_]+\b", document.read_text())}
    used |= set(re.findall(r"^ +(MOON_[A-Z_]+):", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE))
    assert used - known == set()
