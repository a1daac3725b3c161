"""Predictions for many products at once: the titles of a table, or photos, become a table to download."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.catalog.fields import PICTURE_SUFFIXES
from app.catalog.fields import text as cell_text
from app.catalog.names import ALIASES, plain_name
from app.catalog.tables import BrokenRow, read_rows
from app.errors import BadInputError, CatalogError, MoonError

if TYPE_CHECKING:
    from app.serving import Service
from ui.answers import failed
from ui.batch_table import Row, predicted_cells, report
from ui.components import event_options, html, language_of
from ui.language import ENGLISH, Labels, Language
from ui.markup import text
from ui.photo import open_photo
from ui.uploads import uploads_only

MAX_ROWS = 1000
"""Rows and photos of one batch."""
BATCHES_AT_ONCE = 1
ROWS_PER_STEP = 10
"""Rows between two moves of the progress bar."""
TABLES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")
"""Plain text only: what a compressed table such as Parquet unfolds to has no limit that could be checked before."""
LEAD = "Tables ({kinds}), of which only the titles are used, and photos: up to {rows} rows and photos together."


@dataclass(frozen=True)
class Item:
    """One row of a table or one photo; ``problem`` says why it cannot be predicted."""

    name: str
    title: str = ""
    photo: str | None = None
    problem: str = ""


def predict_all(service: Service, paths: Sequence[str] | None, say: Language = ENGLISH) -> Iterator[str]:
    """The progress, then the table with its download, as HTML. A bad row or photo costs only itself.

    ``paths`` are uploaded files: tables, of which only the title of each row is used, and photos.
    """
    if not paths:
        yield failed(BadInputError("there is no file; add a table with titles, or photos"), say)
        return
    items = list(islice(chain.from_iterable(_items(path) for path in paths), MAX_ROWS + 1))
    wanted = items[:MAX_ROWS]
    rows: list[Row] = []
    for item in wanted:
        if len(rows) % ROWS_PER_STEP == 0:
            yield _progress(len(rows), len(wanted), say)
        rows.append(_predicted(service, item))
    cut = say("Only the first {count} were read: split the files.", count=f"{MAX_ROWS:,}")
    yield report(rows, cut if len(items) > MAX_ROWS else "", say)


def _items(path: str) -> Iterator[Item]:
    file = Path(path)
    if file.suffix.lower() in PICTURE_SUFFIXES:
        yield Item(file.name, photo=path)
    elif file.suffix.lower() in TABLES:
        try:
            yield from _titles(file)
        except CatalogError as error:
            yield Item(file.name, problem=str(error).replace(path, file.name))
    else:
        yield Item(file.name, problem=f"neither a photo nor one of {', '.join(TABLES)}; save it as one of them")


def _titles(file: Path) -> Iterator[Item]:
    """Nothing but titles: a path or an address in a row is never opened."""
    for number, row in enumerate(read_rows(file), start=1):
        name = f"{file.name}, row {number}"
        if isinstance(row, BrokenRow):
            yield Item(name, problem=str(row))
        elif (column := _title_column(row)) is None:
            yield Item(name, problem="there is no column with a title; name one of the columns title")
        else:
            yield _titled(name, row[column])


def _titled(name: str, cell: Any) -> Item:
    try:
        title = cell_text(cell)
    except ValueError as error:
        return Item(name, problem=f"the title is {error}")
    return Item(name, title=title, problem="" if title else "the title is empty")


def _title_column(columns: Iterable[str]) -> str | None:
    """The column that the indexer would read as the title."""
    ranks = {column: ALIASES.get(plain_name(column), ("title", 0)) for column in columns if _is_title(column)}
    return min(ranks, key=lambda column: ranks[column][1], default=None)


def _is_title(column: str) -> bool:
    name = plain_name(column)
    return name == "title" or ALIASES.get(name, ("",))[0] == "title"


def _predicted(service: Service, item: Item) -> Row:
    known = {"item": item.name, "title": item.title}
    if item.problem:
        return {**known, "problem": item.problem}
    try:
        photo = None if item.photo is None else open_photo(item.photo, service.settings)
        predicted = service.predictor.predict(image=photo, title=item.title, limit=1)
    except MoonError as error:
        return {**known, "problem": str(error)}
    return {**known, **predicted_cells(predicted)}


def _progress(done: int, of: int, say: Language) -> str:
    bar = f'<progress aria-label="{say("Predicted")}" value="{done}" max="{of}"></progress>'
    return f'<p class="progress">{bar} {say("{done} of {count}", done=f"{done:,}", count=f"{of:,}")}</p>'


def batch_section(service: Service, labels: Labels) -> None:
    """Lay out the section below the single prediction and connect its events."""

    def lead(say: Language) -> str:
        return f'<p class="lead">{text(say(LEAD, kinds=", ".join(TABLES), rows=f"{MAX_ROWS:,}"))}</p>'

    with gr.Accordion(labels("Many products at once"), open=False, elem_id="batch"):
        gr.HTML(labels.html(lead), apply_default_css=False)
        files = uploads_only(
            gr.UploadButton(labels("Choose tables or photos"), file_count="multiple", file_types=["image", *TABLES])
        )
        table = html("batch-table")

    def on_upload(paths: list[str] | None, request: gr.Request) -> Iterator[str]:
        yield from predict_all(service, paths, language_of(request))

    files.upload(on_upload, files, table, concurrency_limit=BATCHES_AT_ONCE, **event_options("predict_all"))
