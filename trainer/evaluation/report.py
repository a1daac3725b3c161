"""A comparison of models in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trainer.evaluation.home_report import detail_tables, home_lines, target_tables
from trainer.evaluation.results import Comparison
from trainer.evaluation.tables import TextTable, measured_tables, published_tables, setup_lines

SHOWN = 10
"""Categories and attribute keys in the terminal; the JSON file and the page have all."""


def show(comparison: Comparison, console: Console) -> None:
    """The home-goods set's targets if it is the data, then all that was measured, what papers published, the setup."""
    tables = [*target_tables(comparison), *measured_tables(comparison, SHOWN, SHOWN), *published_tables(comparison)]
    show_tables([*tables, *detail_tables(comparison)], console)
    for line in [*setup_lines(comparison), *home_lines(comparison)]:
        console.print(line, markup=False, highlight=False)


def show_tables(tables: Sequence[TextTable], console: Console) -> None:
    """Tables one below the other."""
    for table in tables:
        console.print(_table(table))


def _table(table: TextTable) -> Table:
    shown = Table(title=escape(table.title), title_justify="left")
    for place, name in enumerate(table.header):
        shown.add_column(escape(name), justify="left" if place < table.words else "right")
    for row in table.rows:
        shown.add_row(*map(escape, row))
    return shown
