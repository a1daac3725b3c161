"""What the page answers to the shopper: searches, products and predictions as HTML, errors as notices."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from PIL.Image import Image

from app.balance import EVEN
from app.detection import products_in, reduced
from app.errors import BadInputError, MoonError
from app.moon.heatmap import heatmaps
from app.ranking import BY_MATCH
from app.schema import CATEGORY_SEPARATOR, Filters, Query, SearchResult

if TYPE_CHECKING:
    from app.serving import Service
from app.timing import Stopwatch
from ui import detail, examples, filters
from ui.address import MAX_SHOWN, OWN_PHOTO, PAGE_SIZE, Address
from ui.answers import failed, timings
from ui.cards import graded
from ui.language import ENGLISH, LANGUAGES, Language
from ui.markup import go, notice, text
from ui.photo import catalog_picture, framed, in_pixels, liked, outlines, photo_key, timed_photo
from ui.seen import warm_parts

log = logging.getLogger(__name__)

PATIENCE_S = 2.0
"""How long a photo waits to be looked through while others are."""
SIMILAR = 12
CATEGORIES = 1000
SORTS = {BY_MATCH: "match", "price": "price, lowest first", "-price": "price, highest first"}
WHY = "Coloured parts bring the picture nearer to your search"
ALONE = "The picture by itself, whatever is searched for"
NOTHING_FULFILS = "Nothing in this catalog fulfils the filters. Take one away, or clear all of them."


EMPTY = Address()


class Answer(NamedTuple):
    """A search as HTML: the photo with its frame, the filters, and the results; empty where there is nothing."""

    photo: str = ""
    panel: str = ""
    results: str = ""


class Shop:
    """The page's side of the service. No method raises a MoonError: it becomes a notice; ``outlines`` logs it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._data = service.settings.data
        self._looking = threading.Lock()

    def header(self, say: Language = ENGLISH) -> str:
        """Name, tagline, what is being searched, and the page's other languages."""
        try:
            with self._service.live.index() as index:
                products = say("{count} products", count=f"{index.manifest.products:,}")
                facts = f"{products} · {index.manifest.model}"
        except MoonError:
            facts = ""
        return (
            '<header class="masthead"><h1>MOON <span>Search</span></h1>'
            f"<p>{say('Find products by words, by a photo, or by both.')}</p>"
            f'<p class="masthead-facts">{text(facts)}</p>{_languages(say)}</header>'
        )

    def landing(self, address: Address = EMPTY) -> str:
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
            return failed(error, self._data, address.say)
        items = "".join(
            f'<li><button type="button" class="tile" {go(_category(tile.value, address))}>{text(tile.value)}'
            f'<span class="count">{tile.count:,}</span></button></li>'
            for tile in tiles
        )
        heading = address.say("Browse the catalog")
        browse = f'<section><h2 class="section">{heading}</h2><ul class="tiles">{items}</ul></section>'
        return f'<div class="landing">{examples.buttons(ready, address)}{browse if items else ""}</div>'

    def search(self, address: Address, upload: str | None) -> Answer:
        """The answer to what the address asks for, empty for nothing. ``upload`` is the path of the shopper's photo."""
        if not address.words.strip() and not address.has_photo:
            return Answer()
        watch = Stopwatch()
        photo = ""
        try:
            with self._query(address, upload, watch) as query:
                image = query.image
                if image is not None:
                    photo = framed(image, query.box, address)
                elif address.like:
                    photo = liked(self._service.engine.product(address.like), address)
                found = self._service.engine.search(
                    query,
                    address.filters,
                    limit=address.shown + 1,
                    watch=watch,
                    text_weight=_weight(address),
                    sort=address.sort,
                    like=address.like,
                )
                if image is not None:
                    photo = framed(image, query.box or found.box, address)  # the shopper's own, not the padded one
            priced = self._has_prices()
        except MoonError as error:
            return Answer(photo, "", f'<div class="results">{failed(error, self._data, address.say)}</div>')
        return Answer(photo, filters.panel(found.facets, address, priced), _results(found, address, priced))

    def outlines(self, address: Address, upload: str | None) -> str:
        """What frame.js lays on the photo of the address: each product in it. ``upload`` as for ``search``.

        Empty, so that the photo stays as it is, without a photo, for one that cannot be used, and if the server is
        busy: shoppers' photos are looked through one at a time.
        """
        try:
            with self._query(address, upload, Stopwatch()) as query:
                if query.image is None:
                    return ""
                photo, small = photo_key(query.image), reduced(query.image)
            if not self._looking.acquire(timeout=PATIENCE_S):
                return ""
            try:
                return outlines(photo, small, products_in(self._service.embedder, small), address.say)
            finally:
                self._looking.release()
        except MoonError as error:
            log.info("a photo was not looked through for other products: %s", error)
            return ""

    def product(self, address: Address, matched: str = "") -> str:
        """The page of the product that the address opens, with products that look like it, and its other colours.

        ``matched`` is what :meth:`matched` says, once the shopper has asked for it.
        """
        try:
            product = self._service.engine.product(address.product)
            similar = self._service.engine.similar(product.id, limit=SIMILAR).hits
            variants = self._service.engine.variants(product.id, limit=SIMILAR)
        except MoonError as error:
            return detail.missing(failed(error, self._data, address.say), address)
        explains = bool(product.images) and self._service.pictures.here(product.images[0]) is not None
        return detail.detail(product, similar, variants, address, matched, explains)

    def matched(self, address: Address, upload: str | None) -> str:
        """Where the picture of the opened product answers the search of the address; ``upload`` as for ``search``."""
        watch, say = Stopwatch(), address.say
        try:
            with self._query(address, upload, watch) as query:  # one photo after the other, as Photos demands
                target = self._service.engine.vector(query, _weight(address), address.like)
            with self._picture(address.product, watch) as picture:
                if picture is None:
                    raise BadInputError("this server has no picture of the product to look at")
                with watch.stage("look"):
                    heats = heatmaps(self._service.embedder, picture, [target, None])
                captions = (say(WHY), say(ALONE))
                seen = "".join(
                    warm_parts(picture, heat, caption, say) for heat, caption in zip(heats, captions, strict=True)
                )
        except MoonError as error:
            return failed(error, self._data, say)
        return f'<div class="sights" role="status">{seen}</div>{timings(watch.timings(), say)}'

    @contextmanager
    def _query(self, address: Address, upload: str | None, watch: Stopwatch) -> Iterator[Query]:
        """What the address searches for, as long as the block needs it; without a photo for a product with none here.

        Raises BadInputError if the shopper's photo is not here or cannot be read, NotFoundError for an unknown product.
        """
        opened = (
            self._picture(address.like, watch)
            if address.like
            else timed_photo(self._photo(address, upload), self._service, watch)
        )
        with opened as image:
            yield Query(address.words, image, None if image is None else in_pixels(address.box, image))

    def _photo(self, address: Address, upload: str | None) -> str | None:
        """Where the photo of the search lies. Raises BadInputError if it is not here."""
        if address.photo == OWN_PHOTO:
            if upload is None:
                raise BadInputError("this search was made with a photo, which its address cannot hold; add it again")
            return upload
        return str(examples.photo_of(address.photo)) if address.photo else None

    def _picture(self, product_id: str, watch: Stopwatch) -> AbstractContextManager[Image | None]:
        """A product's main picture as long as the block needs it, None if it is not here. Raises NotFoundError."""
        pictures = self._service.engine.product(product_id).images
        return catalog_picture(pictures[0], self._service, watch) if pictures else nullcontext()

    def _has_prices(self) -> bool:
        with self._service.live.index() as index:
            return "price" in index.manifest.number_keys


def _weight(address: Address) -> float:
    """What the words of the address count beside its photo; even where there is only one of them."""
    return address.text_weight if address.has_photo and address.words.strip() else EVEN


def _category(path: str, address: Address) -> Address:
    """The search for all that a category holds, its own name as the words."""
    levels = path.split(CATEGORY_SEPARATOR)
    return address.another(levels[-1], filters=Filters.within(levels))


def _results(found: SearchResult, address: Address, priced: bool) -> str:
    hits, say = found.hits[: address.shown], address.say
    more = ""
    count = 0 if found.matched is False else len(hits)
    title = f'<div role="status"><h2 class="section">{_heading(address, count)}</h2></div>'
    head = f'<div class="results-head">{title}{_sorting(address) if priced else ""}</div>{filters.chips(address)}'
    body = graded(hits, found.matched, address) if hits else notice(say("No results"), say(NOTHING_FULFILS))
    if len(found.hits) > address.shown and address.shown < MAX_SHOWN:
        longer = replace(address, shown=min(address.shown + PAGE_SIZE, MAX_SHOWN))
        label = say("More results")
        more = f'<div class="more"><button type="button" class="button" {go(longer)} data-stay>{label}</button></div>'
    return f'<div class="results">{head}{body}{more}{timings(found.timings, say)}</div>'


def _heading(address: Address, count: int) -> str:
    say = address.say
    asked = [f"<q>{text(' '.join(address.words.split()))}</q>"] if address.words.strip() else []
    asked += [say("this product") if address.like else say("your photo")] if address.has_photo else []
    both = say("{words} and {photo}", words=asked[0], photo=asked[1]) if len(asked) > 1 else asked[0]
    found = {0: "No match for {asked}", 1: "One match for {asked}"}.get(count, "Best {count} matches for {asked}")
    return say(found, count=count, asked=both)


def _languages(say: Language) -> str:
    """A link for each other language; search.js lets it keep the search."""
    others = "".join(
        f'<a href="?lang={other.code}" data-lang="{other.code}" lang="{other.locale}">{other.name}</a>'
        for other in LANGUAGES.values()
        if other != say
    )
    return f'<nav class="languages" aria-label="{say("Language")}">{others}</nav>'


def _sorting(address: Address) -> str:
    options = "".join(
        f'<option value="{key}"{" selected" if key == address.sort else ""}>{address.say(label)}</option>'
        for key, label in SORTS.items()
    )
    return f'<label class="sorting">{address.say("Sort by")} <select name="sort">{options}</select></label>'
