"""A training run as one HTML page that needs nothing else: pictures inside, no script, no address."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from trainer.training.charts import RECALL, Course, charts, finite

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 1.5rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.5rem }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1.5rem }
.charts { margin-top: 2.5rem } figure { margin: 0 } figcaption { font-weight: 600 } svg { width: 100%; height: auto }
svg text { font-family: system-ui, sans-serif !important }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 13px }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #8886; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; min-width: 5rem; white-space: pre-line }
.number { text-align: right; font-variant-numeric: tabular-nums }
.warning { border-left: 4px solid #d9a400; padding-left: .8rem }
"""
MOST = 100
"""Items of one list, and characters of one value times twenty, that are shown."""


def write_report(
    out: Path, history: Sequence[Mapping[str, Any]], setup: Mapping[str, Any], sections: Iterable[str] = ()
) -> Path:
    """Write ``out/report.html`` and return its path.

    ``history`` holds one dict per log event in order: ``stage``, ``step`` and any of ``loss``, ``learning_rate``,
    ``grad_norm``, ``temperature``, ``negatives``, ``masked``, ``queries``, ``intra``, ``intra_temperature``, ``kept``,
    ``weight_*`` of objectives, ``expert_load`` (kind of token to mean weight by expert), ``expert_use`` (query
    modality to the same of free experts), ``expert_objectives`` (objectives per free expert), ``eval_*``. Numbers that
    are missing leave their chart out. ``setup`` is nested and becomes tables, one per part; an entry with ``value`` and
    ``reason`` shows both. All text is escaped, since it may come from a catalog; ``sections`` are HTML already and
    stand between charts and tables.
    """
    pictures = "".join(
        f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>" for title, svg in charts(history).items()
    )
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Training report</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>Training report</h1>",
        "" if history else "<p>No event was logged: the run ended before its first.</p>",
        *[f'<p class="warning">{escape(line)}</p>' for line in _not_finite(history)],
        _recalls(Course.of(history)),
        f'<div class="charts">{pictures}</div>' if pictures else "",
        *sections,
        *_tables(setup),
    ]
    file = out / "report.html"
    file.write_text("\n".join([*filter(None, parts), "</body></html>\n"]), encoding="utf-8", errors="replace")
    return file


def _not_finite(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each kind of number that was infinite or none at some event."""
    found: dict[str, list[Any]] = {}
    for event in history:
        for name, value in event.items():
            if isinstance(value, float) and not finite(value):
                found.setdefault(name, []).append(event.get("step"))
    for name, steps in found.items():
        yield f"{name} was no finite number at step {steps[0]} ({len(steps)} of {len(history)} events)."


def _recalls(course: Course) -> str:
    """Best and last recall of each kind."""
    rows = []
    for name in course.names(RECALL):
        places, values = course.series(name)
        if values:
            best = max(range(len(values)), key=values.__getitem__)
            rows.append([name.removeprefix("eval_"), f"{values[best]:.3f}", str(places[best]), f"{values[-1]:.3f}"])
    return _table("Recall in validation", ["", "best", "at step", "last"], rows, words=1) if rows else ""


def _tables(setup: Mapping[str, Any]) -> Iterator[str]:
    """One table for what lies at the top, and one per nested part."""
    parts = {str(name): part for name, part in setup.items() if isinstance(part, Mapping) and not _explained(part)}
    top = {name: value for name, value in setup.items() if str(name) not in parts}
    for title, part in {"Run": top, **parts}.items():
        rows = list(_rows(part))
        if rows:
            explained = any(reason for _, _, reason in rows)
            header = ["", "value", "reason"] if explained else ["", "value"]
            yield _table(title.replace("_", " ").capitalize(), header, [row[: len(header)] for row in rows])


def _rows(part: Mapping[str, Any], above: str = "") -> Iterator[list[str]]:
    """Name, value and reason of every leaf; names of nested parts are joined."""
    for key, value in part.items():
        name = f"{above}{key}"
        if not isinstance(value, Mapping):
            yield [name, _text(value), ""]
        elif _explained(value):
            yield [name, _text(value["value"]), _text(value.get("reason", ""))]
        else:
            yield from _rows(value, f"{name} / ")


def _explained(value: Mapping[str, Any]) -> bool:
    return "value" in value and value.keys() <= {"value", "reason"}


def _text(value: Any) -> str:
    """A line per item of a list; long lists and values are cut, and say so."""
    if isinstance(value, list | tuple):
        more = [f"and {len(value) - MOST} more"] if len(value) > MOST else []
        return "\n".join([*map(_text, value[:MOST]), *more])
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, Mapping) else str(value)
    return text if len(text) <= 20 * MOST else f"{text[: 20 * MOST]} …"


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], words: int = 3) -> str:
    """``words``: how many of the first columns are no numbers."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td>{escape(cell)}</td>" if place < words else f'<td class="number">{escape(cell)}</td>'
            for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f'<h2>{escape(title)}</h2><div class="wide"><table><tr>{head}</tr>{body}</table></div>'
