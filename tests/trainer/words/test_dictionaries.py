from __future__ import annotations

import gzip
import pickle

import pytest

from app.errors import ModelError
from tests.trainer.words.conftest import CHINESE, ENGLISH, FRENCH, GERMAN, write_deb
from trainer.words import dictionaries
from trainer.words.dictionaries import chinese, freedict, german, is_plain, tidy


def texts(translations) -> list[tuple[str, str, str]]:
    return [(t.text, t.lang, t.english) for t in translations]


def test_german_entries_give_words_and_phrases_without_plurals():
    assert texts(german(GERMAN.encode())) == [
        ("lampe", "de", "lamp"),
        ("lampe", "de", "light"),
        ("leuchte", "de", "lamp"),
        ("leuchte", "de", "light"),
        ("backofenlampe", "de", "oven lamp"),
        ("weicher sessel", "de", "soft chair"),
        ("kellner", "de", "waiter"),
        ("sitzen", "de", "sit"),
    ]


def test_german_sides_of_unlike_length_give_their_first_group_only():
    assert texts(german(b"Bett {n} | Kinderbett {n} :: bed\n")) == [("bett", "de", "bed")]


def test_freedict_entries_give_every_meaning_in_both_directions():
    assert texts(freedict("fr", False)(gzip.compress(FRENCH.encode()))) == [
        ("chaise", "fr", "chair"),
        ("chaise", "fr", "stool"),
        ("chaise", "fr", "seat"),
        ("serveur", "fr", "waiter"),
    ]
    assert texts(freedict("es", True)(gzip.compress(ENGLISH.encode()))) == [
        ("pain", "es", "bread"),
        ("lámpara", "es", "lamp"),
        ("luz", "es", "lamp"),
    ]


def test_chinese_entries_give_both_scripts_without_measure_words_and_references():
    assert texts(chinese(pickle.dumps(CHINESE, protocol=3))) == [
        ("扶手椅", "zh_CN", "armchair"),
        ("台灯", "zh_CN", "lamp"),
        ("檯燈", "zh_TW", "lamp"),
    ]


def test_a_pickle_that_would_run_code_runs_none(tmp_path):
    mark = tmp_path / "mark"

    class Hostile:
        def __reduce__(self):
            return (type(mark).touch, (mark,))

    assert texts(chinese(pickle.dumps([CHINESE[0], Hostile()], protocol=3))) == [("扶手椅", "zh_CN", "armchair")]
    assert not mark.exists()


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Tisch {m} [cook.] (rund (klein))", "tisch"),
        ("to be soft", "soft"),
        ("the Chair;", "chair"),
        ("ｌａｍｐ  <lamps>", "lamp"),
        ("baby‐sitter’s", "baby-sitter's"),
    ],
)
def test_marks_and_articles_are_stripped(raw, clean):
    assert tidy(raw) == clean


@pytest.mark.parametrize("text", ["", "give sb. a chair", "jdm. etwas", "a/b", "für)", "one two three four five", "3p"])
def test_placeholders_and_long_texts_are_no_words(text):
    assert not is_plain(text)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"chaise")[:-4], gzip.compress(bytes(2048)), b"\x1f\x8b"],
    ids=["no gzip", "cut off", "boundless", "header only"],
)
def test_a_damaged_or_boundless_dictionary_is_refused_with_its_download(tmp_path, monkeypatch, content):
    monkeypatch.setattr(dictionaries, "MAX_BYTES", 1024)
    book = next(book for book in dictionaries.DICTIONARIES if "fra-eng" in book.package.name)
    write_deb(tmp_path, book.package.name, {book.member: content})
    with pytest.raises(ModelError, match=r"fra-eng\.dict\.dz in .* cannot be read .*: apt-get download dict-"):
        book.translations(tmp_path)
