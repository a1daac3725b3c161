"""Answers that are problems."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fastapi.responses import JSONResponse

from app.problems import MEDIA_TYPE, Kind, Problem, problem_of


def refused(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A response whose body is the problem."""
    return JSONResponse(problem.model_dump(), problem.status, headers, media_type=MEDIA_TYPE)


def refusal(kind: Kind, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A response whose body is a problem of this kind."""
    return refused(problem_of(kind, detail), headers)


def later(seconds: float, **headers: str) -> dict[str, str]:
    """The headers that say when to ask again, and others."""
    return {"Retry-After": str(max(1, math.ceil(seconds))), **headers}
