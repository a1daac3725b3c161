"""Search: a query or a product in, the nearest products of the published index out."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from app.encoder import Embedder
from app.errors import BadInputError
from app.fusion import search_fused
from app.schema import Box, FacetValue, Filters, Hit, Product, Query, SearchResult
from app.settings import Settings
from app.store.base import Index
from app.store.live import LiveIndex
from app.timing import Stopwatch

MAX_LIMIT = 200
MAX_OFFSET = 10_000
FACET_VALUES = 1000
REMEMBERED_FACETS = 256


class SearchEngine:
    """Answers queries from the published build. Thread-safe.

    Every method raises IndexUnavailableError while no build is published, or one of another model. ``observe`` is told
    the timings of every search, in milliseconds.
    """

    def __init__(
        self,
        embedder: Embedder,
        live: LiveIndex,
        settings: Settings,
        observe: Callable[[dict[str, float]], None] = lambda timings: None,
    ) -> None:
        self._embedder = embedder
        self._live = live
        self._settings = settings
        self._observe = observe
        self._counted: dict[tuple[str, str, str], list[FacetValue]] = {}

    def search(
        self,
        query: Query,
        filters: Filters | None = None,
        limit: int = 24,
        offset: int = 0,
        facets: bool = True,
        watch: Stopwatch | None = None,
    ) -> SearchResult:
        """The products nearest to text, photo or both, with facet counts and timings of its stages in milliseconds.

        Text is searched by meaning and by words (app/fusion.py), a photo alone by meaning.

        Facet counts are those of all products that fulfil the filters, whatever their similarity; a key's own filter is
        lifted for its own counts, so that a shopper sees what else there is to choose. ``watch`` adds the stages that
        ran before. Raises BadInputError for an empty or too long query, a box outside of the photo, an unknown filter
        key, or ``limit`` and ``offset`` out of range.
        """
        watch = watch or Stopwatch()
        filters = filters or Filters()
        _check_page(limit, offset)
        query = self._clean(query)
        with self._live.index() as index:
            with watch.stage("embed"):
                vectors, boxes = self._embedder.embed_queries([query])
            with watch.stage("search"):
                if query.text:
                    hits = search_fused(index, vectors[0], query.text, filters, limit, offset)
                else:
                    hits = index.search(vectors[0], filters, limit, offset)
            counts: dict[str, list[FacetValue]] = {}
            if facets:
                with watch.stage("facets"):
                    counts = self._facets(index, filters)
            build = index.manifest.build
        timings = watch.timings()
        self._observe(timings)
        return SearchResult(hits=hits, facets=counts, box=boxes[0], timings=timings, build=build)

    def similar(self, product_id: str, limit: int = 12, filters: Filters | None = None) -> SearchResult:
        """Other products that are near to an indexed one: one SKU of each group, and none of the product's own group.

        Raises NotFoundError for an unknown product, BadInputError as ``search`` does.
        """
        watch = Stopwatch()
        filters = filters or Filters()
        _check_page(limit, 0)
        with self._live.index() as index, watch.stage("search"):
            product = index.get([product_id])[0]
            near = _near(index, product_id, filters, window=4 * limit)
            hits = list(islice(_one_per_group(near, seen={_group(product)}), limit))
            build = index.manifest.build
        return SearchResult(hits=hits, timings=watch.timings(), build=build)

    def product(self, product_id: str) -> Product:
        """The indexed product with this id. Raises NotFoundError for an unknown one."""
        with self._live.index() as index:
            return index.get([product_id])[0]

    def _facets(self, index: Index, filters: Filters) -> dict[str, list[FacetValue]]:
        keys = ["category", *index.manifest.attribute_keys]
        return {key: self._count(index, key, _lifted(filters, key)) for key in keys}

    def _count(self, index: Index, key: str, filters: Filters) -> list[FacetValue]:
        """Counts do not depend on the query, so those under the filters of late are remembered per build."""
        wanted = (index.manifest.build, key, filters.model_dump_json())
        found = self._counted.get(wanted)
        if found is None:
            found = index.facets(key, filters, FACET_VALUES)
            if len(self._counted) >= REMEMBERED_FACETS:
                self._counted.clear()
            self._counted[wanted] = found
        return found

    def _clean(self, query: Query) -> Query:
        text = clean_text(query.text, self._settings.max_text_chars)
        if not text and query.image is None:
            raise BadInputError("the query is empty; write what you are looking for, add a photo, or both")
        return replace(query, text=text, box=photo_box(query))


def clean_text(text: str, max_chars: int) -> str:
    """The text on one line, without control characters and lone surrogates. Raises BadInputError if it is too long."""
    if len(text) > max_chars:
        raise BadInputError(f"the text has {len(text)} characters, {max_chars} are allowed; shorten it")
    return " ".join("".join(" " if unicodedata.category(char) in ("Cc", "Cs") else char for char in text).split())


def photo_box(query: Query) -> Box | None:
    """The query's box cut to its photo. Raises BadInputError if less than one pixel of it lies inside the photo."""
    if query.box is None:
        return None
    if query.image is None:
        raise BadInputError("there is a box without a photo; add the photo or leave the box out")
    width, height = query.image.size
    x0, y0, x1, y1 = query.box
    box = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if not all(map(math.isfinite, query.box)) or box[2] - box[0] < 1 or box[3] - box[1] < 1:
        raise BadInputError(
            f"the box {list(query.box)} marks nothing of the photo; "
            f"give x0, y0, x1, y1 in pixels of the {width} x {height} photo"
        )
    return box


def _check_page(limit: int, offset: int) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise BadInputError(f"limit is {limit}; it must be from 1 to {MAX_LIMIT}")
    if not 0 <= offset <= MAX_OFFSET:
        raise BadInputError(f"offset is {offset}; it must be from 0 to {MAX_OFFSET}; narrow the search with filters")


def _lifted(filters: Filters, key: str) -> Filters:
    """The filters without those on ``key``."""
    if key == "category":
        return filters.model_copy(update={"category": []})
    kept = {name: values for name, values in filters.attributes.items() if name != key}
    return filters.model_copy(update={"attributes": kept})


def _near(index: Index, product_id: str, filters: Filters, window: int) -> Iterator[Hit]:
    """The other products from the nearest on, fetched ``window`` at a time, ten times at most."""
    vector = index.vectors([product_id])[0]
    for offset in range(0, 10 * window, window):
        hits = index.search(vector, filters, window, offset, exclude_ids=[product_id])
        yield from hits
        if len(hits) < window:
            return


def _one_per_group(hits: Iterable[Hit], seen: set[str]) -> Iterator[Hit]:
    for hit in hits:
        group = _group(hit.product)
        if group not in seen:
            seen.add(group)
            yield hit


def _group(product: Product) -> str:
    return product.group_id or product.id
