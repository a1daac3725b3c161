"""What a product takes on disk in a build, by part: bytes of its files by the number of its products.

    python benchmarks/footprint.py [.moon]

With a `MOON_DATA` of the embedded engine, of its published build. Without, of a temporary build that holds the demo's
products again and again, 20,000 in all, with other ids and titles and 1,024 numbers each of the mixture of `index.py`
in place of a model's. Files take whole blocks, so builds of few products look larger a product, and one with less
than 10 MB of vectors has no graph.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from index import mixture

from app.catalog.problems import Report
from app.catalog.products import stream_catalog
from app.schema import Product
from app.settings import ROOT
from app.store.base import Manifest, Point
from app.store.edge import EdgeStore
from app.store.files import bytes_on_disk
from app.store.words import mean_length, text_length

PARTS = {
    "vectors, float32": ("vector_storage",),
    "HNSW links": ("vector_index",),
    "payload": ("payload_storage",),
    "payload indexes": ("payload_index",),
    "words": ("vector_storage-words", "vector_index-words"),
}
REST = "ids and the rest"
PRODUCTS, DIMENSIONS, BATCH = 20_000, 1024, 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    if data := parser.parse_args().data:
        print(table(*footprint(data)))
        return
    with tempfile.TemporaryDirectory() as name:
        make_build(Path(name))
        print(table(*footprint(Path(name))))


def footprint(data: Path) -> tuple[Manifest, dict[str, float]]:
    """The manifest of the published build below ``data``, and bytes a product by part."""
    store = EdgeStore(data / "builds")
    manifest = next(manifest for manifest in store.builds() if manifest.build == store.published())
    build = data / "builds" / manifest.build
    parts = {part: float(sum(map(bytes_on_disk, _folders(build, names)))) for part, names in PARTS.items()}
    parts[REST] = bytes_on_disk(build) - sum(parts.values())
    return manifest, {part: count / manifest.products for part, count in parts.items()}


def table(manifest: Manifest, parts: dict[str, float]) -> str:
    rows = [f"| {manifest.products:,} products, {manifest.dimensions} dimensions | bytes a product |", "| --- | ---: |"]
    rows += [f"| {part} | {count:,.0f} |" for part, count in parts.items()]
    return "\n".join([*rows, f"| together | {sum(parts.values()):,.0f} |"])


def make_build(data: Path) -> None:
    """Publishes a build of the demo's products, repeated."""
    demo = [row.product for row in stream_catalog(ROOT / "demo" / "catalog.parquet", Report())]
    manifest = Manifest(
        build="b1",
        created=datetime.now(UTC),
        model="mixture",
        fingerprint="mixture",
        dimensions=DIMENSIONS,
        catalog="",
        catalog_hash="",
        products=PRODUCTS,
        attribute_keys=sorted({key for product in demo for key in product.attributes}),
        number_keys=sorted({key for product in demo for key in product.numbers}),
        mean_words=mean_length(map(text_length, demo)),
    )
    vectors = mixture(PRODUCTS, DIMENSIONS)
    store = EdgeStore(data / "builds")
    with store.create(manifest) as writer:
        for start in range(0, PRODUCTS, BATCH):
            numbers = range(start, min(start + BATCH, PRODUCTS))
            writer.add([Point(_renamed(demo[number % len(demo)], number), vectors[number]) for number in numbers])
        writer.finish(manifest)
    store.publish("b1")


def _renamed(product: Product, number: int) -> Product:
    return product.model_copy(update={"id": f"{product.id}-{number}", "title": f"{product.title} {number}"})


def _folders(build: Path, names: tuple[str, ...]) -> list[Path]:
    return [folder for name in names for folder in build.glob(f"shard/segments/*/{name}")]


if __name__ == "__main__":
    main()
