"""Predictions for many products at once: the titles of a table, or photos, become a table to download."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING

import gradio as gr

from app.catalog.fields import PICTURE_SUFFIXES
from app.catalog.tables import FORMATS
from app.errors import BadInputError, MoonError
from app.facade import MoonSearch, Unread
from app.schema import Prediction

if TYPE_CHECKING:
    from app.serving import Service
from ui.answers import failed
from ui.batch_files import ARCHIVE, Item, items_of
from ui.batch_table import Row, predicted_cells, report
from ui.components import event_options, html, language_of
from ui.language import ENGLISH, Labels, Language
from ui.markup import text
from ui.theme import script
from ui.uploads import Upload, uploads_input

MAX_ROWS = 1000
"""Rows and photos of one batch."""
MAX_CHARS = 20_000_000
"""Characters of the tables' cells that one batch keeps for its download."""
BATCHES_AT_ONCE = 1
PREDICTED_AT_ONCE = 8
"""Rows and photos that are embedded together, between two moves of the progress bar; a shopper's prediction waits for
them."""
LEAD = (
    "Tables ({kinds}), of which only the titles are used, photos, folders, and {archive} files of photos: up to {rows} "
    "rows and photos together, of at most {size} MB each file. The download has the columns of your tables, too."
)
LEFT_OUT = "Left out: {count}. These are neither photos nor tables, larger than {size} MB, or did not get through."


def predict_all(service: Service, uploads: Sequence[Upload] | None, say: Language = ENGLISH) -> Iterator[str]:
    """The progress, then the table with its download, as HTML. A bad row or photo costs only itself.

    Of a table the title of each row is used and the other cells are handed back; the others are photos, and archives.
    """
    if not uploads:
        yield failed(BadInputError("there is no file; add a table with titles, or photos"), service.settings.data, say)
        return
    shop = MoonSearch(service=service)
    with ExitStack() as opened:
        found = chain.from_iterable(items_of(upload, MAX_ROWS + 1, opened) for upload in uploads)
        items, is_all = _within_limits(found)
        rows: list[Row] = []
        yield _progress(0, len(items), say)
        for group in _groups(items, service.settings.max_image_bytes):
            outcomes = _predicted(shop, [product for _, product in group])
            rows += [_row(item, outcome) for (item, _), outcome in zip(group, outcomes, strict=True)]
            yield _progress(len(rows), len(items), say)
    cut = say("Only the first {count} were read: split the files.", count=f"{len(items):,}")
    yield report(rows, "" if is_all else cut, say)


def _within_limits(found: Iterable[Item]) -> tuple[list[Item], bool]:
    """The items up to the limits of a batch, and whether these are all."""
    items: list[Item] = []
    size = 0
    for item in found:
        size += item.size
        if len(items) == MAX_ROWS or size > MAX_CHARS:
            return items, False
        items.append(item)
    return items, True


def _groups(items: Iterable[Item], max_bytes: int) -> Iterator[list[tuple[Item, Unread | BadInputError]]]:
    """Items to predict together: few, and with photos of about ``max_bytes``, at most twice as many, in memory."""
    group: list[tuple[Item, Unread | BadInputError]] = []
    size = 0
    for item in items:
        product = _read(item, max_bytes)
        group.append((item, product))
        size += len(product.photo) if isinstance(product, Unread) and isinstance(product.photo, bytes) else 0
        if len(group) == PREDICTED_AT_ONCE or size >= max_bytes:
            yield group
            group, size = [], 0
    if group:
        yield group


def _read(item: Item, max_bytes: int) -> Unread | BadInputError:
    if item.problem:
        return BadInputError(item.problem)
    try:
        return Unread(item.title, None if item.photo is None else item.photo(max_bytes))
    except BadInputError as error:
        return error


def _predicted(shop: MoonSearch, products: Sequence[Unread | BadInputError]) -> list[Prediction | MoonError]:
    """Together; what fails together is repeated one by one, so that an error reaches only its culprit."""
    try:
        return list(shop.predict_many(products, limit=1))
    except MoonError as error:
        if len(products) == 1:
            return [error]
        return [outcome for product in products for outcome in _predicted(shop, [product])]


def _row(item: Item, outcome: Prediction | MoonError) -> Row:
    own = {"problem": str(outcome)} if isinstance(outcome, MoonError) else predicted_cells(outcome)
    return Row(item.name, item.title, item.cells, own)


def _progress(done: int, of: int, say: Language) -> str:
    bar = f'<progress aria-label="{say("Predicted")}" value="{done}" max="{of}"></progress>'
    return f'<p class="progress">{bar} {say("{done} of {count}", done=f"{done:,}", count=f"{of:,}")}</p>'


def _picker(max_bytes: int, say: Language) -> str:
    """What batch.js uploads files from, each in a request of its own."""
    kinds = (*PICTURE_SUFFIXES, *FORMATS, ARCHIVE)
    size = f"{max_bytes / 1e6:g}"
    lead = say(LEAD, kinds=", ".join(FORMATS), archive=ARCHIVE, rows=f"{MAX_ROWS:,}", size=size)
    left_out = say(LEFT_OUT, count="{count}", size=size)
    uploaded = say("{done} of {count} uploaded", done="{done}", count="{count}")
    accepted = ",".join(("image/*", *kinds))
    return f"""<p class="lead">{text(lead)}</p>
<div class="picker" data-kinds="{" ".join(kinds)}" data-bytes="{max_bytes}" data-files="{MAX_ROWS}">
  <label class="button">{text(say("Choose tables or photos"))}<input type="file" multiple accept="{accepted}"></label>
  <label class="button">{text(say("Choose a folder"))}<input type="file" webkitdirectory></label>
</div>
<p class="progress uploaded" hidden><progress aria-label="{text(say("Uploaded"))}"></progress>
  <span data-text="{text(uploaded)}"></span></p>
<p class="lead left-out" role="status" data-text="{text(left_out)}"></p>"""


def batch_section(service: Service, labels: Labels) -> None:
    """Lay out the section below the single prediction and connect its events."""
    max_bytes = service.settings.max_image_bytes
    with gr.Accordion(labels("Many products at once"), open=False, elem_id="batch"):
        picker = gr.HTML(
            labels.html(lambda say: _picker(max_bytes, say)),
            apply_default_css=False,
            elem_id="batch-files",
            js_on_load=script("batch.js"),
        )
        files = uploads_input()
        table = html("batch-table")

    def on_files(uploads: list[Upload], request: gr.Request) -> Iterator[str]:
        yield from predict_all(service, uploads, language_of(request))

    picker.upload(
        on_files,
        files,
        table,
        js="() => [document.querySelector('#batch-files .picker').uploaded]",
        concurrency_limit=BATCHES_AT_ONCE,
        **event_options("predict_all"),
    )
