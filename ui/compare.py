"""The tab "Compare": one query answered in two ways side by side, to judge a new build before it is published."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.comparison import Comparison, Way
from app.errors import MoonError
from app.schema import Hit, Query

if TYPE_CHECKING:
    from app.serving import Service
from ui.address import Address
from ui.answers import failed
from ui.cards import picture
from ui.components import event_options, html, language_of, lead
from ui.language import ENGLISH, Labels, Language
from ui.markup import text
from ui.photo import open_photo, photo_input

SHOWN = 12
"""Products of each side."""
COMPARISONS_AT_ONCE = 1
"""Each may open a kept build, which takes the memory of one."""
LEAD = "Compare ways of searching, or the published build with another one, even of another model."

Choice = tuple[str, str]
"""Label and value of a side: the value is a way, a space, and a build or nothing for the published one."""

Side = tuple[str, Sequence[Hit]]
"""What a side goes by, and its hits, best first."""


class Comparing:
    """Answers of the tab. No method raises a MoonError: each becomes a notice that says what to do."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._comparison = Comparison(service.embedder, service.live, service.store, service.settings)

    def choices(self, say: Language = ENGLISH) -> list[Choice]:
        """The published build in every way, then each other kept build by meaning, with words and without."""
        sides = [(f"{way.name} ", "") for way in Way]
        with suppress(MoonError):
            for build in self._comparison.others():
                model = "" if self._comparison.is_of_main_model(build) else build.model
                sides += [(f"{way.name} {build.build}", model) for way in (Way.FUSED, Way.MEANING)]
        return [(_label(side, model, say), side) for side, model in sides]

    def compare(self, words: str, path: str | None, left: str, right: str, say: Language = ENGLISH) -> str:
        """Both sides' best products beside each other, with what differs; ``path`` is an uploaded photo."""
        try:
            with nullcontext() if path is None else open_photo(path, self._service) as photo:
                query = Query(text=words, image=photo)
                hits = [self._search(query, side) for side in (left, right)]
        except MoonError as error:
            return failed(error, self._service.settings.data, say)
        known = {side: label for label, side in self.choices(say)}
        labels = [known.get(side) or _label(side, "", say) for side in (left, right)]  # published or dropped meanwhile
        return side_by_side((labels[0], hits[0]), (labels[1], hits[1]), say)

    def _search(self, query: Query, side: str) -> list[Hit]:
        way, _, build = side.partition(" ")
        return self._comparison.search(query, Way[way], build or None, SHOWN)


def _label(side: str, model: str, say: Language) -> str:
    """What people read for the value of a side; ``model`` is named unless it is empty."""
    name, _, build = side.partition(" ")
    way = say(Way[name].value)
    if not build:
        return say("Published build, {way}", way=way)
    if not model:
        return say("Build {build}, {way}", build=build, way=way)
    return say("{model}, {way} (build {build})", build=build, model=model, way=way)


def side_by_side(left: Side, right: Side, say: Language = ENGLISH) -> str:
    """Two ranked lists; each product says its place on the other side, if it has one there."""
    common = len(_places(left).keys() & _places(right).keys())
    most = max(len(left[1]), len(right[1]))
    said = say("{common} of the best {most} are on both sides.", common=common, most=most)
    sides = _ranked(left, _places(right), say) + _ranked(right, _places(left), say)
    return f'<p class="lead" role="status">{said}</p><div class="compared">{sides}</div>'


def _places(side: Side) -> dict[str, int]:
    """Ranks by product id, from 1."""
    return {hit.product.id: place for place, hit in enumerate(side[1], start=1)}


def _ranked(side: Side, others: dict[str, int], say: Language) -> str:
    label, hits = side
    rows = "".join(_row(hit, place, others.get(hit.product.id), say) for place, hit in enumerate(hits, start=1))
    rows = rows or f"<li>{say('Nothing found')}</li>"
    return f'<section><h2 class="section">{text(label)}</h2><ol>{rows}</ol></section>'


def _row(hit: Hit, place: int, other: int | None, say: Language) -> str:
    page = Address(product=hit.product.id, lang=say.code)
    if other is None:
        moved = f'<span class="moved only">{say("only here")}</span>'
    else:
        moved = "" if other == place else f'<span class="moved">{say("there {place}", place=other)}</span>'
    return (
        f'<li><span class="place">{place}</span>{picture(hit.product, say)}'
        f'<a href="{text(page)}" target="_blank">{text(say.title_of(hit.product))}</a>{moved}'
        f'<span class="score">{hit.score:.3f}</span></li>'
    )


def compare_tab(service: Service, labels: Labels) -> None:
    """Lay out the tab and connect its events. Its choices are those of the moment when it is opened."""
    comparing = Comparing(service)
    choices = comparing.choices()
    with gr.Tab(labels("Compare")) as tab:
        lead(LEAD, labels)
        with gr.Row(elem_id="compare"):
            with gr.Column(scale=3, min_width=280):
                words = gr.Textbox(
                    label=labels("Query"),
                    placeholder=labels("e.g. green desk lamp"),
                    max_length=service.settings.max_text_chars,
                    max_lines=1,
                )
                with gr.Row():
                    left = gr.Dropdown(
                        choices, value=choices[0][1], label=labels("Left"), filterable=False, min_width=240
                    )
                    right = gr.Dropdown(
                        choices, value=choices[1][1], label=labels("Right"), filterable=False, min_width=240
                    )
                submit = gr.Button(labels("Compare"), variant="primary")
            with gr.Column(scale=1, min_width=240):
                photo = photo_input("Query photo", labels)
        compared = html("compared")

    def on_select(one: str, other: str, request: gr.Request) -> tuple[Any, Any]:
        now = comparing.choices(language_of(request))
        sides = [side for _, side in now]
        chosen = [side if side in sides else sides[place] for place, side in enumerate((one, other))]
        return gr.update(choices=now, value=chosen[0]), gr.update(choices=now, value=chosen[1])

    def on_compare(query: str, path: str | None, one: str, other: str, request: gr.Request) -> str:
        return comparing.compare(query, path, one, other, language_of(request))

    tab.select(on_select, [left, right], [left, right], **event_options("compare_choices"))
    gr.on(
        [submit.click, words.submit],
        on_compare,
        [words, photo, left, right],
        compared,
        concurrency_limit=COMPARISONS_AT_ONCE,
        **event_options("compare"),
    )
