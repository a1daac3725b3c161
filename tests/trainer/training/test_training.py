"""The parts of a training run on a tiny checkpoint, and a whole tiny run."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from app.moon.load import load_module, moon_model
from app.moon.prompt import model_input
from trainer.data.views import View
from trainer.training.collate import Collator, MapTower
from trainer.training.config import FitConfig
from trainer.training.detector import fit_box_head, mean_iou
from trainer.training.examples import Input, TripletSampler
from trainer.training.fit import fit, tower_maps
from trainer.training.warmup import BagOfEmbeddings


@pytest.fixture(scope="module")
def module(checkpoint):
    return load_module(str(checkpoint), torch.float32)


@pytest.fixture(scope="module")
def maps(home, module, tmp_path_factory):
    return tower_maps(home, module, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def tokens(maps, module):
    return maps.pooled(module.model.config.vision_config.grid)


def inputs_of(home) -> list[Input]:
    sampler = TripletSampler(home, 5)
    examples = [sampler.example() for _ in range(8)]
    return [part for e in examples for part in (e.query, e.positive, e.negative)]


def test_collator_gives_every_view_its_visual_tokens(home, module, tokens):
    inputs = inputs_of(home)
    batch = Collator(module, tokens)(inputs)
    visual = (batch["input_ids"] == module.markers.image).sum(dim=1)
    assert visual.tolist() == [4 * len(item.views) for item in inputs]
    assert batch["pixel_values"].shape == (sum(len(item.views) for item in inputs), 24, 2, 2)


def test_collator_mirrors_the_views_that_ask_for_it(home, module, tokens):
    view = home.photos[0].whole
    plain, mirrored = Collator(module, tokens)([Input(((view, False),)), Input(((view, True),))])["pixel_values"]
    assert torch.equal(mirrored, plain.flip(2))


def test_collated_maps_embed_like_the_pictures_themselves(home, module, tokens):
    """Against the product's own path: pictures decoded and tokenised by the processor."""
    product = next(p.product for p in home.products if p.split == "train")
    words = "<|title|> Red chair<|/title|>"
    inputs = [Input(((View(product.images[0]), False), (View(product.images[1]), False)), words), Input(text=words)]
    with torch.inference_mode():
        images = [Image.open(home.root / path).convert("RGB") for path in product.images]
        pictures = [model_input(images, words), model_input([], words)]
        direct = torch.tensor(moon_model(module).eval().encode(pictures))
        tower, module.model.vision_tower = module.model.vision_tower, MapTower()
        collated = moon_model(module).eval()(Collator(module, tokens)(inputs))["sentence_embedding"]
        module.model.vision_tower = tower
    assert torch.cosine_similarity(direct, collated).min() > 0.999


def test_bag_of_embeddings_equals_the_model_with_its_gate_closed(home, checkpoint, tokens):
    module = load_module(str(checkpoint), torch.float32)
    bag, collate, inputs = BagOfEmbeddings(module, home, tokens), Collator(module, tokens), inputs_of(home)
    module.model.vision_tower = MapTower()
    # a picture's tokens may be averaged before the projector only while its GELU is linear
    module.model.multi_modal_projector.act = torch.nn.Identity()
    with torch.inference_mode():
        torch.nn.init.normal_(module.model.moon_skip.linear.weight)
        expected = moon_model(module).eval()(collate(inputs))["sentence_embedding"]
        assert module.model.moon_skip.gate.abs().max() == 0
        torch.testing.assert_close(bag(inputs, collate), expected, atol=1e-4, rtol=0)


def test_bag_of_embeddings_keeps_the_projector_nearly_linear(home, checkpoint, tokens):
    module = load_module(str(checkpoint), torch.float32)
    bag, collate, inputs = BagOfEmbeddings(module, home, tokens), Collator(module, tokens), inputs_of(home)
    module.model.vision_tower = MapTower()
    with torch.inference_mode():
        expected = moon_model(module).eval()(collate(inputs))["sentence_embedding"]
        assert torch.cosine_similarity(bag(inputs, collate), expected).min() > 0.9


def test_box_head_learns_the_boxes_of_the_training_photos(home, checkpoint, maps):
    torch.manual_seed(0)
    head = load_module(str(checkpoint), torch.float32).model.moon_box_head
    before = mean_iou(head, home, maps, "train")
    fit_box_head(head, home, maps, steps=40, seed=0)
    assert mean_iou(head, home, maps, "train") > before + 0.1


@pytest.mark.slow
def test_a_whole_run_writes_a_checkpoint_its_record_and_its_course(home_folder, checkpoint, tmp_path):
    config = FitConfig(box_steps=2, skip_steps=4, skip_batch=3, steps=4, batch=3, validate_every=2)
    best = fit(str(checkpoint), home_folder, tmp_path / "run", config)
    assert best.keys() == {"photo_r1", "photo_box_r1", "name_r10"}
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert record["config"]["skip_batch"] == 3
    assert record["dev"] == best
    assert record["splits"]["trained"]["splits"] == ["train"]
    log = [json.loads(line) for line in (tmp_path / "run" / "training.jsonl").read_text().splitlines()]
    assert [(entry["stage"], entry["step"]) for entry in log] == [(s, n) for s in ("skip", "all") for n in range(1, 5)]
    with Image.open(tmp_path / "run" / "training.png") as curve:
        assert curve.width > 400
    trained, untrained = load_module(str(tmp_path / "run")), load_module(str(checkpoint))
    assert trained.model.dtype == torch.bfloat16
    assert not torch.equal(
        trained.model.moon_skip.linear.weight, untrained.model.moon_skip.linear.weight.to(torch.bfloat16)
    )
    stem = "vision_tower.stem.0.weight"
    assert torch.equal(trained.model.state_dict()[stem], untrained.model.state_dict()[stem].to(torch.bfloat16))
    vectors = moon_model(trained).encode([model_input([], "<|title|> chair<|/title|>")])
    assert vectors.shape == (1, 16)
