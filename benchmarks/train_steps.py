"""A training step of benchmarks/train.py and how steps are compared: in turns, with their memory and arithmetic."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from PIL.Image import Image
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from train_models import FULL_WIDTH, qwen25_vl, tiny

from app.moon.load import load_module, moon_model
from app.moon.transformer import MoonTransformer
from app.settings import ROOT, Settings
from trainer.data.augmented import Augmented
from trainer.data.open import open_corpus
from trainer.data.pictures import PictureStore
from trainer.data.splits import training_rows
from trainer.losses.moon import MoonLoss
from trainer.training.batches import BrokenPictures, Encoding, PixelEncoding, TripletCollator
from trainer.training.model import add_lora, checkpoint_activations, freeze, keep_frozen_towers_still
from trainer.training.presets import PRESETS
from trainer.training.starter import Starter
from trainer.training.triplets import Recipe, TripletSource

BATCHES = 4
"""Different batches that take turns: more than the past batches, so that no batch meets itself in the memory."""
TRIAL_WIDTH = 128


@dataclass(frozen=True)
class Bench:
    """What all cases share."""

    model: str
    batch: int
    repeat: int
    device: str
    side: int | None
    peak: float | None
    profile: bool
    cache: Path

    @property
    def large(self) -> bool:
        return self.model.startswith("qwen")

    def module(self) -> MoonTransformer:
        """The model on its device with what its preset trains; large ones with LoRA and gradient checkpointing."""
        preset, settings = PRESETS["qwen2.5-vl-3b" if self.large else "starter"], Settings()
        if self.large:
            width = FULL_WIDTH if self.model == "qwen2.5-vl-3b" else TRIAL_WIDTH
            dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
            module = qwen25_vl(settings.model, dtype, self.device, width)
            add_lora(module, preset.lora_rank)
        else:
            module = tiny(settings.model) if self.model == "tiny" else load_module(settings.model, torch.float32)
        freeze(module, preset.frozen, tower=False)
        keep_frozen_towers_still(module)
        if self.large:
            checkpoint_activations(module)
        return module.to(self.device).train()

    def encoding(self, module: MoonTransformer, *, kept: bool = True) -> Encoding:
        """Kept feature maps, which take the tower out of the model; pixels where the model is large."""
        if self.large or not kept:
            return PixelEncoding(module, self.read)
        return Starter(module, self.read, self.cache).encoding

    @functools.cached_property
    def source(self) -> TripletSource:
        return self.source_of(Recipe(augment=not self.large))

    def source_of(self, recipe: Recipe, augmented: Path | None = None) -> TripletSource:
        """Of the demo; with the folder ``augmented``, every triplet shows what `trainer augment` made of it."""
        corpus = open_corpus(ROOT / "demo", cache=self.cache)
        train = training_rows(corpus).train
        shown = None if augmented is None else Augmented.open(augmented, corpus, train, 1.0)
        return TripletSource(corpus, train, recipe, 0, lambda picture, title: picture.box, augmented=shown)

    def read(self, location: str) -> Image:
        image = PictureStore(self.cache, Settings()).read(location)
        return image.resize((self.side, self.side)) if self.side else image


class Variant:
    """A model, a loss and an optimiser; called with a number it takes one training step on that batch."""

    def __init__(
        self,
        bench: Bench,
        module: MoonTransformer,
        encoding: Encoding,
        *,
        source: TripletSource | None = None,
        first: int = 0,
        ahead: bool = True,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
        **options: Any,
    ) -> None:
        self._bench, self._first, self._around = bench, first, around
        broken = BrokenPictures(bench.cache / "broken.jsonl")
        self._collate = TripletCollator(source=source or bench.source, encoding=encoding, broken=broken)
        self.batch = functools.cache(self._read) if ahead else self._read
        self.width = module.get_embedding_dimension()
        model: Any = moon_model(module).train()
        self.loss = MoonLoss(DistributedDataParallel(model) if dist.is_initialized() else model, **options)
        self._trained = [parameter for parameter in self.loss.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(self._trained, lr=1e-6)

    def __call__(self, number: int) -> None:
        batch = self.batch(number % BATCHES)
        device = self._bench.device
        prefixes = [f"{name}_" for name in self.columns(number)]
        columns = [
            {key.removeprefix(prefix): _to(value, device) for key, value in batch.items() if key.startswith(prefix)}
            for prefix in prefixes
        ]
        self.loss.samples = batch["samples"].to(device)
        with self._around():
            with torch.autocast(device, torch.bfloat16, enabled=self._bench.large and device == "cuda"):
                loss = self.loss(columns, batch["label"].to(device))
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self._trained, 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()

    def columns(self, number: int) -> list[str]:
        """Names of the columns that a batch has."""
        return [name for name in self._collate.columns if f"{name}_input_ids" in self.batch(number % BATCHES)]

    def rows(self, number: int, kind: str = "") -> int:
        """Encodes of a batch, of the columns whose name ends so."""
        batch, columns = self.batch(number % BATCHES), self.columns(number)
        return sum(len(batch[f"{name}_input_ids"]) for name in columns if name.endswith(kind))

    def tokens(self, number: int) -> int:
        """Real tokens of a batch: padding does not count."""
        batch = self.batch(number % BATCHES)
        return sum(int(batch[f"{name}_attention_mask"].sum()) for name in self.columns(number))

    def held(self) -> int:
        """Bytes of parameters, buffers and the optimiser's state."""
        state = [value for one in self._optimizer.state.values() for value in one.values()]
        return sum(value.nbytes for value in [*self.loss.parameters(), *self.loss.buffers(), *state])

    def _read(self, number: int) -> dict[str, Any]:
        start = self._first + number * self._bench.batch
        return self._collate([{"number": n} for n in range(start, start + self._bench.batch)])


def compare(bench: Bench, title: str, variants: Mapping[str, Variant]) -> None:
    """Let the variants take turns, then measure the memory of one more step of each; the first process prints."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for number in range(BATCHES):  # the batches are read, the memory of past batches is full
        for step in variants.values():
            step(number)
    names = list(variants)
    for number in range(bench.repeat):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started, busy = time.perf_counter(), time.process_time()
            variants[name](number)
            times[name].append((time.perf_counter() - started, time.process_time() - busy))
    memory = {name: _peak(bench, step) for name, step in variants.items()}
    if dist.is_initialized() and dist.get_rank():
        return
    print(f"\n{title}\n  {'':32} {'ms/step':>8} {'triplets/s':>10} {'tokens/s':>8} {'peak MB':>8}", end="")
    print(f"  {'ratio of times':22}  ratio of CPU times")
    for name, step in variants.items():
        seconds = [wall for wall, _ in times[name]]
        rate = statistics.median(bench.batch / s for s in seconds)
        tokens = statistics.median(step.tokens(number) / s for number, s in enumerate(seconds))
        print(f"  {name:32} {1000 * statistics.median(seconds):8.1f} {rate:10.2f} {tokens:8.0f}", end="")
        print(f" {memory[name] / 1e6:8.0f}  {_ratios(times[name], times[names[0]], 0)}", end="")
        print(f"  {_ratios(times[name], times[names[0]], 1)}{_share(bench, step, seconds)}")
    if bench.profile:
        with profile(activities=_activities(bench)) as watch:
            step(0)
        order = f"self_{'cuda' if bench.device == 'cuda' else 'cpu'}_time_total"
        print(watch.key_averages().table(sort_by=order, row_limit=15, max_name_column_width=50))


def _ratios(own: Sequence[tuple[float, float]], first: Sequence[tuple[float, float]], kind: int) -> str:
    """Median and quartiles of the ratios of each turn."""
    low, median, high = statistics.quantiles((a[kind] / b[kind] for a, b in zip(own, first, strict=True)), n=4)
    return f"{median:6.3f} [{low:.3f}, {high:.3f}]"


def _share(bench: Bench, step: Variant, seconds: list[float]) -> str:
    if bench.peak is None:
        return ""
    with FlopCounterMode(display=False) as counter:
        step(0)
    tera = counter.get_total_flops() / statistics.median(seconds[::BATCHES]) / 1e12
    return f"  {tera:.3f} TFLOP/s, {tera / bench.peak:.1%} of the peak"


def _peak(bench: Bench, step: Variant) -> int:
    """Bytes held between steps, and added at the highest point of a step."""
    if bench.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(0)
        return step.held() + torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watch:
        step(0)
    events: Any = watch.profiler
    sizes = [event.nbytes() for event in events.kineto_results.events() if event.name() == "[memory]"]
    total = highest = 0
    for size in sizes:
        total += size
        highest = max(highest, total)
    return step.held() + highest


def _activities(bench: Bench) -> list[ProfilerActivity]:
    return [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.device == "cuda" else [])]


def _to(value: Any, device: str) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value
