"""Which of the best matches to sort by price, on the home-goods catalog.

    python benchmarks/sorting.py

Asks the published index for the name of every category and for 100 of the photos. Prints, by the part of the best
score that a match needs, how many products are sorted (median), which part of them is of the category asked for, and
which part of that category is among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median

import polars as pl

from app import MoonSearch
from app.ranking import SORTED
from app.schema import CATEGORY_SEPARATOR, Hit
from app.settings import ROOT

PARTS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SMALLEST = 5
"""Categories of fewer products are left out."""
PHOTOS = 100

Answers = Iterable[tuple[list[str], list[Hit]]]
"""The category paths that are asked for, and the best matches."""


def main() -> None:
    shop = MoonSearch()
    counts = {facet.value: facet.count for facet in shop.search("x").facets["category"] if facet.count >= SMALLEST}
    report("names of categories", counts, by_name(shop, counts))
    report("photos", counts, by_photo(shop, counts))
    shop.close()


def by_name(shop: MoonSearch, counts: dict[str, int]) -> Iterator[tuple[list[str], list[Hit]]]:
    for category in counts:
        path = category.split(CATEGORY_SEPARATOR)
        yield path, shop.search(path[-1], limit=SORTED, facets=False).hits


def by_photo(shop: MoonSearch, counts: dict[str, int]) -> Iterator[tuple[list[str], list[Hit]]]:
    photos = pl.read_parquet(ROOT / "demo" / "photos.parquet").sample(PHOTOS, seed=0)
    for photo, product_id in photos.select("path", "product_id").iter_rows():
        path = shop.product(product_id).category
        if CATEGORY_SEPARATOR.join(path) in counts:
            yield path, shop.search(photo=ROOT / "demo" / photo, limit=SORTED, facets=False).hits


def report(title: str, counts: dict[str, int], answers: Answers) -> None:
    answers = list(answers)
    wanted = sum(min(counts[CATEGORY_SEPARATOR.join(path)], SORTED) for path, _ in answers)
    print(f"{title}: {len(answers)}\n{'part':>6}{'sorted':>8}{'right':>8}{'found':>8}")
    for part in PARTS:
        close = [(path, [hit for hit in hits if hit.score >= part * hits[0].score]) for path, hits in answers]
        right = sum(hit.product.category[: len(path)] == path for path, hits in close for hit in hits)
        sizes = [len(hits) for _, hits in close]
        print(f"{part:6.1f}{median(sizes):8.0f}{right / sum(sizes):8.2f}{right / wanted:8.2f}")


if __name__ == "__main__":
    main()
