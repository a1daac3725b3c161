"""Embeddings of many queries or products, each view once: pictures pass through in batches, vectors stay on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from app.errors import ModelError
from trainer.evaluation.contents import Contents, View
from trainer.evaluation.models.base import EmbeddingModel
from trainer.evaluation.progress import Track, silently

READERS = 8
"""Threads that read pictures; network and decoding wait for each other, not for the model."""


@dataclass(frozen=True)
class Embedded:
    """Unit vectors (rows, dimensions) of one view, memory-mapped, and which rows have them (rows,)."""

    vectors: NDArray[np.float32]
    known: NDArray[np.bool_]


def embed_views(
    model: EmbeddingModel,
    rows: Sequence[int] | NDArray[np.int64],
    read: Callable[[int], Contents],
    views: Sequence[View],
    folder: Path,
    *,
    is_query: bool,
    batch_size: int,
    track: Track = silently,
) -> dict[View, Embedded]:
    """Each of ``views`` of what ``read`` gives for each of ``rows``; vectors are kept in files below ``folder``.

    While a batch is embedded, the pictures of the next one are read. Raises ModelError for a vector that is not of
    finite numbers.
    """
    kind = "queries" if is_query else "products"
    shape = (len(rows), model.dimensions)
    found = {
        view: Embedded(
            open_memmap(folder / f"{kind}-{view}.npy", mode="w+", dtype=np.float32, shape=shape),
            np.zeros(len(rows), dtype=np.bool_),
        )
        for view in views
    }
    starts = range(0, len(rows), batch_size)
    batches = _read_ahead([rows[start : start + batch_size] for start in starts], read)
    for start, contents in zip(track(starts, f"{model.name}: {kind}"), batches, strict=True):
        for view, embedded in found.items():
            has = [place for place, own in enumerate(contents) if view in own]
            if not has:
                continue
            vectors = model.embed([contents[place][view] for place in has], is_query=is_query)
            if not np.isfinite(vectors).all():
                raise ModelError(
                    f"{model.name} gave vectors that are not numbers for {kind} from {start} on; load it in another "
                    "precision or choose another checkpoint."
                )
            places = np.array(has) + start
            embedded.vectors[places] = vectors
            embedded.known[places] = True
    return found


def _read_ahead(
    batches: Sequence[Sequence[int] | NDArray[np.int64]], read: Callable[[int], Contents]
) -> Iterator[list[Contents]]:
    """The contents of every batch, read on threads while the batch before is in use."""
    with ThreadPoolExecutor(READERS) as pool:
        waiting: Iterator[Contents] | None = None
        for batch in batches:
            ready, waiting = waiting, pool.map(read, batch)
            if ready is not None:
                yield list(ready)
        if waiting is not None:
            yield list(waiting)
