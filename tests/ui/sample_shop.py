"""A small shop: demo products with their real pictures, and a few whose texts try to break out of the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from app.encoder import Vectors
from app.schema import Box, Product, Query
from app.serving import Service
from app.settings import ROOT, Settings
from app.store import open_store
from app.store.base import Manifest, Point
from tests.conftest import ColourWordEmbedder

DEMO = ROOT / "demo"
BUILD = "20261121T060000-1a2b3c"
HOSTILE_TITLES = (
    "hostile ${window.hacked=1}",
    "hostile {{constructor.constructor('window.hacked=2')()}}",
    "hostile <img src=x onerror=window.hacked=3>",
    "hostile </ul><script>window.hacked=4</script>`",
)


class BoxFindingEmbedder(ColourWordEmbedder):
    """Finds the core product in the middle of photos at least 100 pixels wide; pads a given box, as the model does."""

    def embed_queries(self, queries: Sequence[Query]) -> tuple[Vectors, list[Box | None]]:
        vectors, boxes = super().embed_queries(queries)
        return vectors, [
            _middle(query) if box is None else (box[0] - 9, box[1] - 9, box[2] + 9, box[3] + 9)
            for query, box in zip(queries, boxes, strict=True)
        ]


def service(data: Path, products: Sequence[Product], **limits: Any) -> Service:
    """A service over these products; without any, one whose index was never built."""
    settings = Settings(data=data, batch_wait_ms=0, **limits)
    embedder = BoxFindingEmbedder()
    if products:
        make_build(settings, embedder, products)
        open_store(settings).publish(BUILD)
    return Service(settings, embedder, open_store(settings))


def demo_products(every: int = 40) -> list[Product]:
    """Each ``every``-th product of the demo catalog, each dearer than the one before."""
    rows = pl.read_parquet(DEMO / "catalog.parquet").gather_every(every).to_dicts()
    same = ("id", "group_id", "title", "category", "licence", "licence_url", "creator", "attribution")
    return [
        Product(
            **{key: row[key] for key in same},
            titles={code: title for code, title in row["titles"].items() if title},
            attributes={k: [v] if isinstance(v, str) else v for k, v in row["attributes"].items() if v},
            numbers={key: row[key] for key in ("width_cm", "depth_cm", "height_cm") if row[key] is not None}
            | {"price": 10.0 + 5 * number},
            images=[str(DEMO / path) for path in row["images"]],
        )
        for number, row in enumerate(rows)
    ]


def hostile_products() -> list[Product]:
    """Products without pictures whose every text is an attack."""
    return [
        Product(
            id=f"bad\"'><b>{number}",
            title=title,
            titles={"de": title},
            category=[title.replace(" > ", " "), "leaf"],
            attributes={"color": [title]},
            numbers={"price": 12.5, "weight_kg": 3.0},
            licence=title,
            licence_url="javascript:window.hacked=5",
            url="javascript:window.hacked=6",
            attribution=title,
        )
        for number, title in enumerate(HOSTILE_TITLES)
    ]


def make_build(
    settings: Settings,
    embedder: ColourWordEmbedder,
    products: Sequence[Product],
    build: str = BUILD,
    on_trial: bool = False,
) -> None:
    """A finished build of these products, not published yet."""
    images = [[Image.open(path).convert("RGB") for path in product.images if "://" not in path] for product in products]
    vectors = embedder.embed_products(products, images)
    manifest = Manifest(
        build=build,
        created=datetime.now(UTC),
        model=embedder.name,
        fingerprint=embedder.fingerprint,
        dimensions=embedder.dimensions,
        catalog=str(DEMO / "catalog.parquet"),
        catalog_hash="sample",
        products=len(products),
        attribute_keys=sorted({key for product in products for key in product.attributes}),
        number_keys=sorted({key for product in products for key in product.numbers}),
        on_trial=on_trial,
    )
    store = open_store(settings)
    with store.create(manifest) as writer:
        writer.add([Point(product, vector) for product, vector in zip(products, vectors, strict=True)])
        writer.finish(manifest)


def _middle(query: Query) -> Box | None:
    if query.image is None or query.image.width < 100:
        return None
    width, height = query.image.size
    return (width * 0.25, height * 0.25, width * 0.75, height * 0.75)
