"""Products and their pictures, each by its address on this server."""

from __future__ import annotations

import logging
from typing import Annotated, Any
from urllib.parse import quote

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Response
from fastapi.responses import FileResponse, RedirectResponse
from PIL import Image
from starlette.types import Receive, Scope, Send

from app.api.errors import problems
from app.api.examples import PRODUCT, answers
from app.errors import NotFoundError
from app.facade import MoonSearch
from app.images import FORMATS
from app.schema import MAX_ID, Product, SearchResult

log = logging.getLogger(__name__)

V1 = "/api/v1"

PICTURES_IN_WORK = 16
"""Pictures that are looked up at the same time, in threads of their own; further ones wait (our decision)."""

ProductId = Annotated[str, Path(max_length=MAX_ID)]

_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture", "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
    307: {"description": "Where a picture elsewhere on the web lies"},
}


def product_routes(shop: MoonSearch) -> APIRouter:
    """The routes below ``/products``."""
    routes = APIRouter(prefix="/products", tags=["products"], responses=problems(404, 503))
    room = CapacityLimiter(PICTURES_IN_WORK)

    @routes.get("/{product_id:path}/images/{number:int}", response_class=Response, responses=_PICTURE)
    async def product_image(product_id: ProductId, number: int) -> Response:
        """A product's picture, counted from 0; pictures elsewhere on the web are redirected to."""
        return await run_sync(lambda: _picture(shop.product(product_id), number), limiter=room)

    @routes.get("/{product_id:path}", responses=answers(PRODUCT))
    def product(product_id: ProductId) -> Product:
        """An indexed product."""
        product = shop.product(product_id)
        product.images = _addresses(product)
        return product

    return routes


def addressed_json(found: SearchResult) -> Response:
    """The result, its pictures at their addresses on this server, written by the thread that found it.

    The products are this request's own and changed in place. FastAPI would check the result once more on another
    thread, and write it in the event loop while all other requests wait.
    """
    for hit in found.hits:
        hit.product.images = _addresses(hit.product)
    return Response(found.model_dump_json(), media_type="application/json")


def _addresses(product: Product) -> list[str]:
    """Of its pictures: this API's in the place of each path on the server."""
    folder = f"{V1}/products/{quote(product.id, safe='')}/images"
    return [at if _on_the_web(at) else f"{folder}/{number}" for number, at in enumerate(product.images)]


def _on_the_web(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def _picture(product: Product, number: int) -> Response:
    if number >= len(product.images):
        raise NotFoundError(f"product {product.id!r} has {len(product.images)} pictures, counted from 0")
    location = product.images[number]
    if _on_the_web(location):
        return RedirectResponse(location, status_code=307)
    headers = {"Cache-Control": "public, max-age=86400", "Accept-Ranges": "none"}
    return _WholeFile(location, media_type=_media_type(product, number), headers=headers)


class _WholeFile(FileResponse):
    """A file that is never sent in parts: no picture needs that, and a wrong range would not be told by a problem."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)


def _media_type(product: Product, number: int) -> str:
    """From the file's header, so that nothing but a picture is ever served."""
    try:
        with Image.open(product.images[number], formats=FORMATS) as image:
            return Image.MIME[str(image.format)]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        log.warning("picture %d of product %s cannot be served: %s", number, product.id, error)
        raise NotFoundError(
            f"picture {number} of product {product.id!r} is not on this server; rebuild the index where it is"
        ) from error
