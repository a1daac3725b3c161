from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModel

from app.errors import ModelError
from app.moon.config import MoonConfig
from app.moon.load import load_module, moon_model
from app.moon.prompt import model_input
from app.moon.segments import MARKERS
from app.moon.transformer import MoonTransformer
from tests.app.moon.tiny_models import WIDTH, picture, picture_processors, write_base
from trainer.training.model import (
    add_lora,
    bare,
    checkpoint_activations,
    freeze,
    keep_frozen_towers_still,
    merged,
    model_size,
    open_trainable,
    parameter_counts,
    save_trained,
    unguide,
)
from trainer.training.presets import PRESETS, SHARED_FFN

QWEN = ("qwen2.5-vl", "qwen3-vl")
LOW_RANK = MoonConfig(expert_rank=2, moe_layers="upper_half_alternate")
FULL = MoonConfig(moe_layers="upper_half_alternate")
WORDS = "<|title|> oak chair<|/title|><|category|> Chairs<|/category|><|attribute|> color: red<|/attribute|>"
INPUTS = [model_input([picture(1)], WORDS), model_input([], "<|title|> lamp<|/title|>")]


@pytest.fixture(scope="module")
def base_of(tmp_path_factory) -> Iterator[Callable[[str], str]]:
    """The folder of a tiny base model by architecture."""
    folders: dict[str, Path] = {}

    def base(architecture: str) -> str:
        if architecture not in folders:
            folders[architecture] = write_base(architecture, tmp_path_factory.mktemp(architecture))
        return str(folders[architecture])

    with picture_processors():
        yield base


@pytest.fixture(params=QWEN)
def qwen(request, base_of) -> str:
    return base_of(request.param)


def with_lora(
    base: str, config: MoonConfig = LOW_RANK, dtype: torch.dtype = torch.float32, *, tower: bool = False
) -> MoonTransformer:
    """As a preset trains it."""
    torch.manual_seed(0)
    module = open_trainable(base, config, dtype)
    add_lora(module, 4)
    freeze(module, PRESETS["qwen3-vl-2b"].frozen, tower=tower)
    return module


def stir(module: MoonTransformer) -> None:
    """Every trained parameter away from where it starts."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))


def embed(module: MoonTransformer) -> torch.Tensor:
    return moon_model(module)(module.preprocess(INPUTS))["sentence_embedding"]


def embedded(module: MoonTransformer) -> torch.Tensor:
    with torch.inference_mode():
        return embed(module).clone()


def trained(module: MoonTransformer) -> set[str]:
    return {name for name, parameter in module.model.named_parameters() if parameter.requires_grad}


def frozen(module: MoonTransformer) -> set[str]:
    return {name for name, parameter in module.model.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize("config", [LOW_RANK, FULL], ids=["low rank", "full experts"])
def test_beside_lora_only_experts_routers_and_the_segment_tokens_are_trained(qwen, config):
    module = with_lora(qwen, config)
    kinds = {
        "LoRA": r"layers\.\d\.(self_attn\.[qkvo]_proj|mlp\.(shared\.)?(gate|up|down)_proj)\.lora_[AB]\.",
        "experts": r"layers\.1\.mlp\.(experts\.\d\.|(gate|up|down)\.[ab]\.\d)",
        "router": r"layers\.1\.mlp\.router\.weight",
        "segment tokens": r"embed_tokens\.token_adapter\.trainable_tokens_delta",
    }
    names = trained(module)
    found = {kind: {name for name in names if re.search(pattern, name)} for kind, pattern in kinds.items()}
    assert all(found.values())
    assert set.union(*found.values()) == names
    assert not any(re.search("lora_", name) for name in frozen(module))


def test_lora_updates_the_shared_ffn_that_is_itself_frozen(qwen):
    module = with_lora(qwen)
    assert any(re.search(r"shared\.up_proj\.lora_B", name) for name in trained(module))
    assert any(re.search(r"shared\.up_proj\.base_layer", name) for name in frozen(module))


def test_every_trained_parameter_gets_a_gradient(qwen):
    module = with_lora(qwen)
    stir(module)
    embed(module).sum(dim=0)[0].backward()
    parameters = dict(module.model.named_parameters())
    without = {name for name in trained(module) if parameters[name].grad is None}
    assert not without


def test_of_the_word_embeddings_only_the_segment_tokens_learn(qwen):
    module = with_lora(qwen)
    every = torch.arange(len(module.words))
    markers = torch.tensor(module.words.convert_tokens_to_ids(MARKERS))
    words = module.model.get_input_embeddings()
    before = words(every).detach().clone()
    optimizer = torch.optim.SGD([p for p in module.model.parameters() if p.requires_grad], lr=1.0)
    (embed(module) ** 3).sum().backward()
    optimizer.step()
    changed = (words(every) != before).any(dim=1).nonzero().flatten()
    assert len(changed)
    assert set(changed.tolist()) <= set(markers.tolist())
    after = words(every).detach().clone()
    weight = merged(module).model.get_input_embeddings().weight
    torch.testing.assert_close(weight[: len(every)], after)


@pytest.mark.parametrize("config", [LOW_RANK, FULL], ids=["low rank", "full experts"])
def test_merged_updates_compute_what_they_computed_beside_the_weights(qwen, config):
    module = with_lora(qwen, config).eval()
    untrained = embedded(module)
    stir(module)
    apart = embedded(module)
    assert not torch.allclose(apart, untrained, atol=1e-2)
    whole = merged(module)
    assert not any("lora" in name or "base_layer" in name for name, _ in whole.model.named_parameters())
    torch.testing.assert_close(embedded(whole), apart, atol=1e-5, rtol=1e-4)


def test_untrained_updates_change_nothing(qwen):
    torch.manual_seed(0)
    plain = open_trainable(qwen, LOW_RANK, torch.float32).eval()
    expected = embedded(plain)
    add_lora(plain, 4)
    torch.testing.assert_close(embedded(plain.eval()), expected)


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_a_trained_checkpoint_is_read_like_any_other_and_computes_the_same(qwen, tmp_path, lora):
    module = with_lora(qwen) if lora else open_trainable(qwen, LOW_RANK, torch.float32)
    stir(module)
    expected = embedded(module.eval())
    save_trained(module, tmp_path, torch.float32)
    torch.testing.assert_close(embedded(load_module(str(tmp_path), torch.float32)), expected, atol=1e-5, rtol=1e-4)
    assert not list(tmp_path.glob("adapter*"))
    assert not list(tmp_path.glob("*.bin"))


def test_checkpoints_are_written_in_half_precision(checkpoint, tmp_path):
    save_trained(open_trainable(str(checkpoint), LOW_RANK, torch.float32), tmp_path)
    assert load_module(str(tmp_path)).model.dtype == torch.bfloat16


class Counted:
    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *args: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.function(*args)


def test_gradient_checkpointing_with_lora_gives_the_same_gradients(qwen, monkeypatch):
    gradients, calls = [], []
    for checkpointed in (False, True):
        module = with_lora(qwen)
        stir(module)
        module.model.double().train()
        if checkpointed:
            checkpoint_activations(module)
        experts = bare(module).language_model.layers[1].mlp
        monkeypatch.setattr(experts, "mix", Counted(experts.mix))
        (embed(module) ** 3).sum().backward()
        gradients.append({name: p.grad for name, p in module.model.named_parameters() if p.requires_grad})
        calls.append(experts.mix.calls)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)
    assert calls == [1, 2]


def test_beside_half_precision_weights_what_is_trained_is_in_single_precision(qwen):
    module = with_lora(qwen, dtype=torch.bfloat16)
    kinds = {p.requires_grad: set() for p in module.model.parameters()}
    for parameter in module.model.parameters():
        kinds[parameter.requires_grad].add(parameter.dtype)
    assert kinds == {True: {torch.float32}, False: {torch.bfloat16}}
    with torch.autocast("cpu", torch.bfloat16):
        embed(module)[:, 0].float().sum().backward()


PROJECTORS = {"qwen2.5-vl": "visual.merger", "qwen3-vl": "visual.merger", "fastvlm": "multi_modal_projector"}


@pytest.mark.parametrize("architecture", [*PROJECTORS, "smolvlm"])
def test_full_fine_tuning_trains_everything_but_the_tower_and_the_shared_ffns(base_of, architecture):
    module = open_trainable(base_of(architecture), LOW_RANK, torch.float32)
    freeze(module, (SHARED_FFN,), tower=False)
    for name in frozen(module):
        assert re.search(r"^(visual|vision_tower|vision_model)\.|\.mlp\.shared\.", name), name
    assert not any(
        re.search(r"\.blocks\.|\.encoder\.|\.stem\.|patch_embed|\.mlp\.shared\.", n) for n in trained(module)
    )
    assert any(name.startswith(PROJECTORS.get(architecture, "connector")) for name in trained(module))
    assert any("embed_tokens" in name for name in trained(module))
    assert all(re.search("visual|vision|shared", name) is None or "merger" in name for name in trained(module))


def test_qwen3s_further_projectors_are_trained_too(base_of):
    module = open_trainable(base_of("qwen3-vl"), LOW_RANK, torch.float32)
    freeze(module, (), tower=False)
    assert any("deepstack_merger_list" in name for name in trained(module))


def test_the_tower_is_trained_if_asked_for_also_beside_lora(qwen):
    plain = open_trainable(qwen, LOW_RANK, torch.float32)
    freeze(plain, (SHARED_FFN,), tower=True)
    assert not any(name.startswith("visual") for name in frozen(plain))
    updated = with_lora(qwen, dtype=torch.bfloat16, tower=True)
    tower = {name: p for name, p in updated.model.named_parameters() if ".visual.blocks." in name}
    assert tower
    assert all(p.requires_grad and p.dtype == torch.float32 for p in tower.values())


def test_measured_parts_and_the_box_head_are_left_to_their_own_training(checkpoint):
    apart = ("moon_skip.centre", "moon_skip.spread", "moon_box_head")
    for lora in (False, True):
        module = open_trainable(str(checkpoint), LOW_RANK, torch.float32)
        if lora:
            add_lora(module, 2)
        freeze(module, (), tower=False)
        assert not any(part in name for part in apart for name in trained(module))
        assert any("moon_skip.gate" in name for name in trained(module))
        assert any("moon_segment_weights" in name for name in trained(module))


class Towered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.vision_tower = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.BatchNorm2d(4))


@pytest.mark.parametrize("train_tower", [False, True])
def test_batch_statistics_of_a_frozen_tower_do_not_drift(train_tower):
    model = nn.Module()
    model.inner = Towered()
    model.inner.vision_tower.requires_grad_(train_tower)
    keep_frozen_towers_still(model)
    model.train()
    model.inner.head(model.inner.vision_tower(torch.randn(8, 3, 5, 5) + 3))
    assert bool(model.inner.vision_tower[1].running_mean.any()) == train_tower
    assert model.inner.vision_tower[2].training == train_tower
    assert model.inner.head[0].running_mean.any()


def test_a_frozen_tower_stays_still_inside_lora(qwen):
    module = with_lora(qwen)
    keep_frozen_towers_still(module)
    module.train()
    assert not bare(module).visual.training
    assert not bare(module).visual.blocks[0].training
    assert bare(module).language_model.training


@pytest.mark.parametrize("architecture", [*PROJECTORS, "smolvlm"])
def test_size_and_width_are_known_without_loading_weights(base_of, architecture, tmp_path):
    folder = base_of(architecture)
    count = sum(parameter.numel() for parameter in AutoModel.from_pretrained(folder).parameters())
    for file in Path(folder).glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert model_size(str(tmp_path)) == (count, WIDTH)


def test_a_name_of_no_model_is_refused(tmp_path):
    for ask in (model_size, lambda name: open_trainable(name, LOW_RANK, torch.float32)):
        with pytest.raises(ModelError, match=r"no model can be read there .*; name a folder or a Hub id"):
            ask(str(tmp_path / "nowhere"))


def test_a_model_without_pictures_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 8}))
    with pytest.raises(ModelError):
        open_trainable(str(tmp_path), LOW_RANK, torch.float32)


def test_a_moon_checkpoint_keeps_its_own_configuration(checkpoint):
    module = open_trainable(str(checkpoint), LOW_RANK, torch.float32)
    assert module.moon == load_module(str(checkpoint)).moon
    assert module.moon != LOW_RANK
    assert module.training


def test_a_base_model_is_upcycled_as_asked(qwen):
    module = open_trainable(qwen, LOW_RANK, torch.bfloat16)
    assert module.moon == LOW_RANK
    assert module.model.dtype == torch.bfloat16
    assert module.training


def test_parameters_are_counted(checkpoint):
    module = open_trainable(str(checkpoint), LOW_RANK, torch.float32)
    whole = sum(parameter.numel() for parameter in module.model.parameters())
    assert parameter_counts(module) == (whole, whole)
    freeze(module, ("embed_tokens",), tower=True)
    count, total = parameter_counts(module)
    assert total == whole
    assert count < whole - module.model.get_input_embeddings().weight.numel()


def test_why_a_model_cannot_be_read_is_one_line(monkeypatch):
    def offline(*arguments, **options):
        raise OSError("no connection\nand nothing in the cache")

    monkeypatch.setattr("trainer.training.model.AutoConfig.from_pretrained", offline)
    with pytest.raises(ModelError, match=r"somewhere/model: .*\(no connection and nothing in the cache\); name a"):
        model_size("somewhere/model")


def test_a_model_without_guidance_is_saved_as_one(base_of, tmp_path):
    module = open_trainable(base_of("qwen3-vl"), MoonConfig(experts=5), torch.float32)
    stir(module)
    guided = embedded(module)
    unguide(module)
    free = embedded(module)
    assert not torch.allclose(guided, free, atol=1e-4)
    save_trained(module, tmp_path / "free", torch.float32)
    again = load_module(str(tmp_path / "free"))
    assert not again.moon.guided
    torch.testing.assert_close(embedded(again), free)


def test_a_checkpoint_that_says_nothing_of_guidance_has_it(base_of, tmp_path):
    save_trained(open_trainable(base_of("qwen3-vl"), LOW_RANK, torch.float32), tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    del config["moon"]["guided"]
    file.write_text(json.dumps(config))
    assert load_module(str(tmp_path)).moon.guided
