"""Categories and attributes of one product, or of several at once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from app.api.errors import problems
from app.api.examples import PREDICT, PREDICT_BATCH, PREDICTION, answers
from app.bodies import PredictBatchBody, PredictBody, PredictItem
from app.errors import BadInputError
from app.facade import MoonSearch, Unread
from app.problems import Kind, Problem, problem_of
from app.reading import described, from_base64, reads, reads_json
from app.schema import Prediction


class Predictions(BaseModel):
    """One prediction or problem for each product, in their order."""

    predictions: list[Prediction | Problem]


_SEVERAL = Predictions(
    predictions=[PREDICTION, problem_of(Kind.BAD_INPUT, "the photo: the file is empty; provide a picture")]
)


def prediction_routes(shop: MoonSearch) -> APIRouter:
    """The routes below ``/predict``."""
    routes = APIRouter(prefix="/predict", tags=["prediction"], responses=problems(400, 413, 415, 503))

    @routes.post("", openapi_extra=described(PredictBody, PREDICT), responses=answers(PREDICTION))
    def predict(asked: Annotated[tuple[PredictBody, bytes | None], Depends(reads(PredictBody))]) -> Prediction:
        """Category candidates per level and value candidates per attribute key for a photo, a title or both."""
        body, photo = asked
        return shop.predict(body.title, photo, box=body.box, limit=body.limit)

    @routes.post("/batch", openapi_extra=described(PredictBatchBody, PREDICT_BATCH), responses=answers(_SEVERAL))
    def predict_batch(body: Annotated[PredictBatchBody, Depends(reads_json(PredictBatchBody))]) -> Predictions:
        """Several products at once; one that cannot be used gets a problem and does not keep the others from theirs."""
        outcomes = shop.predict_many([_unread(item) for item in body.products], limit=body.limit)
        return Predictions(
            predictions=[
                problem_of(Kind.BAD_INPUT, str(outcome)) if isinstance(outcome, BadInputError) else outcome
                for outcome in outcomes
            ]
        )

    return routes


def _unread(item: PredictItem) -> Unread | BadInputError:
    try:
        return Unread(item.title, None if item.image is None else from_base64(item.image), item.box)
    except BadInputError as error:
        return error
