"""Search: a query or a product in, the nearest products of the published index out."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from app.balance import EVEN, mean_direction, parts_of, weight_of_words, wished
from app.calibration import UNCALIBRATED, Calibration, evidence
from app.encoder import Embedder
from app.errors import BadInputError
from app.fusion import fused_matches
from app.ranking import BY_MATCH, Matches, best, group_of, one_per_group, order_of, page
from app.schema import Box, FacetValue, Filters, Hit, Product, Query, SearchResult
from app.settings import Settings
from app.store.base import Index
from app.store.live import LiveIndex
from app.store.points import point_id
from app.timing import Stopwatch

MAX_LIMIT = 200
MAX_OFFSET = 10_000
MAX_GIVEN = 100
DISLIKE = 0.5
"""What the mean of the disliked products counts beside the mean of the liked ones."""
FACET_VALUES = 1000
REMEMBERED_FACETS = 256
VARIANTS = 200
"""So many of the nearest products of a category are looked through for other colours."""
COLOURS = ("color", "colour")


class SearchEngine:
    """Answers queries from the published build. Thread-safe.

    Every method raises IndexUnavailableError while no build is published, or one of another model. ``observe`` is told
    the timings of every search and recommendation, in milliseconds.
    """

    def __init__(
        self,
        embedder: Embedder,
        live: LiveIndex,
        settings: Settings,
        calibration: Calibration = UNCALIBRATED,
        observe: Callable[[dict[str, float]], None] = lambda timings: None,
    ) -> None:
        self._embedder = embedder
        self._live = live
        self._settings = settings
        self._calibration = calibration
        self._observe = observe
        self._counted: dict[tuple[str, str, bytes], list[FacetValue]] = {}

    def search(
        self,
        query: Query,
        filters: Filters | None = None,
        limit: int = 24,
        offset: int = 0,
        facets: bool = True,
        watch: Stopwatch | None = None,
        *,
        text_weight: float = EVEN,
        sort: str = BY_MATCH,
        group: bool = False,
        like: str = "",
    ) -> SearchResult:
        """The products nearest to text, photo or both, with facet counts and timings of its stages in milliseconds.

        Text is searched by meaning and by words (app/fusion.py), a photo alone by meaning. ``text_weight`` goes from 0
        (the photo alone) to 1 (the text alone) for a query of both. ``sort`` is ``match`` or a number key, with ``-``
        before it for the highest first; it sorts the best matches only. ``group`` shows one SKU of each group, and
        ``offset`` then counts groups (app/ranking.py).

        ``like`` is an indexed product that the photo shows or, without a photo, whose stored vector stands in the
        photo's place, joined with that of the words (our decision, app/balance.py). With words it is a wish for
        another product than this one, which is left out then. A search from a stored vector has no match levels, as
        none were learned for it.

        Facet counts are those of all products that fulfil the filters, whatever their similarity; a key's own filter is
        lifted for its own counts, so that a shopper sees what else there is to choose. ``watch`` adds the stages that
        ran before. Raises BadInputError for an empty or too long query, a box outside of the photo, an unknown filter
        or sort key, a weight that does not fit the query, or ``limit`` and ``offset`` out of range;
        NotFoundError for an unknown ``like`` without a photo.
        """
        watch = watch or Stopwatch()
        filters = filters or Filters()
        _check_page(limit, offset)
        query = self._clean(query, like)
        with self._live.index() as index:
            order = order_of(sort, index.manifest.number_keys)
            with watch.stage("embed"):
                vector, box = self._embed(index, query, text_weight, like)
            with watch.stage("search"):
                words = weight_of_words(text_weight) if query.image is not None or like else 1.0
                without = [like] if like and query.text else []
                matches = _matches(index, vector, query.text, words, filters, without)
                hits = page(matches, limit, offset, order, group)
            counts: dict[str, list[FacetValue]] = {}
            if facets:
                with watch.stage("facets"):
                    counts = self._facets(index, filters)
            build = index.manifest.build
        found = SearchResult(hits=hits, facets=counts, box=box, timings=watch.timings(), build=build)
        self._observe(found.timings)
        if text_weight == EVEN and (query.image is not None or not like):
            self._calibration.judge(found, evidence(query.text, query.image))
        return found

    def similar(self, product_id: str, limit: int = 12, filters: Filters | None = None) -> SearchResult:
        """Other products that are near to an indexed one: one SKU of each group, and none of the product's own group.

        Raises NotFoundError for an unknown product, BadInputError as ``search`` does.
        """
        return self.recommend([product_id], filters=filters, limit=limit)

    def recommend(
        self,
        liked: Sequence[str],
        disliked: Sequence[str] = (),
        filters: Filters | None = None,
        limit: int = 12,
    ) -> SearchResult:
        """Products near to those ``liked`` and away from those ``disliked``, one SKU of each group.

        They are nearest to the mean of the liked vectors less DISLIKE times the mean of the disliked ones (our
        decision). None of the given products nor of their groups is among them. Raises NotFoundError naming the unknown
        products, BadInputError without a liked one, for more than MAX_GIVEN, or as ``search`` does.
        """
        watch = Stopwatch()
        _check_page(limit, 0)
        _check_given(liked, disliked)
        given = [*liked, *disliked]
        shares = [1 / len(liked)] * len(liked) + [-DISLIKE / len(disliked) for _ in disliked]
        with self._live.index() as index, watch.stage("search"):
            groups = [group_of(product) for product in index.get(given)]
            vector = mean_direction(index.vectors(given), shares)
            near = best(_near(index, vector, filters or Filters(), without=given))
            hits = list(islice(one_per_group(near, seen=groups), limit))
            build = index.manifest.build
        found = SearchResult(hits=hits, timings=watch.timings(), build=build)
        self._observe(found.timings)
        return found

    def variants(self, product_id: str, limit: int = 12) -> list[Hit]:
        """The same kind in other colours: the nearest of its own group first, then of its category in other colours.

        A product without a category has no kind. Raises NotFoundError for an unknown product, BadInputError for a
        ``limit`` out of range.
        """
        _check_page(limit, 0)
        with self._live.index() as index:
            product = index.get([product_id])[0]
            if not product.category:
                return []
            same_kind = Filters.within(product.category)
            vector = index.vectors([product_id])[0]
            near = _near(index, vector, same_kind, without=[product_id])(VARIANTS, 0)
        own = [hit for hit in near if group_of(hit.product) == group_of(product)]
        others = [hit for hit in near if hit not in own and _other_colour(hit.product, product)]
        return [*own, *one_per_group(others, seen=[group_of(product)])][:limit]

    def product(self, product_id: str) -> Product:
        """The indexed product with this id. Raises NotFoundError for an unknown one."""
        with self._live.index() as index:
            return index.get([product_id])[0]

    def vector(self, query: Query, text_weight: float = EVEN, like: str = "") -> NDArray[np.float32]:
        """What ``search`` looks for with these, shape (dimensions,). Raises as it does."""
        with self._live.index() as index:
            return self._embed(index, self._clean(query, like), text_weight, like)[0]

    def _embed(
        self, index: Index, query: Query, text_weight: float, like: str
    ) -> tuple[NDArray[np.float32], Box | None]:
        """The vector of a query, all of it embedded in one call, and the box on its photo."""
        if like and query.image is None:
            product = index.vectors([like])[0]
            if not query.text:
                return product, None
            return wished(product, self._embedder.embed_queries([query])[0][0], text_weight), None
        parts = parts_of(query, text_weight)
        vectors, boxes = self._embedder.embed_queries([part for part, _ in parts])
        vector = vectors[0] if len(parts) == 1 else mean_direction(vectors, [share for _, share in parts])
        return vector, boxes[0]

    def _facets(self, index: Index, filters: Filters) -> dict[str, list[FacetValue]]:
        keys = ["category", *index.manifest.attribute_keys]
        return {key: self._count(index, key, _lifted(filters, key)) for key in keys}

    def _count(self, index: Index, key: str, filters: Filters) -> list[FacetValue]:
        """Counts do not depend on the query, so those under the filters of late are remembered per build."""
        wanted = (index.manifest.build, key, hashlib.blake2b(filters.model_dump_json().encode()).digest())
        found = self._counted.get(wanted)
        if found is None:
            found = index.facets(key, filters, FACET_VALUES)
            if len(self._counted) >= REMEMBERED_FACETS:
                self._counted.clear()
            self._counted[wanted] = found
        return found

    def _clean(self, query: Query, like: str = "") -> Query:
        text = clean_text(query.text, self._settings.max_text_chars)
        if not text and query.image is None and not like:
            raise BadInputError("the query is empty; write what you are looking for, add a photo, or both")
        return replace(query, text=text, box=photo_box(query))


def clean_text(text: str, max_chars: int) -> str:
    """The text on one line, without control characters and lone surrogates. Raises BadInputError if it is too long."""
    if len(text) > max_chars:
        raise BadInputError(
            "the text has {count} characters, {most} are allowed; shorten it", count=len(text), most=max_chars
        )
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
            "the box {box} marks nothing of the photo; give x0, y0, x1, y1 in pixels of the {width} x {height} photo",
            box=list(query.box),
            width=width,
            height=height,
        )
    return box


def _check_page(limit: int, offset: int) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise BadInputError("limit is {limit}; it must be from 1 to {most}", limit=limit, most=MAX_LIMIT)
    if not 0 <= offset <= MAX_OFFSET:
        raise BadInputError(
            "offset is {offset}; it must be from 0 to {most}; narrow the search with filters",
            offset=offset,
            most=MAX_OFFSET,
        )


def _check_given(liked: Sequence[str], disliked: Sequence[str]) -> None:
    if not liked:
        raise BadInputError("no liked product is given; name at least one, disliked products alone point nowhere")
    if len(liked) + len(disliked) > MAX_GIVEN:
        raise BadInputError(f"{len(liked) + len(disliked)} products are given, {MAX_GIVEN} are allowed; name fewer")
    if both := set(liked) & set(disliked):
        raise BadInputError(f"product {min(both)!r} is both liked and disliked; decide for one")


def _lifted(filters: Filters, key: str) -> Filters:
    """The filters without those on ``key``."""
    if key == "category":
        return filters.model_copy(update={"category": []})
    kept = {name: values for name, values in filters.attributes.items() if name != key}
    return filters.model_copy(update={"attributes": kept})


def _matches(
    index: Index, vector: NDArray[np.float32], text: str, words: float, filters: Filters, without: Sequence[str]
) -> Matches:
    """Products by meaning and words, or by meaning alone where no words count."""
    if not text or not words:
        return _near(index, vector, filters, without)
    return fused_matches(index, vector, text, filters, words, exclude_points=[point_id(one) for one in without])


def _near(index: Index, vector: NDArray[np.float32], filters: Filters, without: Sequence[str] = ()) -> Matches:
    points = [point_id(product_id) for product_id in without]
    return lambda limit, offset: index.search(vector, filters, limit, offset, exclude_points=points)


def _other_colour(one: Product, other: Product) -> bool:
    colours = [{value for key in COLOURS for value in product.attributes.get(key, [])} for product in (one, other)]
    return all(colours) and colours[0].isdisjoint(colours[1])
