"""What requests may hold: the fields of each body, and their limits."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.facade import MAX_BATCH
from app.ranking import BY_MATCH
from app.schema import MAX_ID, Box, Filters, Name
from app.search import MAX_GIVEN, MAX_LIMIT, MAX_OFFSET

_IMAGE = "Photo as base64, or as a data: URL; a form sends it as the file `image` instead"

ProductId = Annotated[str, Field(min_length=1, max_length=MAX_ID)]


def _whole(number: Any) -> Any:
    return int(number) if isinstance(number, float) and number.is_integer() else number


Whole = Annotated[int, BeforeValidator(_whole)]
"""JSON has one kind of numbers: 12.0 is an integer."""


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
    sort: Name = Field(default=BY_MATCH, description="`match`, or a number of the catalog: `price`, `-price`")
    group: bool = Field(default=False, description="One SKU of each group; limit and offset count groups")
    limit: Whole = Field(default=24, ge=1, le=MAX_LIMIT)
    offset: Whole = Field(default=0, ge=0, le=MAX_OFFSET)
    facets: bool = True


class RecommendBody(BaseModel):
    """Ids of products that a shopper likes, at least one, and dislikes."""

    model_config = ConfigDict(extra="forbid")

    liked: list[ProductId] = Field(min_length=1, max_length=MAX_GIVEN)
    disliked: list[ProductId] = Field(default_factory=list, max_length=MAX_GIVEN)
    filters: Filters = Field(default_factory=Filters)
    limit: Whole = Field(default=12, ge=1, le=MAX_LIMIT)


class PredictItem(_Body):
    """What to predict from; at least ``title`` or a photo."""

    title: str = ""


class PredictBody(PredictItem):
    """One product, and how many candidates it gets."""

    limit: Whole = Field(default=10, ge=1, le=MAX_LIMIT, description="Candidates per category level and attribute key")


class PredictBatchBody(BaseModel):
    """Several products, answered in this order."""

    model_config = ConfigDict(extra="forbid")

    products: list[PredictItem] = Field(min_length=1, max_length=MAX_BATCH)
    limit: Whole = Field(default=10, ge=1, le=MAX_LIMIT, description="Candidates per category level and attribute key")
