"""Tiny random models of every baseline's architecture, written as the ordinary folders that the Hub holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoProcessor,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    GotOcr2ImageProcessorPil,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipProcessor,
)
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

WIDTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = "red green oak chair sofa lamp table color: Seats > Chairs leather black large user system assistant "
CODE_RAN = "the checkpoint's own code ran"

QWEN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}PICTURE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _words(special: tuple[str, ...]) -> Tokenizer:
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    words.train_from_iterator([WORDS] * 4, trainer)
    words.add_special_tokens([START, END, "<|im_start|>", "<|im_end|>", *special])
    return words


def _tower_tokenizer(positions: int, start: bool) -> PreTrainedTokenizerFast:
    words = _words(())
    single = f"{START} $A {END}" if start else f"$A {END}"
    ids = [(token, words.token_to_id(token)) for token in (START, END)]
    words.post_processor = processors.TemplateProcessing(single=single, special_tokens=ids)
    names = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    return PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=positions, **names)


def _chat_tokenizer(*special: str) -> PreTrainedTokenizerFast:
    names = {"eos_token": "<|im_end|>", "pad_token": END}
    return PreTrainedTokenizerFast(
        tokenizer_object=_words(special), model_max_length=2048, padding_side="left", **names
    )


def _tower(**more: Any) -> dict[str, Any]:
    layers = {"num_hidden_layers": 2, "num_attention_heads": 4}
    return {"hidden_size": WIDTH, "intermediate_size": 48, **layers, **more}


def _save(folder: Path, model: PreTrainedModel, processor: ProcessorMixin) -> Path:
    """Weights large enough for every token and pixel to matter."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "logit" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def clip(folder: Path) -> Path:
    tokenizer = _tower_tokenizer(16, start=True)
    ids = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    config = CLIPConfig(
        text_config=_tower(
            vocab_size=len(tokenizer), max_position_embeddings=16, pad_token_id=ids["eos_token_id"], **ids
        ),
        vision_config=_tower(image_size=28, patch_size=14),
        projection_dim=24,
    )
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    return _save(folder, CLIPModel(config), CLIPProcessor(pictures, tokenizer))


def packed_clip(folder: Path) -> Path:
    """CLIP as sentence-transformers packed it: the whole model inside its first module's folder."""
    clip(folder / "0_CLIPModel")
    module = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}
    (folder / "modules.json").write_text(json.dumps([module]))
    return folder


def siglip(folder: Path) -> Path:
    tokenizer = _tower_tokenizer(16, start=False)
    config = SiglipConfig(
        text_config=_tower(vocab_size=len(tokenizer), max_position_embeddings=16, projection_size=WIDTH),
        vision_config=_tower(image_size=28, patch_size=14),
    )
    pictures = SiglipImageProcessorPil(size={"height": 28, "width": 28})
    return _save(folder, SiglipModel(config), SiglipProcessor(pictures, tokenizer))


def _qwen_parts(self: Any, pictures: Any, tokenizer: Any, template: str | None) -> None:
    self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
    self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids([self.image_token, self.video_token])
    self.vision_start_token, self.vision_end_token = "<|vision_start|>", "<|vision_end|>"
    ProcessorMixin.__init__(self, pictures, tokenizer, chat_template=template)


class StillQwen2Processor(Qwen2VLProcessor):
    """Without the video part, which needs torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        _qwen_parts(self, image_processor, tokenizer, chat_template)


class StillQwen25Processor(Qwen2_5_VLProcessor):
    """Without the video part, which needs torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        _qwen_parts(self, image_processor, tokenizer, chat_template)


class StillQwen3Processor(Qwen3VLProcessor):
    """Without the video part, which needs torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        _qwen_parts(self, image_processor, tokenizer, chat_template)


class StillInternProcessor(InternVLProcessor):
    """Without the video part, which needs torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, image_seq_length=4, chat_template=None, **kwargs):
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)
        self.image_seq_length = image_seq_length
        self.start_image_token, self.end_image_token = "<img>", "</img>"
        self.image_token, self.video_token = "<IMG_CONTEXT>", "<video>"
        names = [self.start_image_token, self.end_image_token, self.image_token]
        self.start_image_token_id, self.end_image_token_id, self.image_token_id = tokenizer.convert_tokens_to_ids(names)
        self.multimodal_pattern = re.compile("(?P<image><IMG_CONTEXT>)|(?P<video><video>)")


@contextmanager
def still_processors() -> Iterator[None]:
    """Lets AutoProcessor find the processors without video; keys of their own keep it from replacing any other."""
    still = (StillQwen2Processor, StillQwen25Processor, StillQwen3Processor, StillInternProcessor)
    keys = [type(f"{cls.__name__}Config", (PretrainedConfig,), {}) for cls in still]
    for key, cls in zip(keys, still, strict=True):
        AutoProcessor.register(key, cls)
    yield
    for key in keys:
        PROCESSOR_MAPPING._extra_content.pop(key)


def _qwen(
    folder: Path,
    config: type[PretrainedConfig],
    model: type[PreTrainedModel],
    processor: type[ProcessorMixin],
    **vision: Any,
) -> Path:
    special = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = _chat_tokenizer(*special)
    ids = tokenizer.get_vocab()
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
    text = {"vocab_size": len(tokenizer), "num_key_value_heads": 2, "head_dim": 8, "rope_parameters": rope}
    built = model(
        config(
            text_config=_tower(max_position_embeddings=2048, **text),
            vision_config={"depth": 2, "num_heads": 2, "patch_size": 14, **vision},
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
        )
    )
    size = {"shortest_edge": 28 * 28, "longest_edge": 4 * 28 * 28}
    pictures = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, size=size)
    template = QWEN_TEMPLATE.replace("PICTURE", "<|vision_start|><|image_pad|><|vision_end|>")
    return _save(folder, built, processor(pictures, tokenizer, chat_template=template))


def qwen2(folder: Path) -> Path:
    vision = {"embed_dim": 32, "hidden_size": WIDTH, "mlp_ratio": 1}
    return _qwen(folder, Qwen2VLConfig, Qwen2VLForConditionalGeneration, StillQwen2Processor, **vision)


def gme(folder: Path) -> Path:
    """Plain Qwen2-VL weights whose configuration asks for code of its own, which would leave a trace."""
    qwen2(folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "modeling_gme_qwen2vl.Config", "AutoModel": "modeling_gme_qwen2vl.GmeQwen2VL"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_gme_qwen2vl.py").write_text(f"raise RuntimeError({CODE_RAN!r})")
    return folder


def qwen25(folder: Path) -> Path:
    vision = {"out_hidden_size": WIDTH, "fullatt_block_indexes": [1], "window_size": 56}
    vision |= {"hidden_size": 32, "intermediate_size": 32}
    return _qwen(folder, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, StillQwen25Processor, **vision)


def qwen3(folder: Path) -> Path:
    vision = {"out_hidden_size": WIDTH, "deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    vision |= {"hidden_size": 32, "intermediate_size": 32}
    return _qwen(folder, Qwen3VLConfig, Qwen3VLForConditionalGeneration, StillQwen3Processor, **vision)


def packed_qwen3(folder: Path) -> Path:
    """Qwen3-VL as sentence-transformers writes it, with the pooling of an embedding model."""
    module = Transformer(str(qwen3(folder)), processing_kwargs={"chat_template": {"add_generation_prompt": True}})
    pooling = Pooling(module.get_embedding_dimension(), pooling_mode="lasttoken")
    SentenceTransformer(modules=[module, pooling, Normalize()], device="cpu").save_pretrained(str(folder))
    return folder


def internvl(folder: Path) -> Path:
    tokenizer = _chat_tokenizer("<img>", "</img>", "<IMG_CONTEXT>", "<video>")
    config = InternVLConfig(
        text_config={
            "model_type": "qwen2",
            **_tower(vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=2048),
        },
        vision_config={**_tower(), "image_size": [56, 56], "patch_size": [14, 14]},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    pictures = GotOcr2ImageProcessorPil(size={"height": 56, "width": 56}, crop_to_patches=True, max_patches=2)
    template = QWEN_TEMPLATE.replace("PICTURE", "<IMG_CONTEXT>\n")
    processor = StillInternProcessor(pictures, tokenizer, chat_template=template)
    return _save(folder, InternVLForConditionalGeneration(config), processor)


WRITERS: dict[str, Callable[[Path], Path]] = {
    "clip-ViT-B-32": packed_clip,
    "fashion-clip": clip,
    "siglip2-base-patch16-224": siglip,
    "InternVL3-2B-hf": internvl,
    "Qwen2-VL-2B-Instruct": qwen2,
    "Qwen2.5-VL-3B-Instruct": qwen25,
    "Qwen3-VL-2B-Instruct": qwen3,
    "gme-Qwen2-VL-2B-Instruct": gme,
    "Qwen3-VL-Embedding-2B": packed_qwen3,
    "bare/Qwen3-VL-Embedding-2B": qwen3,
}
"""By the last part of the Hub id that each stands for."""


def picture(seed: int = 0, size: tuple[int, int] = (80, 60)) -> Image.Image:
    """Coloured noise."""
    values = torch.randint(0, 256, (size[1], size[0], 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(values.to(torch.uint8).numpy())
