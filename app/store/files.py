"""Files of embedded builds: written durably, copied without filling their holes, measured."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

_BLOCK = bytes(1 << 16)


def write_durably(file: Path, text: str) -> None:
    """Replace ``file`` atomically; after a power loss it holds either the old or the new text."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder to a new place. Qdrant's files are mostly holes, which take room only where they are written."""
    shutil.copytree(source, target, copy_function=_copy_with_holes)


def bytes_on_disk(folder: Path) -> int:
    """What the files below ``folder`` take, holes not counted; 0 if there is no such folder."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # deleted meanwhile
            total += file.lstat().st_blocks * 512
    return total


def _copy_with_holes(source: str, target: str) -> None:
    with Path(source).open("rb") as reading, Path(target).open("wb") as writing:
        while block := reading.read(len(_BLOCK)):
            if block == _BLOCK:
                writing.seek(len(block), os.SEEK_CUR)
            else:
                writing.write(block)
        writing.truncate(reading.tell())
        os.fsync(writing.fileno())
