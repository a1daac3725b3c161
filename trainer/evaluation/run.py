"""The evaluation of several models on one data set, one after the other, and what it was measured with."""

from __future__ import annotations

import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import torch
from PIL.Image import Image

from app.moon.fingerprint import WEIGHTS, checkpoint_folder, model_fingerprint
from app.moon.tower_memory import TowerMemory
from app.settings import Settings
from trainer.data.home import HomeSet
from trainer.data.leakage import refuse_trained_on_test
from trainer.data.record import MODALITIES
from trainer.evaluation.benchmark import Benchmark
from trainer.evaluation.contents import ContentReader, Contents, FindBox, View
from trainer.evaluation.embed import Embedded, embed_views
from trainer.evaluation.home import ALL_PICTURES, Evaluation
from trainer.evaluation.home import evaluate as evaluate_home
from trainer.evaluation.labels import predictions
from trainer.evaluation.leak import trained_on
from trainer.evaluation.models.base import EmbeddingModel
from trainer.evaluation.models.checkpoint import MOON
from trainer.evaluation.progress import Track, silently
from trainer.evaluation.protocol import retrieval
from trainer.evaluation.published import published
from trainer.evaluation.results import Comparison, ModelResult
from trainer.evaluation.targets import Spread, spreads

logger = logging.getLogger(__name__)

PACKAGES = ("moon-search", "torch", "transformers", "sentence-transformers", "scikit-learn")


@dataclass(frozen=True)
class Bench:
    """How models are measured: the benchmark, where pictures and boxes come from, settings, seed of the intervals."""

    benchmark: Benchmark
    read_picture: Callable[[str], Image]
    settings: Settings
    find_box: FindBox | None = None
    seed: int = 0
    track: Track = silently

    def measure(self, model: EmbeddingModel, version: str = "") -> ModelResult:
        """All numbers of a model. Raises ModelError for a model whose vectors are not numbers."""
        started = time.monotonic()
        benchmark, settings = self.benchmark, self.settings
        reader = ContentReader(self.read_picture, self.find_box)
        search: dict[str, Any] = {"seed": self.seed, "device": _search_device(settings)}
        with tempfile.TemporaryDirectory(prefix="moon-evaluation-") as folder:
            queries, products = self._embedded(model, reader, Path(folder))
            cells, categories = retrieval(benchmark, queries, products, track=self.track, **search)
            predicted = predictions(model, benchmark, products, batch_size=settings.batch_size, **search)
        asked = np.any([queries[view].known for view in MODALITIES], axis=0)
        left_out = {"queries": int((~asked).sum()), "products": int((~products["both"].known).sum())}
        seconds = round(time.monotonic() - started, 1)
        return ModelResult(
            model.name,
            model.family,
            version,
            model.dimensions,
            cells,
            categories,
            predicted,
            left_out,
            sorted(reader.broken.values()),
            seconds,
        )

    def _embedded(
        self, model: EmbeddingModel, reader: ContentReader, folder: Path
    ) -> tuple[dict[View, Embedded], dict[View, Embedded]]:
        """Queries and products by view; products are in the order of the gallery."""
        corpus = self.benchmark.corpus
        classified = set(self.benchmark.gallery[self.benchmark.classified].tolist())

        def query(row: int) -> Contents:
            return reader.query(corpus.record(row))

        def product(row: int) -> Contents:
            return reader.product(corpus.item(row), unlabelled=int(row) in classified)

        common: dict[str, Any] = {"folder": folder, "batch_size": self.settings.batch_size, "track": self.track}
        queries = embed_views(model, self.benchmark.queries, query, MODALITIES, is_query=True, **common)
        views: tuple[View, ...] = (*MODALITIES, "unlabelled")
        return queries, embed_views(model, self.benchmark.gallery, product, views, is_query=False, **common)


def compare(
    names: Sequence[str],
    bench: Bench,
    open_model: Callable[[str, Settings], EmbeddingModel],
    home: HomeSet | None = None,
) -> Comparison:
    """Measure models one after the other, each loaded when it is its turn; ``home`` is the set behind its test split.

    With it, MOON checkpoints have its own tasks as well. Raises ModelError for a model that cannot be loaded, or that
    was trained on test designs of ``home``.
    """
    started = time.monotonic()
    results = []
    warnings: list[str] = []
    own_tasks: dict[str, Evaluation] = {}
    for name in names:
        model = open_model(name, bench.settings)
        if model.family == MOON:
            warnings += _checked(checkpoint_folder(name), bench.benchmark, home)
        results.append(bench.measure(model, _version(name, bench.settings)))
        if home is not None and model.family == MOON:
            settings = bench.settings.model_copy(update={"model": name})
            own_tasks[name] = evaluate_home(settings, home.root, bench.seed, bench.track)
    corpus = bench.benchmark.corpus
    setup = {
        "data": corpus.info,
        "split": bench.benchmark.split,
        "queries": len(bench.benchmark.queries),
        "gallery": len(bench.benchmark.gallery),
        "seed": bench.seed,
        "warnings": warnings,
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": bench.settings.device,
        "detector": bench.settings.detector,
        "seconds": round(time.monotonic() - started, 1),
    }
    return Comparison(setup, results, published(str(corpus.info.get("format"))), own_tasks, _spreads(own_tasks))


def compare_at_home(
    names: Sequence[str], home: HomeSet, settings: Settings, seed: int = 0, track: Track = silently
) -> Comparison:
    """Measure MOON checkpoints on the home-goods set's own tasks alone, against its targets.

    Raises ModelError for a checkpoint that was trained on test designs; all are checked before the first is measured.
    """
    started = time.monotonic()
    for name in names:
        refuse_trained_on_test(checkpoint_folder(name), home)
    distinct = list(dict.fromkeys(names))
    memory = TowerMemory(ALL_PICTURES) if len(distinct) > 1 else None
    found = {
        name: evaluate_home(settings.model_copy(update={"model": name}), home.root, seed, track, memory)
        for name in distinct
    }
    seconds = round(time.monotonic() - started, 1)
    setup = {"data": {"name": home.root.name, "format": "home"}, "seed": seed, "warnings": [], "seconds": seconds}
    return Comparison(setup, [], [], found, _spreads(found))


def _spreads(evaluations: Mapping[str, Evaluation]) -> list[Spread]:
    return spreads([evaluation.targets for evaluation in evaluations.values()])


def _checked(folder: Path, benchmark: Benchmark, home: HomeSet | None) -> list[str]:
    """Warnings about what the checkpoint was trained on; test designs of the home-goods set are an error."""
    if home is not None:
        refuse_trained_on_test(folder, home)
    warning = trained_on(folder, benchmark.corpus, benchmark.split)
    if warning is None:
        return []
    logger.warning(warning)
    return [warning]


def _version(name: str, settings: Settings) -> str:
    """What identifies a model's weights: the fingerprint of a local folder, the commit of a model from the Hub."""
    if Path(name).is_dir():
        return model_fingerprint(name, settings) if any(Path(name).glob(WEIGHTS)) else ""
    file = huggingface_hub.try_to_load_from_cache(name, "config.json")
    return Path(file).parent.name if isinstance(file, str) else ""


def _search_device(settings: Settings) -> str:
    """Search runs where the models do if that is a CUDA GPU, else on the CPU."""
    if settings.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return settings.device if settings.device.startswith("cuda") else "cpu"
