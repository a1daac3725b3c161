"""Numbers of the MOON papers, quoted to stand beside measured ones. None of them was measured here.

All are zero-shot, in per cent. Data sets as the papers hold them need not be the files at hand. Those of MOON2.0 are
quoted from three public readings that agree, not from the paper itself; what fewer of them tell is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

MOON_PAPER = "MOON, arXiv 2508.11999"
MOON2_PAPER = "MOON2.0, arXiv 2511.12449, by readings of it"


@dataclass(frozen=True)
class Published:
    """One table of a paper: a row of numbers per model, in the order of ``columns``."""

    title: str
    source: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]


def published(data_format: str) -> list[Published]:
    """The tables about data of a format; none for formats that the papers do not know."""
    return TABLES.get(data_format, [])


def _recalls(*ks: int) -> tuple[str, ...]:
    return tuple(f"{query} R@{k}" for query in ("image", "text", "item") for k in ks)


_RATES = ("accuracy", "precision", "recall", "F1")

TABLES = {
    "mbe": [
        Published(
            "MBE retrieval",
            MOON_PAPER,
            _recalls(1, 5, 10),
            {
                "CLIP": (10.23, 28.79, 38.61, 1.44, 3.90, 5.40, 14.38, 37.21, 46.66),
                "SigLIP2": (15.57, 46.40, 59.99, 3.64, 10.11, 14.22, 13.30, 36.77, 48.27),
                "FashionCLIP": (18.96, 52.35, 65.32, 2.78, 7.53, 10.32, 19.81, 53.21, 65.42),
                "InternVL3-2B": (2.02, 5.27, 7.34, 0.06, 0.22, 0.41, 3.67, 8.78, 11.73),
                "Qwen2.5-VL-3B": (13.87, 36.61, 46.00, 0.46, 1.53, 2.42, 15.23, 40.03, 50.01),
                "InternVL3-2B fine-tuned": (26.08, 80.14, 94.01, 16.04, 47.36, 60.11, 26.02, 79.67, 93.64),
                "Qwen2.5-VL-3B fine-tuned": (25.46, 79.58, 93.70, 15.07, 46.07, 59.79, 25.64, 79.85, 93.83),
                "GME": (15.76, 46.22, 59.60, 16.92, 47.22, 58.84, 19.79, 55.57, 68.61),
                "MM-Embed": (10.01, 29.17, 39.34, 12.83, 36.25, 46.42, 17.89, 49.37, 60.77),
                "MOON": (26.71, 83.66, 96.28, 16.84, 47.46, 59.46, 26.76, 83.67, 96.40),
            },
        ),
        Published(
            "MBE classification, level 4, top-10 rule",
            MOON_PAPER,
            _RATES,
            {"MM-Embed": (57.56, 71.55, 63.91, 57.89), "MOON": (66.57, 62.24, 71.26, 63.19)},
        ),
        Published(
            "MBE attribute prediction",
            MOON_PAPER,
            _RATES,
            {"MM-Embed": (61.04, 68.04, 62.71, 56.18), "MOON": (80.22, 74.67, 81.90, 75.49)},
        ),
        Published(
            "MBE2.0: R@10 of query -> product, accuracy of both predictions",
            MOON2_PAPER,
            (
                "text -> image + text",
                "image -> image + text",
                "image + text -> image + text",
                "text -> image",
                "image -> text",
                "category",
                "attributes",
            ),
            {
                "MOON2.0": (63.09, 91.08, 94.21, 73.12, 64.91, 68.08, 84.29),
                "without modality-driven experts": (51.29, 74.59, 78.45, 62.16, 56.21, 62.55, 75.62),
                "without dual-level alignment": (37.99, 65.72, 67.45, 31.45, 23.35, 57.12, 67.24),
                "without co-augmentation": (59.69, 78.17, 80.62, 64.79, 58.68, 66.21, 77.77),
                "without sample filtering": (60.63, 83.40, 80.00, 70.40, 63.21, 67.99, 84.04),
            },
        ),
    ],
    "m5": [
        Published(
            "M5Product retrieval",
            MOON_PAPER,
            _recalls(10, 100, 500),
            {
                "InternVL3-2B fine-tuned": (32.96, 58.64, 74.48, 44.09, 70.44, 84.98, 41.01, 68.18, 82.15),
                "GME": (21.90, 48.95, 70.23, 40.96, 68.48, 84.21, 44.05, 71.57, 86.24),
                "MOON": (36.36, 59.95, 76.28, 44.29, 70.47, 84.60, 44.32, 71.75, 85.32),
            },
        ),
        Published(
            "M5Product classification, top-10 rule",
            MOON_PAPER,
            _RATES,
            {"MM-Embed": (88.40, 91.00, 87.65, 86.79), "MOON": (92.92, 93.09, 93.10, 92.48)},
        ),
    ],
}
