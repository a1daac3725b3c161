"""What the page answers to the shopper: searches, products and predictions as HTML, errors as notices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL.Image import Image

from app.errors import IndexUnavailableError, MoonError
from app.schema import CATEGORY_SEPARATOR, Filters, Query, SearchResult

if TYPE_CHECKING:
    from app.serving import Service
from app.timing import Stopwatch
from ui import detail, examples, filters, prediction
from ui.cards import grid
from ui.markup import event, notice, text
from ui.photo import open_photo, preview

PAGE_SIZE = 24
MAX_SHOWN = 192
SIMILAR = 12
CATEGORIES = 1000
NOTHING_FULFILS = "Nothing in this catalog fulfils the filters. Take one away, or clear all of them."


@dataclass(frozen=True)
class Browsing:
    """Where a shopper stands besides the query: the chosen filters and how many results are shown."""

    filters: Filters = field(default_factory=Filters)
    shown: int = PAGE_SIZE


class Shop:
    """The page's side of the service. No method raises a MoonError: each becomes a notice that says what to do."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def header(self) -> str:
        """Name, tagline, and what is being searched."""
        try:
            with self._service.live.index() as index:
                facts = f"{index.manifest.products:,} products · {index.manifest.model}"
        except MoonError:
            facts = ""
        return (
            '<header class="masthead"><h1>MOON <span>Search</span></h1>'
            "<p>Find products by words, by a photo, or by both.</p>"
            f'<p class="masthead-facts">{text(facts)}</p></header>'
        )

    def landing(self) -> str:
        """What is shown as long as nothing is searched: examples and the catalog's categories."""
        try:
            with self._service.live.index() as index:
                tiles = [
                    value
                    for value in index.facets("category", Filters(), CATEGORIES)
                    if CATEGORY_SEPARATOR not in value.value
                ]
                ready = examples.examples_for(index.manifest.catalog)
        except MoonError as error:
            return _failed(error)
        items = "".join(
            f'<li><button type="button" class="tile" {event("browse", category=tile.value)}>{text(tile.value)}'
            f'<span class="count">{tile.count:,}</span></button></li>'
            for tile in tiles
        )
        browse = f'<section><h2 class="section">Browse the catalog</h2><ul class="tiles">{items}</ul></section>'
        return f'<div class="landing">{examples.buttons(ready)}{browse if items else ""}</div>'

    def search(self, words: str, photo: str | None, browsing: Browsing) -> tuple[str, str]:
        """The filter panel and the results for what stands in the boxes, nothing for empty boxes.

        ``photo`` is the path of an uploaded file.
        """
        if not words.strip() and photo is None:
            return "", ""
        watch = Stopwatch()
        try:
            query = Query(text=words, image=self._open(photo, watch))
            found = self._service.engine.search(query, browsing.filters, limit=browsing.shown + 1, watch=watch)
        except MoonError as error:
            return "", f'<div class="results">{_failed(error)}</div>'
        return filters.panel(found.facets, browsing.filters), _results(query, found, browsing)

    def product(self, product_id: str) -> str:
        """The product page with similar products."""
        try:
            product = self._service.engine.product(product_id)
            similar = self._service.engine.similar(product_id, limit=SIMILAR)
        except MoonError as error:
            return detail.missing(_failed(error))
        return detail.detail(product, similar.hits)

    def predict(self, title: str, photo: str | None) -> str:
        """What the model understands of a product from its photo, its title, or both."""
        watch = Stopwatch()
        try:
            predicted = self._service.predictor.predict(image=self._open(photo, watch), title=title, watch=watch)
        except MoonError as error:
            return _failed(error)
        return f"{prediction.bars(predicted)}{_timings(predicted.timings)}"

    def _open(self, photo: str | None, watch: Stopwatch) -> Image | None:
        if photo is None:
            return None
        with watch.stage("decode"):
            return open_photo(photo, self._service.settings)


def _failed(error: MoonError) -> str:
    message = str(error)[:1].upper() + str(error)[1:]
    if isinstance(error, IndexUnavailableError):
        return notice("There is nothing to search yet", message)
    return notice("That did not work", message, kind="error")


def _results(query: Query, found: SearchResult, browsing: Browsing) -> str:
    hits = found.hits[: browsing.shown]
    seen = hint = more = ""
    if query.image is not None and found.box is not None:
        seen = preview(query.image, found.box)
        hint = '<p class="hint">The frame marks the product that was found in your photo.</p>'
    title = f'<h2 class="section">{_heading(query, len(hits))}</h2>'
    head = (
        f'<div class="results-head" role="status">{seen}<div>{title}{hint}{filters.chips(browsing.filters)}</div></div>'
    )
    body = grid(hits) if hits else notice("No results", NOTHING_FULFILS)
    if len(found.hits) > browsing.shown and browsing.shown < MAX_SHOWN:
        more = f'<div class="more"><button type="button" class="button" {event("more")}>More results</button></div>'
    return f'<div class="results">{head}{body}{more}{_timings(found.timings)}</div>'


def _heading(query: Query, count: int) -> str:
    asked = [f"<q>{text(' '.join(query.text.split()))}</q>"] if query.text.strip() else []
    asked += ["your photo"] if query.image is not None else []
    found = {0: "No match", 1: "One match"}.get(count, f"Best {count} matches")
    return f"{found} for {' and '.join(asked)}"


def _timings(timings: dict[str, float]) -> str:
    stages = " · ".join(f"{text(stage)} {_milliseconds(value)}" for stage, value in timings.items())
    return f'<p class="timings">{stages}</p>' if stages else ""


def _milliseconds(value: float) -> str:
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"
