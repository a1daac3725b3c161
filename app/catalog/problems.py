"""What was wrong with a catalog, item by item: which one, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

Severity = Literal["reject", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that is left out (``reject``), or a part of one (``warning``). ``row`` counts the data rows from 1.

    ``file`` names the file where a catalog has several.
    """

    severity: Severity
    id: str
    row: int
    field: str
    reason: str
    remedy: str
    file: str = ""

    @property
    def place(self) -> str:
        """Where the problem is, for people."""
        row = f"row {self.row}, {self.id or 'no id'}" if self.row else "the catalog"
        return f"{self.file}, {row}" if self.file else row


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
        groups: dict[tuple[Severity, str, str], list[Problem]] = {}
        for problem in self.problems:
            groups.setdefault((problem.severity, problem.field, problem.remedy), []).append(problem)
        for (severity, name, remedy), group in sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1]))):
            lines.append(f"{len(group)} x {severity}, {name}: {remedy}")
            lines += [f"    {problem.place}: {problem.reason}" for problem in group[:examples]]
            if len(group) > examples:
                lines.append(f"    and {len(group) - examples} more")
        return lines

    def write(self, file: Path) -> None:
        """Write a table with the columns of :class:`Problem`, in the order of the rows; it replaces ``file``."""
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f"{file.name}.tmp")
        columns = {name: [getattr(problem, name) for problem in self.problems] for name in _SCHEMA}
        table = pl.DataFrame(columns, schema=_SCHEMA).sort("file", "row", "severity", maintain_order=True)
        table.write_parquet(temporary)
        temporary.replace(file)


_SCHEMA = {name: pl.Int64 if name == "row" else pl.String for name in Problem.__dataclass_fields__}
