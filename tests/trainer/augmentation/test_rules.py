from __future__ import annotations

import pytest

from trainer.augmentation.rules import FLOOR, fields_refusal, refusal
from trainer.augmentation.vocabulary import read_vocabulary
from trainer.data.record import Item

CHAIR = Item(
    "1",
    "Oak chair Ektorp 120x60 cm",
    category=("Furniture", "Chairs"),
    attributes={"brand": ("Nordheim",), "color": ("white",), "seats": ("two",)},
)
GERMAN = Item("2", "Stuhl aus Eiche mit Lehne", attributes={"Farbe": ("weiß",)})
SHORT = Item("5", "Stuhl weiß mit hoher Lehne und Polster")
CHINESE = Item("3", "北欧实木椅子", attributes={"颜色": ("白色",), "长度": ("120厘米",)})
TEXTS = (
    "Oak table by the sea, comfortable and soft seat for you, like new, with wheels of wood",
    "Oak bench for two, with comfortable soft seat, by and for the sea, like new on wheels",
    "Sessel mit hoher Lehne und Polster, bequem und weich, aus Eiche",
    "Hocker weiß, bequem und weich, mit hoher Lehne, aus Eiche, als stuhl",
    "北欧 简约沙发",
    "简约大桌子",
    "Ikea Billy shelf",
    "Ikea Billy bookcase",
)
NAMES = {"Brand name": ("Fritz Hansen", "Sea"), "品牌": ("简约",), "color": ("comfortable",)}
NAMED = Item("9", "Sofa", attributes=NAMES)
SHOP = [CHAIR, GERMAN, CHINESE, *(Item(str(number), text) for number, text in enumerate(TEXTS))]
WORDS = read_vocabulary(SHOP, len(SHOP))


@pytest.mark.parametrize(
    ("item", "title"),
    [
        (CHAIR, "Oak chair Ektorp 120x60 cm, white, comfortable"),
        (CHAIR, "White oak chair Ektorp by Nordheim, 120x60 cm"),
        (CHAIR, "Oak chair Ektorp 120x60 cm for two"),
        (CHAIR, "Oak chair Ektorp 120x60 cm with soft seat"),
        (GERMAN, "Stuhl aus Eiche mit hoher Lehne, weiß, bequem"),
        (SHORT, "Stuhl weiß mit hoher Lehne und Polster, weich"),
        (CHINESE, "北欧实木椅子 白色"),
        (CHINESE, "北欧简约实木椅子"),
        (CHINESE, "简约北欧实木椅子"),
    ],
)
def test_what_the_record_holds_and_usual_words_pass(item, title):
    assert refusal(title, item, WORDS) == ""


@pytest.mark.parametrize(
    ("item", "title", "reason"),
    [
        (CHAIR, "", "empty"),
        (CHAIR, " ,. ", "empty"),
        (CHAIR, "Oak chair\nEktorp", "control characters"),
        (CHAIR, "oak CHAIR, Ektorp 120x60 cm!", "the same as the original"),
        (CHAIR, "Oak chair Ektorp 120x60 cm, soft soft soft soft soft soft", "57 characters, 52 are allowed"),
        (CHINESE, "北欧简约实木椅子 白色 白色", "14 characters, 12 are allowed"),
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
        (CHINESE, "nordic chair", "written in LATIN, the original in CJK"),
    ],
)
def test_what_the_record_does_not_hold_is_refused(item, title, reason):
    assert reason in refusal(title, item, WORDS)


@pytest.mark.parametrize(
    ("item", "title", "word"),
    [
        (CHAIR, "Oak chair Ektorp 120x60 cm by vitra", "vitra"),
        (CHAIR, "Oak chair Ektorp 120x60 cm, like ikea billy", "ikea"),
        (CHAIR, "Oak chair Ektorp 120x60 cm, stuhl aus eiche", "stuhl"),
        (CHAIR, "Oak chair Ektorp 120x60 cm, bequem", "bequem"),
        (GERMAN, "Stuhl aus Eiche mit Lehne, comfortable", "comfortable"),
        (SHORT, "Stuhl weiß mit hoher Lehne und Polster, soft seat", "soft"),
        (CHINESE, "宜家实木椅子", "宜家"),
        (CHINESE, "实木宜家椅子", "宜家"),
        (CHINESE, "北欧实木椅子 柜", "柜"),
        (Item("6", "北欧实木椅子", attributes={"用途": ("适宜", "家用")}), "宜家实木椅子", "宜家"),
    ],
)
def test_brands_in_any_letters_and_words_of_another_language_are_no_usual_words(item, title, word):
    assert f"'{word}' is no usual word of the catalog" in refusal(title, item, WORDS)


@pytest.mark.parametrize(
    "words",
    ["twenty drawers", "thirteen slats", "one hundred screws", "set of one", "quadruple", "third leg", "fourfold"],
)
def test_numbers_in_words_are_refused(words):
    cabinet = Item("1", "Large oak cabinet with drawers, slats, screws, set of leg")
    assert "is not in the record" in refusal(f"{cabinet.title}, {words}", cabinet, WORDS)
    held = Item("1", cabinet.title, attributes={"parts": (words,)})
    assert refusal(f"{cabinet.title}, {words}", held, WORDS) == ""


@pytest.mark.parametrize("title", ["两把北欧实木椅子", "北欧实木椅子 双", "北欧实木椅子 百"])
def test_characters_that_count_are_refused(title):
    assert "is not in the record" in refusal(title, CHINESE, WORDS)


def test_a_name_of_another_record_is_refused_even_where_others_use_it_as_a_word():
    words = read_vocabulary([*SHOP, NAMED], len(SHOP) + 1)
    assert refusal("Oak chair Ektorp 120x60 cm by fritz hansen", CHAIR, words) == (
        "'fritz hansen' is a name of another record"
    )
    assert refusal("Oak chair Ektorp 120x60 cm by the sea", CHAIR, WORDS) == ""
    assert refusal("Oak chair Ektorp 120x60 cm by the sea", CHAIR, words) == "'sea' is a name of another record"
    assert refusal("北欧简约实木椅子", CHINESE, words) == "'简 约' is a name of another record"
    assert refusal("Oak chair Ektorp 120x60 cm, nordheim", CHAIR, words) == ""
    assert refusal("Oak chair Ektorp 120x60 cm, comfortable", CHAIR, words) == ""


def test_without_other_products_only_words_of_the_record_pass():
    assert refusal("White oak chair Ektorp 120x60 cm", CHAIR) == ""
    assert refusal("Oak chair Ektorp 120x60 cm, soft", CHAIR) == "'soft' is no usual word of the catalog"


def test_a_title_of_the_fields_may_have_sixty_characters_and_one_of_a_model_twice_the_original_s():
    lamp = Item("1", "Lamp", attributes={"color": ("black",), "material": ("wood and metal",), "for": ("indoor",)})
    assert fields_refusal("Lamp, black, wood and metal", lamp) == ""
    assert refusal("Lamp, black, wood and metal", lamp) == "27 characters, 8 are allowed"
    assert f"{FLOOR} are allowed" in fields_refusal("Lamp" + " black" * 12, lamp)
