"""Whole training runs on tiny checkpoints: what they write, and that a crash costs nothing but the time since."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from app.errors import BadInputError, CatalogError, ModelError
from app.moon.embedder import load_encoder
from app.moon.load import load_module, moon_model
from app.moon.prompt import model_input
from app.schema import Query
from app.settings import Settings
from tests.app.moon.tiny_models import picture_processors, write_base
from trainer.data.augmented import NOTE, SCHEMA
from trainer.data.corpus import Corpus
from trainer.data.record import Item
from trainer.data.splits import training_rows
from trainer.losses import view_chances
from trainer.losses.view_chances import ViewChances
from trainer.training import fit as fit_module
from trainer.training import stages
from trainer.training.config import PARTS, FitConfig
from trainer.training.trainer import MoonTrainer

SHORT = {
    "tower_steps": 1,
    "box_steps": 2,
    "looks_steps": 2,
    "skip_steps": 4,
    "steps": 6,
    "batch": 3,
    "validate_every": 2,
    "past_batches": 2,
}


class PowerCutError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def run(home_folder: Path, checkpoint: Path, tmp_path: Path) -> Callable[..., tuple[Path, dict[str, float]]]:
    """Train into a folder of the test's own."""

    def start(name: str = "run", **wishes: object) -> tuple[Path, dict[str, float]]:
        config = FitConfig(**{"model": str(checkpoint), **SHORT, **wishes})
        return tmp_path / name, fit_module.fit(home_folder, tmp_path / name, config)

    return start


def course(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[tuple[str, int, float]]:
    return [(entry["stage"], entry["step"], entry["loss"]) for entry in course(folder) if "loss" in entry]


@pytest.mark.slow
def test_a_whole_run_writes_a_checkpoint_its_record_its_course_and_a_report(run, checkpoint):
    folder, best = run()
    assert best.keys() == {f"{kind}_r{k}" for kind in ("image", "text", "both") for k in (1, 10)}
    record = json.loads((folder / "training.json").read_text())
    assert record["config"]["skip_steps"] == 4
    assert record["dev"] == best
    assert record["data"]["format"] == "home"
    assert record["splits"]["trained"]["splits"] == ["train"]
    assert record["splits"]["validated"]["splits"] == ["dev"]
    assert record["plan"]["workers"]["reason"]
    assert 0 <= record["dev_box_iou"] <= 1
    steps = [(stage, step) for stage, step, _ in losses(folder)]
    assert steps == [("skip", n) for n in range(1, 5)] + [("all", n) for n in range(1, 7)]
    assert all(entry["temperature"] == pytest.approx(0.05, abs=0.01) for entry in course(folder) if "loss" in entry)
    last = [entry for entry in course(folder) if "loss" in entry][-1]
    assert "visual" in last["expert_load"]
    assert last["expert_use"]
    assert "Expert use, " in (folder / "report.html").read_text()
    assert list((folder / "tensorboard" / "all").iterdir())
    assert not (folder / "unfinished").exists()
    trained, untrained = load_module(str(folder)), load_module(str(checkpoint))
    assert trained.model.dtype == torch.bfloat16
    before, after = untrained.model.state_dict(), trained.model.state_dict()
    for changed in ("moon_skip.linear.weight", "vision_tower.head.0.weight"):
        assert not torch.equal(after[changed], before[changed].bfloat16())
    for kept in ("vision_tower.stem.0.weight", "vision_tower.blocks.14.layers.0.weight"):
        assert torch.equal(after[kept], before[kept].bfloat16())
    assert moon_model(trained).encode([model_input([], "<|title|> chair<|/title|>")]).shape == (1, 22)


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_with_the_losses_of_an_unbroken_one(run, monkeypatch):
    unbroken, _ = run("unbroken")
    step = MoonTrainer.training_step

    def cut(self: MoonTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        if self.args.max_steps == 6 and self.state.global_step == 5:
            raise PowerCutError
        return step(self, *args, **kwargs)

    monkeypatch.setattr(MoonTrainer, "training_step", cut)
    with pytest.raises(PowerCutError):
        run("broken")
    monkeypatch.undo()
    torch.manual_seed(99)
    broken, _ = run("broken")
    assert losses(broken) == losses(unbroken)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (broken, unbroken))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    records = [json.loads((folder / "training.json").read_text()) for folder in (broken, unbroken)]
    assert records[0]["dev_box_iou"] == pytest.approx(records[1]["dev_box_iou"])


def write_augmented(folder: Path, corpus: Corpus, items: Sequence[Item], word: str = "Enriched") -> Path:
    """A title and a picture for each of the items."""
    Image.new("RGB", (64, 64), "red").save(folder / "new.webp")
    titles = [{"id": item.id, "title": f"{word} {item.title}"} for item in items]
    pictures = [{"id": item.id, "path": "new.webp", "picture": item.pictures[0].location} for item in items]
    note = {NOTE: json.dumps({"corpus": corpus.info["fingerprint"]})}
    table = pa.Table.from_pylist(titles + pictures, schema=SCHEMA.with_metadata(note))
    pq.write_table(table, folder / "augmented.parquet")
    return folder


def positives(corpus: Corpus, split: str) -> list[Item]:
    return [corpus.item(row) for row in sorted({corpus.record(row).positive for row in corpus.rows_of(split)})]


@pytest.mark.slow
def test_a_run_draws_augmented_products_of_its_own_training_split_alone(run, corpus, tmp_path):
    trained, tested = positives(corpus, "train"), positives(corpus, "test")
    with pytest.raises(ModelError, match="held-out data are never augmented"):
        run("refused", augmented=write_augmented(tmp_path, corpus, [*trained, tested[0]]))
    folder, _ = run(augmented=write_augmented(tmp_path, corpus, trained), augmented_share=1.0)
    record = json.loads((folder / "training.json").read_text())
    assert record["plan"]["augmented"]["value"] == f"{len(trained)} titles, {len(trained)} pictures"
    assert record["broken_records"] == 0


@pytest.mark.slow
def test_an_unfinished_run_goes_on_with_the_augmented_data_that_it_began_with_alone(run, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "_train", lambda *_: (_ for _ in ()).throw(PowerCutError))
    trained = positives(corpus, "train")
    for _ in range(2):
        with pytest.raises(PowerCutError):
            run(augmented=write_augmented(tmp_path, corpus, trained))
    with pytest.raises(BadInputError, match=r"unfinished run with other settings \(content of augmented\)"):
        run(augmented=write_augmented(tmp_path, corpus, trained, "Other"))
    (tmp_path / "augmented.parquet").unlink()
    with pytest.raises(CatalogError, match="no augmented data"):
        run(augmented=tmp_path)


@pytest.mark.slow
def test_an_unfinished_run_is_not_mixed_up_with_another_one(run, monkeypatch):
    monkeypatch.setattr(fit_module, "_train", lambda *_: (_ for _ in ()).throw(PowerCutError))
    with pytest.raises(PowerCutError):
        run()
    with pytest.raises(BadInputError, match=r"unfinished run with other settings \(lr\)"):
        run(lr=0.5)


@pytest.mark.slow
def test_a_finished_checkpoint_is_not_written_over(run):
    folder, _ = run(box_steps=0, skip_steps=0, steps=1)
    with pytest.raises(BadInputError, match="holds a checkpoint already"):
        run(box_steps=0, skip_steps=0, steps=1)
    assert (folder / "model.safetensors").exists()


@pytest.mark.slow
def test_a_run_that_ends_while_its_workshop_is_removed_is_finished(run, monkeypatch):
    monkeypatch.setattr(fit_module.shutil, "rmtree", lambda folder: (_ for _ in ()).throw(PowerCutError))
    with pytest.raises(PowerCutError):
        run(box_steps=0, skip_steps=0, steps=1)
    with pytest.raises(BadInputError, match="holds a checkpoint already"):
        run(box_steps=0, skip_steps=0, steps=1)


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_the_run_at_once_and_says_where(run):
    with pytest.raises(FloatingPointError, match=r"at step \d+ \(learning rate .*lower the learning rate"):
        run(box_steps=0, skip_steps=0, lr=1e30, validate_every=6)


@pytest.mark.slow
@pytest.mark.parametrize("wishes", [{"mini_batch": 2, "dims": "8,4"}, {"objective": "circle", "past_batches": 0}])
def test_every_kind_of_loss_trains_from_pixels(run, wishes):
    folder, best = run(box_steps=0, skip_steps=0, steps=3, feature_cache=False, **wishes)
    assert best
    assert len(losses(folder)) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "wishes",
    [
        {"objective_weights": "balanced", "sparsity": 1e-3, "filtering": True, "views": "joint", "intra": 1.0},
        {"objective_weights": "literal", "mini_batch": 2},
        {"filtering": True, "without": ("extended-negatives", "guided-experts")},
    ],
)
def test_weights_of_objectives_and_filtering_train_and_tell_of_it(run, wishes):
    folder, best = run(box_steps=0, skip_steps=0, tower_steps=0, looks_steps=0, **wishes)
    assert best
    steps = [entry for entry in course(folder) if "loss" in entry]
    weighed = wishes.get("objective_weights") is not None
    assert all(entry["expert_use"].keys() <= {"image", "text", "both"} for entry in steps)
    assert all(("expert_objectives" in entry) == weighed for entry in steps)
    assert any("weight_image" in entry for entry in steps) == weighed
    found = [entry["filtering"] for entry in course(folder) if "filtering" in entry]
    assert (folder / "suspects.csv").exists() == (folder / "suspects.parquet").exists() == bool(found)
    assert bool(found) == ("Most rejected samples" in (folder / "report.html").read_text()) == ("filtering" in wishes)
    if found and "views" not in wishes:
        assert sum(one["samples"] for one in found) == SHORT["steps"] * SHORT["batch"]


@pytest.mark.slow
def test_every_pass_ends_where_its_last_record_was_seen_however_rarely_the_run_logs(run, corpus, monkeypatch):
    records, batch = len(training_rows(corpus).train), 16
    steps = 3 * records // batch + 2
    monkeypatch.setattr(stages, "LOGS", 1)
    folder, _ = run(**{**ALL_STAGES_BUT_ONE, "steps": steps, "batch": batch}, validate_every=steps, filtering=True)
    found = [(entry["step"], entry["filtering"]["samples"]) for entry in course(folder) if "filtering" in entry]
    ends = [*(-(-number * records // batch) for number in (1, 2, 3)), steps]
    assert found == [(end, (end - begin) * batch) for begin, end in pairwise([0, *ends])]
    assert sum("loss" in entry for entry in course(folder)) < len(found)


@pytest.mark.slow
@pytest.mark.parametrize("views", ["mixture", "budget"])
def test_a_run_that_was_cut_off_loses_no_sample(run, monkeypatch, views):
    wishes = {"box_steps": 0, "skip_steps": 0, "tower_steps": 0, "looks_steps": 0, "filtering": True}
    wishes |= {"objective_weights": "balanced", "views": views}
    monkeypatch.setattr(view_chances, "NEWEST", 1.0)
    unbroken, _ = run("unbroken", **wishes)
    step = MoonTrainer.training_step

    def cut(self: MoonTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        if self.state.global_step == 5:
            raise PowerCutError
        return step(self, *args, **kwargs)

    monkeypatch.setattr(MoonTrainer, "training_step", cut)
    with pytest.raises(PowerCutError):
        run("broken", **wishes)
    monkeypatch.undo()
    broken, _ = run("broken", **wishes)
    for name in ("loss", "filtering", "expert_objectives"):
        ours, theirs = ([entry.get(name) for entry in course(folder)] for folder in (broken, unbroken))
        assert ours == theirs
        assert any(theirs)


@pytest.mark.slow
def test_gradient_caching_takes_the_same_steps(run):
    direct, _ = run("direct", box_steps=0, skip_steps=0)
    cached, _ = run("cached", box_steps=0, skip_steps=0, mini_batch=2)
    for (_, _, ours), (_, _, theirs) in zip(losses(cached), losses(direct), strict=True):
        assert ours == pytest.approx(theirs, abs=2e-3)


@pytest.fixture(scope="module")
def qwen_base(tmp_path_factory) -> Iterator[Callable[[str], Path]]:
    with picture_processors():
        yield lambda name: write_base(name, tmp_path_factory.mktemp(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "architecture"),
    [("qwen2.5-vl-3b", "qwen2.5-vl"), ("qwen3-vl-2b", "qwen3-vl"), ("qwen3-vl-embedding-2b", "qwen3-vl")],
)
def test_large_presets_make_a_searchable_checkpoint_of_a_base_model(run, qwen_base, preset, architecture, caplog):
    caplog.set_level(logging.INFO)
    base = qwen_base(architecture)
    folder, best = run(preset=preset, model=str(base), steps=2, lora_rank=2, gradient_checkpointing=True)
    assert best
    assert "lora_rank: 2 (asked for)" in caplog.text
    embedder = load_encoder(Settings(_env_file=None, model=str(folder), detector="none"))
    vectors, _ = embedder.embed_queries([Query(text="red chair"), Query(text="blue table")])
    assert vectors.shape == (2, 32)
    assert not (vectors[0] == vectors[1]).all()


@pytest.mark.slow
def test_a_trained_checkpoint_can_be_trained_on_and_keeps_its_history(run):
    first, _ = run("first", box_steps=0, skip_steps=0, steps=1)
    second, _ = run("second", box_steps=0, skip_steps=0, steps=1, model=str(first))
    record = json.loads((second / "training.json").read_text())
    assert record["before"]["config"]["steps"] == 1
    assert record["before"]["before"] is None


@pytest.mark.slow
def test_parts_that_are_left_out_are_recorded_and_part_of_what_a_run_is(run, monkeypatch):
    folder, best = run(without=PARTS)
    assert best.keys() >= {"image_r1", "text_r1"}
    record = json.loads((folder / "training.json").read_text())
    assert record["config"]["without"] == list(PARTS)
    assert record["dev_box_iou"] is None
    assert not load_module(str(folder)).moon.guided
    compared = {
        (entry["stage"], round(entry["negatives"] + entry["masked"])) for entry in course(folder) if "loss" in entry
    }
    assert compared == {("skip", 191), ("all", SHORT["batch"] - 1)}
    monkeypatch.setattr(fit_module, "_train", lambda *_: (_ for _ in ()).throw(PowerCutError))
    with pytest.raises(PowerCutError):
        run("other", without=("core-crop",))
    with pytest.raises(BadInputError, match=r"unfinished run with other settings \(without\)"):
        run("other")


@pytest.mark.slow
def test_two_joint_steps_with_alignment_train_and_are_recorded(run):
    folder, best = run(box_steps=0, looks_steps=0, tower_steps=0, steps=2, views="joint", intra=1.0)
    assert best.keys() >= {"image_r1", "text_r1"}
    steps = [entry for entry in course(folder) if "loss" in entry]
    assert {stage for stage, _, _ in losses(folder)} == {"skip", "all"}
    assert all(1 < entry["queries"] <= 3 and entry["intra"] > 0 for entry in steps)
    record = json.loads((folder / "training.json").read_text())
    assert (record["config"]["views"], record["config"]["intra"]) == ("joint", 1.0)
    assert record["plan"]["views"]["value"] == "joint"


ALL_STAGES_BUT_ONE = {"tower_steps": 0, "box_steps": 0, "looks_steps": 0, "skip_steps": 0, "steps": 2, "batch": 4}


@pytest.mark.slow
def test_a_budget_has_one_column_of_queries_as_the_mixture_has(run):
    """Queries per triplet are counted where there are several columns of them."""
    folder, _ = run(**ALL_STAGES_BUT_ONE, views="budget", mini_batch=2)
    assert len(losses(folder)) == 2
    assert not any("queries" in entry for entry in course(folder))


@pytest.mark.slow
def test_a_budget_draws_by_weights_that_are_known(run, monkeypatch):
    """Means that are no numbers until their step was learned from would fail a draw that came too early."""
    made = ViewChances.__init__

    def unknown(self: ViewChances, *args: object, **kwargs: object) -> None:
        made(self, *args, **kwargs)
        self._means.fill_(torch.nan)

    monkeypatch.setattr(ViewChances, "__init__", unknown)
    monkeypatch.setattr(ViewChances, "add", lambda self, step, weights: self._means[step].copy_(torch.ones(3)))
    folder, _ = run(**{**ALL_STAGES_BUT_ONE, "steps": 12, "views": "budget", "objective_weights": "balanced"})
    assert len(losses(folder)) == 12


READER = """
import time, torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

learned = torch.zeros(1, dtype=torch.int64).share_memory_()
loader = DataLoader(range(40), batch_size=1, num_workers=2, collate_fn=lambda rows: (rows[0], int(learned)))
furthest = 0
for step, (number, known) in enumerate(Accelerator(cpu=True).prepare(loader)):
    furthest = max(furthest, number - known)
    time.sleep(0.03)
    learned[0] = step + 1
print(furthest)
"""


def test_processes_read_no_further_ahead_than_a_budgets_weights_are_delayed():
    """A draw of step t needs the weights of step t - delay; ``known`` is how many steps were learned when it came."""
    done = subprocess.run([sys.executable, "-c", READER], capture_output=True, text=True, check=True)
    assert 2 < int(done.stdout) <= stages.READ_AHEAD * (2 + 1) - 1


@pytest.mark.slow
def test_a_joint_run_of_words_alone_is_the_mixture_bit_for_bit(home_folder, checkpoint, tmp_path):
    words = pl.read_parquet(home_folder / "catalog.parquet").select("id", "title", pl.lit("x").alias("category"))
    shop = tmp_path / "shop"
    shop.mkdir()
    words.write_csv(shop / "catalog.csv")
    log = words.select(query="title", product_id="id", event=pl.lit("click"), time=pl.lit("2026-01-01"))
    log.with_row_index("day").with_columns(time=pl.lit("2026-01-") + (pl.col("day") + 1).cast(str).str.zfill(2)).drop(
        "day"
    ).write_csv(shop / "log.csv")
    states = []
    for views in ("mixture", "joint"):
        config = FitConfig(model=str(checkpoint), **ALL_STAGES_BUT_ONE, views=views)
        fit_module.fit(shop, tmp_path / views, config)
        states.append(load_file(tmp_path / views / "model.safetensors"))
        assert losses(tmp_path / views)
    assert losses(tmp_path / "joint") == losses(tmp_path / "mixture")
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_base_that_is_nowhere_is_named(run, tmp_path):
    with pytest.raises(ModelError, match="nowhere: no model can be read there"):
        run(model=str(tmp_path / "nowhere"))
