"""A tiny home-goods set and a tiny FastVLM-style MOON checkpoint, both made on the spot."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    FastVlmConfig,
    FastVlmModel,
    LlamaConfig,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from app.moon.config import MoonConfig
from app.moon.load import save_moon
from app.moon.tower import EfficientNetLiteConfig
from app.moon.transformer import MoonTransformer
from trainer.checkpoints.starter import TEMPLATE
from trainer.data.corpus import Corpus
from trainer.data.home import PHOTO_SIZE, HomeSet, split_of
from trainer.data.open import open_corpus

WIDTH = 16
COLOURS = ("red", "blue")
TRAIN_KINDS = ("chair", "table", "lamp", "sofa", "shelf")


def group_of(kind: str, split: str) -> str:
    """A design id of this kind that falls into the split."""
    return next(key for n in range(1000) if split_of(key := f"{kind}-{n}", "train") == split)


def make_home(root: Path) -> None:
    """16 SKUs: five training designs, one for development and two held out, each in two colours with two pictures."""
    groups = [(kind, group_of(kind, "train"), "train") for kind in TRAIN_KINDS]
    groups += [("stool", group_of("stool", "dev"), "train"), ("bench", "bench-t", "test"), ("desk", "desk-t", "test")]
    catalog, photos = [], []
    for row, (kind, group, split) in enumerate(groups):
        for colour in COLOURS:
            key = f"{group}-{colour}"
            pictures = [f"images/{key}_{view}.png" for view in (0, 1)]
            for view, path in enumerate(pictures):
                picture(root / path, 64, colour, (8 + row + view, 8 + row, 56, 56 - row))
            catalog.append(product(key, group, split, kind, colour, pictures))
            for number in (0, 1):
                path, box = f"photos/{key}_p{number}.png", [40 + 10 * row, 60 + 20 * number, 180 + 10 * row, 240]
                picture(root / path, PHOTO_SIZE, colour, tuple(box), ground="grey")
                background = split == "train" and kind == "chair" and number == 1
                photos.append([path, key, group, split, box, split == "test" or background])
    pl.DataFrame(catalog, infer_schema_length=None).write_parquet(root / "catalog.parquet")
    columns = ["path", "product_id", "group_id", "split", "box", "shows_test_model"]
    pl.DataFrame(photos, schema=columns, orient="row").write_parquet(root / "photos.parquet")
    kinds = [{"kind": kind, "synonyms": [f"old {kind}"], "phrases": [f"a {kind} for me"]} for kind, _, _ in groups]
    pl.DataFrame(kinds).write_parquet(root / "kinds.parquet")
    write_queries(root, catalog, photos)


def product(key: str, group: str, split: str, kind: str, colour: str, pictures: list[str]) -> dict:
    other = next(c for c in COLOURS if c != colour)
    return {
        "id": key,
        "group_id": group,
        "split": split,
        "title": f"{colour.capitalize()} {kind}",
        "titles": {"de": f"{kind} ({colour})"},
        "category": ["Home", "Seats" if kind in ("chair", "sofa", "stool", "bench") else "Things", kind],
        "attributes": {"color": [colour], "material": "wood" if colour == "red" else None},
        "images": pictures,
        "name": kind.capitalize(),
        "names": {"de": f"{kind}e"},
        "kinds": [kind],
        "hard_negatives": [f"{group}-{other}"],
    }


def write_queries(root: Path, catalog: list[dict], photos: list[list]) -> None:
    rows = []
    for item in catalog:
        if item["split"] == "test":
            kind, same = item["kinds"][0], [p["id"] for p in catalog if p["kinds"] == item["kinds"]]
            rows += [
                [kind, "en", "name", same, False],
                [item["title"], "en", "colour+name", [item["id"]], False],
                [f"old {kind}", "en", "synonym", same, True],
                [f"second-hand {kind}", "en", "synonym", same, False],
                [f"{kind}e", "de", "localized name", same, False],
            ]
    columns = ["text", "lang", "type", "relevant_product_ids", "seen_in_training"]
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(root / "queries.parquet")
    mixed = [
        {
            "photo": path,
            "box": box,
            "text": "in blue",
            "relevant_product_ids": [f"{group}-blue"],
            "wrong_if_top": [key],
        }
        for path, key, group, split, box, _ in photos
        if split == "test" and key.endswith("red")
    ]
    pl.DataFrame(mixed).write_parquet(root / "mixed_queries.parquet")


def picture(path: Path, size: int, colour: str, box: tuple, ground: str = "white") -> None:
    path.parent.mkdir(exist_ok=True)
    image = Image.new("RGB", (size, size), ground)
    ImageDraw.Draw(image).rectangle(box, fill=colour)
    image.save(path)


def tiny_base(out: Path) -> None:
    """A random FastVLM-style model with one layer of width 16, 64-pixel pictures and a byte-level tokenizer."""
    torch.manual_seed(0)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    tokens = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **tokens)
    tokenizer.padding_side = "right"
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    vision = EfficientNetLiteConfig(image_size=64, grid=2, hidden_size=24)
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = FastVlmConfig(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=vision.grid**2,
    )
    model = FastVlmModel(config).float().eval()
    for layer in model.vision_tower.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    model.save_pretrained(out)
    pictures = CLIPImageProcessorPil(
        size={"height": 64, "width": 64}, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=vision.image_size // vision.grid,
        num_additional_image_tokens=0,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
    ).save_pretrained(out)


@pytest.fixture(scope="session")
def home_folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("home")
    make_home(root)
    return root


@pytest.fixture(scope="session")
def home(home_folder) -> HomeSet:
    return HomeSet(home_folder)


@pytest.fixture(scope="session")
def corpus(home_folder, tmp_path_factory) -> Corpus:
    return open_corpus(home_folder, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tiny_base(folder)
    return folder


@pytest.fixture(scope="session")
def checkpoint(base_folder, tmp_path_factory) -> Path:
    """The tiny base with experts, skip path, learned segment weights and box head, as the starter has them."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("checkpoint")
    config = MoonConfig(
        expert_rank=2, attention="bidirectional", pooling="segments", skip=True, picture_dims=6, box_head=True
    )
    save_moon(MoonTransformer.upcycled(str(base_folder), config), folder)
    return folder
