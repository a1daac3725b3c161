"""A small catalog with random vectors, and builds made of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from app.schema import Product
from app.store.base import Manifest, Point, Store

DIMENSIONS = 16


def make_manifest(build: str = "b1", **changes: object) -> Manifest:
    manifest = Manifest(
        build=build,
        created=datetime.now(UTC),
        model="colour-words",
        fingerprint="colour-words-1",
        dimensions=DIMENSIONS,
        catalog="catalog.csv",
        catalog_hash="0",
        attribute_keys=["color", "material", "size [cm]. <b>é"],
        number_keys=["price", "width.cm"],
    )
    return manifest.model_copy(update=changes)


def make_points(count: int = 60, seed: int = 0) -> list[Point]:
    """Sofas and chairs and lamps; every third is red, every second red or blue; prices count upwards."""
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    categories = [["Furniture", "Sofas"], ["Furniture", "Chairs"], ["Lighting"]]
    return [
        Point(
            Product(
                id=f"sku/{i}",
                title=f"Product {i}",
                category=categories[i % 3],
                attributes={
                    "color": ["red", "blue"] if i % 6 == 0 else ["red"] if i % 3 == 0 else ["blue"],
                    "material": ["oak" if i % 2 else "steel"],
                    "size [cm]. <b>é": [str(i % 4)],
                },
                numbers={"price": float(i), "width.cm": i / 2},
            ),
            vectors[i],
        )
        for i in range(count)
    ]


def load(store: Store, build: str, points: Sequence[Point], **changes: object) -> Manifest:
    """A finished build with these points."""
    manifest = make_manifest(build, products=len(points), **changes)
    with store.create(manifest) as writer:
        writer.add(points)
        writer.finish(manifest)
    return manifest
