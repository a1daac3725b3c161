"""The API's description of itself, with the models that FastAPI does not see."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from app.bodies import DetectBody, PredictBatchBody, PredictBody, RecommendBody, SearchBody
from app.problems import Problem

TAGS = [
    {"name": "search", "description": "Products by text, photo or both, and products like others"},
    {"name": "products", "description": "Indexed products and their pictures"},
    {"name": "prediction", "description": "Category and attributes of a photo, a title or both"},
    {"name": "health", "description": "For probes and operators"},
]


def describe(api: FastAPI) -> None:
    """Let ``api.openapi`` know the bodies that are read by hand, and the problems."""
    api.openapi = lambda: _openapi(api)  # type: ignore[method-assign]


def _openapi(api: FastAPI) -> dict[str, Any]:
    if api.openapi_schema is None:
        schema = get_openapi(
            title=api.title, version=api.version, description=api.description, routes=api.routes, tags=api.openapi_tags
        )
        bodies = (SearchBody, RecommendBody, PredictBody, PredictBatchBody, DetectBody)
        unseen = [*((body, "validation") for body in bodies), (Problem, "serialization")]
        _, definitions = models_json_schema(unseen, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
        schema["components"]["schemas"].update(definitions["$defs"])
        api.openapi_schema = schema
    return api.openapi_schema
