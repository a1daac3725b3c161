"""A small shop: eight products with pictures, and how they are published."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from app.encoder import Embedder
from app.schema import Product
from app.store.base import Manifest, Point, Store
from app.store.words import mean_length, text_length

COLOURS = {"red": (220, 20, 20), "blue": (20, 20, 220), "green": (20, 200, 20)}
ODD_ID = "a/b ü?#"
ODD_TITLE = "<script>alert(1)</script> ${7*7} {{7*7}} 'red' \"lamp\""


def picture(colour: str = "red", kind: str = "PNG", size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    """A picture file of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, COLOURS[colour]).save(buffer, kind, **options)
    return buffer.getvalue()


def make_products(folder: Path) -> list[Product]:
    """Chairs and sofas in three colours each, and two lamps, whose category ends at the first level."""
    products = []
    for kind, category, price in (("chair", ["Furniture", "Chairs"], 40.0), ("sofa", ["Furniture", "Sofas"], 300.0)):
        for colour in COLOURS:
            path = folder / f"{colour}-{kind}.png"
            path.write_bytes(picture(colour))
            products.append(
                Product(
                    id=f"{colour}-{kind}",
                    group_id=kind,
                    title=f"{colour} {kind}",
                    category=category,
                    attributes={"color": [colour]},
                    numbers={"price": price},
                    images=[str(path), "https://pictures.example/second.jpg"],
                )
            )
    secret = folder / "secret.txt"
    secret.write_text("not for customers")
    products.append(Product(id="lamp", title="green lamp", category=["Lighting"], images=[str(secret), "gone.png"]))
    products.append(Product(id=ODD_ID, title=ODD_TITLE, category=["Lighting"], attributes={"color": ["red"]}))
    return products


def publish(
    store: Store, embedder: Embedder, products: Sequence[Product], build: str = "20261121T060000-000001"
) -> None:
    """Embed the products and publish them as a build."""
    images = [
        [Image.open(path) for path in p.images if path.endswith(".png") and Path(path).exists()] for p in products
    ]
    manifest = Manifest(
        build=build,
        created=datetime.now(UTC),
        model=embedder.name,
        fingerprint=embedder.fingerprint,
        dimensions=embedder.dimensions,
        catalog="catalog.csv",
        catalog_hash="0",
        products=len(products),
        attribute_keys=["color"],
        number_keys=["price"],
        mean_words=mean_length(map(text_length, products)),
    )
    vectors = embedder.embed_products(products, images).astype(np.float32)
    with store.create(manifest) as writer:
        writer.add([Point(product, vector) for product, vector in zip(products, vectors, strict=True)])
        writer.finish(manifest)
    store.publish(build)
