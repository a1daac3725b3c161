"""What was wrong with a catalog, item by item: which one, why, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

Severity = Literal["reject", "warning"]

_SCHEMA = {"severity": pl.String, "id": pl.String, "row": pl.Int64, "field": pl.String} | {
    "reason": pl.String,
    "remedy": pl.String,
}


@dataclass(frozen=True)
class Problem:
    """A row that is left out (``reject``), or a part of one (``warning``). ``row`` counts the data rows from 1."""

    severity: Severity
    id: str
    row: int
    field: str
    reason: str
    remedy: str


@dataclass
class Report:
    """All problems of one run."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, problems: Iterable[Problem]) -> None:
        self.problems.extend(problems)

    def count(self, severity: Severity) -> int:
        return sum(problem.severity == severity for problem in self.problems)

    def summary(self, examples: int = 3) -> list[str]:
        """Lines for people: per severity, field and remedy how many there are, and the first few of them."""
        lines = []
        groups = Counter((p.severity, p.field, p.remedy) for p in self.problems)
        for (severity, name, remedy), count in sorted(groups.items(), key=lambda item: (item[0][0], -item[1])):
            lines.append(f"{count} x {severity}, {name}: {remedy}")
            group = [p for p in self.problems if (p.severity, p.field, p.remedy) == (severity, name, remedy)]
            lines += [f"    row {p.row}, {p.id or 'no id'}: {p.reason}" for p in group[:examples]]
            if count > examples:
                lines.append(f"    and {count - examples} more")
        return lines

    def write(self, file: Path) -> None:
        """Write a table with the columns of :class:`Problem`, in the order of the rows; it replaces ``file``."""
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = [asdict(problem) for problem in sorted(self.problems, key=lambda p: (p.row, p.severity))]
        temporary = file.with_name(f"{file.name}.tmp")
        pl.DataFrame(rows, schema=_SCHEMA).write_parquet(temporary)
        temporary.replace(file)
