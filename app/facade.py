"""Product search in three lines of Python."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from PIL.Image import Image

from app.balance import EVEN
from app.detection import products_in, reduced
from app.errors import BadInputError
from app.images import read_bytes
from app.predict import Unpredicted
from app.ranking import BY_MATCH
from app.schema import Box, Detection, Filters, Prediction, Product, Query, SearchResult
from app.serving import Service
from app.settings import Settings
from app.timing import Stopwatch

Photo = bytes | str | os.PathLike[str]
"""The bytes of a picture file, or its path. Pass bytes for anything that a user sent: a path is opened as it is."""

MAX_BATCH = 32
"""Products of one :meth:`MoonSearch.predict_many`: as many as the model embeds at once."""


class Unread(NamedTuple):
    """A product to predict from, its photo not yet decoded; ``box`` as in :class:`~app.schema.Query`."""

    title: str = ""
    photo: Photo | None = None
    box: Box | None = None


class MoonSearch:
    """Searches the published index, with the settings of the environment unless others are given.

    >>> shop = MoonSearch()
    >>> hits = shop.search("red armchair").hits
    >>> hits = shop.search(photo="photo.jpg").hits
    >>> hits = shop.search("in blue", photo="photo.jpg", filters=Filters(category=["Furniture"])).hits
    >>> hits[0].product.category[0]
    'Furniture'

    Pass a :class:`~app.serving.Service` to share the model of a running application. Every method but
    ``detect`` raises IndexUnavailableError while no index is published.
    """

    def __init__(self, settings: Settings | None = None, *, service: Service | None = None) -> None:
        self._service = service or Service.from_settings(settings or Settings())

    def search(
        self,
        text: str = "",
        photo: Photo | None = None,
        *,
        box: Box | None = None,
        filters: Filters | None = None,
        limit: int = 24,
        offset: int = 0,
        facets: bool = True,
        text_weight: float = EVEN,
        sort: str = BY_MATCH,
        group: bool = False,
    ) -> SearchResult:
        """Products by text, photo or both; ``box`` marks the product in the photo, in pixels of the upright picture.

        ``text_weight`` goes from 0 (the photo alone) to 1 (the text alone), ``sort`` is ``match``, ``price``,
        ``-price`` or another number, ``group`` shows one SKU of each group. Raises BadInputError for a query, photo,
        box, filter, weight or sort key that cannot be used.
        """
        watch = Stopwatch()
        with self._decoded(photo, watch) as image:
            query = Query(text, image, box)
            return self._service.engine.search(
                query, filters, limit, offset, facets, watch, text_weight=text_weight, sort=sort, group=group
            )

    def similar(self, product_id: str, limit: int = 12, filters: Filters | None = None) -> SearchResult:
        """Products like an indexed one, without the variants of its own group. Raises NotFoundError."""
        return self._service.engine.similar(product_id, limit, filters)

    def recommend(
        self, liked: Sequence[str], disliked: Sequence[str] = (), *, filters: Filters | None = None, limit: int = 12
    ) -> SearchResult:
        """Products near to the liked ones and away from the disliked, none of their groups. Raises NotFoundError."""
        return self._service.engine.recommend(liked, disliked, filters, limit)

    def product(self, product_id: str) -> Product:
        """An indexed product. Raises NotFoundError."""
        return self._service.engine.product(product_id)

    def detect(self, photo: Photo) -> Detection:
        """The products in a photo, any of whose boxes can be searched with; needs no index. Raises BadInputError."""
        watch = Stopwatch()
        with self._opened(photo, watch) as image:
            size, small = image.size, reduced(image)
        with watch.stage("detect"):
            x, y = size[0] / small.width, size[1] / small.height
            boxes = [(x0 * x, y0 * y, x1 * x, y1 * y) for x0, y0, x1, y1 in products_in(self._service.embedder, small)]
        return Detection(boxes=boxes, timings=watch.timings())

    def predict(
        self, title: str = "", photo: Photo | None = None, *, box: Box | None = None, limit: int = 10
    ) -> Prediction:
        """Category and attributes of a product from its title, photo or both. Raises BadInputError."""
        watch = Stopwatch()
        with self._decoded(photo, watch) as image:
            return self._service.predictor.predict(image, title, box, limit, watch)

    def predict_many(
        self, products: Sequence[Unread | BadInputError], *, limit: int = 10
    ) -> list[Prediction | BadInputError]:
        """One prediction for each product, in their order; in the place of an unusable one, or of an error, an error.

        Products are embedded together as long as their photos have together no more pixels than one may have. Raises
        BadInputError for none or more than MAX_BATCH products.
        """
        if not 1 <= len(products) <= MAX_BATCH:
            raise BadInputError(f"{len(products)} products are given; give from 1 to {MAX_BATCH} at once")
        outcomes: list[Prediction | BadInputError] = []
        for pixels, batch in self._batches(products):
            with self._service.photos.room(pixels):
                outcomes += self._service.predictor.predict_many([self._unpredicted(one) for one in batch], limit)
        return outcomes

    def _batches(
        self, products: Sequence[Unread | BadInputError]
    ) -> Iterator[tuple[int, list[Unread | BadInputError]]]:
        """The products in batches that fit into memory, each with the pixels of its photos."""
        batch: list[Unread | BadInputError] = []
        together = 0
        for product in products:
            pixels = self._pixels(product)
            if batch and together + pixels > self._service.settings.max_image_pixels:
                yield together, batch
                batch, together = [], 0
            batch.append(product)
            together += pixels
        yield together, batch

    def _pixels(self, product: Unread | BadInputError) -> int:
        """Of its photo; none where that cannot be used, which decoding it will say."""
        if isinstance(product, BadInputError) or product.photo is None:
            return 0
        try:
            return self._service.photos.pixels(*self._read(product.photo))
        except BadInputError:
            return 0

    def _unpredicted(self, product: Unread | BadInputError) -> Unpredicted | BadInputError:
        if isinstance(product, BadInputError):
            return product
        try:
            image = None if product.photo is None else self._service.photos.decode(*self._read(product.photo))
        except BadInputError as error:
            return error
        return Unpredicted(product.title, image, product.box)

    def close(self) -> None:
        """Release the model's worker and the index."""
        self._service.close()

    def _decoded(self, photo: Photo | None, watch: Stopwatch) -> AbstractContextManager[Image | None]:
        """The photo, as long as the block needs it, or none."""
        return nullcontext() if photo is None else self._opened(photo, watch)

    @contextmanager
    def _opened(self, photo: Photo, watch: Stopwatch) -> Iterator[Image]:
        with ExitStack() as held:
            with watch.stage("decode"):
                image = held.enter_context(self._service.photos.opened(*self._read(photo)))
            yield image

    def _read(self, photo: Photo) -> tuple[bytes, str]:
        """A photo's bytes, and what errors call it."""
        if isinstance(photo, bytes):
            return photo, "the photo"
        return read_bytes(str(Path(photo)), max_bytes=self._service.settings.max_image_bytes), str(photo)
