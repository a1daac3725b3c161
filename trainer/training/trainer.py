"""The sentence-transformers trainer with what MOON adds: small safe checkpoints, its own log entries, an early stop."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import Trainer

from app.errors import ModelError
from trainer.training.expert_load import ExpertLoad, read_objectives
from trainer.training.suspects import passes, rejected

WEIGHTS, LOSS = "trained.safetensors", "loss.safetensors"


class MoonTrainer(SentenceTransformerTrainer):
    """Trains the parameters that require a gradient with MOON's loss, on batches of draw numbers.

    A checkpoint holds the trained parameters, and the loss with its temperature and memory, as safetensors.
    """

    loss: Any

    def __init__(self, *args: Any, expert_load: ExpertLoad, pass_steps: Fraction, **kwargs: Any) -> None:
        """``pass_steps``: how many steps see every record once; a step that sees more is a pass (our decision)."""
        super().__init__(*args, **kwargs)
        self.processing_class = None  # the model has its own, and its configuration is to stay as it is
        self._expert_load, self._pass_steps = expert_load, max(Fraction(1), pass_steps)

    def collect_features(self, inputs: dict[str, Any]) -> tuple[list[dict[str, Tensor]], Tensor | None]:
        """Columns and labels; what the collator says of the samples goes to the loss, and to the watch over experts."""
        self.loss.samples = samples = inputs.get("samples")
        columns, labels = super().collect_features(inputs)
        if samples is not None and labels is not None:
            self._expert_load.begin(samples, labels)
        return columns, labels

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """As ever; a pass over the records that this step ends is closed, whenever the next log entry comes.

        Raises FloatingPointError as soon as the loss is not a number, so that no further hour is lost.
        """
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            rate = self._get_learning_rate()
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1} (learning rate {rate:.2g}); "
                "lower the learning rate or take --precision fp32, in another folder"
            )
        step = self.state.global_step + 1
        if step >= (len(passes(self.state.log_history)) + 1) * self._pass_steps:
            self._close_pass(step)
        return loss

    def _close_pass(self, step: int) -> None:
        """An entry of its own about the samples since the last pass, if there are any."""
        if self.loss.sample_filter is not None and self.loss.sample_filter.unread:
            entry: dict[str, Any] = {"step": step, "filtering": rejected(self.loss.sample_filter.read())}
            self.state.log_history.append(entry)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds what the loss counted, and how experts share tokens and objectives; at the end closes the last pass."""
        beside: dict[str, Any] = {}
        if "loss" in logs:
            logs = {**logs, **{name: round(float(value), 5) for name, value in self.loss.stats.items()}}
            beside = {**self._expert_load.read()}
            if self.loss.objective_weights is not None:
                weights, beside["expert_objectives"] = read_objectives(self.loss.objective_weights)
                logs = {**logs, **weights}
        if "train_runtime" in logs:
            self._close_pass(self.state.global_step)
        super().log(logs, start_time)
        self.state.log_history[-1] |= beside

    def get_batch_sampler(  # type: ignore[override]
        self, dataset: Any, batch_size: int, drop_last: bool, **kwargs: Any
    ) -> DefaultBatchSampler:
        """Draw numbers in their order: they are random draws already."""
        return DefaultBatchSampler(SequentialSampler(dataset), batch_size=batch_size, drop_last=drop_last)

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Matrices only: gates, segment weights, temperatures and W* have no reason to go to 0 (our decision)."""
        sizes = {name: parameter.ndim for name, parameter in model.named_parameters()}
        names = super().get_decay_parameter_names(model)
        return [name for name in names if sizes[name] >= 2 and not name.startswith("objective_weights")]

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None: checkpoints get a card from whoever publishes them."""

    def _save(self, output_dir: str | None = None, state_dict: Mapping[str, Tensor] | None = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_safely(
            _trained(self.model, self.model.state_dict() if state_dict is None else state_dict), folder / WEIGHTS
        )
        own = {name: value for name, value in self.loss.state_dict().items() if not name.startswith("model.")}
        save_safely(own, folder / LOSS)

    def trained_state(self) -> dict[str, Tensor]:
        """The trained parameters by name, complete on every process; all processes must ask for it."""
        whole = self.accelerator.get_state_dict(self.model_wrapped) if self.is_fsdp_enabled else self.model.state_dict()
        return _trained(self.model, whole)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        if self.is_fsdp_enabled:
            Trainer._load_from_checkpoint(self, resume_from_checkpoint, model)
        else:
            load_trained_parameters(self.model, folder / WEIGHTS)
        missing, unexpected = self.loss.load_state_dict(load_safely(folder / LOSS), strict=False)
        if unexpected or any(not name.startswith("model.") for name in missing):
            raise ModelError(f"{folder}: the state of another loss; start the run anew in another folder.")

    def _load_best_model(self) -> None:
        best = self.state.best_model_checkpoint
        if best is not None and not self.is_fsdp_enabled:
            load_trained_parameters(self.model, Path(best) / WEIGHTS)
        elif best is not None:
            Trainer._load_from_checkpoint(self, best, self.model_wrapped)


def save_safely(state: Mapping[str, Tensor], file: Path) -> None:
    """Write tensors to a safetensors file that appears complete or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}")
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, temporary)
    temporary.replace(file)


def load_safely(file: Path) -> dict[str, Tensor]:
    """The tensors of a file that this run wrote. Raises ModelError if it is damaged or gone."""
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{file} cannot be read ({error}); remove {file.parent} and start again, so that this part is done anew."
        ) from error


def load_trained_parameters(model: nn.Module, file: Path) -> None:
    """Read the trained parameters of a checkpoint. Raises ModelError if they are damaged, or others are trained now."""
    state = load_safely(file)
    if state.keys() != {name for name, parameter in model.named_parameters() if parameter.requires_grad}:
        raise ModelError(f"{file} holds other parameters than this run trains; start anew in another folder.")
    model.load_state_dict(state, strict=False)


def _trained(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: state[name] for name, parameter in model.named_parameters() if parameter.requires_grad}
