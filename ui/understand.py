"""The tab "Understand": what the model reads from a product's photo and title."""

from __future__ import annotations

import gradio as gr

from ui.components import event_options, html
from ui.photo import photo_input
from ui.shop import Shop


def understand_tab(shop: Shop, max_text_chars: int) -> None:
    """Lay out the tab and connect its events."""
    with gr.Row(elem_id="understand"):
        with gr.Column(scale=1, min_width=280):
            gr.HTML(
                '<p class="lead">Give a product\'s photo, its title, or both, and see which category and which '
                "attributes the model reads from them.</p>",
                apply_default_css=False,
            )
            photo = photo_input("Product photo")
            title = gr.Textbox(
                label="Product title", placeholder="For example: Green armchair", max_length=max_text_chars, max_lines=1
            )
            submit = gr.Button("Predict", variant="primary")
        with gr.Column(scale=2, min_width=280):
            predicted = html("predicted")
    gr.on([submit.click, title.submit], shop.predict, [title, photo], predicted, **event_options("predict"))
