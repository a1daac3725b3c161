"""Embed what is new: batches for the encoder, vectors into the archive, a reject for every product it cannot embed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import tee

import numpy as np

from app.catalog.problems import Problem, Report
from app.encoder import Embedder, Vectors
from app.errors import ModelError, MoonError
from app.settings import Settings
from indexer.entries import Entries
from indexer.pictures import Prepared, prepare_ahead
from indexer.spool import Spool
from indexer.vectors import VectorArchive, check_vectors, unusable

log = logging.getLogger(__name__)

_ENCODER_ERRORS = (MoonError, ValueError, RuntimeError)
"""What processors and torch (out of memory included) raise on an input they cannot handle."""


def embed_catalog(
    rows: Spool,
    archive: VectorArchive,
    load_embedder: Callable[[], Embedder],
    settings: Settings,
    report: Report,
    advance: Callable[[int], None],
) -> Entries:
    """The products whose vectors are in ``archive`` afterwards; new ones are embedded, each batch becomes a part.

    The largest products come first: neighbours of like size waste no padding, and too little memory shows at once.
    ``load_embedder`` is called when the first unknown product turns up, ``advance`` with the number of products done.
    """
    entries = Entries(rows)
    embedder: Embedder | None = None
    for batch in _batches(rows, archive, settings):
        report.add(problem for _, item in batch for problem in item.problems)
        items = [item for _, item in batch if item.content not in archive and not item.is_empty]
        failed: dict[str, str] = {}
        if new := list({item.content: item for item in items}.values()):
            embedder = embedder or load_embedder()
            failed = _embed(new, archive, embedder)
        for place, item in batch:
            if item.content in archive:
                entries.add(place, item.content)
            else:
                report.add([_reject(item, failed[item.content]) if item.content in failed else item.reject])
        advance(len(batch))
    return entries


def _batches(rows: Spool, archive: VectorArchive, settings: Settings) -> Iterator[list[tuple[int, Prepared]]]:
    """Known products pass through; a batch ends with ``batch_size`` new ones or four times as many new pictures."""
    batch: list[tuple[int, Prepared]] = []
    new = pictures = 0
    order, places = tee(rows.largest_first())
    for place, item in zip(places, prepare_ahead(map(rows.__getitem__, order), archive, settings), strict=True):
        batch.append((place, item))
        new += item.content not in archive
        pictures += len(item.images)
        if new >= settings.batch_size or pictures >= 4 * settings.batch_size or len(batch) >= 32 * settings.batch_size:
            yield batch
            batch, new, pictures = [], 0, 0
    if batch:
        yield batch


def _embed(items: list[Prepared], archive: VectorArchive, embedder: Embedder) -> dict[str, str]:
    """Embed one batch into the archive; if that fails, one by one. Returns the reasons of failures by content hash.

    Raises ModelError if the model is at fault: every item fails, or the vectors have the wrong shape.
    """
    failed: dict[str, str] = {}
    try:
        vectors = _vectors(items, embedder)
    except ModelError:
        raise
    except _ENCODER_ERRORS as error:
        log.warning("a batch of %d products failed (%s); embedding them one by one", len(items), error)
        items, vectors = _embed_singly(items, embedder, failed)
    bad = unusable(vectors)
    good = [item for item, is_bad in zip(items, bad, strict=True) if not is_bad]
    failed |= {
        item.content: "the model gave a vector without direction"
        for item, is_bad in zip(items, bad, strict=True)
        if is_bad
    }
    if good:
        archive.append([item.content for item in good], vectors[~bad], [item.broken for item in good])
    return failed


def _embed_singly(items: list[Prepared], embedder: Embedder, failed: dict[str, str]) -> tuple[list[Prepared], Vectors]:
    done: list[Prepared] = []
    vectors: list[Vectors] = []
    for item in items:
        try:
            vectors.append(_vectors([item], embedder))
            done.append(item)
        except _ENCODER_ERRORS as error:
            failed[item.content] = f"the model cannot embed it ({error})"
    if not done and len(items) > 1:
        raise ModelError(f"all {len(items)} products of a batch failed, the last one: {failed[items[-1].content]}")
    return done, np.concatenate([np.empty((0, embedder.dimensions), np.float32), *vectors])


def _vectors(items: Sequence[Prepared], embedder: Embedder) -> Vectors:
    vectors = embedder.embed_products([item.row.product for item in items], [item.images for item in items])
    check_vectors(vectors, len(items), embedder.dimensions)
    return vectors


def _reject(item: Prepared, reason: str) -> Problem:
    remedy = "check the product's texts and pictures"
    return Problem("reject", item.row.product.id, item.row.number, "vector", reason, remedy, item.row.file)
