"""Every error of the API is a problem: how it is made, and what the API's description says of it."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.errors import BadInputError, MoonError, NotFoundError
from app.problems import MEDIA_TYPE, problem, problem_of
from app.settings import Settings

log = logging.getLogger(__name__)

_PROBLEMS = {
    400: (
        "A query, photo, box, filter, weight or order that cannot be used",
        "the query is empty; write what you are looking for, add a photo, or both",
    ),
    404: (
        "No such product or picture",
        "the index has no product 'bs0-armchair-c9'; check the id or rebuild the index",
    ),
    413: ("The request is too large", "the request is larger than 27.7 MB; send a smaller photo"),
    415: ("Neither JSON nor a form", "send application/json or multipart/form-data"),
    422: (
        "A field of the wrong type or out of range, or an unknown one",
        "limit: Input should be less than or equal to 200",
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
        return problem(503, public(str(error), settings), {"Retry-After": "1"})

    @api.exception_handler(RequestValidationError)
    def on_unfit_fields(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = (f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        return problem(422, "; ".join(problem.removeprefix(": ") for problem in problems))

    @api.exception_handler(HTTPException)
    def on_http_error(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, error.detail, error.headers)

    @api.exception_handler(Exception)
    def on_defect(_: Request, error: Exception) -> JSONResponse:
        return problem(500, "the server failed at this request; its log says why")


def public(message: str, settings: Settings) -> str:
    """The message without the server's own folder."""
    return message.replace(str(settings.data), "MOON_DATA")


def _described(status: int) -> dict[str, Any]:
    meaning, detail = _PROBLEMS[status]
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": problem_of(status, detail).model_dump()}
    return {"description": meaning, "content": {MEDIA_TYPE: content}}
