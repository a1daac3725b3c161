"""The address of the page: all that a search is made of, so that it can be shared, reloaded and gone back to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import parse_qs, urlencode

from pydantic import ValidationError

from app.balance import EVEN
from app.ranking import BY_MATCH
from app.schema import Box, Filters, Range
from ui.language import ENGLISH, LANGUAGES, Language

PAGE_SIZE = 24
MAX_SHOWN = 192
MAX_FIELDS = 200
OWN_PHOTO = "own"
"""The shopper's own photo; the address says that there is one, and cannot hold it."""

_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Address:
    """What is searched and what is shown of it.

    ``photo`` is empty, ``own``, or the name of an example; ``like`` is the product whose picture is the photo. ``box``
    is in parts of the photo (0 to 1), ``text_weight`` from 0 (photo) to 1 (words). ``product`` is the opened product,
    ``lang`` a code of :data:`ui.language.LANGUAGES` or empty.
    """

    words: str = ""
    photo: str = ""
    like: str = ""
    box: Box | None = None
    text_weight: float = EVEN
    filters: Filters = field(default_factory=Filters)
    sort: str = BY_MATCH
    shown: int = PAGE_SIZE
    product: str = ""
    lang: str = ""

    @classmethod
    def parse(cls, query: str) -> Self:
        """Read the query part of an address, with or without its ``?``.

        A value that makes no sense counts as left out, as links are edited and outlive the page's versions; of an
        address with more than ``MAX_FIELDS`` fields nothing is read, and no filter of one with larger filters than the
        API takes.
        """
        try:
            fields = parse_qs(query.removeprefix("?"), max_num_fields=MAX_FIELDS)
        except ValueError:
            return cls()

        def one(name: str) -> str:
            return fields.get(name, [""])[0]

        return cls(
            words=one("q"),
            photo="" if one("like") else one("photo"),
            like=one("like"),
            box=_box(one("box")),
            text_weight=_number(one("weight"), 0, 100, 100 * EVEN) / 100,
            filters=_filters(fields),
            sort=one("sort") or BY_MATCH,
            shown=int(_number(one("shown"), PAGE_SIZE, MAX_SHOWN, PAGE_SIZE)),
            product=one("product"),
            lang=one("lang") if one("lang") in LANGUAGES else "",
        )

    def __str__(self) -> str:
        """The query part with its ``?``; what is as always is left out."""
        pairs = [("q", self.words), ("photo", self.photo), ("like", self.like)]
        if self.box is not None:
            pairs.append(("box", ",".join(f"{side:.3f}" for side in self.box)))
        if self.text_weight != EVEN:
            pairs.append(("weight", f"{100 * self.text_weight:g}"))
        pairs += [("category", level) for level in self.filters.category]
        pairs += [(f"is.{key}", value) for key, values in self.filters.attributes.items() for value in values]
        for key, limits in self.filters.ranges.items():
            pairs += [(f"min.{key}", _digits(limits.min)), (f"max.{key}", _digits(limits.max))]
        if self.sort != BY_MATCH:
            pairs.append(("sort", self.sort))
        if self.shown != PAGE_SIZE:
            pairs.append(("shown", str(self.shown)))
        pairs += [("product", self.product), ("lang", self.lang)]
        return f"?{urlencode([(name, value) for name, value in pairs if value])}"

    def opened(self, product_id: str) -> Self:
        """The same search with this product's page before it."""
        return replace(self, product=product_id)

    def closed(self) -> Self:
        """The same search without a product's page."""
        return replace(self, product="")

    def filtered(self, filters: Filters) -> Self:
        """The same search with other filters, from the first results on."""
        return replace(self, filters=filters, shown=PAGE_SIZE)

    def framed(self, box: Box | None) -> Self:
        """The same search with another part of the photo; None lets the model find the product."""
        return replace(self, box=box, shown=PAGE_SIZE)

    def whole(self) -> Self:
        """The same search with all of the photo."""
        return self.framed(_WHOLE)

    def without_photo(self) -> Self:
        """The same search by words alone."""
        return replace(self, photo="", like="", box=None, text_weight=EVEN, shown=PAGE_SIZE)

    def another(self, words: str = "", **search: Any) -> Self:
        """A search that has nothing in common with this one but its language."""
        return type(self)(words, **search, lang=self.lang)

    @property
    def say(self) -> Language:
        """The language of the page."""
        return LANGUAGES.get(self.lang, ENGLISH)

    @property
    def has_photo(self) -> bool:
        """Whether a photo is searched with, wherever it comes from."""
        return bool(self.photo or self.like)


def _number(digits: str, low: float, high: float, otherwise: float) -> float:
    try:
        value = float(digits)
    except ValueError:
        return otherwise
    return min(max(value, low), high) if math.isfinite(value) else otherwise


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"


def _box(sides: str) -> Box | None:
    parts = [_number(side, 0, 1, math.nan) for side in sides.split(",")]
    if len(parts) != 4 or any(map(math.isnan, parts)):
        return None
    x0, y0, x1, y1 = parts
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _filters(fields: dict[str, list[str]]) -> Filters:
    attributes = {name[3:]: list(dict.fromkeys(values)) for name, values in fields.items() if name.startswith("is.")}
    ranges: dict[str, Range] = {}
    for name, values in fields.items():
        side, dot, key = name.partition(".")
        limit = _number(values[0], -1e15, 1e15, math.nan)
        if side in ("min", "max") and dot and not math.isnan(limit):
            ranges[key] = ranges.get(key, Range()).model_copy(update={side: limit})
    try:
        return Filters(category=fields.get("category", []), attributes=attributes, ranges=ranges)
    except ValidationError:
        return Filters()
