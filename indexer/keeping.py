"""What lies below MOON_DATA beside the builds, who may write there, and what is deleted when."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from filelock import FileLock, Timeout

from app.errors import IndexUnavailableError, disk_errors
from app.matryoshka import full_fingerprint
from app.settings import Settings
from app.store.base import Store
from indexer import build


def report_path(settings: Settings, build_id: str) -> Path:
    """Where the problems of a build's catalog are listed."""
    return settings.data / "reports" / f"{build_id}.parquet"


def record_path(settings: Settings, build_id: str) -> Path:
    """Where it is written what a build holds of every product."""
    return settings.data / "records" / f"{build_id}.parquet"


def vectors_folder(settings: Settings) -> Path:
    """Where the vectors of all models are kept, one folder per fingerprint."""
    return settings.data / "vectors"


@contextmanager
def only_one_writer(data: Path) -> Iterator[None]:
    """Keep other processes from writing below ``data``.

    Raises IndexUnavailableError if one of them does already, or if the disk fails meanwhile.
    """
    with disk_errors():
        data.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(data / "rebuild.lock", blocking=False):
                yield
        except Timeout:
            raise IndexUnavailableError(f"another indexer is writing to {data}; wait until it ends") from None


def drop_old_builds(store: Store, settings: Settings, trials: int = 1) -> list[str]:
    """Drop builds beyond ``settings.keep_builds``, and all but the newest ``trials`` of those on trial.

    Their files go with them, and the files of failed runs before the newest build. Returns what was dropped.
    """
    dropped = build.drop_old_builds(store, settings.keep_builds, trials)
    kept = {manifest.build for manifest in store.builds()}
    beside = (path(settings, "").parent for path in (report_path, record_path))
    for file in chain.from_iterable(folder.glob("*.parquet") for folder in beside):
        if kept and file.stem not in kept and file.stem < max(kept):
            file.unlink()
    return dropped


def drop_unused_vectors(store: Store, settings: Settings, fingerprint: str) -> list[str]:
    """Delete the vectors of models that neither made a kept build nor have this fingerprint; returns theirs."""
    used = {full_fingerprint(manifest.fingerprint) for manifest in store.builds()} | {fingerprint}
    unused = [folder for folder in sorted(vectors_folder(settings).glob("*")) if folder.name not in used]
    for folder in unused:
        shutil.rmtree(folder)
    return [folder.name for folder in unused]
