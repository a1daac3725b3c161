"""MOON2.0 with every part off is MOON: the same triplets, losses and weights, bit for bit; each part alone is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from app.moon.transformer import MoonTransformer
from trainer.data.augmented import FILE, NOTE, SCHEMA
from trainer.losses import moon
from trainer.training import fit as fit_module
from trainer.training import stages, triplets
from trainer.training.config import FitConfig
from trainer.training.inputs import Triplet
from trainer.training.triplets import TripletSource

SHORT = {
    "tower_steps": 0,
    "box_steps": 0,
    "looks_steps": 0,
    "skip_steps": 0,
    "steps": 3,
    "batch": 4,
    "validate_every": 3,
    "past_batches": 1,
}
OFF = {"views": "mixture", "intra": 0.0, "objective_weights": "uniform", "sparsity": 0.0, "filtering": False}
PARTS = ((stages, "ObjectiveWeights"), (stages, "SampleFilter"), (moon, "Alignment"), (triplets, "QueryViews"))
"""What the parts are made of, by the module that makes them."""

Run = tuple[dict[int, Triplet], list[float], dict[str, Tensor]]


@pytest.fixture
def run(home_folder: Path, checkpoint: Path, tmp_path: Path, monkeypatch) -> Callable[..., Run]:
    """Three steps of the main stage: the triplets by their number, the losses, and the weights before they are saved,
    which rounds them."""

    def start(name: str, **wishes: object) -> Run:
        drawn: dict[int, Triplet] = {}
        states: list[dict[str, Tensor]] = []
        draw, trained = TripletSource.draw, fit_module.trained_model

        def noted(self: TripletSource, number: int, *more: Any) -> Triplet:
            drawn[number] = draw(self, number, *more)
            return drawn[number]

        def kept(shop: stages.Workshop) -> MoonTransformer:
            module = trained(shop)
            states.append({key: value.clone() for key, value in module.model.state_dict().items()})
            return module

        with monkeypatch.context() as patch:
            patch.setattr(TripletSource, "draw", noted)
            patch.setattr(fit_module, "trained_model", kept)
            out = tmp_path / name
            fit_module.fit(home_folder, out, FitConfig(model=str(checkpoint), **SHORT, **wishes))
        entries = [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]
        return drawn, [entry["loss"] for entry in entries if "loss" in entry], states[0]

    return start


@pytest.fixture
def augmented(corpus, tmp_path: Path) -> Path:
    """A title and a picture for every training product."""
    folder = tmp_path / "augmented"
    folder.mkdir()
    items = [corpus.item(row) for row in sorted({corpus.record(row).positive for row in corpus.rows_of("train")})]
    rows = [{"id": item.id, "title": f"Enriched {item.title}"} for item in items]
    rows += [{"id": item.id, "path": item.pictures[1].location, "picture": item.pictures[0].location} for item in items]
    note = {NOTE: json.dumps({"corpus": corpus.info["fingerprint"]})}
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(note)), folder / FILE)
    return folder


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_every_part_off_is_moon_bit_for_bit_and_each_part_alone_is_not(run, augmented, monkeypatch):
    with monkeypatch.context() as patch:
        for module, name in PARTS:
            patch.setattr(module, name, lambda *_, name=name, **__: pytest.fail(f"{name} is made though it is off"))
        plain_draws, plain_losses, plain = run("bare")
        draws, losses, weights = run("off", **OFF, augmented=augmented, augmented_share=0.0)
    assert draws.keys() >= {*range(SHORT["steps"] * SHORT["batch"])}
    assert draws == plain_draws
    assert losses == plain_losses
    assert len(losses) == SHORT["steps"]
    assert same(weights, plain)
    for number, part in enumerate(
        (
            {"views": "joint"},
            {"intra": 1.0},
            {"objective_weights": "literal"},
            {"filtering": True},
            {"augmented": augmented, "augmented_share": 1.0},
        )
    ):
        _, _, changed = run(f"part {number}", **{**OFF, **part})
        assert not same(changed, plain), part
