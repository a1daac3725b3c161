"""One row of a catalog, by field, as a Product."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.catalog import fields
from app.catalog.columns import ATTRIBUTE_PREFIXES, NUMBER_PREFIX, TITLE_PREFIX, is_number
from app.catalog.problems import Problem, Severity
from app.schema import Product


def _remembering(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Reads texts that come row after row only once, as categories and prices do. Nobody may change what it returns."""
    remembered = lru_cache(10_000)(parse)
    return lambda cell: remembered(cell) if isinstance(cell, str) else parse(cell)


_CATEGORY, _KEYWORDS, _NUMBER = map(_remembering, (fields.category, fields.separated_keywords, fields.number))
_SCALARS: dict[str, Callable[[Any], Any]] = {
    "group_id": fields.optional,
    "url": fields.link,
    "licence": fields.optional,
    "licence_url": fields.link,
    "creator": fields.optional,
    "attribution": fields.optional,
}
_STRUCTS: dict[str, Callable[[Any], Any]] = {
    "titles": fields.text,
    "attributes": fields.keywords,
    "numbers": _NUMBER,
}


@cache
def _group_of(field: str) -> tuple[str, str, Callable[[Any], Any]] | None:
    """The struct that a column belongs to, its key there, and how to read it; None: not part of a struct."""
    for prefix in ATTRIBUTE_PREFIXES:
        if field.startswith(prefix):
            return "attributes", field.removeprefix(prefix), _KEYWORDS
    if field.startswith(TITLE_PREFIX):
        return "titles", field.removeprefix(TITLE_PREFIX), fields.text
    if is_number(field):
        return "numbers", field.removeprefix(NUMBER_PREFIX), _NUMBER
    return None


class RowParser:
    """Turns the cells of one row, by field, into a Product and collects what it had to leave out."""

    def __init__(self, number: int, cells: Mapping[str, Any], folder: Path | fields.Folder, file: str) -> None:
        self._number = number
        self._cells = cells
        self._folder = folder
        self._file = file
        self._id = ""
        self.problems: list[Problem] = []

    def product(self) -> Product | None:
        self._id = self._read("id", fields.text, "")
        if not self._id:
            self._add("reject", "id", "the id is missing", "give every product an id")
            return None
        title = self._read("title", fields.text, "")
        images = self._read("images", lambda cell: fields.pictures(cell, self._folder), [])
        if not title and not images:
            self._add("reject", "title", "neither title nor picture", "add a title or at least one picture")
            return None
        try:
            return Product(
                id=self._id,
                title=title,
                category=self._read("category", _CATEGORY, []),
                images=images,
                **self._structs(),
                **{name: self._read(name, parse, None) for name, parse in _SCALARS.items() if name in self._cells},
            )
        except ValidationError as error:
            first = error.errors()[0]
            self._add("reject", ".".join(map(str, first["loc"])), first["msg"], "correct the value")
            return None

    def _structs(self) -> dict[str, Any]:
        structs: dict[str, Any] = {name: {} for name in _STRUCTS}
        for name, parse in _STRUCTS.items():
            for key, cell in self._read(name, fields.mapping, {}).items():
                self._put(structs[name], name, fields.text(key), cell, parse)
        for field, cell in self._cells.items():
            if cell is not None and cell != "" and (group := _group_of(field)):
                name, key, parse = group
                self._put(structs[name], name, key, cell, parse)
        return structs

    def _put(self, values: dict[str, Any], group: str, key: str, cell: Any, parse: Callable[[Any], Any]) -> None:
        try:
            value = parse(cell)
        except ValueError as error:
            self._warn(f"{group}.{key}", str(error))
            return
        if value is None or value == "" or value == []:
            return
        if not key or '"' in key:
            self._warn(group, f"the key {key!r} is empty or has a double quote")
        elif group == "numbers" and value < 0 and key.endswith("price"):
            self._warn(key, f"a negative price, {value:g}")
        else:
            values[key] = value

    def _read(self, field: str, parse: Callable[[Any], Any], default: Any) -> Any:
        cell = self._cells.get(field)
        if cell is None or cell == "":
            return default
        try:
            return parse(cell)
        except ValueError as error:
            self._warn(field, str(error))
            return default

    def _warn(self, field: str, reason: str) -> None:
        self._add("warning", field, reason, "the product is indexed without it; correct the value")

    def _add(self, severity: Severity, field: str, reason: str, remedy: str) -> None:
        self.problems.append(Problem(severity, self._id, self._number, field, reason, remedy, self._file))
