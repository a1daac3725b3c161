"""The home-goods set as training and evaluation data: products, photos with boxes, names, queries."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from app.schema import Box, Product

DEV_SHARE = 0.12
PHOTO_SIZE = 320


@dataclass(frozen=True)
class HomeProduct:
    """A product with what only training and evaluation may see."""

    product: Product
    split: str
    kinds: tuple[str, ...]
    names: tuple[tuple[str, str], ...]
    hard_negatives: tuple[str, ...]


@dataclass(frozen=True)
class Photo:
    """A customer photo of a product; ``box`` holds the product's visible pixels."""

    path: str
    product_id: str
    group_id: str
    split: str
    box: Box
    shows_test_model: bool


def split_of(group_id: str, split: str) -> str:
    """``train``, ``dev`` (a fixed 12 % of the training groups, for choosing checkpoints) or ``test``."""
    if split != "train":
        return split
    share = int(hashlib.sha256(group_id.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    return "dev" if share < DEV_SHARE else "train"


class HomeSet:
    """Reader of the folder ``demo/``; every table is read once, on first use."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def products(self) -> list[HomeProduct]:
        """All SKUs in the catalog's order."""
        return [_home_product(row) for row in pl.read_parquet(self.root / "catalog.parquet").iter_rows(named=True)]

    @cached_property
    def photos(self) -> list[Photo]:
        """All customer photos."""
        rows = pl.read_parquet(self.root / "photos.parquet").iter_rows(named=True)
        return [
            Photo(
                row["path"],
                row["product_id"],
                row["group_id"],
                split_of(row["group_id"], row["split"]),
                tuple(float(side) for side in row["box"]),  # type: ignore[arg-type]
                row["shows_test_model"],
            )
            for row in rows
        ]

    @cached_property
    def queries(self) -> pl.DataFrame:
        """Text queries of the test split with their relevant products in the whole catalog."""
        return pl.read_parquet(self.root / "queries.parquet")

    @cached_property
    def kind_phrases(self) -> dict[str, list[str]]:
        """Synonyms and shopper phrases of each product kind."""
        rows = pl.read_parquet(self.root / "kinds.parquet").iter_rows(named=True)
        return {row["kind"]: [*row["synonyms"], *row["phrases"]] for row in rows}


class DevelopmentSet(HomeSet):
    """The same folder without the test split: neither its products, nor photos that show one, nor its queries."""

    @cached_property
    def products(self) -> list[HomeProduct]:
        return [item for item in super().products if item.split != "test"]

    @cached_property
    def photos(self) -> list[Photo]:
        return [photo for photo in super().photos if photo.split != "test" and not photo.shows_test_model]

    @cached_property
    def queries(self) -> pl.DataFrame:
        raise ValueError("queries.parquet is of the test split; ask the development split's own records")


def _home_product(row: dict) -> HomeProduct:
    attributes = {
        key: value if isinstance(value, list) else [value] for key, value in row["attributes"].items() if value
    }
    product = Product(
        id=row["id"],
        group_id=row["group_id"],
        title=row["title"],
        titles={key: value for key, value in row["titles"].items() if value},
        category=row["category"],
        attributes=attributes,
        images=row["images"],
    )
    names = (("en", row["name"]), *((lang, name) for lang, name in row["names"].items() if name))
    return HomeProduct(
        product,
        split_of(row["group_id"], row["split"]),
        tuple(row["kinds"]),
        tuple(names),
        tuple(row["hard_negatives"]),
    )
