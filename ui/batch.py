"""Predictions for many products at once: the titles of a table, or photos, become a table to download."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from itertools import chain, islice
from typing import TYPE_CHECKING

import gradio as gr

from app.catalog.tables import FORMATS
from app.errors import BadInputError, MoonError

if TYPE_CHECKING:
    from app.serving import Service
from ui.answers import failed
from ui.batch_files import ARCHIVE, Item, items_of
from ui.batch_table import Row, predicted_cells, report
from ui.components import event_options, html, language_of
from ui.language import ENGLISH, Labels, Language
from ui.markup import text
from ui.uploads import uploads_only

MAX_ROWS = 1000
"""Rows and photos of one batch."""
BATCHES_AT_ONCE = 1
ROWS_PER_STEP = 10
"""Rows between two moves of the progress bar."""
LEAD = (
    "Tables ({kinds}), of which only the titles are used, photos, and {archive} files of photos: up to {rows} rows and "
    "photos together."
)


def predict_all(service: Service, paths: Sequence[str] | None, say: Language = ENGLISH) -> Iterator[str]:
    """The progress, then the table with its download, as HTML. A bad row or photo costs only itself.

    ``paths`` are uploaded files: tables, of which only the title of each row is used, photos, and archives of photos.
    """
    if not paths:
        yield failed(BadInputError("there is no file; add a table with titles, or photos"), service.settings.data, say)
        return
    with ExitStack() as opened:
        found = chain.from_iterable(items_of(path, MAX_ROWS + 1, opened) for path in paths)
        items = list(islice(found, MAX_ROWS + 1))
        wanted = items[:MAX_ROWS]
        rows: list[Row] = []
        for item in wanted:
            if len(rows) % ROWS_PER_STEP == 0:
                yield _progress(len(rows), len(wanted), say)
            rows.append(_predicted(service, item))
    cut = say("Only the first {count} were read: split the files.", count=f"{MAX_ROWS:,}")
    yield report(rows, cut if len(items) > MAX_ROWS else "", say)


def _predicted(service: Service, item: Item) -> Row:
    known = {"item": item.name, "title": item.title}
    if item.problem:
        return {**known, "problem": item.problem}
    try:
        with nullcontext() if item.photo is None else item.photo(service) as photo:
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
        said = say(LEAD, kinds=", ".join(FORMATS), archive=ARCHIVE, rows=f"{MAX_ROWS:,}")
        return f'<p class="lead">{text(said)}</p>'

    with gr.Accordion(labels("Many products at once"), open=False, elem_id="batch"):
        gr.HTML(labels.html(lead), apply_default_css=False)
        files = uploads_only(
            gr.UploadButton(
                labels("Choose tables or photos"), file_count="multiple", file_types=["image", *FORMATS, ARCHIVE]
            )
        )
        table = html("batch-table")

    def on_upload(paths: list[str] | None, request: gr.Request) -> Iterator[str]:
        yield from predict_all(service, paths, language_of(request))

    files.upload(on_upload, files, table, concurrency_limit=BATCHES_AT_ONCE, **event_options("predict_all"))
