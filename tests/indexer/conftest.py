"""Small catalogs with pictures, and a rebuild of them with the tiny embedder into a real embedded store."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from app.errors import NotFoundError
from app.settings import Settings
from app.store import open_store
from indexer.rebuild import Model, Outcome, rebuild

COLOURS = ["red", "green", "blue", "black", "white", "orange", "purple", "brown", "pink", "grey"]


class Shop:
    """A catalog of ``size`` coloured chairs, each with one picture, that tests change and rebuild."""

    def __init__(self, folder: Path, embedder: Any, size: int = 10) -> None:
        self.folder = folder
        self.embedder = embedder
        self.settings = Settings(_env_file=None, data=folder / "data")
        self.store = open_store(self.settings)
        self.loads = 0
        self.rows: list[dict[str, Any]] = []
        (folder / "images").mkdir()
        for place in range(size):
            colour = COLOURS[place % len(COLOURS)]
            picture = f"images/{place}.png"
            Image.new("RGB", (8, 8), colour).save(folder / picture)
            self.rows.append(
                {
                    "id": f"chair-{place}",
                    "title": f"{colour} chair {place}",
                    "category": ["Furniture", "Chairs"],
                    "attributes": {"color": [colour]},
                    "price": 10.0 + place,
                    "images": [picture],
                }
            )

    @property
    def catalog(self) -> Path:
        return self.folder / "catalog.parquet"

    def write(self) -> Path:
        pl.DataFrame(self.rows).write_parquet(self.catalog)
        return self.catalog

    def model(self, fingerprint: str | None = None) -> Model:
        """The embedder, or one like it with another fingerprint."""
        embedder = copy(self.embedder)
        embedder.fingerprint = fingerprint or embedder.fingerprint

        def load() -> Any:
            self.loads += 1
            return self.embedder if fingerprint is None else embedder

        return Model("colour words", embedder.fingerprint, load)

    def rebuild(self, **changes: Any) -> Outcome:
        """Write the catalog and rebuild; the embedder counts only what this run embeds."""
        self.embedder.embedded_products = self.loads = 0
        arguments = {"settings": self.settings, "store": self.store, "model": self.model()} | changes
        return rebuild(self.write(), **arguments)

    def published_ids(self) -> list[str]:
        index = self.store.open(self.store.published() or "")
        try:
            ids = [row["id"] for row in self.rows]
            known = [product_id for product_id in ids if _holds(index, product_id)]
            assert index.manifest.products == len(known)
            return known
        finally:
            index.close()

    def product(self, product_id: str) -> Any:
        index = self.store.open(self.store.published() or "")
        try:
            return index.get([product_id])[0]
        finally:
            index.close()


def _holds(index: Any, product_id: str) -> bool:
    try:
        index.get([product_id])
    except NotFoundError:
        return False
    return True


@pytest.fixture
def shop(tmp_path: Path, embedder: Any) -> Shop:
    return Shop(tmp_path, embedder)
