"""What the rest of the system needs of a vector store: builds that are written once, published atomically and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.encoder import Vectors
from app.schema import FacetValue, Filters, Hit, Product

MANIFEST_VERSION = 2


class Manifest(BaseModel):
    """What is known of a build without opening it."""

    version: int = MANIFEST_VERSION
    build: str = Field(description="Build id, sortable by time: 20261121T060000-1a2b3c")
    created: datetime
    model: str = Field(description="Name of the model that made the vectors")
    fingerprint: str = Field(description="Fingerprint of that model; a query encoder with another one is refused")
    dimensions: int
    catalog: str = Field(description="Where the catalog was read from")
    catalog_hash: str
    products: int = 0
    rejected: int = 0
    warnings: int = 0
    attribute_keys: list[str] = Field(
        default_factory=list, description="Keys of Product.attributes that can be filtered"
    )
    number_keys: list[str] = Field(default_factory=list, description="Keys of Product.numbers that can be filtered")
    mean_words: float = Field(
        default=0.0, description="Mean words of a product's texts, for BM25; 0: the build cannot be searched by words"
    )
    timings: dict[str, float] = Field(default_factory=dict, description="Seconds per stage of the rebuild")
    on_trial: bool = Field(
        default=False, description="Made to be looked at and not published so far; a rollback passes over it"
    )


@dataclass(frozen=True)
class Point:
    """A product and its unit vector of shape (dimensions,)."""

    product: Product
    vector: NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """A product that may answer a query of text, by the id of its point in the engine.

    ``similarity`` is the cosine of the vectors; ``share`` is the product's BM25 score as a share of the highest that
    the query allows, from 0 (no common word) to below 1 (every word, often, in a short text).
    """

    point: str
    similarity: float
    share: float


class Index(Protocol):
    """One build, opened for reading. Thread-safe."""

    @property
    def manifest(self) -> Manifest:
        """The build's manifest."""

    def search(
        self,
        vector: NDArray[np.float32],
        filters: Filters,
        limit: int,
        offset: int = 0,
        exclude_points: Sequence[str] = (),
        exact: bool = False,
    ) -> list[Hit]:
        """The products nearest to ``vector`` that fulfil ``filters``, best first, but those at ``exclude_points``."""

    def candidates(self, vector: NDArray[np.float32], text: str, filters: Filters, depth: int) -> list[Candidate]:
        """The ``depth`` products nearest to ``vector`` and the ``depth`` that share most of the words of ``text``.

        All fulfil ``filters``; they come in no order. Without words in ``text`` or in the build, none comes by words.
        """

    def facets(self, key: str, filters: Filters, limit: int = 100) -> list[FacetValue]:
        """Counts per value of an attribute key, or of every category level for the key ``category``."""

    def count(self, filters: Filters) -> int:
        """How many products fulfil ``filters``, counted exactly."""

    def get(self, ids: Sequence[str]) -> list[Product]:
        """The products with these ids, in this order. Raises NotFoundError naming the unknown ones."""

    def at(self, points: Sequence[str]) -> list[Product]:
        """The products at these points of the build, in this order."""

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """Their stored vectors, shape (ids, dimensions). Raises NotFoundError naming the unknown ones."""

    def close(self) -> None:
        """Release the build."""


class BuildWriter(Protocol):
    """A new build that nobody reads yet."""

    def add(self, points: Sequence[Point]) -> None:
        """Add points, which replace those of the same products in a copy; a new build gets every product once.

        Raises ValueError naming the product for a NaN, infinite or zero vector or a wrong length.
        """

    def remove(self, ids: Sequence[str]) -> None:
        """Delete the products with these ids from a copy; unknown ones are ignored."""

    def finish(self, manifest: Manifest) -> None:
        """Make it durable, build its HNSW and payload indexes, wait until it is ready, and write its final manifest."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop the build if it was left unfinished."""


class Store(Protocol):
    """The builds of one index name, and which of them is published."""

    copies: bool
    """Whether a build can start as a copy of another."""

    def create(self, manifest: Manifest, base: str | None = None) -> BuildWriter:
        """Start a new build with payload indexes for the category and the manifest's attribute and number keys.

        ``manifest.mean_words`` is needed to search it by words. It is empty, or holds all points of the finished build
        ``base``, where the engine ``copies`` builds. Raises ValueError if ``base`` is of another model, version or
        layout than ``manifest``, IndexUnavailableError if it cannot be read.
        """

    def open(self, build: str) -> Index:
        """Open a finished build. Raises IndexUnavailableError if it is missing or was written by a newer version."""

    def publish(self, build: str) -> None:
        """Make a finished build the one that is searched, atomically; it is not on trial any more."""

    def published(self) -> str | None:
        """The published build's id, None before the first one. Cheap enough to be asked every second."""

    def builds(self) -> list[Manifest]:
        """Manifests of all finished builds, newest first."""

    def disk_bytes(self, build: str) -> int | None:
        """What a finished build takes on disk; None where the engine does not tell."""

    def rollback(self) -> str:
        """Publish the newest finished build older than the published one, none on trial, and return its id."""

    def drop(self, build: str) -> None:
        """Delete a build. Raises BadInputError for the published one."""
