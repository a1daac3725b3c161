"""The titles of an uploaded table. ``python -m ui.titles`` unfolds those of a Parquet file, with little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from app.catalog.names import ALIASES, plain_name
from app.catalog.tables import Row, read_rows
from app.errors import CatalogError

PARQUET = ".parquet"
UNFOLDING_BYTES = 1_000_000_000
"""Address space of the process that unfolds a Parquet file."""
UNFOLDED_BYTES = 20_000_000
"""Titles of a Parquet file as JSON lines."""
UNFOLDING_SECONDS = 60


def title_rows(file: Path, most: int) -> Iterator[Row]:
    """The rows of a table, of Parquet only ``most`` and of those only the titles. Raises CatalogError as ``read_rows``.

    The sizes that a Parquet file gives of itself are claims. So another process reads it, whose memory and output are
    limited, and nothing of it is read here.
    """
    if file.suffix.lower() != PARQUET:
        yield from read_rows(file)
        return
    with TemporaryDirectory() as folder:
        unfolded = Path(folder) / "titles.jsonl"
        command = [sys.executable, "-m", "ui.titles", str(file), str(unfolded), str(most), str(UNFOLDING_BYTES)]
        environment = {**os.environ, "POLARS_MAX_THREADS": "1"}
        try:
            subprocess.run(command, env=environment, capture_output=True, timeout=UNFOLDING_SECONDS, check=True)  # noqa: S603
        except subprocess.SubprocessError as error:
            raise CatalogError(
                f"{file}: the Parquet file is damaged, or its titles unfold to more than a batch may hold; "
                "save them as .csv"
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
    """Write the titles, or of a table without any its first column, so that each row can be named."""
    import polars as pl

    table = pl.scan_parquet(file, glob=False)
    columns = table.collect_schema().names()
    table.select(title_column(columns) or columns[0]).head(most).sink_ndjson(unfolded)


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[4]),) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (UNFOLDED_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _unfold(sys.argv[1], sys.argv[2], int(sys.argv[3]))
