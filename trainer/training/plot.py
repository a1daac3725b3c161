"""The course of a training run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

RECALLS = {"photo_r1": "photo, R@1", "photo_box_r1": "photo + box, R@1", "name_r10": "name, R@10"}


def plot_run(log: Sequence[dict[str, Any]], path: Path) -> None:
    """Loss per step (smoothed) with the stages side by side, and below it the dev recalls."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (upper, lower) = plt.subplots(2, 1, figsize=(8, 6), sharex=True, layout="constrained")
    losses = [entry["loss"] for entry in log]
    smooth: list[float] = []
    for loss in losses:
        smooth.append(loss if not smooth else 0.95 * smooth[-1] + 0.05 * loss)
    upper.plot(losses, linewidth=0.5, alpha=0.35)
    upper.plot(smooth, color="C0")
    upper.set_ylabel("InfoNCE loss")
    for place, (before, after) in enumerate(pairwise(log), start=1):
        if before["stage"] != after["stage"]:
            for axis in (upper, lower):
                axis.axvline(place, color="grey", linewidth=0.8, linestyle="--")
    for key, label in RECALLS.items():
        points = [(place, entry[key]) for place, entry in enumerate(log) if key in entry]
        if points:
            lower.plot(*zip(*points, strict=True), marker="o", label=label)
    lower.set_ylabel("dev recall")
    lower.set_xlabel("step")
    lower.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
