"""The tab "Search": its layout, and how an address of the page is answered."""

from __future__ import annotations

import gradio as gr
from gradio.components.base import Component

from ui.address import Address
from ui.components import HEATMAPS, event_options, html
from ui.language import Labels, Language
from ui.photo import photo_input
from ui.shop import Shop
from ui.theme import script

NO_PHOTO = "The address holds this search, but not your photo: who opens it is asked for one."
GONE = "The shop cannot be reached. It is tried again every two seconds."


def _form(say: Language, max_text_chars: int) -> str:
    """What search.js works with, its own texts in ``data-`` attributes."""
    return f"""
<form role="search">
  <label for="words">{say("What are you looking for?")}</label>
  <div class="words">
    <input id="words" type="search" maxlength="{max_text_chars}" autocomplete="off" enterkeyhint="search"
      data-example="{say("e.g. green desk lamp")}" data-but="{say("This, but … e.g. in blue")}">
    <button class="button primary">{say("Search")}</button>
    <button type="button" class="button" data-go="">{say("Start over")}</button>
  </div>
  <div class="weight" hidden>
    <label for="weight">{say("What counts more?")}</label>
    <span aria-hidden="true">{say("Photo")}</span>
    <input id="weight" type="range" min="0" max="100" step="10" value="50">
    <span aria-hidden="true">{say("Words")}</span>
  </div>
  <p class="hint own" hidden>{say(NO_PHOTO)}</p>
</form>
<p class="slow" role="status" hidden>{say("Still searching …")}</p>
<div class="banner" role="alert" hidden data-stuck="{say("The search takes unusually long.")}"
  data-failed="{say("The search did not get through.")}" data-gone="{say(GONE)}">
  <span></span> <button type="button" class="link again">{say("Try again")}</button></div>
"""


def search_tab(shop: Shop, max_text_chars: int, labels: Labels) -> gr.HTML:
    """Lay out the search tab and connect its events. Returns the component that is shown before a search.

    Every action changes the page's address (search.js), and one event asks for the whole of it: a reload, a shared link
    and the back button answer like a click.
    """
    with gr.Row(elem_id="ask"):
        with gr.Column(scale=3, min_width=280):
            form = labels.html(lambda say: _form(say, max_text_chars))
            ask = gr.HTML(form, apply_default_css=False, elem_id="form", js_on_load=script("search.js"))
        with gr.Column(scale=1, min_width=240):
            photo = photo_input("Photo", labels)
            framed = html("framed", "frame.js")
            outlines = html("outlines")
    with gr.Row(elem_id="browse"):
        panel = html("panel")
        results = html("results")
    landing = html("landing")
    product = html("product", "why.js")
    last_upload = gr.State(None)

    def on_ask(event: gr.EventData, upload: str | None, before: str | None) -> tuple[object, ...]:
        upload = upload or before
        address = Address.parse(str(event.address))
        if address.product:
            return gr.skip(), gr.skip(), gr.skip(), shop.product(address), upload
        return *shop.search(address, upload), gr.skip(), upload

    def on_why(event: gr.EventData, upload: str | None, before: str | None) -> str:
        address = Address.parse(str(event.address))
        return shop.product(address, shop.matched(address, upload or before))

    def on_look(event: gr.EventData, upload: str | None, before: str | None) -> str:
        return shop.outlines(Address.parse(str(event.address)), upload or before)

    shown = [framed, panel, results, product, last_upload]
    photos: list[Component] = [photo, last_upload]
    explained = product.why(on_why, photos, product, **HEATMAPS, **event_options("why"))
    asked = ask.ask(on_ask, photos, shown, cancels=explained, **event_options("search", "hidden"))
    asked.success(None, js="() => document.dispatchEvent(new CustomEvent('answered', { detail: true }))")
    asked.failure(None, js="() => document.dispatchEvent(new CustomEvent('answered', { detail: false }))")
    looked = framed.look(on_look, photos, outlines, **event_options("look", "hidden"))
    looked.success(None, outlines, js="(seen) => document.dispatchEvent(new CustomEvent('outlines', { detail: seen }))")
    looked.failure(None, js="() => document.dispatchEvent(new CustomEvent('outlines', { detail: '' }))")
    photo.input(None, photo, js="(file) => document.dispatchEvent(new CustomEvent('photo', { detail: file }))")
    return landing
