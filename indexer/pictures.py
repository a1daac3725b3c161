"""Products made ready for the encoder: pictures read, hashed and decoded by threads that run ahead of it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from PIL.Image import Image

from app.catalog.problems import Problem
from app.catalog.products import CatalogRow
from app.errors import BadInputError
from app.images import decode_image
from app.picture_files import Stamp, catalog_pictures
from app.schema import Product
from app.settings import Settings
from indexer.picture_hashes import PictureHashes
from indexer.vectors import Broken, VectorArchive

MAX_SIDE = 1024
"""Longer sides of catalog pictures are reduced to this many pixels, so that what waits for the encoder stays small."""

AHEAD = 256
"""How many pictures are decoded before the encoder asks for them: at most 0.8 GB (our decision)."""

SECONDS_A_DAY = 86_400
_HASH_VERSION = "1"
_JSON = json.JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True)
class Prepared:
    """A row, the hash of everything that its vector is made of, and its pictures unless the vector is known.

    ``seconds`` is the processor time that a thread took to make it ready.
    """

    row: CatalogRow
    content: str
    images: list[Image] = field(default_factory=list)
    broken: Broken = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether a model would have nothing to look at."""
        return not (self.row.product.title or self.images)

    @property
    def reject(self) -> Problem:
        """What to report of an empty product."""
        reason, remedy = "no title, no usable picture", "add a title or replace the pictures"
        return Problem("reject", self.row.product.id, self.row.number, "images", reason, remedy, self.row.file)


def content_hash(product: Product, pictures: Sequence[str]) -> str:
    """SHA-256 of what the model sees: title, category, attributes in their order, and the hashes of the pictures."""
    seen = [_HASH_VERSION, product.title, product.category, list(product.attributes.items()), list(pictures)]
    return hashlib.sha256(_JSON.encode(seen).encode()).hexdigest()


def prepare_ahead(rows: Iterable[CatalogRow], archive: VectorArchive | None, settings: Settings) -> Iterator[Prepared]:
    """Prepare ``rows`` in their order, at most about ``AHEAD`` pictures ahead of the consumer.

    Pictures of products whose vectors are in ``archive`` are not decoded, and not even read if their files are as
    they were when their hashes were remembered. Those of other machines are kept in ``settings.data`` for a time.
    """
    waiting: deque[tuple[int, Prepared | Future[Prepared]]] = deque()
    pending = 0
    remembered = nullcontext() if archive is None else remembered_hashes(settings)
    with remembered as hashes, ThreadPoolExecutor(min(8, os.cpu_count() or 1), "pictures") as pool:
        preparation = Preparation(archive, hashes, settings)
        try:
            for row in rows:
                has_pictures = bool(row.product.images)
                weight = max(1, len(row.product.images))
                waiting.append((weight, pool.submit(preparation.timed, row) if has_pictures else preparation.of(row)))
                pending += weight
                while pending > AHEAD:
                    weight, item = waiting.popleft()
                    pending -= weight
                    yield _finished(item)
            while waiting:
                yield _finished(waiting.popleft()[1])
        finally:
            for _, item in waiting:
                if isinstance(item, Future):
                    item.cancel()


def remembered_hashes(settings: Settings) -> PictureHashes:
    """What is known of picture files since earlier runs; each machine of a launch has its own, as SQLite demands."""
    machine = int(os.environ.get("GROUP_RANK", "0"))
    return PictureHashes(settings.data / f"picture-hashes{machine or ''}.sqlite")


def _finished(item: Prepared | Future[Prepared]) -> Prepared:
    return item.result() if isinstance(item, Future) else item


class Preparation:
    """Makes rows ready for the encoder; safe for threads."""

    def __init__(self, archive: VectorArchive | None, hashes: PictureHashes | None, settings: Settings) -> None:
        self._archive, self._hashes, self._settings = archive, hashes, settings
        self._files = catalog_pictures(settings, settings.picture_cache_days * SECONDS_A_DAY)

    def timed(self, row: CatalogRow) -> Prepared:
        """As :meth:`of`, with the processor time that it took this thread."""
        start = time.thread_time()
        return replace(self.of(row), seconds=time.thread_time() - start)

    def of(self, row: CatalogRow) -> Prepared:
        """Read the pictures of a row and decode them unless its vector is known. Broken ones become warnings."""
        if not row.product.images:
            return self._read(row, {})
        stamps = self._stamps(row)
        return self._known_unread(row, stamps) or self._read(row, stamps)

    def is_known(self, row: CatalogRow) -> bool:
        """Whether the vector of a row is known without reading its pictures."""
        return self._known_unread(row, self._stamps(row)) is not None

    def _stamps(self, row: CatalogRow) -> dict[str, Stamp | None]:
        return {location: self._files.stamp(location) for location in row.product.images} if self._hashes else {}

    def _known_unread(self, row: CatalogRow, stamps: Mapping[str, Stamp | None]) -> Prepared | None:
        """A product whose vector is known by what is remembered of its pictures."""
        pictures = []
        for location in row.product.images:
            stamp = stamps.get(location)
            digest = self._hashes.get(location, stamp) if self._hashes and stamp else None
            if digest is None:
                return None
            pictures.append((location, digest))
        return self._known(row, content_hash(row.product, [digest for _, digest in pictures]), pictures)

    def _known(self, row: CatalogRow, content: str, pictures: Sequence[tuple[str, str]]) -> Prepared | None:
        if self._archive is None or content not in self._archive:
            return None
        broken = self._archive.broken(content)
        problems = [_warning(row, f"{name}: {broken[digest]}") for name, digest in pictures if digest in broken]
        return Prepared(row, content, problems=problems)

    def _read(self, row: CatalogRow, stamps: Mapping[str, Stamp | None]) -> Prepared:
        problems: list[Problem] = []
        pictures: list[tuple[str, str, bytes]] = []
        for location in row.product.images:
            try:
                data = self._files.read(location, bytes)
            except BadInputError as error:
                problems.append(_warning(row, str(error)))
                continue
            digest = hashlib.sha256(data).hexdigest()
            pictures.append((location, digest, data))
            stamp = stamps.get(location)
            if self._hashes and stamp and stamp.size == len(data):
                self._hashes.put(location, stamp, digest)
        content = content_hash(row.product, [digest for _, digest, _ in pictures])
        if known := self._known(row, content, [(location, digest) for location, digest, _ in pictures]):
            return replace(known, problems=problems + known.problems)

        images: list[Image] = []
        reasons: dict[str, str] = {}
        for location, digest, data in pictures:
            try:
                images.append(_decode(data, location, self._settings))
            except BadInputError as error:
                self._files.forget(location)
                reasons[digest] = str(error).removeprefix(f"{location}: ")
                problems.append(_warning(row, str(error)))
        return Prepared(row, content, images, reasons, problems)


def _decode(data: bytes, location: str, settings: Settings) -> Image:
    image = decode_image(data, name=location, max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    return image


def _warning(row: CatalogRow, reason: str) -> Problem:
    remedy = "the product is indexed without this picture; replace or remove it"
    return Problem("warning", row.product.id, row.number, "images", reason, remedy, row.file)
