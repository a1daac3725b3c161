"""Tiny random base models of every supported architecture, written as ordinary Hugging Face checkpoint folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModel,
    AutoProcessor,
    CLIPImageProcessorPil,
    FastVlmConfig,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlavaProcessor,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLProcessor,
    SmolVLMConfig,
)
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from app.moon.config import MoonConfig
from app.moon.tower import EfficientNetLiteConfig
from app.moon.transformer import MoonTransformer

ARCHITECTURES = ("qwen2.5-vl", "qwen3-vl", "smolvlm", "fastvlm")
PADDING, END, PICTURE = "<|endoftext|>", "<|im_end|>", "<image>"
SPECIAL = [
    *("<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", PICTURE),
    *("<fake_token_around_image>", "<global-img>", "<row_1_col_1>", "<row_1_col_2>", "<end_of_utterance>"),
    *("<repo_name>", "[IMG]"),
]
WORDS = "red green oak chair sofa lamp table color: Furniture > Chairs leather black white large small "
WIDTH = 32


class PictureQwen25Processor(Qwen2_5_VLProcessor):
    """Without the video part, which needs torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        _init_without_video(self, image_processor, tokenizer, chat_template)


class PictureQwen3Processor(Qwen3VLProcessor):
    """Without the video part, which needs torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        _init_without_video(self, image_processor, tokenizer, chat_template)


def _init_without_video(self: Any, image_processor: Any, tokenizer: Any, chat_template: str | None) -> None:
    self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
    self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids([self.image_token, self.video_token])
    self.vision_start_token, self.vision_end_token = "<|vision_start|>", "<|vision_end|>"
    ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


PROCESSORS = {Qwen2_5_VLConfig: PictureQwen25Processor, Qwen3VLConfig: PictureQwen3Processor}


@contextmanager
def picture_processors() -> Iterator[None]:
    """Transformers takes the processors without video; afterwards again those that it took before."""
    before = dict(PROCESSOR_MAPPING._extra_content)
    for config, processor in PROCESSORS.items():
        AutoProcessor.register(config, processor, exist_ok=True)
    yield
    for config in PROCESSORS:
        PROCESSOR_MAPPING._extra_content.pop(config)
        if config in before:
            AutoProcessor.register(config, before[config], exist_ok=True)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([WORDS] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PADDING, eos_token=END, model_max_length=512)
    fast.add_special_tokens({"additional_special_tokens": SPECIAL})
    return fast


def _template(picture: str) -> str:
    return (
        "<|im_start|>{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}"
        + picture
        + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}<|im_end|>"
    )


def _text(vocabulary: int, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 2048,
        **more,
    }


def _qwen25(ids: dict[str, int], vocabulary: int) -> PretrainedConfig:
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
    return Qwen2_5_VLConfig(
        text_config=_text(vocabulary, rope_parameters=rope),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 14,
            "out_hidden_size": WIDTH,
            "fullatt_block_indexes": [1],
            "window_size": 56,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )


def _qwen3(ids: dict[str, int], vocabulary: int) -> PretrainedConfig:
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
    return Qwen3VLConfig(
        text_config=_text(vocabulary, rope_parameters=rope),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 14,
            "out_hidden_size": WIDTH,
            "deepstack_visual_indexes": [0],
            "num_position_embeddings": 16,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )


def _smolvlm(ids: dict[str, int], vocabulary: int) -> PretrainedConfig:
    return SmolVLMConfig(
        text_config={
            "model_type": "llama",
            **_text(vocabulary, pad_token_id=ids["<|endoftext|>"]),
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
        },
        scale_factor=2,
        image_token_id=ids["<image>"],
        pad_token_id=ids["<|endoftext|>"],
    )


def _fastvlm(ids: dict[str, int], vocabulary: int) -> PretrainedConfig:
    return FastVlmConfig(
        vision_config=EfficientNetLiteConfig(image_size=64, grid=2).to_dict(),
        text_config={"model_type": "llama", **_text(vocabulary)},
        image_token_index=ids["<image>"],
        image_seq_length=4,
    )


def _processor(architecture: str, tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    if architecture.startswith("qwen"):
        pictures = Qwen2VLImageProcessorPil(
            patch_size=14, merge_size=2, size={"shortest_edge": 28 * 28, "longest_edge": 4 * 28 * 28}
        )
        cls = PictureQwen25Processor if architecture == "qwen2.5-vl" else PictureQwen3Processor
        return cls(pictures, tokenizer, chat_template=_template("<|vision_start|><|image_pad|><|vision_end|>"))
    if architecture == "smolvlm":  # its own processor is Idefics3's plus the video part
        pictures = Idefics3ImageProcessorPil(
            size={"longest_edge": 112}, max_image_size={"longest_edge": 56}, do_image_splitting=True
        )
        return Idefics3Processor(pictures, tokenizer, image_seq_len=4, chat_template=_template("<image>"))
    pictures = CLIPImageProcessorPil(size={"height": 64, "width": 64}, do_center_crop=False, do_convert_rgb=True)
    return LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=32,
        num_additional_image_tokens=0,
        vision_feature_select_strategy="full",
        image_token=PICTURE,
        chat_template=_template("<image>"),
    )


CONFIGS: dict[str, Callable[[dict[str, int], int], PretrainedConfig]] = {
    "qwen2.5-vl": _qwen25,
    "qwen3-vl": _qwen3,
    "smolvlm": _smolvlm,
    "fastvlm": _fastvlm,
}


def write_base(architecture: str, folder: Path) -> Path:
    """A base model without MOON parts, with weights large enough to matter."""
    torch.manual_seed(0)
    processor = _processor(architecture, tiny_tokenizer())
    vocabulary = len(processor.tokenizer)
    model = AutoModel.from_config(CONFIGS[architecture](processor.tokenizer.get_vocab(), vocabulary))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "vision_tower" in name and parameter.ndim == 4:
                torch.nn.init.kaiming_normal_(parameter)
            elif parameter.ndim >= 2:
                parameter.normal_(std=0.15)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def upcycle(base: Path, **config: Any) -> MoonTransformer:
    """An upcycled model in evaluation mode, always the same for the same arguments."""
    torch.manual_seed(1)
    return MoonTransformer.upcycled(str(base), MoonConfig(**config)).eval()


def stir(module: MoonTransformer, seed: int = 2) -> MoonTransformer:
    """Routers, experts and the skip path's gate away from their neutral start, so that each of them matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.model.named_parameters():
            expert = ".mlp." in name and any(part in name for part in (".router.", ".experts.", ".b."))
            if expert or name.startswith("moon_skip.gate"):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return module


def picture(seed: int = 0, size: tuple[int, int] = (80, 60)) -> Image.Image:
    """Coloured noise."""
    values = torch.randint(0, 256, (size[1], size[0], 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(values.to(torch.uint8).numpy())
