"""The loss with a tiny MOON checkpoint through sentence-transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from PIL import Image
from plain_moon_loss import gradients
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)

from app.moon.experts import GuidedExperts
from app.moon.load import load_module, moon_model
from app.moon.prompt import model_input
from trainer.losses.moon import MoonLoss

WORDS = ["red chair", "a long oak table", "lamp", "a large white sofa"]


@pytest.fixture
def model(checkpoint: Path) -> SentenceTransformer:
    return moon_model(load_module(str(checkpoint), torch.float32))


def test_gradient_caching_equals_the_direct_gradient_with_pictures_and_experts(model):
    pictures = [[Image.new("RGB", (64, 64), colour)] for colour in ("red", "green", "blue", "white")]
    inputs = [
        [model_input([], text) for text in WORDS],
        [model_input(picture, text) for picture, text in zip(pictures, WORDS, strict=True)],
        [model_input(picture * 2, "") for picture in reversed(pictures)],
    ]
    for module in model.modules():
        if isinstance(module, GuidedExperts):  # the balance of a mini-batch is not that of the whole batch
            module.config = replace(module.config, balance=0.0)
    model.train()
    labels = torch.arange(1, 13).reshape(4, 3, 1)
    found = {}
    for mini_batch_size in (None, 3):
        loss = MoonLoss(model, dims=(8,), mini_batch_size=mini_batch_size)
        for _ in range(2):
            loss.zero_grad()
            value = loss([model.preprocess(column) for column in inputs], labels)
            value.backward()
        found[mini_batch_size] = {"value": value.detach(), **gradients(loss)}
    assert sum(gradient.abs().sum() > 0 for gradient in found[None].values()) > 10
    for name, expected in found[None].items():
        torch.testing.assert_close(found[3][name], expected, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("mini_batch_size", [None, 1])
def test_the_sentence_transformers_trainer_learns_with_it_and_evaluates_without_memory(
    model, mini_batch_size, tmp_path
):
    rows = {
        "query": WORDS,
        "positive": [f"<|category|>home<|/category|> {text}" for text in WORDS],
        "negative": list(reversed(WORDS)),
        "label": [[[number], [number], [number + 10]] for number in range(1, 5)],
    }
    loss = MoonLoss(model, mini_batch_size=mini_batch_size, accumulation=2)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=2,
        per_device_eval_batch_size=3,
        gradient_accumulation_steps=2,
        max_steps=2,
        learning_rate=1e-2,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    data = Dataset.from_dict(rows)
    before = {name: value.clone() for name, value in loss.named_parameters()}
    trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, eval_dataset=data, loss=loss)
    trainer.train()
    assert all(torch.isfinite(torch.tensor(entry.get("eval_loss", 0.0))) for entry in trainer.state.log_history)
    assert loss.memory.documents.shape == (2, 4, model.get_embedding_dimension())
    assert loss.memory.seen == 4
    assert loss.stats["negatives"] + loss.stats["masked"] == 2 * 2 * 3 - 1
    moved = {name for name, value in loss.named_parameters() if not torch.equal(value, before[name])}
    assert "log_temperature" in moved
    assert any(".mlp." in name for name in moved)
