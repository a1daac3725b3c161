from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from sentence_transformers import SentenceTransformerTrainer

from app.errors import BadInputError, CatalogError
from app.moon.load import load_module, moon_model
from app.moon.prompt import model_input
from app.settings import Settings
from trainer.data.keys import WIDTH, id_key
from trainer.data.pictures import PictureStore
from trainer.data.record import MODALITIES
from trainer.data.splits import training_rows
from trainer.data.views import View
from trainer.losses.columns import ABSENT, FILLER, Columns
from trainer.losses.view_chances import ViewChances
from trainer.training.batches import (
    ATTEMPTS,
    BrokenPictures,
    MapEncoding,
    PixelEncoding,
    TripletCollator,
    encode_inputs,
)
from trainer.training.features import MapTower, TowerMaps
from trainer.training.triplets import Input, Recipe, TripletSource

WORDS = "<|title|> Red chair<|/title|>"
BOX = (20.0, 20.0, 60.0, 60.0)


@pytest.fixture(scope="module")
def module(checkpoint):
    return load_module(str(checkpoint), torch.float32)


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> Callable[[str], Image.Image]:
    return PictureStore(tmp_path_factory.mktemp("cache"), Settings()).read


@pytest.fixture(scope="module")
def source(corpus) -> TripletSource:
    train = training_rows(corpus).train
    return TripletSource(corpus, train, Recipe(augment=True), 0, lambda picture, title: picture.box)


@pytest.fixture
def broken(tmp_path) -> BrokenPictures:
    return BrokenPictures(tmp_path / "broken.jsonl")


def numbers(*values: int) -> list[dict[str, int]]:
    return [{"number": value} for value in values]


class Names:
    """An encoding that shows which views and texts it was asked for; ``gone`` are pictures that cannot be read."""

    def __init__(self, *gone: str) -> None:
        self.gone = gone

    def fetch(self, views):
        for view, _ in views:
            if view.location in self.gone:
                raise BadInputError(f"{view.location}: broken")
        return [view.location for view, _ in views]

    def features(self, texts, pictures):
        return {"texts": list(texts), "pictures": [list(own) for own in pictures]}


def test_a_batch_has_three_columns_in_the_order_of_the_draws_and_their_keys(source, broken):
    batch = TripletCollator(source=source, encoding=Names(), broken=broken)(numbers(5, 2, 9))
    triplets = [source.draw(number) for number in (5, 2, 9)]
    for column in ("query", "positive", "negative"):
        assert batch[f"{column}_texts"] == [getattr(triplet, column).text for triplet in triplets]
        locations = [[view.location for view, _ in getattr(triplet, column).views] for triplet in triplets]
        assert batch[f"{column}_pictures"] == locations
    assert batch["label"].shape == (3, 3, WIDTH)
    assert batch["label"].dtype == torch.int64
    assert batch["label"].tolist() == [[list(keys) for keys in triplet.keys] for triplet in triplets]
    assert batch["label"][0, 1, 0] == id_key(source.corpus.item(source.corpus.record(triplets[0].record).positive).id)


def test_samples_are_records_items_of_negatives_and_modalities(source, broken):
    samples = TripletCollator(source=source, encoding=Names(), broken=broken)(numbers(*range(20)))["samples"]
    assert samples.shape == (20, 1, 3)
    for number, (record, negative, modality) in enumerate(samples[:, 0].tolist()):
        triplet = source.draw(number)
        assert record == triplet.record
        assert id_key(source.corpus.item(negative).id) == triplet.keys[2][0]
        shown = {(True, False): "image", (False, True): "text", (True, True): "both"}
        assert MODALITIES[modality] == shown[bool(triplet.query.views), bool(triplet.query.text)]
    assert set(samples[:, 0, 2].tolist()) == {0, 1, 2}


def test_a_triplet_with_a_broken_picture_is_replaced_and_reported_once(source, broken, caplog):
    first = source.draw(0)
    gone = first.positive.views[0][0].location
    collate = TripletCollator(source=source, encoding=Names(gone), broken=broken)
    with caplog.at_level(logging.WARNING):
        batches = [collate(numbers(*range(40))) for _ in range(2)]
    assert batches[0]["query_texts"] == batches[1]["query_texts"]
    assert len(batches[0]["query_texts"]) == 40
    shown = [own for column in ("query", "positive", "negative") for own in batches[0][f"{column}_pictures"]]
    assert gone not in {location for own in shown for location in own}
    lines = [json.loads(line) for line in broken.file.read_text().splitlines()]
    assert max(Counter(line["record"] for line in lines).values()) == 1
    assert {"record": first.record, "reason": f"{gone}: broken"}.items() <= lines[0].items()
    assert len(broken) == len(lines) == sum("is left out" in message for message in caplog.messages)


def test_draws_beside_a_broken_picture_stay_as_they_are(source, broken):
    whole = TripletCollator(source=source, encoding=Names(), broken=broken)(numbers(*range(20)))
    gone = next(own[0] for own in whole["positive_pictures"])
    mended = TripletCollator(source=source, encoding=Names(gone), broken=broken)(numbers(*range(20)))
    for row in range(20):
        if not any(gone in whole[f"{column}_pictures"][row] for column in ("query", "positive", "negative")):
            assert torch.equal(mended["label"][row], whole["label"][row])


def test_data_of_broken_pictures_end_the_run_with_the_last_reason(source, broken):
    class Nothing(Names):
        def fetch(self, views):
            raise BadInputError("disk.jpg: broken.")

    with pytest.raises(CatalogError, match=rf"{ATTEMPTS} records in a row .* disk\.jpg: broken\. Check the data"):
        TripletCollator(source=source, encoding=Nothing(), broken=broken)(numbers(0))


def test_records_that_several_processes_leave_out_count_once(broken):
    for _ in range(2):
        process = BrokenPictures(broken.file)
        process.add(3, "a")
        process.add(3, "b")
        process.add(4, "c")
    assert len(broken) == 2
    assert len(BrokenPictures(broken.file.with_name("none.jsonl"))) == 0


def inputs_of(source: TripletSource) -> list[Input]:
    return [part for number in range(8) for t in [source.draw(number)] for part in (t.query, t.positive, t.negative)]


@pytest.fixture(scope="module")
def maps(module, read, tmp_path_factory) -> TowerMaps:
    return TowerMaps(module.model.vision_tower, read, tmp_path_factory.mktemp("maps"), 2)


@pytest.fixture(scope="module")
def kept_encoding(module, maps) -> MapEncoding:
    return MapEncoding(module, maps, MapTower(module.model.vision_tower))


def test_every_view_has_its_visual_tokens(source, module, kept_encoding):
    inputs = inputs_of(source)
    batch = encode_inputs(kept_encoding, inputs)
    visual = (batch["input_ids"] == module.markers.image).sum(dim=1)
    assert visual.tolist() == [4 * len(item.views) for item in inputs]
    numbers = 24 * 2 * 2 + module.model.vision_tower.statistics_size
    assert batch["pixel_values"].shape == (sum(len(item.views) for item in inputs), numbers)
    assert batch["num_images_per_sample"].tolist() == [len(item.views) for item in inputs]


def test_kept_maps_and_pictures_are_written_into_the_same_tokens(source, module, kept_encoding, read):
    inputs = inputs_of(source)
    kept, direct = (encode_inputs(encoding, inputs) for encoding in (kept_encoding, PixelEncoding(module, read)))
    assert torch.equal(kept["input_ids"], direct["input_ids"])
    assert torch.equal(kept["attention_mask"], direct["attention_mask"])


def test_kept_maps_embed_like_the_pictures_themselves(corpus, module, kept_encoding):
    """Against the product's own path: pictures decoded and tokenised by the processor."""
    pictures = corpus.item(0).pictures
    inputs = [Input(tuple((View(picture.location), False) for picture in pictures), WORDS), Input(text=WORDS)]
    with torch.inference_mode():
        images = [Image.open(picture.location).convert("RGB") for picture in pictures]
        direct = torch.tensor(moon_model(module).eval().encode([model_input(images, WORDS), model_input([], WORDS)]))
        tower = module.model.vision_tower
        module.model.vision_tower = stand_in = MapTower(tower)
        module.watch(stand_in)
        try:
            kept = moon_model(module).eval()(encode_inputs(kept_encoding, inputs))["sentence_embedding"]
        finally:
            module.model.vision_tower = tower
    assert torch.cosine_similarity(direct, kept).min() > 0.999


def test_text_cannot_turn_into_pictures(module, kept_encoding, read):
    for encoding in (kept_encoding, PixelEncoding(module, read)):
        batch = encode_inputs(encoding, [Input(text="<|title|> <image> chair<|/title|>")])
        assert not (batch["input_ids"] == module.markers.image).any()
        assert "pixel_values" not in batch


def test_mirrored_maps_are_flipped_from_left_to_right(corpus, module, kept_encoding):
    view = View(corpus.item(0).pictures[0].location)
    rows = encode_inputs(kept_encoding, [Input(((view, False), (view, True)))])["pixel_values"]
    (plain, mirrored), (own, same) = MapTower(module.model.vision_tower).split(rows)
    assert torch.equal(mirrored, plain.flip(2))
    assert not torch.equal(mirrored, plain)
    assert torch.equal(own, same)


def gradient(location: str) -> Image.Image:
    return Image.linear_gradient("L").rotate(90).resize((100, 80)).convert("RGB")


def test_pictures_are_cut_and_mirrored_together(module):
    whole, core = View("a.jpg", BOX), View("a.jpg", BOX, "core")
    plain = PixelEncoding(module, gradient).fetch([(whole, False), (core, False)])
    mirrored = PixelEncoding(module, gradient).fetch([(whole, True), (core, True)])
    assert [image.size for image in plain] == [(100, 80), (44, 44)]
    assert [image.tobytes() for image in mirrored] == [ImageOps.mirror(image).tobytes() for image in plain]


def test_a_picture_is_read_once_for_all_of_its_views(module):
    reads = Counter[str]()

    def read(location: str) -> Image.Image:
        reads[location] += 1
        return gradient(location)

    views = [(View("a.jpg", BOX, cut), False) for cut in ("whole", "core", "loose")] + [(View("b.jpg"), False)]
    assert len(PixelEncoding(module, read).fetch(views)) == 4
    assert reads == {"a.jpg": 1, "b.jpg": 1}


def test_a_core_that_is_no_use_is_left_out_beside_its_picture_as_in_the_index(module):
    encoding, everything = PixelEncoding(module, gradient), (0.0, 0.0, 100.0, 80.0)
    core, loose, frame = (View("a.jpg", everything, cut) for cut in ("core", "loose", "frame"))
    assert [image.size for image in encoding.fetch([(View("a.jpg"), False), (core, False)])] == [(100, 80)]
    assert [image.size for image in encoding.fetch([(core, False)])] == [(100, 80)]
    assert [image.size for image in encoding.fetch([(frame, False), (loose, False)])] == [(100, 80)]


def test_lines_of_the_report_are_appended_whole(broken, monkeypatch):
    written = []
    monkeypatch.setattr(os, "write", lambda file, data: written.append(data) or len(data))
    broken.add(1, "ä" * 2000)
    assert len(written) == 1
    assert json.loads(written[0])["reason"] == "ä" * 2000


@pytest.fixture(scope="module")
def joint(corpus) -> TripletSource:
    """Every other design has no photos."""
    rows, columns = training_rows(corpus).train, corpus.columns
    rows = rows[(columns["modalities"][rows] == 1 << MODALITIES.index("text")) | (columns["positive"][rows] % 4 < 2)]
    recipe = Recipe((1.0, 4.0, 1.0), views="joint", intra=True)
    return TripletSource(corpus, rows, recipe, 0, lambda picture, title: picture.box)


JOINT = ["image_query", "text_query", "both_query", "positive", "negative", "product_pictures", "product_words"]


def test_samples_of_several_views_stand_in_the_order_of_their_columns(joint, broken):
    batch = TripletCollator(source=joint, encoding=Names(), broken=broken)(numbers(*range(100)))
    there = batch["label"][:, :3, 0] != ABSENT
    assert torch.equal(batch["samples"][..., 2], torch.arange(3).expand(100, 3).where(there, -1))
    assert not there.all()


def test_a_joint_batch_has_a_column_per_view_and_products_twice_with_the_rows_that_are_there(joint, broken):
    drawn = [joint.draw(number) for number in range(12)]
    batch = TripletCollator(source=joint, encoding=Names(), broken=broken)(numbers(*range(12)))
    assert [name for name in batch if name.endswith("_texts")] == [f"{column}_texts" for column in JOINT]
    for place, modality in enumerate(MODALITIES):
        views = [view for triplet in drawn for view in triplet.queries if view.modality == modality]
        assert batch[f"{modality}_query_texts"] == [view.input.text for view in views]
        own = batch["label"][:, place]
        assert own[own[:, 0] != ABSENT].tolist() == [list(view.keys) for view in views]
        lacking = [modality not in {view.modality for view in triplet.queries} for triplet in drawn]
        assert (own[:, 0] == ABSENT).tolist() == lacking
    assert batch["product_pictures_pictures"] == batch["positive_pictures"]
    assert batch["product_words_texts"] == [triplet.words for triplet in drawn]
    assert batch["label"][:, 3:].tolist() == [
        [*map(list, triplet.document_keys), list(triplet.product_keys)] for triplet in drawn
    ]


def test_several_processes_read_all_rows_of_a_column_the_drawn_query_where_one_lacks(joint, broken):
    drawn = [joint.draw(number) for number in range(12)]
    plain, filled = (
        TripletCollator(source=joint, encoding=Names(), broken=broken, fill=fill)(numbers(*range(12)))
        for fill in (False, True)
    )
    assert {len(filled[f"{column}_texts"]) for column in JOINT} == {12}
    assert torch.equal(filled["label"][:, :, 0] == FILLER, plain["label"][:, :, 0] == ABSENT)
    assert (filled["label"][:, :, 0] == FILLER).any()
    for row, triplet in enumerate(drawn):
        for place, column in enumerate(JOINT[:3]):
            if filled["label"][row, place, 0] == FILLER:
                assert filled[f"{column}_texts"][row] == triplet.query.text


def test_a_column_that_no_triplet_has_is_not_read(corpus, broken):
    rows = [row for row in training_rows(corpus).train if corpus.record(row).modalities == ("text",)]
    source = TripletSource(corpus, np.array(rows), Recipe(views="joint"), 0, lambda picture, title: picture.box)
    for fill in (False, True):
        batch = TripletCollator(source=source, encoding=Names(), broken=broken, fill=fill)(numbers(*range(8)))
        assert [name for name in batch if name.endswith("query_texts")] == ["text_query_texts"]
        assert batch["label"].shape == (8, 5, WIDTH)


def test_a_budget_has_one_column_of_queries_for_several_processes_too_drawn_by_their_chances(corpus, broken):
    rows = training_rows(corpus).train
    source = TripletSource(corpus, rows, Recipe(views="budget"), 0, lambda picture, title: picture.box)
    chances = ViewChances(steps=9, objectives=3, draws=8, delay=1)
    chances.add(0, torch.tensor([4.0, 0.5, 0.5]))
    for first in (0, 8):
        expected = [source.draw(first + n, chances=chances.of_draw(first)) for n in range(8)]
        for fill in (False, True):
            collate = TripletCollator(source=source, encoding=Names(), broken=broken, chances=chances, fill=fill)
            batch = collate(numbers(*range(first, first + 8)))
            assert [name for name in batch if name.endswith("query_texts")] == ["query_texts"]
            assert batch["query_texts"] == [triplet.query.text for triplet in expected]
            modalities = [MODALITIES.index(triplet.queries[0].modality) for triplet in expected]
            assert batch["samples"][:, 0, 2].tolist() == modalities
    assert chances.of_draw(0) == [1, 1, 1]
    assert chances.of_draw(8)[0] > 1


def test_the_record_that_lent_a_broken_picture_is_the_one_that_is_reported(joint, broken):
    view = next(
        view
        for triplet in map(joint.draw, range(50))
        for view in triplet.queries[1:]
        if view.input.views and view.record != triplet.record
    )
    gone = view.input.views[0][0].location
    TripletCollator(source=joint, encoding=Names(gone), broken=broken)(numbers(*range(50)))
    assert view.record in {json.loads(line)["record"] for line in broken.file.read_text().splitlines()}


def test_a_joint_batch_is_what_the_trainer_hands_to_the_loss(joint, module, read, broken):
    collate = TripletCollator(source=joint, encoding=PixelEncoding(module, read), broken=broken)
    batch = collate(numbers(*range(4)))
    features, labels = SentenceTransformerTrainer.collect_features(None, batch)
    columns = Columns(labels, hard_negatives=True, intra=True)
    columns.check(len(features))
    assert [len(own["input_ids"]) for own in features] == [columns.rows[place] for place in columns.given]
