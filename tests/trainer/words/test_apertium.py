from __future__ import annotations

import pytest

from app.errors import ModelError
from tests.trainer.words.conftest import compiled_dictionary, write_deb
from trainer.words.apertium import APERTIUM, entries, spanish


def texts(data: bytes) -> list[tuple[str, str]]:
    return sorted((translation.english, translation.text) for translation in spanish(data))


def test_nouns_verbs_and_adjectives_are_read_as_words_of_both_languages():
    data = compiled_dictionary({"table<n>": "mesa<n>", "soft<adj>": "blando<adj>", "Sit<vblex>": "sentar<vblex>"})
    assert texts(data) == [("sit", "sentar"), ("soft", "blando"), ("table", "mesa")]


def test_names_and_little_words_are_left_out():
    assert texts(compiled_dictionary({"Paris<np>": "París<np>", "in<pr>": "en<pr>", "bed<n>": "cama<n>"})) == [
        ("bed", "cama")
    ]


def test_marks_of_inflection_within_phrases_are_dropped():
    assert texts(compiled_dictionary({"food processor<n>": "robot# de cocina<n>"})) == [
        ("food processor", "robot de cocina")
    ]


@pytest.mark.parametrize("weighted", [False, True])
def test_letters_of_any_script_and_sections_with_weights_are_read(weighted):
    data = compiled_dictionary({"lamp<n>": "lámpara<n>", "chair<n>": "椅子<n>"}, weighted=weighted)
    assert sorted(entries(data)) == [("chair<n>", "椅子<n>"), ("lamp<n>", "lámpara<n>")]


def test_patterns_are_not_spelled_and_loops_end():
    entry = {"bed<n>": "cama<n>"}
    assert list(entries(compiled_dictionary(entry, section="regexp@standard"))) == []
    assert list(entries(compiled_dictionary(entry, loop=True))) == [("bed<n>", "cama<n>")]


def test_a_file_of_another_kind_or_a_cut_one_is_refused_with_its_download(tmp_path):
    whole = compiled_dictionary({"bed<n>": "cama<n>"})
    for content in (b"<dictionary/>", whole[: len(whole) // 2]):
        write_deb(tmp_path, "apertium-eng-spa", {APERTIUM.member: content})
        with pytest.raises(ModelError, match=r"cannot be read.*apt-get download apertium-eng-spa"):
            APERTIUM.translations(tmp_path)
