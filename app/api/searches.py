"""Search, similar products and recommendations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.api.errors import problems
from app.api.examples import FOUND, NEAR, RECOMMEND, SEARCH, answers
from app.api.products import ProductId, addressed_json
from app.bodies import RecommendBody, SearchBody
from app.facade import MoonSearch
from app.ranking import BY_MATCH
from app.reading import described, reads, reads_json
from app.schema import MAX_LEVELS, Filters, Name, SearchResult
from app.search import MAX_LIMIT, MAX_OFFSET

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET)]
Category = Annotated[
    list[Name],
    Query(default_factory=list, max_length=MAX_LEVELS, description="Category path from the root, one for each level"),
]
Sort = Annotated[
    Name, Query(description="`match`, or a number of the catalog: `price`, `-price` for the highest first")
]
Group = Annotated[bool, Query(description="One SKU of each group; limit and offset count groups")]


def search_routes(shop: MoonSearch) -> APIRouter:
    """The routes that answer with a SearchResult."""
    routes = APIRouter(tags=["search"], responses=problems(400, 503))

    @routes.post(
        "/search",
        response_model=SearchResult,
        openapi_extra=described(SearchBody, SEARCH),
        responses=answers(FOUND) | problems(413, 415),
    )
    def search(asked: Annotated[tuple[SearchBody, bytes | None], Depends(reads(SearchBody))]) -> Response:
        """Products by text, photo or both, with facet counts and the time each stage took in milliseconds."""
        body, photo = asked
        found = shop.search(
            body.text,
            photo,
            box=body.box,
            filters=body.filters,
            limit=body.limit,
            offset=body.offset,
            facets=body.facets,
            text_weight=body.weights.of_text,
            sort=body.sort,
            group=body.group,
        )
        return addressed_json(found)

    @routes.get("/search", response_model=SearchResult, responses=answers(FOUND))
    def search_text(
        text: str,
        category: Category,
        limit: Limit = 24,
        offset: Offset = 0,
        facets: bool = True,
        sort: Sort = BY_MATCH,
        group: Group = False,
    ) -> Response:
        """Products by text; POST takes photos and all filters."""
        filters = Filters(category=category)
        return addressed_json(
            shop.search(text, filters=filters, limit=limit, offset=offset, facets=facets, sort=sort, group=group)
        )

    @routes.get("/similar/{product_id:path}", response_model=SearchResult, responses=answers(NEAR) | problems(404))
    def similar(product_id: ProductId, category: Category, limit: Limit = 12) -> Response:
        """Products like an indexed one: one of each group, none of the product's own group."""
        return addressed_json(shop.similar(product_id, limit, Filters(category=category)))

    @routes.post(
        "/recommend",
        response_model=SearchResult,
        openapi_extra=described(RecommendBody, RECOMMEND),
        responses=answers(NEAR) | problems(404, 413, 415),
    )
    def recommend(body: Annotated[RecommendBody, Depends(reads_json(RecommendBody))]) -> Response:
        """Products like the liked ones and unlike the disliked: one of each group, none of the given groups."""
        found = shop.recommend(body.liked, body.disliked, filters=body.filters, limit=body.limit)
        return addressed_json(found)

    return routes
