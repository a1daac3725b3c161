"""Where a catalog lies: a file, a folder of files, an archive, on this machine or behind a URL.

Whatever is not a plain file of this machine is copied to a temporary folder first: it is read in the state that it had
at one moment, and a connection that breaks costs no half catalog. Catalogs are named by whoever runs the indexer.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urljoin, urlsplit

import fsspec
from fsspec.core import url_to_fs
from fsspec.spec import AbstractFileSystem

from app.catalog.fields import Folder
from app.catalog.tables import FORMATS
from app.errors import CatalogError

COMPRESSED = (".gz", ".bz2", ".xz")
CONTENT_TYPES = {
    "text/csv": ".csv",
    "text/plain": ".txt",
    "text/tab-separated-values": ".tsv",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "application/vnd.apache.parquet": ".parquet",
    "application/zip": ".zip",
}
"""What a web server says about a catalog whose address does not end with its format."""
FETCH_SECONDS = 60.0
REMOTE_LIBRARIES = "pip install 'moon-search[remote]'"


@dataclass(frozen=True)
class CatalogFile:
    """One file of a catalog: its readable copy, its format, what people call it, and where its pictures lie."""

    path: Path
    suffix: str
    name: str
    folder: Path | Folder


@dataclass(frozen=True)
class RemoteFolder:
    """Where a catalog lies behind a URL or in an archive.

    ``url`` ends with what stands before a name, ``outer`` is what follows it in a chain (``::/data/shop.zip``).
    """

    url: str
    outer: str = ""

    @classmethod
    def of(cls, file: str) -> RemoteFolder:
        """The folder of a file.

        >>> RemoteFolder.of("zip://shop/catalog.csv::s3://bucket/x.zip") / "a.jpg"
        'zip://shop/a.jpg::s3://bucket/x.zip'
        >>> RemoteFolder.of("https://example.org/shop/feed?kind=csv") / "../a.jpg"
        'https://example.org/a.jpg'
        """
        place, chain, outer = file.partition("::")
        return cls(place if _is_web(place) else place[: place.rindex("/") + 1], chain + outer)

    def __truediv__(self, name: str) -> str:
        return urljoin(self.url, name) if _is_web(self.url) else f"{self.url}{name.lstrip('/')}{self.outer}"


@contextmanager
def catalog_files(location: Path | str) -> Iterator[list[CatalogFile]]:
    """The files of a catalog, in the order of their names, readable while the block runs.

    ``location`` is a file, a folder of them, a ``.zip`` archive of them, or the URL of one (s3://, gs://, https://,
    ``zip://catalog.csv::s3://bucket/shop.zip``); files may be compressed with gzip, bzip2 or xz.

    Raises CatalogError if nothing is there, nothing in it is a catalog, or a library that reads it is missing.
    """
    with tempfile.TemporaryDirectory(prefix="catalog-") as temporary:
        try:
            files = list(_files(location, Path(temporary)))
        except CatalogError:
            raise
        except ImportError as error:
            message = f"{location}: a library is missing ({error}); {REMOTE_LIBRARIES} installs it"
            raise CatalogError(message) from error
        except Exception as error:  # every file system and archive has errors of its own
            raise CatalogError(f"{location}: the catalog cannot be fetched ({error}); check the address") from error
        if not files:
            raise CatalogError(f"{location}: no catalog in it; put files there that end with {', '.join(FORMATS)}")
        yield files


def _files(location: Path | str, temporary: Path) -> Iterator[CatalogFile]:
    address = str(location)
    if isinstance(location, Path) or "://" not in address:
        path = Path(location)
        if not path.exists():
            raise CatalogError(f"{path}: there is no such catalog file; check the path")
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file == path or _is_catalog(file.name):
                yield from _local(file, temporary)
    elif _is_web(address) and "::" not in address:
        copy = _download(address, temporary)
        is_archive = copy.suffix == ".zip"
        yield from _copies(f"zip://::{copy}", temporary, address) if is_archive else _local(copy, temporary, address)
    else:
        is_archive = address.endswith(".zip") and "::" not in address
        yield from _copies(f"zip://::{address}" if is_archive else address, temporary)


def _local(file: Path, temporary: Path, address: str = "") -> Iterator[CatalogFile]:
    """``address`` is where a copy comes from."""
    folder = RemoteFolder.of(address) if address else file.parent
    if file.suffix.lower() == ".zip":
        yield from _copies(f"zip://::{file.absolute()}", temporary)
    elif file.suffix.lower() in COMPRESSED:
        copy = _copy(fsspec.filesystem("file"), str(file.absolute()), temporary)
        yield CatalogFile(copy, copy.suffix, address or str(file), folder)
    else:
        yield CatalogFile(file, file.suffix.lower(), address or str(file), folder)


def _copies(url: str, temporary: Path, archive: str = "") -> Iterator[CatalogFile]:
    """Copies of what fsspec finds at ``url``; ``archive`` is the address of one that was copied already."""
    _, chain, outer = url.partition("::")
    outer = archive or outer
    files, path = url_to_fs(url, skip_instance_cache=True)
    if not files.exists(path):
        raise CatalogError(f"{url}: there is no such catalog file; check the address")
    is_folder = files.isdir(path)
    for file in sorted(files.find(path)) if is_folder else [path]:
        if not is_folder or _is_catalog(PurePosixPath(file).name):
            name = f"{files.unstrip_protocol(file)}{chain}{outer}"
            copy = _copy(files, file, temporary)
            yield CatalogFile(copy, copy.suffix, name, RemoteFolder.of(name))


def _copy(files: AbstractFileSystem, path: str, temporary: Path) -> Path:
    """A decompressed copy under a name of our own."""
    name = PurePosixPath(path.lower())
    suffix = PurePosixPath(name.stem).suffix if name.suffix in COMPRESSED else name.suffix
    copy = temporary / f"{len(list(temporary.iterdir()))}{suffix}"
    with files.open(path, "rb", compression="infer") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    return copy


def _is_web(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def _is_catalog(name: str) -> bool:
    """Whether a file of a folder is meant; ``.txt`` is not, as it may be anything there."""
    base = name.lower()
    for ending in COMPRESSED:
        base = base.removesuffix(ending)
    return base.endswith(FORMATS) and not base.endswith(".txt") and not base.startswith((".", "_"))


def _download(url: str, temporary: Path) -> Path:
    """By httpx, as pictures are: feeds by https need no further library."""
    import httpx

    with httpx.stream("GET", url, timeout=FETCH_SECONDS, follow_redirects=True) as response:
        response.raise_for_status()
        name = PurePosixPath(urlsplit(url).path.lower())
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        known = name.suffix in (*FORMATS, *COMPRESSED, ".zip")
        copy = temporary / f"catalog{''.join(name.suffixes[-2:]) if known else CONTENT_TYPES.get(kind, '')}"
        with copy.open("wb") as target:
            for chunk in response.iter_bytes(1 << 20):
                target.write(chunk)
    return copy
