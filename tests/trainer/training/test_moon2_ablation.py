"""The benchmark of MOON2.0's parts: what its runs wish for, and the data set with wrong records."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import moon2
import polars as pl
import pytest
import runs
import torch
from noise import WRONG, write_noisy, wrong_products
from runs import Run
from wider import widen

from app.moon.experts import decoder_layers
from app.moon.load import load_module, moon_model, save_moon
from app.moon.prompt import model_input, query_text
from trainer.data.home import HomeSet
from trainer.data.open import open_corpus
from trainer.training.config import FitConfig

SHARE = 0.3


@pytest.fixture(scope="module")
def noisy(home_folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("noisy") / "data"
    write_noisy(home_folder, out, SHARE, seed=0)
    return out


def test_every_variant_lacks_one_part_and_moon_all():
    wishes = moon2.variants(Path("augmented"), 0.0)
    assert [*wishes] == [
        "MOON2.0",
        "without experts",
        "without alignment",
        "without augmentation",
        "without filtering",
        "MOON",
    ]
    whole = FitConfig(**wishes["MOON2.0"])
    changed = {
        name: {key for key, value in vars(FitConfig(**own)).items() if value != getattr(whole, key)}
        for name, own in wishes.items()
    }
    assert changed["without experts"] == {"objective_weights", "sparsity"}
    assert changed["without alignment"] == {"intra"}
    assert changed["without augmentation"] == {"augmented"}
    assert changed["without filtering"] == {"filtering"}
    assert FitConfig(**wishes["MOON"]) == FitConfig()


def test_with_noise_filtering_alone_is_left_out_and_nothing_is_augmented():
    wishes = moon2.variants(None, 0.1)
    assert [*wishes] == ["MOON2.0", "without filtering", "MOON"]
    assert all(own.get("augmented") is None for own in wishes.values())


def test_variants_that_differ_in_the_main_stage_share_the_skip_path(tmp_path, monkeypatch):
    trained: dict[str, FitConfig] = {}

    def fit(data: Path, folder: Path, config: FitConfig) -> None:
        trained[folder.name] = config
        folder.mkdir(parents=True)
        (folder / "training.json").write_text(json.dumps({"config": asdict(config)}, default=str))

    monkeypatch.setattr(runs, "fit", fit)
    wishes = moon2.variants(Path("augmented"), 0.0)
    for name in wishes:
        moon2.train(Run(name, 0, tmp_path / name), wishes, Path("data"), Path("start"), 7, 5)
    starts = {name: Path(str(config.model)).name for name, config in trained.items() if config.steps}
    assert starts == {
        "MOON2.0": "moon20-skip-0",
        "without experts": "moon20-skip-0",
        "without alignment": "without-alignment-skip-0",
        "without augmentation": "without-augmentation-skip-0",
        "without filtering": "moon20-skip-0",
        "MOON": "moon-skip-0",
    }
    skips = {name: config for name, config in trained.items() if not config.steps}
    assert [*skips] == ["moon20-skip-0", "without-alignment-skip-0", "without-augmentation-skip-0", "moon-skip-0"]
    assert all((own.skip_steps, own.filtering, own.sparsity) == (7, False, 0.0) for own in skips.values())
    assert not any(config.skip_steps for config in trained.values() if config.steps)


def test_training_products_alone_become_wrong_and_none_twice(home_folder, noisy):
    before = {item.product.id: item for item in HomeSet(home_folder).products}
    after = {item.product.id: item for item in HomeSet(noisy).products}
    wrong = json.loads((noisy / WRONG).read_text())
    assert not set(wrong["titles"]) & set(wrong["pictures"])
    assert {before[name].split for name in wrong_products(noisy)} == {"train"}
    train = [item for item in before.values() if item.split == "train"]
    assert len(wrong["titles"]) == len(wrong["pictures"]) == round(SHARE * len(train))
    for name, item in before.items():
        product, now = item.product, after[name].product
        shown = [str((home_folder / path).absolute()) for path in product.images]
        same = (now.title == product.title, now.images == shown)
        assert same == (name not in wrong["titles"], name not in wrong["pictures"])
        assert (after[name].names, now.category, now.attributes) == (item.names, product.category, product.attributes)


def test_the_noisy_set_is_read_like_any_other_with_the_same_pictures(home_folder, noisy, tmp_path):
    clean, wrong = (open_corpus(folder, cache=tmp_path) for folder in (home_folder, noisy))
    pictures = [
        {record.picture.location for row in corpus.rows_of("train") if (record := corpus.record(row)).picture}
        for corpus in (clean, wrong)
    ]
    assert pictures[0] == pictures[1]
    assert len(clean.rows_of("test")) == len(wrong.rows_of("test"))


def test_a_wider_start_computes_the_same_and_its_routers_have_a_choice(checkpoint, tmp_path):
    widen(checkpoint, tmp_path / "wide", 6)
    before, after = load_module(str(checkpoint)), load_module(str(tmp_path / "wide"))
    assert (after.moon.free_experts, after.moon.top_k) == (4, 2)
    words = [model_input([], query_text("a red chair"))]
    ours, theirs = (moon_model(module).encode(words) for module in (after, before))
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_experts_that_have_learned_are_not_joined_by_others(checkpoint, tmp_path):
    module = load_module(str(checkpoint))
    torch.nn.init.ones_(decoder_layers(module.model)[0].mlp.up.b[0])
    save_moon(module, tmp_path / "trained")
    with pytest.raises(ValueError, match="are trained"):
        widen(tmp_path / "trained", tmp_path / "wide", 6)


def test_suspects_are_compared_with_the_products_that_are_wrong(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, ids in zip(folders, (["x", "y"], ["x", "z"]), strict=True):
        folder.mkdir()
        pl.DataFrame({"pass": [1, 1], "positive_id": ids}).write_parquet(folder / "suspects.parquet")
    lines = list(moon2.suspected([Run("MOON2.0", 0, folder) for folder in folders], {"x", "y"}))
    assert lines[-1] == "| 1 | 0.750 | 0.750 |"


@pytest.mark.slow
def test_real_runs_are_trained_measured_and_compared(checkpoint, home_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MOON_DATA", str(tmp_path / "data"))
    options = ["--data", str(home_folder), "--seeds", "0", "--skip-steps", "1", "--steps", "2"]
    moon2.main([str(checkpoint), str(tmp_path / "runs"), "--noise", str(SHARE), *options])
    table = capsys.readouterr().out
    assert "| measure | MOON2.0 (1) | without filtering (1) | MOON (1) |" in table
    assert "| text -> both: R@10 | " in table
    assert "| development: both_r10 | " in table
    assert "Suspects of wrong products." in table
    moon2.main([str(checkpoint), str(tmp_path / "runs"), "--noise", str(SHARE), *options, "--table"])
    assert table.endswith(capsys.readouterr().out)
    moon2.main(
        [str(checkpoint), str(tmp_path / "runs"), "--noise", str(SHARE), *options, "--table", "--variants", "MOON"]
    )
    assert "| measure | MOON (1) |" in capsys.readouterr().out
