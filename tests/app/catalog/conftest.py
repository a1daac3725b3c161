"""Catalog files written on the spot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str, name: str = "catalog.csv") -> Path:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[[Sequence[Mapping[str, Any]]], Path]:
    def write(rows: Sequence[Mapping[str, Any]]) -> Path:
        file = tmp_path / "catalog.parquet"
        pl.DataFrame(rows).write_parquet(file)
        return file

    return write
