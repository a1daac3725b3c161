"""Every error of the API is a problem: how it is made, and what the API's description says of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.errors import BadInputError, MoonError, NotFoundError, OverloadedError, public
from app.guard import NO_KEY
from app.observe import SECURITY_HEADERS
from app.problems import MEDIA_TYPE, problem, problem_of
from app.settings import Settings

log = logging.getLogger(__name__)

MAX_NAMED = 10
"""Fields that one answer says something of."""

_PROBLEMS = {
    400: (
        "A query, photo, box, filter, weight or order that cannot be used",
        "the query is empty; write what you are looking for, add a photo, or both",
    ),
    401: ("Keys are set, and the request has none of them", NO_KEY),
    404: (
        "No such product or picture",
        "the index has no product 'bs0-armchair-c9'; check the id or rebuild the index",
    ),
    408: ("The request took too long to arrive", "the request did not arrive within 30 s; send it again"),
    413: ("The request is too large", "the request is larger than 27.7 MB; send a smaller photo"),
    415: ("Neither JSON nor, where there may be a photo, a form", "send application/json or multipart/form-data"),
    422: (
        "A field of the wrong type or out of range, or an unknown one",
        "limit: Input should be less than or equal to 200",
    ),
    429: (
        "Too many requests of this client; `Retry-After` says when to ask again",
        "too many requests from you; send the next one later",
    ),
    500: ("A defect of the server", "the server failed at this request; its log says why"),
    503: (
        "No usable index, or too many queries are waiting; `Retry-After` says when to ask again",
        "no index is published yet; run `indexer rebuild CATALOG`",
    ),
}
"""What each status means, and an example of its detail."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of these statuses."""
    return {status: _described(status) for status in statuses}


def add_error_handlers(api: FastAPI, settings: Settings) -> None:
    """Every error is a problem: what to do for ours, nothing of the server's inside for others."""

    @api.exception_handler(MoonError)
    def on_moon_error(_: Request, error: MoonError) -> JSONResponse:
        if isinstance(error, BadInputError | NotFoundError):
            return problem(400 if isinstance(error, BadInputError) else 404, str(error))
        log.warning("%s", error)
        wait = math.ceil(error.retry_after) if isinstance(error, OverloadedError) else 1
        return problem(503, public(str(error), settings.data), {"Retry-After": str(max(1, wait))})

    @api.exception_handler(RequestValidationError)
    def on_unfit_fields(_: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, unfit(error.errors()))

    @api.exception_handler(HTTPException)
    def on_http_error(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, error.detail, error.headers)

    @api.exception_handler(Exception)
    def on_defect(_: Request, error: Exception) -> JSONResponse:
        return problem(500, "the server failed at this request; its log says why", SECURITY_HEADERS)


def unfit(errors: Sequence[Any]) -> str:
    """The first MAX_NAMED fields that do not fit, and why; no more of their names than a reader needs."""
    fields = [".".join(_short(str(part)) for part in error["loc"]) for error in errors[:MAX_NAMED]]
    named = [f"{field}: {error['msg']}".removeprefix(": ") for field, error in zip(fields, errors, strict=False)]
    more = len(errors) - len(named)
    return "; ".join([*named, f"and {more} more"] if more else named)


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:57]}..."


def _described(status: int) -> dict[str, Any]:
    meaning, detail = _PROBLEMS[status]
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": problem_of(status, detail).model_dump()}
    return {"description": meaning, "content": {MEDIA_TYPE: content}}
