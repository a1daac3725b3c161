"""The home-goods tasks in the terminal: tables and the targets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table

from trainer.evaluation.home import Evaluation
from trainer.evaluation.metrics import Score
from trainer.evaluation.tasks import Row


def show(evaluation: Evaluation, console: Console) -> None:
    """One table per task, MOON and the baselines side by side, then what was measured how, then the targets."""
    for section, rows in groupby(evaluation.rows, key=lambda row: row.section):
        console.print(_table(section, list(rows)))
    setup = evaluation.setup
    versions = ", ".join(f"{name} {number}" for name, number in setup["versions"].items())
    console.print(
        f"Model {setup['model']} ({setup['fingerprint']}), detector {setup['detector']}, {setup['products']} products "
        f"in the gallery; in brackets 95 % bootstrap intervals over queries, seed {setup['seed']}.\n"
        f"{versions}, Python {setup['python']}; {setup['cores']} cores ({setup['threads']} threads), "
        f"{setup['seconds']} s.",
        highlight=False,
    )
    for target in evaluation.targets:
        verdict = "[green]pass[/green]" if target.passed else "[red]FAIL[/red]"
        console.print(f"{verdict}  {target.text}", highlight=False)


def _table(section: str, rows: Sequence[Row]) -> Table:
    systems = list(dict.fromkeys(system for row in rows for system in row.scores))
    table = Table(title=section, title_justify="left")
    for name in ("query", "metric"):
        table.add_column(name, min_width=9)
    for name in ("n", *systems):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(row.query, row.metric, str(row.n), *[_cell(row.scores.get(system)) for system in systems])
    return table


def _cell(score: Score | None) -> str:
    return "-" if score is None else f"{score.value:.3f} \\[{score.low:.3f}, {score.high:.3f}]"
