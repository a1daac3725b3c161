"""Whether a checkpoint's own record says that it has seen what it is to be measured on."""

from __future__ import annotations

import json
from pathlib import Path

from trainer.data.corpus import Corpus
from trainer.data.record import Split


def trained_on(folder: Path, corpus: Corpus, split: Split) -> str | None:
    """A warning if ``training.json`` names this very corpus with this split, in its run or one before it; else None."""
    file = folder / "training.json"
    record = json.loads(file.read_text()) if file.exists() else None
    while record:
        data = record.get("data", {})
        if data.get("fingerprint") == corpus.info.get("fingerprint", "") and split in data.get("splits", []):
            return (
                f"{folder}: {file.name} says that it was trained on the split {split!r} of this very data set; "
                "its numbers below say nothing about new queries."
            )
        record = record.get("before")
    return None
