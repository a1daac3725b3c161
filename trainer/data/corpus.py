"""A data set made ready: items and records as memory-mapped Arrow files, so that five million rows fit any laptop."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from numpy.typing import NDArray

from app.errors import CatalogError
from app.schema import CATEGORY_SEPARATOR
from trainer.data.keys import answer_key, group_key, id_key, key, padded, title_key
from trainer.data.record import MODALITIES, SPLITS, Item, Modality, Picture, Record, Segment, Split

NO_ROW = -1
FORMAT = 1
"""Raised whenever the files change, so that earlier ones are made again."""
ITEMS, RECORDS, INFO = "items.arrow", "records.arrow", "corpus.json"
BATCH_ROWS = 2_000

_PICTURE = pa.struct([("location", pa.string()), ("box", pa.list_(pa.float32()))])
_ITEM_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("pictures", pa.list_(_PICTURE)),
        ("category", pa.list_(pa.string())),
        ("attributes", pa.list_(pa.struct([("key", pa.string()), ("values", pa.list_(pa.string()))]))),
        ("group", pa.string()),
        ("answers", pa.list_(pa.string())),
        *((name, pa.int64()) for name in ("id_key", "group_key", "title_key", "category_key")),
    ]
)
_RECORD_SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("picture", _PICTURE),
        ("positive", pa.int64()),
        ("negative", pa.int64()),
        ("also_right", pa.list_(pa.string())),
        ("meaning", pa.string()),
        ("segment", pa.string()),
        ("modalities", pa.int8()),
        ("weight", pa.float32()),
        ("split", pa.int8()),
    ]
)


@dataclass(frozen=True)
class StoredRecord:
    """A record with rows of the corpus's items in the place of products; ``negative`` is None if the data have none."""

    text: str
    picture: Picture | None
    positive: int
    negative: int | None
    also_right: tuple[str, ...]
    meaning: str
    segment: Segment
    modalities: tuple[Modality, ...]
    weight: float
    split: Split


class Corpus:
    """Items and records by row number. ``info`` says where they came from (source, format, counts, fingerprint)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.info: dict[str, Any] = json.loads((folder / INFO).read_text())
        except (OSError, ValueError) as error:
            raise CatalogError(f"{folder}: no prepared data set ({error}); prepare it again") from error
        if self.info.get("version") != FORMAT:
            raise CatalogError(f"{folder}: prepared by another version of the trainer; prepare it again")
        self._items = Dataset.from_file(str(folder / ITEMS))
        self._records = Dataset.from_file(str(folder / RECORDS))

    @property
    def name(self) -> str:
        return self.info["name"]

    @property
    def items(self) -> int:
        """Number of items; an item that occurs in several records of MBE counts each time."""
        return len(self._items)

    @property
    def records(self) -> int:
        return len(self._records)

    def item(self, row: int) -> Item:
        found = self._items[int(row)]
        return Item(
            found["id"],
            found["title"],
            tuple(_picture(picture) for picture in found["pictures"]),
            tuple(found["category"]),
            {pair["key"]: tuple(pair["values"]) for pair in found["attributes"]},
            found["group"],
            tuple(found["answers"]),
        )

    def record(self, row: int) -> StoredRecord:
        found = self._records[int(row)]
        return StoredRecord(
            found["text"],
            _picture(found["picture"]) if found["picture"] else None,
            found["positive"],
            None if found["negative"] == NO_ROW else found["negative"],
            tuple(found["also_right"]),
            found["meaning"],
            found["segment"],
            tuple(name for bit, name in enumerate(MODALITIES) if found["modalities"] >> bit & 1),
            found["weight"],
            SPLITS[found["split"]],
        )

    @cached_property
    def item_keys(self) -> dict[str, NDArray[np.int64]]:
        """``id``, ``group``, ``title`` and ``category`` (the whole path) of every item as keys, each (items,)."""
        names = ("id", "group", "title", "category")
        return {name: self._items.data.column(f"{name}_key").to_numpy() for name in names}

    @cached_property
    def columns(self) -> dict[str, NDArray[Any]]:
        """``positive``, ``negative`` (-1: none), ``modalities``, ``weight`` and ``split``, each of shape (records,).

        ``modalities`` are bits in the order of MODALITIES, ``split`` is the place in SPLITS.
        """
        names = ("positive", "negative", "modalities", "weight", "split")
        return {name: self._records.data.column(name).to_numpy() for name in names}

    @cached_property
    def shoppers_words(self) -> NDArray[np.bool_]:
        """Of every record, whether its text is what a shopper types or a title, not a label; shape (records,)."""
        return pc.equal(self._records.data.column("segment"), "title").to_numpy()

    def rows_of(self, split: Split) -> NDArray[np.int64]:
        """Rows of the records of a split, ascending."""
        return np.flatnonzero(self.columns["split"] == SPLITS.index(split))

    @cached_property
    def distinct_items(self) -> NDArray[np.int64]:
        """The first row of every product id, ascending: the gallery."""
        return np.sort(np.unique(self.item_keys["id"], return_index=True)[1])

    def item_document_keys(self, row: int, item: Item) -> Sequence[int]:
        """Keys of an item as a document, see :mod:`trainer.data.keys`; WIDTH numbers."""
        own = (int(self.item_keys[name][row]) for name in ("id", "group", "title"))
        return padded([*own, *map(answer_key, item.answers)])

    def query_keys(self, record: StoredRecord) -> Sequence[int]:
        """Keys of what must not count as a negative of the record's query; WIDTH numbers."""
        own = (int(self.item_keys[name][record.positive]) for name in ("id", "group", "title"))
        return padded([*own, answer_key(record.meaning), *map(id_key, record.also_right)])


class CorpusWriter:
    """Writes a corpus, one item or record at a time; use it as a context manager, which finishes the files.

    A run that ends with an error leaves nothing that could be taken for a corpus. ``info`` may be added to until then.
    """

    def __init__(self, folder: Path, info: Mapping[str, Any]) -> None:
        self.folder = folder
        self.info: dict[str, Any] = {**info, "version": FORMAT}
        self._rows: dict[int, int] = {}
        self.items = 0
        self.records = 0

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / INFO).unlink(missing_ok=True)
        self._item_table = _TableWriter(self.folder / ITEMS, _ITEM_SCHEMA)
        self._record_table = _TableWriter(self.folder / RECORDS, _RECORD_SCHEMA)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._item_table.close()
        self._record_table.close()
        if kind is None:
            (self.folder / INFO).write_text(
                json.dumps({**self.info, "items": self.items, "records": self.records}, indent=2) + "\n"
            )

    def add_catalog(self, items: Iterable[Item]) -> None:
        """Items that records may name by id; ids are distinct."""
        for item in items:
            self._rows[id_key(item.id)] = self._add_item(item)

    def add(self, record: Record) -> None:
        """Raises CatalogError if the record names a product that was not added."""
        possible = [("image", bool(record.picture)), ("text", bool(record.text))]
        possible.append(("both", bool(record.picture and record.text)))
        wanted = record.modalities or MODALITIES
        bits = sum(1 << MODALITIES.index(name) for name, has in possible if has and name in wanted)
        if not bits:
            raise CatalogError("the query has neither text nor picture of a modality that it is for")
        positive = self._row(record.positive)
        negative = NO_ROW if record.negative is None else self._row(record.negative)
        self._record_table.add(
            {
                **{name: getattr(record, name) for name in ("text", "also_right", "meaning", "segment", "weight")},
                "picture": _plain(record.picture) if record.picture else None,
                "positive": positive,
                "negative": negative,
                "modalities": bits,
                "split": SPLITS.index(record.split),
            }
        )
        self.records += 1

    def knows(self, product_id: str) -> bool:
        """Whether the catalog has a product."""
        return id_key(product_id) in self._rows

    def _row(self, product: Item | str) -> int:
        if isinstance(product, Item):
            return self._add_item(product)
        try:
            return self._rows[id_key(product)]
        except KeyError:
            raise CatalogError(f"product {product!r} is not in the catalog") from None

    def _add_item(self, item: Item) -> int:
        path = CATEGORY_SEPARATOR.join(item.category)
        self._item_table.add(
            {
                **{name: getattr(item, name) for name in ("id", "title", "category", "group", "answers")},
                "pictures": [_plain(picture) for picture in item.pictures],
                "attributes": [{"key": name, "values": values} for name, values in item.attributes.items()],
                "id_key": id_key(item.id),
                "group_key": group_key(item.group),
                "title_key": title_key(item.title),
                "category_key": key("category", path),
            }
        )
        self.items += 1
        return self.items - 1


class _TableWriter:
    """An Arrow stream that is written in batches."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self._schema, self._waiting = schema, list[dict[str, Any]]()
        self._sink = pa.OSFile(str(file), "wb")
        self._stream = pa.ipc.new_stream(self._sink, schema)

    def add(self, row: dict[str, Any]) -> None:
        self._waiting.append(row)
        if len(self._waiting) >= BATCH_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._stream.close()
        self._sink.close()

    def _flush(self) -> None:
        if self._waiting:
            self._stream.write_batch(pa.RecordBatch.from_pylist(self._waiting, schema=self._schema))
            self._waiting.clear()


def _plain(picture: Picture) -> dict[str, Any]:
    return {"location": picture.location, "box": picture.box}


def _picture(stored: Mapping[str, Any]) -> Picture:
    box = stored["box"]
    return Picture(stored["location"], tuple(box) if box else None)
