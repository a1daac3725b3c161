"""The HTTP API. Heavy endpoints are plain functions, which run in threads and share the model's batches."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app.api.detections import detection_routes
from app.api.errors import add_error_handlers, problems
from app.api.health import health_routes
from app.api.openapi import TAGS, describe
from app.api.predictions import prediction_routes
from app.api.products import V1, product_routes
from app.api.searches import search_routes
from app.facade import MoonSearch
from app.guard import protect
from app.observe import observe
from app.reading import BodyLimit
from app.serving import Service

TITLE = "MOON Search"
BODY_SLACK = 1_000_000
"""Bytes of a request besides the photo: text, filters, form boundaries."""


def create_api(service: Service) -> FastAPI:
    """The API over a service; start and close the service yourself."""
    api = FastAPI(
        title=TITLE,
        description="Product search by text, photo or both.",
        version=version("moon-search"),
        redoc_url=None,
        openapi_tags=TAGS,
        generate_unique_id_function=_operation_id,
    )
    max_bytes = service.settings.max_image_bytes * 4 // 3 + BODY_SLACK  # base64 needs four bytes for three
    api.add_middleware(BodyLimit, max_bytes=max_bytes)
    protect(api, service)
    observe(api, service)
    add_error_handlers(api, service.settings)
    shop = MoonSearch(service=service)
    v1 = APIRouter(prefix=V1, responses=problems(401, 408, 422, 429, 500, 503))
    for routes in (search_routes, product_routes, prediction_routes, detection_routes):
        v1.include_router(routes(shop))
    v1.include_router(health_routes(service))
    api.include_router(v1)
    describe(api)

    @api.api_route("/api/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    def unknown(request: Request, path: str) -> None:
        """Also what a page that is mounted at the root would answer in its own way."""
        raise HTTPException(404, f"there is no {request.method} /api/{path}; /docs lists what there is")

    return api


def _operation_id(route: APIRoute) -> str:
    """The function's name, so that generated clients have methods that people can read."""
    return route.name
