from __future__ import annotations

from tests.trainer.words.conftest import NOUNS
from trainer.words.domain import Domain, Rank
from trainer.words.wordnet import EnglishWords, read_wordnet, synsets, tag_counts


def test_words_of_artifacts_and_food_are_products_without_proper_names(packages):
    assert read_wordnet(packages).products == ("armchair", "chair", "lamp", "light", "oven", "bread")


def test_colours_and_words_that_texts_hold_often_describe(packages):
    assert read_wordnet(packages).descriptions == ("chromatic color", "red", "soft", "sit")


def test_matter_leaves_out_ranks_of_biology(packages):
    assert read_wordnet(packages).matter == ("rose",)


def test_definitions_have_no_examples_and_at_most_twelve_words(packages):
    assert read_wordnet(packages).glosses == (
        "chair with a support for arms",
        "a seat for one person",
        "a piece of furniture holding one or more light bulbs",
        "kitchen appliance used for baking or roasting",
    )


def test_a_synset_knows_its_hypernyms_and_whether_it_is_an_instance():
    found = {synset.offset: synset for synset in synsets(NOUNS)}
    assert found["02738535"].hypernyms == ("03001627",)
    assert [key for key, synset in found.items() if synset.instance] == ["03331077"]


def test_tags_are_counted_over_all_meanings_of_a_word():
    counts = tag_counts("hot_dog%1:13:00:: 1 2\nhot_dog%1:13:01:: 2 3\nhot%5:00:00:warm:00 1 4\n")
    assert counts == {("hot dog", "n"): 5, ("hot", "a"): 4}


def test_a_longer_text_is_judged_by_its_last_word():
    domain = Domain(EnglishWords(("chair", "box"), ("soft",), ("rose",), ()), {"chair"})
    assert domain.rank("box") is Rank.PRODUCT
    assert domain.rank("soft") is Rank.DESCRIPTION
    assert domain.rank("rose") is Rank.MATTER
    assert domain.rank("any chair") is Rank.KIND
    assert domain.rank("kitchen chairs") is Rank.KIND
    assert domain.rank("soft boxes") is Rank.COMPOUND
    assert domain.rank("pandora's box") is None
    assert domain.rank("soft waiter") is None
    assert domain.rank("waiter") is None
