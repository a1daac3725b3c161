"""What every tab is laid out with: blocks of the page's own HTML, and the options that all events share."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ui.language import ENGLISH, LANGUAGES, Labels, Language
from ui.markup import text
from ui.theme import script

HEATMAPS: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "heatmap"}
"""Options of events that draw heatmaps, each as much work as fifty searches by photo: one at a time on the page."""


def html(elem_id: str, *scripts: str) -> gr.HTML:
    """An empty block for HTML of ui/markup.py; clicks on it become Gradio events by shop.js and ``scripts``."""
    return gr.HTML("", apply_default_css=False, elem_id=elem_id, js_on_load=script("shop.js", *scripts))


def lead(english: str, labels: Labels) -> gr.HTML:
    """A paragraph that says what the part of the page below it is for."""
    return gr.HTML(labels.html(lambda say: f'<p class="lead">{text(say(english))}</p>'), apply_default_css=False)


def language_of(request: gr.Request) -> Language:
    """The language of the page that an event comes from; Gradio sends the page's address with it."""
    return LANGUAGES.get(request.query_params.get("lang", ""), ENGLISH)


def event_options(name: str, progress: str = "minimal") -> dict[str, Any]:
    """Options of an event called ``name``; the page's events are private, the HTTP API is for programs."""
    return {"api_name": name, "api_visibility": "private", "show_progress": progress, "trigger_mode": "always_last"}
