from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from app.errors import BadInputError
from app.moon.load import load_module, moon_model
from app.moon.prompt import model_input
from app.settings import Settings
from tests.app.moon.tiny_models import picture
from trainer.data.corpus import Corpus, CorpusWriter
from trainer.data.pictures import PictureStore
from trainer.data.record import Item, Picture, Record
from trainer.data.splits import training_rows
from trainer.data.views import View
from trainer.training.batches import BrokenPictures, encode_inputs
from trainer.training.features import MapTower
from trainer.training.model import add_lora, bare
from trainer.training.presets import Stage
from trainer.training.starter import ALIGNED, MEASURED, Starter
from trainer.training.triplets import Input, Recipe, TripletSource
from trainer.training.warmup import align_projector, gate_is_closed, standardise_llm, without_decoder

WORDS = "<|title|> Red chair<|/title|><|category|> Seats<|/category|>"
INPUTS = [model_input([picture(1), picture(2)], WORDS), model_input([], "<|title|> lamp<|/title|>")]


@pytest.fixture
def module(checkpoint):
    """With a skip path that is not the identity."""
    module = load_module(str(checkpoint), torch.float32)
    torch.manual_seed(0)
    nn.init.normal_(module.model.moon_skip.linear.weight)
    return module


@pytest.fixture(params=[False, True], ids=["plain", "lora"])
def either(request, module):
    """With LoRA or without."""
    if request.param:
        add_lora(module, 2)
    return module


def embeddings(module) -> torch.Tensor:
    return moon_model(module)(module.preprocess(INPUTS))["sentence_embedding"]


@pytest.fixture
def starter(either, tmp_path) -> Starter:
    return Starter(either, lambda location: picture(int(location)), tmp_path)


def kept_embeddings(module, encoding) -> torch.Tensor:
    """Of the same inputs, from kept features."""
    inputs = [Input(((View("1"), False), (View("2"), False)), WORDS), Input(text="<|title|> lamp<|/title|>")]
    return moon_model(module)(encode_inputs(encoding, inputs))["sentence_embedding"]


def test_without_its_decoder_the_model_computes_the_same_while_the_gate_is_closed(either, starter):
    with torch.inference_mode():
        expected = kept_embeddings(either, starter.encoding)
        with without_decoder(either, starter.encoding):
            torch.testing.assert_close(kept_embeddings(either, starter.encoding), expected)
        assert torch.equal(kept_embeddings(either, starter.encoding), expected)


def test_with_an_open_gate_the_decoder_counts(either, starter):
    assert gate_is_closed(either)
    with torch.inference_mode():
        either.model.moon_skip.gate.fill_(0.5)
        expected = kept_embeddings(either, starter.encoding)
        with without_decoder(either, starter.encoding):
            assert not torch.allclose(kept_embeddings(either, starter.encoding), expected, atol=1e-3)
    assert not gate_is_closed(either)


def test_the_decoder_is_not_called(either, starter):
    calls = []
    layer = either.model.language_model.layers[0]
    layer.register_forward_hook(lambda *_: calls.append(1))
    with without_decoder(either, starter.encoding), torch.inference_mode():
        kept_embeddings(either, starter.encoding)
    assert not calls
    with torch.inference_mode():
        kept_embeddings(either, starter.encoding)
    assert calls


def test_pictures_are_written_short_without_the_decoder(either, starter):
    features = starter.encoding.features([""], [starter.encoding.fetch([(View("1"), False)])])
    with without_decoder(either, starter.encoding):
        short = starter.encoding.features([""], [starter.encoding.fetch([(View("1"), False)])])
    assert short["input_ids"].shape[1] == features["input_ids"].shape[1] - 3


def test_everything_comes_back_after_an_error(module, tmp_path):
    starter = Starter(module, lambda location: picture(int(location)), tmp_path)
    decoder, projector = module.model.language_model, module.model.multi_modal_projector
    with pytest.raises(KeyError), without_decoder(module, starter.encoding):
        raise KeyError
    assert module.model.language_model is decoder
    assert module.model.multi_modal_projector is projector
    assert starter.encoding.visual_tokens == 4


def test_word_embeddings_keep_their_name_and_learn_without_the_decoder(module, tmp_path):
    starter = Starter(module, lambda location: picture(int(location)), tmp_path)
    names = [name for name, _ in module.model.named_parameters() if "embed_tokens" in name]
    with without_decoder(module, starter.encoding):
        assert [name for name, _ in module.model.named_parameters() if "language_model" in name] == names
        kept_embeddings(module, starter.encoding)[:, 0].sum().backward()
    assert module.model.get_input_embeddings().weight.grad.abs().sum() > 0
    assert module.model.moon_skip.linear.weight.grad.abs().sum() > 0


def test_an_aligned_projector_keeps_the_geometry_of_the_towers_features(module):
    """Centred features and the visual tokens made of them have the same cosines, and words' length."""
    generator = torch.Generator().manual_seed(0)
    spread = 0.7 ** torch.arange(24)
    features = 3 + torch.randn(200, 24, generator=generator) * spread
    align_projector(module, features)
    with torch.no_grad():
        tokens = module.model.multi_modal_projector(features)
        words = module.model.get_input_embeddings().weight.norm(dim=1).mean()
    centred = features - features.mean(0)
    cosines = [nn.functional.normalize(x, dim=1) @ nn.functional.normalize(x, dim=1).T for x in (centred, tokens)]
    torch.testing.assert_close(cosines[1], cosines[0], atol=0.1, rtol=0)
    assert tokens.norm(dim=1).mean() == pytest.approx(words.item(), rel=0.1)


def test_fewer_pictures_than_dimensions_align_a_projector_too(module):
    torch.manual_seed(0)
    features = torch.randn(3, 24)
    align_projector(module, features)
    with torch.no_grad():
        tokens = module.model.multi_modal_projector(features)
    assert tokens.isfinite().all()
    assert torch.pdist(tokens).min() > 0.1 * tokens.norm(dim=1).mean()


def content_outputs(module) -> torch.Tensor:
    """What the LLM hands to the skip path for content tokens, whose standardised form the gate weighs."""
    seen = []
    hook = module.model.moon_skip.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1]))
    batch = module.preprocess(INPUTS)
    content = module.markers.content(batch["input_ids"], batch["attention_mask"]).bool()
    with torch.inference_mode():
        module(batch)
    hook.remove()
    return seen[0][content]


def test_the_llms_output_is_standardised_over_content_tokens(module):
    standardise_llm(module, [module.preprocess(INPUTS) for _ in range(2)])
    skip = module.model.moon_skip
    standard = (content_outputs(module) - skip.centre) / skip.spread
    torch.testing.assert_close(standard.mean(0), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(standard.std(0), torch.ones(16), atol=0.05, rtol=0)
    assert not skip._forward_pre_hooks


def test_standardising_changes_nothing_while_the_gate_is_closed(either):
    with torch.inference_mode():
        expected = embeddings(either)
    standardise_llm(either, [either.preprocess(INPUTS)])
    assert either.model.moon_skip.centre.any()
    with torch.inference_mode():
        torch.testing.assert_close(embeddings(either), expected)


SKIP, ALL, BOXES = Stage("skip", 2, 4, 1e-3), Stage("all", 2, 4, 1e-3), Stage("boxes", 2, 4, 1e-3)
LOOKS = Stage("looks", 2, 4, 1e-2)


def shop_of(corpus: Corpus, folder) -> SimpleNamespace:
    source = TripletSource(corpus, training_rows(corpus).train, Recipe(), 0, lambda picture, title: picture.box)
    plan = SimpleNamespace(config=SimpleNamespace(seed=0))
    broken = BrokenPictures(folder / "broken.jsonl")
    return SimpleNamespace(source=source, plan=plan, broken=broken, folder=folder / "unfinished")


@pytest.fixture
def read(tmp_path):
    return PictureStore(tmp_path / "pictures", Settings()).read


def test_kept_features_take_the_towers_place_until_it_is_given_back(either, read, tmp_path):
    tower = bare(either).vision_tower
    starter = Starter(either, read, tmp_path)
    assert isinstance(bare(either).vision_tower, MapTower)
    starter.give_back()
    assert bare(either).vision_tower is tower


@pytest.mark.parametrize(("stage", "parts"), [(SKIP, ALIGNED), (ALL, MEASURED)], ids=["skip", "all"])
def test_what_a_stage_prepares_is_named_and_nothing_else_changes(either, corpus, read, tmp_path, stage, parts):
    starter = Starter(either, read, tmp_path)
    before = {name: value.clone() for name, value in either.model.state_dict().items()}
    names = starter.prepared(stage)
    starter.prepare(stage, shop_of(corpus, tmp_path))
    changed = {name for name, value in either.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= set(names)
    assert all(any(part in name for name in changed) for part in parts)


def test_an_open_gate_leaves_nothing_to_prepare(module, corpus, read, tmp_path):
    starter = Starter(module, read, tmp_path)
    assert starter.applies(SKIP)
    with torch.no_grad():
        module.model.moon_skip.gate.fill_(0.1)
    before = {name: value.clone() for name, value in module.model.state_dict().items()}
    for stage in (SKIP, ALL):
        starter.prepare(stage, shop_of(corpus, tmp_path))
        assert starter.prepared(stage) == []
    assert all(torch.equal(value, before[name]) for name, value in module.model.state_dict().items())
    assert not starter.applies(SKIP)
    assert starter.applies(ALL)


def test_products_without_pictures_leave_the_projector_as_it_is(module, read, tmp_path):
    with CorpusWriter(tmp_path / "corpus", {"name": "text", "format": "shop"}) as writer:
        for number in range(4):
            writer.add(Record(Item(str(number), f"Chair {number}"), f"words {number}"))
    before = module.model.multi_modal_projector.linear_1.weight.clone()
    Starter(module, read, tmp_path).prepare(SKIP, shop_of(Corpus(tmp_path / "corpus"), tmp_path))
    assert torch.equal(module.model.multi_modal_projector.linear_1.weight, before)


def test_a_box_head_is_trained_where_pictures_with_boxes_can_be_read(module, corpus, read, tmp_path):
    split, shop = training_rows(corpus), shop_of(corpus, tmp_path)

    def gone(location: str):
        raise BadInputError(f"{location}: broken")

    before = module.model.moon_box_head.layers[-1].bias.clone()
    blind = Starter(module, gone, tmp_path)
    blind.fit_boxes(shop, split.train, split.dev, BOXES)
    assert blind.box_iou is None
    assert torch.equal(module.model.moon_box_head.layers[-1].bias, before)
    blind.give_back()
    starter = Starter(module, read, tmp_path)
    starter.fit_boxes(shop, split.train, split.dev, BOXES)
    assert 0 <= starter.box_iou <= 1
    trained = {name: value.clone() for name, value in module.model.moon_box_head.state_dict().items()}
    with torch.no_grad():
        module.model.moon_box_head.layers[-1].bias.add_(1.0)
    starter.give_back()
    resumed = Starter(module, gone, tmp_path)
    resumed.fit_boxes(shop, split.train, split.dev, BOXES)
    assert resumed.box_iou == pytest.approx(starter.box_iou)
    assert all(torch.equal(value, trained[name]) for name, value in module.model.moon_box_head.state_dict().items())
    assert not torch.equal(module.model.moon_box_head.layers[-1].bias, before)


def test_looks_are_taught_once_and_nothing_else_is(module, corpus, read, tmp_path):
    shop = shop_of(corpus, tmp_path)
    before = {name: value.clone() for name, value in module.model.state_dict().items()}
    starter = Starter(module, read, tmp_path)
    starter.fit_looks(shop, LOOKS)
    taught = {name: value.clone() for name, value in module.model.moon_skip.pictures.state_dict().items()}
    changed = {name for name, value in module.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"moon_skip.pictures.{part}" for part in ("looks.weight", "meaning.weight", "centre", "spread")}
    with torch.no_grad():
        module.model.moon_skip.pictures.looks.weight.zero_()
    starter.fit_looks(shop, LOOKS)
    again = module.model.moon_skip.pictures.state_dict()
    assert all(torch.equal(again[name], value) for name, value in taught.items())


def test_an_open_gate_leaves_the_looks_as_they_are(module, corpus, read, tmp_path):
    with torch.no_grad():
        module.model.moon_skip.gate.fill_(0.1)
    before = module.model.moon_skip.pictures.looks.weight.clone()
    Starter(module, read, tmp_path).fit_looks(shop_of(corpus, tmp_path), LOOKS)
    assert torch.equal(module.model.moon_skip.pictures.looks.weight, before)


def test_products_without_pictures_leave_the_looks_as_they_are(module, read, tmp_path):
    with CorpusWriter(tmp_path / "corpus", {"name": "text", "format": "shop"}) as writer:
        for number in range(4):
            writer.add(Record(Item(str(number), f"Chair {number}"), f"words {number}"))
    before = module.model.moon_skip.pictures.looks.weight.clone()
    Starter(module, read, tmp_path).fit_looks(shop_of(Corpus(tmp_path / "corpus"), tmp_path), LOOKS)
    assert torch.equal(module.model.moon_skip.pictures.looks.weight, before)


def test_pictures_without_photo_queries_are_taught_their_meaning_alone(module, home, read, tmp_path):
    with CorpusWriter(tmp_path / "corpus", {"name": "text", "format": "shop"}) as writer:
        for number, product in enumerate(home.products[:6]):
            images = tuple(Picture(str(home.root / path)) for path in product.product.images)
            item = Item(str(number), f"Chair {number}", images, (f"Kind {number % 2}",))
            writer.add(Record(item, f"words {number}"))
    before = module.model.moon_skip.pictures.meaning.weight.clone()
    Starter(module, read, tmp_path).fit_looks(shop_of(Corpus(tmp_path / "corpus"), tmp_path), LOOKS)
    assert not torch.equal(module.model.moon_skip.pictures.meaning.weight, before)
