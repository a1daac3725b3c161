"""The HTTP API. Heavy endpoints are plain functions, which run in threads and share the model's batches."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from PIL import Image
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from app.bodies import BodyLimit, PredictBody, SearchBody, described, reads
from app.errors import BadInputError, MoonError, NotFoundError, OverloadedError
from app.facade import MoonSearch
from app.guard import protect
from app.images import FORMATS
from app.observe import SECURITY_HEADERS, observe
from app.problems import DESCRIPTION, problem
from app.schema import Filters, Prediction, Product, SearchResult
from app.search import MAX_LIMIT, MAX_OFFSET
from app.serving import Health, Service

log = logging.getLogger(__name__)

TITLE = "MOON Search"
BODY_SLACK = 1_000_000
"""Bytes of a request besides the photo: text, filters, form boundaries."""

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET)]
Category = Annotated[list[str] | None, Query(description="Category path from the root, one parameter per level")]


def create_api(service: Service) -> FastAPI:
    """The API over a service; start and close the service yourself."""
    api = FastAPI(
        title=TITLE,
        description="Product search by text, photo or both.",
        redoc_url=None,
        responses=dict.fromkeys((422, "default"), DESCRIPTION),
    )
    shop = MoonSearch(service=service)
    max_bytes = service.settings.max_image_bytes * 4 // 3 + BODY_SLACK  # base64 needs four bytes for three
    api.add_middleware(BodyLimit, max_bytes=max_bytes)
    protect(api, service)
    observe(api, service)
    _add_error_handlers(api, str(service.settings.data))
    api.openapi = lambda: _openapi(api)  # type: ignore[method-assign]

    @api.post("/api/search", openapi_extra=described(SearchBody))
    def search(asked: Annotated[tuple[SearchBody, bytes | None], Depends(reads(SearchBody))]) -> SearchResult:
        """Products by text, photo or both, with facet counts and the time each stage took in milliseconds."""
        body, photo = asked
        found = shop.search(
            body.text,
            photo,
            box=body.box,
            filters=body.filters,
            limit=body.limit,
            offset=body.offset,
            facets=body.facets,
        )
        return _all_addressed(found)

    @api.get("/api/search")
    def search_text(
        text: str, category: Category = None, limit: Limit = 24, offset: Offset = 0, facets: bool = True
    ) -> SearchResult:
        """Products by text; POST takes photos and all filters."""
        filters = Filters(category=category or [])
        return _all_addressed(shop.search(text, filters=filters, limit=limit, offset=offset, facets=facets))

    @api.post("/api/predict", openapi_extra=described(PredictBody))
    def predict(asked: Annotated[tuple[PredictBody, bytes | None], Depends(reads(PredictBody))]) -> Prediction:
        """Category candidates per level and value candidates per attribute key for a photo, a title or both."""
        body, photo = asked
        return shop.predict(body.title, photo, box=body.box, limit=body.limit)

    @api.get("/api/similar/{product_id:path}")
    def similar(product_id: str, category: Category = None, limit: Limit = 12) -> SearchResult:
        """Products like an indexed one: one of each group, none of the product's own group."""
        return _all_addressed(shop.similar(product_id, limit, Filters(category=category or [])))

    @api.get("/api/products/{product_id:path}/images/{number:int}", response_class=Response)
    def product_image(product_id: str, number: int) -> Response:
        """A product's picture, counted from 0; pictures elsewhere on the web are redirected to."""
        return _picture(shop.product(product_id), number)

    @api.get("/api/products/{product_id:path}")
    def product(product_id: str) -> Product:
        """An indexed product."""
        return _addressed(shop.product(product_id))

    @api.get("/api/health", responses={503: {"model": Health}})
    def health(response: Response) -> Health:
        """200 when queries are answered, 503 with the reasons until then; any answer means that the process lives."""
        state = service.health()
        response.status_code = 200 if state.ready else 503
        return state.model_copy(update={"reasons": [_public(r, str(service.settings.data)) for r in state.reasons]})

    @api.api_route("/api/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    def unknown(request: Request, path: str) -> None:
        """Also what a page that is mounted at the root would answer in its own way."""
        raise HTTPException(404, f"there is no {request.method} /api/{path}; /docs lists what there is")

    return api


def _all_addressed(found: SearchResult) -> SearchResult:
    hits = [hit.model_copy(update={"product": _addressed(hit.product)}) for hit in found.hits]
    return found.model_copy(update={"hits": hits})


def _addressed(product: Product) -> Product:
    """The product with this API's address in the place of each path on the server."""
    folder = f"/api/products/{quote(product.id, safe='')}/images"
    images = [at if _on_the_web(at) else f"{folder}/{number}" for number, at in enumerate(product.images)]
    return product.model_copy(update={"images": images})


def _on_the_web(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def _picture(product: Product, number: int) -> Response:
    if number >= len(product.images):
        raise NotFoundError(f"product {product.id!r} has {len(product.images)} pictures, counted from 0")
    location = product.images[number]
    if _on_the_web(location):
        return RedirectResponse(location, status_code=307)
    headers = {"Cache-Control": "public, max-age=86400"}
    return FileResponse(location, media_type=_media_type(product, number), headers=headers)


def _media_type(product: Product, number: int) -> str:
    """From the file's header, so that nothing but a picture is ever served."""
    try:
        with Image.open(Path(product.images[number]), formats=FORMATS) as image:
            return Image.MIME[str(image.format)]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        log.warning("picture %d of product %s cannot be served: %s", number, product.id, error)
        raise NotFoundError(
            f"picture {number} of product {product.id!r} is not on this server; rebuild the index where it is"
        ) from error


def _add_error_handlers(api: FastAPI, data_folder: str) -> None:
    """Every error is a problem: what to do for ours, nothing of the server's inside for others."""

    @api.exception_handler(MoonError)
    def on_moon_error(_: Request, error: MoonError) -> JSONResponse:
        if isinstance(error, BadInputError | NotFoundError):
            return problem(400 if isinstance(error, BadInputError) else 404, str(error))
        log.warning("%s", error)
        wait = math.ceil(error.retry_after) if isinstance(error, OverloadedError) else 1
        return problem(503, _public(str(error), data_folder), {"Retry-After": str(max(1, wait))})

    @api.exception_handler(RequestValidationError)
    def on_unfit_fields(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = (f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        return problem(422, "; ".join(problem.removeprefix(": ") for problem in problems))

    @api.exception_handler(HTTPException)
    def on_http_error(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, error.detail, error.headers)

    @api.exception_handler(Exception)
    def on_defect(_: Request, error: Exception) -> JSONResponse:
        return problem(500, "the server failed at this request; its log says why", SECURITY_HEADERS)


def _public(message: str, data_folder: str) -> str:
    """The message without the server's own folder."""
    return message.replace(data_folder, "MOON_DATA")


def _openapi(api: FastAPI) -> dict[str, Any]:
    if api.openapi_schema is None:
        schema = get_openapi(title=api.title, version=api.version, description=api.description, routes=api.routes)
        bodies = [(SearchBody, "validation"), (PredictBody, "validation")]
        _, definitions = models_json_schema(bodies, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
        schema["components"]["schemas"].update(definitions["$defs"])
        api.openapi_schema = schema
    return api.openapi_schema
