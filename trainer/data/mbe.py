"""MBE and MBE2.0 (``Daoze/MM-Bench-E-Commerce``, ``ZHNie/MBE2.0``) as records: query, product bought, hard negative.

Every row brings its own product and hard negative. The category are the levels ``doc_cate1_name`` to
``doc_cate4_name``, which the paper classifies; ``doc_industry_name`` stays out. The hard negative is given the category
of the product, of which it is by construction. What MBE2.0 adds to product and hard negative, an enriched title and
expanded images, goes to records of the train split alone: test data are not augmented (MOON2.0).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.catalog import fields
from app.catalog.problems import Problem, Report
from app.catalog.tables import BrokenRow
from app.schema import Box
from trainer.data.columns import SPLIT_NAMES, Columns, plain_name, split_of_name
from trainer.data.corpus import CorpusWriter
from trainer.data.keys import title_key
from trainer.data.record import Item, Picture, Record
from trainer.data.rows import read_any

LEVELS = 4
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("doc_id", "item_id", "product_id", "id"),
    "title": ("doc_title", "item_title", "product_title", "title"),
    "images": ("doc_image", "doc_images", "doc_img", "doc_pic", "item_image", "product_image", "image"),
    "box": ("doc_bbox", "doc_box", "item_bbox"),
    "attributes": ("doc_attributes", "doc_attribute", "attributes"),
    **{f"level{n}": (f"doc_cate{n}_name", f"doc_cate{n}", f"cate{n}_name", f"cate{n}") for n in range(1, LEVELS + 1)},
    "text": ("query_title", "query_text", "query"),
    "query_image": ("query_image", "query_img", "query_pic"),
    "query_box": ("query_bbox", "query_box"),
    "negative_id": ("neg_id", "negative_id", "hard_neg_id"),
    "negative_title": ("neg_title", "negative_title", "hard_neg_title", "neg_doc_title"),
    "negative_images": ("neg_image", "negative_image", "hard_neg_image", "neg_img", "neg_pic", "neg_doc_image"),
    "negative_box": ("neg_bbox", "negative_bbox", "neg_box"),
    "enriched_title": ("enriched_title", "doc_enriched_title", "doc_title_enriched", "enhanced_title"),
    "expanded_images": ("expanded_images", "expanded_image", "doc_expanded_images", "doc_expanded_image"),
    "negative_enriched_title": ("neg_enriched_title", "negative_enriched_title", "neg_title_enriched"),
    "negative_expanded_images": ("neg_expanded_images", "neg_expanded_image", "negative_expanded_images"),
    "split": ("split",),
}
LEFT_OUT = ("doc_industry_name",)
"""Columns that are known and not read."""
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def write_mbe(files: Iterable[Path], writer: CorpusWriter, report: Report) -> None:
    """Add the rows of JSON-lines (or CSV, TSV, Parquet) files to a corpus; pictures are relative to their file.

    A column ``split``, else ``train``, ``val``, ``dev`` or ``test`` in the file's name, sets the split.

    Raises CatalogError, naming the columns found, if a file has none for the product or for the query.
    """
    for file in files:
        columns = Columns(COLUMNS)
        rows = columns.peek(file, read_any(file))
        columns.need(file, "title images", "product")
        columns.need(file, "text query_image", "query")
        reader = _RowReader(file, report)
        if unused := [name for name in columns.unused if plain_name(name) not in LEFT_OUT]:
            reader.warn("columns", f"nothing uses {', '.join(unused)}", "rename what should be read, see docs/data.md")
        for number, cells in enumerate(rows, start=1):
            if isinstance(cells, BrokenRow):
                reader.reject(number, "", "row", str(cells), "correct or remove the row")
            elif record := reader.record(number, columns.named(cells)):
                writer.add(record)


def attribute_pairs(cell: Any) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Attributes of ``key:value,,key:value!!!value2``, of a mapping or of a JSON object, and the parts without a key.

    >>> attribute_pairs("color:red,,size:M!!!L,,new")
    ({'color': ('red',), 'size': ('M', 'L')}, ['new'])
    """
    found: dict[str, list[str]] = {}
    wrong = []
    if isinstance(cell, dict) or (isinstance(cell, str) and cell.lstrip().startswith("{")):
        pairs = [(fields.text(key), fields.keywords(values)) for key, values in fields.mapping(cell).items()]
    else:
        pairs = []
        for part in fields.text(cell).split(",,"):
            name, colon, words = part.partition(":")
            if colon and name.strip(" ,"):
                pairs.append((name.strip(" ,"), [value.strip() for value in words.split("!!!")]))
            elif part.strip(" ,"):
                wrong.append(part.strip(" ,"))
    for name, values in pairs:
        found.setdefault(name, []).extend(value for value in values if value)
    return {name: tuple(dict.fromkeys(values)) for name, values in found.items() if name and values}, wrong


def box_of(cell: Any) -> Box | None:
    """A box ``x1, y1, x2, y2`` in pixels from a list or text; None if the cell is empty. Raises ValueError if no box.

    >>> box_of("(1, 2, 30, 40)"), box_of([1, 2, 30, 40]), box_of("")
    ((1.0, 2.0, 30.0, 40.0), (1.0, 2.0, 30.0, 40.0), None)
    """
    if cell is None or cell == "" or cell == []:
        return None
    numbers = [float(number) for number in _NUMBER.findall(str(cell))]
    if len(numbers) == 4 and all(map(math.isfinite, numbers)):
        x0, y0, x1, y1 = numbers
        if x1 - x0 >= 1 and y1 - y0 >= 1 and x1 > 0 and y1 > 0:
            return max(x0, 0.0), max(y0, 0.0), x1, y1
    raise ValueError(f"{str(cell)[:60]!r} is no box x1, y1, x2, y2 in pixels")


class _RowReader:
    """Turns the cells of one row into a record, and reports what it had to leave out."""

    def __init__(self, file: Path, report: Report) -> None:
        self._file, self._report, self._folder = file, report, file.parent
        self._split = split_of_name(file)
        self._number, self._id = 0, ""

    def record(self, number: int, cells: Mapping[str, Any]) -> Record | None:
        self._number = number
        self._id = self._read(cells, "id", fields.text, "")
        split = SPLIT_NAMES.get(self._read(cells, "split", fields.text, "").casefold() or self._split)
        if split is None:
            self.reject(number, self._id, "split", f"{cells['split']!r} is no split", "use train, dev or test")
            return None
        positive = self._positive(cells)
        if not positive.title and not positive.pictures:
            remedy = "give the product a title or a picture"
            self.reject(number, self._id, "product", "neither title nor picture", remedy)
            return None
        pictures = self._pictures(cells, "query_image", "query_box")
        text = self._read(cells, "text", fields.text, "")
        if not text and not pictures:
            self.reject(number, self._id, "query", "neither text nor picture", "give the query one of them")
            return None
        negative = self._negative(cells, positive)
        if split == "train":
            positive = self._augmented(cells, positive, "")
            negative = negative and self._augmented(cells, negative, "negative_")
        return Record(positive, text, pictures[0] if pictures else None, negative, split=split)

    def _positive(self, cells: Mapping[str, Any]) -> Item:
        title = self._read(cells, "title", fields.text, "")
        pictures = self._pictures(cells, "images", "box")
        key = self._id or _made_id(title, pictures)
        return Item(key, title, tuple(pictures), self._category(cells), self._attributes(cells))

    def _negative(self, cells: Mapping[str, Any], positive: Item) -> Item | None:
        title = self._read(cells, "negative_title", fields.text, "")
        pictures = self._pictures(cells, "negative_images", "negative_box")
        if not title and not pictures:
            return None
        key = self._read(cells, "negative_id", fields.text, "") or _made_id(title, pictures)
        if key == positive.id or (title and title_key(title) == title_key(positive.title)):
            self.warn("negative", "the hard negative has the product's id or title", "the row is used without it")
            return None
        return Item(key, title, tuple(pictures), positive.category)

    def _augmented(self, cells: Mapping[str, Any], item: Item, whose: str) -> Item:
        """With the enriched title and the expanded images of MBE2.0."""
        title = _joined(item.title, self._read(cells, f"{whose}enriched_title", fields.text, ""))
        return replace(
            item, title=title, pictures=(*item.pictures, *self._pictures(cells, f"{whose}expanded_images", ""))
        )

    def _category(self, cells: Mapping[str, Any]) -> tuple[str, ...]:
        names = [self._read(cells, f"level{n}", fields.text, "") for n in range(1, LEVELS + 1)]
        return tuple(names[: names.index("")] if "" in names else names)

    def _attributes(self, cells: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        found, wrong = self._read(cells, "attributes", attribute_pairs, ({}, []))
        if wrong:
            self.warn("attributes", f"{wrong[0][:60]!r} is no key:value", "the row is used without this attribute")
        return found

    def _pictures(self, cells: Mapping[str, Any], images: str, box: str) -> list[Picture]:
        """The box belongs to the first picture."""
        cell = cells.get(images)
        if isinstance(cell, str) and cell.startswith("//"):
            cell = f"https:{cell}"
        found = self._read({images: cell}, images, lambda value: fields.pictures(value, self._folder), [])
        first = self._read(cells, box, box_of, None) if found else None
        return [Picture(location, None if row else first) for row, location in enumerate(found)]

    def _read(self, cells: Mapping[str, Any], field: str, parse: Any, default: Any) -> Any:
        try:
            return parse(cells[field]) if cells.get(field) is not None else default
        except ValueError as error:
            self.warn(field, str(error), "the row is used without it; correct the value")
            return default

    def warn(self, field: str, reason: str, remedy: str) -> None:
        self._report.add([Problem("warning", self._id, self._number, field, f"{self._file.name}: {reason}", remedy)])

    def reject(self, number: int, key: str, field: str, reason: str, remedy: str) -> None:
        self._report.add([Problem("reject", key, number, field, f"{self._file.name}: {reason}", remedy)])


def _joined(title: str, enriched: str) -> str:
    """Both titles, or the enriched one alone if it holds the other."""
    return enriched if title.casefold() in enriched.casefold() else f"{title} {enriched}".strip()


def _made_id(title: str, pictures: Iterable[Picture]) -> str:
    """An id for a product without one: the same title and first picture are the same product."""
    first: Iterator[str] = (picture.location for picture in pictures)
    return hashlib.blake2b(f"{title_key(title)}\0{next(first, '')}".encode(), digest_size=10).hexdigest()
