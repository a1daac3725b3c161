"""What uploaded files hold for a batch: the rows of tables, photos, and photos in zip archives."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from app.catalog.fields import PICTURE_SUFFIXES
from app.catalog.fields import text as cell_text
from app.catalog.tables import FORMATS, BrokenRow
from app.errors import BadInputError, CatalogError
from ui.tables import table_rows, title_column
from ui.uploads import Upload

ARCHIVE = ".zip"
METHODS = (ZIP_STORED, ZIP_DEFLATED)
"""Of the others, LZMA lets a file claim gigabytes of memory to be unpacked with."""

JSON_LINES = (".jsonl", ".ndjson")
NO_TITLE = "there is no column with a title; name one of the columns title"

_UNZIP_ERRORS = (OSError, ValueError, EOFError, RuntimeError, BadZipFile, zlib.error)
"""What ``zipfile`` raises on archives that are damaged or encrypted."""


@dataclass(frozen=True)
class Item:
    """One row of a table or one photo; ``problem`` says why it cannot be predicted.

    ``cells`` are the columns of the row as text. ``photo`` reads at most so many bytes of the photo, and one more if
    there are more; it raises BadInputError.
    """

    name: str
    title: str = ""
    cells: Mapping[str, str] = field(default_factory=dict)
    photo: Callable[[int], bytes] | None = None
    problem: str = ""

    @property
    def size(self) -> int:
        """Characters of its cells and their names."""
        return sum(len(name) + len(cell) for name, cell in self.cells.items())


def items_of(upload: Upload, most: int, opened: ExitStack) -> Iterator[Item]:
    """The items of one uploaded file, of Parquet at most ``most``. A file that cannot be read is one with a problem.

    Photos in an archive can be read until ``opened`` is closed.
    """
    file = Path(upload.path)
    suffix = file.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        yield Item(upload.name, photo=partial(_uploaded, upload))
    elif suffix in FORMATS:
        try:
            yield from _rows(upload, most)
        except CatalogError as error:
            yield Item(upload.name, problem=str(error).replace(upload.path, upload.name))
    elif suffix == ARCHIVE:
        try:
            archive = opened.enter_context(ZipFile(file))
        except _UNZIP_ERRORS as error:
            yield Item(upload.name, problem=f"not a complete zip archive ({error}); pack the photos again")
        else:
            yield from (_member(archive, member, upload.name) for member in archive.infolist() if not member.is_dir())
    else:
        known = ", ".join((*FORMATS, ARCHIVE))
        yield Item(upload.name, problem=f"neither a photo nor one of {known}; save it as one of them")


def _rows(upload: Upload, most: int) -> Iterator[Item]:
    """Only the title is looked at, the other cells are kept: a path or an address in a row is never opened.

    A table whose header has no title is one item; JSON lines may differ, so each says it for itself.
    """
    file = Path(upload.path)
    for number, row in enumerate(table_rows(file, most), start=1):
        name = f"{upload.name}, row {number}"
        if isinstance(row, BrokenRow):
            yield Item(name, problem=str(row))
            continue
        cells = {_plain(key): _plain(value) for key, value in row.items()}
        if (column := title_column(row)) is not None:
            yield _titled(name, row[column], cells)
        elif file.suffix.lower() in JSON_LINES:
            yield Item(name, cells=cells, problem=NO_TITLE)
        else:
            yield Item(upload.name, problem=NO_TITLE)
            return


def _plain(cell: Any) -> str:
    """A cell as it is in the table: lists and structs as JSON, text that UTF-8 cannot say with question marks."""
    if cell is None:
        return ""
    said = cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False, default=str)
    return said.encode("utf-8", "replace").decode()


def _titled(name: str, cell: Any, cells: Mapping[str, str]) -> Item:
    try:
        title = cell_text(cell)
    except ValueError as error:
        return Item(name, cells=cells, problem=f"the title is {error}")
    return Item(name, title=title, cells=cells, problem="" if title else "the title is empty")


def _uploaded(upload: Upload, most: int) -> bytes:
    try:
        with Path(upload.path).open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise BadInputError("it is no longer on the server; upload it again") from error


def _member(archive: ZipFile, member: ZipInfo, archive_name: str) -> Item:
    """Of the path in the archive only the last part is used, as a name; nothing is written to disk."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    name = f"{archive_name}, {path.name}"
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        return Item(name, problem="not a photo; of an archive only photos are read, not archives in it")
    if member.compress_type not in METHODS:
        return Item(name, problem="packed by an unusual method; pack it again as an ordinary zip archive")
    return Item(name, photo=partial(_unzipped, archive, member))


def _unzipped(archive: ZipFile, member: ZipInfo, most: int) -> bytes:
    """Unpacked no further than ``most`` and one byte more: the size in the archive is a claim."""
    try:
        with archive.open(member) as file:
            return file.read(most + 1)
    except _UNZIP_ERRORS as error:
        raise BadInputError(f"it cannot be unpacked ({error}); pack the photos again") from error
