"""Which of the best matches to sort by price: the names of the catalog's categories are searched for.

    python benchmarks/sorting.py

Asks the published index of the home-goods catalog. Prints, by the part of the best score that a match needs, how many
of the sorted products are of the category asked for, and how many of that category are sorted.
"""

from __future__ import annotations

from app import MoonSearch
from app.ranking import SORTED
from app.schema import CATEGORY_SEPARATOR

PARTS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SMALLEST = 5
"""Categories of fewer products are left out."""


def main() -> None:
    shop = MoonSearch()
    categories = {f.value: f.count for f in shop.search("x").facets["category"] if f.count >= SMALLEST}
    sorted_, right = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)
    for category in categories:
        path = category.split(CATEGORY_SEPARATOR)
        hits = shop.search(path[-1], limit=SORTED, facets=False).hits
        for part in PARTS:
            close = [hit for hit in hits if hit.score >= part * hits[0].score]
            sorted_[part] += len(close)
            right[part] += sum(hit.product.category[: len(path)] == path for hit in close)
    wanted = sum(min(count, SORTED) for count in categories.values())
    print(f"{len(categories)} categories\n{'part':>6}{'right':>8}{'found':>8}")
    for part in PARTS:
        print(f"{part:6.1f}{right[part] / sorted_[part]:8.2f}{right[part] / wanted:8.2f}")
    shop.close()


if __name__ == "__main__":
    main()
