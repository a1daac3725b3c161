"""Telling which kind of data set lies in a file or folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.errors import CatalogError
from trainer.data.columns import plain_name
from trainer.data.fashion200k import LABELS, label_files
from trainer.data.m5 import pictures_beside
from trainer.data.mbe import COLUMNS as MBE_COLUMNS
from trainer.data.rows import LINE_SUFFIXES, first_columns

Format = Literal["auto", "home", "mbe", "m5", "fashion200k", "shop"]
TABLES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
CATALOGS = ("catalog", "products", "items")
LOGS = ("log", "logs", "interactions", "events", "clicks", "clicklog")
HOME_FILES = ("catalog.parquet", "photos.parquet", "kinds.parquet", "queries.parquet", "mixed_queries.parquet")


@dataclass(frozen=True)
class Source:
    """Files of a data set: a shop's catalog and log, M5Product's metadata, the home set's tables, Fashion200K's labels,
    MBE's rows.
    """

    format: Format
    files: tuple[Path, ...]
    images: Path | None = None


def find_source(data: Path, format: Format = "auto", log: Path | None = None, images: Path | None = None) -> Source:
    """What ``data`` is, or the files that ``format`` needs.

    A folder with ``catalog.parquet`` and ``photos.parquet`` is the home set; one with a catalog and a log (named as in
    ``CATALOGS`` and ``LOGS``), or a catalog with ``log`` given, a shop; one with ``labels/*_detect_all.txt``
    Fashion200K; a JSON file with columns ``pv`` or ``label``
    M5Product; other files of JSON lines with a column of MBE's are MBE.

    Raises CatalogError that names what was found instead.
    """
    for path in (data, log, images):
        if path is not None and not path.exists():
            raise CatalogError(f"{path}: there is no such file or folder; check the path")
    if log is not None and format not in ("auto", "shop"):
        raise CatalogError(f"{log}: only a shop has a log, but the format is {format}; leave out one of them")
    for name in (format,) if format != "auto" else ("shop",) if log else ("home", "shop", "fashion200k", "m5", "mbe"):
        if (source := _FINDERS[name](data, log, images)) is not None:
            return source
    wanted = _WANTED[format if format != "auto" else "shop" if log else "auto"]
    raise CatalogError(f"{data}: not {wanted}. It holds: {_contents(data)}")


def _home(data: Path, log: Path | None, images: Path | None) -> Source | None:
    if (data / "photos.parquet").is_file() and (data / "catalog.parquet").is_file():
        files = tuple(data / name for name in HOME_FILES)
        if missing := [file.name for file in files if not file.is_file()]:
            raise CatalogError(f"{data}: the home set lacks {', '.join(missing)}")
        return Source("home", files)
    return None


def _shop(data: Path, log: Path | None, images: Path | None) -> Source | None:
    catalog = _named(data, CATALOGS) if data.is_dir() else data
    found = log or (_named(data, LOGS) if data.is_dir() else None)
    return Source("shop", (catalog, found)) if catalog and found else None


def _fashion200k(data: Path, log: Path | None, images: Path | None) -> Source | None:
    files = label_files(data)
    return Source("fashion200k", files) if files else None


def _m5(data: Path, log: Path | None, images: Path | None) -> Source | None:
    for file in _json_files(data):
        if {"pv", "label"} & first_columns(file):
            return Source("m5", (file,), images or pictures_beside(file))
    return None


def _mbe(data: Path, log: Path | None, images: Path | None) -> Source | None:
    own = {name for names in MBE_COLUMNS.values() for name in names} - {"id", "title", "image", "split"}
    files = tuple(
        file for file in _json_files(data, recursive=True) if own & {plain_name(name) for name in first_columns(file)}
    )
    return Source("mbe", files) if files else None


def _named(folder: Path, stems: Iterable[str]) -> Path | None:
    return next((path for stem in stems for suffix in TABLES if (path := folder / f"{stem}{suffix}").is_file()), None)


def _json_files(data: Path, recursive: bool = False) -> list[Path]:
    if data.is_file():
        return [data]
    found = data.rglob("*") if recursive else data.glob("*")
    return sorted(path for path in found if path.suffix.lower() in LINE_SUFFIXES and path.is_file())


def _contents(data: Path) -> str:
    if data.is_file():
        columns = ", ".join(sorted(first_columns(data))) if data.suffix.lower() in (*TABLES, ".json") else ""
        return f"the columns {columns}" if columns else "no rows that can be read"
    names = sorted(path.name for path in data.iterdir())
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "nothing"


_FINDERS = {"home": _home, "shop": _shop, "fashion200k": _fashion200k, "m5": _m5, "mbe": _mbe}
_WANTED = {
    "auto": "a data set that is known (home, a shop's catalog and log, M5Product, MBE, Fashion200K); a catalog alone "
    "needs --log",
    "home": f"the home set, a folder with {', '.join(HOME_FILES)}",
    "shop": f"a shop; name a catalog ({', '.join(CATALOGS)}) and a log ({', '.join(LOGS)}), as {', '.join(TABLES)}",
    "m5": "M5Product metadata, JSON with title, pv and label",
    "fashion200k": f"Fashion200K, a folder with {LABELS}",
    "mbe": "MBE, JSON lines with doc_title, doc_image and a query",
}
