"""What fewer visual tokens cost in recall, on development designs of the home-goods set, and save in time.

    python benchmarks/prune.py [--model MODEL] [--keep 0.75 0.5 0.25]

The first table asks with photos of the development designs, and their true box, for the SKU's design among them: with
all visual tokens of a checkpoint, and with shares of them as they are served. `cosine` is that of a photo's vector to
the one of all tokens. Milliseconds are per input, of processor time on a CPU: without the tower where that is a small
one, whose maps are remembered. A checkpoint with a way around its LLM has the columns twice: for its vectors, and for
what its LLM says of pictures.

Without `--model`, of the configured checkpoint, the last share is chosen in other ways too, and a second table is
processor time of a random LLM of 0.36 billion parameters, for 576 visual tokens and 64 of text.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest.mock import patch

from app.moon import load_encoder  # before torch is loaded: it says how torch's threads wait

# isort: split

import numpy as np
import torch
from sentence_transformers.util import batch_to_device
from torch import Tensor
from torch.nn.functional import normalize
from transformers import Qwen2Config, Qwen2Model

from app.encoder import Vectors
from app.images import read_image
from app.moon import merging
from app.moon.crops import cropped, usable_box
from app.moon.embedder import MoonEmbedder
from app.moon.merging import Merging, stand_ins
from app.moon.prompt import model_input, product_text
from app.moon.skip import VISUAL
from app.moon.tower import EfficientNetLiteModel
from app.moon.tower_memory import TowerMemory, remembering
from app.settings import ROOT, Settings, read_settings
from trainer.data.home import HomeSet
from trainer.evaluation.gallery import batches
from trainer.evaluation.metrics import rank, recall

SHARES = (0.75, 0.5, 0.25)
DEPTHS = (1, 10)
SEEN, TEXT = 576, 64
LLM = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14}
Choose = Callable[[Tensor, int], Tensor]
Merge = Callable[[Merging, Tensor], Tensor]


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="MODEL", help="checkpoint; the configured one, more closely, without it")
    parser.add_argument("--keep", nargs="+", type=share, default=SHARES, metavar="SHARE", help="above 0, below 1")
    given = parser.parse_args()
    settings = read_settings() if given.model is None else read_settings(model=given.model)
    designs = Designs(load_encoder(settings), HomeSet(ROOT / "demo"))
    for line in recalls(designs, given.keep, OTHERS if given.model is None else {}):
        print(line, flush=True)
    if given.model is None:
        times()


def share(text: str) -> float:
    """A share of visual tokens. Raises ValueError unless it is between 0 and 1."""
    if not 0 < (value := float(text)) < 1:
        raise ValueError(text)
    return value


def recalls(designs: Designs, shares: Sequence[float], others: dict[str, tuple[Choose, Merge]]) -> Iterator[str]:
    """Lines of a markdown table: a row for all tokens, for each of the ``shares``, and for ``others`` of the last."""
    full = designs.embed(1.0)  # a small tower's maps are remembered from here on
    ways = [(f"{share:.0%}", share, stand_ins, Merging._merged) for share in (1.0, *shares)]
    ways += [(f"{shares[-1]:.0%}, {name}", shares[-1], *way) for name, way in others.items()]
    columns = [*(f"R@{depth}" for depth in DEPTHS), "cosine"]
    if len(full[0]) > 1:
        columns += [f"LLM {column}" for column in columns]
    columns.append("ms" if designs.memory else "ms with tower")
    yield f"| visual tokens | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}"
    for name, share, choose, merge in ways:
        with patch.object(merging, "stand_ins", choose), patch.object(Merging, "_merged", merge):
            found, seconds = designs.embed(share)
        cells = [designs.compared(own, reference) for own, reference in zip(found, full[0], strict=True)]
        yield f"| {name} | {' | '.join(cells)} | {1000 * seconds / len(found[0]):.1f} |"


class Designs:
    """Development products and photos of them, tokenised."""

    def __init__(self, encoder: MoonEmbedder, home: HomeSet) -> None:
        self.model, self.module = encoder._model, encoder.module
        products, photos = ([item for item in every if item.split == "dev"] for every in (home.products, home.photos))
        limits = {"max_bytes": Settings().max_image_bytes, "max_pixels": Settings().max_image_pixels}
        inputs = []
        for item in products:
            pictures = [read_image(str(home.root / path), **limits)[1] for path in item.product.images]
            inputs.append(model_input(encoder._with_crops(pictures, item.product.title), product_text(item.product)))
        for photo in photos:
            image = read_image(str(home.root / photo.path), **limits)[1]
            box = usable_box(photo.box, *image.size)
            inputs.append(model_input([image, cropped(image, box)] if box else [image], ""))
        self.batches = [self.module.preprocess(part) for part in batches(inputs, 4)]
        self.gallery = len(products)
        tower = getattr(self.module.model, "vision_tower", None)
        self.memory = TowerMemory() if isinstance(tower, EfficientNetLiteModel) else None
        groups = np.array([item.product.group_id for item in products])
        self.relevant = [frozenset(np.flatnonzero(groups == photo.group_id).tolist()) for photo in photos]

    def embed(self, share: float) -> tuple[list[Vectors], float]:
        """Whole vectors and, with a way around the LLM, those of its output for pictures, all unit; and seconds."""
        skip, spent, whole, llm = getattr(self.module.model, "moon_skip", None), 0.0, [], []

        def note(_: Any, args: tuple[Tensor, ...], __: Tensor) -> None:
            visual = args[2][..., VISUAL, None]
            llm.append(_unit(((args[1] - skip.centre) / skip.spread * visual).sum(dim=1)))

        self.module.keep_visual_tokens = share
        noting = None if skip is None else skip.register_forward_hook(note)
        with self._remembering():
            for batch in self.batches:
                moved = batch_to_device(dict(batch), self.model.device)
                started = self._clock()
                vectors = self.model(moved)["sentence_embedding"]
                spent += self._clock() - started
                whole.append(_unit(vectors))
        if noting is not None:
            noting.remove()
        return [np.concatenate(parts) for parts in (whole, llm) if parts], spent

    def _remembering(self) -> AbstractContextManager[None]:
        return remembering(self.module.model.vision_tower, self.memory) if self.memory else nullcontext()

    def _clock(self) -> float:
        if self.model.device.type == "cpu":
            return time.process_time()
        torch.accelerator.synchronize()
        return time.perf_counter()

    def compared(self, vectors: Vectors, full: Vectors) -> str:
        photos, products = vectors[self.gallery :], vectors[: self.gallery]
        ranking = rank(photos @ products.T)
        found = [f"{recall(ranking, self.relevant, depth).mean():.3f}" for depth in DEPTHS]
        return " | ".join([*found, f"{(photos * full[self.gallery :]).sum(axis=1).mean():.4f}"])


def _unit(vectors: Tensor) -> Vectors:
    return normalize(vectors.float(), dim=1).cpu().numpy()


def times() -> None:
    llm = Qwen2Model(Qwen2Config(vocab_size=1, num_key_value_heads=2, use_cache=False, **LLM)).eval()
    tokens, mask = torch.randn(1, SEEN + TEXT, LLM["hidden_size"]), torch.ones(1, SEEN + TEXT, dtype=torch.bool)
    full, pictures = {"inputs_embeds": tokens, "token_types": mask.long()}, torch.arange(SEEN + TEXT)[None] < SEEN
    print("\n| visual tokens | merging (s) | LLM (s) |\n| ---: | ---: | ---: |")
    for share in (1.0, *SHARES):
        started = time.process_time()
        inputs = full if share == 1 else Merging.of(tokens, pictures, mask, share).shorten(full)
        merged = time.process_time()
        llm(**(inputs | {"token_types": None}))
        print(f"| {SEEN * share:.0f} | {merged - started:.3f} | {time.process_time() - merged:.2f} |")


def _dropped(found: Merging, values: Tensor) -> Tensor:
    return values.gather(1, found.places.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def _evenly_spaced(tokens: Tensor, count: int) -> Tensor:
    return _nearest(tokens, torch.linspace(0, len(tokens) - 1, count).round().long())


def _most_different(tokens: Tensor, count: int) -> Tensor:
    """DivPrune (Alvar et al. 2025): in turn the token that is least like the most similar of those already kept."""
    similarity = normalize(tokens, dim=1) @ normalize(tokens, dim=1).T
    kept = [int(similarity.sum(dim=1).argmax())]
    while len(kept) < count:
        kept.append(int(similarity[kept].max(dim=0).values.index_fill(0, torch.tensor(kept), 2.0).argmin()))
    return _nearest(tokens, torch.tensor(kept))


def _nearest(tokens: Tensor, kept: Tensor) -> Tensor:
    return kept[(normalize(tokens, dim=1) @ normalize(tokens[kept], dim=1).T).argmax(dim=1)].index_copy(0, kept, kept)


OTHERS = {
    "evenly spaced, dropped": (_evenly_spaced, _dropped),
    "most different, dropped": (_most_different, _dropped),
    "most different, merged": (_most_different, Merging._merged),
}

if __name__ == "__main__":
    main()
