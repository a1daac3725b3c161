"""The tab "Understand": predictions, heatmaps, and many products at once."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from app.serving import Service
from tests.ui.sample_shop import DEMO
from ui.seen import STRONGEST, core_product, overlay, warm_parts
from ui.understand import Understanding

PHOTO = DEMO / "photos" / "bs0-couch-c0_p0.webp"
CORNER = np.zeros((8, 8), dtype=np.float32)
CORNER[:2, 6:] = 0.4


@pytest.fixture
def understanding(shop_service: Service) -> Understanding:
    return Understanding(shop_service)


def test_a_photo_gets_bars_and_a_frame_around_its_core_product(understanding: Understanding):
    shown = understanding.predict("Green armchair", str(PHOTO))
    assert "Category, level 1" in shown
    assert 'alt="The product that was found in the photo"' in shown


def test_a_title_alone_gets_bars_without_a_frame(understanding: Understanding):
    shown = understanding.predict("Green armchair", None)
    assert "Category, level 1" in shown
    assert "<figure" not in shown


def test_a_photo_and_its_title_get_two_heatmaps(understanding: Understanding):
    assert understanding.look("Green armchair", str(PHOTO)).count("<figure") == 2
    assert understanding.look(" ", str(PHOTO)).count("<figure") == 1


def test_nothing_to_look_at_is_said_so(understanding: Understanding):
    assert 'role="alert"' in understanding.look("Green armchair", None)


def test_the_layer_is_opaque_where_it_is_warm_and_transparent_elsewhere():
    opacity = np.asarray(overlay(CORNER, (80, 40)))[..., 3] / 255
    assert opacity.shape == (40, 80)
    assert opacity[2, 77] == pytest.approx(STRONGEST, abs=0.01)
    assert opacity[20:, :40].max() == 0


def test_without_warmth_nothing_is_coloured():
    assert np.asarray(overlay(np.full((8, 8), 1e-7, dtype=np.float32), (16, 16)))[..., 3].max() == 0


def test_a_heatmap_says_in_words_where_it_is_warmest():
    assert 'alt="Looks &lt;b&gt;: warmest in the upper right"' in warm_parts(
        Image.new("RGB", (9, 9)), CORNER, "Looks <b>"
    )


def test_the_core_product_is_framed_at_the_scale_of_the_preview():
    shown = core_product(Image.new("RGB", (1920, 960), "white"), (480.0, 240.0, 960.0, 480.0), "Found")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(re.findall(r"base64,([^\"]+)", shown)[0]))).convert("L"))
    dark_rows, dark_columns = np.nonzero(pixels < 128)
    assert pixels.shape == (240, 480)
    assert [dark_columns.min(), dark_rows.min()] == pytest.approx([119, 59], abs=3)
    assert [dark_columns.max(), dark_rows.max()] == pytest.approx([241, 121], abs=3)


@pytest.mark.browser
def test_the_tab_predicts_and_shows_where_the_model_looks(open_page: Callable[..., Page], shop_url: str):
    page = open_page(shop_url)
    page.get_by_role("tab", name="Understand").click()
    page.locator("#understand input[type=file]").set_input_files(PHOTO)
    page.get_by_label("Product title").fill("Green armchair")
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.get_by_alt_text("The product that was found")).to_be_visible()
    page.get_by_role("button", name="Show where the model looks").click()
    expect(page.get_by_role("img", name=re.compile("^For the title: "))).to_be_visible()
