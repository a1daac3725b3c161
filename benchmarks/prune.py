"""What fewer visual tokens cost in recall, on development designs of the home-goods set, and save in time.

    python benchmarks/prune.py

The first table asks with photos of the development designs, and their true box, for the SKU's design among them: with
shares of the visual tokens as they are served, and with the last share chosen in other ways. `whole` is R@1 of the
configured starter's vectors; `LLM` that of its LLM's output for pictures, without the way around it; `cosine` is that
of a photo's vector to the one of all tokens. Milliseconds are processor time per input, without the tower. The second
table is processor time of a random LLM of 0.36 billion parameters, for 576 visual tokens and 64 of text.
"""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import patch

from app.moon import load_encoder  # before torch is loaded: it says how torch's threads wait

# isort: split

import numpy as np
import torch
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
from app.moon.tower_memory import TowerMemory, remembering
from app.settings import ROOT, Settings, read_settings
from trainer.data.home import HomeSet
from trainer.evaluation.gallery import batches
from trainer.evaluation.metrics import rank, recall

SHARES = (1.0, 0.75, 0.5, 0.25)
SEEN, TEXT = 576, 64
LLM = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14}


@torch.inference_mode()
def main() -> None:
    recalls(Designs(load_encoder(read_settings())))
    times()


def recalls(designs: Designs) -> None:
    full = designs.embed(1.0)  # the tower's maps are remembered from here on
    ways = [(f"{share:.0%}", share, stand_ins, Merging._merged) for share in SHARES]
    ways += [(f"{SHARES[-1]:.0%}, {name}", SHARES[-1], *way) for name, way in OTHERS.items()]
    print("| visual tokens | whole | cosine | LLM | cosine | ms |\n| --- |" + " ---: |" * 5)
    for name, share, choose, merge in ways:
        with patch.object(merging, "stand_ins", choose), patch.object(Merging, "_merged", merge):
            *found, seconds = designs.embed(share)
        cells = [designs.compared(own, reference) for own, reference in zip(found, full, strict=False)]
        print(f"| {name} | {' | '.join(cells)} | {1000 * seconds / len(found[0]):.1f} |", flush=True)


class Designs:
    """Development products and photos of them, tokenised."""

    def __init__(self, encoder: MoonEmbedder) -> None:
        home, self.model, self.module = HomeSet(ROOT / "demo"), encoder._model, encoder.module
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
        self.batches = [self.module.tokens(part) for part in batches(inputs, 4)]
        self.gallery, self.memory = len(products), TowerMemory()
        groups = np.array([item.product.group_id for item in products])
        self.relevant = [frozenset(np.flatnonzero(groups == photo.group_id).tolist()) for photo in photos]

    def embed(self, share: float) -> tuple[Vectors, Vectors, float]:
        """Whole vectors, unit vectors of the LLM's output for pictures, and processor seconds."""
        skip, spent, whole, llm = self.module.model.moon_skip, 0.0, [], []

        def note(_: Any, args: tuple[Tensor, ...], __: Tensor) -> None:
            visual = args[2][..., VISUAL, None]
            llm.append(normalize(((args[1] - skip.centre) / skip.spread * visual).sum(dim=1), dim=1).numpy())

        self.module.keep_visual_tokens, noting = share, skip.register_forward_hook(note)
        with remembering(self.module.model.vision_tower, self.memory):
            for batch in self.batches:
                started = time.process_time()
                whole.append(self.model(dict(batch))["sentence_embedding"].numpy())
                spent += time.process_time() - started
        noting.remove()
        return np.concatenate(whole), np.concatenate(llm), spent

    def compared(self, vectors: Vectors, full: Vectors) -> str:
        photos, products = vectors[self.gallery :], vectors[: self.gallery]
        found = recall(rank(photos @ products.T), self.relevant, 1).mean()
        return f"{found:.3f} | {(photos * full[self.gallery :]).sum(axis=1).mean():.4f}"


def times() -> None:
    llm = Qwen2Model(Qwen2Config(vocab_size=1, num_key_value_heads=2, use_cache=False, **LLM)).eval()
    tokens, mask = torch.randn(1, SEEN + TEXT, LLM["hidden_size"]), torch.ones(1, SEEN + TEXT, dtype=torch.bool)
    full, pictures = {"inputs_embeds": tokens, "token_types": mask.long()}, torch.arange(SEEN + TEXT)[None] < SEEN
    print("\n| visual tokens | merging (s) | LLM (s) |\n| ---: | ---: | ---: |")
    for share in SHARES:
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
