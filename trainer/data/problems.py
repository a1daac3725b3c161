"""A report of problems that stays small, however many rows are broken: exact counts, the first rows of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from app.catalog.problems import Problem, Report, Severity

ROWS_PER_KIND = 10_000

Kind = tuple[Severity, str, str]
"""Severity, field and remedy: what :meth:`Report.summary` groups by."""


class BoundedReport(Report):
    """Keeps ``ROWS_PER_KIND`` problems of every kind (severity, field, remedy) and counts all of them."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[Kind] = Counter()

    def add(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            kind = (problem.severity, problem.field, problem.remedy)
            self._counts[kind] += 1
            if self._counts[kind] <= ROWS_PER_KIND:
                self.problems.append(problem)

    def count(self, severity: Severity) -> int:
        return sum(count for (own, _, _), count in self._counts.items() if own == severity)

    def summary(self, examples: int = 3) -> list[str]:
        lines = []
        for kind, count in sorted(self._counts.items(), key=lambda item: (item[0][0], -item[1])):
            lines.append(f"{count} x {kind[0]}, {kind[1]}: {kind[2]}")
            group = [p for p in self.problems if (p.severity, p.field, p.remedy) == kind][:examples]
            lines += [f"    row {p.row}, {p.id or 'no id'}: {p.reason}" for p in group]
            if count > len(group):
                lines.append(f"    and {count - len(group)} more")
        return lines

    def to_dicts(self) -> list[dict[str, Any]]:
        """The counts, as they are kept in the ``info`` of a corpus."""
        return [
            {"severity": severity, "field": field, "remedy": remedy, "count": count}
            for (severity, field, remedy), count in sorted(self._counts.items())
        ]

    @classmethod
    def read(cls, file: Path, counts: Iterable[dict[str, Any]]) -> BoundedReport:
        """The report that an earlier run wrote to ``file``, with its ``counts`` (see :meth:`to_dicts`)."""
        report = cls()
        report.problems = [Problem(**row) for row in pl.read_parquet(file).iter_rows(named=True)]
        report._counts = Counter({(kind["severity"], kind["field"], kind["remedy"]): kind["count"] for kind in counts})
        return report
