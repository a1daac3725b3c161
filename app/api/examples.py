"""Examples in the API's description, made of the same models as its answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from app.schema import Candidate, Detection, FacetValue, Hit, Prediction, Product, SearchResult

SEARCH = {
    "text": "something to sit on in the garden",
    "filters": {"category": ["Furniture"], "attributes": {"color": ["green"]}, "ranges": {"width_cm": {"max": 80}}},
    "limit": 12,
}
RECOMMEND = {"liked": ["bs0-armchair-c0"], "disliked": ["bs0-modernarmchair-c0"], "limit": 6}
PREDICT = {"title": "Green armchair", "limit": 3}
PREDICT_BATCH = {"products": [{"title": "Green armchair"}, {"title": "Floor lamp"}], "limit": 1}

PRODUCT = Product(
    id="bs0-armchair-c0",
    title="Green armchair",
    group_id="bs0-armchair",
    category=["Furniture", "Office seating", "office armchair"],
    attributes={"color": ["green"]},
    numbers={"width_cm": 59.4},
    images=["/api/v1/products/bs0-armchair-c0/images/0"],
)
NEAR = SearchResult(
    hits=[Hit(product=PRODUCT, score=0.71)], timings={"search": 0.9, "total": 1.0}, build="20261121T060000-1a2b3c"
)
FOUND = NEAR.model_copy(
    update={
        "facets": {"category": [FacetValue(value="Furniture", count=431)]},
        "timings": {"embed": 40.2, "search": 0.9, "facets": 0.1, "total": 41.3},
    }
)
PREDICTION = Prediction(
    categories=[[Candidate(label="Furniture", probability=0.97)]],
    attributes={"color": [Candidate(label="green", probability=0.88)]},
    timings={"labels": 0.0, "embed": 31.0, "neighbours": 0.4, "predict": 0.2, "total": 31.7},
)


DETECTION = Detection(
    boxes=[(88.0, 41.0, 301.0, 410.0), (322.0, 215.0, 447.0, 398.0)],
    timings={"decode": 1.8, "detect": 412.5, "total": 414.3},
)


def answers(example: BaseModel) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of a successful answer, by its example."""
    return {200: {"content": {"application/json": {"example": example.model_dump(mode="json")}}}}
