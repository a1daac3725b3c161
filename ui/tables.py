"""The rows of an uploaded table. ``python -m ui.tables`` unfolds those of a Parquet file, with little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from app.catalog.names import ALIASES, plain_name
from app.catalog.tables import Row, read_rows
from app.errors import CatalogError

PARQUET = ".parquet"
UNFOLDING_BYTES = 1_000_000_000
"""Address space of the process that unfolds a Parquet file."""
UNFOLDED_BYTES = 20_000_000
"""Rows of a Parquet file as JSON lines."""
UNFOLDING_SECONDS = 60


def table_rows(file: Path, most: int) -> Iterator[Row]:
    """The rows of a table, of Parquet only ``most`` and without binary columns. Raises CatalogError as ``read_rows``.

    The sizes that a Parquet file gives of itself are claims. So another process reads it, whose memory and output are
    limited, and nothing of it is read here.
    """
    if file.suffix.lower() != PARQUET:
        yield from read_rows(file)
        return
    with TemporaryDirectory() as folder:
        unfolded = Path(folder) / "rows.jsonl"
        command = [sys.executable, "-m", "ui.tables", str(file), str(unfolded), str(most), str(UNFOLDING_BYTES)]
        environment = {**os.environ, "POLARS_MAX_THREADS": "1"}
        try:
            subprocess.run(command, env=environment, capture_output=True, timeout=UNFOLDING_SECONDS, check=True)  # noqa: S603
        except subprocess.SubprocessError as error:
            raise CatalogError(
                f"{file}: the Parquet file is damaged, or its rows unfold to more than a batch may hold; "
                "leave out large columns, or save it as .csv"
            ) from error
        yield from read_rows(unfolded)


def title_column(columns: Iterable[str]) -> str | None:
    """The column that the indexer would read as the title."""
    ranks = {column: ALIASES.get(plain_name(column), ("title", 0)) for column in columns if _is_title(column)}
    return min(ranks, key=lambda column: ranks[column][1], default=None)


def _is_title(column: str) -> bool:
    name = plain_name(column)
    return name == "title" or ALIASES.get(name, ("",))[0] == "title"


def _unfold(file: str, unfolded: str, most: int) -> None:
    """Write the rows; of a table without titles only its first column, which shows that there are none."""
    import polars as pl

    table = pl.scan_parquet(file, glob=False)
    schema = table.collect_schema()
    names = [name for name, kind in schema.items() if not _is_binary(kind)]
    if title_column(names) is None:
        names = names[:1]
    table.select(names or schema.names()[:1]).head(most).sink_ndjson(unfolded)


def _is_binary(kind: Any) -> bool:
    """Whether a polars type holds bytes, as tables with pictures in them do."""
    import polars as pl

    if isinstance(kind, pl.Struct):
        return any(_is_binary(field.dtype) for field in kind.fields)
    return _is_binary(kind.inner) if isinstance(kind, pl.List | pl.Array) else kind in (pl.Binary, pl.Object)


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[4]),) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (UNFOLDED_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _unfold(sys.argv[1], sys.argv[2], int(sys.argv[3]))
