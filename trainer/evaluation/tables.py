"""A comparison of models as tables of text, for the terminal and for the page alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.data.record import MODALITIES, Modality
from trainer.evaluation.labels import ATTRIBUTES, CATEGORY
from trainer.evaluation.metrics import DEPTH, Score
from trainer.evaluation.published import Published
from trainer.evaluation.results import Comparison, ModelResult, Prediction

NOT_MEASURED = "published, not measured here"
MISSING = "-"
NAMES: dict[Modality, str] = {"image": "image", "text": "text", "both": "image + text"}


@dataclass(frozen=True)
class TextTable:
    """Cells by row; the first ``words`` columns are words, the others numbers."""

    title: str
    header: tuple[str, ...]
    words: int
    rows: list[tuple[str, ...]]


def measured_tables(comparison: Comparison, categories: int | None = None, keys: int | None = None) -> list[TextTable]:
    """Everything that was measured, models in columns; of categories and attribute keys the first so many."""
    models = comparison.models
    found = [
        _retrieval(models),
        _matrix(models),
        _categories(models, categories),
        _predictions(models, keys),
    ]
    return [table for table in found if table.rows]


def published_tables(comparison: Comparison) -> list[TextTable]:
    """What papers report on data of this format, each table under its own title."""
    return [_published(table) for table in comparison.published]


def setup_lines(comparison: Comparison) -> list[str]:
    """What models were measured with, then what was left out, then warnings."""
    setup = comparison.setup
    if not comparison.models:
        return [f"Warning: {warning}" for warning in setup["warnings"]]
    data = [str(setup["data"].get(name, "")) for name in ("name", "format", "fingerprint")]
    versions = ", ".join(f"{name} {number}" for name, number in setup["versions"].items())
    lines = [
        f"Data {data[0]} ({data[1]}, {data[2]}), split {setup['split']}: {setup['queries']} queries, "
        f"{setup['gallery']} products in the gallery. In brackets 95 % bootstrap intervals over queries, "
        f"seed {setup['seed']}.",
        f"{versions}, Python {setup['python']}; {setup['machine']}, {setup['cores']} cores, "
        f"{setup['threads']} threads, device {setup['device']}, detector {setup['detector']}; {setup['seconds']} s.",
    ]
    for model in comparison.models:
        version = f", {model.version}" if model.version else ""
        line = f"{model.name}: {model.family}{version}, {model.dimensions} dimensions, {model.seconds} s"
        missing = [f"{count} {kind} left out" for kind, count in model.left_out.items() if count]
        lines.append("; ".join([line, *missing]) + ".")
        if model.broken:
            lines.append(f"Pictures that could not be read: {len(model.broken)}, the first: {model.broken[0]}")
    return lines + [f"Warning: {warning}" for warning in setup["warnings"]]


def _retrieval(models: Sequence[ModelResult]) -> TextTable:
    rows: list[tuple[str, ...]] = []
    for query in MODALITIES:
        cells = [model.cell(query, "both") for model in models]
        first = next((cell for cell in cells if cell), None)
        if first is None:
            continue
        start = (NAMES[query],)
        for k in first.strict:
            rows.append((*start, f"R@{k}", str(first.n), *[score(cell.strict[k] if cell else None) for cell in cells]))
        for k in first.strict:
            scores = [score(cell.duplicate_aware[k] if cell else None) for cell in cells]
            rows.append((*start, f"R@{k}, duplicates count", str(first.n), *scores))
        rows.append((*start, f"nDCG@{DEPTH}", str(first.n), *[score(cell.ndcg if cell else None) for cell in cells]))
    header = ("query", "metric", "n", *[model.name for model in models])
    return TextTable("Retrieval of whole products", header, 2, rows)


def _matrix(models: Sequence[ModelResult]) -> TextTable:
    rows = []
    for query in MODALITIES:
        for target in MODALITIES:
            cells = [model.cell(query, target) for model in models]
            if not any(cells):
                continue
            n = next(str(cell.n) for cell in cells if cell)
            # R@10 is measured whatever the cutoffs of the data are: every format has k = 10.
            shown = [
                f"{cell.strict[DEPTH].value:.3f} ({cell.duplicate_aware[DEPTH].value:.3f})" if cell else MISSING
                for cell in cells
            ]
            rows.append((NAMES[query], NAMES[target], n, *shown))
    title = f"Query modality x target modality: R@{DEPTH} (where duplicates count)"
    return TextTable(title, ("query", "target", "n", *[model.name for model in models]), 2, rows)


def _categories(models: Sequence[ModelResult], limit: int | None) -> TextTable:
    names = {entry.category: entry.queries for model in models for entry in model.categories}
    by_model = [{entry.category: entry.recall for entry in model.categories} for model in models]
    rows = []
    for name, count in list(names.items())[:limit]:
        recalls = [own.get(name, {}) for own in by_model]
        shown = [" / ".join(number(recall.get(modality)) for modality in MODALITIES) for recall in recalls]
        rows.append((name, str(count), *shown))
    note = f"the {len(rows)} with most queries of {len(names)}" if len(rows) < len(names) else "most queries first"
    title = f"R@{DEPTH} by top-level category, {note}: image / text / image + text query"
    return TextTable(title, ("category", "queries", *[model.name for model in models]), 1, rows)


def _predictions(models: Sequence[ModelResult], keys: int | None) -> TextTable:
    found = [{(entry.task, entry.rule): entry for entry in model.predictions} for model in models]
    tasks = list(dict.fromkeys(task for own in found for task in own))
    overall = [task for task in tasks if task[0] in (CATEGORY, ATTRIBUTES)]
    single = [task for task in tasks if task not in overall][:keys]
    rows = []
    for task in [*overall, *single]:
        own = [entries.get(task) for entries in found]
        first = next(entry for entry in own if entry)
        rows.append((*task, str(first.n), str(first.labels), *map(_prediction, own)))
    header = ("task", "rule", "n", "labels", *[model.name for model in models])
    return TextTable("Prediction by label: accuracy; macro precision, recall, F1", header, 2, rows)


def _published(table: Published) -> TextTable:
    rows = [(name, *[f"{value:.2f}" for value in values]) for name, values in table.rows.items()]
    title = f"{table.title}, per cent: {NOT_MEASURED} ({table.source})"
    return TextTable(title, ("model", *table.columns), 1, rows)


def _prediction(entry: Prediction | None) -> str:
    if entry is None:
        return MISSING
    return f"{score(entry.accuracy)}; {entry.precision:.3f}, {entry.recall:.3f}, {entry.f1:.3f}"


def score(score: Score | None) -> str:
    return MISSING if score is None else f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"
