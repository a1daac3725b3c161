"""Every error of the API is a problem: how it is made, and what the API's description says of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.errors import (
    BadInputError,
    IndexUnavailableError,
    ModelError,
    MoonError,
    NotFoundError,
    OverloadedError,
    StoppingError,
    public,
)
from app.guard import NO_KEY
from app.observe import SECURITY_HEADERS
from app.problems import MEDIA_TYPE, Kind, problem_of, problem_of_status
from app.refusals import later, refusal, refused
from app.settings import Settings

log = logging.getLogger(__name__)

_DEFECT = "the server failed at this request; its log says why"

MAX_NAMED = 10
"""Fields that one answer says something of."""

_KINDS: dict[type[MoonError], Kind] = {
    BadInputError: Kind.BAD_INPUT,
    NotFoundError: Kind.NOT_FOUND,
    IndexUnavailableError: Kind.NO_INDEX,
    ModelError: Kind.OTHER_MODEL,
    OverloadedError: Kind.OVERLOADED,
    StoppingError: Kind.STOPPING,
}

_PROBLEMS = {
    400: (
        "A query, photo, box, filter, weight or order that cannot be used",
        problem_of(Kind.BAD_INPUT, "the query is empty; write what you are looking for, add a photo, or both"),
    ),
    401: ("Keys are set, and the request has none of them", problem_of(Kind.NO_KEY, NO_KEY)),
    404: (
        "No such product or picture",
        problem_of(Kind.NOT_FOUND, "the index has no product 'bs0-armchair-c9'; check the id or rebuild the index"),
    ),
    408: (
        "The request took too long to arrive",
        problem_of(Kind.LATE, "the request did not arrive within 30 s; send it again"),
    ),
    413: (
        "The request is too large",
        problem_of(Kind.TOO_LARGE, "the request is larger than 27.7 MB; send a smaller photo"),
    ),
    415: (
        "Neither JSON nor, where there may be a photo, a form",
        problem_of(Kind.OTHER_CONTENT, "send application/json or multipart/form-data"),
    ),
    422: (
        "A field of the wrong type or out of range, or an unknown one",
        problem_of(Kind.UNFIT, "limit: Input should be less than or equal to 200"),
    ),
    429: (
        "Too many requests of this client; `Retry-After` says when to ask again",
        problem_of(Kind.RATE, "too many requests from you; send the next one later"),
    ),
    500: ("A defect of the server", problem_of(Kind.DEFECT, _DEFECT)),
    503: (
        "No usable index, or too much to do, as `type` says; `Retry-After` says when to ask again",
        problem_of(Kind.NO_INDEX, "no index is published yet; run `indexer rebuild CATALOG`"),
    ),
}
"""What each status means, and an example of it."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of these statuses."""
    return {status: _described(status) for status in statuses}


def add_error_handlers(api: FastAPI, settings: Settings) -> None:
    """Every error is a problem: what to do for ours, nothing of the server's inside for others."""

    @api.exception_handler(MoonError)
    def on_moon_error(_: Request, error: MoonError) -> JSONResponse:
        kind = next((kind for known, kind in _KINDS.items() if isinstance(error, known)), Kind.UNAVAILABLE)
        if kind.status != 503:
            return refusal(kind, str(error))
        log.warning("%s", error)
        wait = error.retry_after if isinstance(error, OverloadedError) else 1
        return refusal(kind, public(str(error), settings.data), later(wait))

    @api.exception_handler(RequestValidationError)
    def on_unfit_fields(_: Request, error: RequestValidationError) -> JSONResponse:
        return refusal(Kind.UNFIT, unfit(error.errors()))

    @api.exception_handler(HTTPException)
    def on_http_error(_: Request, error: HTTPException) -> JSONResponse:
        return refused(problem_of_status(error.status_code, error.detail), error.headers)

    @api.exception_handler(Exception)
    def on_defect(_: Request, error: Exception) -> JSONResponse:
        return refusal(Kind.DEFECT, _DEFECT, SECURITY_HEADERS)


def unfit(errors: Sequence[Any]) -> str:
    """The first MAX_NAMED fields that do not fit, and why; no more of their names than a reader needs."""
    fields = [".".join(_short(str(part)) for part in error["loc"]) for error in errors[:MAX_NAMED]]
    named = [f"{field}: {error['msg']}".removeprefix(": ") for field, error in zip(fields, errors, strict=False)]
    more = len(errors) - len(named)
    return "; ".join([*named, f"and {more} more"] if more else named)


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:57]}..."


def _described(status: int) -> dict[str, Any]:
    meaning, example = _PROBLEMS[status]
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example.model_dump()}
    return {"description": meaning, "content": {MEDIA_TYPE: content}}
