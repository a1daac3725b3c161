"""Models for benchmarks/train.py that are built from a configuration with random weights, without a file of weights."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoProcessor,
    AutoTokenizer,
    LlavaProcessor,
    PretrainedConfig,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLModel,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
)
from transformers.models.fast_vlm import FastVlmModel

from app.moon.experts import FullExperts, LowRankExperts, decoder_layers
from app.moon.segments import MARKERS
from app.moon.transformer import MoonTransformer, moon_class
from trainer.training.presets import PRESETS

VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
PIXELS = {"shortest_edge": 56 * 56, "longest_edge": 16384 * 28 * 28}
"""Of a picture, as in the published processor; 28 x 28 pixels are one visual token."""
FULL_WIDTH = 2048


class RandomMoon(MoonTransformer):
    """A MOON model as its configuration says, with the weights that it is initialised with."""

    def _load_model(self, model_name_or_path: str, *args: Any, **kwargs: Any) -> Any:
        config = AutoConfig.from_pretrained(model_name_or_path)
        base: Any = Qwen2_5_VLModel if isinstance(config, Qwen2_5_VLConfig) else FastVlmModel
        with torch.device(kwargs["device"]):
            return moon_class(base)(config).to(kwargs["dtype"])


class PictureProcessor(Qwen2_5_VLProcessor):
    """Qwen's, without the video part, which needs torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        self.image_token, self.video_token = VISION[2:]
        self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids(VISION[2:])
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def tiny(starter: str) -> MoonTransformer:
    """The starter's architecture and words at width 16 with one decoder layer and 64-pixel pictures of 4 tokens."""
    config = AutoConfig.from_pretrained(starter)
    text, vision = config.text_config, config.vision_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 16, 24, 1
    text.num_attention_heads, text.num_key_value_heads, text.head_dim = 2, 2, 8
    vision.image_size, vision.grid, vision.hidden_size = 64, 2, 24
    config.image_seq_length = vision.grid**2
    config.moon = {**config.moon, "expert_rank": 2}
    processor = LlavaProcessor.from_pretrained(starter)
    processor.image_processor.size = {"height": 64, "width": 64}
    processor.patch_size = vision.image_size // vision.grid
    module = _built(config, processor, torch.float32, "cpu")
    for layer in module.model.vision_tower.modules():
        if isinstance(layer, torch.nn.Conv2d):  # else the maps fade to denormal numbers, which are slow
            torch.nn.init.kaiming_normal_(layer.weight)
    return module


def qwen25_vl(words: str, dtype: torch.dtype, device: str, width: int = FULL_WIDTH) -> MoonTransformer:
    """Qwen2.5-VL-3B with guided experts as its preset upcycles it, and the words of the checkpoint ``words``.

    The vocabulary has its full size, of which the smaller tokenizer uses a part. A smaller ``width`` makes a shallow
    model of the same proportions, with which this path can be tried anywhere.
    """
    full = width == FULL_WIDTH
    heads = max(2, 16 * width // FULL_WIDTH)
    tokenizer = AutoTokenizer.from_pretrained(words)
    tokenizer.add_special_tokens({"additional_special_tokens": [*VISION, *MARKERS]})
    start, end, image, video = tokenizer.convert_tokens_to_ids(VISION)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 151936 if full else len(tokenizer),
            "hidden_size": width,
            "intermediate_size": 11008 * width // FULL_WIDTH,
            "num_hidden_layers": 36 if full else 4,
            "num_attention_heads": heads,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128000,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [share * width // heads // 16 for share in (2, 3, 3)],
            },
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 32 if full else 2,
            "hidden_size": 1280 * width // FULL_WIDTH,
            "intermediate_size": 3420 * width // FULL_WIDTH,
            "num_heads": max(1, 16 * width // FULL_WIDTH),
            "out_hidden_size": width,
            "fullatt_block_indexes": [7, 15, 23, 31] if full else [1],
        },
        vision_start_token_id=start,
        vision_end_token_id=end,
        image_token_id=image,
        video_token_id=video,
    )
    config.moon = PRESETS["qwen2.5-vl-3b"].moon.to_dict()
    AutoProcessor.register(Qwen2_5_VLConfig, PictureProcessor, exist_ok=True)
    processor = PictureProcessor(Qwen2VLImageProcessorPil(size=PIXELS), tokenizer, chat_template=TEMPLATE)
    return _built(config, processor, dtype, device)


def full_copies(module: MoonTransformer) -> MoonTransformer:
    """Low-rank experts become full copies of the FFN that they share (paper, section 3), all trained; in place."""
    layers: Any = decoder_layers(module.model)
    for layer in layers:
        if isinstance(layer.mlp, LowRankExperts):
            layer.mlp = FullExperts(module.moon, layer.mlp.router.in_features, layer.mlp.shared).requires_grad_(True)
    return module


def _built(config: PretrainedConfig, processor: Any, dtype: torch.dtype, device: str) -> MoonTransformer:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        processor.save_pretrained(folder)
        return RandomMoon(folder, model_kwargs={"dtype": dtype, "device": device})
