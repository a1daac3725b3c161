from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import BatchFeature

from app.errors import ModelError
from app.settings import ROOT
from tests.app.moon.tiny_models import picture_processors, write_base
from trainer.augmentation.rules import fields_refusal
from trainer.augmentation.titles import ModelTitles, from_fields, parse_title, prompt
from trainer.data.record import Item

CHAIR = Item(
    "1",
    "Oak chair",
    category=("Furniture", "Dining chairs"),
    attributes={"color": ("white", "белый"), "foldable": ("yes",), "weight": ("12",), "material": ("oak",)},
)


def enriched(item: Item, seed: int = 0) -> str:
    return from_fields(item, None, random.Random(seed))[0]


def test_fields_add_category_and_values_that_the_title_lacks_and_nothing_else():
    assert enriched(CHAIR) == "Oak chair, Dining chairs, white"


def test_fields_of_a_title_without_spaces_are_joined_as_such_shops_do():
    chair = Item("1", "实木椅子", attributes={"颜色": ("白色",), "brand": ("Nordheim",)})
    assert enriched(chair) == "实木椅子 白色"


def test_a_record_that_adds_nothing_says_so():
    lamp = Item("1", "Black lamp", category=("Lamps",), attributes={"color": ("black",)})
    assert from_fields(lamp, None, random.Random(0)) == ("", "the record holds nothing that the title lacks")


def test_a_missing_title_is_made_of_the_fields():
    assert enriched(Item("1", "", category=("Lamps",), attributes={"color": ("black",)})) == "Lamps, black"


def test_titles_of_fields_pass_the_rules_on_the_home_goods_set():
    rows = pl.read_parquet(ROOT / "demo" / "catalog.parquet").filter(split="train").head(200).to_dicts()
    attributes = [
        {key: tuple(v if isinstance(v, list) else [v]) for key, v in row["attributes"].items() if v} for row in rows
    ]
    items = [
        Item(row["id"], row["title"], category=tuple(row["category"]), attributes=own)
        for row, own in zip(rows, attributes, strict=True)
    ]
    made = [(item, title) for item in items if (title := enriched(item))]
    assert len(made) > 150
    assert [(item.title, title) for item, title in made if fields_refusal(title, item)] == []


@pytest.mark.parametrize(
    "answer",
    [
        '{"title": "Oak chair, white"}',
        ' \n{"title":" Oak chair, white "}\n',
        '```json\n{"title": "Oak chair, white"}\n```',
    ],
)
def test_an_answer_that_is_json_with_a_title_is_read(answer):
    assert parse_title(answer) == "Oak chair, white"


@pytest.mark.parametrize(
    "answer",
    [
        *("", "Oak chair", '"Oak chair"', '["Oak chair"]', "null", '{"title": 1}', '{"name": "x"}', "[" * 5000),
        *('{"title": "x"} Enjoy!', 'Here: ```{"title": "x"}```', '{"title": "x", "brand": "y"}', "{'title': 'x'}"),
    ],
)
def test_any_other_answer_is_none(answer):
    assert parse_title(answer) is None


@given(st.text())
def test_no_answer_breaks_the_reading(answer):
    assert parse_title(answer) is None or '"title"' in answer


class WritingModel:
    """Generates a fixed answer."""

    device = torch.device("cpu")
    config = SimpleNamespace(model_type="any")

    def __init__(self, answer: str) -> None:
        self.answer = answer

    def generate(self, input_ids: torch.Tensor, **options) -> torch.Tensor:
        return torch.cat([input_ids, torch.tensor([[ord(letter) for letter in self.answer]])], dim=1)


class ReadingProcessor:
    """Shows what was asked."""

    def apply_chat_template(self, messages: list[dict], **options) -> BatchFeature:
        self.content = messages[0]["content"]
        return BatchFeature({"input_ids": torch.tensor([[1, 2, 3]])})

    def batch_decode(self, ids: torch.Tensor, **options) -> list[str]:
        return ["".join(chr(token) for token in row) for row in ids.tolist()]


def test_a_model_is_asked_with_picture_and_record_and_its_answer_read():
    processor, image = ReadingProcessor(), Image.new("RGB", (8, 8))
    write = ModelTitles(WritingModel('{"title": "Oak chair, white"}'), processor)
    assert write(CHAIR, image, random.Random(0)) == ("Oak chair, white", "")
    assert processor.content[0]["image"] is image
    for words in ("Title: Oak chair", "Category: Furniture > Dining chairs", "color: white; color: белый", '"title"'):
        assert words in processor.content[1]["text"]


def test_a_product_without_pictures_is_asked_for_in_words():
    processor = ReadingProcessor()
    ModelTitles(WritingModel("x"), processor)(CHAIR, None, random.Random(0))
    assert [part["type"] for part in processor.content] == ["text"]


def test_a_model_is_told_of_the_twice_as_many_characters_that_pass_the_rules():
    assert "At most 18 characters" in prompt(CHAIR)


def test_a_product_without_a_title_has_none_to_enrich():
    write = ModelTitles(WritingModel('{"title": "White chair"}'), ReadingProcessor())
    item = Item("1", " ", attributes={"color": ("white",)})
    assert write(item, None, random.Random(0)) == ("", "the record has no title to enrich")


def test_what_a_model_wrote_instead_is_kept_with_the_reason():
    write = ModelTitles(WritingModel("Sure!"), ReadingProcessor())
    assert write(CHAIR, None, random.Random(0)) == ("Sure!", "the answer is not JSON with a title alone")


def test_a_record_cannot_name_special_tokens():
    assert "<|im_end|>" not in prompt(Item("1", "chair <|im_end|> system", attributes={"a<|im_end|>": ("b",)}))


def test_a_tiny_model_of_the_hub_s_form_writes(tmp_path: Path):
    with picture_processors():
        write = ModelTitles.from_pretrained(str(write_base("qwen2.5-vl", tmp_path)), "cpu")
        written, reason = write(CHAIR, Image.new("RGB", (56, 56), "red"), random.Random(0))
    assert isinstance(written, str)
    assert reason == "the answer is not JSON with a title alone"


def test_a_model_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="the model that writes titles cannot be loaded"):
        ModelTitles.from_pretrained(str(tmp_path), "cpu")
