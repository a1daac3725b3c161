"""Request bodies: JSON with the photo as base64, or a form with the photo as a file; never more bytes than allowed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Self, TypeVar

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.datastructures import UploadFile
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BadInputError
from app.facade import MAX_BATCH
from app.ranking import BY_MATCH
from app.schema import Box, Filters
from app.search import MAX_GIVEN, MAX_LIMIT, MAX_OFFSET

_IMAGE = "Photo as base64, or as a data: URL; a form sends it as the file `image` instead"

ProductId = Annotated[str, Field(min_length=1, max_length=512)]


class DetectBody(BaseModel):
    """The photo to look for products in."""

    model_config = ConfigDict(extra="forbid")

    image: str | None = Field(default=None, description=_IMAGE)


class _Body(DetectBody):
    box: Box | None = Field(default=None, description="x0, y0, x1, y1 of the product in pixels of the upright photo")


class Weights(BaseModel):
    """What photo and text weigh against each other in a query of both."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    photo: float = Field(default=1.0, ge=0, le=1000)
    text: float = Field(default=1.0, ge=0, le=1000)

    @model_validator(mode="after")
    def _weigh_something(self) -> Self:
        if not self.photo + self.text:
            raise ValueError("photo and text cannot both weigh nothing")
        return self

    @property
    def of_text(self) -> float:
        """The text's part of both, from 0 to 1."""
        return self.text / (self.photo + self.text)


class SearchBody(_Body):
    """What to search for; at least ``text`` or a photo."""

    text: str = ""
    weights: Weights = Field(default_factory=Weights)
    filters: Filters = Field(default_factory=Filters)
    sort: str = Field(default=BY_MATCH, description="`match`, or a number of the catalog: `price`, `-price`")
    group: bool = Field(default=False, description="One SKU of each group; limit and offset count groups")
    limit: int = Field(default=24, ge=1, le=MAX_LIMIT)
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET)
    facets: bool = True


class RecommendBody(BaseModel):
    """Ids of products that a shopper likes, at least one, and dislikes."""

    model_config = ConfigDict(extra="forbid")

    liked: list[ProductId] = Field(min_length=1, max_length=MAX_GIVEN)
    disliked: list[ProductId] = Field(default_factory=list, max_length=MAX_GIVEN)
    filters: Filters = Field(default_factory=Filters)
    limit: int = Field(default=12, ge=1, le=MAX_LIMIT)


class PredictItem(_Body):
    """What to predict from; at least ``title`` or a photo."""

    title: str = ""


class PredictBody(PredictItem):
    """One product, and how many candidates it gets."""

    limit: int = Field(default=10, ge=1, le=MAX_LIMIT, description="Candidates per category level and attribute key")


class PredictBatchBody(BaseModel):
    """Several products, answered in this order."""

    model_config = ConfigDict(extra="forbid")

    products: list[PredictItem] = Field(min_length=1, max_length=MAX_BATCH)
    limit: int = Field(default=10, ge=1, le=MAX_LIMIT, description="Candidates per category level and attribute key")


B = TypeVar("B", bound=DetectBody)


def reads(model: type[B]) -> Callable[[Request], Awaitable[tuple[B, bytes | None]]]:
    """A dependency that reads ``model`` and the photo's bytes from JSON or from a form.

    Raises BadInputError for broken base64 or two photos, 415 for another content type, 422 for unfit fields.
    """

    async def read(request: Request) -> tuple[B, bytes | None]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            body = _parse(model, await request.body())
            return body, None if body.image is None else from_base64(body.image)
        if kind == "multipart/form-data":
            return await _read_form(request, model)
        raise HTTPException(415, "send application/json or multipart/form-data")

    return read


def described(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI description of what ``reads(model)`` accepts."""
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    form = {
        "type": "object",
        "properties": {"query": reference, "image": {"type": "string", "format": "binary"}},
    }
    content = {
        "application/json": {"schema": reference, "example": example},
        "multipart/form-data": {"schema": form, "encoding": {"query": {"contentType": "application/json"}}},
    }
    return {"requestBody": {"required": True, "content": content}}


class BodyLimit:
    """ASGI middleware that answers 413 as soon as a body, the page's too, is larger than ``max_bytes``."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(
                    413, f"the request is larger than {self._max_bytes / 1e6:.1f} MB; send a smaller photo"
                )
            return message

        await self._app(scope, limited, send)


async def _read_form(request: Request, model: type[B]) -> tuple[B, bytes | None]:
    async with request.form(max_files=1, max_fields=1) as form:
        unknown = form.keys() - {"query", "image"}
        query, image = form.get("query", "{}"), form.get("image")
        if unknown or isinstance(query, UploadFile) or isinstance(image, str):
            raise BadInputError("the form is not understood; send the fields `query` (JSON) and `image` (a file)")
        body = _parse(model, query.encode())
        if image is None:
            return body, None if body.image is None else from_base64(body.image)
        if body.image is not None:
            raise BadInputError("there are two photos; send one, either as the file `image` or as base64 in the query")
        return body, await image.read()


def _parse(model: type[B], data: bytes) -> B:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from error


def from_base64(image: str) -> bytes:
    """The bytes of a photo in base64 or in a ``data:`` URL. Raises BadInputError if it is neither."""
    _, _, data = image.rpartition("base64,")
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInputError("the image is not valid base64; encode the file's bytes, or send it in a form") from error
