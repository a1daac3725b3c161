"""A MOON checkpoint under evaluation gives the vectors of the product search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.encoder import Vectors
from app.moon import load_encoder
from app.moon.embedder import MAX_PICTURES, MoonEmbedder
from app.moon.prompt import model_input, product_text, query_text
from app.schema import Product, Query
from app.settings import Settings
from trainer.evaluation.models import Content, EmbeddingModel, open_model


@pytest.fixture(scope="module")
def settings(checkpoint: Path) -> Settings:
    return Settings(_env_file=None, model="another", device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def model(checkpoint: Path, settings: Settings) -> EmbeddingModel:
    return open_model(str(checkpoint), settings)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path, settings: Settings) -> MoonEmbedder:
    return load_encoder(settings.model_copy(update={"model": str(checkpoint)}))


def picture(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    return Image.fromarray(noise)


ONE, TWO, CROP = picture(1), picture(2), picture(3).crop((10, 10, 60, 50))
FULL = {"title": "red chair", "category": ("Seats", "Chairs"), "attributes": {"color": ("red", "black")}}
PRODUCT = Product(id="1", title="red chair", category=["Seats", "Chairs"], attributes={"color": ["red", "black"]})


def same(found: Vectors, expected: Vectors) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_name_family_and_dimensions_are_the_checkpoints(model: EmbeddingModel, checkpoint: Path):
    assert (model.name, model.family, model.dimensions) == (checkpoint.name, "MOON", 22)


def test_products_are_embedded_as_the_indexer_does(model: EmbeddingModel, embedder: MoonEmbedder):
    contents = [Content(images=(ONE, TWO), **FULL), Content(**FULL), Content(images=(ONE,))]
    expected = embedder.embed_products([PRODUCT, PRODUCT, Product(id="2")], [[ONE, TWO], [], [ONE]])
    same(model.embed(contents, is_query=False), expected)


def test_queries_are_embedded_as_the_search_does(model: EmbeddingModel, embedder: MoonEmbedder):
    contents = [Content(title="red chair"), Content(images=(ONE,)), Content(images=(TWO,), title="in red")]
    expected, _ = embedder.embed_queries([Query("red chair"), Query("", ONE), Query("in red", TWO)])
    same(model.embed(contents, is_query=True), expected)


def test_given_crops_stand_beside_their_pictures(model: EmbeddingModel, embedder: MoonEmbedder):
    item = Content(images=(ONE, TWO), crops=(CROP, None), **FULL)
    expected = embedder.embed_inputs([model_input([ONE, CROP, TWO], product_text(PRODUCT))])
    same(model.embed([item], is_query=False), expected)
    photo = Content(images=(ONE,), crops=(CROP,), title="in red")
    expected = embedder.embed_inputs([model_input([ONE, CROP], query_text("in red"))])
    same(model.embed([photo], is_query=True), expected)
    whole = Content(images=(ONE,), crops=(None,))
    same(model.embed([whole], is_query=True), embedder.embed_inputs([model_input([ONE], "")]))


def test_a_query_with_the_fields_of_a_product_keeps_them(model: EmbeddingModel, embedder: MoonEmbedder):
    item = Content(images=(ONE, TWO), **FULL)
    same(model.embed([item], is_query=True), embedder.embed_products([PRODUCT], [[ONE, TWO]]))


def test_rows_keep_their_order_when_only_some_have_crops(model: EmbeddingModel):
    contents = [
        Content(title="lamp"),
        Content(images=(ONE,), crops=(CROP,)),
        Content(images=(TWO,), title="sofa"),
        Content(images=(ONE,), crops=(None,), category=("Seats",)),
    ]
    for is_query in (False, True):
        alone = np.concatenate([model.embed([content], is_query=is_query) for content in contents])
        same(model.embed(contents, is_query=is_query), alone)


def test_more_pictures_than_the_embedder_reads_are_left_out(model: EmbeddingModel):
    many = tuple(picture(seed) for seed in range(MAX_PICTURES + 2))
    for crops in ((), (CROP,) * len(many)):
        few = Content(images=many[:MAX_PICTURES], crops=crops[:MAX_PICTURES])
        same(model.embed([Content(images=many, crops=crops)], is_query=False), model.embed([few], is_query=False))


def test_labels_are_read_inside_their_segment(model: EmbeddingModel, embedder: MoonEmbedder):
    for segment in ("category", "attribute"):
        same(model.embed_labels(["Seats > Chairs"], segment), embedder.embed_labels(["Seats > Chairs"], segment))
