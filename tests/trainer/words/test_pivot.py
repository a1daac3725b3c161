from __future__ import annotations

import pytest

from app.errors import ModelError
from trainer.words.dictionaries import Translation
from trainer.words.pivot import PIVOTS, by_way_of

GERMAN = [
    Translation("sessel", "de", "chair"),
    Translation("sessel", "de", "armchair"),
    Translation("lehnstuhl", "de", "armchair"),
    Translation("polstersessel", "de", "easy chair"),
    Translation("polstersessel", "de", "armchair"),
]


def test_the_meanings_that_most_words_between_lead_to_are_taken():
    links = [("fauteuil", "polstersessel"), ("fauteuil", "lehnstuhl"), ("fauteuil", "sessel"), ("fauteuil", "sessel")]
    assert [t.english for t in by_way_of(links, "fr", GERMAN)] == ["armchair", "easy chair"]


def test_a_word_that_leads_to_nothing_known_is_left_out():
    assert list(by_way_of([("mot", "wort")], "fr", GERMAN)) == []


def test_both_directions_of_the_dictionaries_give_links(packages):
    french = next(pivot for pivot in PIVOTS if pivot.lang == "fr")
    german = [Translation("leuchte", "de", "lamp"), Translation("lampe", "de", "light")]
    assert french.translations(packages, german) == [
        Translation("luminaire", "fr", "lamp"),
        Translation("éclairage", "fr", "light"),
    ]


def test_a_missing_package_is_named_with_its_download(tmp_path):
    with pytest.raises(ModelError, match="apt-get download dict-freedict-deu-fra"):
        PIVOTS[0].translations(tmp_path, [])
