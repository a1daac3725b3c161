"""M5Product metadata as items and records: search for products that are like a product.

Metadata are ``id -> {title, pv, label}``: one JSON object, or JSON lines of such objects or with a column ``id``. There
are no queries, so products serve as such (our decision, after the set's own query and gallery parts): one product in
ten, chosen by a hash of its id, is a query with its picture and title and no item itself, and every item of its label
answers it, by ``meaning`` and ``answers``. The label is the category, too. The set is for evaluation: its split is
``test`` unless the file's name says otherwise.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from app.catalog import fields
from app.catalog.problems import Problem, Report
from app.catalog.tables import BrokenRow
from app.errors import CatalogError
from app.schema import CATEGORY_SEPARATOR
from trainer.data.columns import split_of_name
from trainer.data.corpus import CorpusWriter
from trainer.data.keys import key
from trainer.data.record import Item, Picture, Record
from trainer.data.rows import json_form, only_member, read_any, read_members

QUERY_OF = 10
"""One product in so many is a query."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
PICTURE_PLACES = ("images", "images.zip", "pictures", "pictures.zip")

PictureFinder = Callable[[str], str]
"""The location of a product's picture; empty if there is none."""


def write_m5(file: Path, images: Path | None, writer: CorpusWriter, report: Report) -> None:
    """Add metadata to a corpus; ``images`` is the folder or zip file that holds ``<id>.jpg`` (or png, webp).

    Without ``images`` one of ``PICTURE_PLACES`` beside the file is taken. A query whose label no item has becomes an
    item. Reads the file twice, because items come before the records that name them.

    Raises CatalogError if a file cannot be read as a whole.
    """
    find_picture = picture_finder(images or pictures_beside(file))
    split = split_of_name(file, "test")
    first_of: dict[str, str] = {}
    for number, item in _items(file, find_picture, report):
        if writer.knows(item.id):
            report.add([Problem("reject", item.id, number, "id", "the id occurs twice", "give each product its own")])
        elif not (item.answers and is_query(item.id)):
            writer.add_catalog([item])
            for meaning in item.answers:
                first_of.setdefault(meaning, item.id)
    for _, item in _items(file, find_picture, Report()):
        if item.answers and is_query(item.id):
            meaning, picture = item.answers[0], next(iter(item.pictures), None)
            if meaning in first_of:
                writer.add(Record(first_of[meaning], item.title, picture, meaning=meaning, split=split))
            elif not writer.knows(item.id):
                writer.add_catalog([item])


def is_query(product_id: str) -> bool:
    return key("m5 query", product_id) % QUERY_OF == 0


def pairs_of(pv: Any) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Attributes of ``key#:#value#;#key#:#value``, and the parts that are none.

    >>> pairs_of("Brand#:#Acme#;#Colour#:#red#;#Colour#:#blue#;#new")
    ({'Brand': ('Acme',), 'Colour': ('red', 'blue')}, ['new'])
    """
    found: dict[str, dict[str, None]] = {}
    wrong = []
    for part in filter(None, map(str.strip, fields.text(pv).split("#;#"))):
        name, separator, value = (words.strip() for words in part.partition("#:#"))
        if separator and name and value:
            found.setdefault(name, {})[value] = None
        elif not (separator and name):
            wrong.append(part)
    return {name: tuple(values) for name, values in found.items()}, wrong


def pictures_beside(file: Path) -> Path | None:
    """The folder or zip file of pictures that lies beside the metadata."""
    return next((path for name in PICTURE_PLACES if (path := file.parent / name).exists()), None)


def picture_finder(images: Path | None) -> PictureFinder:
    """How to find a product's picture by id. Raises CatalogError if ``images`` is neither a folder nor a zip file."""
    if images is None:
        return lambda key: ""
    if images.is_dir():
        folder = images.absolute()
        return lambda key: next((str(p) for s in SUFFIXES if (p := folder / f"{_safe(key)}{s}").is_file()), "")
    try:
        with zipfile.ZipFile(images) as archive:
            members = [PurePosixPath(name) for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise CatalogError(f"{images}: neither a folder nor a zip file of pictures ({error})") from error
    places = {path.stem: f"zip://{path}::{images.absolute()}" for path in members if path.suffix.lower() in SUFFIXES}
    return lambda key: places.get(key, "")


def _safe(key: str) -> str:
    return key.replace("/", "_").replace("\\", "_")


def _items(file: Path, find_picture: PictureFinder, report: Report) -> Iterator[tuple[int, Item]]:
    for number, (product_id, cells) in enumerate(_entries(file), start=1):
        if not isinstance(cells, Mapping):
            reason = str(cells) if isinstance(cells, BrokenRow) else "not a JSON object"
            report.add([Problem("reject", product_id, number, "row", reason, "correct or remove the row")])
            continue
        item, problems = _item(product_id or fields.text(cells.get("id")), cells, find_picture, number)
        report.add(problems)
        if item is not None:
            yield number, item


def _entries(file: Path) -> Iterator[tuple[str, Any]]:
    """Id and metadata; of JSON lines the metadata hold the id."""
    if file.suffix.lower() == ".json" and json_form(file) == "object":
        yield from read_members(file)
        return
    for row in read_any(file):
        yield only_member(row) if isinstance(row, dict) else ("", row)


def _item(
    product_id: str, cells: Mapping[str, Any], find_picture: PictureFinder, number: int
) -> tuple[Item | None, list[Problem]]:
    problems = []
    values: dict[str, Any] = {"title": "", "pv": ({}, []), "label": []}
    for name, parse in (("title", fields.text), ("pv", pairs_of), ("label", fields.category)):
        try:
            values[name] = parse(cells.get(name))
        except ValueError as error:
            remedy = "the product is used without it; correct the value"
            problems.append(Problem("warning", product_id, number, name, str(error), remedy))
    attributes, wrong = values["pv"]
    if wrong:
        reason, remedy = f"{wrong[0][:60]!r} is no key#:#value", "the product is used without this attribute"
        problems.append(Problem("warning", product_id, number, "pv", reason, remedy))
    location = find_picture(product_id)
    if not product_id or not (values["title"] or location):
        reason, remedy = "no id, or neither title nor picture", "complete the product"
        return None, [*problems, Problem("reject", product_id, number, "row", reason, remedy)]
    category = tuple(values["label"])
    answers = (f"label:{CATEGORY_SEPARATOR.join(category)}",) if category else ()
    pictures = (Picture(location),) if location else ()
    return Item(product_id, values["title"], pictures, category, attributes, answers=answers), problems
