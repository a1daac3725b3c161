"""Exact nearest neighbours in chunks, so that 400,000 queries against 400,000 items fit into 8 GB."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.evaluation.progress import Track, silently

QUERY_CHUNK = 2_048
GALLERY_CHUNK = 16_384
"""A block of similarities of these sizes takes 134 MB in float32."""

Vectors = NDArray[np.float32] | NDArray[np.float16]


def top_k(
    queries: Vectors,
    gallery: Vectors,
    k: int,
    *,
    device: str | torch.device = "cpu",
    query_chunk: int = QUERY_CHUNK,
    gallery_chunk: int = GALLERY_CHUNK,
    track: Track = silently,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The ``k`` gallery rows with the largest dot products per query, and those products; both (queries, k).

    ``queries`` (q, d) and ``gallery`` (g, d) may be float16 and memory-mapped; products are taken in float32. Best
    first, equal products in the order of their rows. With fewer than ``k`` rows in the gallery the results are as
    narrow as it is. Memory beyond inputs and results is a few blocks of ``query_chunk`` x ``gallery_chunk``.

    Raises ValueError if the widths differ or ``k`` is not positive.

    >>> rows, scores = top_k(np.eye(2, dtype=np.float32), np.array([[0.6, 0.8], [1, 0]], np.float32), 1)
    >>> rows.tolist(), scores.tolist()
    ([[1], [0]], [[1.0], [0.800000011920929]])
    """
    if k < 1 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(f"k={k} of queries {queries.shape} and gallery {gallery.shape}: no such search")
    k = min(k, len(gallery))
    rows = np.empty((len(queries), k), dtype=np.int64)
    scores = np.empty((len(queries), k), dtype=np.float32)
    for start in track(range(0, len(queries), query_chunk), "search"):
        part = slice(start, start + query_chunk)
        found, best = _search(_on(queries[part], device), gallery, k, gallery_chunk)
        rows[part], scores[part] = found.cpu().numpy(), best.cpu().numpy()
    return rows, scores


@torch.inference_mode()
def _search(queries: Tensor, gallery: Vectors, k: int, gallery_chunk: int) -> tuple[Tensor, Tensor]:
    """Rows and products of one chunk of queries, merged over the chunks of the gallery."""
    rows = queries.new_empty((len(queries), 0), dtype=torch.int64)
    scores = queries.new_empty((len(queries), 0))
    for start in range(0, len(gallery), gallery_chunk):
        block = queries @ _on(gallery[start : start + gallery_chunk], queries.device).T
        columns = _best_columns(block, min(k, block.shape[1]))
        rows = torch.cat([rows, columns + start], dim=1)
        scores = torch.cat([scores, block.gather(1, columns)], dim=1)
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        scores, rows = scores[:, :k], rows.gather(1, order[:, :k])
    return rows, scores


def _best_columns(block: Tensor, k: int) -> Tensor:
    """The columns of the ``k`` largest values per row, ascending; of equal values the first columns."""
    values, columns = block.topk(k, dim=1, sorted=False)
    cut_through_ties = (block >= values.amin(dim=1, keepdim=True)).sum(dim=1) > k
    if cut_through_ties.any():
        exact = block[cut_through_ties].sort(dim=1, descending=True, stable=True).indices
        columns[cut_through_ties] = exact[:, :k]
    return columns.sort(dim=1).values


def _on(part: Vectors, device: str | torch.device) -> Tensor:
    return torch.from_numpy(np.array(part, dtype=np.float32)).to(device)
