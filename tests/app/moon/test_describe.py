from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from tiny_models import picture
from transformers import BatchFeature

from app.errors import ModelError
from app.moon.describe import Describer
from app.schema import Product

PRODUCT = Product(id="1", category=["Seats"], attributes={"size": ["40 cm"]})
MISSING = {"title": [], "category": ["Seats > Chairs", "Seats > Sofas"]}


class Writing:
    """A model and a processor that answer what they are told to."""

    device = torch.device("cpu")
    config = SimpleNamespace(model_type="any")

    def __init__(self, answer: str) -> None:
        self.answer, self.asked = answer, ""

    def generate(self, input_ids: torch.Tensor, **options) -> torch.Tensor:
        return torch.cat([input_ids, torch.tensor([[ord(letter) for letter in self.answer]])], dim=1)

    def apply_chat_template(self, messages: list[dict], **options) -> BatchFeature:
        self.asked = messages[0]["content"][-1]["text"]
        return BatchFeature({"input_ids": torch.tensor([[1, 2]])})

    def batch_decode(self, ids: torch.Tensor, **options) -> list[str]:
        return ["".join(chr(token) for token in row) for row in ids.tolist()]


def described(answer: str, missing=MISSING, image=None) -> dict[str, str]:
    model = Writing(answer)
    return Describer(model, model).generate(PRODUCT, image, missing)


def test_a_title_and_one_of_the_choices_are_taken():
    answer = '```json\n{"title": "Oak <|title|> chair", "category": "Seats > Chairs"}\n```'
    assert described(answer, image=picture(1, (32, 32))) == {"title": "Oak chair", "category": "Seats > Chairs"}


@pytest.mark.parametrize(
    "answer",
    [
        '{"title": ""}',
        '{"title": "Chair 3000"}',
        '{"title": ["chair"]}',
        f'{{"title": "{"long " * 50}"}}',
        '{"category": "Tables"}',
        '{"price": "12"}',
    ],
)
def test_what_was_not_asked_for_or_is_made_up_is_left_out(answer):
    assert described(answer) == {}


def test_a_number_that_the_product_holds_may_be_in_its_title():
    assert described('{"title": "Chair 40 cm"}') == {"title": "Chair 40 cm"}


@pytest.mark.parametrize("answer", ["a chair", "[1, 2]", "{", "null"])
def test_answers_that_cannot_be_read_are_counted(answer):
    model = Writing(answer)
    describer = Describer(model, model)
    assert describer.generate(PRODUCT, None, MISSING) == {}
    assert (describer.asked, describer.unreadable) == (1, 1)


def test_the_model_is_told_what_is_known_and_what_it_may_choose():
    model = Writing("{}")
    Describer(model, model).generate(PRODUCT, None, MISSING)
    assert "category: Seats; size: 40 cm" in model.asked
    assert '"category" is one of ["Seats > Chairs", "Seats > Sofas"].' in model.asked


def test_a_generator_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match="the generator cannot be loaded"):
        Describer.from_pretrained(str(tmp_path / "none"), "cpu")
