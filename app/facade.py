"""Product search in three lines of Python."""

from __future__ import annotations

import os
from pathlib import Path

from PIL.Image import Image

from app.balance import EVEN
from app.images import decode_image, read_bytes
from app.ranking import BY_MATCH
from app.schema import Box, Filters, Prediction, Product, Query, SearchResult
from app.serving import Service
from app.settings import Settings
from app.timing import Stopwatch

Photo = bytes | str | os.PathLike[str]
"""The bytes of a picture file, or its path. Pass bytes for anything that a user sent: a path is opened as it is."""


class MoonSearch:
    """Searches the published index, with the settings of the environment unless others are given.

    >>> shop = MoonSearch()
    >>> hits = shop.search("red armchair").hits
    >>> hits = shop.search(photo="photo.jpg").hits
    >>> hits = shop.search("in blue", photo="photo.jpg", filters=Filters(category=["Furniture"])).hits
    >>> hits[0].product.category[0]
    'Furniture'

    Pass a :class:`~app.serving.Service` to share the model of a running application. Every method raises
    IndexUnavailableError while no index is published.
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
        query = Query(text, self._decode(photo, watch), box)
        return self._service.engine.search(
            query, filters, limit, offset, facets, watch, text_weight=text_weight, sort=sort, group=group
        )

    def similar(self, product_id: str, limit: int = 12, filters: Filters | None = None) -> SearchResult:
        """Products like an indexed one, without the variants of its own group. Raises NotFoundError."""
        return self._service.engine.similar(product_id, limit, filters)

    def product(self, product_id: str) -> Product:
        """An indexed product. Raises NotFoundError."""
        return self._service.engine.product(product_id)

    def predict(
        self, title: str = "", photo: Photo | None = None, *, box: Box | None = None, limit: int = 10
    ) -> Prediction:
        """Category and attributes of a product from its title, photo or both. Raises BadInputError."""
        watch = Stopwatch()
        return self._service.predictor.predict(self._decode(photo, watch), title, box, limit, watch)

    def close(self) -> None:
        """Release the model's worker and the index."""
        self._service.close()

    def _decode(self, photo: Photo | None, watch: Stopwatch) -> Image | None:
        if photo is None:
            return None
        settings = self._service.settings
        with watch.stage("decode"):
            if isinstance(photo, bytes):
                data, name = photo, "the photo"
            else:
                data, name = read_bytes(str(Path(photo)), max_bytes=settings.max_image_bytes), str(photo)
            return decode_image(
                data, name=name, max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels
            )
