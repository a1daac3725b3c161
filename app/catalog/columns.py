"""Which columns of a catalog hold which field of a product: by our names, by the operator's word, or by a guess.

A field is one of :data:`FIELDS`, ``attributes.<key>``, ``numbers.<key>`` or ``titles.<language>``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.catalog.fields import Several
from app.catalog.names import ALIASES, NUMBERED, NUMBERS, PAIRS, TITLE_IN, UNITS, plain_name
from app.errors import CatalogError

TEXTS = ("group_id", "url", "licence", "licence_url", "creator", "attribution")
FIELDS = ("id", "title", "titles", "category", "attributes", "numbers", "images", *TEXTS)
ATTRIBUTE_PREFIXES = ("attributes.", "attr_")
NUMBER_PREFIX = "numbers."
TITLE_PREFIX = "titles."
MANY = ("images", "category", "attributes.")
"""Fields that take all of their columns (category: its levels); the others take the first that is not empty."""

Mapped = Mapping[str, tuple[str, ...]]
"""The columns of a field, best first; none: the field has no column, whatever the names suggest."""


@dataclass(frozen=True)
class Columns:
    """The columns of a catalog: those ``used``, which of their fields were ``guessed``, and what is left.

    ``pairs`` are columns that name an attribute, with those that hold its value.
    """

    used: Mapped
    """By field; no column: the operator took the field away."""
    guessed: frozenset[str] = frozenset()
    unused: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    _plans: dict[tuple[str, ...], list[tuple[str, list[str]]]] = field(default_factory=dict, compare=False)

    def named(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """The cells of a row by field; those of several columns as Several."""
        names = tuple(cells)
        if (plan := self._plans.get(names)) is None:
            plan = self._plan(names)
            if len(self._plans) < 1000:  # JSON lines may leave out what is empty
                self._plans[names] = plan
        row = {
            target: cells[columns[0]] if len(columns) == 1 else _joined(target, columns, cells)
            for target, columns in plan
        }
        for name, value in self.pairs:
            if cells.get(name) and cells.get(value):
                row.setdefault(f"attributes.{str(cells[name]).strip()}", cells[value])
        return row

    def _plan(self, names: tuple[str, ...]) -> list[tuple[str, list[str]]]:
        present = set(names)
        plan = [(target, [name for name in columns if name in present]) for target, columns in self.used.items()]
        known = {name for columns in self.used.values() for name in columns}
        filled = set(map(_field, self.used))
        own = [(name, [name]) for name in names if name not in known and _field(name) not in filled and is_field(name)]
        return [(target, columns) for target, columns in [*plan, *own] if columns]


def choose(names: Sequence[str], given: Mapped | None = None) -> Columns:
    """The columns for every field; ``given`` comes first, then columns named as our fields, then usual names of shops.

    Raises CatalogError if ``given`` names a column that is not there.
    """
    given = given or {}
    for target, columns in given.items():
        if missing := [name for name in columns if name not in names]:
            raise CatalogError(
                f"there is no column {missing[0]!r} for {target}; the catalog has: {', '.join(names)}. Correct --map"
            )
    used = dict(given)
    taken = {name for columns in used.values() for name in columns}
    pairs = [pair for pair in _pairs(names) if not taken & set(pair)]
    taken |= {name for pair in pairs for name in pair}
    own = {name: (name,) for name in names if is_field(name) and name not in taken and _field(name) not in given}
    if "price" not in {*own, *given}:  # a regular_price is the price where there is no other
        own = {name: columns for name, columns in own.items() if ALIASES.get(name, ("", 0))[0] != "price"}
    taken |= set(own)
    guesses = _guesses([name for name in names if name not in taken], {*given, *map(_field, own)})
    used |= own | guesses
    taken |= {name for columns in guesses.values() for name in columns}
    unused = tuple(name for name in names if name not in taken)
    return Columns(used, frozenset(guesses), unused, tuple(pairs))


def read_mapping(words: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What an operator says: ``title=product_name``, ``images=photo,photo_2``, ``url=`` (no column), or a TOML file.

    The file holds lines such as ``title = "product_name"`` and ``images = ["photo", "photo_2"]``.
    Raises CatalogError for anything else.
    """
    mapping: dict[str, tuple[str, ...]] = {}
    for word in words:
        target, equals, columns = word.partition("=")
        if equals:
            entries: dict[str, Any] = {target.strip(): [name.strip() for name in columns.split(",") if name.strip()]}
        else:
            entries = _flat(_toml(Path(word)))
        for target, value in entries.items():
            names = [value] if isinstance(value, str) else value
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise CatalogError(f"{word}: {target} must be the name of a column, or a list of names")
            if not is_field(target):
                raise CatalogError(
                    f"{word}: there is no field {target!r}; use one of {', '.join(FIELDS)}, price, attributes.<key>, "
                    "numbers.<key>, titles.<language>"
                )
            mapping[_field(target)] = tuple(name for name in names if name)
    return mapping


def is_field(name: str) -> bool:
    """Whether a column of this name is a field of a product."""
    return name in FIELDS or is_number(name) or name.startswith((*ATTRIBUTE_PREFIXES, TITLE_PREFIX))


def is_number(name: str) -> bool:
    """Whether a column of this name holds a quantity."""
    return name in NUMBERS or name.endswith(UNITS) or name.startswith(NUMBER_PREFIX)


def _guesses(names: Sequence[str], taken: set[str]) -> dict[str, tuple[str, ...]]:
    ranked: dict[str, list[tuple[int, int, str]]] = {}
    for place, name in enumerate(names):
        if (guess := _guess(plain_name(name))) and guess[0] not in taken:
            ranked.setdefault(guess[0], []).append((guess[1], place, name))
    best = {target: sorted(found)[: None if target == "images" else 1] for target, found in ranked.items()}
    return {target: tuple(name for *_, name in found) for target, found in best.items()}


def _guess(plain: str) -> tuple[str, int] | None:
    """The field that a column's plain name suggests, and how good the suggestion is (0 is best)."""
    if plain in ALIASES:
        return ALIASES[plain]
    if is_field(plain):
        return _field(plain), 0
    if NUMBERED.fullmatch(plain):
        return "images", 100
    if match := TITLE_IN.fullmatch(plain):
        return f"{TITLE_PREFIX}{match[1]}", 100
    return None


def _field(name: str) -> str:
    """``attributes.color`` for ``attr_color``, any other name of ours as it is."""
    return f"attributes.{name.removeprefix('attr_')}" if name.startswith("attr_") else name


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Columns that name an attribute, with those that hold its value: ``Option1 Name`` and ``Option1 Value``."""
    by_plain = {plain_name(name): name for name in names}
    found = ((match[1], name) for plain, name in by_plain.items() if (match := PAIRS.fullmatch(plain)))
    values = (
        (name, next((by_plain[key] for key in (f"{stem}_value", f"{stem}_value_s") if key in by_plain), None))
        for stem, name in found
    )
    return [(name, value) for name, value in values if value]


def _joined(target: str, columns: Sequence[str], cells: Mapping[str, Any]) -> Any:
    filled = [cells[name] for name in columns if cells[name] not in (None, "", [])]
    if target.startswith(MANY):
        return Several(filled)
    return filled[0] if filled else None


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise CatalogError(f"{file}: not FIELD=COLUMN, and no mapping file can be read there ({reason})") from error
    except ValueError as error:
        raise CatalogError(f'{file}: not valid TOML ({error}); write lines such as title = "product_name"') from error


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """``[attributes]`` with ``color = "Colour"`` as ``attributes.color``."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= {f"{key}.{inner}": names for inner, names in value.items()} if isinstance(value, dict) else {key: value}
    return flat
