"""Embedding on a Ray cluster: tasks read and decode pictures, actors encode them, on a GPU each where there are any.

The process that was started sends products and writes the vectors that come back. The pictures must lie under the same
paths or URLs for every machine; `MOON_DATA` is its own. Ray repeats what a lost worker had in hand.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from app.catalog.products import CatalogRow
from app.encoder import CatalogEmbedder
from app.errors import ModelError
from app.schema import Product
from app.settings import Settings
from indexer.embedding import Batch, Embedding
from indexer.encoding import BatchEncoder
from indexer.pictures import Preparation, Prepared
from indexer.progress import Track

SENT_TOGETHER = 64
"""Products of one task: what is done again when a worker is lost."""


def spread(embedding: Embedding, track: Track) -> None:
    """Have a cluster embed what is new; a :data:`~indexer.embedding.Spread`.

    The cluster is that of RAY_ADDRESS, or one of this machine alone. Raises ModelError if the work fails there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.exceptions import RayError

    places = list(embedding.unknown())
    if not places:
        return
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    try:
        with embedding.clock.stage("cluster"), track("Vectors on the cluster", len(places)) as advance:
            for table in _encoded(_sent(embedding, places), embedding):
                _keep(table, embedding)
                advance(table.num_rows)
    except RayError as error:
        raise ModelError(f"embedding on Ray failed: {str(error).strip().splitlines()[-1]}") from error


def _sent(embedding: Embedding, places: list[int]) -> Iterator[pa.Table]:
    order = iter(places)
    while part := list(islice(order, SENT_TOGETHER)):
        yield pa.table({"product": [embedding.rows[place].product.model_dump_json() for place in part]})


def _encoded(tables: Iterator[pa.Table], embedding: Embedding) -> Iterator[pa.Table]:
    """Tables of ``content``, ``vector`` and ``broken``, as they become ready."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    gpus, cpus = (int(ray.cluster_resources().get(kind, 0)) for kind in ("GPU", "CPU"))
    actors = gpus or max(1, cpus - 1)  # one is left to decode, should Ray not have the actors do it
    vectors = (
        ray.data.from_arrow(list(tables))
        .map_batches(partial(decode, settings=embedding.settings), batch_size=None, batch_format="pyarrow")
        .map_batches(
            Encode,
            fn_constructor_args=(embedding.load_embedder,),
            batch_size=None,
            batch_format="pyarrow",
            num_gpus=1 if gpus else 0,
            num_cpus=0 if gpus else 1,
            concurrency=(1, actors),
        )
    )
    yield from vectors.iter_batches(batch_size=None, batch_format="pyarrow")


def _keep(table: pa.Table, embedding: Embedding) -> None:
    rows = [row for row in table.to_pylist() if row["content"] not in embedding.archive]
    if rows:
        vectors = np.array([row["vector"] for row in rows], dtype=np.float32)
        broken = [json.loads(row["broken"]) for row in rows]
        embedding.archive.append([row["content"] for row in rows], vectors, broken)


def decode(table: pa.Table, settings: Settings) -> pa.Table:
    """Products with their pictures as pixels; those that nothing can be seen of are left out."""
    preparation = Preparation(None, None, settings)
    products = [Product.model_validate_json(text) for text in table["product"].to_pylist()]
    items = [preparation.of(CatalogRow(0, product)) for product in products]
    items = [item for item in items if not item.is_empty]
    return pa.table(
        {
            "product": [item.row.product.model_dump_json() for item in items],
            "content": [item.content for item in items],
            "broken": [json.dumps(dict(item.broken)) for item in items],
            "sizes": pa.array(
                [[image.size for image in item.images] for item in items], pa.list_(pa.list_(pa.int32()))
            ),
            "pixels": pa.array([[image.tobytes() for image in item.images] for item in items], pa.list_(pa.binary())),
        }
    )


class Encode:
    """An actor that holds the model. What it cannot embed is left out; the process that leads finds out why."""

    def __init__(self, load: Callable[[], CatalogEmbedder]) -> None:
        self._encoder = BatchEncoder(load())

    def __call__(self, table: pa.Table) -> pa.Table:
        items, vectors = [], []
        for batch in self._batches(table.to_pylist()):
            encoded = self._encoder.encode(list(batch.items.values()))
            items += encoded.items
            vectors += encoded.vectors
        return pa.table(
            {
                "content": pa.array([item.content for item in items], pa.string()),
                "vector": pa.array([vector.tolist() for vector in vectors], pa.list_(pa.float32())),
                "broken": pa.array([json.dumps(dict(item.broken)) for item in items], pa.string()),
            }
        )

    def _batches(self, rows: list[dict[str, Any]]) -> Iterator[Batch]:
        batch = Batch()
        for place, row in enumerate(rows):
            item = _prepared(row)
            tokens = self._encoder.tokens(item)
            if not batch.has_room(item, tokens, self._encoder.max_tokens):
                yield batch
                batch = Batch()
            batch.add(place, item, tokens)
        if batch.rows:
            yield batch


def _prepared(row: dict[str, Any]) -> Prepared:
    images = [Image.frombytes("RGB", tuple(size), data) for size, data in zip(row["sizes"], row["pixels"], strict=True)]
    product = Product.model_validate_json(row["product"])
    return Prepared(CatalogRow(0, product), row["content"], images, json.loads(row["broken"]))
