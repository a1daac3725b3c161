from __future__ import annotations

import pytest

from trainer.augmentation.rules import FLOOR, names_in, refusal
from trainer.data.record import Item

CHAIR = Item(
    "1",
    "Oak chair Ektorp 120x60 cm",
    category=("Furniture", "Chairs"),
    attributes={"brand": ("Nordheim",), "color": ("white",), "seats": ("two",)},
)
GERMAN = Item("2", "Stuhl aus Eiche mit Lehne", attributes={"Farbe": ("weiß",)})
CHINESE = Item("3", "北欧实木椅子", attributes={"颜色": ("白色",), "长度": ("120厘米",)})


@pytest.mark.parametrize(
    ("item", "title"),
    [
        (CHAIR, "Oak chair Ektorp 120x60 cm, white, comfortable"),
        (CHAIR, "White oak chair Ektorp by Nordheim, 120x60 cm"),
        (CHAIR, "Oak chair Ektorp 120x60 cm for two"),
        (GERMAN, "Stuhl aus Eiche mit hoher Lehne, weiß"),
        (CHINESE, "北欧实木椅子 白色 120厘米"),
        (CHINESE, "北欧简约实木椅子"),
        (Item("4", "", category=("Chairs",)), "comfortable chair"),
    ],
)
def test_what_the_record_holds_and_ordinary_words_pass(item, title):
    assert refusal(title, item) == ""


@pytest.mark.parametrize(
    ("item", "title", "reason"),
    [
        (CHAIR, "", "empty"),
        (CHAIR, " ,. ", "empty"),
        (CHAIR, "Oak chair\nEktorp", "control characters"),
        (CHAIR, "oak CHAIR, Ektorp 120x60 cm!", "the same as the original"),
        (CHAIR, "Oak chair Ektorp 120x60 cm" + " so nice" * 5, f"characters, {FLOOR} are allowed"),
        (CHAIR, "Oak chair Ektorp 120x80 cm", "'120x80'"),
        (CHAIR, "Oak chair Ektorp 60 cm", "'60'"),
        (CHAIR, "Oak chair Ektorp 120x60 cm, model x5", "'x5'"),
        (CHAIR, "Oak chair Ektorp 120x60 cm, set of six", "'six'"),
        (CHAIR, "Oak chair Ektorp, Vitra", "'Vitra'"),
        (CHAIR, "Vitra oak chair Ektorp", "'Vitra'"),
        (CHAIR, "Oak chair Ektorp, iWood", "'iWood'"),
        (CHAIR, "eichenstuhl ektorp weiß", "keeps 1 of the title's 5 words"),
        (CHAIR, "дубовый стул", "written in CYRILLIC, the original in LATIN"),
        (CHAIR, "Oak chair Ektorp 椅子", "holds letters in CJK"),
        (GERMAN, "Stuhl Eiche Lehne mit Komfort", "'Komfort'"),
        (GERMAN, "stuhl aus eiche mit lehne, the best of the best", "adds words in en, the record is in de"),
        (CHINESE, "北欧实木椅子 宜家三人", "'三'"),
        (CHINESE, "北欧实木椅子 180厘米", "'180'"),
        (CHINESE, "北欧实木椅子 ikea", "holds letters in LATIN"),
        (CHINESE, "白色沙发", "of the title's 6 words"),
        (CHINESE, "nordic wooden chair", "written in LATIN, the original in CJK"),
    ],
)
def test_what_the_record_does_not_hold_is_refused(item, title, reason):
    assert reason in refusal(title, item)


def test_a_brand_of_another_record_is_refused_even_in_small_letters():
    other = Item("9", "Sofa", attributes={"Brand": ("Fritz Hansen",), "品牌": ("宜家",), "color": ("comfortable",)})
    names = names_in([CHAIR, other])
    assert refusal("Oak chair Ektorp 120x60 cm by fritz hansen", CHAIR, names) == (
        "'fritz hansen' is a name of another record"
    )
    assert refusal("北欧宜家实木椅子", CHINESE, names) == "'宜 家' is a name of another record"
    assert refusal("Oak chair Ektorp 120x60 cm, nordheim", CHAIR, names) == ""
    assert refusal("Oak chair Ektorp 120x60 cm, comfortable", CHAIR, names) == ""


def test_a_short_title_may_grow_beyond_twice_its_length():
    lamp = Item("1", "Lamp")
    assert refusal("Lamp that is tall and made of dark wood", lamp) == ""
    assert "60 are allowed" in refusal("Lamp" + " tall" * 12, lamp)
