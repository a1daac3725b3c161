"""The home-goods tasks as tables of text: the targets first, then everything that they are taken from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from trainer.evaluation.home import Evaluation
from trainer.evaluation.results import Comparison
from trainer.evaluation.scores import Row
from trainer.evaluation.tables import TextTable, number, score
from trainer.evaluation.targets import Spread

VERDICTS = {True: "met", False: "MISSED"}


def target_tables(comparison: Comparison) -> list[TextTable]:
    """One table of targets per checkpoint; of several, first the table of all of them together."""
    single = [_targets(name, evaluation) for name, evaluation in comparison.home.items()]
    return [*_together(comparison), *single]


def detail_tables(comparison: Comparison) -> list[TextTable]:
    """One table per task and checkpoint, MOON and the baselines side by side."""
    return [
        _details(f"{section}: {evaluation.setup['model']}", list(rows))
        for evaluation in comparison.home.values()
        for section, rows in groupby(evaluation.rows, key=lambda row: row.section)
    ]


def home_lines(comparison: Comparison) -> list[str]:
    """What was measured with what, per checkpoint."""
    lines = []
    for evaluation in comparison.home.values():
        setup = evaluation.setup
        versions = ", ".join(f"{name} {own}" for name, own in setup["versions"].items())
        trained = "not recorded" if setup["training_seed"] is None else setup["training_seed"]
        lines += [
            f"{setup['model']} ({setup['fingerprint']}): {setup['proof']}. Detector {setup['detector']}, "
            f"{setup['products']} products in the gallery. Seed of training: {trained}; in brackets 95 % bootstrap "
            f"intervals over queries, seed {setup['seed']}.",
            f"{versions}, Python {setup['python']}; {setup['cores']} cores ({setup['threads']} threads), "
            f"{setup['seconds']} s.",
        ]
    return lines


def _targets(name: str, evaluation: Evaluation) -> TextTable:
    rows: list[tuple[str, ...]] = []
    for target in evaluation.targets:
        beside = [f"{system} {score(own)}" for system, own in target.beside.items()]
        notes = [f"misses: {target.note}"] if target.note else []
        rows.append(
            (
                target.measure,
                "\n".join([*beside, *notes]),
                VERDICTS[target.met],
                f"{target.wanted:.2f}",
                score(target.value),
                str(target.n),
            )
        )
    met = sum(target.met for target in evaluation.targets)
    title = f"Targets on held-out designs, all SKUs in the gallery: {name} meets {met} of {len(rows)}"
    return TextTable(title, ("measure", "beside it", "result", "target", "measured", "n"), 3, rows)


def _together(comparison: Comparison) -> list[TextTable]:
    """The targets over several checkpoints; nothing for one."""
    found = comparison.spreads
    if not found:
        return []
    rows = [_spread(spread) for spread in found]
    met = sum(spread.met for spread in found)
    title = f"Targets, mean of {len(comparison.home)} checkpoints [95 % t interval over them]: {met} of {len(rows)} met"
    return [TextTable(title, ("measure", "result", "target", "mean", *comparison.home), 2, rows)]


def _spread(spread: Spread) -> tuple[str, ...]:
    values = map(number, spread.values)
    return (spread.measure, VERDICTS[spread.met], f"{spread.wanted:.2f}", score(spread.mean), *values)


def _details(title: str, rows: Sequence[Row]) -> TextTable:
    systems = list(dict.fromkeys(system for row in rows for system in row.scores))
    cells = [
        (row.query, row.metric, str(row.n), *[score(row.scores.get(system)) for system in systems]) for row in rows
    ]
    return TextTable(title, ("query", "metric", "n", *systems), 2, cells)
