"""A comparison of models as pictures (SVG): recall, the modality matrix, categories, predictions."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from trainer.data.record import MODALITIES
from trainer.evaluation.labels import ATTRIBUTES, CATEGORY
from trainer.evaluation.metrics import DEPTH, Score
from trainer.evaluation.results import Comparison, ModelResult
from trainer.evaluation.tables import NAMES

CATEGORIES = 15
LETTERS = 40
"""Longer names are cut, since they would leave no room for the bars."""
NONE = float("nan")


def plots(comparison: Comparison) -> Iterator[tuple[str, bytes]]:
    """Titles and SVG files of what was measured; published numbers are in no plot."""
    import matplotlib as mpl

    # words stay words, in the reader's fonts: the measuring font lacks Chinese and warns of each letter
    with mpl.rc_context({"svg.fonttype": "none", "text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        if comparison.models:
            yield from _plots(comparison.models)


def _plots(models: Sequence[ModelResult]) -> Iterator[tuple[str, bytes]]:
    yield "Recall of whole products by query modality (strict, 95 % intervals)", _recall(models)
    yield f"R@{DEPTH} by query modality (rows) and target modality (columns), strict", _matrix(models)
    if any(model.categories for model in models):
        yield f"R@{DEPTH} by top-level category, mean over query modalities", _categories(models)
    if any(model.predictions for model in models):
        yield "Category and attributes", _predictions(models)


def _recall(models: Sequence[ModelResult]) -> bytes:
    cutoffs = sorted({k for model in models for cell in model.cells if cell.target == "both" for k in cell.strict})
    figure, axes = _figure(len(cutoffs), 3.6)
    for axis, k in zip(axes, cutoffs, strict=True):
        cells = [[model.cell(query, "both") for query in MODALITIES] for model in models]
        found = [[cell.strict[k] if cell else None for cell in own] for own in cells]
        _bars(axis, models, [NAMES[query] for query in MODALITIES], found)
        axis.set_title(f"R@{k}")
    return _svg(figure, axes[0])


def _matrix(models: Sequence[ModelResult]) -> bytes:
    figure, axes = _figure(len(models), 3.4)
    for axis, model in zip(axes, models, strict=True):
        cells = [[model.cell(query, target) for target in MODALITIES] for query in MODALITIES]
        values = [[cell.strict[DEPTH].value if cell else NONE for cell in row] for row in cells]
        axis.imshow(values, vmin=0, vmax=1, cmap="viridis")
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                if value == value:
                    colour = "white" if value < 0.6 else "black"
                    axis.text(x, y, f"{value:.2f}", ha="center", va="center", color=colour)
        axis.set_xticks(range(3), [NAMES[target] for target in MODALITIES])
        axis.set_yticks(range(3), [NAMES[query] for query in MODALITIES])
        axis.set_title(_short(model.name))
    return _svg(figure)


def _categories(models: Sequence[ModelResult]) -> bytes:
    names = list(dict.fromkeys(entry.category for model in models for entry in model.categories))[:CATEGORIES]
    figure, (axis,) = _figure(1, 1.2 + 0.3 * len(names) * max(1, 0.6 * len(models)), width=8)
    height = 0.8 / len(models)
    for place, model in enumerate(models):
        means = {entry.category: sum(entry.recall.values()) / max(1, len(entry.recall)) for entry in model.categories}
        rows = [row + place * height for row in range(len(names))]
        axis.barh(rows, [means.get(name, 0) for name in names], height, label=_short(model.name))
    axis.set_yticks([row + 0.4 - height / 2 for row in range(len(names))], [_short(name) for name in names])
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    return _svg(figure, axis)


def _predictions(models: Sequence[ModelResult]) -> bytes:
    shown = [entry for model in models for entry in model.predictions if entry.task in (CATEGORY, ATTRIBUTES)]
    tasks = list(dict.fromkeys((entry.task, entry.rule) for entry in shown))
    figure, axes = _figure(len(tasks), 3.6)
    for axis, task in zip(axes, tasks, strict=True):
        found = []
        for model in models:
            entry = next((entry for entry in model.predictions if (entry.task, entry.rule) == task), None)
            macro = [Score(v, NONE, NONE) for v in (entry.precision, entry.recall, entry.f1)] if entry else [None] * 3
            found.append([entry.accuracy if entry else None, *macro])
        _bars(axis, models, ["accuracy", "precision", "recall", "F1"], found)
        axis.set_title(", ".join(task))
    return _svg(figure, axes[0])


def _bars(
    axis: Any, models: Sequence[ModelResult], groups: Sequence[str], found: Sequence[Sequence[Score | None]]
) -> None:
    """One bar per model in every group, with the interval as a whisker if there is one."""
    width = 0.8 / len(models)
    for place, (model, scores) in enumerate(zip(models, found, strict=True)):
        at = [group + place * width for group in range(len(groups))]
        values = [score.value if score else 0.0 for score in scores]
        below = [max(score.value - score.low, 0.0) if score else NONE for score in scores]
        above = [max(score.high - score.value, 0.0) if score else NONE for score in scores]
        axis.bar(at, values, width, yerr=(below, above), capsize=2, label=_short(model.name))
    axis.set_xticks([group + 0.4 - width / 2 for group in range(len(groups))], groups)
    axis.set_ylim(0, 1.05)


def _figure(columns: int, height: float, width: float = 4.2) -> tuple[Any, Any]:
    """A figure without pyplot, which would keep it and might look for a screen, and its axes in a row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _svg(figure: Any, models: Any = None) -> bytes:
    """The figure as a file; ``models`` is an axis whose labels name the models, below the figure."""
    if models is not None:
        figure.legend(*models.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    file = io.BytesIO()
    figure.savefig(file, format="svg")
    return file.getvalue()


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
