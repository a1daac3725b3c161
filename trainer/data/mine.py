"""Hard negatives that a model finds: products near a query that it does not mean, kept by record of a corpus."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.encoder import Embedder
from app.errors import CatalogError
from trainer.data.corpus import Corpus
from trainer.data.mine_config import MineConfig
from trainer.data.mine_vectors import Gallery, Reader, Track, embed_gallery, embed_queries
from trainer.data.negatives import training_items
from trainer.data.splits import training_rows

CHUNK = 16_384
"""Records that are embedded and searched together."""

Search = Callable[[NDArray[np.float32], NDArray[np.float32], int], tuple[NDArray[np.int64], NDArray[np.float32]]]
"""Rows of the gallery and scores of the k best per query, best first; see :func:`trainer.evaluation.search.top_k`."""

_SCHEMA = pa.schema([("record", pa.int32()), ("item", pa.int32()), ("score", pa.float32())])
_NOTE = b"mined"


@dataclass
class Mined:
    """What came of mining: ``records`` with ``negatives``, why the others have none, and mean scores."""

    records: int = 0
    negatives: int = 0
    none: Counter[str] = field(default_factory=Counter)
    positive_score: float = 0.0
    negative_score: float = 0.0
    gallery: int = 0
    unreadable: int = 0


def mine(
    corpus: Corpus,
    embedder: Embedder,
    reader: Reader,
    out: Path,
    config: MineConfig,
    *,
    search: Search,
    batch_size: int,
    track: Track,
) -> Mined:
    """Mine every training record of the corpus and write (record row, item row, score), nearest first, to ``out``.

    Only items that training may see are embedded (see :func:`~trainer.data.negatives.training_items`), each id once.
    An item that shares a key with the query (see :mod:`trainer.data.keys`) is no negative. Vectors lie in a temporary
    folder beside ``out``: four bytes per item and dimension.
    """
    records = training_rows(corpus).train
    rows = training_items(corpus, records)
    rows = np.sort(rows[np.unique(corpus.item_keys["id"][rows], return_index=True)[1]])
    note = {"corpus": corpus.info["fingerprint"], "model": embedder.fingerprint, **asdict(config)}
    schema = _SCHEMA.with_metadata({_NOTE: json.dumps(note)})
    result = Mined(gallery=len(rows))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        gallery = embed_gallery(corpus, embedder, reader, rows, Path(folder), batch_size, track)
        unfinished = Path(folder) / out.name
        with pq.ParquetWriter(unfinished, schema) as file:
            for start in range(0, len(records), CHUNK):
                title = f"records from {start:,} of {len(records):,}"
                part = records[start : start + CHUNK]
                vectors, known = embed_queries(corpus, embedder, reader, part, batch_size, track, title)
                found, scores = search(vectors, gallery.vectors, min(config.top_k, len(rows)))
                table = _select(corpus, gallery, part, vectors, known, found, scores, config, result)
                file.write_table(table.cast(schema))
        unfinished.replace(out)
    result.unreadable = len(reader.unreadable)
    result.positive_score /= max(result.records, 1)
    result.negative_score /= max(result.negatives, 1)
    return result


def _select(
    corpus: Corpus,
    gallery: Gallery,
    records: NDArray[np.int64],
    vectors: NDArray[np.float32],
    known: NDArray[np.bool_],
    found: NDArray[np.int64],
    scores: NDArray[np.float32],
    config: MineConfig,
    result: Mined,
) -> pa.Table:
    """Those of the found items that fit, and into ``result`` what became of each record."""
    chosen: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    empty = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    for place, row in enumerate(records):
        record = corpus.record(row)
        positive = gallery.place_of(int(corpus.item_keys["id"][record.positive]))
        chosen.append(empty)
        if not known[place] or not gallery.known[positive]:
            result.none["query or positive cannot be read"] += 1
            continue
        right = [number for number in corpus.query_keys(record) if number]
        open_ = gallery.known[found[place]] & ~np.isin(gallery.keys[found[place]], right).any(axis=1)
        candidates, near = found[place][open_][config.range_min :], scores[place][open_][config.range_min :]
        score = float(vectors[place] @ gallery.vectors[positive])
        fits = np.flatnonzero(near <= config.limit(score))[: config.negatives]
        if not len(fits):
            result.none["margin: all too close to the positive" if len(near) else "mask: all as right"] += 1
            continue
        chosen[-1] = candidates[fits], near[fits]
        result.records += 1
        result.negatives += len(fits)
        result.positive_score += score
        result.negative_score += float(near[fits].sum())
    return pa.table(
        {
            "record": np.repeat(records, [len(own) for own, _ in chosen]),
            "item": gallery.rows[np.concatenate([own for own, _ in chosen])],
            "score": np.concatenate([near for _, near in chosen]),
        }
    )


class MinedNegatives:
    """Mined hard negatives of a corpus, 8 bytes of memory each."""

    def __init__(self, records: NDArray[np.int32], items: NDArray[np.int32]) -> None:
        self._records, self._items = records, items

    @classmethod
    def open(cls, file: Path, corpus: Corpus) -> Self:
        """Raises CatalogError if the file cannot be read or was mined from another data set."""
        try:
            table = pq.read_table(file, columns=["record", "item"])
            note = json.loads(table.schema.metadata[_NOTE])
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise CatalogError(f"{file}: no mined negatives ({error}); make them with `trainer mine`") from error
        if note["corpus"] != corpus.info["fingerprint"]:
            raise CatalogError(f"{file}: mined from another data set than {corpus.name}; mine this one")
        return cls(table["record"].to_numpy(), table["item"].to_numpy())

    def __len__(self) -> int:
        return len(self._items)

    def for_record(self, row: int) -> list[int]:
        """Item rows, the nearest to the query first; none for a record without mined negatives."""
        start, end = np.searchsorted(self._records, [row, row + 1])
        return self._items[start:end].tolist()
