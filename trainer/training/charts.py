"""The course of a training run as small pictures, in the colours of the page that shows them."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trainer.data.record import MODALITIES

INK = "#0a0b0c"
"""Stands for the page's text colour, which differs in dark mode."""
COLOURS = ["tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:red", "tab:cyan"]
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(linestyle=["-", "--", ":"]) * cycler(color=COLOURS),
    "font.size": 9,
}
LINES: dict[str, tuple[str, ...]] = {
    "Loss": ("loss", "intra", "eval_loss"),
    "Recall in validation": (),
    "Temperature": ("temperature", "intra_temperature"),
    "Queries per triplet": ("queries",),
    "Negatives": ("negatives",),
    "Masked negatives": ("masked",),
    "Weights of objectives": tuple(f"weight_{name}" for name in MODALITIES),
    "Samples counted in full": ("kept",),
    "Learning rate": ("learning_rate",),
    "Gradient norm": ("grad_norm",),
}
"""Title to the numbers of a chart; recalls are found by their names."""
SHARES: dict[str, tuple[str, Sequence[str], str]] = {
    "expert_load": (
        "Expert load, {} tokens",
        ("visual", "other", "category", "attribute"),
        "Mean routing weight of every expert on {} tokens over steps",
    ),
    "expert_use": (
        "Expert use, {} queries",
        MODALITIES,
        "Mean routing weight of every free expert on the tokens of {} queries over steps",
    ),
}
"""Of an event's numbers by expert: titles and descriptions of charts, one for each kind."""
RESERVED = ("category expert", "attribute expert")
RECALL = re.compile(r"eval_.*(?:_r|recall_?@?)\d+")
FEW = 30
"""Up to so many points are marked one by one."""


@dataclass(frozen=True)
class Course:
    """Log events on one axis: stages that count their steps anew follow each other."""

    places: tuple[int, ...]
    events: tuple[Mapping[str, Any], ...]
    stages: tuple[tuple[int, str], ...]
    """Where each stage began, and its name."""

    @classmethod
    def of(cls, history: Iterable[Mapping[str, Any]]) -> Course:
        """Events without a step are left out."""
        places: list[int] = []
        events: list[Mapping[str, Any]] = []
        stages: list[tuple[int, str]] = []
        offset = 0
        for event in history:
            if not isinstance(step := event.get("step"), int):
                continue
            stage, last = str(event.get("stage", "")), max(places, default=0)
            if not stages or stages[-1][1] != stage:
                offset = last if offset + step <= last else offset
                stages.append((last, stage))
            places.append(offset + step)
            events.append(event)
        return cls(tuple(places), tuple(events), tuple(stages))

    def names(self, pattern: re.Pattern[str]) -> list[str]:
        """Keys that match, in the order of their first appearance."""
        return list(dict.fromkeys(key for event in self.events for key in event if pattern.fullmatch(key)))

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Places and values of one number; what is no finite number is left out."""
        points = [(p, e[name]) for p, e in zip(self.places, self.events, strict=True) if finite(e.get(name))]
        return [place for place, _ in points], [value for _, value in points]

    def shares(self, name: str, kind: str) -> tuple[list[int], list[list[float]]]:
        """Places, and for each the numbers of all experts of one kind: of a token type, or of a query modality."""
        found = [(p, e.get(name, {}).get(kind)) for p, e in zip(self.places, self.events, strict=True)]
        points = [(place, shares) for place, shares in found if shares and all(map(finite, shares))]
        points = [(place, shares) for place, shares in points if len(shares) == len(points[0][1])]
        return [place for place, _ in points], [shares for _, shares in points]


def finite(value: Any) -> bool:
    """Whether this is a number that can be drawn."""
    return isinstance(value, int | float) and math.isfinite(value)


def charts(history: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Title to inline SVG, for every kind of number that the history holds."""
    course = Course.of(history)
    found: dict[str, str] = {}
    with mpl.rc_context(STYLE):
        for title, names in LINES.items():
            series = {name: course.series(name) for name in names or course.names(RECALL)}
            if any(places for places, _ in series.values()):
                found[title] = _lines(course, title, series)
        for name, (title, kinds, description) in SHARES.items():
            for kind in kinds:
                places, shares = course.shares(name, kind)
                if places:
                    reserved = RESERVED if name == "expert_load" else ()
                    found[title.format(kind)] = _experts(course, description.format(kind), places, shares, reserved)
        if matrices := [event["expert_objectives"] for event in course.events if "expert_objectives" in event]:
            found["Objectives of every expert"] = _objectives(matrices[-1])
    return found


def _lines(course: Course, title: str, series: Mapping[str, tuple[list[int], list[float]]]) -> str:
    figure, axes = _canvas(course)
    for name, (places, values) in series.items():
        if not places:
            continue
        label, marker = name.removeprefix("eval_").replace("_", " "), "o" if len(places) <= FEW else None
        if title == "Loss" and name == "loss" and len(places) > FEW:
            axes.plot(places, values, linewidth=0.5, alpha=0.4, color="C0")
            axes.plot(places, _smooth(values), label=f"{label}, smoothed", color="C0")
        else:
            axes.plot(places, values, label=label, marker=marker, markersize=3)
    highest = max(value for _, values in series.values() for value in values)
    if title == "Learning rate" and highest > 0:  # stages differ by orders of magnitude
        axes.set_yscale("log")
        axes.set_ylim(bottom=highest / 1e4)
        axes.yaxis.set_major_formatter("{x:.0e}")
    return _svg(figure, axes, f"{title} over steps")


def _experts(
    course: Course, description: str, places: list[int], shares: list[list[float]], reserved: Sequence[str]
) -> str:
    figure, axes = _canvas(course)
    free = len(shares[0]) - len(reserved)
    labels = [*(f"expert {number}" for number in range(1, free + 1)), *reserved]
    for label, values in zip(labels, zip(*shares, strict=True), strict=True):
        axes.plot(places, values, label=label, marker="o" if len(places) <= FEW else None, markersize=3)
    axes.set_ylim(-0.02, 1.02)
    return _svg(figure, axes, description)


def _objectives(matrix: Sequence[Sequence[float]]) -> str:
    """A bar per expert, made of its objectives."""
    figure = Figure(figsize=(4.4, 3.0), layout="constrained")
    axes = figure.add_subplot()
    names = [f"expert {number}" for number in range(1, len(matrix) + 1)]
    left = [0.0] * len(matrix)
    for objective, shares in zip(MODALITIES, zip(*matrix, strict=True), strict=True):
        bars = axes.barh(names, shares, left=left, label=f"{objective} queries", alpha=0.7, linestyle="-")
        axes.bar_label(bars, [f"{share:.2f}" for share in shares], label_type="center", fontsize=8)
        left = [start + share for start, share in zip(left, shares, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("share of the expert, p = softmax of its row of W*")
    return _svg(figure, axes, "How much of every expert belongs to each objective at the end")


def _canvas(course: Course) -> tuple[Figure, Axes]:
    """Small enough that the text is readable when a phone shows the whole width."""
    figure = Figure(figsize=(4.4, 3.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if len(course.stages) > 1:
        for place, stage in course.stages:
            axes.axvline(place, color=INK, linewidth=0.6, alpha=0.5, linestyle="--")
            axes.text(place, 1.01, f" {stage[:24]}", transform=axes.get_xaxis_transform(), fontsize=7, alpha=0.8)
    return figure, axes


def _smooth(values: Sequence[float]) -> list[float]:
    """Mean of a twentieth of the run around each place."""
    reach = len(values) // 40 + 1
    windows = (values[max(0, place - reach) : place + reach + 1] for place in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def _svg(figure: Figure, axes: Axes, description: str) -> str:
    """For a place inside HTML: no prologue, no metadata, transparent, the page's ink, unique ids, a description."""
    if len(axes.get_legend_handles_labels()[1]) > 1:
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": description}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    picture = buffer.getvalue()
    picture = picture[picture.index("<svg") :].replace(INK, "currentColor")
    picture = re.sub(r' id="(?![mp][0-9a-f]{10}")[^"]*"', "", picture)  # the others are referred to
    opening = re.sub(r' (?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", picture[: picture.index(">")])
    return f'{opening} role="img" aria-label="{description}"{picture[picture.index(">") :]}'
