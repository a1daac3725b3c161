"""The nouns that all rooms share: products, queries, filters, hits, facets and predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in pixels of the picture it belongs to, x1 and y1 exclusive."""

CATEGORY_SEPARATOR = " > "

MAX_ID = 512
"""Characters of a product's id."""

MAX_LEVELS, MAX_KEYS, MAX_VALUES, MAX_NAME = 32, 32, 200, 1000
"""Of filters: levels of a category, keys, values of one key, and characters of each (our decision).

As many values of one key as the page's address can hold in all.
"""

Name = Annotated[str, Field(max_length=MAX_NAME)]
"""A category, an attribute key or value, or a number key, as requests name them."""

Match = Literal["best", "related", "none"]
"""How far a hit answers a query: the very thing, most likely; something of its kind, most likely; neither."""


def category_levels(path: list[str]) -> list[str]:
    """Every ancestor of a category path, itself included, from the root down.

    >>> category_levels(["Furniture", "Sofas"])
    ['Furniture', 'Furniture > Sofas']
    """
    return [CATEGORY_SEPARATOR.join(path[: depth + 1]) for depth in range(len(path))]


class Product(BaseModel):
    """One row of a catalog: what is embedded, filtered on and shown.

    ``group_id`` is shared by the SKUs of one model; ``category`` runs from the root to the leaf; ``attributes`` hold
    keywords (several values per key are normal), ``numbers`` hold quantities such as ``price`` or ``width_cm``;
    ``images`` are file paths or http(s) URLs, the main picture first.
    """

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=MAX_ID)
    title: str = ""
    titles: dict[str, str] = Field(default_factory=dict, description="Titles in other languages, by language code")
    group_id: str | None = None
    category: list[str] = Field(default_factory=list)
    attributes: dict[str, list[str]] = Field(default_factory=dict)
    numbers: dict[str, float] = Field(default_factory=dict)
    images: list[str] = Field(default_factory=list)
    url: str | None = None
    licence: str | None = None
    licence_url: str | None = None
    creator: str | None = None
    attribution: str | None = None


@dataclass(frozen=True)
class Query:
    """What a shopper asks with: text, a photo, or both; ``box`` marks the core product in the photo."""

    text: str = ""
    image: Image | None = None
    box: Box | None = None


class Range(BaseModel):
    """A closed interval; an open side is None."""

    model_config = ConfigDict(extra="forbid")

    min: float | None = None
    max: float | None = None


class Filters(BaseModel):
    """Conditions that every hit fulfils: all keys together, any of the values of one key."""

    model_config = ConfigDict(extra="forbid")

    category: list[Name] = Field(
        default_factory=list, max_length=MAX_LEVELS, description="Category path from the root, at any level"
    )
    attributes: dict[Name, Annotated[list[Name], Field(max_length=MAX_VALUES)]] = Field(
        default_factory=dict, max_length=MAX_KEYS
    )
    ranges: dict[Name, Range] = Field(
        default_factory=dict, max_length=MAX_KEYS, description="Limits on numbers, e.g. price or width_cm"
    )

    @classmethod
    def within(cls, category: list[str]) -> Self:
        """Of a category of the catalog, whose levels and names may be more and longer than those of requests."""
        return cls.model_construct(category=category)

    def __bool__(self) -> bool:
        return bool(self.category or self.attributes or self.ranges)


class Hit(BaseModel):
    """A product with its cosine similarity to the query, raised by common words if the query has text; from -1 to 1."""

    product: Product
    score: float
    match: Match | None = Field(default=None, description="null: the model has no calibration for such a search")


class FacetValue(BaseModel):
    """How many products carry a value."""

    value: str
    count: int


class SearchResult(BaseModel):
    """Hits in order of similarity, or as asked to be sorted; facet counts under the same filters; milliseconds."""

    hits: list[Hit]
    facets: dict[str, list[FacetValue]] = Field(default_factory=dict)
    box: Box | None = Field(default=None, description="Core product box that was used on the query photo")
    timings: dict[str, float] = Field(default_factory=dict)
    build: str = ""
    matched: bool | None = Field(
        default=None, description="Whether any of the hits is a best or related match; null: the model cannot tell"
    )


class Candidate(BaseModel):
    """A label with its probability among the labels it competes with."""

    label: str
    probability: float


class Sure(BaseModel):
    """Whether the best candidate is sure, per category level (root first) and attribute key."""

    categories: list[bool] = Field(default_factory=list)
    attributes: dict[str, bool] = Field(default_factory=dict)


class Prediction(BaseModel):
    """Category candidates per level (root first) and value candidates per attribute key, best first."""

    categories: list[list[Candidate]]
    attributes: dict[str, list[Candidate]]
    sure: Sure | None = Field(default=None, description="null: the model has no calibration")
    box: Box | None = None
    timings: dict[str, float] = Field(default_factory=dict)


class Detection(BaseModel):
    """Boxes of the products in a photo, in pixels of the upright photo; milliseconds."""

    boxes: list[Box] = Field(description="The core product's first; empty: the whole photo is searched with")
    timings: dict[str, float] = Field(default_factory=dict)


def payload_of(product: Product) -> dict[str, Any]:
    """The Qdrant payload of a product: its fields but the empty ones, and ``categories`` for filters at any level."""
    payload = product.model_dump(exclude_defaults=True)
    if product.category:
        payload["categories"] = category_levels(product.category)
    return payload


def product_of(payload: dict[str, Any]) -> Product:
    """The inverse of :func:`payload_of`."""
    return Product(**{key: value for key, value in payload.items() if key != "categories"})
