"""What uploaded files hold for a batch: the titles of tables, photos, and photos in zip archives."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from PIL.Image import Image

from app.catalog.fields import PICTURE_SUFFIXES
from app.catalog.fields import text as cell_text
from app.catalog.tables import FORMATS, BrokenRow
from app.errors import BadInputError, CatalogError
from app.serving import Service
from ui.photo import open_photo
from ui.titles import title_column, title_rows

ARCHIVE = ".zip"
METHODS = (ZIP_STORED, ZIP_DEFLATED)
"""Of the others, LZMA lets a file claim gigabytes of memory to be unpacked with."""

_UNZIP_ERRORS = (OSError, ValueError, EOFError, RuntimeError, BadZipFile, zlib.error)
"""What ``zipfile`` raises on archives that are damaged or encrypted."""


@dataclass(frozen=True)
class Item:
    """One row of a table or one photo; ``problem`` says why it cannot be predicted.

    ``photo`` is the photo within the limits of the service, as :func:`~ui.photo.open_photo` opens one.
    """

    name: str
    title: str = ""
    photo: Callable[[Service], AbstractContextManager[Image]] | None = None
    problem: str = ""


def items_of(path: str, most: int, opened: ExitStack) -> Iterator[Item]:
    """The items of one uploaded file, of Parquet at most ``most``. A file that cannot be read is one with a problem.

    Photos in an archive can be decoded until ``opened`` is closed.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        yield Item(file.name, photo=partial(open_photo, path))
    elif suffix in FORMATS:
        try:
            yield from _titles(file, most)
        except CatalogError as error:
            yield Item(file.name, problem=str(error).replace(path, file.name))
    elif suffix == ARCHIVE:
        try:
            archive = opened.enter_context(ZipFile(file))
        except _UNZIP_ERRORS as error:
            yield Item(file.name, problem=f"not a complete zip archive ({error}); pack the photos again")
        else:
            yield from (_member(archive, member, file.name) for member in archive.infolist() if not member.is_dir())
    else:
        known = ", ".join((*FORMATS, ARCHIVE))
        yield Item(file.name, problem=f"neither a photo nor one of {known}; save it as one of them")


def _titles(file: Path, most: int) -> Iterator[Item]:
    """Nothing but titles: a path or an address in a row is never opened."""
    for number, row in enumerate(title_rows(file, most), start=1):
        name = f"{file.name}, row {number}"
        if isinstance(row, BrokenRow):
            yield Item(name, problem=str(row))
        elif (column := title_column(row)) is None:
            yield Item(name, problem="there is no column with a title; name one of the columns title")
        else:
            yield _titled(name, row[column])


def _titled(name: str, cell: Any) -> Item:
    try:
        title = cell_text(cell)
    except ValueError as error:
        return Item(name, problem=f"the title is {error}")
    return Item(name, title=title, problem="" if title else "the title is empty")


def _member(archive: ZipFile, member: ZipInfo, archive_name: str) -> Item:
    """Of the path in the archive only the last part is used, as a name; nothing is written to disk."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    name = f"{archive_name}, {path.name}"
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        return Item(name, problem="not a photo; of an archive only photos are read, not archives in it")
    if member.compress_type not in METHODS:
        return Item(name, problem="packed by an unusual method; pack it again as an ordinary zip archive")
    return Item(name, photo=partial(_unzipped, archive, member, path.name))


@contextmanager
def _unzipped(archive: ZipFile, member: ZipInfo, name: str, service: Service) -> Iterator[Image]:
    """The photo, of which one byte more than allowed is unpacked at most: the size in the archive is a claim."""
    try:
        with archive.open(member) as file:
            data = file.read(service.settings.max_image_bytes + 1)
    except _UNZIP_ERRORS as error:
        raise BadInputError(f"{name}: it cannot be unpacked ({error}); pack the photos again") from error
    with service.photos.opened(data, name) as photo:
        yield photo
