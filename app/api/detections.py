"""The products in a photo."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from app.api.errors import problems
from app.api.examples import DETECTION, answers
from app.bodies import DetectBody
from app.errors import BadInputError
from app.facade import MoonSearch
from app.reading import described, reads
from app.schema import Detection


def detection_routes(shop: MoonSearch) -> APIRouter:
    """The route ``/detect``."""
    routes = APIRouter(tags=["prediction"], responses=problems(400, 413, 503))

    @routes.post(
        "/detect",
        openapi_extra=described(DetectBody, {"image": "iVBORw0KGgo..."}),
        responses=answers(DETECTION) | problems(415),
    )
    def detect(asked: Annotated[tuple[DetectBody, bytes | None], Depends(reads(DetectBody))]) -> Detection:
        """Boxes of the products in a photo, the core product's first; each can be the ``box`` of a search."""
        _, photo = asked
        if photo is None:
            raise BadInputError("there is no photo to look for products in; send one")
        return shop.detect(photo)

    return routes
