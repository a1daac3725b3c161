"""What :mod:`trainer.data.inspect` found, and examples of records, in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.catalog.problems import Report
from app.moon.prompt import attribute_text, category_text, label_text, query_text
from app.moon.segments import mark
from trainer.data.corpus import Corpus, StoredRecord
from trainer.data.inspect import PARTS, Contents, Role
from trainer.data.record import MODALITIES, SPLITS, Item, Picture

SHOWN = 20
"""Attribute keys and broken pictures in the terminal."""
EXAMPLES = 5
ROLES: Mapping[Role, str] = {"query": "queries", "positive": "positives", "negative": "hard negatives"}
MAX_CHARS = 300


def show_contents(corpus: Corpus, contents: Contents, console: Console) -> None:
    """Tables of counts."""
    console.print(f"{corpus.info['source']}: {corpus.info['format']}, prepared in {corpus.folder}", markup=False)
    for title, header, rows in _tables(contents):
        _print(console, title, header, rows)


def _tables(contents: Contents) -> Iterator[tuple[str, Sequence[str], Iterable[Sequence[object]]]]:
    yield (
        "Records, and how many can be asked by image, text and both",
        ("split", "records", *MODALITIES),
        [(split, contents.records[split], *contents.modalities[split].values()) for split in SPLITS],
    )
    yield (
        "What is missing (boxes: where there is a picture)",
        ("", "all", *(f"no {part}" for part in PARTS)),
        [
            (name, contents.totals[role], *(contents.lacking[role].get(part, "") for part in PARTS))
            for role, name in ROLES.items()
        ],
    )
    duplicates = contents.duplicates
    counts = {
        "products": duplicates.products,
        "items that repeat a product": duplicates.repeated_items,
        "products whose title others have": duplicates.same_title,
        "groups of several products": duplicates.groups,
        "products in such groups": duplicates.in_groups,
        **{f"labels as queries, {name}": count for name, count in contents.segments.items() if name != "title"},
    }
    yield "Products and labels", ("", "count"), list(counts.items())
    queries, titles = contents.query_languages, contents.title_languages
    languages = [(name, queries[name], titles[name]) for name in sorted(queries | titles)]
    yield "Languages by script", ("script", "queries", "titles"), languages
    yield "Levels of the category", ("levels", "items"), sorted(contents.depths.items())
    keys = sorted(contents.attributes.items(), key=lambda pair: (-pair[1], pair[0]))
    yield f"Attribute keys, {len(keys)} in all", ("key", "items"), keys[:SHOWN]


def show_pictures(tried: int, broken: Mapping[str, str], console: Console) -> None:
    """How many of the pictures that were opened cannot be read, and why."""
    console.print(f"\nPictures opened: {tried}, of which {len(broken)} cannot be read", markup=False)
    for reason in list(broken.values())[:SHOWN]:
        console.print(f"    {reason}", markup=False)


def show_examples(corpus: Corpus, console: Console, seed: int = 0) -> None:
    """Records drawn at random as the model sees them, before parts are left out: pictures, then marked text."""
    for row in _examples(corpus, np.random.default_rng(seed)):
        record = corpus.record(row)
        table = Table()
        for name in ("", "pictures", "text"):
            table.add_column(name, overflow="fold")
        table.add_row("query", _pictures([record.picture] if record.picture else []), _shown(_query(record)))
        for name, item_row in (("positive", record.positive), ("hard negative", record.negative)):
            if item_row is not None:
                item = corpus.item(item_row)
                table.add_row(name, _pictures(item.pictures), _shown(_document(item)))
        console.print(f"\nRecord {row}, {record.split}, by {', '.join(record.modalities)}", markup=False)
        console.print(table)


def _examples(corpus: Corpus, rng: np.random.Generator) -> list[int]:
    """Rows of records of every combination of modalities in turn, ascending."""
    order = rng.permutation(corpus.records)
    bits = corpus.columns["modalities"][order]
    turn = np.zeros(len(order), dtype=np.int64)
    for kind in np.unique(bits):
        turn[bits == kind] = np.arange((bits == kind).sum())
    return sorted(order[np.argsort(turn, kind="stable")][:EXAMPLES].tolist())


def show_problems(corpus: Corpus, report: Report, console: Console) -> None:
    """The summary of what was left out when the data set was prepared."""
    if not report.problems:
        console.print("No problems: every record can be used.", markup=False)
        return
    console.print(f"Left out: {report.count('reject')} rows; warnings: {report.count('warning')}", markup=False)
    for line in report.summary():
        console.print(line, markup=False)
    console.print(f"All of it: {corpus.folder / 'problems.parquet'}", markup=False)


def _query(record: StoredRecord) -> str:
    return query_text(record.text) if record.segment == "title" else label_text(record.text, record.segment)


def _document(item: Item) -> str:
    return mark("title", item.title) + category_text(item.category) + attribute_text(item.attributes)


def _pictures(pictures: Sequence[Picture]) -> Text:
    lines = (f"{picture.location}{_box(picture)}" for picture in pictures)
    return _shown("\n".join(lines))


def _box(picture: Picture) -> str:
    return f" box {', '.join(f'{side:g}' for side in picture.box)}" if picture.box else ""


def _shown(words: str) -> Text:
    """Text of the data as it is, never as markup, without control characters."""
    words = "".join(c if c.isprintable() or c == "\n" else "?" for c in words)
    return Text(words if len(words) <= MAX_CHARS else f"{words[:MAX_CHARS]}...")


def _print(console: Console, title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    table = Table()
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place else "left")
    for cells in rows:
        table.add_row(*map(_cell, cells))
    console.print(f"\n{title}", markup=False)
    console.print(table)


def _cell(cell: object) -> Text:
    return Text(f"{cell:,}" if isinstance(cell, int) else str(cell))
