"""Errors of the HTTP API as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong, and what to do; ``type`` stays ``about:blank``: the status tells the kind."""

    type: str = "about:blank"
    title: str = Field(description="The status in words")
    status: int
    detail: str = Field(description="What happened, to which item, and what to do")


def problem_of(status: int, detail: str) -> Problem:
    """The problem of a status, titled with its phrase."""
    return Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error response whose body is a :class:`Problem`."""
    return JSONResponse(problem_of(status, detail).model_dump(), status, headers, media_type=MEDIA_TYPE)
