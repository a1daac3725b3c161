"""What the commands show: tables and summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.catalog.columns import Columns
from app.catalog.problems import Report
from app.schema import CATEGORY_SEPARATOR
from app.store.base import Manifest
from indexer.clock import Clock
from indexer.complete import CATALOG, PROPOSALS, Completion
from indexer.pictures import Prepared
from indexer.rebuild import Outcome


def show_outcome(outcome: Outcome) -> None:
    """The result of a rebuild."""
    console = _console()
    if not outcome.changed:
        stays = "stays published" if outcome.published else "stays on trial"
        console.print(f"Nothing changed: build {outcome.build} with {outcome.products} products {stays}.")
    else:
        console.print(
            f"{'Published' if outcome.published else 'On trial:'} build {outcome.build}: {outcome.products} products, "
            f"{outcome.embedded} newly embedded, recall {outcome.recall:.1%}."
        )
    if not outcome.published:
        console.print(f"It is not searched until you publish it: indexer publish {outcome.build}")
    console.print(_spent(outcome.clock))
    if outcome.dropped:
        console.print(f"Dropped old builds: {', '.join(outcome.dropped)}.")
    show_report(outcome.report)
    if outcome.report.problems:
        console.print(f"All of them: {outcome.report_file}")


def _spent(clock: Clock) -> str:
    """Where the time went; ``decode`` is what the encoder waited for it.

    >>> clock = Clock()
    >>> clock.seconds |= {"read": 1.0, "encode": 3.0}
    >>> _spent(clock).endswith(": read 25 %, encode 75 %.")
    True
    """
    total = sum(clock.seconds.values()) or 1.0
    shares = ", ".join(f"{stage} {seconds / total:.0%}".replace("%", " %") for stage, seconds in clock.seconds.items())
    beside = f" Decoding took {clock.beside:.1f} s of processor time beside it." if clock.beside else ""
    return f"Time: {clock.total:.1f} s: {shares}.{beside}"


def show_completion(outcome: Completion, out: Path) -> None:
    """What was filled in, field by field, and where it lies."""
    console = _console()
    console.print(f"{outcome.products} products, {outcome.completed} of them completed.")
    for name, (proposed, filled) in sorted(outcome.fields.items()):
        console.print(_printable(f"    {name}: {filled} filled in of {proposed} proposed"))
    console.print(_printable(f"Wrote {out / CATALOG} and {out / PROPOSALS}."))
    show_report(outcome.report)


def show_report(report: Report) -> None:
    """How many rows were rejected, and the problems by kind with the first of each."""
    console = _console()
    console.print(f"Rejected: {report.count('reject')}. Warnings: {report.count('warning')}.")
    for line in report.summary():
        console.print(_printable(line))


def show_columns(files: Mapping[str, Columns]) -> None:
    """Which column was taken for which field, for every file of a catalog."""
    console = _console()
    for name, columns in files.items():
        console.print(_printable(f"Columns of {name}:"))
        for field, own in columns.used.items():
            if own != (field,):
                guess = " (a guess; --map changes it)" if field in columns.guessed else ""
                console.print(_printable(f"    {field}: {', '.join(own) or 'no column'}{guess}"))
        for key, value in columns.pairs:
            console.print(_printable(f"    attributes named in {key}: {value}"))
        as_named = [field for field, own in columns.used.items() if own == (field,)]
        console.print(_printable(f"    as named: {', '.join(as_named) or 'none'}"))
        console.print(_printable(f"    not used: {', '.join(columns.unused) or 'none'}"))


def show_products(items: Sequence[Prepared]) -> None:
    """What the model will see of products, and what else a build will hold of them."""
    console = _console()
    for item in items:
        product = item.row.product
        seen = [product.title, CATEGORY_SEPARATOR.join(product.category)]
        seen += [f"{key}: {value}" for key in sorted(product.attributes) for value in product.attributes[key]]
        beside = [f"{key} {value:g}" for key, value in product.numbers.items()]
        beside += [f"{key}: {title}" for key, title in product.titles.items()]
        beside += [value for value in (product.group_id, product.url) if value]
        sizes = [f"{image.width} x {image.height}" for image in item.images]
        console.print(_printable(f"{product.id}: {product.title or 'without a title'}"))
        console.print(_printable(f"    text: {' | '.join(part for part in seen if part) or 'none'}"))
        console.print(_printable(f"    pictures: {', '.join(sizes) or 'none'} ({len(product.images)} named)"))
        console.print(_printable(f"    not seen by the model: {', '.join(beside) or 'nothing'}"))


def show_builds(builds: Sequence[tuple[Manifest, int | None]], published: str | None) -> None:
    """The builds, newest first, each with the bytes it takes on disk if they are known."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for column in ("build", "state"):
        table.add_column(column, no_wrap=True)
    for column in ("products", "rejects", "warnings", "disk"):
        table.add_column(column, no_wrap=True, justify="right")
    for column in ("model", "age"):
        table.add_column(column, overflow="fold")
    for manifest, disk in builds:
        mark = "published" if manifest.build == published else "on trial" if manifest.on_trial else "kept"
        counts = (str(manifest.products), str(manifest.rejected), str(manifest.warnings), size(disk))
        table.add_row(manifest.build, mark, *counts, _printable(manifest.model), age(manifest.created))
    _console().print(table)


def size(count: int | None) -> str:
    """A number of bytes in its largest unit.

    >>> size(3_456_000), size(12), size(None)
    ('3.5 MB', '12 B', '-')
    """
    if count is None:
        return "-"
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"


def age(moment: datetime) -> str:
    """The time since ``moment`` in its largest unit.

    >>> from datetime import timedelta
    >>> age(datetime.now(UTC) - timedelta(hours=50))
    '2 d'
    """
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def _console() -> Console:
    return Console(markup=False, highlight=False, soft_wrap=True, emoji=False)


def _printable(words: str) -> str:
    """Control characters of a catalog must not reach the terminal."""
    return "".join(character if character.isprintable() else "�" for character in words)
