from __future__ import annotations

import logging
import os

import pytest
import torch

from app.errors import BadInputError
from trainer.training import plan as plan_module
from trainer.training.config import FitConfig
from trainer.training.plan import Plan, make_plan
from trainer.training.presets import PRESETS
from trainer.training.triplets import Dropout

SMALL, BILLIONS = 50_000_000, 3_000_000_000
ACCELERATORS = {"cuda": True, "cpu": False}


@pytest.fixture(autouse=True)
def device(request, monkeypatch) -> str:
    """The plan believes in this device; a CPU unless the test names another."""
    name = getattr(request, "param", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: ACCELERATORS[name])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: ACCELERATORS[name])
    return name


on_a_gpu = pytest.mark.parametrize("device", ["cuda"], indirect=True)


def plan_of(parameters: int = SMALL, records: int = 1000, width: int = 576, world: int = 1, **wishes) -> Plan:
    return make_plan(FitConfig(**wishes), "some/model", records, parameters, width, world)


def steps(plan: Plan) -> dict[str, int | None]:
    return {stage.name: stage.steps for stage in plan.stages}


def test_the_starters_stages_are_its_presets():
    plan = plan_of()
    assert steps(plan) == {"tower": 200, "boxes": 1000, "looks": 300, "skip": 160, "all": 80}
    assert plan.recipe.augment
    assert plan.lora_rank == 0


def test_weights_of_objectives_and_filtering_are_noted_where_they_are_asked_for():
    plain, asked = plan_of(), plan_of(objective_weights="balanced", sparsity=1e-3, filtering=True)
    assert asked.reasons.keys() - plain.reasons.keys() == {"objective_weights", "filtering"}


def test_sparsity_without_objectives_is_refused():
    with pytest.raises(BadInputError, match=r"--sparsity 0\.001 .* add --objective-weights"):
        plan_of(sparsity=1e-3)


@pytest.mark.parametrize(
    ("wish", "stage"),
    [
        ({"steps": 7}, "all"),
        ({"skip_steps": 7}, "skip"),
        ({"box_steps": 7}, "boxes"),
        ({"looks_steps": 7}, "looks"),
        ({"tower_steps": 7}, "tower"),
    ],
)
def test_steps_that_are_asked_for_change_their_stage_alone(wish, stage):
    plan = plan_of(**wish)
    assert steps(plan) == {**steps(plan_of()), stage: 7}
    assert plan.reasons[f"stage {stage}"][1] == "asked for"


@pytest.mark.parametrize(
    ("records", "world", "wishes", "expected"),
    [
        (1600, 1, {}, 100),
        (1600, 4, {}, 25),
        (1600, 1, {"epochs": 2.5}, 250),
        (1600, 1, {"batch": 64}, 25),
        (1600, 2, {"batch": 50, "epochs": 0.5}, 8),
        (3, 8, {}, 1),
        (1600, 4, {"steps": 9}, 9),
    ],
)
def test_steps_of_large_presets_come_from_epochs_records_batch_and_processes(records, world, wishes, expected):
    plan = plan_of(BILLIONS, records, world=world, preset="qwen3-vl-2b", **wishes)
    assert steps(plan) == {"all": expected}


def test_the_reason_for_derived_steps_names_epochs_records_and_batches():
    reason = plan_of(BILLIONS, 1600, world=4, preset="qwen3-vl-2b", epochs=2).reasons["stage all"]
    assert reason == ("50 steps of 16, lr 0.0001", "2 epochs of 1600 records in batches of 16 x 4")


@pytest.mark.parametrize(
    ("wishes", "every"), [({"steps": 95}, 10), ({"steps": 50_000}, 500), ({"steps": 4, "validate_every": 100}, 4)]
)
def test_validation_comes_some_ten_times_but_at_the_latest_at_the_end(wishes, every):
    assert plan_of(**wishes).validate_every["all"] == every


def test_every_setting_is_logged_with_its_reason(caplog):
    with caplog.at_level(logging.INFO):
        plan = plan_of()
    assert {
        "device",
        "bf16",
        "weights",
        "lora_rank",
        "gradient_checkpointing",
        "workers",
        "dims",
    } <= plan.reasons.keys()
    for name, (value, reason) in plan.reasons.items():
        assert reason
        assert f"{name}: {value} ({reason})" in caplog.text


def test_a_cpu_computes_in_single_precision_without_workers():
    plan = plan_of(BILLIONS, preset="qwen3-vl-2b")
    assert (plan.bf16, plan.weights, plan.workers, plan.attention) == (False, torch.float32, 0, None)
    assert plan.reasons["device"] == ("cpu", "no CUDA GPU was found")


@on_a_gpu
def test_lora_of_billions_of_parameters_on_a_gpu_keeps_frozen_weights_in_half_precision(device):
    plan = plan_of(BILLIONS, preset="qwen3-vl-2b")
    assert (plan.bf16, plan.weights, plan.gradient_checkpointing) == (True, torch.bfloat16, True)
    assert plan.attention == "sdpa"


@on_a_gpu
@pytest.mark.parametrize("wishes", [{"lora_rank": 0}, {"precision": "fp32"}])
def test_weights_that_are_all_trained_or_asked_for_stay_in_single_precision(device, wishes):
    assert plan_of(BILLIONS, preset="qwen3-vl-2b", **wishes).weights == torch.float32


@on_a_gpu
def test_small_models_need_no_gradient_checkpointing(device):
    plan = plan_of(SMALL)
    assert not plan.gradient_checkpointing
    assert plan.reasons["gradient_checkpointing"][1] == "0.05 billion parameters"


@on_a_gpu
def test_processes_share_the_cores_for_reading_pictures(device, monkeypatch):
    for cores, world, workers in ((16, 1, 8), (16, 4, 4), (4, 8, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert plan_of(world=world).workers == workers


@pytest.mark.parametrize(
    ("wish", "name", "value"),
    [
        ({"lora_rank": 8}, "lora_rank", 8),
        ({"workers": 3}, "workers", 3),
        ({"gradient_checkpointing": True}, "gradient_checkpointing", True),
        ({"precision": "bf16"}, "bf16", True),
    ],
)
def test_what_is_asked_for_is_taken(wish, name, value):
    plan = plan_of(**wish)
    assert getattr(plan, name) == value
    assert plan.reasons[name] == (str(value), "asked for")


@pytest.mark.parametrize(
    ("wish", "width", "dims"),
    [
        ("", 576, ()),
        ("auto", 576, (512, 256, 128, 64)),
        ("auto", 2048, plan_module.MATRYOSHKA),
        ("auto", 64, ()),
        ("32, 16", 576, (32, 16)),
    ],
)
def test_further_widths_are_those_below_the_full_one_or_those_asked_for(wish, width, dims):
    assert plan_of(width=width, dims=wish).dims == dims


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ("all", r"--dims 'all' is no list of numbers; write for example 512,256,128 or auto\."),
        ("1024", r"--dims '1024': the model's vectors have 576 dimensions; name smaller ones\."),
        ("0", "name smaller ones"),
        ("-8", "name smaller ones"),
    ],
)
def test_wrong_widths_are_refused(wish, message):
    with pytest.raises(BadInputError, match=message):
        plan_of(dims=wish)


def test_the_mixture_weighs_image_text_and_both():
    assert plan_of(mixture="1:0:2.5").recipe.mixture == (1.0, 0.0, 2.5)
    assert plan_of(preset="qwen2.5-vl-3b").recipe.mixture == (12.0, 3.0, 2.0)
    assert plan_of(preset="starter").recipe.mixture == (4.0, 8.0, 5.0)


@pytest.mark.parametrize("wish", ["", "1:2", "1:2:3:4", "a:b:c", "1:-1:1", "0:0:0", "nan:1:1", "inf:1:1", "1,2,3"])
def test_a_wrong_mixture_is_refused(wish):
    with pytest.raises(BadInputError, match=r"must weigh image, text and image\+text queries, for example 12:3:2"):
        plan_of(mixture=wish)


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(BadInputError, match="there is no preset 'huge'; choose one of " + ", ".join(PRESETS)):
        plan_of(preset="huge")


def test_without_core_crop_there_is_no_box_stage_and_no_crop_is_shown():
    plan = plan_of(without=("core-crop",), box_steps=5)
    assert steps(plan) == {**steps(plan_of()), "boxes": 0}
    assert plan.reasons["stage boxes"][1] == "without core-crop"
    assert plan.recipe.dropout == Dropout(crop=1.0, whole=0.0)
    assert plan.reasons["without"] == ("core-crop", "asked for")


def test_without_field_dropout_nothing_is_left_out_but_other_parts():
    assert plan_of(without=("field-dropout",)).recipe.dropout == Dropout(0.0, 0.0, 0.0, 0.0, 0.0)
    both = plan_of(without=("field-dropout", "core-crop")).recipe.dropout
    assert both == Dropout(0.0, 0.0, 0.0, crop=1.0, whole=0.0)


def test_without_extended_negatives_no_past_batch_is_kept():
    plan = plan_of(preset="qwen3-vl-2b", without=("extended-negatives",), past_batches=3)
    assert plan.past_batches == 0


def test_a_part_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(BadInputError, match="--without crops: there is no such part; choose of core-crop, guided-exp"):
        plan_of(without=("field-dropout", "crops"))
