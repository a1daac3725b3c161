"""How requests are read: JSON with the photo as base64, or a form with the photo as a file; never more than allowed."""

from __future__ import annotations

import binascii
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.bodies import DetectBody
from app.errors import BadInputError

SMALL_BYTES = 100_000
"""Smaller bodies are decoded at once; larger ones in a thread, while other requests are answered."""
MAX_COMMAS = 10_000
"""Of JSON: each further value or field takes one. More than the largest filters have, and no part of base64."""
PIECE = 65_536
"""Characters of base64 that are decoded at a time, since no other thread runs meanwhile; a multiple of four."""
PREFIX = 200
"""So many characters of an image may be the head of a ``data:`` URL."""

M = TypeVar("M", bound=BaseModel)
B = TypeVar("B", bound=DetectBody)
T = TypeVar("T")


def reads(model: type[B]) -> Callable[[Request], Awaitable[tuple[B, bytes | None]]]:
    """A dependency that reads ``model`` and the photo's bytes from JSON or from a form.

    Raises BadInputError for broken base64 or two photos, 415 for another content type, 422 for unfit fields.
    """

    async def read(request: Request) -> tuple[B, bytes | None]:
        kind = _content_type(request)
        if kind == "application/json":
            return await _apart(lambda data: _with_photo(model, data), await request.body())
        if kind == "multipart/form-data":
            return await _read_form(request, model)
        raise HTTPException(415, "send application/json or multipart/form-data")

    return read


def reads_json(model: type[M]) -> Callable[[Request], Awaitable[M]]:
    """A dependency that reads ``model`` from JSON. Raises 415 for another content type, 422 for unfit fields."""

    async def read(request: Request) -> M:
        if _content_type(request) != "application/json":
            raise HTTPException(415, "send application/json")
        return await _apart(lambda data: _parse(model, data), await request.body())

    return read


def described(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI description of what ``reads(model)`` accepts, or ``reads_json`` if there is no photo in it."""
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    content: dict[str, Any] = {"application/json": {"schema": reference, "example": example}}
    if issubclass(model, DetectBody):
        form = {
            "type": "object",
            "properties": {"query": reference, "image": {"type": "string", "format": "binary"}},
        }
        content["multipart/form-data"] = {"schema": form, "encoding": {"query": {"contentType": "application/json"}}}
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


def from_base64(image: str) -> bytes:
    """The bytes of a photo in base64 or in a ``data:`` URL. Raises BadInputError if it is neither."""
    mark = "base64,"
    head = image.rfind(mark, 0, PREFIX)
    decoded, rest = [], ""
    try:
        for start in range(0 if head < 0 else head + len(mark), len(image), PIECE):
            rest += "".join(image[start : start + PIECE].split())
            ready = max(len(rest) - 1, 0) // 4 * 4  # the last four characters may be padded
            if "=" in rest[:ready]:
                raise ValueError("padding before the end")
            decoded.append(binascii.a2b_base64(rest[:ready], strict_mode=True))
            rest = rest[ready:]
        decoded.append(binascii.a2b_base64(rest, strict_mode=True))
    except ValueError as error:
        raise BadInputError("the image is not valid base64; encode the file's bytes, or send it in a form") from error
    return b"".join(decoded)


async def _apart(decode: Callable[[bytes], T], data: bytes) -> T:
    return decode(data) if len(data) < SMALL_BYTES else await run_in_threadpool(decode, data)


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read_form(request: Request, model: type[B]) -> tuple[B, bytes | None]:
    async with request.form(max_files=1, max_fields=1) as form:
        unknown = form.keys() - {"query", "image"}
        query, image = form.get("query", "{}"), form.get("image")
        if unknown or isinstance(query, UploadFile) or isinstance(image, str):
            raise BadInputError("the form is not understood; send the fields `query` (JSON) and `image` (a file)")
        body, photo = await _apart(lambda data: _with_photo(model, data), query.encode())
        if image is None:
            return body, photo
        if photo is not None:
            raise BadInputError("there are two photos; send one, either as the file `image` or as base64 in the query")
        return body, await image.read()


def _with_photo(model: type[B], data: bytes) -> tuple[B, bytes | None]:
    body = _parse(model, data)
    return body, None if body.image is None else from_base64(body.image)


def _parse(model: type[M], data: bytes) -> M:
    if data.count(b",") > MAX_COMMAS:
        raise RequestValidationError([{"loc": (), "msg": f"more than {MAX_COMMAS} values; send fewer"}])
    try:
        return model.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from error
