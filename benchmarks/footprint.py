"""What a product takes on disk in the published build, by part: bytes of its folder by the number of its products.

    python benchmarks/footprint.py .moon

The folder is a `MOON_DATA` of the embedded engine. Files take whole blocks, so small builds look larger than they are,
and one with less than 10 MB of vectors has no graph.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from app.store.base import Manifest
from app.store.edge import EdgeStore
from app.store.files import bytes_on_disk

PARTS = {
    "vectors, float32": ("vector_storage",),
    "HNSW links": ("vector_index",),
    "payload": ("payload_storage",),
    "payload indexes": ("payload_index",),
    "words": ("vector_storage-words", "vector_index-words"),
}
REST = "ids and the rest"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    manifest, parts = footprint(parser.parse_args().data)
    print(table(manifest, parts))


def footprint(data: Path) -> tuple[Manifest, dict[str, float]]:
    """The manifest of the published build below ``data``, and bytes a product by part."""
    store = EdgeStore(data / "builds")
    manifest = next(manifest for manifest in store.builds() if manifest.build == store.published())
    build = data / "builds" / manifest.build
    parts = {part: sum(map(bytes_on_disk, _folders(build, names))) for part, names in PARTS.items()}
    parts[REST] = bytes_on_disk(build) - sum(parts.values())
    return manifest, {part: count / manifest.products for part, count in parts.items()}


def table(manifest: Manifest, parts: dict[str, float]) -> str:
    rows = [f"| {manifest.products:,} products, {manifest.dimensions} dimensions | bytes a product |", "| --- | ---: |"]
    rows += [f"| {part} | {count:,.0f} |" for part, count in parts.items()]
    return "\n".join([*rows, f"| together | {sum(parts.values()):,.0f} |"])


def _folders(build: Path, names: tuple[str, ...]) -> list[Path]:
    return [folder for name in names for folder in build.glob(f"shard/segments/*/{name}")]


if __name__ == "__main__":
    main()
