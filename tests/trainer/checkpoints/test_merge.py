"""Merged checkpoints beside hand-made averages, and their records."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from app.errors import BadInputError, ModelError
from app.moon.config import MoonConfig
from app.moon.fingerprint import model_fingerprint
from app.moon.load import load_module, moon_model, save_moon
from app.moon.transformer import MoonTransformer
from app.settings import read_settings
from trainer.checkpoints.merge import merge
from trainer.data.leakage import refuse_trained_on_test

EIGHT_BITS = {"atol": 2**-10, "rtol": 2**-4}
"""Of words in float8: three bits of fraction, and no number nearer to 0 than 2^-9."""
CHANGES = ("ties", "dare_linear", "dare_ties")


@pytest.fixture(scope="session")
def trained(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two checkpoints that moved away from the tiny one in different directions."""
    folders = []
    for seed in (1, 2):
        module = load_module(str(checkpoint))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        folders.append(tmp_path_factory.mktemp(f"trained-{seed}"))
        save_moon(module, folders[-1])
    return [str(folder) for folder in folders]


def weights_of(folder: str | Path) -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in load_file(Path(folder) / "model.safetensors").items()}


def assert_weights(folder: Path, expected: dict[str, Tensor], tolerance: float = 1e-6) -> None:
    found = weights_of(folder)
    assert found.keys() == expected.keys()
    for name in expected:
        rounded = EIGHT_BITS if "embed_tokens" in name else {"atol": tolerance, "rtol": 0.0}
        torch.testing.assert_close(found[name], expected[name], **rounded, msg=name)


def test_linear_is_the_mean_of_all_weights(trained, tmp_path):
    merge(trained, tmp_path)
    first, second = map(weights_of, trained)
    assert_weights(tmp_path, {name: (first[name] + second[name]) / 2 for name in first})


def test_weights_count_in_relation_to_each_other(trained, tmp_path):
    merge(trained, tmp_path, weights=[3, 1])
    first, second = map(weights_of, trained)
    assert_weights(tmp_path, {name: 0.75 * first[name] + 0.25 * second[name] for name in first})


@pytest.mark.parametrize("method", CHANGES)
def test_at_density_one_the_changes_of_equal_checkpoints_are_theirs(trained, checkpoint, tmp_path, method: str):
    merge([trained[0], trained[0]], tmp_path, method, base=str(checkpoint), density=1)
    assert_weights(tmp_path, weights_of(trained[0]))


def test_dare_linear_at_density_one_is_the_weighted_mean(trained, checkpoint, tmp_path):
    merge(trained, tmp_path, "dare_linear", weights=[3, 1], base=str(checkpoint), density=1)
    first, second = map(weights_of, trained)
    assert_weights(tmp_path, {name: 0.75 * first[name] + 0.25 * second[name] for name in first})


@pytest.mark.slow
def test_ties_keeps_the_largest_changes_and_the_sign_that_outweighs_the_other(trained, checkpoint, tmp_path):
    merge(trained, tmp_path, "ties", base=str(checkpoint), density=0.3)
    base, first, second = map(weights_of, (checkpoint, *trained))
    expected = {}
    for name in base:
        changes = torch.stack([trim(first[name] - base[name], 0.3), trim(second[name] - base[name], 0.3)])
        sign = torch.where(changes.sum(0) >= 0, 1, -1)
        agree = changes.sign() == sign
        expected[name] = base[name] + (changes * agree).sum(0) / agree.sum(0).clamp(min=1)
    words = "language_model.embed_tokens.weight"  # many changes of 8-bit numbers are equal, and any of them may be kept
    assert_weights(tmp_path, expected | {words: weights_of(tmp_path)[words]})


def trim(change: Tensor, density: float) -> Tensor:
    kept = max(1, int(density * change.numel()))
    threshold = change.abs().flatten().topk(kept).values[-1]
    return torch.where(change.abs() >= threshold, change, 0)


@pytest.mark.slow
def test_random_shares_follow_the_seed_and_leave_the_random_numbers_of_others_alone(trained, checkpoint, tmp_path):
    state = torch.get_rng_state()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        merge(trained, tmp_path / name, "dare_linear", base=str(checkpoint), seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    once, again, other = (weights_of(tmp_path / name) for name in "abc")
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert any(not torch.equal(once[name], other[name]) for name in once)


def test_a_merged_checkpoint_embeds_as_its_equal_sources_do(trained, tmp_path):
    merge([trained[0], trained[0]], tmp_path)
    inputs: list[Any] = [{"text": "<|title|> red chair<|/title|>"}, {"text": "<|category|> seats<|/category|>"}]
    found, expected = (moon_model(load_module(str(folder))).encode(inputs) for folder in (tmp_path, trained[0]))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3


@pytest.mark.slow
def test_the_result_has_the_first_checkpoints_dtype_and_is_computed_in_single_precision(trained, tmp_path):
    half = tmp_path / "half"
    save_moon(load_module(trained[1]).to(torch.bfloat16), half)
    merge([str(half), trained[0]], tmp_path / "first-half")
    merge([trained[0], str(half)], tmp_path / "first-whole")
    assert load_module(str(tmp_path / "first-half")).model.dtype == torch.bfloat16
    assert load_module(str(tmp_path / "first-whole")).model.dtype == torch.float32
    whole, coarse = weights_of(trained[0]), weights_of(half)
    mean = {name: (whole[name] + coarse[name]) / 2 for name in whole}
    assert_weights(tmp_path / "first-whole", mean)
    assert_weights(tmp_path / "first-half", {name: value.bfloat16().float() for name, value in mean.items()})


def test_the_record_names_sources_method_and_parameters(trained, checkpoint, tmp_path):
    merge(trained, tmp_path, "dare_ties", [2, 1], str(checkpoint), 0.25, 7)
    record = json.loads((tmp_path / "merge.json").read_text())
    prints = {name: model_fingerprint(name, read_settings()) for name in (*trained, str(checkpoint))}
    assert record["sources"] == [
        {"checkpoint": trained[0], "fingerprint": prints[trained[0]], "weight": 2},
        {"checkpoint": trained[1], "fingerprint": prints[trained[1]], "weight": 1},
    ]
    assert record["base"] == {"checkpoint": str(checkpoint), "fingerprint": prints[str(checkpoint)]}
    assert [record[key] for key in ("method", "density", "seed", "dtype")] == ["dare_ties", 0.25, 7, "float32"]
    assert record["versions"].keys() == {"mergekit", "sentence-transformers", "torch"}


def test_checkpoints_of_different_architecture_are_refused(trained, base_folder, tmp_path):
    other = tmp_path / "other"
    save_moon(MoonTransformer.upcycled(str(base_folder), MoonConfig(expert_rank=3)), other)
    with pytest.raises(ModelError, match=r"cannot be merged .*; merge runs that began from one base"):
        merge([trained[0], str(other)], tmp_path / "out")


def test_a_base_model_is_named_and_refused(trained, base_folder, tmp_path):
    with pytest.raises(ModelError, match=r"is no MOON checkpoint; make one with `trainer upcycle`"):
        merge([trained[0], str(base_folder)], tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoints": ["a"]}, "at least two"),
        ({"method": "magic"}, "choose one of linear, ties"),
        ({"weights": [1.0]}, "one positive number for each"),
        ({"weights": [1.0, 0.0]}, "one positive number for each"),
        ({"weights": [1.0, float("nan")]}, "one positive number for each"),
        ({"base": "c"}, "linear uses neither base nor density"),
        ({"density": 0.5}, "linear uses neither base nor density"),
        ({"method": "ties"}, "name the checkpoint that training started from"),
        ({"method": "ties", "base": "c", "density": 0.0}, "give a number above 0"),
        ({"method": "ties", "base": "a"}, "name it as the base only"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_is_loaded(tmp_path, options, message: str):
    arguments: dict[str, Any] = {"checkpoints": ["a", "b"], "out": tmp_path, **options}
    with pytest.raises(BadInputError, match=message):
        merge(**arguments)


def test_a_source_is_not_overwritten(trained):
    with pytest.raises(BadInputError, match="write to another folder"):
        merge(trained, Path(trained[1]))


def with_record(source: str, folder: Path, record: dict[str, Any] | None) -> str:
    """The checkpoint under another name, with this record of training."""
    folder.mkdir()
    for file in Path(source).iterdir():
        (folder / file.name).symlink_to(file)
    if record is not None:
        (folder / "training.json").write_text(json.dumps(record))
    return str(folder)


def record_of(split: str, designs: str = "", before: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"splits": {"trained": {"splits": [split], "designs": designs}}, "before": before}


@pytest.mark.parametrize("place", ["second", "base", "before"])
def test_a_merger_with_a_source_that_was_trained_on_test_designs_is_refused_by_evaluation(
    trained, checkpoint, home, tmp_path, place: str
):
    leaked = record_of("test")
    records = {"first": record_of("train"), "second": record_of("train"), "base": None, place: leaked}
    records |= {"second": record_of("train", before=leaked)} if place == "before" else {}
    sources = [with_record(trained[n], tmp_path / name, records[name]) for n, name in enumerate(["first", "second"])]
    base = with_record(str(checkpoint), tmp_path / "base", records["base"])
    merge(sources, tmp_path / "out", **({"method": "ties", "base": base} if place == "base" else {}))
    with pytest.raises(ModelError, match="has not seen the test split"):
        refuse_trained_on_test(tmp_path / "out", home)


def test_a_merger_of_sources_that_kept_to_their_splits_passes_without_a_warning(trained, home, tmp_path, caplog):
    sources = [with_record(trained[n], tmp_path / str(n), record_of("train")) for n in (0, 1)]
    merge(sources, tmp_path / "out")
    with caplog.at_level(logging.WARNING, logger="trainer"):
        refuse_trained_on_test(tmp_path / "out", home)
    assert not caplog.records


def test_a_merger_with_a_source_of_unknown_training_warns(trained, home, tmp_path, caplog):
    merge([with_record(trained[0], tmp_path / "known", record_of("train")), trained[1]], tmp_path / "out")
    refuse_trained_on_test(tmp_path / "out", home)
    assert "leakage of test designs cannot be ruled out" in caplog.text


def test_a_merger_of_mergers_keeps_every_record(trained, tmp_path):
    names = [with_record(trained[n % 2], tmp_path / str(n), record_of("train", designs=str(n))) for n in range(3)]
    merge(names[:2], tmp_path / "two")
    merge([str(tmp_path / "two"), names[2]], tmp_path / "three")
    record, designs = json.loads((tmp_path / "three" / "training.json").read_text()), []
    while record:
        designs += [part["designs"] for part in record["splits"].values()]
        record = record["before"]
    assert designs == ["0", "1", "2"]
