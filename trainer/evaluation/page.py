"""A comparison of models as one HTML page that needs nothing else: pictures inside, no script, no address."""

from __future__ import annotations

import base64
from html import escape

from trainer.evaluation.home_report import detail_tables, home_lines, target_tables
from trainer.evaluation.plots import plots
from trainer.evaluation.results import Comparison
from trainer.evaluation.tables import TextTable, measured_tables, published_tables, setup_lines

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.5rem }
img { max-width: 100%; height: auto } .wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 13px } th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd;
  white-space: pre-line }
th { text-align: left; background: #f4f4f4 } td.number { text-align: right; font-variant-numeric: tabular-nums }
.published { background: #fff7e0; border-left: 4px solid #d9a400; padding: .1rem 1rem 1rem; margin-top: 3rem }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(comparison: Comparison) -> str:
    """The page as text. Everything from data and models is escaped."""
    name = escape(str(comparison.setup["data"].get("name", "")))
    parts = [
        f"<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>Evaluation on {name}</title>"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>"
        f"<h1>Evaluation on {name}</h1>",
        *[f"<p>{escape(line)}</p>" for line in [*setup_lines(comparison), *home_lines(comparison)]],
        *[_table(table) for table in target_tables(comparison)],
        *[_picture(title, svg) for title, svg in plots(comparison)],
        *[_table(table) for table in [*measured_tables(comparison), *detail_tables(comparison)]],
    ]
    if comparison.published:
        tables = "".join(map(_table, published_tables(comparison)))
        parts.append(f"<section class='published'><h2>Published, not measured here</h2>{tables}</section>")
    return "\n".join([*parts, "</body></html>\n"])


def _picture(title: str, svg: bytes) -> str:
    data = base64.b64encode(svg).decode()
    return f"<h2>{escape(title)}</h2><img alt='{escape(title)}' src='data:image/svg+xml;base64,{data}'>"


def _table(table: TextTable) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.header)
    rows = [
        "".join(
            f"<td>{escape(cell)}</td>" if place < table.words else f"<td class='number'>{escape(cell)}</td>"
            for place, cell in enumerate(row)
        )
        for row in table.rows
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<h2>{escape(table.title)}</h2><div class='wide'><table><tr>{head}</tr>{body}</table></div>"
