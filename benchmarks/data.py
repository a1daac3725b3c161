"""How fast a large data set is prepared, and in how much memory.

    python benchmarks/data.py mbe [--rows 5000000]
    python benchmarks/data.py shop [--rows 5000000] [--products 400000]

Writes rows of MBE, or a shop's catalog and log, to a temporary folder, opens them and prints rows per second, the
peak of the resident memory, and the peak of its anonymous part, which is what cannot be given back to the disk.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import numpy as np
from memory import Peak, memory

from trainer.data.corpus import Corpus
from trainer.data.inspect import inspect
from trainer.data.open import open_corpus, read_problems

WORDS = [f"{size}{stuff}" for size in ("small ", "big ", "") for stuff in ("oak", "steel", "linen", "glass", "cotton")]
THINGS = ("chair", "table", "lamp", "dress", "kettle", "bag", "shoe", "phone case", "curtain", "sofa")
START = 1_700_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("mbe", "shop"))
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--products", type=int, default=400_000)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        if arguments.kind == "mbe":
            log, source = None, write_mbe(folder, arguments.rows)
        else:
            source, log = write_shop(folder, arguments.rows, arguments.products)
        before = memory()
        with Peak() as peak:
            start = time.perf_counter()
            corpus = open_corpus(source, log=log, cache=folder / "cache")
            seconds = time.perf_counter() - start
        print(f"{arguments.rows:,} rows of {arguments.kind}: {seconds:.0f} s, {arguments.rows / seconds:,.0f} rows/s")
        print(f"memory before: resident {before[0]:.0f} MB, anonymous {before[1]:.0f} MB")
        print(f"peak: resident {peak.resident:.0f} MB, anonymous {peak.anonymous:.0f} MB")
        size = sum(file.stat().st_size for file in corpus.folder.iterdir())
        print(f"{corpus.records:,} records, {corpus.items:,} items, {size / 1e9:.2f} GB prepared")
        print("\n".join(read_problems(corpus).summary(1)))
        read(corpus)
        with Peak() as peak:
            start = time.perf_counter()
            inspect(corpus)
            seconds = time.perf_counter() - start
        print(f"inspected in {seconds:.0f} s; peak: anonymous {peak.anonymous:.0f} MB")


def read(corpus: Corpus, count: int = 20_000) -> None:
    """Read records with their items in random order, and the columns that drawing needs."""
    rows = np.random.default_rng(0).integers(corpus.records, size=count)
    with Peak() as peak:
        start = time.perf_counter()
        for row in rows:
            corpus.item(corpus.record(row).positive)
        seconds = time.perf_counter() - start
        assert len(corpus.columns["weight"]) == corpus.records
        assert len(corpus.distinct_items) <= corpus.items
    print(f"read: {count / seconds:,.0f} records/s with their item; peak: anonymous {peak.anonymous:.0f} MB")


def write_mbe(folder: Path, rows: int) -> Path:
    file, rng = folder / "train.jsonl", random.Random(0)  # noqa: S311
    with file.open("w") as stream:
        for n in range(rows):
            thing, other = rng.choice(THINGS), rng.choice(THINGS)
            cells = {
                "id": str(rng.randrange(rows)),
                "doc_title": f"{rng.choice(WORDS)} {thing} for the whole family, model {n % 99991}",
                "doc_image": f"https://img.example.com/{n % 7919}/{n}.jpg",
                "doc_industry_name": "Home",
                **{f"doc_cate{level}_name": f"{thing} level {level}" for level in range(1, 5)},
                "doc_attributes": f"color:red!!!blue,,material:{rng.choice(WORDS)},,brand:maker {n % 997},,style:plain",
                "query_title": f"{rng.choice(WORDS)} {thing}" if n % 17 else "",
                "query_image": f"https://img.example.com/q/{n}.jpg",
                "query_bbox": "12,30,220,310",
                "neg_title": f"{rng.choice(WORDS)} {other} that is not it, model {n % 9973}",
                "neg_image": f"https://img.example.com/n/{n}.jpg",
            }
            stream.write((json.dumps(cells) if n % 1000 else '{"id": "broken') + "\n")
    return file


def write_shop(folder: Path, rows: int, products: int) -> tuple[Path, Path]:
    catalog, log, rng = folder / "catalog.csv", folder / "log.csv", random.Random(0)  # noqa: S311
    with catalog.open("w") as stream:
        stream.write("id,title,category,attr_color,attr_material,images\n")
        for n in range(products):
            thing, words = rng.choice(THINGS), rng.choice(WORDS)
            stream.write(f"sku-{n},{words} {thing} {n},Home > {thing},red,{words},https://img.example.com/{n}.jpg\n")
    with log.open("w") as stream:
        stream.write("query,product_id,event,time\n")
        for n in range(rows):
            query = f"{rng.choice(WORDS)} {rng.choice(THINGS)} {int(rng.paretovariate(0.4)) % 2_000_000}"
            event = rng.choice(("click", "click", "click", "add_to_cart", "purchase", "hover"))
            stream.write(f"{query},sku-{int(rng.random() ** 2 * products * 1.001)},{event},{START + n * 10}\n")
    return catalog, log


if __name__ == "__main__":
    main()
