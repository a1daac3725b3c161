"""One door to every data set: tell what it is, prepare it once, and open it as a corpus."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from app.catalog.problems import Report
from app.errors import CatalogError
from trainer.data.corpus import INFO, Corpus, CorpusWriter
from trainer.data.detect import Format, Source, find_source
from trainer.data.fashion200k import write_fashion200k
from trainer.data.home_corpus import write_home
from trainer.data.m5 import write_m5
from trainer.data.mbe import write_mbe
from trainer.data.problems import BoundedReport
from trainer.data.shop import write_shop
from trainer.data.shop_log import EVENTS

logger = logging.getLogger(__name__)

PROBLEMS = "problems.parquet"
READERS = 4
"""Raised whenever a reader makes other records of the same source."""


def open_corpus(
    data: Path,
    *,
    cache: Path,
    format: Format = "auto",
    problems: Report | None = None,
    log: Path | None = None,
    images: Path | None = None,
    events: Mapping[str, float] = EVENTS,
) -> Corpus:
    """Open the data set in the file or folder ``data``; the first time it is prepared in a folder of ``cache``.

    ``log`` is a shop's interaction log if it does not lie in ``data``, ``events`` what its events weigh; ``images`` is
    the folder or zip file of M5Product's pictures. ``problems`` receives what was left out, up to a limit for
    each kind; the same table is in ``problems.parquet`` in the corpus's folder, and :func:`read_problems` has the exact
    counts. Processes that open the same data set wait for the first one.

    Raises CatalogError if the format cannot be told, a source cannot be read as a whole, or no record is left.
    """
    source = find_source(data, format, log, images)
    name, mark = data.absolute().stem, _fingerprint(source, events)
    folder = cache / f"{name}-{mark}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / INFO).exists():
                logger.info("%s is prepared as %s in %s", data, source.format, folder)
                info = {"name": name, "source": str(data.absolute()), "format": source.format, "fingerprint": mark}
                _prepare(source, folder, info, events)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CatalogError(f"{folder}: the data set cannot be prepared there ({reason}); make room for it") from error
    corpus = Corpus(folder)
    if problems is not None:
        problems.add(read_problems(corpus).problems)
    return corpus


def read_problems(corpus: Corpus) -> BoundedReport:
    """What was left out when the corpus was prepared."""
    return BoundedReport.read(corpus.folder / PROBLEMS, corpus.info["problems"])


def _prepare(source: Source, folder: Path, info: Mapping[str, str], events: Mapping[str, float]) -> None:
    """Write everything to a folder beside, and put it into place when it is complete."""
    report = BoundedReport()
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with CorpusWriter(partial, info) as writer:
        _write(source, writer, report, events)
        if not writer.records:
            reasons = "\n".join(report.summary()) or "it has no rows"
            raise CatalogError(f"{source.files[-1]}: no record can be made of the data set; what was wrong:\n{reasons}")
        writer.info["problems"] = report.to_dicts()
        report.write(partial / PROBLEMS)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _write(source: Source, writer: CorpusWriter, report: Report, events: Mapping[str, float]) -> None:
    readers: dict[str, Callable[[], None]] = {
        "home": lambda: write_home(source.files[0].parent, writer),
        "fashion200k": lambda: write_fashion200k(source.files, writer, report),
        "mbe": lambda: write_mbe(source.files, writer, report),
        "m5": lambda: write_m5(source.files[0], source.images, writer, report),
        "shop": lambda: write_shop(source.files[0], source.files[1], writer, report, events),
    }
    readers[source.format]()


def _fingerprint(source: Source, events: Mapping[str, float]) -> str:
    """Changes with the source's files (place, size, time of change), the options and the readers."""
    files = [*source.files, *([source.images] if source.images else [])]
    facts = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    weights = sorted(events.items()) if source.format == "shop" else []
    told = json.dumps([READERS, source.format, facts, weights])
    return hashlib.blake2b(told.encode(), digest_size=6).hexdigest()
